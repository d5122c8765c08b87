"""The integers of what a log names: services, endpoints, zones, nodes; handed out as they are met, bounded in number.

A log is written by whoever sends requests: a client can put any host in it. So there is a most of everything, and what
comes after is counted and not taken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from dataplane.contract import Endpoint, Ints, Node, Service, Topology
from dataplane.mesh import EndpointSpec, Mesh

MOST = {"services": 4096, "endpoints": 65_536, "nodes": 4096}
LONGEST = 256
NO = -1
FULL = -2


class Codes(dict[str, int]):
    """Names to integers from 0; `FULL` once there are `most`, `NO` for the empty one."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self.names: list[str] = []

    def __missing__(self, name: str) -> int:
        if not name:
            return NO
        name = name if len(name) <= LONGEST and name.isprintable() else _printable(name)
        known = self.get(name)
        if known is not None:
            return known
        if len(self.names) >= self._most:
            return FULL
        self[name] = code = len(self.names)
        self.names.append(name)
        return code

    def of(self, names: Sequence[str]) -> Ints:
        """The integer of each name. Shape (n,)."""
        return np.fromiter(map(self.__getitem__, names), np.int64, len(names))


class Names:
    """Everything that was named so far."""

    def __init__(self) -> None:
        self.services = Codes(MOST["services"])
        self.nodes = Codes(MOST["nodes"])
        self.zones = Codes(MOST["services"])
        self._addresses = Codes(MOST["endpoints"])
        self._endpoints: dict[int, int] = {}  # service and address in one, to endpoint
        self._places: list[tuple[int, int]] = []
        self._zone: dict[int, int] = {}

    def endpoints(self, service: Ints, addresses: Sequence[str], zones: Sequence[str] | None) -> Ints:
        """The endpoint of each (service, address): NO without an address, FULL when there are too many. Shape (n,)."""
        address = self._addresses.of(addresses)
        place = np.where((service >= 0) & (address >= 0), service << 32 | address, -1)
        kinds, where = np.unique(place, return_inverse=True)
        ids = np.array([self._endpoint(p) for p in kinds.tolist()], dtype=np.int64)
        out = ids[where]
        out[address == FULL] = FULL
        if zones is not None:
            for endpoint, zone in zip(out.tolist(), self.zones.of(zones).tolist(), strict=True):
                if endpoint >= 0 <= zone:
                    self._zone[endpoint] = zone
        return out

    def topology(
        self, routes: Sequence[str] = (), route_services: Sequence[int] = (), mesh: Mesh | None = None
    ) -> Topology:
        """All of it. Weights, which a log does not tell, are those of the mesh, and 1 without one."""
        members: list[list[Endpoint]] = [[] for _ in self.services.names]
        specs = {(s.name, e.address): e for s in (mesh.services if mesh is not None else ()) for e in s.endpoints}
        for i, (service, address) in enumerate(self._places):
            name = self._addresses.names[address]
            spec = specs.get((self.services.names[service], name), EndpointSpec(name))
            zone = self.zones.names[self._zone[i]] if i in self._zone else spec.zone
            members[service].append(Endpoint(i, name, spec.weight, zone))
        return Topology(
            version=1,
            services=tuple(Service(i, n, tuple(members[i])) for i, n in enumerate(self.services.names)),
            nodes=tuple(Node(i, n) for i, n in enumerate(self.nodes.names)),
            routes=tuple(routes),
            route_services=tuple(route_services),
        )

    def _endpoint(self, place: int) -> int:
        if place < 0:
            return NO
        known = self._endpoints.get(place)
        if known is None:
            if len(self._places) >= MOST["endpoints"]:
                return FULL
            known = self._endpoints[place] = len(self._places)
            self._places.append((place >> 32, place & 0xFFFFFFFF))
        return known


_ISTIO = re.compile(r"(?:outbound|inbound(?:-vip)?)_?\.?\|(\d*)\|([^|]*)\|(.*)", re.DOTALL)


def service_of_cluster(cluster: str) -> str:
    """A cluster's name as people say it: Istio's `outbound|9080|v1|reviews.ns.svc` is `reviews.ns.svc:9080/v1`."""
    m = _ISTIO.fullmatch(cluster)
    if m is None or not m[3]:
        return cluster
    return m[3] + (f":{m[1]}" if m[1] else "") + (f"/{m[2]}" if m[2] else "")


def service_of_host(host: str) -> str:
    """An authority without user, in small letters."""
    return host.rpartition("@")[2].lower().rstrip(".")


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name[:LONGEST])


def plain_address(address: Any) -> str:
    """An endpoint's address without the scheme that a log may put before it."""
    text = str(address)
    return text.partition("://")[2].partition("/")[0] if "://" in text else text
