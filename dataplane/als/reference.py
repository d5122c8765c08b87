"""The plain reader: access log messages through the generated protos.

It is what the compiled one is held to in tests, and what runs where no compiler was. Ten times slower, easy to read.
"""

from __future__ import annotations

import sys
from typing import Any

from envoy.data.accesslog.v3 import accesslog_pb2
from envoy.service.accesslog.v3 import als_pb2
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from dataplane.als.entries import ABSENT, MALFORMED, NAME_BYTES, NAME_MAX, Ints

_U64 = 2**64 - 1
_FAR_S = 9_223_372_033
_FAR_NS = 2**63 - 1
_MIX = 0x9E3779B97F4A7C15

_FLAGS = tuple((f.name, 1 << (f.number - 1)) for f in accesslog_pb2.ResponseFlags.DESCRIPTOR.fields)


class Names:
    """Names to codes, bounded in number and in bytes: -1 beyond."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.clear()

    def clear(self) -> None:
        """Forget them all."""
        self._codes: dict[bytes, int] = {}
        self._room = self._most * NAME_BYTES

    def code(self, name: bytes) -> int:
        """The code of a name, a new one if there is room."""
        known = self._codes.get(name)
        if known is not None:
            return known
        if len(name) > NAME_MAX or len(self._codes) == self._most or len(name) > self._room:
            return -1
        self._room -= len(name)
        return self._codes.setdefault(name, len(self._codes))

    def since(self, code: int) -> list[bytes]:
        """The names from this code on."""
        return list(self._codes)[code:]


class PlainReader:
    """`entries.Reader` in plain Python."""

    def __init__(self, targets_max: int, routes_max: int) -> None:
        self._targets = Names(targets_max)
        self._routes = Names(routes_max)

    def decode(self, message: bytes, block: Ints, row: int, arrival_ns: int, /) -> int:
        """As `Reader.decode`."""
        try:
            parsed = als_pb2.StreamAccessLogsMessage.FromString(message)
        except DecodeError:
            return MALFORMED
        entries = parsed.http_logs.log_entry
        for entry, at in zip(entries, range(row, block.shape[1]), strict=False):
            block[:, at] = self._row(entry, arrival_ns)
        return len(entries)

    def targets(self, since: int, /) -> list[bytes]:
        """As `Reader.targets`."""
        return self._targets.since(since)

    def routes(self, since: int, /) -> list[bytes]:
        """As `Reader.routes`."""
        return self._routes.since(since)

    def clear(self) -> None:
        """As `Reader.clear`."""
        self._targets.clear()
        self._routes.clear()

    def _row(self, entry: Any, arrival_ns: int) -> tuple[int, ...]:
        common, request, response = entry.common_properties, entry.request, entry.response
        host = common.upstream_remote_address.socket_address
        target = b"\0".join(
            (common.upstream_cluster.encode(), host.address.encode(), host.port_value.to_bytes(4, "little"))
        )
        return (
            arrival_ns,
            nanoseconds(common, "start_time"),
            nanoseconds(common, "duration"),
            nanoseconds(common, "time_to_first_upstream_rx_byte"),
            nanoseconds(common, "time_to_last_upstream_rx_byte"),
            _signed(flag_bits(common)),
            response.response_code.value,
            self._targets.code(target),
            self._routes.code(common.route_name.encode()),
            _signed(hash_of(request.request_id.encode())),
            _signed(request.request_body_bytes),
            _signed(response.response_body_bytes),
            common.access_log_type,
            common.intermediate_log_entry,
            request.request_method,
        )


def identify(message: bytes) -> tuple[str, str]:
    """The node id and log name that a stream's first message carries; ("", "") when it has none or is no message.

    StreamAccessLogsMessage.identifier: "only set in the first message on the stream".
    """
    try:
        identifier = als_pb2.StreamAccessLogsMessage.FromString(message).identifier
    except DecodeError:
        return "", ""
    return identifier.node.id, identifier.log_name


def hash_of(name: bytes) -> int:
    """64 bits of a name, 0 for the empty one: eight bytes at a time, as `_names.h` does it."""
    if not name:
        return 0
    out = len(name)
    for i in range(0, len(name), 8):
        out = ((out ^ int.from_bytes(name[i : i + 8].ljust(8, b"\0"), sys.byteorder)) * _MIX) & _U64
        out ^= out >> 29
    return out ^ (out >> 32) or 1


def nanoseconds(common: Any, field: str) -> int:
    """A time or a span of an entry's common properties; ABSENT, or the end of time, as `entries` has it."""
    if not common.HasField(field):
        return ABSENT
    span = getattr(common, field)
    if span.seconds > _FAR_S:
        return _FAR_NS
    if span.seconds < -_FAR_S:
        return -_FAR_NS
    return int(span.seconds * 1_000_000_000 + span.nanos)


def flag_bits(common: Any) -> int:
    """The response flags of an entry, bit n-1 for field n, those of a newer Envoy included."""
    if not common.HasField("response_flags"):
        return 0
    flags = common.response_flags
    out: int = sum(
        bit
        for name, bit in _FLAGS
        if (flags.HasField(name) if name == "unauthorized_details" else getattr(flags, name))
    )
    for field in UnknownFieldSet(flags):  # of an Envoy newer than our protos
        if field.wire_type == 0 and field.field_number <= 64 and field.field_number != 13:
            bit = 1 << (field.field_number - 1)
            out = out | bit if field.data else out & ~bit
    return out


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
