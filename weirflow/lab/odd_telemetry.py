"""`weirflow run` whose brain is told what broken telemetry would tell it.

    python -m weirflow.lab.odd_telemetry --fault telemetry.json mesh.yaml

The wires are whole; between them and the brain, access log batches are lost, all telemetry is late, nodes lie about how
long an endpoint took, and nodes' clocks are ahead. Load reports are never lost: they come over another stream.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dataplane.contract import Felt, OnTelemetry, Requests, Telemetry
from weirflow import wiring
from weirflow.clock import Clock
from weirflow.lab.scenario import TelemetryFault

Later = Callable[..., Any]
"""`later(delay_s, call, *args)`: asyncio's `call_later` in a process, a list in a test."""


class Odd:
    """Stands between the data plane and `hear`. `nodes` is how many there are; ids of nodes count from 0.

    Of the nodes the first `lying_nodes` share lies, rounded up. `lied_about` is the id of
    the endpoint.
    """

    def __init__(
        self, fault: TelemetryFault, nodes: int, random: np.random.Generator, later: Later, hear: OnTelemetry
    ) -> None:
        self._fault, self._random, self._later, self._hear = fault, random, later, hear
        self._liars = math.ceil(fault.lying_nodes * nodes)

    def __call__(self, batch: Telemetry) -> None:
        """Lose, hold back, falsify or pass on."""
        if isinstance(batch, Requests | Felt):
            if self._random.random() < self._fault.lost:
                return
            batch = self._falsified(batch)
        if self._fault.late_s > 0:
            self._later(self._fault.late_s, self._hear, batch)
        else:
            self._hear(batch)

    def _falsified(self, batch: Requests | Felt) -> Requests | Felt:
        skews = self._fault.skew_s
        if skews:
            batch = replace(batch, started_s=batch.started_s + np.array(skews)[batch.node % len(skews)])
        if self._liars and isinstance(batch, Requests):
            lied = (batch.node < self._liars) & (batch.endpoint == self._fault.lied_about)
            factor = np.where(lied, self._fault.lie, 1.0).astype(np.float32)
            told = {name: getattr(batch, name) * factor for name in ("duration_s", "ttfb_s", "felt_s")}
            batch = replace(batch, **told)
        return batch


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="weirflow run, behind broken telemetry")
    parser.add_argument("--fault", type=Path, required=True, help="a TelemetryFault as JSON, with nodes and seed")
    parser.add_argument("mesh", type=Path)
    options = parser.parse_args()
    told = json.loads(options.fault.read_text())
    nodes, seed = told.pop("nodes"), told.pop("seed")
    fault = TelemetryFault(**told | {"skew_s": tuple(told["skew_s"])})
    random = np.random.default_rng(seed)  # noqa: TID251 - a driver

    def between(hear: OnTelemetry) -> OnTelemetry:
        return Odd(fault, nodes, random, asyncio.get_running_loop().call_later, hear)

    sys.exit(asyncio.run(wiring.serve(options.mesh, Clock(), between=between)))


if __name__ == "__main__":
    main()
