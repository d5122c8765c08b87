"""What is found of faults, and what is cried for nothing: the watch that runs live, in a mesh in virtual time.

    python -m bench.incidents                 # the table, as JSON lines
    python -m bench.incidents --seeds 20 --first-seed 1000
    python -m bench.incidents --fault slow    # the faults whose name has that in it

One service of `ENDPOINTS` endpoints in three zones behind two proxies, `RATE_PER_S` requests a second. After `CALM_S`
something goes wrong for `FAULT_S`, and is well again for `AFTER_S`. Told of each fault and size, over seeds:

* `recall`: the share of runs in which an incident was open during the fault;
* `detect_s`: the median time from the fault to the first incident;
* `cause`: the share in which that incident's first cause was of the right kind and place, at the end of the fault;
* `incidents`: how many there were in a run, at most; more than one is one too many;
* `before`: incidents before the fault, over all runs; all of them are false.

With `--rivals` what others would have told of the same troubles stands beside it (`bench.incident_rivals`), each of
`RIVALS_FAULT_S`. `right` is the share in which it was found and who was blamed in the first ten seconds were the
culprits and nobody else, or, by a rival that speaks of services only, in which the trouble was the whole service's.
What is told of calm is `bench.calm`.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from bench.incident_rivals import told, watched
from bench.result import Figure, Result, say, show
from bench.watched import ZONES, Floats, World, address, live
from brain.decision import IncidentView
from dataplane.simulated.endpoint import Behaviour, Fault

ENDPOINTS, RATE_PER_S = 9, 150.0
CALM_S, FAULT_S, AFTER_S = 90.0, 60.0, 60.0
RIVALS_FAULT_S = 600.0
"""Theirs lasts longer: an alert that waits for a minute over a minute could not be in time for another."""
HEALTHY = Behaviour(service_s=0.05, workers=4, variation=0.7)


@dataclass(frozen=True, slots=True)
class Trouble:
    """One fault of one size. `faults` are those of each bad endpoint, `bad` how many there are."""

    name: str
    causes: tuple[str, ...]  # kinds that are right as the first cause
    bad: int = 0
    fault: Callable[[float, float], Fault] | None = None
    rate: float = 1.0  # of the traffic, meanwhile
    zone: bool = False  # the bad ones are a zone


def slow(times: float) -> Callable[[float, float], Fault]:
    """Work takes so many times as long."""
    return lambda start, end: Fault("slow", start, end, factor=times)


def failing(share: float) -> Callable[[float, float], Fault]:
    """A share of the requests fails at once."""
    return lambda start, end: Fault("error", start, end, share=share)


def hanging(start: float, end: float) -> Fault:
    """Nothing ends."""
    return Fault("hang", start, end)


FAILS, SLOWS = ("EndpointFailing",), ("EndpointSlow",)
TROUBLES = (
    *(Trouble(f"slow_{x:g}", SLOWS, 1, slow(x)) for x in (2, 3, 10)),
    *(Trouble(f"fails_{x:g}", FAILS, 1, failing(x)) for x in (0.1, 0.5, 1.0)),
    *(Trouble(f"all_fail_{x:g}", ("ServiceFailing",), ENDPOINTS, failing(x)) for x in (0.02, 0.2)),
    Trouble("hang", ("EndpointHangs", "EndpointFailing"), 1, hanging),  # in the end they time out
    *(Trouble(f"all_slow_{x:g}", ("ServiceSlow",), ENDPOINTS, slow(x)) for x in (2, 5)),
    Trouble("zone_slow", ("ZoneSlow",), 3, slow(5), zone=True),
    Trouble("zone_fails", ("ZoneFailing",), 3, failing(0.5), zone=True),
    *(Trouble(f"drop_{x:g}", ("TrafficDrop",), rate=x) for x in (0.4, 0.1)),
    *(Trouble(f"surge_{x:g}", ("TrafficSurge", "SaturationAhead"), rate=x) for x in (2.5,)),
)


Log = list[tuple[float, tuple[IncidentView, ...]]]
"""The incidents at each tick."""


def told_of(world: World, until_s: float) -> Log:
    """The incidents at each tick."""
    return [(decision.now, decision.incidents) for decision in live(world, until_s)]


def troubled(trouble: Trouble, seed: int, fault_s: float = FAULT_S) -> World:
    """A world with this trouble in it."""
    start, end = CALM_S, CALM_S + fault_s
    bad, ill = culprits(trouble), HEALTHY
    if trouble.fault is not None:
        ill = replace(HEALTHY, faults=(trouble.fault(start, end),))

    def rate(at_s: Floats) -> Floats:
        return np.where((start <= at_s) & (at_s < end), RATE_PER_S * trouble.rate, RATE_PER_S)

    return World([ill if i in bad else HEALTHY for i in range(ENDPOINTS)], rate, seed)


def culprits(trouble: Trouble) -> set[int]:
    """Who is bad in it."""
    return set(range(0, ZONES * trouble.bad, ZONES)) if trouble.zone else set(range(trouble.bad))


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one run."""

    found_s: float | None  # from the fault to the first incident
    right: bool
    incidents: int
    before: int

    @classmethod
    def of(cls, log: Log, start: float, end: float, right: Callable[[Sequence[str]], bool]) -> Told:
        """Of a fault from one time to another. `right`: whether causes, in their order as the fault ended, are."""
        before = {i.id for now, some in log if now <= start for i in some}
        after = {i.id for now, some in log if now > start for i in some} - before
        told = meanwhile(log, start, end)
        if not told:
            return cls(None, False, len(after), len(before))
        return cls(told[0][0] - start, right(told[-1][1].causes), len(after), len(before))


