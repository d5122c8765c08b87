"""Writes access log messages as Envoy 1.40 does: the other end of the wire, for tests and benches.

`attempt` is an entry of the router's upstream log, `ending` one of the connection manager's downstream log, `message`
what goes over the stream. Where the two logs differ from what one would expect, they do so here as well: the upstream
log swaps the bodies, leaves out stream id and attempt count, and says nothing at all about a route timeout.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envoy.data.accesslog.v3 import accesslog_pb2
from envoy.service.accesslog.v3 import als_pb2

from dataplane.als.entries import Kind
from dataplane.contract import Method


def attempt(
    cluster: str,
    address: str,
    start_s: float,
    duration_s: float,
    *,
    status: int = 200,
    flags: Iterable[str] = (),
    request_id: str = "",
    route: str = "",
    first_byte_s: float | None = None,
    finished: bool | None = None,
    bytes_in: int = 0,
    bytes_out: int = 0,
    method: int = Method.GET,
) -> Any:
    """An upstream entry. Without a word on it, an attempt with a status answered whole, half of its time to the first
    byte; one without a status (0) did not answer. An empty `address` means that no host was picked."""
    entry = _entry(Kind.UPSTREAM_END, cluster, address, start_s, duration_s, status, flags, request_id, route)
    common = entry.common_properties
    if first_byte_s is None and status:
        first_byte_s = duration_s / 2
    if first_byte_s is not None:
        common.time_to_first_upstream_rx_byte.FromNanoseconds(_ns(first_byte_s))
    if bool(status) if finished is None else finished:
        common.time_to_last_upstream_rx_byte.FromNanoseconds(_ns(duration_s))
    entry.request.request_method = method
    entry.request.request_body_bytes = bytes_out
    entry.response.response_body_bytes = bytes_in
    return entry


def ending(
    cluster: str,
    address: str,
    start_s: float,
    duration_s: float,
    *,
    status: int,
    flags: Iterable[str] = (),
    request_id: str = "",
    route: str = "",
) -> Any:
    """A downstream entry. The downstream log is filtered: Envoy writes one only for a request that ended badly."""
    entry = _entry(Kind.DOWNSTREAM_END, cluster, address, start_s, duration_s, status, flags, request_id, route)
    entry.common_properties.stream_id = request_id
    entry.common_properties.upstream_request_attempt_count = 1
    entry.response.response_code_details = "via_upstream"
    return entry


def message(entries: Iterable[Any], *, node: str = "", log_name: str = "") -> bytes:
    """A serialized StreamAccessLogsMessage; `node` and `log_name` only in the first of a stream."""
    out = als_pb2.StreamAccessLogsMessage()
    if node or log_name:
        out.identifier.node.id = node
        out.identifier.log_name = log_name
    out.http_logs.log_entry.extend(entries)
    written: bytes = out.SerializeToString()
    return written


def _entry(
    kind: Kind,
    cluster: str,
    address: str,
    start_s: float,
    duration_s: float,
    status: int,
    flags: Iterable[str],
    request_id: str,
    route: str,
) -> Any:
    """What both logs have, and the fields that nobody learns from but that fill the wire."""
    entry = accesslog_pb2.HTTPAccessLogEntry(protocol_version=accesslog_pb2.HTTPAccessLogEntry.HTTP11)
    common = entry.common_properties
    common.access_log_type = kind
    common.start_time.FromNanoseconds(_ns(start_s))
    common.duration.FromNanoseconds(_ns(duration_s))
    common.time_to_first_upstream_tx_byte.FromNanoseconds(8_022)
    common.time_to_last_upstream_tx_byte.FromNanoseconds(11_577)
    common.upstream_cluster = cluster
    common.route_name = route
    if address:
        host, _, port = address.rpartition(":")
        _socket(common.upstream_remote_address, host.strip("[]"), int(port))
        _socket(common.upstream_local_address, "127.0.0.1", 34010)
    for here in (common.downstream_remote_address, common.downstream_direct_remote_address):
        _socket(here, "127.0.0.1", 34040)
    _socket(common.downstream_local_address, "127.0.0.1", 10000)
    common.upstream_wire_bytes_sent, common.upstream_wire_bytes_received = 359, 277
    common.downstream_wire_bytes_sent, common.downstream_wire_bytes_received = 290, 243
    for flag in flags:
        if flag == "unauthorized_details":
            common.response_flags.unauthorized_details.reason = 1
        else:
            setattr(common.response_flags, flag, True)
    request = entry.request
    request.request_method, request.scheme, request.authority = 1, "http", "shop.example:10000"
    request.path, request.user_agent, request.request_id = "/basket/items", "wrk/4.2 (the bench)", request_id
    request.request_headers_bytes, request.upstream_header_bytes_sent = 288, 284
    request.downstream_header_bytes_received = 162
    entry.response.response_code.value = status
    entry.response.response_headers_bytes = 129
    entry.response.upstream_header_bytes_received, entry.response.downstream_header_bytes_sent = 131, 148
    return entry


def _socket(address: Any, host: str, port: int) -> None:
    address.socket_address.address, address.socket_address.port_value = host, port


def _ns(seconds: float) -> int:
    return round(seconds * 1e6) * 1000  # a float of seconds since 1970 holds microseconds, no more
