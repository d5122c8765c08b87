"""What each part of the learner of latency earns: the same telemetry with the part taken out.

Endpoints of known truth (`bench.queued`), seeds that no test uses. Each part is judged by what it is for:

* `wrong`: the largest factor by which a service time is wrong at the end, over the endpoints; 1 is right.
* `wander`: standard deviation over time of an endpoint's log service time against its peers, in steady load.
* `known_s`: seconds until a tenfold slowdown of one endpoint of five, at 10 requests/s each, is told to within 2.
* `moved`: the largest factor by which a lie, or one odd attempt, moved an endpoint against its peers.

The middle of `SEEDS` runs of each. A part stays only where taking it out makes a figure worse.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np

from bench.queued import Run, run, service_s, ticks
from bench.result import Figure, Result, say, show
from features import arrivals, classes, levels
from models import change, lanes, witnesses

SEEDS = (101, 102, 103)
NEVER = 30.0


@contextmanager
def without(module: Any, **names: Any) -> Iterator[None]:
    """The module with other constants."""
    before = {name: getattr(module, name) for name in names}
    for name, value in names.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


def wrong(speeds: list[float], workers: int, load: float, work: float, seed: int) -> float:
    """How wrong service times are at the end."""
    rate = load * sum(speeds) * workers / work
    *_, (_, last) = ticks(run(max(30.0, 3000 / rate), speeds, rate=rate, work=work, workers=workers, seed=seed))
    off = np.abs(np.log(service_s(last) * np.array(speeds) / work))
    return float(np.exp(np.max(off)))


def wander(seed: int) -> float:
    """Of five like endpoints at 85 %, 4 workers of 60 ms."""
    it = run(60.0, [1.0] * 5, rate=0.85 * 5 * 4 / 0.06, work=0.06, seed=seed)
    told = np.array([np.log(service_s(f)) for t, f in ticks(it) if t > 20])
    return float((told - told.mean(axis=1, keepdims=True)).std())


def known_s(seed: int) -> float:
    """From the onset to the tick that tells it."""
    onset = 20.05 + 0.3 * (seed - SEEDS[0])
    it = run(50.0, lambda t: [1.0, 1.0, 1.0, 1.0, 0.1 if t >= onset else 1.0], rate=50.0, seed=seed)
    return next((t - onset for t, f in ticks(it) if t > onset and service_s(f)[4] > 0.1), NEVER)


def moved(times: float, seed: int, nodes: int = 3) -> float:
    """By one node of three that tells of one endpoint that it took so many times as long."""
    it = run(40.0, [1.0] * 4, rate=160.0, nodes=nodes, seed=seed)
    took = np.where((it.node == 0) & (it.endpoint == 0) & (it.start > 20), it.took * times, it.took)
    return _against_peers(it, took)


def odd(seed: int) -> float:
    """By one attempt of a minute, at 10 requests a second."""
    it = run(50.0, [1.0] * 4, rate=40.0, seed=seed)
    took = it.took.copy()
    took[np.flatnonzero((it.endpoint == 0) & (it.start > 20))[0]] = 60.0
    return _against_peers(it, took)


def heavy(seed: int) -> float:
    """By getting half of the heavy requests."""
    it = run(40.0, [1.0] * 4, rate=120.0, heavy=(0,), route_cost=(0.5, 5.5), route_share=(0.9,), seed=seed)
    return _against_peers(it, it.took)


def _against_peers(it: Run, took: Any) -> float:
    told = [f.endpoints.level_s for t, f in ticks(it, took=took) if t > 20]
    return max(float(level[0] / np.median(level)) for level in told)


def _one(values: Any) -> Any:
    return np.ones_like(values, dtype=np.float64)


def cases() -> Iterator[tuple[str, Callable[[int], float], Any]]:
    """Name of the part, what it is judged by, and the learner without it."""
    one_worker = lambda seed: wrong([1.0, 0.5], 1, 0.6, 0.05, seed)  # noqa: E731
    many = lambda seed: wrong([1.0, 1.0], 32, 0.8, 0.2, seed)  # noqa: E731
    busy = lambda seed: wrong([1.0, 0.5], 4, 0.85, 0.08, seed)  # noqa: E731
    fixed = without(lanes.Lanes, reckoned=lambda self: np.full(self._known.value.shape, lanes.DEFAULT))
    yield "lanes learned, not 4: one worker, 60 %: wrong", one_worker, fixed
    fixed = without(lanes.Lanes, reckoned=lambda self: np.full(self._known.value.shape, lanes.DEFAULT))
    yield "lanes learned, not 4: 32 workers, 80 %: wrong", many, fixed
    all_work = without(lanes, growth=lambda found, _: _one(found))
    yield "waiting told from work by who found how many: wrong", busy, all_work
    brief = without(levels.Levels.__init__, __defaults__=(3.0,))
    yield "a slow window of 25 s, not 3 s: wander", wander, brief
    yield "a change begins anew: known_s", known_s, without(change.Changes.__init__, __defaults__=(change.SHIFT, 1e9))
    yield "a queue is no slowness: wander", wander, without(levels, growth=lambda found, _: _one(found))
    yield "portions count for 3 attempts: wander", wander, without(levels, MOST_A_PORTION=1e9)
    yield "witnesses, one of three tells 500 times: moved", lambda s: moved(500, s), without(witnesses, SURE=1e9)
    yield "witnesses, one of three tells 3 times: moved", lambda s: moved(3, s), without(witnesses, SURE=1e9)
    hasty = without(levels, QUICK_HALF_LIFE_S=levels.HALF_LIFE_S)
    yield "witnesses judged over 4 s as well, 500 times: moved", lambda s: moved(500, s), hasty
    yield "request classes: moved", heavy, without(classes, DRAWN=1e12)
    yield "latency counts up to 2.5 deviations: moved", odd, without(levels, FAR=50.0)
    yield "nodes' clocks aligned (they agree here): wrong", busy, without(arrivals, ALIGN_S=1e9)


def main() -> int:
    """Run all with and without. Exit status 0 when it could run."""
    result = Result("ablation", detail={"seeds": SEEDS})
    for name, judged_by, taken_out in cases():
        say(name)
        whole = median(judged_by(seed) for seed in SEEDS)
        with taken_out:
            rest = median(judged_by(seed) for seed in SEEDS)
        result.figures += [Figure(name, whole), Figure(f"{name}, without", rest)]
        say(f"    {whole:.3f} with, {rest:.3f} without" + ("" if math.isfinite(rest) else " (unknown)"))
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
