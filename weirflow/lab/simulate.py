"""A policy over a drawn world in virtual time: the same run as on real Envoy, a thousand times as fast.

    fleet, trace = draw(scenario, random, nodes=4)
    run = simulate(scenario, "weirflow", fleet, trace, random, nodes=4)

Stock policies and peers are the kernel's alone; "weirflow" has the real brain in the loop, told what the wires would
bring and publishing what it decides. `settings` and `make_brain` put another brain there: how the policy is ablated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil, inf
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from brain.brain import Brain
from brain.settings import Mode, Pick, Settings
from dataplane.contract import Arm, Topology
from dataplane.simulated import drive
from dataplane.simulated.fleet_mesh import FleetMesh, Rhythm
from dataplane.simulated.logs import Lie, Wire
from weirflow.lab import bounds
from weirflow.lab.bounds import topology_at
from weirflow.lab.draw import end_s
from weirflow.lab.obeyed import rules_of, thinking
from weirflow.lab.peers import SERVICE, true_weights
from weirflow.lab.run import (
    BOUNDS,
    BREAKERS,
    MODULE_TOLD,
    MODULES,
    REPORTED,
    SHARE_PERCENT,
    SIMULATED,
    STOCK,
    TOLD,
    WEIRFLOW,
    Run,
    Weights,
)

if TYPE_CHECKING:
    from dataplane.contract import Event, Telemetry
    from dataplane.simulated.fleet import Fate, Fleet, Trace
    from weirflow.lab.scenario import Scenario, TelemetryFault

POLICIES = STOCK | TOLD | MODULE_TOLD | SIMULATED | BREAKERS | WEIRFLOW | BOUNDS
"""What can be simulated; a bound is run as if it were a policy."""


class Thinker(drive.Decider, Protocol):
    """What the loop needs of a brain."""

    def told(self, batch: Telemetry, now: float) -> None:
        """Take telemetry in."""

    def heard(self, event: Event, now: float) -> None:
        """Take an event in."""

    def moved(self, topology: Topology, now: float) -> None:
        """Take a changed membership in."""

    def tick(self, now: float) -> Any:
        """Decide."""


MakeBrain = Callable[[Topology, Settings], Thinker]


def simulate(
    scenario: Scenario,
    policy: str,
    fleet: Fleet,
    trace: Trace,
    random: np.random.Generator,
    *,
    nodes: int,
    seed: int = 0,
    place: int = 0,
    settings: Settings | None = None,
    make_brain: MakeBrain = Brain,
) -> Run:
    """Run a policy, or a bound, over a world. ValueError with the names there are for one that is not there.

    `random` is what proxies and wires use; the world's own chance is drawn already. `seed` and `place` are only noted.
    """
    if policy not in POLICIES:
        raise ValueError(f"there is no policy {policy!r} to simulate; there are {', '.join(POLICIES)}")
    weights = None
    if policy in BOUNDS:
        fate: Fate = getattr(bounds, policy)(fleet, trace, scenario.timeout_s)
    elif policy in WEIRFLOW:
        told = thinking(scenario, settings or Settings(mode=Mode.ADAPTIVE, share_percent=SHARE_PERCENT))
        told = replace(told, pick=Pick.MODULE, reports=policy == REPORTED) if policy in MODULES else told
        fate, weights = _with_brain(scenario, fleet, trace, random, nodes, told, make_brain)
    else:
        fate = _stock(scenario, policy, fleet, trace, random, nodes)
    return Run(scenario, policy, nodes, seed, "simulated", fleet, trace, fate, place, weights)


def wire_of(fault: TelemetryFault, nodes: int) -> Wire:
    """A scenario's telemetry fault as the fast mesh takes it."""
    liars = min(nodes, max(1, ceil(fault.lying_nodes * nodes))) if fault.lying_nodes > 0 else 0
    lies = {v: Lie(fault.lied_about, fault.lie) for v in range(liars)}
    return Wire(lost=fault.lost, late_s=fault.late_s, lies=lies, skew_s=fault.skew_s)


def _stock(
    scenario: Scenario, policy: str, fleet: Fleet, trace: Trace, random: np.random.Generator, nodes: int
) -> Fate:
    told = policy.endswith("_true")
    mesh = FleetMesh(
        topology_at(fleet, 0.0, nodes),
        fleet,
        trace,
        random,
        rules=rules_of(scenario, policy, fleet, trace, nodes),
        weights=np.array(true_weights(fleet, end_s(scenario)), dtype=np.float64) if told else None,
        rhythm=Rhythm(flush_s=inf, report_s=inf),
        same_luck=True,
    )
    for version, at_s in enumerate(fleet.changes_s(), start=2):
        mesh.run(at_s)
        mesh.moved(topology_at(fleet, at_s, nodes, version=version))
    return mesh.finish()


def _with_brain(
    scenario: Scenario,
    fleet: Fleet,
    trace: Trace,
    random: np.random.Generator,
    nodes: int,
    settings: Settings,
    make_brain: MakeBrain,
) -> tuple[Fate, Weights]:
    routes = tuple(c.name for c in scenario.classes)
    start = topology_at(fleet, 0.0, nodes, routes)
    brain = make_brain(start, settings)
    mesh = FleetMesh(
        start,
        fleet,
        trace,
        random,
        wire=wire_of(scenario.telemetry, nodes),
        rules=rules_of(scenario, "least_request", fleet, trace, nodes),
        adaptive="module" if settings.by_module(SERVICE) else "full_scan",
        says=True,
        rhythm=Rhythm(ttl_s=settings.lease_ttl_s),
        same_luck=True,
        good_body=scenario.good_body,
    )

    def move(topology: Topology) -> None:
        mesh.moved(topology)
        brain.moved(topology, mesh.now)

    for version, at_s in enumerate(fleet.changes_s(), start=2):
        mesh.schedule.at(at_s, move, topology_at(fleet, at_s, nodes, routes, version))
    at, shares = [], []
    for _ in drive.run(mesh, brain, scenario.warmup_s + scenario.duration_s, settings.tick_s):
        at.append(mesh.now)
        shares.append(mesh.share(0, Arm.ADAPTIVE))
    return mesh.finish(), Weights(np.array(at), np.array(shares).reshape(len(at), len(fleet)))
