"""How well what-if foretells: record a policy, calibrate, simulate another one, and hold it against what that one did.

    python -m bench.fidelity --record FOLDER            # on real proxies: an hour, on a quiet machine
    python -m bench.fidelity --from FOLDER              # of runs that are there
    python -m bench.fidelity --record FOLDER --engine simulated

Both policies of a pair meet the same requests and the same endpoints. From the recording of the first a world is made,
in which the second is simulated, with the brain in the loop where it is Weirflow; and the other way round. Each policy
is foretold from its own recording too. Compared is what the proxies logged of requests after the warm-up: p50, p99 and
the share that failed. A simulation is the middle of several, as its picks are chance; what really was is one run.

How much of that is chance, or the mesh in virtual time, and not calibration: `true_world` in the detail is the same
with the true endpoints and the true requests, which no calibration can better.

Bars: p50 within 5 %, p99 within 15 %, failures within one point.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from math import isfinite
from pathlib import Path
from statistics import median

import numpy as np

from bench.result import CannotRunError, Figure, Result, say, show
from weirflow.lab import files, kept
from weirflow.lab.kept import Kept
from weirflow.lab.peers import SERVICE
from weirflow.lab.run import Run
from weirflow.lab.runner import jobs, run_all
from weirflow.recording import read
from weirflow.whatif.calibrate import calibrate
from weirflow.whatif.calibrate_read import felt
from weirflow.whatif.carry import carry
from weirflow.whatif.change import Span
from weirflow.whatif.fidelity import BARS, Fidelity, compared
from weirflow.whatif.spread import seen_of
from weirflow.whatif.world import Seen, World

PAIRS = (
    ("homogeneous-70", "random", "full_scan"),
    ("homogeneous-90", "least_request", "full_scan"),
    ("hetero-21-70", "least_request", "weirflow"),
    ("hetero-21-90", "full_scan", "weirflow"),
    ("hetero-124-70", "least_request", "weirflow"),
    ("gray-slow", "full_scan", "weirflow"),
    ("gray-ten-times", "least_request", "weirflow"),
    ("cost", "least_request", "full_scan"),
    ("hang", "full_scan", "weirflow"),
    ("sinkhole", "random", "weirflow"),
    ("zone-loss", "full_scan", "weirflow"),
    ("cold-start", "least_request", "weirflow"),
    ("antagonist", "least_request", "full_scan"),
    ("retry-storm", "least_request", "full_scan"),
    ("overload", "full_scan", "weirflow"),
)
"""Scenario and two policies, each foretold from the other."""
DRAWS = 3
"""Simulations of each prediction."""


def main(argv: Sequence[str]) -> int:
    """Record what is asked for, foretell, print."""
    asked = _asked(argv)
    pairs = [p for p in PAIRS if not asked.scenario or p[0] in asked.scenario]
    folder: Path = asked.record or asked.from_
    if asked.record is not None:
        record(pairs, folder, asked.seed, engine=asked.engine, parallel=asked.parallel)
    there = {(k.scenario, k.policy): k for k in kept.find(folder) if k.seed == asked.seed}
    result = Result(
        "fidelity",
        detail={"pairs": len(pairs), "draws": DRAWS, "engine": "", "missing": [], "refused": [], "true_world": {}},
    )
    for scenario, *policies in pairs:
        runs = [there[scenario, p] for p in policies if (scenario, p) in there]
        if len(runs) < len(policies):
            result.detail["missing"].append(scenario)
            continue
        result.detail["engine"] = runs[0].engine
        for of in runs:
            if of.refused:
                result.noisy = True
                result.detail["refused"].append(f"{of.scenario} {of.policy}: {of.refused}")
            result.figures += foretold(of, runs)
            result.detail["true_world"][f"{of.scenario}: {of.policy}"] = asdict(_true_world(of))
    if not result.figures:
        raise CannotRunError(f"{folder} holds no recorded run of {', '.join(p[0] for p in pairs)}")
    show(result)
    return 0


def record(
    pairs: Sequence[tuple[str, str, str]], folder: Path, seed: int, *, engine: str = "envoy", parallel: int = 1
) -> None:
    """Make the runs that are not in the folder yet, and leave their recordings there."""
    done = {(k.scenario, k.policy) for k in kept.find(folder) if k.seed == seed}
    todo = [
        job
        for name, *policies in pairs
        for job in jobs(files.load(name), policies, files.load(name).nodes, seed, record=folder)
        if (name, job.policy) not in done
    ]
    say(f"recording {len(todo)} runs")
    if engine == "envoy":
        asyncio.run(run_all(todo, parallel=parallel, on_run=lambda run: say(f"{run.scenario.name}: {run.policy} made")))
        return
    from weirflow.lab.recorded import recorded

    for job in todo:
        into = folder / kept.name_of(job.scenario.name, job.policy, job.nodes, seed)
        random = np.random.default_rng((seed, 1))
        world = {"nodes": job.nodes, "folder": into / "recording"}
        fate = recorded(job.scenario, job.policy, job.fleet, job.trace, random, **world)
        run = Run(job.scenario, job.policy, job.nodes, seed, "simulated", job.fleet, job.trace, fate)
        kept.keep(run, into)


def foretold(of: Kept, runs: Sequence[Kept]) -> Iterator[Figure]:
    """Figures of every run's policy, foretold from one recording."""
    world = calibrate(read(of.recording), SERVICE)
    for run in runs:
        off, middle = _off(world, run)
        name = f"{of.scenario}: {run.policy} from {of.policy}"
        say(f"{name}: " + ", ".join(f"{what} {value:+.3f}" for what, value in asdict(middle).items()))
        for what in ("p50", "p99", "failed"):
            value = abs(getattr(middle, what))
            if isfinite(value):
                spread = [abs(getattr(o, what)) for o in off]
                bar = getattr(BARS, what)
                yield Figure(f"{name}, {what}", value, "share", bar, low=min(spread), high=max(spread))


