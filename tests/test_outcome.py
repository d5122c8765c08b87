"""The table of outcomes: a test per row, and the order of rows where Envoy sets several flags at once."""

from __future__ import annotations

import numpy as np
import pytest
from envoy.data.accesslog.v3 import accesslog_pb2

from dataplane.als.outcome import BIT, FLAG_FIELDS, MEANING, NOTHING, TABLE, UNEXPLAINED, UNKNOWN_FLAG, classify
from dataplane.contract import Outcome

OK, ERROR, TIMEOUT = Outcome.OK, Outcome.ERROR, Outcome.TIMEOUT
REJECTED, CANCELLED, UNREACHED = Outcome.REJECTED, Outcome.CANCELLED, Outcome.UNREACHED

# flag, status that comes with it, meaning
BY_FLAG = [
    ("failed_local_healthcheck", 503, NOTHING),
    ("no_healthy_upstream", 503, UNREACHED),
    ("upstream_request_timeout", 504, TIMEOUT),
    ("local_reset", 503, REJECTED),
    ("upstream_remote_reset", 503, ERROR),
    ("upstream_connection_failure", 503, UNREACHED),
    ("upstream_connection_termination", 503, ERROR),
    ("upstream_overflow", 503, REJECTED),
    ("no_route_found", 404, NOTHING),
    ("fault_injected", 418, NOTHING),
    ("rate_limited", 429, REJECTED),
    ("unauthorized_details", 403, NOTHING),
    ("rate_limit_service_error", 500, REJECTED),
    ("downstream_connection_termination", 0, CANCELLED),
    ("stream_idle_timeout", 408, TIMEOUT),
    ("invalid_envoy_request_headers", 400, NOTHING),
    ("downstream_protocol_error", 400, CANCELLED),
    ("upstream_max_stream_duration_reached", 504, TIMEOUT),
    ("response_from_cache_filter", 200, NOTHING),
    ("no_filter_config_found", 500, NOTHING),
    ("duration_timeout", 408, TIMEOUT),
    ("upstream_protocol_error", 200, ERROR),
    ("no_cluster_found", 503, NOTHING),
    ("overload_manager", 503, REJECTED),
    ("dns_resolution_failure", 503, UNREACHED),
    ("downstream_remote_reset", 0, CANCELLED),
]
UNDECIDED = ("upstream_retry_limit_exceeded", "delay_injected")

# status, came to its end, meaning
BY_STATUS = [
    (200, True, OK),
    (101, True, OK),
    (304, True, OK),
    (400, True, OK),
    (404, True, OK),
    (428, True, OK),
    (429, True, ERROR),
    (429, False, ERROR),
    (430, True, OK),
    (499, True, OK),
    (500, True, ERROR),
    (503, False, ERROR),
    (599, True, ERROR),
    (999, True, ERROR),
    (200, False, UNEXPLAINED),
    (404, False, UNEXPLAINED),
    (0, False, UNEXPLAINED),
    (0, True, UNEXPLAINED),
    (99, True, UNEXPLAINED),
]


def meaning(flags: int, status: int, finished: bool = True) -> int:
    """The table's word for one entry."""
    row = classify(np.array([flags], dtype=np.uint64), np.array([status]), np.array([finished]))
    return int(MEANING[row[0]])


def bits(*flags: str) -> int:
    return sum(BIT[flag] for flag in flags)


@pytest.mark.parametrize(("flag", "status", "expected"), BY_FLAG, ids=[flag for flag, _, _ in BY_FLAG])
def test_a_flag_decides_whatever_the_status(flag: str, status: int, expected: int) -> None:
    assert meaning(BIT[flag], status) == expected
    assert meaning(BIT[flag], 200, finished=True) == expected
    assert meaning(BIT[flag], 0, finished=False) == expected


@pytest.mark.parametrize(("status", "finished", "expected"), BY_STATUS)
def test_without_a_flag_the_status_decides(status: int, finished: bool, expected: int) -> None:
    assert meaning(0, status, finished) == expected


@pytest.mark.parametrize("flag", UNDECIDED)
@pytest.mark.parametrize(("status", "finished", "expected"), BY_STATUS)
def test_a_flag_that_decides_nothing_leaves_it_to_the_status(
    flag: str, status: int, finished: bool, expected: int
) -> None:
    assert meaning(BIT[flag], status, finished) == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("upstream_request_timeout", "upstream_retry_limit_exceeded"), TIMEOUT),
        (("upstream_connection_failure", "upstream_retry_limit_exceeded"), UNREACHED),
        (("downstream_connection_termination", "upstream_connection_termination"), CANCELLED),
        (("upstream_overflow", "upstream_remote_reset"), REJECTED),
        (("upstream_request_timeout", "upstream_remote_reset"), TIMEOUT),
        (("upstream_connection_failure", "upstream_connection_termination"), UNREACHED),
        (("upstream_remote_reset", "local_reset"), ERROR),
        (("fault_injected", "delay_injected"), NOTHING),
        (("no_route_found", "downstream_connection_termination"), NOTHING),
    ],
)
def test_of_several_flags_the_one_nearest_to_the_cause_decides(flags: tuple[str, ...], expected: int) -> None:
    assert meaning(bits(*flags), 503) == expected


def test_a_flag_of_a_newer_envoy_teaches_nothing_unless_a_known_one_decides() -> None:
    newer = 1 << len(FLAG_FIELDS)
    assert meaning(newer, 200) == NOTHING
    assert meaning(1 << 63, 200) == NOTHING
    assert meaning(newer | BIT["upstream_request_timeout"], 504) == TIMEOUT


def test_every_flag_of_the_proto_is_in_the_table_or_said_to_decide_nothing() -> None:
    proto = [f.name for f in sorted(accesslog_pb2.ResponseFlags.DESCRIPTOR.fields, key=lambda f: f.number)]
    assert list(FLAG_FIELDS) == proto
    told = {row.flag for row in TABLE if row.flag} - {UNKNOWN_FLAG}
    assert told | set(UNDECIDED) == set(proto)
    assert {flag for flag, _, _ in BY_FLAG} == told


def test_every_row_of_the_table_is_reached() -> None:
    entries = [(BIT[flag], status, True) for flag, status, _ in BY_FLAG] + [(1 << 63, 200, True)]
    entries += [(0, status, finished) for status, finished, _ in BY_STATUS]
    flags, status, finished = (np.array(column) for column in zip(*entries, strict=True))
    assert set(classify(flags.astype(np.uint64), status, finished)) == set(range(len(TABLE)))


def test_a_batch_is_classified_row_by_row() -> None:
    flags = np.array([0, BIT["upstream_overflow"], 0, BIT["upstream_request_timeout"]], dtype=np.uint64)
    rows = classify(flags, np.array([200, 503, 503, 0]), np.array([True, False, True, False]))
    assert MEANING[rows].tolist() == [OK, REJECTED, ERROR, TIMEOUT]
