"""Services in virtual time for the watch to look at: what goes wrong with whom, what is asked, and a brain over them.

A service's world is drawn by NumPy and lived by the compiled mesh, a stretch of some hours after another, so that
memory does not grow with the weeks. The brain lives through all of them. Between two stretches the requests that are
open are lost, a handful, and a plan in force stays so.

Several worlds may be the services of one mesh: what a brain's tick costs is then paid once for all. Each is lived by a
mesh that knows of no other; what it tells is renumbered, and joined with what the others tell at the same moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from brain.brain import Brain
from brain.decision import Decision
from brain.settings import Mode, Settings
from dataplane.contract import Endpoint, Felt, InFlight, Node, Plan, Requests, Service, Telemetry, Topology
from dataplane.simulated.endpoint import Behaviour
from dataplane.simulated.fleet import Fleet, Trace
from dataplane.simulated.fleet_mesh import FleetMesh, Rhythm
from dataplane.simulated.logs import Wire

Floats = NDArray[np.float64]
Rate = Callable[[Floats], Floats]
"""Requests a second by time: shape (n,) to shape (n,)."""

SETTINGS = Settings(mode=Mode.ADAPTIVE)
NODES, ZONES = 2, 3
STRETCH_S = 1800.0
LAST_WORDS_S = 1e-6
"""What falls on the end of a stretch is heard, or half a second of the load reports would be missing."""
QUANTUM_S = 1.0
"""The rate is the same within so much time."""


@dataclass(frozen=True, slots=True)
class World:
    """All that happens but the picks. The seed's chance is spent by stretch, so a stretch is drawn only when lived."""

    behaviours: Sequence[Behaviour]
    rate: Rate
    seed: int
    flush_s: float = 0.1
    callers: tuple[str, ...] = ("",) * NODES  # by node, whose proxy it is
    shares: tuple[float, ...] = ()  # of the traffic, by node; none: alike

    @property
    def topology(self) -> Topology:
        """One service, `shop`, in three zones."""
        members = (Endpoint(i, address(i), zone=f"zone-{i % ZONES}") for i in range(len(self.behaviours)))
        return Topology(1, (Service(0, "shop", tuple(members)),), self.nodes)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The proxies that it is asked through."""
        return tuple(Node(n, f"edge-{n}", service=caller) for n, caller in enumerate(self.callers))

    def trace(self, begin_s: float, end_s: float) -> Trace:
        """What is asked in that time, as of `begin_s`: Poisson in each quantum, gamma distributed work."""
        rng = np.random.default_rng((self.seed, int(begin_s)))
        quanta = np.arange(begin_s, end_s, QUANTUM_S)
        count = rng.poisson(self.rate(quanta) * QUANTUM_S)
        many, one = int(count.sum()), self.behaviours[0]
        at = np.sort(np.repeat(quanta - begin_s, count) + rng.uniform(0.0, QUANTUM_S, many))
        shape = one.variation**-2
        return Trace.of(
            at_s=at,
            node=rng.choice(len(self.callers), many, p=self.shares) if self.shares else rng.integers(NODES, size=many),
            klass=np.zeros(many),
            demand_s=rng.gamma(shape, one.service_s / shape, many),
            luck=rng.random(many),
        )

    def fleet(self, begin_s: float = 0.0, end_s: float = np.inf) -> Fleet:
        """Who serves in that time, as of `begin_s`."""
        first, every = self.behaviours[0], self.behaviours
        parts = [_pieces(b, begin_s, end_s) for b in every]
        most, many = max(len(p) for p in parts), len(every)
        since, speed, fails, hangs = np.full((many, most), np.inf), *np.zeros((2, many, most)), np.zeros((many, most))
        for e, (behaviour, part) in enumerate(zip(every, parts, strict=True)):
            for k, at in enumerate(part):
                here = [f for f in behaviour.faults if f.start_s <= at < f.end_s]
                since[e, k] = max(at - begin_s, 0.0)
                slow = float(np.prod([f.factor for f in here if f.kind == "slow"]))
                speed[e, k] = first.service_s / behaviour.service_s / slow
                fails[e, k] = max((f.share for f in here if f.kind == "error"), default=0.0)
                hangs[e, k] = any(f.kind == "hang" for f in here)
            speed[e, len(part) :] = speed[e, len(part) - 1]
        return Fleet(
            names=tuple(address(e) for e in range(many)),
            zones=tuple(f"zone-{e % ZONES}" for e in range(many)),
            group=np.zeros(many, np.int64),
            weight=np.ones(many, np.int64),
            workers=np.array([b.workers for b in every]),
            joins_s=np.zeros(many),
            leaves_s=np.full(many, np.inf),
            since_s=since,
            speed=speed,
            extra_s=np.zeros((many, most)),
            error_share=fails,
            status=np.full((many, most), 500),
            after_s=np.full((many, most), 0.001),
            hang=hangs > 0,
        )


def address(endpoint: int) -> str:
    """Of the endpoint with this id."""
    return f"10.0.0.{endpoint}:80"


def _pieces(behaviour: Behaviour, begin_s: float, end_s: float) -> list[float]:
    """When another behaviour begins, within that time."""
    edges = {t for f in behaviour.faults for t in (f.start_s, f.end_s)}
    return [begin_s, *sorted(t for t in edges if begin_s < t < end_s)]


def live(
    world: World,
    until_s: float,
    brain: Brain | None = None,
    tap: Callable[[Telemetry, float], None] = lambda _batch, _now: None,
    from_s: float = 0.0,
) -> Iterator[Decision]:
    """Each tick's decision from then until then. `tap` hears what the brain hears, and when."""
    return live_all((world,), until_s, brain or Brain(world.topology, SETTINGS), tap, from_s)


