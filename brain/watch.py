"""The watch over a mesh: what is odd at a tick, put together to incidents.

It decides nothing about traffic: weights and limits have their own reasons. What it says is for people, and what the
brain did about it meanwhile is told beside it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from brain.edge_watch import EdgeWatch
from brain.endpoint_watch import EndpointWatch
from brain.incidents import Incidents
from brain.node_watch import NodeWatch
from brain.service_watch import ServiceWatch
from brain.size_watch import SizeWatch
from features.edges import callers_of
from models.base import put_rows, take_rows

if TYPE_CHECKING:
    from brain.alerts import Condition
    from brain.decision import IncidentView, ServiceView
    from brain.findings import Finding, Stand
    from dataplane.contract import Topology
    from features.columns import Features
    from models.base import Floats, Ints, State


class Watch:
    """Of one topology."""

    def __init__(self, topology: Topology) -> None:
        self._endpoints = EndpointWatch(topology.endpoint_slots)
        self._services = ServiceWatch(topology.service_slots)
        self._sizes = SizeWatch(topology.service_slots)
        self._edges, self._nodes = EdgeWatch(), NodeWatch()
        self._incidents = Incidents()
        self._topology = topology
        self.moved(topology)

    @property
    def services(self) -> frozenset[str]:
        """Those with an incident, or with one about to be."""
        return self._incidents.services

    def moved(self, topology: Topology) -> None:
        """Other members. Slots are never used twice, so what is known of the others stands."""
        self._topology = topology
        self._zones = {s.name: Counter(e.zone for e in s.endpoints) for s in topology.services}
        self._callers = frozenset(callers_of(topology)[0])

    def look(
        self,
        features: Features,
        services: Sequence[ServiceView],
        asked_per_s: Floats | None,
        now: float,
    ) -> tuple[list[IncidentView], list[Condition]]:
        """All incidents now, as people see them and as alerts want them.

        `asked_per_s` by service slot, NaN for unknown; None where nobody counts it.
        """
        topology = self._topology
        capacity = np.full(topology.service_slots, np.nan)
        limited = np.zeros(topology.service_slots, dtype=np.bool_)
        for view in services:
            limited[view.id] = view.limited
            if view.capacity is not None:
                capacity[view.id] = view.capacity
        if asked_per_s is None:
            asked_per_s = np.full(topology.service_slots, np.nan)
        found = self._endpoints.look(features.endpoints, topology, now)
        found += self._services.look(features.services, asked_per_s, capacity, limited, topology, now)
        found += self._sizes.look(features.services, topology, now)
        found += self._edges.look(features.edges, topology, now)
        found += self._nodes.look(features.ways, features.nodes.contradicts, topology, now)
        by_name = {view.name: view for view in services}
        return self._incidents.judge(found, calls(services), self._zones, lambda f: done(f, by_name), now)

    def stands(self) -> dict[str, Stand]:
        """What each kind was judged by at last, by slot of endpoint or service. Edges and proxies have none."""
        return self._endpoints.stands() | self._services.stands() | self._sizes.stands()

    def state(self) -> State:
        """What is usual, what is odd and which incidents are open, by name and address."""
        topology = self._topology
        members = [e.id for s in topology.services for e in s.endpoints]
        services = [s.id for s in topology.services]
        edges = [slot for slot, pair in enumerate(self._edges.pairs) if self._here(*pair)]
        here = {n.name for n in topology.nodes}
        nodes = [slot for slot, name in enumerate(self._nodes.names) if name in here]
        return {
            "endpoint_names": [[s.name, e.address] for s in topology.services for e in s.endpoints],
            "service_names": [s.name for s in topology.services],
            "edge_names": [list(self._edges.pairs[slot]) for slot in edges],
            "endpoints": _rows(self._endpoints.state(), members),
            "services": _rows(self._services.state(), services),
            "sizes": _rows(self._sizes.state(), services),
            "edges": _rows(self._edges.state(), edges),
            "node_names": [self._nodes.names[slot] for slot in nodes],
            "nodes": _rows(self._nodes.state(), nodes),
            "incidents": self._incidents.state(),
        }

    def restore(self, state: State, now: float) -> None:
        """Take up a state: who left is left out, who came is new. ValueError when it is of another watch."""
        topology = self._topology
        ids: dict[Any, int] = {(s.name, e.address): e.id for s in topology.services for e in s.endpoints}
        names: dict[Any, int] = {s.name: s.id for s in topology.services}
        kept = [ids.get((service, address)) for service, address in state["endpoint_names"]]
        self._endpoints.restore(*_placed(state["endpoints"], kept, topology.endpoint_slots), now)
        kept = [names.get(name) for name in state["service_names"]]
        self._services.restore(*_placed(state["services"], kept, topology.service_slots), now)
        if "sizes" in state:  # a state from before sizes were watched has none
            self._sizes.restore(*_placed(state["sizes"], kept, topology.service_slots), now)
        if "edges" in state:  # nor of edges
            pairs = [(str(caller), str(callee)) for caller, callee in state["edge_names"]]
            rows = [row for row, pair in enumerate(pairs) if self._here(*pair)]
            self._edges = EdgeWatch([pairs[row] for row in rows])
            self._edges.restore(_rows(state["edges"], rows), now)
        if "nodes" in state:  # nor of proxies
            here = {n.name for n in topology.nodes}
            rows = [row for row, name in enumerate(state["node_names"]) if name in here]
            self._nodes = NodeWatch([str(state["node_names"][row]) for row in rows])
            self._nodes.restore(_rows(state["nodes"], rows), now)
        self._incidents.restore(state["incidents"], names, now)

    def _here(self, caller: str, callee: str) -> bool:
        """Whether both are in the mesh."""
        return caller in self._callers and callee in self._zones


def _rows(parts: Mapping[str, State], rows: Sequence[int]) -> dict[str, State]:
    """These rows of each part."""
    return {name: take_rows(part, np.array(rows, dtype=np.int64)) for name, part in parts.items()}


def _placed(parts: Mapping[str, State], ids: Sequence[int | None], slots: int) -> tuple[dict[str, State], Ints]:
    """Each part with its rows at these slots, None for none; and the slots of which there is no row."""
    rows = [row for row, slot in enumerate(ids) if slot is not None]
    here = np.array([slot for slot in ids if slot is not None], dtype=np.int64)
    placed = {name: put_rows(part, here, slots) for name, part in _rows(parts, rows).items()}
    return placed, np.setdiff1d(np.arange(slots), here)


def calls(services: Sequence[ServiceView]) -> Mapping[str, set[str]]:
    """Whom each service called lately, by its own proxies."""
    out: dict[str, set[str]] = defaultdict(set)
    for view in services:
        for caller in view.callers:
            if caller not in ("", view.name):
                out[caller].add(view.name)
    return out


def done(finding: Finding, services: Mapping[str, ServiceView]) -> str:
    """What the brain has done about it, in words."""
    view = services.get(finding.service)
    if view is None:
        return "nothing"
    if view.limited:
        return f"at most {view.limit} requests may be open, {view.refused_per_s:.0f} a second are refused"
    if view.share_percent <= 0.0:
        return f"nothing, the service is {view.state}"
    cut = [e for e in view.endpoints if e.address == finding.endpoint or (finding.zone and e.zone == finding.zone)]
    cut = [e for e in cut if finding.endpoint or finding.kind.startswith("Zone")]
    if not cut:
        return "nothing yet: no weight can mend it"
    share = sum(e.share for e in cut)
    even = sum(e.static_weight for e in cut) / sum(e.static_weight for e in view.endpoints)
    return f"its share of the adaptive arm is {share:.1%}, by your weights it is {even:.1%}"
