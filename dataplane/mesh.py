"""The operator's static rules, in Envoy's own terms, and the registry that numbers what they name.

A `Mesh` is what `mesh.yaml` says once it has been read and checked: it is always configured and always enough. The
brain never sees it; it sees the `Topology` that a `Registry` derives from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dataplane.contract import ADAPTIVE_SUFFIX, SHED_SUFFIX, Arm, Endpoint, Node, Service, Topology
from dataplane.identity import NODE

Priority = Literal["critical", "default", "sheddable"]
"""Of a route while its service is short: who is sheddable is refused first, who is critical last."""
ARM_HEADER = "x-weirflow-arm"  # "static" or "adaptive", on the answers of a route that tells its arm


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A proxy. `spawn`: Weirflow starts this Envoy itself; else it waits for it to call."""

    name: str
    spawn: bool = True
    concurrency: int = 1
    admin_port: int = 0  # 0: a free one
    log_level: str = "warning"
    zone: str = ""  # Envoy's node.locality.zone; "": not told
    service: str = ""  # whose sidecar it is; "": nobody's
    identity: str = ""  # what its certificate must say; "": by the pattern of all (see `dataplane.identity`)
    ids: str = ""  # a pattern: all whose Envoy ids match speak as this node, and only tell (see `dataplane.node`)


@dataclass(frozen=True, slots=True)
class ListenerSpec:
    """Where nodes accept requests. Empty `nodes` means all of them; port 0 lets each node's kernel choose."""

    name: str
    address: str
    port: int
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RetrySpec:
    """config.route.v3.RetryPolicy, with the budget of config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget."""

    retry_on: str = "connect-failure,refused-stream,reset-before-request,retriable-status-codes"
    num_retries: int = 1
    per_try_timeout_s: float | None = None
    retriable_status_codes: tuple[int, ...] = (503,)
    budget_percent: float = 20.0
    min_retry_concurrency: int = 3


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """First match wins, in the order written. `hosts` as in Envoy's virtual host domains, `prefix` of the path."""

    name: str
    service: str
    hosts: tuple[str, ...] = ("*",)
    prefix: str = "/"
    listeners: tuple[str, ...] = ()  # empty: all
    timeout_s: float = 15.0
    retry: RetrySpec | None = None
    min_body_bytes: int | None = None  # of a good answer; None: as the service has it
    priority: Priority = "default"  # critical is config.core.v3.RoutingPriority HIGH: breakers of its own
    tell_arm: bool = False  # answer with ARM_HEADER: which arm served, for a client that wants to see for itself


@dataclass(frozen=True, slots=True)
class BreakerSpec:
    """config.cluster.v3.CircuitBreakers.Thresholds, default priority; Envoy's own defaults."""

    max_connections: int = 1024
    max_pending_requests: int = 1024
    max_requests: int = 1024
    max_retries: int = 3


@dataclass(frozen=True, slots=True)
class OutlierSpec:
    """config.cluster.v3.OutlierDetection; Envoy's own defaults."""

    consecutive_5xx: int = 5
    interval_s: float = 10.0
    base_ejection_time_s: float = 30.0
    max_ejection_percent: int = 10


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """`address` is `ip:port` as Envoy will dial it, or `name:port` to be resolved again and again by the driver."""

    address: str
    weight: int = 1
    zone: str = ""


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A service and the rules that hold when nothing learned is in force."""

    name: str
    endpoints: tuple[EndpointSpec, ...]
    policy: str = "LEAST_REQUEST"  # or ROUND_ROBIN, RANDOM: of the static cluster
    connect_timeout_s: float = 1.0
    breakers: BreakerSpec = field(default_factory=BreakerSpec)
    outliers: OutlierSpec | None = None
    http2: bool = False
    min_body_bytes: int = 0  # an answer of success with less is an error; 0: none is
    full_scan: bool = False  # LEAST_REQUEST of the static cluster compares all endpoints, not two
    also_known_as: tuple[str, ...] = ()  # clusters that nodes with a configuration of their own have it in
    module: bool = False  # the adaptive cluster picks by our module (`dataplane.pick`), at nodes that have it


@dataclass(frozen=True, slots=True)
class TlsSpec:
    """Of the port that nodes call: its PEM files, and the pattern of the nodes' names (see `dataplane.identity`)."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path
    client_identity: str = NODE