def meanwhile(log: Log, start: float, end: float) -> list[tuple[float, IncidentView]]:
    """What was told of during a fault, tick by tick, of incidents that there were not before it."""
    before = {i.id for now, some in log if now <= start for i in some}
    return [(now, i) for now, some in log if start < now <= end for i in some if i.id not in before]


def suffer(trouble: Trouble, seed: int) -> Told:
    """One run with this trouble in it."""
    places = {"zone-0"} if trouble.zone else {"shop"}
    if trouble.bad == 1:
        places = {address(i) for i in culprits(trouble)}

    def right(causes: Sequence[str]) -> bool:
        kind, _, where = causes[0].partition(" ")
        return kind in trouble.causes and where in places

    start, end = CALM_S, CALM_S + FAULT_S
    return Told.of(told_of(troubled(trouble, seed), end + AFTER_S), start, end, right)


def figures_of(name: str, runs: Sequence[Told]) -> list[Figure]:
    """Of a trouble of that name, over all runs."""
    found = [t.found_s for t in runs if t.found_s is not None]
    return [
        Figure(f"{name}_recall", len(found) / len(runs), bar=0.95, at_most=False),
        Figure(f"{name}_detect_s", median(found) if found else math.nan, "s", bar=3.0),
        Figure(f"{name}_detect_worst_s", max(found, default=math.nan), "s"),
        Figure(f"{name}_cause", sum(t.right for t in runs) / len(runs), bar=0.9, at_most=False),
        Figure(f"{name}_incidents", float(max(t.incidents for t in runs)), bar=1.0),
        Figure(f"{name}_before", float(sum(t.before for t in runs)), bar=0.0),
    ]


def rivals(trouble: Trouble, seeds: Sequence[int]) -> dict[str, dict[str, float | None]]:
    """By rival: recall, the median time to detect, how often it was right, and runs in which it fired before."""
    start, end = int(CALM_S), int(CALM_S + RIVALS_FAULT_S)
    out: dict[str, dict[str, float | None]] = {}
    bad = culprits(trouble) if trouble.fault is not None and trouble.bad < ENDPOINTS else set()
    by_rival: dict[str, list[tuple[int | None, bool, bool]]] = defaultdict(list)
    for seed in seeds:
        for name, said in told(watched(troubled(trouble, seed, RIVALS_FAULT_S), end)).items():
            during = np.flatnonzero(said.fires[start:end])
            first = start + int(during[0]) if during.size else end
            who = set() if said.at is None else set(np.flatnonzero(said.at[first : first + 10].any(axis=0)).tolist())
            right = who == bad if said.at is not None and bad else not bad
            by_rival[name].append((int(during[0]) + 1 if during.size else None, right, bool(said.fires[:start].any())))
    for name, runs in by_rival.items():
        found = [at for at, _, _ in runs if at is not None]
        out[name] = {
            "recall": len(found) / len(runs),
            "detect_s": median(found) if found else None,
            "right": sum(right for at, right, _ in runs if at is not None) / len(runs),
            "before": sum(early for _, _, early in runs),
        }
    return out


def main() -> int:
    """Measure and print. Exit status 0 when it could run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rivals", action="store_true", help="what others would have told as well")
    parser.add_argument("--fault", default="", help="only those whose name has this in it")
    asked = parser.parse_args()
    result = Result("incidents")
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    for trouble in (t for t in TROUBLES if asked.fault in t.name):
        runs = [suffer(trouble, seed) for seed in seeds]
        say(f"incidents: {trouble.name}: found {sum(t.found_s is not None for t in runs)} of {len(runs)}")
        result.figures += figures_of(trouble.name, runs)
        if asked.rivals:
            result.detail[trouble.name] = rivals(trouble, seeds)
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
