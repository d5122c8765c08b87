"""DNS names among the endpoints, resolved again and again: membership belongs to discovery, weights to the brain.

A mesh goes in with `name:port` endpoints and comes out with `ip:port` ones, one for each A and AAAA record, each with
the weight and zone that the name has. A name that fails to resolve, or resolves to nothing, keeps its last good answer:
a DNS outage can never empty a service.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace

from dataplane.mesh import EndpointSpec, Mesh, ServiceSpec
from weirflow.addresses import is_ip, join, split

LOOKUP_DEADLINE_S = 5.0
MAX_RECORDS = 256
"""Of one name. Every record is an endpoint with a history of its own, so their number is bounded."""

Lookup = Callable[[str], Awaitable[list[str]]]
"""From a name to its addresses, in any order, with repeats. OSError when it has none or nobody answers."""


async def system_lookup(name: str) -> list[str]:
    """All addresses, as the system resolves them (/etc/hosts included)."""
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class Resolver:
    """Resolves one mesh after another, and remembers the last good answer of every name that the newest one has."""

    def __init__(self, on_problem: Callable[[str], None], lookup: Lookup = system_lookup) -> None:
        self._on_problem = on_problem
        self._lookup = lookup
        self._last_good: dict[str, tuple[str, ...]] = {}

    async def resolve(self, mesh: Mesh) -> Mesh:
        """The mesh with addresses only. A name that never resolved yet has no endpoints, and is a problem told."""
        names = sorted({name for s in mesh.services for e in s.endpoints if (name := _name_in(e)) is not None})
        answers = dict(zip(names, await asyncio.gather(*map(self._addresses, names)), strict=True))
        self._last_good = {name: found for name, found in answers.items() if found}
        return replace(mesh, services=tuple(_expanded(s, answers) for s in mesh.services))

    async def _addresses(self, name: str) -> tuple[str, ...]:
        """The addresses of a name, sorted; its last good ones when it has none now."""
        before = self._last_good.get(name, ())
        try:
            async with asyncio.timeout(LOOKUP_DEADLINE_S):
                found = sorted({a for a in await self._lookup(name) if is_ip(a)}, key=_order)
        except TimeoutError:
            found, why = [], f"no answer within {LOOKUP_DEADLINE_S:g} s"
        except (OSError, UnicodeError) as error:
            found, why = [], str(error)
        else:
            why = "it has no addresses"
        if not found:
            kept = (
                f"keeping its last {len(before)} addresses" if before else "it has no endpoints until it does resolve"
            )
            self._on_problem(f"{name} does not resolve: {why}; {kept}")
            return before
        if len(found) > MAX_RECORDS:
            self._on_problem(f"{name} has {len(found)} addresses; only the first {MAX_RECORDS} are used")
        return tuple(found[:MAX_RECORDS])


def _order(address: str) -> tuple[int, int]:
    parsed = ipaddress.ip_address(address)
    return parsed.version, int(parsed)


def _name_in(endpoint: EndpointSpec) -> str | None:
    host, _ = split(endpoint.address)
    return None if is_ip(host) else host


def _expanded(service: ServiceSpec, answers: dict[str, tuple[str, ...]]) -> ServiceSpec:
    """Each name replaced by its addresses. An address that comes up twice keeps its first weight and zone."""
    endpoints: dict[str, EndpointSpec] = {}
    for endpoint in service.endpoints:
        host, port = split(endpoint.address)
        for address in (host,) if is_ip(host) else answers[host]:
            dialled = join(address, port)
            endpoints.setdefault(dialled, replace(endpoint, address=dialled))
    return replace(service, endpoints=tuple(endpoints.values()))
