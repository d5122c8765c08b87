"""Clusters, endpoints and the runtime layer: what a service looks like to Envoy, on either arm.

Each service is two clusters over the same endpoints. `NAME` has the operator's policy and weights. `NAME~adaptive` has
LEAST_REQUEST, the same static rules, and the learned tiers and weights: tiers take turns by weight; within one, Envoy
compares all endpoints while their weights are equal, else it deals out turns by weight / (open requests + 1). What is
seldom rendered is written as the dicts that an operator knows from Envoy's own YAML; what is rendered at every push
(assignments, the layer) is built directly.

A service that picks by our module (`dataplane.pick`) has its adaptive cluster a second time, for the nodes that have
the module: weights are capacities there, and there are no tiers.

On the static cluster zones become localities, for the load reports and the logs; locality-weighted and zone-aware
routing are both off, so Envoy puts the endpoints of all zones in one schedule by their own weights and a zone never
changes the split. On the adaptive cluster the learned tiers are the localities.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.extensions.load_balancing_policies.least_request.v3 import (
    least_request_pb2,  # noqa: F401  (this and the next are named by their URLs below)
)
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # noqa: F401
from envoy.service.runtime.v3 import rtds_pb2
from google.protobuf import json_format

from dataplane.contract import Arm, Ints, Plan, Service, Topology
from dataplane.mesh import BreakerSpec, OutlierSpec, RouteSpec, ServiceSpec, cluster_name
from dataplane.pick.policy import MOST_EJECTED_PERCENT, NAMESPACE, policy

XDS_CLUSTER = "weirflow_xds"
LAYER = "weirflow"
HIGH = "high."
"""Before a limit that is for critical requests."""
SHARE_UNIT = "MILLION"
SHARE_PER_PERCENT = 10_000

# The old cluster or listener serves on until the new one has all it needs, even when we die in between: never a
# cluster without endpoints because its assignment was late.
WAIT_FOR_EVER = "0s"
ADS: dict[str, Any] = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": WAIT_FOR_EVER}

# A foreign Envoy may have zone-aware routing on; it would overrule the weights.
NO_ZONE_ROUTING: dict[str, Any] = {"routing_enabled": {"value": 0.0}}


@dataclass(frozen=True, slots=True)
class Rendered:
    """One named resource, serialized once for all nodes. `refs` is what it points at by name: its children."""

    name: str
    value: bytes
    refs: frozenset[str] = frozenset()


def rendered(name: str, message: Any, refs: Iterable[str] = ()) -> Rendered:
    """Serialize a protobuf; equal resources have equal bytes."""
    return Rendered(name, message.SerializeToString(deterministic=True), frozenset(refs))


def duration(seconds: float) -> str:
    """The JSON form of google.protobuf.Duration, to the microsecond."""
    return f"{seconds:.6f}s"


def share_key(service: str) -> str:
    """The runtime key that sends a share of a service's requests to its adaptive cluster."""
    return f"weirflow.adaptive.{service}"


def shed_key(service: str) -> str:
    """The runtime key of the share of a service's requests that its sheddable routes refuse."""
    return f"weirflow.shed.{service}"


def limit_key(service: str, limit: str) -> str:
    """The runtime key of one circuit breaker threshold of a service's adaptive cluster, as `ServicePlan` names it."""
    priority = "" if limit.startswith(HIGH) else "default."
    return f"circuit_breakers.{cluster_name(service, Arm.ADAPTIVE)}.{priority}{limit}"


def clusters(spec: ServiceSpec, routes: Sequence[RouteSpec]) -> tuple[Rendered, Rendered]:
    """The static and the adaptive cluster of a service. `routes` lead to it: their retries set the budget."""
    return _rendered(_cluster(spec, routes, Arm.STATIC)), _rendered(_cluster(spec, routes, Arm.ADAPTIVE))


