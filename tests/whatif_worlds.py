"""Worlds to ask about: drawn, so that the truth is known, and recordings of them made by running the simulated mesh."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from brain.brain import Brain
from brain.settings import Mode, Settings
from dataplane.contract import Event, InFlight, Requests, Telemetry
from dataplane.mesh import Mesh, RouteSpec, ServiceSpec
from dataplane.simulated import drive
from dataplane.simulated.fleet import Fleet, Trace
from dataplane.simulated.fleet_mesh import FleetMesh, Rhythm
from dataplane.simulated.logs import Wire
from dataplane.simulated.rules import RouteRules, Rules
from tests.fleets import fleet, trace
from weirflow.recording import Recorder, Recording, read
from weirflow.whatif.spread import seen_of
from weirflow.whatif.world import Seen, Trust, World

T0 = 1_700_000_000.0  # 22:13:20 UTC
SERVICE = "orders"


@dataclass(frozen=True, slots=True, eq=False)
class InPieces:
    """A trace as a recording gives it: in chunks."""

    whole: Trace
    rows: int = 700

    def __call__(self) -> Iterator[Trace]:
        for first in range(0, len(self.whole), self.rows):
            yield self.whole.take(slice(first, first + self.rows))


def world(of: Fleet, work: Trace, *, policy: str = "least_request", nodes: int = 2, **more: Any) -> World:
    """A world that is the truth itself. What was seen of it is for `recorded` to say."""
    many = len(of)
    told: dict[str, Any] = {
        "service": SERVICE,
        "nodes": tuple(f"edge-{v}" for v in range(nodes)),
        "classes": ("all",),
        "fleet": of,
        "chunks": InPieces(work),
        "rules": Rules(policy=policy, routes=(RouteRules(timeout_s=5.0),)),
        "settings": Settings(),
        "adaptive_share": 0.0,
        "trust": Trust(
            attempts=np.full(many, 5_000),
            busy_share=np.full(many, 0.7),
            waited_share=np.full(many, 0.2),
            pieces=np.ones(many, np.int64),
            error_share_known=np.full(many, 0.001),
            workers_low=int(of.workers.min()),
            workers_high=float(of.workers.max()),
        ),
        "seen": Seen(0, np.nan, np.nan, np.nan, np.nan),
        "started": T0,
        "duration_s": float(np.ceil(work.at_s[-1])),
    }
    return World(**(told | more))


def plain_world(
    *speeds: float, load: float = 0.6, seconds: float = 60.0, seed: int = 1, mean_s: float = 0.02, **more: Any
) -> World:
    """Endpoints of these speeds under Poisson arrivals of exponential demand."""
    of = fleet(*(speeds or (1.0, 1.0, 1.0)))
    return world(of, trace(of, load, seconds, nodes=2, seed=seed, mean_s=mean_s), **more)


@dataclass(slots=True)
class _Recorded:
    """A brain and a recorder that hear the same, as the live driver has it."""

    brain: Brain
    recorder: Recorder

    def told(self, batch: Telemetry, now: float) -> None:
        self.recorder.told(_dated(batch), T0 + now)
        self.brain.told(batch, now)

    def heard(self, event: Event, now: float) -> None:
        self.recorder.heard(event, T0 + now)
        self.brain.heard(event, now)

    def tick(self, now: float) -> Any:
        decision = self.brain.tick(now)
        self.recorder.decided(decision, T0 + now)
        return decision


def record(
    of: World, folder: Path, *, seed: int = 7, settings: Settings | None = None, wire: Wire | None = None
) -> tuple[Recording, World]:
    """Run the mesh with a recorder beside the brain. Returns the recording, and the world with what was seen of it."""
    settings = settings or Settings(mode=Mode.SHADOW)
    whole = Trace.concat(list(of.chunks()))
    topology = of.topology(0.0)
    rhythm = Rhythm(timeout_s=of.rules.routes[0].timeout_s)
    rng = np.random.default_rng(seed)
    mesh = FleetMesh(topology, of.fleet, whole, rng, rules=of.rules, rhythm=rhythm, wire=wire)
    rules = ServiceSpec(of.service, (), policy=of.rules.policy.upper())
    static = Mesh(nodes=(), listeners=(), routes=(RouteSpec("all", of.service),), services=(rules,))
    problems: list[str] = []
    recorder = Recorder(
        folder, settings=settings, topology=topology, now=T0, part_s=20.0, mesh=static, on_problem=problems.append
    )
    both = _Recorded(Brain(topology, settings), recorder)
    for _ in drive.run(mesh, both, of.duration_s + rhythm.timeout_s + 1.0, settings.tick_s):
        pass
    recorder.close()
    assert not problems
    fate = mesh.finish()
    seen, adaptive = seen_of(fate.latency_s, fate.ok), float(fate.adaptive.mean())
    return read(folder), replace(of, seen=seen, settings=settings, adaptive_share=adaptive)


def _dated(batch: Telemetry) -> Telemetry:
    if isinstance(batch, InFlight) or not hasattr(batch, "started_s"):
        return batch
    assert isinstance(batch, Requests) or hasattr(batch, "started_s")
    return replace(batch, started_s=batch.started_s + T0)