@dataclass(frozen=True, slots=True)
class TracingSpec:
    """Spans of requests and attempts, sent by each node. `otlp`: `host:port` of a collector's OTLP over gRPC.

    Envoy has one service name for all spans of a listener, and listeners are the nodes' in common.
    """

    otlp: str
    sampling_percent: float = 1.0  # of the requests that bring no traceparent
    service_name: str = "weirflow"


@dataclass(frozen=True, slots=True)
class Mesh:
    """All static rules. Endpoint addresses here are already `ip:port`."""

    nodes: tuple[NodeSpec, ...]
    listeners: tuple[ListenerSpec, ...]
    routes: tuple[RouteSpec, ...]
    services: tuple[ServiceSpec, ...]
    tracing: TracingSpec | None = None


def other_names(mesh: Mesh) -> dict[str, str]:
    """The service of each cluster that only a node's own configuration calls so."""
    return {name: service.name for service in mesh.services for name in service.also_known_as}


def cluster_name(service: str, arm: Arm) -> str:
    """`NAME` for the static cluster, `NAME~adaptive` for the adaptive one."""
    return service + ADAPTIVE_SUFFIX if arm is Arm.ADAPTIVE else service


def route_name(route: str, arm: Arm) -> str:
    """The Envoy route of an arm: the access log names it even where it names no cluster (a request refused early)."""
    return route + ADAPTIVE_SUFFIX if arm is Arm.ADAPTIVE else route


def host_port(host: str, port: int) -> str:
    """An address as a topology writes it: `ip:port`, an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def shed_name(route: str) -> str:
    """The Envoy route that refuses at once what the brain sheds of a sheddable route."""
    return route + SHED_SUFFIX


class Registry:
    """Hands out the integers of one run. An address that left and came back is a new endpoint with a new history."""

    def __init__(self) -> None:
        self._version = 0
        self._services: dict[str, int] = {}
        self._nodes: dict[str, int] = {}
        self._routes: dict[str, int] = {}
        self._route_services: dict[str, int] = {}
        self._live: dict[tuple[str, str], int] = {}
        self._next_endpoint = 0

    def topology(self, mesh: Mesh) -> Topology:
        """Number the mesh: known names keep their integers, new ones get the next, departed endpoints lose theirs."""
        self._version += 1
        live: dict[tuple[str, str], int] = {}
        services = []
        for spec in mesh.services:
            service_id = self._services.setdefault(spec.name, len(self._services))
            endpoints = []
            for e in spec.endpoints:
                key = (spec.name, e.address)
                if key in live:
                    continue
                if key in self._live:
                    live[key] = self._live[key]
                else:
                    live[key] = self._next_endpoint
                    self._next_endpoint += 1
                endpoints.append(Endpoint(live[key], e.address, e.weight, e.zone))
            services.append(Service(service_id, spec.name, tuple(endpoints)))
        self._live = live
        nodes = tuple(
            Node(self._nodes.setdefault(n.name, len(self._nodes)), n.name, n.concurrency, n.zone, n.service)
            for n in mesh.nodes
        )
        for r in mesh.routes:
            self._routes.setdefault(r.name, len(self._routes))
            self._route_services[r.name] = self._services.get(r.service, -1)
        return Topology(
            version=self._version,
            services=tuple(services),
            nodes=nodes,
            routes=tuple(self._routes),
            route_services=tuple(self._route_services[name] for name in self._routes),
            endpoint_slots=self._next_endpoint,
            service_slots=len(self._services),
        )
