"""What is found of faults, and what is cried for nothing: the watch that runs live, in a mesh in virtual time.

    python -m bench.incidents                 # the table, as JSON lines
    python -m bench.incidents --seeds 5 --hours 24
    python -m bench.incidents --fault slow    # the faults whose name has that in it

One service of `ENDPOINTS` endpoints in three zones behind two proxies, `RATE_PER_S` requests a second. After `CALM_S`
something goes wrong for `FAULT_S`, and is well again for `AFTER_S`. Told of each fault and size, over seeds:

* `recall`: the share of runs in which an incident was open during the fault;
* `detect_s`: the median time from the fault to the first incident;
* `cause`: the share in which that incident's first cause was of the right kind and place, at the end of the fault;
* `incidents`: how many there were in a run, at most; more than one is one too many;
* `before`: incidents before the fault, over all runs; all of them are false.

And of calm: hours of a day with its season (traffic between a half and one and a half of the mean), with deploys (an
endpoint starts anew and is slow for ten seconds) and noise: `false_per_week`.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from bench.result import Figure, Result, say, show
from brain.brain import Brain
from brain.decision import Decision, IncidentView
from brain.settings import Mode, Settings
from dataplane.contract import Endpoint, Node, Service, Topology
from dataplane.simulated.drive import run
from dataplane.simulated.endpoint import Behaviour, Fault
from dataplane.simulated.mesh import Load, SimulatedMesh

ENDPOINTS, NODES, RATE_PER_S = 9, 2, 150.0
CALM_S, FAULT_S, AFTER_S = 90.0, 60.0, 60.0
HEALTHY = Behaviour(service_s=0.05, workers=4, variation=0.7)
SETTINGS = Settings(mode=Mode.ADAPTIVE)


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


def topology() -> Topology:
    """The mesh."""
    members = tuple(Endpoint(i, f"10.0.0.{i}:80", zone=f"zone-{i % 3}") for i in range(ENDPOINTS))
    return Topology(1, (Service(0, "shop", members),), tuple(Node(n, f"edge-{n}") for n in range(NODES)))


def live(
    behaviours: Sequence[Behaviour], rate: Callable[[float], float], until: float, seed: int
) -> list[tuple[float, tuple[IncidentView, ...]]]:
    """The incidents at each tick."""
    shape = topology()
    by_address = {e.address: b for e, b in zip(shape.services[0].endpoints, behaviours, strict=True)}
    mesh = SimulatedMesh(shape, [Load("shop", rate)], by_address, np.random.default_rng(seed))
    out = []
    for decision in run(mesh, Brain(shape, SETTINGS), until):
        assert isinstance(decision, Decision)
        out.append((decision.now, decision.incidents))
        mesh.ended.clear()
    return out


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one run."""

    found_s: float | None  # from the fault to the first incident
    right: bool
    incidents: int
    before: int


def suffer(trouble: Trouble, seed: int) -> Told:
    """One run with this trouble in it."""
    start, end = CALM_S, CALM_S + FAULT_S
    bad = set(range(0, 3 * trouble.bad, 3)) if trouble.zone else set(range(trouble.bad))
    ill = Behaviour(HEALTHY.service_s, HEALTHY.workers, HEALTHY.variation)
    if trouble.fault is not None:
        ill = Behaviour(HEALTHY.service_s, HEALTHY.workers, HEALTHY.variation, faults=(trouble.fault(start, end),))
    log = live(
        [ill if i in bad else HEALTHY for i in range(ENDPOINTS)],
        lambda now: RATE_PER_S * (trouble.rate if start <= now < end else 1.0),
        end + AFTER_S,
        seed,
    )
    before = {i.id for now, some in log if now <= start for i in some}
    meanwhile = [(now, i) for now, some in log if start < now <= end for i in some if i.id not in before]
    after = {i.id for now, some in log if now > start for i in some} - before
    if not meanwhile:
        return Told(None, False, len(after), len(before))
    kind, _, where = meanwhile[-1][1].causes[0].partition(" ")
    places = {f"10.0.0.{i}:80" for i in bad} if trouble.bad == 1 else {"zone-0"} if trouble.zone else {"shop"}
    return Told(meanwhile[0][0] - start, kind in trouble.causes and where in places, len(after), len(before))


def calm(seed: int, hours: float) -> int:
    """Incidents in so many hours in which nothing is wrong."""
    rng = np.random.default_rng(seed)
    deploys = np.sort(rng.uniform(600, hours * 3600, max(1, int(hours / 3))))
    behaviours = []
    for i in range(ENDPOINTS):
        mine = tuple(Fault("slow", t, t + 10, factor=1.5) for t in deploys[i::ENDPOINTS].tolist())
        behaviours.append(Behaviour(HEALTHY.service_s, HEALTHY.workers, HEALTHY.variation, faults=mine))

    def rate(now: float) -> float:
        return RATE_PER_S / 3 * (1.0 + 0.5 * math.sin(2 * math.pi * now / 86400.0))

    return len({i.id for _, some in live(behaviours, rate, hours * 3600, seed) for i in some})


def main() -> int:
    """Measure and print. Exit status 0 when it could run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--hours", type=float, default=6.0, help="of calm, for each seed")
    parser.add_argument("--fault", default="", help="only those whose name has this in it")
    asked = parser.parse_args()
    result = Result("incidents")
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    for trouble in (t for t in TROUBLES if asked.fault in t.name):
        told = [suffer(trouble, seed) for seed in seeds]
        found = [t.found_s for t in told if t.found_s is not None]
        say(f"incidents: {trouble.name}: found {len(found)} of {len(told)}")
        n = trouble.name
        result.figures.append(Figure(f"{n}_recall", len(found) / len(told), bar=0.95, at_most=False))
        result.figures.append(Figure(f"{n}_detect_s", median(found) if found else math.nan, "s", bar=3.0))
        result.figures.append(Figure(f"{n}_cause", sum(t.right for t in told) / len(told), bar=0.9, at_most=False))
        result.figures.append(Figure(f"{n}_incidents", float(max(t.incidents for t in told)), bar=1.0))
        result.figures.append(Figure(f"{n}_before", float(sum(t.before for t in told)), bar=0.0))
    if not asked.fault and asked.hours > 0:
        false = sum(calm(seed, asked.hours) for seed in seeds)
        weeks = asked.seeds * asked.hours / 168.0
        result.figures.append(Figure("false_per_week", false / weeks, bar=1.0))
        result.figures.append(Figure("weeks_of_calm", weeks))
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