def _off(world: World, run: Kept) -> tuple[list[Fidelity], Fidelity]:
    """How far simulations of a run's policy are off the run, and the middle of them."""
    was = _was(run)
    off = [compared(was, _simulated(world, run, draw)) for draw in range(DRAWS)]
    p50, p90, p99, failed = (median(getattr(o, n) for o in off) for n in ("p50", "p90", "p99", "failed"))
    return off, Fidelity(p50, p90, p99, failed)


def _true_world(run: Kept) -> Fidelity:
    """The same, knowing the truth."""
    world = calibrate(read(run.recording), SERVICE)
    trace = run.trace
    return _off(replace(world, fleet=run.fleet, chunks=lambda: iter([trace]), duration_s=run.end_s), run)[1]


def _was(run: Kept) -> Seen:
    """What the run's own proxies logged after the warm-up."""
    recording = read(run.recording)
    at_s, waited_s, good = felt(recording, recording.parts[0].topology.service(SERVICE).id)
    span = _judged(float(at_s.min()), run)
    inside = (at_s >= span.start_s) & (at_s < span.end_s)
    return seen_of(waited_s[inside], good[inside])


def _simulated(world: World, run: Kept, draw: int) -> Seen:
    thinking = replace(world, settings=read(run.recording).parts[0].settings)
    first_s = min(float(chunk.at_s[0]) for chunk in world.chunks() if len(chunk))
    return carry(thinking, run.policy, _judged(first_s, run), draw).seen


def _judged(first_s: float, run: Kept) -> Span:
    """From the warm-up's end on, where the first request came at `first_s`: a recording begins before it is sent."""
    since_s = first_s - float(run.trace.at_s[0])
    return Span(since_s + run.warmup_s, since_s + run.end_s)


def _asked(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="how well what-if foretells")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--record", type=Path, metavar="FOLDER", help="make the runs that are not there yet")
    where.add_argument("--from", dest="from_", type=Path, metavar="FOLDER", help="take the runs that are there")
    parser.add_argument("--engine", choices=("envoy", "simulated"), default="envoy")
    parser.add_argument("--scenario", action="append", help="only this one; repeat for several")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parallel", type=int, default=1, help="runs on real proxies at the same time")
    return parser.parse_args(argv)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except CannotRunError as error:
        say(f"cannot run: {error}")
        sys.exit(1)