def live_all(
    worlds: Sequence[World],
    until_s: float,
    brain: Brain | None = None,
    tap: Callable[[Telemetry, float], None] = lambda _batch, _now: None,
    from_s: float = 0.0,
) -> Iterator[Decision]:
    """The same of worlds that are services of one mesh, named after their seeds. All have the same proxies."""
    topology = joined(worlds)
    brain = brain or Brain(topology, SETTINGS)
    for number, begin_s in enumerate(np.arange(from_s, until_s, STRETCH_S).tolist()):
        end_s = min(begin_s + STRETCH_S, until_s)
        parts = [_Part(world, s, int(topology.members[s][0])) for s, world in enumerate(worlds)]
        for part in parts:
            part.begin(number, begin_s, end_s)
        yield from _lived(parts, brain, begin_s, end_s, tap)


def joined(worlds: Sequence[World]) -> Topology:
    """One mesh with a service for each world, its endpoints numbered on from those before."""
    services, first = [], 0
    for s, world in enumerate(worlds):
        (alone,) = world.topology.services
        members = tuple(replace(e, id=first + e.id) for e in alone.endpoints)
        services.append(Service(s, f"{alone.name}-{world.seed}", members))
        first += len(members)
    return Topology(1, tuple(services), worlds[0].nodes)


class _Part:
    """One world among others for a stretch, under its own numbers: `service` and its `first` endpoint elsewhere."""

    def __init__(self, world: World, service: int, first: int) -> None:
        self._world, self._service, self._first = world, service, first
        self._told: list[tuple[float, Telemetry]] = []  # since the last time

    def begin(self, number: int, begin_s: float, end_s: float) -> None:
        """A mesh for this stretch."""
        world = self._world
        self.mesh = FleetMesh(
            world.topology,
            world.fleet(begin_s, end_s),
            world.trace(begin_s, end_s),
            np.random.default_rng((world.seed, number, 7)),
            lambda batch: self._told.append((self.mesh.now, batch)),
            wire=Wire(skew_s=(begin_s,)),
            rhythm=Rhythm(flush_s=world.flush_s),
        )

    def run(self, until_s: float) -> list[tuple[float, Telemetry]]:
        """What it tells until then, and when."""
        self.mesh.run(until_s)
        told, self._told = self._told, []
        return [(now, self._elsewhere(batch)) for now, batch in told]

    def publish(self, plan: Plan) -> None:
        """Put its part of the plan in force."""
        told = plan.services[self._service]
        weights, tiers = ({e - self._first: x for e, x in some.items()} for some in (told.weights, told.tiers))
        self.mesh.publish(Plan(plan.version, {0: replace(told, weights=weights, tiers=tiers)}))

    def _elsewhere(self, batch: Telemetry) -> Telemetry:
        if not self._service:
            return batch
        if isinstance(batch, Felt):
            return replace(batch, service=batch.service + self._service)
        if isinstance(batch, Requests | InFlight):
            endpoint = np.where(batch.endpoint >= 0, batch.endpoint + self._first, -1)
            return replace(batch, service=batch.service + self._service, endpoint=endpoint.astype(np.int32))
        return batch


def _lived(
    parts: Sequence[_Part], brain: Brain, begin_s: float, end_s: float, tap: Callable[[Telemetry, float], None]
) -> Iterator[Decision]:
    """One stretch. As `drive.run`, at another time than the meshes' own."""

    def run(until_s: float) -> None:
        for at_s, batch in _in_turn([told for part in parts for told in part.run(until_s)]):
            now = min(begin_s + at_s, end_s)
            tap(batch, now)
            brain.told(batch, now)

    def publish(plan: Plan | None) -> None:
        for part in parts if plan is not None else ():
            part.publish(plan)

    first = parts[0].mesh  # of what is in force at a proxy all tell the same
    first.on_event = lambda event: brain.heard(event, begin_s + first.now)
    publish(brain.decision.plan if brain.decision is not None else None)
    at_s = 0.0
    while begin_s + at_s + SETTINGS.tick_s <= end_s:
        at_s += SETTINGS.tick_s
        run(at_s)
        decision = brain.tick(begin_s + at_s)
        publish(decision.plan)
        yield decision
    run(at_s + LAST_WORDS_S)


def _in_turn(told: Sequence[tuple[float, Telemetry]]) -> Iterator[tuple[float, Telemetry]]:
    """By time, reports before logs; what is of one kind and moment, and of one node if a report, is one batch."""
    kinds = (InFlight, Felt, Requests)

    def place(one: tuple[float, Telemetry]) -> tuple[float, int, int]:
        at_s, batch = one
        return at_s, kinds.index(type(batch)), batch.node_id if isinstance(batch, InFlight) else 0

    for (at_s, _, _), some in groupby(sorted(told, key=place), place):
        alike = [batch for _, batch in some]
        one = alike[0] if len(alike) == 1 else type(alike[0]).concat(alike)
        if isinstance(one, InFlight):
            one = replace(one, node_id=alike[0].node_id, interval_s=alike[0].interval_s)
        yield at_s, one
