"""How fast `weirflow whatif` answers, from start to end, and in how much memory.

The fleet of `bench.simulated` (20 endpoints of two speeds, 80 % load, four nodes) is recorded in virtual time, 4,000
attempts a second in mode static, and asked about by `weirflow whatif RECORDING --policy P --seeds 1` in a process of
its own: what was in force is simulated for the check and again as the base of the answer, then P. CPU time throughout.

* `NAME_per_s`: attempts by what the verb takes longer with P than without: at least 1,000,000 with a stock policy, and
  300,000 with the brain in the loop, ticked once a second and told each node's log ten times a second.
* `NAME_whole_per_s`: attempts of all three runs by all that the verb takes, reading and calibration included.
* `NAME_over_mesh`: the first over what the bare mesh does at this rate, in this run (`bench.simulated`).
* `before_s`: what the verb takes without P, in which are its start, reading, calibration and two runs.
* `growth`: the exponent of that over the number of attempts, from a quarter. 1 is linear.
* `peak_growth_mb` with `--large`: of memory, from 6 to 12 million attempts: more than are held (`resample.MOST_HELD`).
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.replay import PROGRAM
from bench.result import CannotRunError, Figure, Result, say, show
from bench.simulated import ENDPOINTS, LARGE, fleet_of, mesh_of, took_s, topology, with_brain_per_s, work_for
from brain.brain import Brain
from brain.settings import Mode, Settings
from dataplane.mesh import Mesh, RouteSpec, ServiceSpec
from dataplane.simulated import drive
from dataplane.simulated.fleet import Trace
from dataplane.simulated.fleet_mesh import Rhythm
from weirflow.lab.recorded import Heard
from weirflow.recording import Recorder

RATE_PER_S = 4_000.0
ATTEMPTS = 1_000_000
POLICIES = ("least_request", "full_scan")
TIMES = 3
BAR, BRAINS_BAR, GROWTH_MB = 1e6, 300_000.0, 100.0


def record(folder: Path, requests: int) -> None:
    """What such a mesh tells its brain of so many requests, of one attempt each."""
    fleet = fleet_of(np.tile([1.0, 2.0], ENDPOINTS // 2))
    of, settings, problems = topology(fleet), Settings(mode=Mode.STATIC), list[str]()
    service = ServiceSpec("bench", (), policy="LEAST_REQUEST")
    static = Mesh(nodes=(), listeners=(), routes=(RouteSpec("all", "bench"),), services=(service,))
    telling: dict[str, Any] = {"settings": settings, "topology": of, "now": 0.0, "mesh": static}
    recorder = Recorder(folder, part_s=25.0, on_problem=problems.append, **telling)
    piece = 250_000

    def pieces() -> Any:
        at_s = 0.0
        for k in range(-(-requests // piece)):
            some = work_for(fleet, min(piece, requests - k * piece), RATE_PER_S, seed=k + 1)
            yield Trace(**{n: getattr(some, n) for n in Trace.dtypes()} | {"at_s": some.at_s + at_s})
            at_s += float(some.at_s[-1])

    mesh = mesh_of(fleet, pieces(), Rhythm())
    for _ in drive.run(mesh, Heard(Brain(of, settings), recorder), math.ceil(requests / RATE_PER_S * 1.01) + 2.0):
        mesh.take()
    recorder.close(600.0)
    if problems:
        raise OSError(problems[0])


def ask(folder: Path, *policies: str) -> tuple[float, float]:
    """The CPU seconds that an answer took, and the peak of its memory in MB. CannotRunError when it is no answer."""
    wanted = ["--policy", ",".join(policies)] if policies else []
    told = ["whatif", str(folder), "--seeds", "1", *wanted, "-o", "json"]
    run = subprocess.run([sys.executable, "-c", PROGRAM, *told], capture_output=True, check=False)
    if run.returncode != 0:
        raise CannotRunError(f"weirflow {' '.join(told)} ended with {run.returncode}: {run.stderr.decode()[-900:]}")
    cpu_s, peak_kb = run.stderr.split()[-2:]
    return float(cpu_s), float(peak_kb) / 1024


def mesh_per_s(policy: str) -> float:
    """Attempts a second of the bare mesh over a million such requests."""
    fleet = fleet_of(np.tile([1.0, 2.0], ENDPOINTS // 2))
    if policy == "weirflow":
        return with_brain_per_s(RATE_PER_S)
    return LARGE / took_s(fleet, work_for(fleet, LARGE, RATE_PER_S), policy=policy)


def measured(requests: int, folder: Path) -> tuple[list[Figure], dict[str, Any]]:
    """Speeds of the verb and its parts."""
    say(f"whatif: recording {requests} attempts, and a quarter")
    for many in (requests // 4, requests):
        record(folder / str(many), many)
    small, large = folder / str(requests // 4), folder / str(requests)
    ask(small, *POLICIES, "weirflow")  # compiles
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in (*POLICIES, "weirflow")}
    before, growth, peaks = list[float](), list[float](), list[float]()
    for _ in range(TIMES):
        before_s, peak_mb = ask(large)
        before.append(before_s)
        peaks.append(peak_mb)
        growth.append(math.log(before_s / ask(small)[0]) / math.log(4.0))
        for name, times in found.items():
            say(f"whatif: {name}")
            cpu_s, peak_mb = ask(large, name)
            peaks.append(peak_mb)
            per_s = requests / max(cpu_s - before_s, 1e-9)
            times.append((per_s, 3 * requests / cpu_s, per_s / mesh_per_s(name)))
    figures = []
    for name, times in found.items():
        bar = BRAINS_BAR if name == "weirflow" else BAR
        run, whole, ratio = zip(*times, strict=True)
        figures.append(Figure(f"{name}_per_s", median(run), "1/s", bar, False, min(run), max(run)))
        figures.append(Figure(f"{name}_whole_per_s", median(whole), "1/s", None, False, min(whole), max(whole)))
        figures.append(Figure(f"{name}_over_mesh", median(ratio), low=min(ratio), high=max(ratio)))
    figures.append(Figure("before_s", median(before), "s", low=min(before), high=max(before)))
    figures.append(Figure("growth", median(growth), bar=1.1, low=min(growth), high=max(growth)))
    figures.append(Figure("peak_mb", median(peaks), "MB", low=min(peaks), high=max(peaks)))
    return figures, {"attempts": requests}


def main(argv: Sequence[str]) -> int:
    """Measure and print. Exit status 0 when it could run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, default=ATTEMPTS)
    parser.add_argument("--large", action="store_true", help="memory of recordings that are not held: some minutes")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="weirflow-bench-") as name:
        figures, detail = measured(given.attempts, Path(name))
        if given.large:
            peaks = []
            for many in (6_000_000, 12_000_000):
                say(f"whatif: recording {many} attempts")
                record(Path(name) / str(many), many)
                peaks.append(ask(Path(name) / str(many))[1])
            figures.append(Figure("peak_growth_mb", peaks[1] - peaks[0], "MB", bar=GROWTH_MB))
            detail["peak_mb"] = peaks
    show(Result("whatif", figures, detail=detail))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
