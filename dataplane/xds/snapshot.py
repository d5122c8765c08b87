"""Everything that the nodes should hold as one immutable value: rendered once, shared by all, checked before it leaves.

Only the runtime layer may be a node's own: it holds the part of each limit that is the node's.

Each kind has a version of its own, `EPOCH.N`, that moves on only when a resource of the kind has changed. The epoch is
the run's: a node that comes back from an earlier run holds versions that cannot be mistaken for ours.

A snapshot's successors share what did not change, down to the bytes, so a push costs what it changes and a stream finds
out what a node lacks by comparing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from dataplane.contract import NO_PLAN, Arm, Plan, Service, ServicePlan, Topology
from dataplane.mesh import BreakerSpec, Mesh, cluster_name
from dataplane.xds import listeners, resources, tracing, weights
from dataplane.xds.kinds import Kind
from dataplane.xds.resources import Rendered

Resources = Mapping[str, Rendered]
WITH_MODULE = "+module"
"""In the version of what is meant for nodes that have our module."""


class InconsistentError(ValueError):
    """Resources that point at what is not there; nothing was published. `problems` has a sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Part:
    """All resources of one kind, by name, at one version."""

    version: str
    resources: Resources

    def then(self, epoch: str, fresh: Iterable[Rendered]) -> Part:
        """The part with these resources: itself when they are the same, else one with the next number."""
        found = {r.name: r for r in fresh}
        if found == self.resources:
            return self
        return Part(f"{epoch}.{int(self.version.rpartition('.')[2]) + 1}", found)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The resources of all kinds, and what they were made from.

    `layers` has the runtime layer, by name, of each node whose limits are its own; `parts` has that of all others.
    `leased` names the adaptive clusters that a layer turns traffic to. `bare` is the layer without a key:
    what a node is told while nothing is leased to it. `accepts` has the listeners of each node by its name.
    `with_module` has clusters and listeners of nodes that have our module; where no service picks by it, they are those
    of all.
    """

    epoch: str
    mesh: Mesh
    topology: Topology
    plan: Plan | None
    parts: Mapping[Kind, Part]
    bare: Part
    leased: frozenset[str]
    accepts: Mapping[str, frozenset[str]]
    layers: Mapping[str, Part] = field(default_factory=dict)
    with_module: Mapping[Kind, Part] = field(default_factory=dict)

    @classmethod
    def first(cls, epoch: str, mesh: Mesh, topology: Topology, plan: Plan | None = None) -> Self:
        """The first of a run. InconsistentError when it cannot be published."""
        none = Part(f"{epoch}.0", {})
        bare = Part(f"{epoch}.0", {resources.LAYER: resources.runtime({})})
        parts = dict.fromkeys(Kind, none) | {Kind.RTDS: bare}
        ours = dict.fromkeys((Kind.CDS, Kind.LDS), Part(f"{epoch}{WITH_MODULE}.0", {}))
        empty = cls(epoch, Mesh((), (), (), ()), topology, None, parts, bare, frozenset(), {}, with_module=ours)
        return empty.then(mesh=mesh, topology=topology, plan=plan)

    @property
    def plan_version(self) -> int:
        """Of the plan that it carries, NO_PLAN when it carries none."""
        return self.plan.version if self.plan is not None else NO_PLAN

    def then(self, *, mesh: Mesh | None = None, topology: Topology | None = None, plan: Plan | None = None) -> Self:
        """The successor with a new mesh, topology or plan; what is not given stays. InconsistentError changes nothing.

        A service whose endpoints have all gone keeps its last assignment: membership is discovery's to say, but a
        cluster without a single endpoint is more likely its failure than its word, and would be an outage.
        """
        mesh, topology, plan = mesh or self.mesh, topology or self.topology, plan or self.plan
        parts, ours = dict(self.parts), self.with_module
        if mesh is not self.mesh:
            parts |= self._static(mesh)
            ours = self._with_module(mesh, parts)
        parts[Kind.EDS] = self.parts[Kind.EDS].then(self.epoch, self._assignments(mesh, topology, plan))
        breakers = {s.name: s.breakers for s in mesh.services}
        runtime, leased = resources.layer(topology, plan, breakers)
        parts[Kind.RTDS] = self.parts[Kind.RTDS].then(self.epoch, [runtime])
        layers = self._layers(topology, plan, breakers)
        out = type(self)(self.epoch, mesh, topology, plan, parts, self.bare, leased, _accepts(mesh), layers, ours)
        out.check()
        return out

    def layer_of(self, node: str) -> Part:
        """The runtime layer that the node of that name should hold while it is leased."""
        return self.layers.get(node, self.parts[Kind.RTDS])

    def part_of(self, kind: Kind, *, has_module: bool) -> Part:
        """The clusters or the listeners that a node should hold."""
        if has_module and any(s.module for s in self.mesh.services):
            return self.with_module[kind]
        return self.parts[kind]

    def _with_module(self, mesh: Mesh, stock: Mapping[Kind, Part]) -> dict[Kind, Part]:
        """At nodes that have the module: its clusters for services that pick by it, and listeners that hear for it."""
        clusters = {
            r.name: r
            for s in mesh.services
            if s.module
            for r in [resources.with_module(s, [o for o in mesh.routes if o.service == s.name])]
        }
        hear = [listeners.listener(spec, mesh.tracing, module=True) for spec in mesh.listeners]
        fresh = {Kind.CDS: {**stock[Kind.CDS].resources, **clusters}.values(), Kind.LDS: hear}
        parts = {kind: self.with_module[kind].then(self.epoch + WITH_MODULE, found) for kind, found in fresh.items()}
        return {**parts, Kind.LDS: self._moved(mesh, self.with_module[Kind.LDS], parts[Kind.LDS])}

    def _moved(self, mesh: Mesh, before: Part, after: Part) -> Part:
        """The same listeners at other nodes: what a node should hold has changed, so the version must."""
        if after is not before or _accepts(mesh) == self.accepts:
            return after
        return Part(f"{after.version.rpartition('.')[0]}.{int(after.version.rpartition('.')[2]) + 1}", after.resources)

    def _layers(self, topology: Topology, plan: Plan | None, breakers: Mapping[str, BreakerSpec]) -> dict[str, Part]:
        """Of each node with limits of its own. A node that has none any more takes up the shared one at its version."""
        if plan is None:
            return {}
        own, out = {n for s in plan.services.values() for n in s.node_limits}, {}
        for node in topology.nodes:
            if node.id in own:
                made = {resources.LAYER: resources.layer(topology, plan, breakers, node.id)[0]}
                before = self.layers.get(node.name)
                if before is None or before.resources != made:
                    before = Part(f"{self.epoch}.{plan.version}@{node.name}", made)
                out[node.name] = before
        return out

    def _static(self, mesh: Mesh) -> dict[Kind, Part]:
        """What the operator's rules alone decide."""
        fresh: dict[Kind, list[Rendered]] = {Kind.CDS: [], Kind.LDS: [], Kind.RDS: []}
        for service in mesh.services:
            fresh[Kind.CDS] += resources.clusters(service, [r for r in mesh.routes if r.service == service.name])
        if mesh.tracing is not None:
            fresh[Kind.CDS].append(tracing.collector(mesh.tracing))
        for spec in mesh.listeners:
            fresh[Kind.LDS].append(listeners.listener(spec, mesh.tracing))
            fresh[Kind.RDS].append(listeners.routes(mesh, spec))
        parts = {kind: self.parts[kind].then(self.epoch, found) for kind, found in fresh.items()}
        return {**parts, Kind.LDS: self._moved(mesh, self.parts[Kind.LDS], parts[Kind.LDS])}

    def _assignments(self, mesh: Mesh, topology: Topology, plan: Plan | None) -> Iterable[Rendered]:
        """Both assignments of each service; those that nothing new touches are the old ones, not rendered again."""
        held = self.parts[Kind.EDS].resources
        known = {s.name for s in mesh.services}
        for service in topology.services:
            if service.name not in known:
                continue
            for arm in Arm:
                old = held.get(cluster_name(service.name, arm))
                if old is not None and (not service.endpoints or not self._touched(service.id, arm, topology, plan)):
                    yield old
                    continue
                decided = plan.services.get(service.id) if plan is not None else None
                if arm is Arm.STATIC:
                    yield resources.assignment(service, arm, weights.static(service))
                    continue
                learned, tiers = weights.in_force(service, decided), weights.tiers(service, decided)
                yield resources.assignment(service, arm, learned, tiers, _to_module(service, decided))

    def _touched(self, service: int, arm: Arm, topology: Topology, plan: Plan | None) -> bool:
        if topology is not self.topology:
            return True
        if arm is Arm.STATIC or plan is self.plan:
            return False
        before = self.plan.services.get(service) if self.plan is not None else None
        after = plan.services.get(service) if plan is not None else None
        return _picks(before) != _picks(after)

    def check(self) -> None:
        """Every name that a resource points at is there, and no assignment is empty; else InconsistentError."""
        part = {kind: self.parts[kind].resources for kind in Kind}
        problems = [
            f"{parent} {r.name!r} names {child} {ref!r}, which is not there"
            for parent, child in ((Kind.CDS, Kind.EDS), (Kind.LDS, Kind.RDS), (Kind.RDS, Kind.CDS))
            for r in part[parent].values()
            for ref in sorted(r.refs - part[child].keys())
        ]
        problems += [f"EDS {r.name!r} has no endpoint" for r in part[Kind.EDS].values() if not r.refs]
        problems += [
            f"the lease names cluster {c!r}, which is not there" for c in sorted(self.leased - part[Kind.CDS].keys())
        ]
        if problems:
            raise InconsistentError(problems)


def _picks(plan: ServicePlan | None) -> object:
    """What of a plan is in its assignment."""
    return plan and (plan.weights, plan.tiers, plan.lanes, plan.workers, plan.believed_s, plan.capacities, plan.queues)


def _to_module(service: Service, plan: ServicePlan | None) -> list[dict[str, float]] | None:
    """What of a plan is for our module, of each endpoint, as it reads it; what is not known is left out."""
    if plan is None:
        return None
    told = {"lanes": plan.lanes, "workers": plan.workers, "believed_ms": round(plan.believed_s * 1000.0)}
    known = {name: n for name, n in told.items() if n}
    own = {"capacity": plan.capacities, "queue": plan.queues}
    if not (known or any(own.values())):
        return None
    return [known | {name: of[e.id] for name, of in own.items() if e.id in of} for e in service.endpoints]


def _accepts(mesh: Mesh) -> dict[str, frozenset[str]]:
    """The names of each node's listeners."""
    return {
        node.name: frozenset(spec.name for spec in mesh.listeners if not spec.nodes or node.name in spec.nodes)
        for node in mesh.nodes
    }
