"""Where an entry belongs: the reader's codes of names turned into the topology's integers, by table look-up.

Each name is understood once, when its code is new or the topology has moved, never per entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataplane.als.entries import NAME_BYTES, NAME_MAX, ROUTES_MAX, TARGETS_MAX, Reader
from dataplane.contract import ADAPTIVE_SUFFIX, SHED_SUFFIX, Arm, Topology
from dataplane.mesh import host_port

Ints = NDArray[np.int64]
Small = NDArray[np.int32]

NO_CLUSTER = -2
NO_HOST = -1
UNKNOWN = -3
NO_OTHERS: Mapping[str, str] = {}


class Place(NamedTuple):
    """Columns of ids, shape (n,). `service`: -1 when nothing names a service of ours; `endpoint`: -1 when no host was
    picked, `UNKNOWN` when its address is none of the service's; `route`: -1 when unknown; `shed`: 1 where the route
    is one that refuses at once."""

    service: Small
    endpoint: Small
    arm: Small
    route: Small
    shed: Small


class Places:
    """The tables of one node. Their last row, which index -1 picks, is for names beyond the reader's bound."""

    def __init__(self, topology: Topology, others: Mapping[str, str] = NO_OTHERS) -> None:
        self._targets: list[bytes] = []
        self._routes: list[bytes] = []
        self._target = np.full((TARGETS_MAX + 1, 3), (-1, UNKNOWN, 0), dtype=np.int32)
        self._route = np.full((ROUTES_MAX + 1, 4), (-1, -1, 0, 0), dtype=np.int32)
        self._departed: dict[tuple[int, str], int] = {}
        self._topology = topology
        self.moved(topology, others)

    def moved(self, topology: Topology, others: Mapping[str, str] = NO_OTHERS) -> None:
        """Understand all names anew. Endpoints that just left keep their ids, for attempts that were under way.

        `others`: the service's name of clusters that are called otherwise.
        """
        self._departed = dict(self._topology.addresses)
        self._topology = topology
        self._services = services_by_cluster(topology, others)
        self._route_ids = {name: i for i, name in enumerate(topology.routes)}
        targets, routes = self._targets, self._routes
        self.clear()
        self._add(targets, routes)

    def learn(self, reader: Reader) -> None:
        """Understand the names that the reader has met since the last time."""
        self._add(reader.targets(len(self._targets)), reader.routes(len(self._routes)))

    @property
    def full(self) -> bool:
        """Whether the reader has no code left for a new name."""
        return _full(self._targets, TARGETS_MAX) or _full(self._routes, ROUTES_MAX)

    def clear(self) -> None:
        """Forget all names, as the reader does."""
        self._targets, self._routes = [], []

    def find(self, target: Ints, route: Ints) -> Place:
        """The place of each entry. A refused request may name no cluster: then its route tells the service."""
        service, endpoint, arm = (self._target[target, i] for i in range(3))
        nameless = (service == NO_CLUSTER).nonzero()[0]
        if len(nameless):
            service[nameless] = self._route[route[nameless], 1]
            arm[nameless] = self._route[route[nameless], 2]
        return Place(service, endpoint, arm, self._route[route, 0], self._route[route, 3])

    def _add(self, targets: list[bytes], routes: list[bytes]) -> None:
        for name in targets:
            self._target[len(self._targets)] = self._understand_target(name)
            self._targets.append(name)
        for name in routes:
            self._route[len(self._routes)] = self._understand_route(name)
            self._routes.append(name)

    def _understand_target(self, name: bytes) -> tuple[int, int, int]:
        text, port = name[:-5], int.from_bytes(name[-4:], "little")
        cluster, _, host = text.decode(errors="replace").rpartition("\0")
        if not cluster:
            return NO_CLUSTER, NO_HOST, Arm.STATIC
        service_name, arm = arm_of(cluster)
        service = self._services.get(service_name, -1)
        if not host:
            return service, NO_HOST, arm
        here = (service, host_port(host, port))
        return service, self._topology.addresses.get(here, self._departed.get(here, UNKNOWN)), arm

    def _understand_route(self, name: bytes) -> tuple[int, int, int, int]:
        text = name.decode(errors="replace")
        shed = text.endswith(SHED_SUFFIX)
        route_name, arm = (text.removesuffix(SHED_SUFFIX), Arm.ADAPTIVE) if shed else arm_of(text)
        route = self._route_ids.get(route_name, -1)
        services = self._topology.route_services
        return route, services[route] if 0 <= route < len(services) else -1, arm, int(shed)


def services_by_cluster(topology: Topology, others: Mapping[str, str]) -> dict[str, int]:
    """The service of each cluster of the static arm."""
    services = {s.name: s.id for s in topology.services}
    return {name: services[service] for name, service in others.items() if service in services} | services


def _full(names: list[bytes], most: int) -> bool:
    return len(names) >= most or sum(map(len, names)) > most * NAME_BYTES - NAME_MAX


def arm_of(name: str) -> tuple[str, Arm]:
    """The service and the arm of a cluster's name, or the route and the arm of a route's."""
    base = name.removesuffix(ADAPTIVE_SUFFIX)
    return base, Arm.STATIC if base == name else Arm.ADAPTIVE
