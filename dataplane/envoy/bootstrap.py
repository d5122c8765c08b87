"""The bootstrap of a node: who it is, where we are, and nothing else; all other configuration comes over ADS.

Any Envoy joins with it, spawned by us or not: `weirflow bootstrap NODE` prints it. Plain data, ready for JSON.
"""

from __future__ import annotations

from typing import Any

from dataplane.envoy.secrets import NodeTls, transport_socket
from dataplane.mesh import NodeSpec
from dataplane.pick import policy
from dataplane.xds.resources import ADS, LAYER, XDS_CLUSTER, address_type, duration, split_address

CLUSTER = "weirflow"
RECONNECT_BASE_S = 0.25
RECONNECT_MAX_S = 2.0
"""Envoy backs off with full jitter between these: its own most is 30 s, too long to be without telemetry."""
PING_INTERVAL_S = 5.0
PING_TIMEOUT_S = 5.0
"""A brain that hangs with its sockets open is noticed by its silence. gRPC answers pings from a thread of its own, so a
brain that is merely busy is not."""
MAX_DOWNSTREAM_CONNECTIONS = 50_000


def bootstrap(
    node: NodeSpec,
    xds_address: str,
    *,
    admin_port: int = 0,
    has_module: bool = False,
    tls: NodeTls | None = None,
) -> dict[str, Any]:
    """Envoy's bootstrap for a node that takes its configuration from `xds_address` (`host:port` or `unix:PATH`).

    Envoy is ready (admin `/ready`) once it has had all of it. Admin listens on loopback. `has_module`: the node says
    that it has our module (`dataplane.pick`) in its search path. `tls`: it calls over TLS, and needs the files of
    `secrets.sds_files` as well. ValueError as `split_address`.
    """
    return {
        "node": {"id": node.name, "cluster": CLUSTER}
        | ({"locality": {"zone": node.zone}} if node.zone else {})
        | ({"metadata": policy.metadata()} if has_module else {}),
        "admin": {"address": _socket("127.0.0.1", admin_port)},
        "dynamic_resources": {
            "ads_config": _grpc() | {"set_node_on_first_message_only": True},
            "cds_config": ADS,
            "lds_config": ADS,
        },
        "cluster_manager": {"load_stats_config": _grpc()},
        "static_resources": {"clusters": [_xds_cluster(xds_address, tls)]},
        "layered_runtime": {
            "layers": [
                {"name": "static", "static_layer": {}},
                {"name": LAYER, "rtds_layer": {"name": LAYER, "rtds_config": ADS}},
                {"name": "admin", "admin_layer": {}},  # last, so an operator at the node's admin port has the last word
            ]
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3"
                        ".DownstreamConnectionsConfig",
                        "max_active_downstream_connections": MAX_DOWNSTREAM_CONNECTIONS,
                    },
                }
            ]
        },
    }


def _grpc() -> dict[str, Any]:
    """How ADS and LRS reach us."""
    backoff = {"base_interval": duration(RECONNECT_BASE_S), "max_interval": duration(RECONNECT_MAX_S)}
    service = {"cluster_name": XDS_CLUSTER, "retry_policy": {"retry_back_off": backoff}}
    return {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": service}]}


def _xds_cluster(address: str, tls: NodeTls | None) -> dict[str, Any]:
    if address.startswith("unix:"):
        kind, where = "STATIC", {"pipe": {"path": address.removeprefix("unix:")}}
    else:
        host, port = split_address(address)
        kind, where = address_type(host), _socket(host, port)
    keepalive = {"interval": duration(PING_INTERVAL_S), "timeout": duration(PING_TIMEOUT_S)}
    return {
        "name": XDS_CLUSTER,
        "type": kind,
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": XDS_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": where}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": keepalive}},
            }
        },
    } | ({"transport_socket": transport_socket(tls)} if tls is not None else {})


def _socket(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
