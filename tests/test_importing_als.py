"""Dumps of the access log service, of both kinds of message and from both of Envoy's logs."""

from __future__ import annotations

import numpy as np
import pytest
from envoy.data.accesslog.v3 import accesslog_pb2
from envoy.service.accesslog.v3 import als_pb2

from tests.logs import Asked, imported, some
from tests.test_importing_formats import check


def delimited(*messages) -> bytes:
    out = b""
    for message in messages:
        body = message.SerializeToString()
        n, head = len(body), b""
        while n > 0x7F:
            head += bytes([n & 0x7F | 0x80])
            n >>= 7
        out += head + bytes([n]) + body
    return out


def entry(a: Asked, kind: int = 6, **more) -> accesslog_pb2.HTTPAccessLogEntry:
    e = accesslog_pb2.HTTPAccessLogEntry()
    common = e.common_properties
    common.start_time.FromMilliseconds(int(a.at.timestamp() * 1000))
    common.duration.FromMilliseconds(a.duration_ms)
    common.time_to_first_upstream_rx_byte.FromMilliseconds(a.duration_ms - 1)
    common.upstream_cluster = "shop~adaptive"
    common.access_log_type = kind
    common.downstream_remote_address.socket_address.address = "192.0.2.77"
    host, port = a.endpoint.split(":")
    common.upstream_remote_address.socket_address.address = host
    common.upstream_remote_address.socket_address.port_value = int(port)
    e.request.path, e.request.authority, e.request.request_id = a.path, "shop.example", a.id
    e.request.request_method, e.request.user_agent = 1, "secret"
    e.response.response_code.value = a.status
    e.response.response_body_bytes, e.request.request_body_bytes = (900, 7) if kind != 9 else (7, 900)
    for name, value in more.items():
        setattr(common, name, value)
    return e


def stream(*entries, node: str = "") -> als_pb2.StreamAccessLogsMessage:
    message = als_pb2.StreamAccessLogsMessage()
    message.identifier.node.id = node
    message.http_logs.log_entry.extend(entries)
    return message


def dump(asked: list[Asked]) -> bytes:
    return delimited(*(stream(entry(a), node="edge-1" if i == 0 else "") for i, a in enumerate(asked)))


@pytest.mark.parametrize("kind", [0, 6, 9])
def test_a_dump_of_streams_is_read(tmp_path, kind):
    asked = some()
    content = delimited(*(stream(*(entry(a, kind) for a in asked[i : i + 5]), node="edge-1") for i in range(0, 30, 5)))
    report, got = imported(tmp_path, content)
    assert report.files[0].format == "als"
    check(got, asked)
    assert set(got["node"]) == {"edge-1"}
    assert (set(got["service"]), set(got["arm"])) == ({"shop"}, {"adaptive"})
    assert (set(got["bytes_in"]), set(got["bytes_out"])) == ({7}, {900})


def test_a_dump_of_entries_is_read(tmp_path):
    report, got = imported(tmp_path, delimited(*(entry(a) for a in some())))
    assert report.files[0].format == "als"
    check(got, some())


def test_entries_that_are_no_end_do_not_count_twice(tmp_path):
    asked = some()
    content = delimited(
        *(stream(entry(a, intermediate_log_entry=True), entry(a, 4), entry(a, 5), entry(a)) for a in asked)
    )
    report, got = imported(tmp_path, content)
    check(got, asked)
    assert report.files[0].left_out == {"an entry that is no end": 90}


def test_where_upstream_entries_tell_attempts_downstream_ones_only_explain_them(tmp_path):
    first = Asked(1.0, 100, "/cart", "10.0.0.1:80", 503, "r1")
    then = Asked(1.1, 50, "/cart", "10.0.0.2:80", 200, "r1")
    late = Asked(2.0, 500, "/cart", "10.0.0.1:80", 0, "r2")
    whole = Asked(1.0, 150, "/cart", "10.0.0.2:80", 200, "r1")
    told = entry(late, 6)
    told.common_properties.response_flags.upstream_request_timeout = True
    told.response.response_code.value = 504
    content = delimited(stream(told, entry(whole, 6)), stream(entry(first, 9), entry(then, 9), entry(late, 9)))
    report, got = imported(tmp_path, content)
    order = np.argsort(got["started_s"])
    assert list(got["attempt"][order]) == [1, 2, 1]
    assert list(got["outcome"][order]) == ["ERROR", "OK", "TIMEOUT"]
    assert report.files[0].left_out == {"a downstream entry, whose attempts are told by upstream ones": 2}
    assert got["felt_s"][order] == pytest.approx([0.1, 0.15, 0.5], abs=1e-4)


def test_a_dump_that_is_cut_short_gives_what_came_before(tmp_path):
    content = dump(some())
    report, got = imported(tmp_path, content[:-10])
    assert len(got["status"]) == 29
    assert report.files[0].rejected == {"is cut short": 1}
