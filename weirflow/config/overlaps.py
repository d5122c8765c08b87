"""Values that are each right and wrong together: ports that clash, routes nobody reaches, a lease shorter than a tick.

Each rule looks at the entries that have nothing else wrong with them. Errors stop the file; warnings are told and let
it through, because they are probably, and not certainly, a mistake.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

from pydantic import ValidationError

from weirflow.addresses import is_loopback, is_wildcard, join
from weirflow.config.fields import Section
from weirflow.config.model import AdminSection, KedaSection, XdsSection
from weirflow.config.problems import Path, Problem, shown
from weirflow.config.rules import ListenerSection, NodeSection, RouteSection, ServiceSection
from weirflow.config.source import Source
from weirflow.config.tuning import AdaptiveSection, SwitchbackSection
from weirflow.config.units import format_duration

S = TypeVar("S", bound=Section)

MAX_WEIGHT_SUM = 2**32 - 1
"""Of one locality: the proto says so, and Envoy 1.40 does not check it."""


def overlaps(source: Source) -> Iterator[Problem]:
    """Every such mistake of the file."""
    yield from _ports(source)
    yield from _processes(source)
    yield from _routes(source)
    yield from _unreached(source)
    yield from _weights(source)
    yield from _shares(source)
    yield from _switchbacks(source)


def _sound(source: Source, key: str, model: type[S]) -> list[tuple[int, S]]:
    """Position and model of each entry that has nothing wrong with it."""
    out = []
    for i, entry in source.entries(key):
        try:
            out.append((i, model.model_validate(entry)))
        except ValidationError:
            continue
    return out


def _section(source: Source, key: str, model: type[S]) -> S | None:
    """A section, all defaults when it is not written, None when something is wrong with it."""
    try:
        return model.model_validate(source.data.get(key))
    except ValidationError:
        return None


def _ports(source: Source) -> Iterator[Problem]:
    """Two listeners of one node, or anything at all of this machine, on one port.

    The same listener on several spawned nodes is not a clash: Envoy binds with SO_REUSEPORT and the kernel spreads.
    """
    nodes = [node for _, node in _sound(source, "nodes", NodeSection)]
    claims: list[tuple[str, str, int, Path, str]] = []  # machine, address, port, where it is written, who
    served: tuple[tuple[str, type[Section]], ...] = (("xds", XdsSection), ("admin", AdminSection))
    if source.data.get("keda") is not None:
        served += (("keda", KedaSection),)
    for key, model in served:
        section = _section(source, key, model)
        if isinstance(section, (XdsSection, AdminSection, KedaSection)):
            claims.append(("", section.address, section.port, (key, "port"), key))
    for i, node in _sound(source, "nodes", NodeSection):
        machine = "" if node.spawn else node.name
        claims.append((machine, "127.0.0.1", node.admin_port, ("nodes", i, "admin_port"), f"node {node.name}'s admin"))
    for i, listener in _sound(source, "listeners", ListenerSection):
        bearers = [n for n in nodes if not listener.nodes or n.name in listener.nodes]
        for machine in sorted({"" if n.spawn else n.name for n in bearers}):
            who = f"listener {listener.name}"
            claims.append((machine, listener.address, listener.port, ("listeners", i, "port"), who))
    taken: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for machine, address, port, path, who in claims:
        if port == 0:
            continue
        for other_address, other in taken.get((machine, port), []):
            if address == other_address or is_wildcard(address) or is_wildcard(other_address):
                where = f" on node {machine}" if machine else ""
                yield source.problem(path, f"{join(address, port)}{where} is also {other}'s", "give one another port")
                break
        taken.setdefault((machine, port), []).append((address, who))


def _processes(source: Source) -> Iterator[Problem]:
    xds, admin = _section(source, "xds", XdsSection), _section(source, "admin", AdminSection)
    adaptive = _section(source, "adaptive", AdaptiveSection)
    if admin is not None and not is_loopback(admin.address) and admin.token_file is None:
        message = f"{admin.address} can be reached from elsewhere, and there is no admin.token_file"
        yield source.problem(("admin", "address"), message, "name a token file, or bind 127.0.0.1")
    if xds is not None and not is_loopback(xds.address) and xds.tls is None:
        message = f"{xds.address} can be reached from elsewhere, and there is no xds.tls"
        mend = "whoever reaches it can speak for a node: keep it in a private network"
        if not xds.insecure:
            mend = "name its certificates, or write 'insecure: true' and keep it in a private network"
        path: Path = ("xds", "address")
        yield source.problem(path, message, mend, severity="warning" if xds.insecure else "error")
    for i, node in _sound(source, "nodes", NodeSection):
        if node.ids is not None and node.spawn:
            yield source.problem(
                ("nodes", i, "ids"), "many proxies speak as it, and none is started", "add 'spawn: false'"
            )
        if node.identity is not None and xds is not None and xds.tls is None:
            yield source.problem(
                ("nodes", i, "identity"), "no certificate is asked for", "add 'xds.tls'", severity="warning"
            )
    keda = None if source.data.get("keda") is None else _section(source, "keda", KedaSection)
    if keda is not None and adaptive is not None and not adaptive.models.demand:
        message = "has nothing to tell while adaptive.models.demand is false"
        yield source.problem(("keda",), message, "leave that key out, or this section")
    if keda is not None and not is_loopback(keda.address):
        message = f"{keda.address} can be reached from elsewhere, in the clear"
        mend = "whoever reaches it can read every service's demand: keep it in a private network"
        yield source.problem(("keda", "address"), message, mend, severity="warning")
    if xds is not None and adaptive is not None and xds.ttl < 3 * adaptive.tick:
        message = f"{format_duration(xds.ttl)} is shorter than three ticks of {format_duration(adaptive.tick)}"
        yield source.problem(("xds", "ttl"), message, "one late tick would end the lease: make it longer")


def _routes(source: Source) -> Iterator[Problem]:
    """Routes that an earlier one of the same host leaves nothing to, and tries that outlast their route."""
    listeners = [listener.name for _, listener in _sound(source, "listeners", ListenerSection)] or [""]
    seen: dict[tuple[str, str], dict[str, int]] = {}  # listener and host: prefix to the first route that has it
    for i, route in _sound(source, "routes", RouteSection):
        places = [(listener, host.casefold()) for listener in route.listeners or listeners for host in route.hosts]
        before = [_covering(seen.get(place, {}), route.prefix) for place in places]
        if all(b is not None for b in before):
            first = min(b for b in before if b is not None)
            line = source.mark(("routes", first))[0]
            message = f"no request reaches it: routes[{first}] on line {line} takes them all"
            yield source.problem(("routes", i), message, "put the longer prefix first", severity="warning")
        for place in places:
            seen.setdefault(place, {}).setdefault(route.prefix, i)
        if route.retry is not None and route.retry.per_try_timeout is not None:
            per_try = route.retry.per_try_timeout
            if route.timeout and per_try >= route.timeout:
                message = f"{format_duration(per_try)} is not shorter than the route's {format_duration(route.timeout)}"
                mend = "a slow first try leaves no time for another"
                yield source.problem(("routes", i, "retry", "per_try_timeout"), message, mend, severity="warning")


def _covering(prefixes: dict[str, int], prefix: str) -> int | None:
    found = [prefixes[prefix[:end]] for end in range(1, len(prefix) + 1) if prefix[:end] in prefixes]
    return min(found, default=None)


def _unreached(source: Source) -> Iterator[Problem]:
    """Services without a route and listeners without one: not wrong, and seldom meant."""
    routes = [route for _, route in source.entries("routes")]
    routed = {route.get("service") for route in routes if isinstance(route.get("service"), str)}
    for i, service in _sound(source, "services", ServiceSection):
        if service.name not in routed:
            yield source.problem(("services", i), "no route leads to it", "add one to 'routes'", severity="warning")
    if any(not route.get("listeners") or not isinstance(route["listeners"], list) for route in routes):
        return  # some route is on every listener
    served = {name for route in routes for name in route["listeners"] if isinstance(name, str)}
    for i, listener in _sound(source, "listeners", ListenerSection):
        if listener.name not in served:
            yield source.problem(("listeners", i), "no route is on it", "it answers 404 to all", severity="warning")


def _weights(source: Source) -> Iterator[Problem]:
    for i, service in _sound(source, "services", ServiceSection):
        if sum(e.weight for e in service.endpoints) > MAX_WEIGHT_SUM:
            message = "the weights add up to more than 2^32 - 1"
            yield source.problem(("services", i, "endpoints"), message, "only their proportions count: divide them")


def _shares(source: Source) -> Iterator[Problem]:
    adaptive = _section(source, "adaptive", AdaptiveSection)
    if adaptive is None:
        return
    steps = adaptive.proof.steps_percent
    if steps[-1] != 0 or any(b >= a for a, b in pairwise(steps)):
        path: Path = ("adaptive", "proof", "steps_percent")
        yield source.problem(path, "the shares must fall, and end in 0", "as in [95, 50, 10, 0]")
    shares: list[tuple[Path, float | None]] = [(("adaptive", "share"), adaptive.share)]
    shares += [(("adaptive", "services", name, "share"), o.share) for name, o in adaptive.services.items()]
    for path, share in shares:
        if share is not None and 0 < share < 1:
            message = f"{shown(share)} is less than one percent"
            yield source.problem(path, message, f"did you mean {share * 100:g}?", severity="warning")
        if share == 100:
            message = "leaves no holdout, so no gain can be told and a loss is not seen"
            yield source.problem(path, message, "95 is the default", severity="warning")


def _switchbacks(source: Source) -> Iterator[Problem]:
    """Blocks that have room for a washout, and for enough ticks after it."""
    adaptive = _section(source, "adaptive", AdaptiveSection)
    if adaptive is None:
        return
    designs: list[tuple[Path, SwitchbackSection | None]]
    designs = [(("adaptive", "proof", "switchback"), adaptive.proof.switchback)]
    designs += [(("adaptive", "services", name, "switchback"), o.switchback) for name, o in adaptive.services.items()]
    for path, design in designs:
        if design is None or not design.enabled:
            continue
        least = design.washout + 4 * adaptive.tick
        if design.block < least:
            message = f"a block of {format_duration(design.block)} is too short for its washout and four ticks after it"
            yield source.problem(path, message, f"make it {format_duration(least)} or longer")
