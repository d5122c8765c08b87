"""The static rules, in Envoy's own words: nodes, listeners, routes, and services with what guards them.

These hold whenever nothing learned is in force, so they alone must be enough to run on.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, GetJsonSchemaHandler, ValidationInfo, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from weirflow.config.fields import Address, Duration, HostPattern, Ip, Name, PathPrefix, Port, Section, refuse
from weirflow.config.tls import Identity

RetryOn = Literal[
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
]
StatusCode = Annotated[int, Field(ge=100, le=599)]


ADAPTIVE_SUFFIX = "~adaptive"
"""As `dataplane.contract` has it: that brings NumPy, which a file that is only checked need not wait for."""


def _ids(value: str) -> str:
    if not re.fullmatch(r"[!-~]{2,255}", value) or "*" not in value:
        raise refuse("is not a pattern of ids", "write 2 to 255 characters of ASCII without a space, '*' for any text")
    return value


def _cluster(value: str) -> str:
    if not re.fullmatch(r"[!-~]{1,255}", value) or value.endswith(ADAPTIVE_SUFFIX):
        raise refuse("is not the name of a cluster of yours", "write 1 to 255 characters of ASCII without a space")
    return value


Zone = Annotated[str, Field(max_length=128, pattern=r"^[ -~]*$")]
Count = Annotated[int, Field(ge=1, le=2**32 - 1)]  # a UInt32Value on the wire


class NodeSection(Section):
    """A proxy."""

    name: Name
    """Envoy's `node.id`, and how everything here names it."""
    spawn: bool = True
    """Weirflow starts this Envoy itself. `false`: it waits for one to call (see `weirflow bootstrap`)."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 1
    """Envoy's worker threads. Each has a weight schedule of its own, which every push restarts."""
    admin_port: Port = 0
    """Of Envoy's own admin page, on loopback; 0 lets the kernel choose."""
    log_level: Literal["trace", "debug", "info", "warning", "error", "critical", "off"] = "warning"
    """Of a spawned Envoy."""
    zone: Zone = ""
    """Where it runs: Envoy's `node.locality`, and what `adaptive.cost.zone_crossing` compares with endpoints' zones."""
    service: str = ""
    """Whose sidecar it is, a name from `services`: what it sends is that service's calls. Empty: an edge."""
    identity: Identity | None = None
    """The name that a certificate must bear to speak for it, instead of by `xds.tls.client_identity`."""
    ids: Annotated[str, AfterValidator(_ids)] | None = None
    """A pattern, `*` for any text: all proxies whose Envoy ids match speak as this node, with a log of requests and a
    configuration that is not Weirflow's, as Istio's sidecars do. It takes `spawn: false`."""


class ListenerSection(Section):
    """Where nodes accept requests."""

    name: Name
    """What routes refer to."""
    address: Ip = "127.0.0.1"
    """To bind: an IP address."""
    port: Port
    """To bind; 0 lets each node's kernel choose."""
    nodes: list[str] = Field(default=[])
    """Which nodes have it; empty means all."""


class RetrySection(Section):
    """Envoy's `RetryPolicy`, with its `RetryBudget`."""

    retry_on: Annotated[list[RetryOn], Field(min_length=1)] = Field(
        default=["connect-failure", "refused-stream", "reset-before-request", "retriable-status-codes"]
    )
    """Envoy's `retry_on` terms."""
    num_retries: Annotated[int, Field(ge=0, le=10)] = 1
    """Tries after the first."""
    per_try_timeout: Annotated[float, Duration("1ms", "1h")] | None = None
    """Of each try; without it only the route's timeout bounds a try."""
    retriable_status_codes: list[StatusCode] = Field(default=[503])
    """For the term `retriable-status-codes`."""
    budget_percent: Annotated[float, Field(gt=0, le=100)] = 20.0
    """Retries open at once, as a share of the service's open requests: what keeps retries from making an outage."""
    min_retry_concurrency: Annotated[int, Field(ge=1, le=10_000)] = 3
    """Retries that the budget always allows, however few requests are open."""


class GoodAnswerSection(Section):
    """What an answer of success must have, where a status tells too little: one that lacks it is learned as an error.

    It holds for statuses 2xx but 204, 205 and 206, and not for HEAD, OPTIONS and CONNECT. The client gets the answer
    all the same.
    """

    min_body_bytes: Annotated[int, Field(ge=0, le=2**30)]
    """Least size of the body as the endpoint sends it, compressed if it is; 0 asks for nothing."""


