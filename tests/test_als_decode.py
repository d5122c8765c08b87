"""The two readers of access log messages: the compiled one says what the plain one says, whatever arrives.

The compiled reader must be there wherever a compiler is: the first test fails when it could be built and is not, so the
others cannot vanish unseen. Without a compiler (and outside CI) they are skipped, with what is missing as the reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from envoy.data.accesslog.v3 import accesslog_pb2
from envoy.service.accesslog.v3 import als_pb2
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dataplane import build
from dataplane.als import decoder, scribe
from dataplane.als.entries import (
    ABSENT,
    CAPACITY_MAX,
    CAPACITY_MIN,
    COLUMNS,
    MALFORMED,
    NAME_MAX,
    ROUTES_MAX,
    TARGETS_MAX,
    Entries,
    Reader,
)
from dataplane.als.outcome import BIT
from dataplane.als.reference import PlainReader, hash_of

if decoder.COMPILED:
    from dataplane.als import _decode

needs_compiled = pytest.mark.skipif(
    not decoder.COMPILED, reason=build.DECODER.missing() or "not built: run `make setup`"
)

ROWS = 64


def readers(targets: int = TARGETS_MAX, routes: int = ROUTES_MAX) -> list[Reader]:
    """The reference first."""
    both: list[Reader] = [PlainReader(targets, routes)]
    if decoder.COMPILED:
        both.append(_decode.Reader(targets, routes))
    return both


each_reader = pytest.mark.parametrize("reader", readers(), ids=lambda r: type(r).__module__.rpartition(".")[2])


def read(reader: Reader, message: bytes) -> list[dict[str, Any]] | None:
    """The rows of a message with codes spelled out as names; None when it is malformed."""
    reader.clear()
    block = np.full((len(COLUMNS), ROWS), 77, dtype=np.int64)
    seen = reader.decode(message, block, 0, 5)
    if seen == MALFORMED:
        return None
    rows = [dict(zip(COLUMNS, column, strict=True)) for column in block[:, : min(seen, ROWS)].T.tolist()]
    targets, routes = reader.targets(0), reader.routes(0)
    for row in rows:
        row["target"] = targets[row["target"]] if row["target"] >= 0 else None
        row["route"] = routes[row["route"]] if row["route"] >= 0 else None
    return rows


def agree(message: bytes) -> None:
    """What the reference accepts, the compiled reader reads to the same rows. What it rejects, the compiled one may
    accept: it steps over fields without looking inside."""
    plain, compiled = readers()
    expected = read(plain, message)
    got = read(compiled, message)
    if expected is not None:
        assert got == expected


def wire(number: int, body: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(body)) + body


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def in_message(common: bytes = b"", **others: bytes) -> bytes:
    """A message of one entry with this AccessLogCommon, as bytes."""
    entry = wire(1, common) + wire(3, others.get("request", b"")) + wire(4, others.get("response", b""))
    return wire(2, wire(1, entry))


def test_the_compiled_reader_is_there_where_it_can_be_built() -> None:
    if build.DECODER.missing() and not os.environ.get("CI"):
        pytest.skip(f"it cannot be built here: {build.DECODER.missing()}")
    assert decoder.COMPILED, build.DECODER.missing() or "build it: `make setup`"


@needs_compiled
def test_the_compiled_reader_writes_the_columns_that_are_read() -> None:
    assert _decode.COLUMNS == COLUMNS


# ---- both readers, on what Envoy writes ----


@each_reader
def test_an_entry_is_read_to_the_nanosecond(reader: Reader) -> None:
    entry = scribe.attempt(
        "web~adaptive",
        "10.0.0.1:8080",
        1_700_000_000.25,
        0.125,
        status=503,
        flags=["upstream_remote_reset", "upstream_retry_limit_exceeded"],
        request_id="bff00129-0f05-4a63-8c58-01d0050fca02",
        route="shop~adaptive",
        first_byte_s=0.0625,
        bytes_in=50,
        bytes_out=123,
        method=4,
    )
    assert read(reader, scribe.message([entry])) == [
        {
            "arrival_ns": 5,
            "start_ns": 1_700_000_000_250_000_000,
            "duration_ns": 125_000_000,
            "first_rx_ns": 62_500_000,
            "last_rx_ns": 125_000_000,
            "flags": BIT["upstream_remote_reset"] | BIT["upstream_retry_limit_exceeded"],
            "status": 503,
            "target": b"web~adaptive\x0010.0.0.1\x00\x90\x1f\x00\x00",
            "route": b"shop~adaptive",
            "request": hash_of(b"bff00129-0f05-4a63-8c58-01d0050fca02") - 2**64,
            "request_bytes": 123,
            "response_bytes": 50,
            "kind": 9,
            "intermediate": 0,
            "method": 4,
        }
    ]


@each_reader
def test_what_an_entry_does_not_say_is_absent_or_zero(reader: Reader) -> None:
    (row,) = read(reader, in_message()) or []
    times = ("start_ns", "duration_ns", "first_rx_ns", "last_rx_ns")
    assert [row.pop(name) for name in times] == [ABSENT] * 4
    assert (row.pop("arrival_ns"), row.pop("target"), row.pop("route")) == (5, b"\0\0\0\0\0\0", b"")
    assert set(row.values()) == {0}


@each_reader
def test_a_message_without_entries_is_no_entries(reader: Reader) -> None:
    assert read(reader, b"") == []
    assert read(reader, scribe.message([], node="a", log_name="weirflow.upstream")) == []


@each_reader
def test_a_tcp_log_is_no_entries(reader: Reader) -> None:
    message = als_pb2.StreamAccessLogsMessage()
    message.tcp_logs.log_entry.add().common_properties.upstream_cluster = "web"
    assert read(reader, message.SerializeToString()) == []


@each_reader
def test_of_two_fields_of_one_choice_the_last_holds(reader: Reader) -> None:
    http = als_pb2.StreamAccessLogsMessage()
    http.http_logs.log_entry.add().response.response_code.value = 200
    tcp = als_pb2.StreamAccessLogsMessage()
    tcp.tcp_logs.log_entry.add()
    first, last = http.SerializeToString(), tcp.SerializeToString()
    assert [len(read(reader, m) or []) for m in (first + last, last + first, first + first)] == [0, 1, 2]
    port, named, pipe = varint(3 << 3) + varint(80), wire(4, b"http"), wire(2, wire(1, b"/run/x"))
    for parts, expected in [
        (wire(1, port + named), b"\0\0\0\0\0\0"),
        (wire(1, named + port), b"\0\0\x50\0\0\0"),
        (wire(1, port) + pipe, b"\0\0\0\0\0\0"),
        (pipe + wire(1, port), b"\0\0\x50\0\0\0"),
    ]:
        (row,) = read(reader, in_message(wire(13, parts))) or []
        assert row["target"] == expected


@each_reader
def test_times_beyond_int64_are_held_at_its_ends(reader: Reader) -> None:
    entry = accesslog_pb2.HTTPAccessLogEntry()
    entry.common_properties.start_time.seconds = 253_402_300_799  # the year 9999, the proto's last
    entry.common_properties.duration.seconds = -315_576_000_000
    (row,) = read(reader, scribe.message([entry])) or []
    assert (row["start_ns"], row["duration_ns"]) == (2**63 - 1, -(2**63) + 1)


@each_reader
def test_a_flag_that_the_proto_does_not_know_is_still_seen(reader: Reader) -> None:
    (row,) = read(reader, in_message(wire(16, varint(29 << 3) + b"\1" + varint(64 << 3) + b"\1"))) or []
    assert row["flags"] % 2**64 == 1 << 28 | 1 << 63


@each_reader
@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda m: m[:-1], "cut short"),
        (lambda m: m + b"\x12", "a tag without a value"),
        (lambda m: m + b"\x12\xff\xff\xff\xff\x0f", "a length beyond the end"),
        (lambda m: m + b"\x08" + b"\xff" * 10 + b"\1", "a varint of eleven bytes"),
        (lambda m: m + b"\x00\x00", "field number 0"),
        (lambda m: m + b"\x0e\x00", "wire type 6"),
        (lambda m: m + b"\x23\x08\x01", "a group without an end"),
        (lambda m: m + b"\x24", "the end of no group"),
        (lambda m: m + b"\x23" * 200 + b"\x24" * 200, "groups too deep"),
    ],
    ids=lambda x: x.replace(" ", "-") if isinstance(x, str) else "",
)
def test_damage_anywhere_ends_the_whole_message(reader: Reader, damage: Callable[[bytes], bytes], what: str) -> None:
    whole = scribe.message([scribe.attempt("web", "10.0.0.1:80", 1.0, 0.1)] * 3)
    assert read(reader, whole) is not None
    assert read(reader, damage(whole)) is None, what


@each_reader
def test_names_beyond_the_bound_have_no_code_until_it_is_cleared(reader: Reader) -> None:
    reader = type(reader)(2, 1)  # type: ignore[call-arg]
    block = np.zeros((len(COLUMNS), ROWS), dtype=np.int64)
    clusters = ["a", "b", "c", "a"]
    message = scribe.message([scribe.attempt(c, "10.0.0.1:80", 1.0, 0.1, route=c) for c in clusters])
    assert reader.decode(message, block, 0, 0) == 4
    target, route = block[COLUMNS.index("target"), :4], block[COLUMNS.index("route"), :4]
    assert (target.tolist(), route.tolist()) == ([0, 1, -1, 0], [0, -1, -1, 0])
    reader.clear()
    assert reader.targets(0) == reader.routes(0) == []
    reader.decode(scribe.message([scribe.attempt("c", "10.0.0.1:80", 1.0, 0.1, route="c")]), block, 0, 0)
    assert (target[0], route[0]) == (0, 0)


@each_reader
def test_a_name_too_long_has_no_code(reader: Reader) -> None:
    reader = type(reader)(TARGETS_MAX, ROUTES_MAX)  # type: ignore[call-arg]
    long = scribe.attempt("c" * NAME_MAX, "10.0.0.1:80", 1.0, 0.1, route="r" * (NAME_MAX + 1))
    fits = scribe.attempt("c" * (NAME_MAX - 14), "10.0.0.1:80", 1.0, 0.1, route="r" * NAME_MAX)
    rows = read(reader, scribe.message([long, fits])) or []
    assert [(row["target"] is None, row["route"] is None) for row in rows] == [(True, True), (False, False)]


@each_reader
def test_names_fill_the_arena_and_no_more(reader: Reader) -> None:
    reader = type(reader)(16, 16)  # type: ignore[call-arg]
    block = np.zeros((len(COLUMNS), ROWS), dtype=np.int64)
    names = [f"{i}" * 500 for i in range(4)]  # 16 names of 64 bytes on average: room for two of these
    message = scribe.message([scribe.attempt("", "", 1.0, 0.1, route=name) for name in names])
    reader.decode(message, block, 0, 0)
    assert block[COLUMNS.index("route"), :4].tolist() == [0, 1, -1, -1]


@each_reader
def test_a_block_of_another_shape_is_refused_or_left_alone(reader: Reader) -> None:
    block = np.full((len(COLUMNS), 2), 7, dtype=np.int64)
    message = scribe.message([scribe.attempt("web", "10.0.0.1:80", 1.0, 0.1)] * 5)
    assert reader.decode(message, block, 1, 3) == 5
    assert block[0].tolist() == [7, 3]


@needs_compiled
@pytest.mark.parametrize(
    "block",
    [
        np.zeros((len(COLUMNS) - 1, 8), dtype=np.int64),
        np.zeros((len(COLUMNS), 8), dtype=np.int32),
        np.zeros(8 * len(COLUMNS), dtype=np.int64),
    ],
)
def test_the_compiled_reader_refuses_a_block_it_would_overrun(block: Any) -> None:
    with pytest.raises(ValueError, match="block must be"):
        _decode.Reader(8, 8).decode(b"", block, 0, 0)


@needs_compiled
def test_the_compiled_reader_refuses_a_row_outside_the_block() -> None:
    block = np.zeros((len(COLUMNS), 8), dtype=np.int64)
    for row in (-1, 9):
        with pytest.raises(ValueError, match="block must be"):
            _decode.Reader(8, 8).decode(b"", block, row, 0)


@needs_compiled
def test_the_compiled_reader_refuses_a_block_that_is_read_only_or_strided() -> None:
    frozen = np.zeros((len(COLUMNS), 8), dtype=np.int64)
    frozen.flags.writeable = False
    for block in (frozen, np.zeros((len(COLUMNS), 16), dtype=np.int64)[:, ::2]):
        with pytest.raises((ValueError, BufferError)):
            _decode.Reader(8, 8).decode(b"", block, 0, 0)


# ---- the buffer that they fill ----


@each_reader
def test_the_buffer_grows_and_keeps_what_it_held(reader: Reader) -> None:
    entries, many = Entries(), CAPACITY_MIN // 100 * 3
    message = scribe.message([scribe.attempt("web", "10.0.0.1:80", 1.0, 0.1)] * 100)
    for arrival in range(many):
        entries.append(reader, message, arrival)
    assert entries.count == many * 100
    assert entries.column("arrival_ns").tolist() == [arrival for arrival in range(many) for _ in range(100)]


@needs_compiled
def test_a_flood_is_counted_and_bounded() -> None:
    entries, reader = Entries(), _decode.Reader(8, 8)
    message = wire(2, wire(1, b"") * 100_000)
    entries.append(reader, message, 0)
    entries.append(reader, message, 0)
    assert (entries.count, entries.flooded) == (CAPACITY_MAX, 200_000 - CAPACITY_MAX)
    entries.clear()
    assert (entries.count, entries.flooded) == (0, 0)


# ---- the two readers against each other ----

_int64 = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, 1_700_000_000, 9_223_372_033, 9_223_372_034])
_times = st.builds(dict, seconds=_int64, nanos=st.integers(-(2**31), 2**31 - 1))
_text = st.text(max_size=40)
_u64 = st.integers(0, 2**64 - 1)
_address = st.one_of(
    st.builds(lambda a, p: {"socket_address": {"address": a, "port_value": p}}, _text, st.integers(0, 2**32 - 1)),
    st.builds(lambda a: {"socket_address": {"address": a, "named_port": "http"}}, _text),
    st.just({"pipe": {"path": "/run/x"}}),
    st.just({"envoy_internal_address": {"server_listener_name": "x"}}),
)
_flags = st.dictionaries(
    st.sampled_from([f.name for f in accesslog_pb2.ResponseFlags.DESCRIPTOR.fields if not f.message_type]),
    st.booleans(),
)
_common = st.fixed_dictionaries(
    {},
    optional={
        "start_time": _times,
        "duration": _times,
        "time_to_first_upstream_rx_byte": _times,
        "time_to_last_upstream_rx_byte": _times,
        "time_to_last_rx_byte": _times,
        "upstream_remote_address": _address,
        "downstream_remote_address": _address,
        "upstream_cluster": _text,
        "route_name": _text,
        "response_flags": _flags | st.just({"unauthorized_details": {"reason": 1}}),
        "intermediate_log_entry": st.booleans(),
        "access_log_type": st.integers(0, 13),
        "sample_rate": st.floats(),
        "custom_tags": st.dictionaries(_text, _text, max_size=2),
    },
)
_entry = st.fixed_dictionaries(
    {},
    optional={
        "common_properties": _common,
        "protocol_version": st.integers(0, 4),
        "request": st.fixed_dictionaries(
            {},
            optional={
                "request_method": st.integers(-(2**31), 2**31 - 1),
                "request_id": _text,
                "path": _text,
                "request_body_bytes": _u64,
            },
        ),
        "response": st.fixed_dictionaries(
            {},
            optional={
                "response_code": st.builds(dict, value=st.integers(0, 2**32 - 1)),
                "response_body_bytes": _u64,
                "response_code_details": _text,
            },
        ),
    },
)
_message = st.builds(
    lambda entries: als_pb2.StreamAccessLogsMessage(http_logs={"log_entry": entries}).SerializeToString(),
    st.lists(_entry, max_size=4),
)
thoroughly = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@needs_compiled
@thoroughly
@given(_message)
def test_both_readers_agree_on_any_message(message: bytes) -> None:
    plain, compiled = readers()
    expected = read(plain, message)
    assert expected is not None
    assert read(compiled, message) == expected


@needs_compiled
@thoroughly
@given(_message, _message)
def test_both_readers_merge_a_message_with_itself_and_others_alike(first: bytes, second: bytes) -> None:
    agree(first + second)
    for part in (first, second):  # and inside an entry: every field twice
        parsed = als_pb2.StreamAccessLogsMessage.FromString(part)
        agree(wire(2, b"".join(wire(1, e.SerializeToString() * 2) for e in parsed.http_logs.log_entry)))


_REAL = scribe.message(
    [
        scribe.attempt("web", "10.0.0.1:80", 1_700_000_000.0, 0.1, request_id="a" * 36, route="r", bytes_in=300),
        scribe.attempt("web", "[::1]:80", 1_700_000_000.0, 0.1, status=0, flags=["upstream_request_timeout"]),
        scribe.ending("", "", 1_700_000_000.0, 15.0, status=504, flags=["unauthorized_details"], request_id="b"),
    ],
    node="edge",
    log_name="weirflow.upstream",
)


@needs_compiled
@thoroughly
@given(
    cut=st.none() | st.integers(0, len(_REAL)),
    changes=st.lists(st.tuples(st.integers(0, len(_REAL) - 1), st.integers(0, 255)), max_size=4),
    splice=st.tuples(st.integers(0, len(_REAL)), st.integers(0, len(_REAL)), st.integers(0, len(_REAL))),
)
@example(cut=None, changes=[], splice=(0, 0, 0))
def test_damaged_bytes_crash_neither_and_divide_them_never(
    cut: int | None, changes: list[tuple[int, int]], splice: tuple[int, int, int]
) -> None:
    damaged = bytearray(_REAL)
    for at, value in changes:
        damaged[at] = value
    at, start, end = splice
    damaged[at:at] = damaged[min(start, end) : max(start, end)]
    agree(bytes(damaged[:cut]))


@needs_compiled
@thoroughly
@given(st.binary(max_size=300))
def test_random_bytes_crash_neither_and_divide_them_never(noise: bytes) -> None:
    agree(noise)
    agree(wire(2, noise))
    agree(wire(2, wire(1, noise)))
    agree(in_message(noise, request=noise, response=noise))


@needs_compiled
def test_ten_thousand_mutations_of_a_real_message_divide_them_never() -> None:
    rng = np.random.default_rng(7)
    accepted = 0
    plain, compiled = readers()
    for _ in range(10_000):
        damaged = bytearray(_REAL)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        message = bytes(damaged[: rng.integers(1, len(damaged) + 1)] if rng.random() < 0.2 else damaged)
        expected, got = read(plain, message), read(compiled, message)
        if expected is not None:
            accepted += 1
            assert got == expected, message.hex()
    assert accepted > 1000  # else the test proves little


@needs_compiled
@given(st.binary(max_size=80))
def test_names_hash_alike_in_both(name: bytes) -> None:
    rows = read(_decode.Reader(8, 8), in_message(request=wire(9, name))) or []
    assert rows[0]["request"] % 2**64 == hash_of(name)


# ---- whose stream it is ----


def test_a_streams_first_message_says_which_node_and_which_log() -> None:
    assert decoder.identify(scribe.message([], node="edge-1", log_name="weirflow.upstream")) == (
        "edge-1",
        "weirflow.upstream",
    )


@pytest.mark.parametrize("message", [b"", b"\xff\xff", scribe.message([]), _REAL[:-1]])
def test_a_message_that_does_not_say_has_no_identity(message: bytes) -> None:
    assert decoder.identify(message) == ("", "")


def test_to_ask_for_the_compiled_reader_where_there_is_none_names_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataplane.contract import Topology

    monkeypatch.setattr(decoder, "COMPILED", False)
    with pytest.raises(RuntimeError, match="make setup"):
        decoder.Decoder(0, Topology(1, (), ()), compiled=True)
    assert not decoder.Decoder(0, Topology(1, (), ())).compiled
