"""Traces: what makes a node's requests and their attempts spans, and where the spans go.

Envoy does all of it. Each node sends its spans to the collector by itself, in OTLP over gRPC, so no request and no span
comes by here. A request that brings a W3C `traceparent` goes on in that trace, as its caller decided about sampling; of
those that bring none, the share begins a new one. The span of an attempt names its cluster (`upstream_cluster`), and so
the arm; that of a request its node (`node_id`).

Spans are sent beside the requests, which wait for none of it. A collector that is slow or gone costs the spans that it
does not take: an export ends by itself, and only so many may be open.
"""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.trace.v3 import opentelemetry_pb2  # noqa: F401  (all of these are named by their URLs below)
from envoy.extensions.tracers.opentelemetry.samplers.v3 import (
    parent_based_sampler_pb2,  # noqa: F401
    trace_id_ratio_based_sampler_pb2,  # noqa: F401
)
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # noqa: F401
from google.protobuf import json_format

from dataplane.mesh import TracingSpec
from dataplane.xds.resources import Rendered, address_type, duration, percentage, rendered, split_address

COLLECTOR = "weirflow~collector"
"""Its cluster. No service can have the name: `~` is ours."""
SAMPLERS = "envoy.extensions.tracers.opentelemetry.samplers"
LOG = "weirflow.traced"
"""Of requests with a sampled trace, for exemplars."""
LOGGED_PERCENT = 1.0
LOGGED_KEY = "weirflow.log.traced"  # the filter wants a runtime key; nobody sets this one
CONNECT_TIMEOUT_S = 1.0
EXPORT_TIMEOUT_S = 2.0
MAX_EXPORTS = 16
"""Open at once, per node: what the spans for a collector that hangs may hold of memory."""


def collector(spec: TracingSpec) -> Rendered:
    """The cluster of the collector: HTTP/2 in the clear. It has its endpoint in it. ValueError as `split_address`."""
    host, port = split_address(spec.otlp)
    place = {"socket_address": {"address": host, "port_value": port}}
    most = {"max_requests": MAX_EXPORTS, "max_pending_requests": MAX_EXPORTS}
    body = {
        "name": COLLECTOR,
        "type": address_type(host),
        "connect_timeout": duration(CONNECT_TIMEOUT_S),
        "wait_for_warm_on_init": False,  # a name that does not resolve keeps no listener from opening
        "circuit_breakers": {"thresholds": [most]},
        "load_assignment": {
            "cluster_name": COLLECTOR,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": place}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
                # The tracer of Envoy 1.40 does not heed the timeout of its gRPC service; the stream's does end it.
                "common_http_protocol_options": {"max_stream_duration": duration(EXPORT_TIMEOUT_S)},
            }
        },
    }
    return rendered(COLLECTOR, json_format.ParseDict(body, cluster_pb2.Cluster()))


def log_filter(spec: TracingSpec) -> dict[str, Any]:
    """Passes requests with a trace that is sampled; where many are, so few that they are one in a hundred of all."""
    header = {"header": {"name": "traceparent", "string_match": {"suffix": "-01"}}}
    share = min(100.0, 100.0 * LOGGED_PERCENT / spec.sampling_percent) if spec.sampling_percent else 100.0
    dice = {"runtime_key": LOGGED_KEY, "percent_sampled": percentage(share), "use_independent_randomness": True}
    return {"and_filter": {"filters": [{"header_filter": header}, {"runtime_filter": dice}]}}


def tracing(spec: TracingSpec) -> dict[str, Any]:
    """The `tracing` of an HttpConnectionManager."""
    share = _sampler("TraceIdRatioBased", "trace_id_ratio_based", sampling_percentage=percentage(spec.sampling_percent))
    return {
        "random_sampling": {"value": 100},  # the sampler decides: Envoy's own dice would unset the caller's flag
        "spawn_upstream_span": True,  # a span for each attempt, so that retries are seen
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "grpc_service": {"envoy_grpc": {"cluster_name": COLLECTOR}},
                "service_name": spec.service_name,
                "sampler": _sampler("ParentBased", "parent_based", wrapped_sampler=share),
            },
        },
    }


def _sampler(name: str, path: str, **config: Any) -> dict[str, Any]:
    url = f"type.googleapis.com/{SAMPLERS}.v3.{name}SamplerConfig"
    return {"name": f"envoy.tracers.opentelemetry.samplers.{path}", "typed_config": {"@type": url} | config}
