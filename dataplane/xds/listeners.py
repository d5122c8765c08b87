"""Listeners and routes: where requests come in, which arm takes them, and what is written of them.

Every route of the operator becomes two. The first takes the share of requests that the service's runtime key names, 0
while nothing is leased, to the adaptive cluster; the second takes the rest to the static one. A sheddable route has one
more before them, which refuses the share that another key names. Envoy draws one number a request and holds it against
every key, the lowest being the adaptive arm's on each: so who is refused is of the adaptive arm's, and the static arm
keeps all of its own.

Two logs go to us. The upstream log has a row per attempt, so that a failed first try hidden by a retry is seen. The
downstream log has a row per request that ended badly only: what no attempt can tell, at a cost that the good requests
do not pay. Where requests are traced a third has a few of those, for exemplars.
"""

from __future__ import annotations

from typing import Any

from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.access_loggers.grpc.v3 import als_pb2  # noqa: F401  (named by its URL below)
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from google.protobuf import json_format

from dataplane.contract import Arm
from dataplane.mesh import (
    ARM_HEADER,
    ListenerSpec,
    Mesh,
    RetrySpec,
    RouteSpec,
    TracingSpec,
    cluster_name,
    route_name,
    shed_name,
)
from dataplane.pick.policy import logger
from dataplane.xds import tracing
from dataplane.xds.resources import ADS, XDS_CLUSTER, Rendered, duration, percentage, rendered, share_key, shed_key

UPSTREAM_LOG = "weirflow.upstream"
DOWNSTREAM_LOG = "weirflow.downstream"
SHED_BODY = "overloaded: this route is sheddable, and its service is short"
LOG_FLUSH_S = 0.1
TRACED_FLUSH_S = 1.0
LOG_BUFFER_BYTES = 64 * 1024


def listener(spec: ListenerSpec, traced: TracingSpec | None = None, *, module: bool = False) -> Rendered:
    """The listener; its routes come by RDS under its own name. `module`: as it is at nodes that have our module."""
    body = {
        "name": spec.name,
        "address": {"socket_address": {"address": spec.address, "port_value": spec.port}},
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
                            ".HttpConnectionManager",
                            "stat_prefix": spec.name,
                            "generate_request_id": True,  # by it the rows of one request find each other
                            "rds": {"config_source": ADS, "route_config_name": spec.name},
                            "access_log": [_log(DOWNSTREAM_LOG) | {"filter": _ended_badly()}, *_traced_log(traced)],
                            "http_filters": [
                                {
                                    "name": "envoy.filters.http.router",
                                    "typed_config": {
                                        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                                        "upstream_log": [_log(UPSTREAM_LOG)],
                                    },
                                }
                            ],
                        }
                        | ({} if traced is None else {"tracing": tracing.tracing(traced)}),
                    }
                ]
            }
        ],
    }
    message = json_format.ParseDict(body, listener_pb2.Listener())
    if module:
        _let_hear(message.filter_chains[0].filters[0].typed_config)
    return rendered(spec.name, message, [spec.name])


def _let_hear(packed: Any) -> None:
    """Give a packed connection manager's router our access logger, which JSON cannot name: the protos lack its kind."""
    http, router = http_connection_manager_pb2.HttpConnectionManager(), router_pb2.Router()
    packed.Unpack(http)
    http.http_filters[0].typed_config.Unpack(router)
    router.upstream_log.append(logger())
    http.http_filters[0].typed_config.Pack(router, deterministic=True)
    packed.Pack(http, deterministic=True)


def _log(name: str) -> dict[str, Any]:
    return {
        "name": "envoy.access_loggers.http_grpc",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
            "common_config": {
                "log_name": name,
                "transport_api_version": "V3",
                "grpc_service": {"envoy_grpc": {"cluster_name": XDS_CLUSTER}},
                "buffer_flush_interval": duration(LOG_FLUSH_S),
                "buffer_size_bytes": LOG_BUFFER_BYTES,
            },
        },
    }


def _traced_log(traced: TracingSpec | None) -> list[dict[str, Any]]:
    """For exemplars: a request a second would do, so it waits for a second's entries."""
    if traced is None:
        return []
    log = _log(tracing.LOG)
    log["typed_config"]["additional_request_headers_to_log"] = ["traceparent"]
    log["typed_config"]["common_config"]["buffer_flush_interval"] = duration(TRACED_FLUSH_S)
    return [log | {"filter": tracing.log_filter(traced)}]


