"""How much of a service each node carries, for whom, and how much of it would cross a zone to get to an endpoint.

All nodes split by the same weights, so what an endpoint is sent comes from each node in proportion to what that node
carries of the service. Where nodes and endpoints are is said in the mesh file; who is in no known zone crosses nothing.

A node's part of a service's limit is by what it carries as well (`brain.limits`). That is counted over both arms, which
nodes serve alike, and fades slowly: where users are changes over minutes, and a price that trembles would push weights
about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from features.edges import callers_of

if TYPE_CHECKING:
    from dataplane.contract import Topology
    from models.base import Floats, Ints

HALF_LIFE_S = 60.0


class Crossing:
    """Of one topology."""

    def __init__(self, topology: Topology) -> None:
        self._carried = np.zeros((0, 0))  # by node and service, fading
        self._counted = np.zeros((0, 0))  # the counts as of the last tick
        self._at = -np.inf
        self.moved(topology)

    def moved(self, topology: Topology) -> None:
        """Nodes and endpoints are where this topology says."""
        zones = {z: k for k, z in enumerate(sorted({n.zone for n in topology.nodes if n.zone}))}
        self._node_zones = np.zeros((len(zones), max((n.id for n in topology.nodes), default=-1) + 1))
        for n in topology.nodes:
            if n.zone:
                self._node_zones[zones[n.zone], n.id] = 1.0
        self._callers, self._calls_for = callers_of(topology)
        # An endpoint of a zone that has no node is far from all; one of no zone is far from none.
        self._endpoint_zones = {
            s.id: np.array([zones.get(e.zone, len(zones)) if e.zone else -1 for e in s.endpoints], dtype=np.int64)
            for s in topology.services
        }

    def told(self, issued: Ints, now: float) -> Floats:
        """How much each node has sent to each service so far. Shape (nodes, service_slots). Returns what is new of it.

        Who counts may be made anew, for another topology, or a node restarted, and then begins at 0.
        """
        counted, carried = _fit(self._counted, issued.shape), _fit(self._carried, issued.shape)
        fade = 0.5 ** (max(now - self._at, 0.0) / HALF_LIFE_S)
        came = np.where(issued >= counted, issued - counted, issued)
        self._carried = carried * fade + came
        self._counted, self._at = issued.astype(np.float64), now
        return came

    def carried(self, service: int) -> Floats:
        """How much each node sent to the service lately, fading. By node id; empty before the first load report."""
        return self._carried[:, service] if service < self._carried.shape[1] else np.zeros(0)

    def callers(self, service: int) -> dict[str, float]:
        """Who called the service lately, by name, and for what share of it; "" are nodes that stand beside nobody."""
        carried = self.carried(service)[: len(self._calls_for)]
        calls_for = self._calls_for[: len(carried)]
        known = calls_for >= 0  # an id in between is of a node that left
        total = float(carried[known].sum())
        if not total > 0.0:
            return {}
        shares = np.bincount(calls_for[known], carried[known], len(self._callers)) / total
        return {name: share for name, share in zip(self._callers, shares.tolist(), strict=True) if share > 0.0}

    def share(self, service: int) -> Floats | float:
        """By endpoint of the service, in the topology's order, 0 to 1; plainly 0 where no node's zone is known."""
        zones, nodes = self._node_zones.shape
        if not zones or service >= self._carried.shape[1]:
            return 0.0
        carried = self._carried[:nodes, service]
        total = float(carried.sum())
        if not total > 0.0:
            return 0.0
        by_zone = self._node_zones[:, : len(carried)] @ carried / total
        near = np.append(by_zone, 0.0)
        endpoint_zones = self._endpoint_zones[service]
        return np.where(endpoint_zones < 0, 0.0, by_zone.sum() - near[endpoint_zones])


def _fit(old: Floats, shape: tuple[int, ...]) -> Floats:
    """The same numbers in another shape, 0 where there were none."""
    new = np.zeros(shape)
    rows, columns = (min(a, b) for a, b in zip(old.shape, shape, strict=True))
    new[:rows, :columns] = old[:rows, :columns]
    return new