def with_module(spec: ServiceSpec, routes: Sequence[RouteSpec]) -> Rendered:
    """The adaptive cluster as it is at nodes that have the module."""
    cluster = _cluster(spec, routes, Arm.ADAPTIVE)
    ours = cluster_pb2.Cluster()
    ours.load_balancing_policy.policies.add().typed_extension_config.CopyFrom(policy())
    # Envoy takes the first policy whose kind it knows.
    ours.load_balancing_policy.policies.extend(cluster.load_balancing_policy.policies)
    cluster.load_balancing_policy.CopyFrom(ours.load_balancing_policy)
    if spec.outliers is not None:
        cluster.outlier_detection.max_ejection_percent.value = min(
            spec.outliers.max_ejection_percent, MOST_EJECTED_PERCENT
        )
    return _rendered(cluster)


def _rendered(cluster: Any) -> Rendered:
    return rendered(cluster.name, cluster, [cluster.name])


def _cluster(spec: ServiceSpec, routes: Sequence[RouteSpec], arm: Arm) -> Any:
    name = cluster_name(spec.name, arm)
    body: dict[str, Any] = {
        "name": name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": ADS},
        "connect_timeout": duration(spec.connect_timeout_s),
        "lb_policy": "LEAST_REQUEST" if arm is Arm.ADAPTIVE else spec.policy,
        "circuit_breakers": {"thresholds": _thresholds(spec, routes)},
        "common_lb_config": {},
        "lrs_server": {"self": {}, "resource_api_version": "V3"},
    }
    if arm is Arm.ADAPTIVE:
        # A locality is a tier: they take turns by weight, and within one Envoy compares queues while weights are equal.
        body["load_balancing_policy"] = _full_scan({"locality_weighted_lb_config": {}})
        # Envoy would hold back weights for up to a second to merge them. We push at most once a second, and want an
        # ACK to mean "in force".
        body["common_lb_config"]["update_merge_window"] = "0s"
    elif spec.full_scan and spec.policy == "LEAST_REQUEST":
        body["load_balancing_policy"] = _full_scan({"zone_aware_lb_config": NO_ZONE_ROUTING})
    else:
        body["common_lb_config"]["zone_aware_lb_config"] = NO_ZONE_ROUTING
    if spec.outliers is not None:
        body["outlier_detection"] = _outliers(spec.outliers)
    if spec.http2:
        body["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        }
    return json_format.ParseDict(body, cluster_pb2.Cluster())


def _full_scan(localities: dict[str, Any]) -> dict[str, Any]:
    """LEAST_REQUEST that compares all endpoints. It stands for `lb_policy` and for the zone settings."""
    body = {
        "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
        "selection_method": "FULL_SCAN",
        "locality_lb_config": localities,
    }
    name = "envoy.load_balancing_policies.least_request"
    return {"policies": [{"typed_extension_config": {"name": name, "typed_config": body}}]}


def _thresholds(spec: ServiceSpec, routes: Sequence[RouteSpec]) -> list[dict[str, Any]]:
    """The operator's, for each priority that requests can have."""
    retries = [r.retry for r in routes if r.retry is not None]
    out: dict[str, Any] = {
        "max_connections": spec.breakers.max_connections,
        "max_pending_requests": spec.breakers.max_pending_requests,
        "max_requests": spec.breakers.max_requests,
        "max_retries": spec.breakers.max_retries,
    }
    if retries:
        # A cluster has one budget and routes may differ: the tightest holds, as a budget is there to stop a storm.
        out["retry_budget"] = {
            "budget_percent": {"value": min(r.budget_percent for r in retries)},
            "min_retry_concurrency": min(r.min_retry_concurrency for r in retries),
        }
    return [out, out | {"priority": "HIGH"}] if any(r.priority == "critical" for r in routes) else [out]


def _outliers(spec: OutlierSpec) -> dict[str, Any]:
    return {
        "consecutive_5xx": spec.consecutive_5xx,
        "interval": duration(spec.interval_s),
        "base_ejection_time": duration(spec.base_ejection_time_s),
        "max_ejection_percent": spec.max_ejection_percent,
    }


def assignment(
    service: Service,
    arm: Arm,
    weights: Ints,
    tiers: Sequence[int] | None = None,
    module: Sequence[Mapping[str, float]] | None = None,
) -> Rendered:
    """A service's endpoints with `weights` in the topology's order. ValueError as `split_address`.

    Grouped by zone; or, on the adaptive arm, by tier: a locality for each, that takes turns by the sum of its weights.
    `module` is told to our module in each endpoint's metadata, by name, in the same order.
    """
    name = cluster_name(service.name, arm)
    out = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    places: dict[Any, Any] = {}
    for at, (endpoint, given) in enumerate(zip(service.endpoints, weights.tolist(), strict=True)):
        where: Any = endpoint.zone if arm is Arm.STATIC else tiers[at] if tiers is not None else 0
        place = places.get(where)
        if place is None:
            place = places[where] = out.endpoints.add()
            if arm is Arm.STATIC:
                place.locality.zone = where
            else:
                place.locality.sub_zone = f"tier-{where}"
        host, port = split_address(endpoint.address)
        member = place.lb_endpoints.add()
        member.endpoint.address.socket_address.address = host
        member.endpoint.address.socket_address.port_value = port
        member.load_balancing_weight.value = given
        if arm is Arm.ADAPTIVE:
            place.load_balancing_weight.value += given
            if module and module[at]:
                member.metadata.filter_metadata[NAMESPACE].update(module[at])
    return rendered(name, out, (e.address for e in service.endpoints))


def split_address(address: str) -> tuple[str, int]:
    """`10.0.0.1:80` or `[::1]:80` as host and port. ValueError, naming the address, when it is neither."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{address!r} is not an address; write it as ip:port, or [ip]:port for IPv6")
    return host.removeprefix("[").removesuffix("]"), int(port)


def address_type(host: str) -> str:
    """Envoy's type of a cluster whose endpoint is in it: `STATIC` for an IP address, `STRICT_DNS` for a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "STRICT_DNS"
    return "STATIC"


def layer(
    topology: Topology, plan: Plan | None, breakers: Mapping[str, BreakerSpec], node: int = -1
) -> tuple[Rendered, frozenset[str]]:
    """The runtime layer of a node, and the adaptive clusters that its keys turn traffic to. -1: of one without its own.

    `breakers`: what the operator set, by service: a learned limit may be less and not more.

    A service with a share of 0 has no key at all, its limits included: nothing learned about it is in force. The share
    is a FractionalPercent in millionths, so it keeps its decimals.
    """
    values: dict[str, Any] = {}
    reached = set()
    for service in topology.services:
        decided = plan.services.get(service.id) if plan is not None else None
        if decided is None or not decided.share_percent > 0:
            continue
        share = min(decided.share_percent, 100.0)
        values[share_key(service.name)] = percentage(share)
        if decided.shed_percent > 0:
            values[shed_key(service.name)] = percentage(min(decided.shed_percent, share))
        most = breakers.get(service.name)
        values |= {
            limit_key(service.name, limit): min(value, getattr(most, limit.removeprefix(HIGH), value))
            for limit, value in decided.limits_at(node).items()
        }
        reached.add(cluster_name(service.name, Arm.ADAPTIVE))
    return runtime(values), frozenset(reached)


def percentage(percent: float) -> dict[str, Any]:
    """type.v3.FractionalPercent, as a runtime layer has it."""
    return {"numerator": round(percent * SHARE_PER_PERCENT), "denominator": SHARE_UNIT}


def runtime(values: Mapping[str, Any]) -> Rendered:
    """A runtime layer with these keys."""
    out = rtds_pb2.Runtime(name=LAYER)
    out.layer.update(values)
    return rendered(LAYER, out)