def _ended_badly() -> dict[str, Any]:
    """Any response flag (a filter that names none passes all), a status of 500 or more, or 429."""

    def status(op: str, value: int) -> dict[str, Any]:
        # The filter wants a runtime key; nobody sets this one.
        threshold = {"default_value": value, "runtime_key": f"weirflow.log.{value}"}
        return {"status_code_filter": {"comparison": {"op": op, "value": threshold}}}

    return {"or_filter": {"filters": [{"response_flag_filter": {}}, status("GE", 500), status("EQ", 429)]}}


def routes(mesh: Mesh, spec: ListenerSpec) -> Rendered:
    """The listener's routes. Envoy picks the most specific host; within it the first match wins, as written."""
    mine = [r for r in mesh.routes if not r.listeners or spec.name in r.listeners]
    hosts = dict.fromkeys(host for r in mine for host in r.hosts)
    body = {
        "name": spec.name,
        "ignore_port_in_host_matching": True,
        "virtual_hosts": [
            {
                "name": host,
                "domains": [host],
                # Envoy looks at one virtual host only, so each holds every route whose own hosts cover it: a route
                # for all hosts, written first, wins over a later one for this host.
                "routes": [entry for r in mine if any(covers(h, host) for h in r.hosts) for entry in _entries(r)],
            }
            for host in hosts
        ],
    }
    refs = {cluster_name(r.service, arm) for r in mine for arm in Arm}
    return rendered(spec.name, json_format.ParseDict(body, route_pb2.RouteConfiguration()), refs)


def covers(pattern: str, host: str) -> bool:
    """Whether every host that `host` stands for is one that `pattern` stands for; both as in Envoy's domains.

    >>> [covers(pattern, "a.example") for pattern in ("*", "*.example", "a.*", "b.*")]
    [True, True, True, False]
    """
    if pattern.startswith("*"):
        return host.endswith(pattern[1:])
    if pattern.endswith("*"):
        return host.startswith(pattern[:-1])
    return pattern == host


def _entries(route: RouteSpec) -> list[dict[str, Any]]:
    shed = [_shed(route)] if route.priority == "sheddable" else []
    share = _fraction(share_key(route.service))
    return [*shed, _route(route, Arm.ADAPTIVE, share), _route(route, Arm.STATIC, {})]


def _fraction(key: str) -> dict[str, Any]:
    """Matches the share of requests that a runtime key names; none without it."""
    return {"runtime_fraction": {"default_value": percentage(0.0), "runtime_key": key}}


def _shed(route: RouteSpec) -> dict[str, Any]:
    """Refuses as Envoy's circuit breakers do: status, header and a word of why."""
    out = {
        "name": shed_name(route.name),
        "match": {"prefix": route.prefix} | _fraction(shed_key(route.service)),
        "direct_response": {"status": 503, "body": {"inline_string": SHED_BODY}},
    }
    headers = [{"header": {"key": "x-envoy-overloaded", "value": "true"}}]
    return out | {"response_headers_to_add": headers + (_arm_header(Arm.ADAPTIVE) if route.tell_arm else [])}


def _arm_header(arm: Arm) -> list[dict[str, Any]]:
    header = {"header": {"key": ARM_HEADER, "value": arm.name.lower()}}
    return [header | {"append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]


def _route(route: RouteSpec, arm: Arm, match: dict[str, Any]) -> dict[str, Any]:
    action: dict[str, Any] = {"cluster": cluster_name(route.service, arm), "timeout": duration(route.timeout_s)}
    if route.retry is not None:
        action["retry_policy"] = _retry(route.retry)
    if route.priority == "critical":
        action["priority"] = "HIGH"
    out = {"name": route_name(route.name, arm), "match": {"prefix": route.prefix} | match, "route": action}
    if route.tell_arm:
        out["response_headers_to_add"] = _arm_header(arm)
    return out


def _retry(spec: RetrySpec) -> dict[str, Any]:
    out: dict[str, Any] = {"retry_on": spec.retry_on, "num_retries": spec.num_retries}
    if spec.per_try_timeout_s is not None:
        out["per_try_timeout"] = duration(spec.per_try_timeout_s)
    if spec.retriable_status_codes:
        out["retriable_status_codes"] = list(spec.retriable_status_codes)
    return out
