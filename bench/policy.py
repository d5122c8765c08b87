"""What each part of the weights policy earns: the lab's scenarios in virtual time with the part taken out.

    python -m bench.policy               # the table, as JSON lines
    python -m bench.policy --seeds 8     # more worlds
    python -m bench.policy --part lose   # the parts whose name has that in it

Each part is judged in the scenarios that it is for, p99 in ms over the judged phase, failed requests counted as the
timeout; the middle over seeds that no choice was made by. `ratio` is without over with: above 1 the part earns its
place. The first row of a scenario is the whole policy; stock policies over the same worlds stand beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

import numpy as np

from bench.result import say
from brain import course, drain, gate, tiers, view, weights
from brain.persistence import Persistence
from brain.settings import Cost, Guard, Mode, Settings
from brain.swells import Swells
from features.levels import Levels
from weirflow.lab.draw import draw
from weirflow.lab.files import load
from weirflow.lab.simulate import simulate

FIRST_SEED = 300
SHARE_PERCENT = 99.0
PEERS = ("least_request", "full_scan", "least_request_true")


@contextmanager
def put(place: Any, **names: Any) -> Iterator[None]:
    """The module or class with other attributes."""
    before = {name: getattr(place, name) for name in names}
    for name, value in names.items():
        setattr(place, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(place, name, value)


def by_capacity(view: Any, log_c: Any, *_: Any) -> Any:
    """The load split by capacity, whatever it costs."""
    out = np.exp(log_c - log_c.max())
    return out / out.sum()


PARTS: dict[str, tuple[Callable[[ExitStack], Any], Settings | None, tuple[tuple[str, int], ...]]] = {
    "tiers (without: one tier, weights deal out turns)": (
        lambda s: s.enter_context(put(tiers, telling=lambda *_: False)),
        None,
        (("hetero-124-90", 4), ("hetero-21-90", 4), ("gray-ten-times", 4)),
    ),
    "split by cost (without: by capacity)": (
        lambda s: s.enter_context(put(weights, shares=by_capacity)),
        None,
        (("hetero-124-70", 4), ("hetero-21-70", 4), ("hetero-124-90", 4)),
    ),
    "only what lasts is acted on (without: all)": (
        lambda s: s.enter_context(put(Persistence, trust=property(lambda _: 1.0))),
        None,
        (("antagonist", 4), ("many-nodes", 100), ("homogeneous-90", 4)),
    ),
    "no capacity beyond what was witnessed (without: the model's word)": (
        lambda s: s.enter_context(put(view, SLACK=1e9)),
        None,
        (("many-nodes-124", 100), ("many-nodes-21", 100), ("hetero-124-90", 4)),
    ),
    "the holdout's part is counted (without: ignored), share 95": (
        lambda s: s.enter_context(put(weights, beside=lambda whole, *_: whole)),
        Settings(mode=Mode.ADAPTIVE, share_percent=95.0),
        (("hetero-21-90", 4), ("hetero-124-90", 4)),
    ),
    "the floor follows the rate (without: 5 % of the mean)": (
        lambda s: s.enter_context(put(course, least_share=lambda *_: 0.05)),
        None,
        (("gray-slow", 4), ("sinkhole", 4)),
    ),
    "a cut goes to the floor at once (without: to a tenth a push)": (
        lambda _: None,
        Settings(mode=Mode.ADAPTIVE, share_percent=SHARE_PERCENT, guard=Guard(step_down=0.1)),
        (("gray-slow", 4), ("sinkhole", 4)),
    ),
    "a tier can lose one (without: no price on it)": (
        lambda _: None,
        Settings(mode=Mode.ADAPTIVE, share_percent=SHARE_PERCENT, cost=Cost(overhang_price_s=0.0)),
        (
            ("lose-the-strongest", 2),
            ("lose-the-only-strong", 2),
            ("lose-one-of-the-strong", 4),
            ("hetero-124-70", 4),
            ("hetero-21-70", 4),
            ("hetero-124-90", 4),
            ("surge", 4),
            ("gray-ten-times", 4),
        ),
    ),
    "a queue of seconds is planned away (without: left to the pick)": (
        lambda s: s.enter_context(put(drain, LEAST_S=np.inf)),
        None,
        (("many-nodes-124", 100), ("many-nodes-21", 100), ("antagonist", 100), ("hetero-124-90", 4)),
    ),
    "a change is looked at again by what was found (without: as first seen)": (
        lambda s: s.enter_context(put(Levels, _again=lambda *_: True)),
        None,
        (("many-nodes-124", 100), ("many-nodes-21", 100), ("cost-21", 100), ("antagonist", 4)),
    ),
    "a crowd of workers walks less together (without: as much as eight)": (
        lambda s: s.enter_context(put(gate, walk_of_each=lambda n: min(1.0, gate.CROWD / n))),
        None,
        (("many-nodes-124", 100), ("many-nodes-21", 100), ("cost-21", 100)),
    ),
    "bursts are planned for (without: the mean of the last seconds)": (
        lambda s: s.enter_context(put(Swells, most_per_s=lambda *_: 0.0)),
        None,
        (("surge", 4), ("flash-crowd", 4), ("diurnal", 4), ("ramp", 4), ("hetero-124-70", 4)),
    ),
    "reserve for the weak (without: none)": (
        lambda _: None,
        Settings(mode=Mode.ADAPTIVE, share_percent=SHARE_PERCENT, cost=Cost(reserve=0.0)),
        (("surge", 4), ("hetero-124-70", 4)),
    ),
}


def p99_ms(name: str, nodes: int, policy: str, seed: int, settings: Settings | None) -> float:
    """One run's figure."""
    scenario = load(name)
    fleet, trace = draw(scenario, np.random.default_rng((seed,)), nodes)
    more = {"settings": settings} if policy == "weirflow" else {}
    run = simulate(scenario, policy, fleet, trace, np.random.default_rng((seed, 1)), nodes=nodes, **more)
    phase = next((p for p in scenario.phases if p.name == scenario.judged), None)
    start, end = (phase.start_s, phase.end_s) if phase else (scenario.warmup_s, np.inf)
    judged = (trace.at_s >= start) & (trace.at_s < end)
    felt = np.where(run.fate.ok, run.fate.latency_s, scenario.timeout_s)[judged]
    return float(np.quantile(felt, 0.99)) * 1e3


