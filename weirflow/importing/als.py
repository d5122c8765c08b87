"""Dumps of Envoy's access log service: length-delimited StreamAccessLogsMessage or HTTPAccessLogEntry.

Where a dump has the router's upstream log (AccessLogType UpstreamEnd), each of its entries is an attempt, and the
downstream entries serve to tell how one ended that says it not itself; without it, a downstream entry is the last
attempt of its request. Intermediate entries are no end and are left out, else a request would count twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoy.data.accesslog.v3 import accesslog_pb2
from envoy.service.accesslog.v3 import als_pb2
from google.protobuf.message import DecodeError

from dataplane.als.entries import ABSENT, Kind
from dataplane.als.outcome import BIT
from dataplane.als.reference import flag_bits, nanoseconds
from dataplane.contract import Method
from dataplane.mesh import host_port
from weirflow.importing.attempts import Read
from weirflow.importing.errors import ImportingError
from weirflow.importing.opening import Source
from weirflow.importing.rejects import Rejects

LONGEST = 1 << 26
ROWS = 1 << 13
_ENDS = (0, int(Kind.DOWNSTREAM_END), int(Kind.UPSTREAM_END))  # 0: an Envoy before 1.27, which writes at the end only
_METHODS = {int(m): m.name for m in Method}
_COLUMNS = (
    "started_ns",
    "duration_ns",
    "ttfb_ns",
    "cluster",
    "host",
    "endpoint",
    "node",
    "path",
    "route",
    "method",
    "status",
    "bits",
    "attempt",
    "bytes_in",
    "bytes_out",
    "request",
)
_NAMES_BY_BIT = {bit: name for name, bit in BIT.items()}
_TIMEOUTS = sum(BIT[f] for f in ("upstream_request_timeout", "duration_timeout", "stream_idle_timeout"))


class AlsReader:
    """Reads a dump. The line of a row is the number of its message."""

    retries_hidden = True

    def read(self, source: Source, rejects: Rejects) -> Iterator[Read]:
        """As `text.Reader.read`. ImportingError when it is cut in no messages at all."""
        numbers: list[int] = []
        rows: list[tuple[Any, ...]] = []
        upstream = False
        node = ""
        ended: dict[str, bool] = {}  # by request: whether the downstream entry tells of a timeout
        for number, message in _messages(source, rejects):
            rejects.records += 1
            entries, name = _entries(message)
            node = name or node
            if entries is None:
                rejects.reject(number, "is no StreamAccessLogsMessage and no HTTPAccessLogEntry")
                continue
            for entry in entries:
                common = entry.common_properties
                if common.intermediate_log_entry or common.access_log_type not in _ENDS:
                    rejects.leave_out("an entry that is no end")
                    continue
                is_upstream = common.access_log_type == Kind.UPSTREAM_END
                if is_upstream and not upstream:
                    upstream = True
                    rejects.leave_out("a downstream entry, whose attempts are told by upstream ones", len(rows))
                    numbers, rows = [], []
                if not is_upstream and flag_bits(common) & _TIMEOUTS:
                    if len(ended) > 1 << 16:
                        ended.clear()
                    ended[entry.request.request_id] = True
                if upstream and not is_upstream:
                    rejects.leave_out("a downstream entry, whose attempts are told by upstream ones")
                    continue
                numbers.append(number)
                rows.append(_row(entry, node, is_upstream))
            if len(rows) >= ROWS:
                yield _read(numbers, rows, ended)
                numbers, rows = [], []
        if rows:
            yield _read(numbers, rows, ended)


def _read(numbers: list[int], rows: list[tuple[Any, ...]], ended: dict[str, bool]) -> Read:
    columns: dict[str, Any] = dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True))
    bits = columns.pop("bits")
    columns["flags"] = [_flags(b) for b in bits]
    columns["outcome"] = [
        "TIMEOUT" if not b and not s and ended.get(r) else ""
        for b, s, r in zip(bits, columns["status"], columns["request"], strict=True)
    ]
    return Read(numbers, columns)


def _row(entry: Any, node: str, upstream: bool) -> tuple[Any, ...]:
    common, request, response = entry.common_properties, entry.request, entry.response
    host = common.upstream_remote_address
    started, duration = nanoseconds(common, "start_time"), nanoseconds(common, "duration")
    first = nanoseconds(common, "time_to_first_upstream_rx_byte")
    sizes = request.request_body_bytes, response.response_body_bytes
    if upstream:
        sizes = sizes[::-1]  # there they trade places (dataplane.als.sieve)
    elif duration == ABSENT:  # an Envoy before 1.26
        duration = nanoseconds(common, "time_to_last_downstream_tx_byte")
    method = request.request_method
    return (
        None if started == ABSENT else started,
        None if duration == ABSENT else duration,
        None if first == ABSENT else first,
        common.upstream_cluster,
        request.authority,
        _address(host),
        node,
        request.original_path or request.path,
        common.route_name,
        _METHODS.get(method, ""),
        response.response_code.value,
        flag_bits(common),
        common.upstream_request_attempt_count if not upstream else 0,
        *sizes,
        request.request_id or common.stream_id,
    )


def _address(host: Any) -> str:
    if host.HasField("socket_address"):
        return host_port(host.socket_address.address, host.socket_address.port_value)
    return str(host.pipe.path) if host.HasField("pipe") else ""


def _flags(bits: int) -> str:
    """The fields' names; one that is not known is told by a name that nobody knows."""
    return ",".join(_NAMES_BY_BIT.get(1 << i, "?") for i in range(64) if bits >> i & 1) if bits else ""


def _entries(message: bytes) -> tuple[Any, str]:
    """The HTTP entries of a message and the node that it names; None for what is neither kind.

    Both kinds are tried: the wire format does not say which it is, but only one of them makes entries with a start.
    """
    try:
        stream = als_pb2.StreamAccessLogsMessage.FromString(message)
        entries = stream.http_logs.log_entry
        if entries[0].HasField("common_properties") if entries else stream.identifier.node.id:
            return entries, stream.identifier.node.id
    except DecodeError:
        pass
    try:
        entry = accesslog_pb2.HTTPAccessLogEntry.FromString(message)
    except DecodeError:
        return None, ""
    return ([entry], "") if entry.common_properties.HasField("start_time") else (None, "")


def _messages(source: Source, rejects: Rejects) -> Iterator[tuple[int, bytes]]:
    """The length-delimited messages of a file. A length that cannot be ends it: nothing after it can be found again."""
    held, number = b"", 1
    at = 0
    for block in source.blocks():
        held, at = held[at:] + block, 0
        while True:
            length, start = varint(held, at)
            if length < 0 and len(held) - at < 10:
                break
            if not 0 <= length <= LONGEST:
                rejects.reject(number, "says a length that no message has; what follows is lost")
                if number == 1:
                    raise ImportingError(f"{source.path}: is no length-delimited dump of access log messages")
                return
            if start + length > len(held):
                break
            yield number, held[start : start + length]
            number, at = number + 1, start + length
    if len(held) > at:
        rejects.reject(number, "is cut short")


def varint(held: bytes, at: int) -> tuple[int, int]:
    """A base 128 varint and where it ends; (-1, at) when it does not end within ten bytes or what is held."""
    value = 0
    for i in range(10):
        if at + i >= len(held):
            return -1, at
        byte = held[at + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    return -1, at
