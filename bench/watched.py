"""One service in virtual time for the watch to look at: what goes wrong with whom, what is asked, and a brain over it.

The world is drawn by NumPy and lived by the compiled mesh, a stretch of some hours after another, so that memory does
not grow with the weeks. The brain lives through all of them. Between two stretches the requests that are open are lost,
a handful, and a plan in force stays so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brain.brain import Brain
from brain.decision import Decision
from brain.settings import Mode, Settings
from dataplane.contract import Endpoint, Node, Requests, Service, Telemetry, Topology
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
    brain = brain or Brain(world.topology, SETTINGS)
    for number, begin_s in enumerate(np.arange(from_s, until_s, STRETCH_S).tolist()):
        end_s = min(begin_s + STRETCH_S, until_s)
        mesh = FleetMesh(
            world.topology,
            world.fleet(begin_s, end_s),
            world.trace(begin_s, end_s),
            np.random.default_rng((world.seed, number, 7)),
            wire=Wire(skew_s=(begin_s,)),
            rhythm=Rhythm(flush_s=world.flush_s),
        )
        yield from _lived(mesh, brain, begin_s, end_s, tap)


def _lived(
    mesh: FleetMesh, brain: Brain, begin_s: float, end_s: float, tap: Callable[[Telemetry, float], None]
) -> Iterator[Decision]:
    """One stretch. As `drive.run`, at another time than the mesh's own."""

    ended: list[Requests] = []  # in one flush of all nodes

    def told(batch: Telemetry) -> None:
        if isinstance(batch, Requests):
            ended.append(batch)
            if len(ended) == 1:
                mesh.schedule.at(mesh.now, pass_on)  # when all that falls on this moment has been heard
        else:
            tell(batch)

    def pass_on() -> None:
        tell(Requests.concat(ended))
        ended.clear()

    def tell(batch: Telemetry) -> None:
        now = min(begin_s + mesh.now, end_s)
        tap(batch, now)
        brain.told(batch, now)

    mesh.on_telemetry = told
    mesh.on_event = lambda event: brain.heard(event, begin_s + mesh.now)
    if brain.decision is not None and brain.decision.plan is not None:
        mesh.publish(brain.decision.plan)
    while begin_s + mesh.now + SETTINGS.tick_s <= end_s:
        mesh.run(mesh.now + SETTINGS.tick_s)
        decision = brain.tick(begin_s + mesh.now)
        if decision.plan is not None:
            mesh.publish(decision.plan)
        yield decision
    mesh.run(mesh.now + LAST_WORDS_S)
