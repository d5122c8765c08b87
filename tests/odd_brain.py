"""`weirflow run` with a fault or a clock of its own, for the tests that need one: a program, not a test."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from brain.brain import Brain
from weirflow import wiring
from weirflow.clock import Clock

parser = argparse.ArgumentParser()
parser.add_argument("--clock-rate", type=float, default=1.0)
parser.add_argument("--tick-takes", type=float, default=0.0)
parser.add_argument("file", type=Path)
options = parser.parse_args()

if options.tick_takes:
    decide = Brain.tick

    def slowly(self: Brain, now: float) -> Any:
        decision = decide(self, now)
        time.sleep(options.tick_takes)
        return decision

    Brain.tick = slowly  # type: ignore[method-assign]

sys.exit(asyncio.run(wiring.serve(options.file, Clock(options.clock_rate))))
