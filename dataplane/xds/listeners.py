"""Listeners and routes: where requests come in, which arm takes them, and what is written of them.

Every route of the operator becomes two. The first takes the share of requests that the service's runtime key names, 0
while nothing is leased, to the adaptive cluster; the second takes the rest to the static one.

Two logs go to us. The upstream log has a row per attempt, so that a failed first try hidden by a retry is seen. The
downstream log has a row per request that ended badly only: what no attempt can tell, at a cost that the good requests
do not pay.
"""

from __future__ import annotations

from typing import Any

from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.access_loggers.grpc.v3 import als_pb2  # noqa: F401  (these three are named by their URLs below)
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa: F401
from google.protobuf import json_format

from dataplane.contract import Arm
from dataplane.mesh import ARM_HEADER, ListenerSpec, Mesh, RetrySpec, RouteSpec, cluster_name, route_name
from dataplane.xds.resources import ADS, SHARE_UNIT, XDS_CLUSTER, Rendered, duration, rendered, share_key

UPSTREAM_LOG = "weirflow.upstream"
DOWNSTREAM_LOG = "weirflow.downstream"
LOG_FLUSH_S = 0.1
LOG_BUFFER_BYTES = 64 * 1024


def listener(spec: ListenerSpec) -> Rendered:
    """The listener; its routes come by RDS under its own name."""
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
                            "access_log": [_log(DOWNSTREAM_LOG) | {"filter": _ended_badly()}],
                            "http_filters": [
                                {
                                    "name": "envoy.filters.http.router",
                                    "typed_config": {
                                        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                                        "upstream_log": [_log(UPSTREAM_LOG)],
                                    },
                                }
                            ],
                        },
                    }
                ]
            }
        ],
    }
    return rendered(spec.name, json_format.ParseDict(body, listener_pb2.Listener()), [spec.name])


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
                "routes": [entry for r in mine if any(covers(h, host) for h in r.hosts) for entry in _pair(r)],
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


def _pair(route: RouteSpec) -> list[dict[str, Any]]:
    share = {
        "default_value": {"numerator": 0, "denominator": SHARE_UNIT},
        "runtime_key": share_key(route.service),
    }
    return [_route(route, Arm.ADAPTIVE, {"runtime_fraction": share}), _route(route, Arm.STATIC, {})]


def _route(route: RouteSpec, arm: Arm, match: dict[str, Any]) -> dict[str, Any]:
    action: dict[str, Any] = {"cluster": cluster_name(route.service, arm), "timeout": duration(route.timeout_s)}
    if route.retry is not None:
        action["retry_policy"] = _retry(route.retry)
    if route.critical:
        action["priority"] = "HIGH"
    out = {"name": route_name(route.name, arm), "match": {"prefix": route.prefix} | match, "route": action}
    if route.tell_arm:
        header = {"header": {"key": ARM_HEADER, "value": arm.name.lower()}}
        out["response_headers_to_add"] = [header | {"append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]
    return out


def _retry(spec: RetrySpec) -> dict[str, Any]:
    out: dict[str, Any] = {"retry_on": spec.retry_on, "num_retries": spec.num_retries}
    if spec.per_try_timeout_s is not None:
        out["per_try_timeout"] = duration(spec.per_try_timeout_s)
    if spec.retriable_status_codes:
        out["retriable_status_codes"] = list(spec.retriable_status_codes)
    return out
