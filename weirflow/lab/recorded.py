"""A run in virtual time that leaves a recording, as a run through `weirflow run` does: what what-if is tried on.

    fate = recorded(scenario, "full_scan", fleet, trace, random, nodes=4, folder=folder)

The brain is in the loop for every policy: for Weirflow's own it decides, for a stock one it listens in mode static.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from brain.brain import Brain
from brain.settings import Mode, Settings
from dataplane.mesh import BreakerSpec, EndpointSpec, ListenerSpec, Mesh, NodeSpec, RetrySpec, RouteSpec, ServiceSpec
from dataplane.simulated import drive
from dataplane.simulated.fleet_mesh import FleetMesh, Rhythm
from weirflow.lab.bounds import topology_at
from weirflow.lab.draw import end_s
from weirflow.lab.obeyed import BUDGET_PERCENT, rules_of, thinking
from weirflow.lab.peers import SERVICE, UNREACHED
from weirflow.lab.run import IN_A_MESH_FILE, SHARE_PERCENT, WEIRFLOW
from weirflow.lab.simulate import wire_of
from weirflow.recording import Recorder, RecordingError

if TYPE_CHECKING:
    import numpy as np

    from dataplane.contract import Event, Telemetry, Topology
    from dataplane.simulated.fleet import Fate, Fleet, Trace
    from weirflow.lab.scenario import Scenario


class Heard:
    """A brain, and a recorder that hears all that it is told first, as the live driver has it."""

    def __init__(self, brain: Brain, recorder: Recorder) -> None:
        self._brain, self._recorder = brain, recorder

    def told(self, batch: Telemetry, now: float) -> None:
        """Record and tell."""
        self._recorder.told(batch, now)
        self._brain.told(batch, now)

    def heard(self, event: Event, now: float) -> None:
        """Record and tell."""
        self._recorder.heard(event, now)
        self._brain.heard(event, now)

    def moved(self, topology: Topology, now: float) -> None:
        """Record and tell."""
        self._recorder.moved(topology, now)
        self._brain.moved(topology, now)

    def tick(self, now: float) -> Any:
        """Decide and record."""
        decision = self._brain.tick(now)
        self._recorder.decided(decision, now)
        return decision


def recorded(
    scenario: Scenario,
    policy: str,
    fleet: Fleet,
    trace: Trace,
    random: np.random.Generator,
    *,
    nodes: int,
    folder: Path,
    settings: Settings | None = None,
    part_s: float = 60.0,
) -> Fate:
    """Run a policy over a world and record it into a new or empty folder. KeyError for one that no mesh file can say.

    RecordingError when the disk refuses.
    """
    routes = tuple(c.name for c in scenario.classes)
    start = topology_at(fleet, 0.0, nodes, routes)
    if settings is None:
        mode = Mode.ADAPTIVE if policy in WEIRFLOW else Mode.STATIC
        settings = thinking(scenario, Settings(mode=mode, share_percent=SHARE_PERCENT))
    problems: list[str] = []
    static = mesh_of(scenario, policy, fleet, nodes)
    telling: dict[str, Any] = {"settings": settings, "topology": start, "now": 0.0, "mesh": static}
    recorder = Recorder(folder, part_s=part_s, on_problem=problems.append, **telling)
    brain = Heard(Brain(start, settings), recorder)
    mesh = FleetMesh(
        start,
        fleet,
        trace,
        random,
        rules=rules_of(scenario, "least_request" if policy in WEIRFLOW else policy, fleet, trace, nodes),
        same_luck=True,
        wire=wire_of(scenario.telemetry, nodes),
        rhythm=Rhythm(timeout_s=scenario.timeout_s, ttl_s=settings.lease_ttl_s),
        good_body=scenario.good_body,
    )

    def move(topology: Topology) -> None:
        mesh.moved(topology)
        brain.moved(topology, mesh.now)

    for version, at_s in enumerate(fleet.changes_s(), start=2):
        mesh.schedule.at(at_s, move, topology_at(fleet, at_s, nodes, routes, version))
    # As long as it takes to hear of the last request: a real brain is stopped when all is over.
    for _ in drive.run(mesh, brain, end_s(scenario) + scenario.timeout_s + 1.0, settings.tick_s):
        pass
    recorder.close()
    if problems:
        raise RecordingError(folder.name, problems[0])
    return mesh.finish()


def mesh_of(scenario: Scenario, policy: str, fleet: Fleet, nodes: int) -> Mesh:
    """The static rules that an operator would have written. KeyError as `recorded`."""
    kind, scan = IN_A_MESH_FILE["least_request" if policy in WEIRFLOW else policy]
    here = fleet.members(0.0).tolist()
    members = tuple(EndpointSpec(fleet.names[e], int(fleet.weight[e]), fleet.zones[e]) for e in here)
    again, retry = scenario.retries, None
    if again is not None:
        retry = RetrySpec("5xx", again.num_retries, again.per_try_timeout_s, budget_percent=BUDGET_PERCENT)
    open_ = BreakerSpec(UNREACHED, UNREACHED, UNREACHED, UNREACHED)
    return Mesh(
        nodes=tuple(NodeSpec(f"node-{n}", spawn=False) for n in range(nodes)),
        listeners=(ListenerSpec("web", "127.0.0.1", 0),),
        routes=tuple(
            RouteSpec(
                c.name, SERVICE, prefix=f"/{c.name}", timeout_s=scenario.timeout_s, retry=retry, priority=c.priority
            )
            for c in scenario.classes
        ),
        services=(ServiceSpec(SERVICE, members, policy=kind, full_scan=scan, breakers=open_),),
    )