def middle(name: str, nodes: int, policy: str, seeds: range, settings: Settings | None = None) -> float:
    """The middle over seeds."""
    found = [p99_ms(name, nodes, policy, seed, settings) for seed in seeds]
    return round(median(found), 1)


def main(arguments: list[str]) -> int:
    """Print a row for each part and scenario."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--part", default="", help="only parts whose name has this in it")
    told = parser.parse_args(arguments)
    seeds = range(told.first_seed, told.first_seed + told.seeds)
    whole = Settings(mode=Mode.ADAPTIVE, share_percent=SHARE_PERCENT)
    known: dict[tuple[str, int, float], float] = {}
    for part, (take_out, settings, scenarios) in PARTS.items():
        if told.part not in part:
            continue
        for name, nodes in scenarios:
            base = settings or whole
            key = (name, nodes, base.share_percent)
            if key not in known:
                like = Settings(mode=Mode.ADAPTIVE, share_percent=base.share_percent)
                known[key] = middle(name, nodes, "weirflow", seeds, like)
                peers = {p: middle(name, nodes, p, seeds) for p in PEERS}
                print(json.dumps({"scenario": name, "nodes": nodes, "whole": known[key], **peers}), flush=True)
            with ExitStack() as out:
                take_out(out)
                without = middle(name, nodes, "weirflow", seeds, base)
            row = {"part": part, "scenario": name, "nodes": nodes, "with": known[key], "without": without}
            print(json.dumps(row | {"ratio": round(without / known[key], 3)}), flush=True)
        say(f"done: {part}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