class RouteSection(Section):
    """Which requests go to which service. The first match wins, in the order written."""

    name: Name
    """What logs and recordings call it."""
    service: str
    """A name from `services`."""
    hosts: Annotated[list[HostPattern], Field(min_length=1)] = Field(default=["*"])
    """Envoy's virtual host domains: exact, `*.suffix`, `prefix.*` or `*`."""
    prefix: PathPrefix = "/"
    """Of the path."""
    listeners: list[str] = Field(default=[])
    """Which listeners have it; empty means all."""
    timeout: Annotated[float, Duration("0s", "1d")] = 15.0
    """Of the whole request, retries included; `0s` for none, as in Envoy."""
    retry: RetrySection | None = None
    """Without it nothing is retried."""
    good_answer: GoodAnswerSection | None = None
    """Instead of the service's."""
    priority: Literal["critical", "default", "sheddable"] = "default"
    """Who is refused first while the service is short: `sheddable`, then `default`, last `critical` (Envoy's HIGH, with
    breakers of its own)."""
    tell_arm: bool = False
    """Answer with a header that names the arm, for witnesses outside Weirflow."""


class BreakerSection(Section):
    """Envoy's `CircuitBreakers.Thresholds`, of each of the service's two clusters."""

    max_connections: Count = 1024
    """Connections to the service, per node."""
    max_pending_requests: Count = 1024
    """Requests waiting for a connection."""
    max_requests: Count = 1024
    """Requests open at once."""
    max_retries: Count = 3
    """Retries open at once; a route's retry budget is used instead where there is one."""


class OutlierSection(Section):
    """Envoy's `OutlierDetection`."""

    consecutive_5xx: Count = 5
    """Errors in a row that eject an endpoint."""
    interval: Annotated[float, Duration("100ms", "1h")] = 10.0
    """Between sweeps."""
    base_ejection_time: Annotated[float, Duration("100ms", "1d")] = 30.0
    """Of a first ejection; each further one is longer by this."""
    max_ejection_percent: Annotated[int, Field(ge=0, le=100)] = 10
    """Of the service's endpoints, at once."""


class EndpointSection(Section):
    """One address of a service. `127.0.0.1:8080` alone is short for `{address: "127.0.0.1:8080"}`."""

    address: Address
    """`ip:port` as Envoy dials it, or `name:port`, resolved again and again."""
    weight: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """The operator's, in force on the static arm. To drain an endpoint, take it out: Envoy refuses 0."""
    zone: Zone = ""
    """Where it runs: told by `explain`, and what `adaptive.cost.zone_crossing` compares with nodes' zones."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"address": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Either form."""
        return {"anyOf": [{"type": "string"}, handler.resolve_ref_schema(handler(schema))]}


class ServiceSection(Section):
    """A named upstream and the rules that hold when nothing learned is in force."""

    name: Name
    """What routes, commands and metrics call it."""
    endpoints: Annotated[list[EndpointSection], Field(min_length=1)]
    """Its addresses."""
    policy: Literal["LEAST_REQUEST", "ROUND_ROBIN", "RANDOM"] = "LEAST_REQUEST"
    """Envoy's `lb_policy` of the static arm. The adaptive arm is LEAST_REQUEST over learned weights."""
    good_answer: GoodAnswerSection | None = None
    """Without it every answer whose status is not of failure is good."""
    full_scan: bool = False
    """LEAST_REQUEST of the static arm compares all endpoints, not two (Envoy's `selection_method`). The adaptive arm
    does so in any case while its weights are equal."""
    connect_timeout: Annotated[float, Duration("1ms", "1m")] = 1.0
    """Of a connection to an endpoint."""
    circuit_breakers: BreakerSection = Field(default_factory=BreakerSection)
    """Limits on what is open at once."""
    outlier_detection: OutlierSection | None = None
    """Without it Envoy ejects nobody."""
    also_known_as: list[Annotated[str, AfterValidator(_cluster)]] = Field(default=[])
    """Clusters that nodes with a configuration of their own have it in: what they tell of these is this service's."""
    http2: bool = False
    """Speak HTTP/2 to the endpoints, in the clear."""

    @field_validator("full_scan")
    @classmethod
    def _scans(cls, value: bool, others: ValidationInfo) -> bool:
        policy = others.data.get("policy", "LEAST_REQUEST")
        if value and policy != "LEAST_REQUEST":
            raise refuse(f"goes with LEAST_REQUEST only, not with {policy}", "take out one of the two")
        return value
