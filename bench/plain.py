"""The same Envoy without Weirflow: the configuration that we would send, as a file, less what makes it ours.

It is rendered by the very code that serves it over xDS, so the two sides of a comparison differ in nothing else: one
static cluster and one static route, no access log, no load reports, no runtime layer.
"""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from google.protobuf import json_format

from dataplane.contract import ADAPTIVE_SUFFIX, Arm
from dataplane.mesh import Mesh, Registry
from dataplane.xds import listeners, resources, weights


def bootstrap(mesh: Mesh) -> dict[str, Any]:
    """A whole bootstrap of one node, with the mesh's static rules alone. The admin page is on a port of its own."""
    topology = Registry().topology(mesh)
    return {
        "node": {"id": mesh.nodes[0].name, "cluster": "plain"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {
            "listeners": [_listener(mesh, spec) for spec in mesh.listeners],
            "clusters": [
                _cluster(mesh, spec, topology.service(spec.name), [r for r in mesh.routes if r.service == spec.name])
                for spec in mesh.services
            ],
        },
    }


def _dict(message: Any, value: bytes) -> dict[str, Any]:
    message.ParseFromString(value)
    out: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return out


def _listener(mesh: Mesh, spec: Any) -> dict[str, Any]:
    out = _dict(listener_pb2.Listener(), listeners.listener(spec).value)
    manager = out["filter_chains"][0]["filters"][0]["typed_config"]
    manager.pop("access_log")
    manager.pop("rds")
    for http_filter in manager["http_filters"]:
        http_filter["typed_config"].pop("upstream_log", None)
    table = _dict(route_pb2.RouteConfiguration(), listeners.routes(mesh, spec).value)
    for host in table["virtual_hosts"]:
        host["routes"] = [r for r in host["routes"] if not r["name"].endswith(ADAPTIVE_SUFFIX)]
    manager["route_config"] = table
    return out


def _cluster(mesh: Mesh, spec: Any, service: Any, routes: list[Any]) -> dict[str, Any]:
    out = _dict(cluster_pb2.Cluster(), resources.clusters(spec, routes)[Arm.STATIC].value)
    for ours in ("lrs_server", "eds_cluster_config"):
        out.pop(ours)
    assignment = resources.assignment(service, Arm.STATIC, weights.static(service))
    out["type"] = "STATIC"
    out["load_assignment"] = _dict(endpoint_pb2.ClusterLoadAssignment(), assignment.value)
    return out
