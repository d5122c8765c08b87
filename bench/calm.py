"""What is cried for nothing: hours of a busy service in which no one need be woken, in virtual time.

    python -m bench.calm --seeds 4 --hours 48 --first-seed 2000     # JSON; a line for each false incident on stderr
    python -m bench.calm --rivals --hours 24                        # what others would have told
    python -m bench.calm --hours 1 --deploys 5760                   # deploys of three weeks in four hours
    python -m bench.calm --seeds 8 --hours 24 --mesh                # the seeds at once, services of one mesh

`ENDPOINTS` endpoints that are unlike for good and wander a little, with queues now and then. Traffic has its season of
a day, wanders by the minute and comes in bursts by the second. One endpoint after another starts anew and is slow for
ten seconds. Two in a thousand attempts fail. And all slow down together by a tenth to a fifth for some minutes, several
times a day. Whatever is told of such a mesh is told for nothing. How often there are deploys, and how often all slow
down together, may be asked for: what is rare is counted sooner so.

A seed is another world for other `--hours`: whoever writes down an incident writes down both. With `--mesh` the worlds
are the same under one brain, but that each begins at another time of its day: more hours are lived in a time, and soon
all of a day's. A week stays a week of one service.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import gammaincinv

from bench.incident_rivals import Bools, told, watched
from bench.result import Figure, Result, say, show
from bench.watched import Floats, World, live_all
from brain.decision import IncidentView
from brain.incidents import QUIET_S
from dataplane.simulated.endpoint import Behaviour, Fault

ENDPOINTS = 40
PER_S = 8.0
"""Requests a second and endpoint, in the mean over a day."""
WORK_S, WORKERS, VARIATION = 0.08, 2, 0.7
UNLIKE, WANDERS, WANDERS_S = 0.15, 0.04, 1200.0
SEASON, BY_MINUTE, BY_SECOND = 0.5, 0.08, 0.2
DEPLOYS_A_DAY, DEPLOYED_S, COLD = 12, 10.0, 1.5
FAIL = 0.002
"""Of all attempts, always."""
TOGETHER_A_DAY = 16
TOGETHER_S, TOGETHER = (120.0, 600.0), (1.1, 1.2)
WEEK_H = 168.0


def world(
    seed: int, hours: float, *, together: float = TOGETHER_A_DAY, deploys: float = DEPLOYS_A_DAY, day: float = 0.0
) -> World:
    """So many hours of it. `together` and `deploys` are a day; `day` is the part of its day at which it begins."""
    rng, until_s = np.random.default_rng((seed, 1)), hours * 3600.0
    shared = []
    for begin in np.sort(rng.uniform(600.0, until_s, int(together * hours / 24))).tolist():
        shared.append(Fault("slow", begin, begin + rng.uniform(*TOGETHER_S), factor=rng.uniform(*TOGETHER)))
    anew = np.sort(rng.uniform(600.0, until_s, max(1, int(deploys * hours / 24))))
    behaviours = []
    for e in range(ENDPOINTS):
        mine = [Fault("slow", t, t + DEPLOYED_S, factor=COLD) for t in anew[e::ENDPOINTS].tolist()]
        for begin in np.arange(rng.uniform(0.0, WANDERS_S), until_s, WANDERS_S).tolist():
            mine.append(Fault("slow", begin, begin + WANDERS_S, factor=float(np.exp(rng.normal(0.0, WANDERS)))))
        mine.append(Fault("error", 0.0, np.inf, share=FAIL))
        work_s = WORK_S * float(np.exp(rng.normal(0.0, UNLIKE)))
        behaviours.append(Behaviour(work_s, WORKERS, VARIATION, faults=(*mine, *shared)))
    noise = rng.normal(0.0, BY_MINUTE, int(until_s / 60.0) + 2)
    bursts = rng.gamma(BY_SECOND**-2, BY_SECOND**2, int(until_s) + 2)

    def rate(at_s: Floats) -> Floats:
        season = 1.0 + SEASON * np.sin(2.0 * np.pi * (at_s / 86400.0 + day))
        minute = np.interp(at_s, 60.0 * np.arange(len(noise)), noise)
        return np.asarray(ENDPOINTS * PER_S * season * np.exp(minute) * bursts[at_s.astype(np.int64)])

    return World(behaviours, rate, seed, flush_s=0.25)


def cries(lived: Sequence[World], hours: float) -> Iterator[tuple[float, IncidentView]]:
    """Each incident of those hours of one mesh, and when it was first told."""
    known = set()
    for decision in live_all(lived, hours * 3600.0):
        if decision.now % 3600.0 == 0.0:
            say(f"calm: {seeds_of(lived)}, {decision.now / 3600.0:.0f} h lived")
        for incident in decision.incidents:
            if incident.id not in known:
                known.add(incident.id)
                yield decision.now, incident


def seeds_of(worlds: Sequence[World]) -> str:
    """For people."""
    return f"seed{'s' * (len(worlds) > 1)} {', '.join(str(world.seed) for world in worlds)}"


def at_most(false: int) -> float:
    """The mean of which no more are seen in one case of ten: how many they may stand for, with 90 % confidence."""
    return float(gammaincinv(false + 1.0, 0.9))


def episodes(fires: Bools) -> int:
    """How often something began to fire that had not for `QUIET_S`."""
    at = np.flatnonzero(fires)
    return int((np.diff(at, prepend=-np.inf) > QUIET_S).sum())


def main() -> int:
    """Measure and print. Exit status 0 when it could run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--hours", type=float, default=48.0, help="for each seed")
    parser.add_argument("--together", type=float, default=TOGETHER_A_DAY, help="slow all down so often a day")
    parser.add_argument("--deploys", type=float, default=DEPLOYS_A_DAY, help="start one anew so often a day")
    parser.add_argument("--mesh", action="store_true", help="all seeds at once, as services of one mesh")
    parser.add_argument("--rivals", action="store_true", help="what others would have told, and nobody else")
    asked = parser.parse_args()
    result, kinds = Result("calm"), Counter[str]()
    seeds, others = range(asked.first_seed, asked.first_seed + asked.seeds), Counter[str]()

    def made(seed: int) -> World:
        day = (seed - asked.first_seed) / asked.seeds if asked.mesh else 0.0
        return world(seed, asked.hours, together=asked.together, deploys=asked.deploys, day=day)

    for seed in seeds if asked.rivals else ():
        seen = watched(made(seed), asked.hours * 3600.0)
        others.update({name: episodes(said.fires) for name, said in told(seen).items()})
        say(f"calm: seed {seed} done, {dict(others)}")
    worlds = [made(seed) for seed in seeds]
    for lived in () if asked.rivals else [worlds] if asked.mesh else [[one] for one in worlds]:
        for at_s, incident in cries(lived, asked.hours):
            where, what = incident.labels["service"], "; ".join(incident.causes)
            say(f"calm: {where}, {at_s / 3600.0:.2f} h: {what}: {incident.summary}")
            kinds[incident.kind] += 1
        say(f"calm: {seeds_of(lived)} done, {kinds.total()} so far")
    weeks, false = asked.seeds * asked.hours / WEEK_H, kinds.total()
    if asked.rivals:
        result.figures += [Figure(f"{name}_false_a_week", count / weeks) for name, count in others.items()]
    else:
        result.figures.append(Figure("false_a_week", false / weeks, bar=1.0))
        result.figures.append(Figure("false_a_week_at_most", at_most(false) / weeks, "with 90 % confidence"))
        result.figures.append(Figure("false", float(false)))
    result.figures.append(Figure("weeks", weeks))
    result.detail |= {"endpoints": ENDPOINTS, "first_seed": asked.first_seed, "hours_a_seed": asked.hours}
    result.detail |= {"together_a_day": asked.together, "deploys_a_day": asked.deploys, "kinds": dict(kinds)}
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
