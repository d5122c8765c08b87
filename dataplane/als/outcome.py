"""What an access log entry's response flags, status and completeness mean: one table, first match wins.

An Outcome says by whom an attempt teaches (see `contract.Outcome`). Two rows of the table say something else: NOTHING
(no endpoint had a part in it, or we do not know the flag: dropped, counted by the flag's name) and UNEXPLAINED (an
attempt that ended unfinished and without a flag: a route timeout or a client that left; only its request's downstream
entry can tell which, see `join`).

The order matters where Envoy sets several flags on one entry:
* what never involved an endpoint comes first: whatever else is said, nothing can be learned from it;
* then who ended it early on our side (the client, our own limits), because the upstream reset which follows from that
  is our doing and not the endpoint's;
* then timeouts, before the resets that Envoy does when one fires;
* then connection failures and the endpoint's own resets;
* last, without a deciding flag, the status.

`upstream_retry_limit_exceeded` and `delay_injected` decide nothing: what the last attempt was is said by the rest.

Source: envoy/data/accesslog/v3/accesslog.proto (ResponseFlags) and Envoy's docs, "Access logging", %RESPONSE_FLAGS%.
grpc-status is not here: an HTTP 200 with a failing grpc-status is OK to this table. It would need the trailer in the
log (`additional_response_trailers_to_log`) and rows of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Outcome

NOTHING: Final = -1
UNEXPLAINED: Final = -2

FLAG_FIELDS: Final = (
    "failed_local_healthcheck",
    "no_healthy_upstream",
    "upstream_request_timeout",
    "local_reset",
    "upstream_remote_reset",
    "upstream_connection_failure",
    "upstream_connection_termination",
    "upstream_overflow",
    "no_route_found",
    "delay_injected",
    "fault_injected",
    "rate_limited",
    "unauthorized_details",
    "rate_limit_service_error",
    "downstream_connection_termination",
    "upstream_retry_limit_exceeded",
    "stream_idle_timeout",
    "invalid_envoy_request_headers",
    "downstream_protocol_error",
    "upstream_max_stream_duration_reached",
    "response_from_cache_filter",
    "no_filter_config_found",
    "duration_timeout",
    "upstream_protocol_error",
    "no_cluster_found",
    "overload_manager",
    "dns_resolution_failure",
    "downstream_remote_reset",
)
"""The fields of ResponseFlags in the order of their numbers: field n is bit n-1."""

BIT: Final = {name: 1 << i for i, name in enumerate(FLAG_FIELDS)}
STATUS_MAX: Final = 999


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: a deciding flag, or a range of status and whether the response came to its end."""

    meaning: int  # an Outcome, NOTHING or UNEXPLAINED
    why: str
    flag: str = ""
    status: range = range(STATUS_MAX + 1)
    finished: bool | None = None  # None: either


UNKNOWN_FLAG: Final = "unknown_flag"

TABLE: Final = (
    # No endpoint had a part in it.
    Row(NOTHING, "Envoy's own health check filter answered", "failed_local_healthcheck"),
    Row(NOTHING, "no route: it belongs to no service", "no_route_found"),
    Row(NOTHING, "no such cluster: it belongs to no service", "no_cluster_found"),
    Row(NOTHING, "a filter's configuration is missing", "no_filter_config_found"),
    Row(NOTHING, "an injected fault answered", "fault_injected"),
    Row(NOTHING, "refused for want of authority", "unauthorized_details"),
    Row(NOTHING, "refused for its headers", "invalid_envoy_request_headers"),
    Row(NOTHING, "answered from a cache", "response_from_cache_filter"),
    # The client's side ended it.
    Row(Outcome.CANCELLED, "the client closed its connection", "downstream_connection_termination"),
    Row(Outcome.CANCELLED, "the client reset its stream", "downstream_remote_reset"),
    Row(Outcome.CANCELLED, "the client broke the protocol", "downstream_protocol_error"),
    # A limit of ours said no.
    Row(Outcome.REJECTED, "a circuit breaker was open", "upstream_overflow"),
    Row(Outcome.REJECTED, "the local rate limit said no", "rate_limited"),
    Row(Outcome.REJECTED, "the rate limit service failed, which is set to mean no", "rate_limit_service_error"),
    Row(Outcome.REJECTED, "Envoy itself was overloaded", "overload_manager"),
    # It took too long.
    Row(Outcome.TIMEOUT, "per-try or route timeout", "upstream_request_timeout"),
    Row(Outcome.TIMEOUT, "the stream outlived max_stream_duration", "upstream_max_stream_duration_reached"),
    Row(Outcome.TIMEOUT, "the request outlived the connection's allowance", "duration_timeout"),
    Row(Outcome.TIMEOUT, "nothing moved for the stream idle timeout", "stream_idle_timeout"),
    # There was no connection.
    Row(Outcome.UNREACHED, "connection refused, timed out or not trusted", "upstream_connection_failure"),
    Row(Outcome.UNREACHED, "every endpoint was down or ejected", "no_healthy_upstream"),
    Row(Outcome.UNREACHED, "the name of the endpoint did not resolve", "dns_resolution_failure"),
    # The endpoint broke it.
    Row(Outcome.ERROR, "the endpoint closed the connection", "upstream_connection_termination"),
    Row(Outcome.ERROR, "the endpoint reset the stream", "upstream_remote_reset"),
    Row(Outcome.ERROR, "the endpoint broke the protocol, as by a body cut short", "upstream_protocol_error"),
    # Envoy reset it, and none of the reasons above says why.
    Row(Outcome.REJECTED, "Envoy reset the stream itself", "local_reset"),
    Row(NOTHING, "a flag of an Envoy newer than this table", UNKNOWN_FLAG),
    # No deciding flag: the status speaks.
    Row(Outcome.ERROR, "the endpoint failed", status=range(500, STATUS_MAX + 1)),
    Row(Outcome.ERROR, "the endpoint had no room: a fast refusal is never a good sign", status=range(429, 430)),
    Row(Outcome.OK, "answered whole; other 4xx are the client's mistakes", status=range(100, 500), finished=True),
    Row(UNEXPLAINED, "no answer or half of one, and no flag"),
)

_MASKS: Final = tuple(
    ~(sum(BIT.values())) & (2**64 - 1) if row.flag == UNKNOWN_FLAG else BIT.get(row.flag, 0) for row in TABLE
)
MEANING: Final = np.array([row.meaning for row in TABLE], dtype=np.int8)
"""Meaning by row of the table."""


def _by_status(finished: bool, status: int) -> int:
    for i, row in enumerate(TABLE):
        if not row.flag and status in row.status and row.finished in (None, finished):
            return i
    raise AssertionError("the last row of the table matches everything")


_STATUS_ROWS = np.array([[_by_status(done, s) for s in range(STATUS_MAX + 1)] for done in (False, True)], dtype=np.int8)


def classify(flags: NDArray[np.uint64], status: NDArray[np.int64], finished: NDArray[np.bool_]) -> NDArray[np.int8]:
    """The row of `TABLE` that each entry matches. Shapes (n,); `status` within 0 to STATUS_MAX."""
    rows = _STATUS_ROWS[finished.view(np.int8), status]
    flagged = flags.nonzero()[0]
    if len(flagged):
        theirs = flags[flagged]
        undecided = np.ones(len(flagged), dtype=bool)
        for i, mask in enumerate(_MASKS):
            if mask:
                hit = undecided & (theirs & np.uint64(mask) != 0)
                rows[flagged[hit]] = i
                undecided &= ~hit
    return rows
