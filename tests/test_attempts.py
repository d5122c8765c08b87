"""From access log entries to attempts, read as dialogues: what the node wrote, and what we understood at each flush.

An attempt is told as "service/endpoint arm OUTCOME status try n felt ms", a bad end for the user as "felt service arm
OUTCOME status", what nobody learned from as "dropped reason count".
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.als import scribe
from dataplane.als.checks import DURATION_MAX_NS, START_MAX_NS
from dataplane.als.decoder import COMPILED, Decoder
from dataplane.als.entries import ROUTES_MAX, TARGETS_MAX
from dataplane.als.join import HELD_MAX
from dataplane.als.recent import Duplicates, fingerprint
from dataplane.contract import Arm, Dropped, Endpoint, Felt, Method, Node, Outcome, Requests, Service, Topology

T0 = 1_700_000_000.0
A, B, C = "10.0.0.1:80", "10.0.0.2:80", "[fd00::3]:80"
WEB = Service(0, "web", (Endpoint(0, A), Endpoint(1, B)))
PAY = Service(1, "pay", (Endpoint(2, C),))
TOPOLOGY = Topology(1, (WEB, PAY), (Node(0, "edge"), Node(1, "core")), ("shop", "till"), (0, 1))


class Log:
    """A node's access log and our ear on it. Times are seconds since `T0`; the node's clock is `skew_s` ahead."""

    def __init__(self, *, skew_s: float = 0.0, compiled: bool | None = None) -> None:
        self.decoder = Decoder(1, TOPOLOGY, compiled=compiled)
        self.skew_s = skew_s
        self.now = T0

    def tried(self, at: float, last: float, address: str = A, cluster: str = "web", **more: Any) -> Any:
        """An upstream entry."""
        return scribe.attempt(cluster, address, T0 + at + self.skew_s, last, **more)

    def ended(self, at: float, last: float, address: str = A, cluster: str = "web", **more: Any) -> Any:
        """A downstream entry."""
        return scribe.ending(cluster, address, T0 + at + self.skew_s, last, **more)

    def wrote(self, *entries: Any) -> Log:
        """The node sends these in one message."""
        self.decoder.decode(scribe.message(entries), self.now)
        return self

    def flush(self, at: float) -> list[Requests | Felt | Dropped]:
        """What has settled at this time, as it is told on."""
        self.now = T0 + at
        return self.decoder.flush(self.now)

    def heard(self, at: float) -> list[str]:
        """The same, as a log."""
        return lines(self.flush(at))


def lines(batches: list[Requests | Felt | Dropped]) -> list[str]:
    """Batches as lines to read."""
    out = []
    for batch in batches:
        if isinstance(batch, Dropped):
            assert batch.node == 1
            out += [f"dropped {reason} {count}" for reason, count in sorted(batch.reasons.items())]
            continue
        for i in range(len(batch)):
            assert batch.node[i] == 1
            service = ("web", "pay")[batch.service[i]]
            how = f"{Arm(batch.arm[i]).name.lower()} {Outcome(batch.outcome[i]).name} {batch.status[i]}"
            if isinstance(batch, Felt):
                out.append(f"felt {service} {how}")
            else:
                felt_ms = round(float(batch.felt_s[i]) * 1e3)
                out.append(f"{service}/{'ABC-'[batch.endpoint[i]]} {how} try {batch.attempt[i]} felt {felt_ms}")
    return out


def rows(batches: list[Requests | Felt | Dropped]) -> Requests:
    """The attempts among the batches."""
    return Requests.concat([b for b in batches if isinstance(b, Requests)])


def reasons(batches: list[Requests | Felt | Dropped]) -> dict[str, int]:
    """The reasons among the batches."""
    out: Counter[str] = Counter()
    for b in batches:
        if isinstance(b, Dropped):
            out.update(b.reasons)
    return dict(out)


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.skipif(not COMPILED, reason="not built"))])
def log(request: pytest.FixtureRequest) -> Log:
    """A log, by the plain and by the compiled reader."""
    return Log(compiled=request.param)


# ---- one attempt ----


def test_an_attempt_is_told_with_all_its_columns(log: Log) -> None:
    entry = log.tried(
        2.0,
        0.25,
        C,
        "pay~adaptive",
        status=201,
        first_byte_s=0.125,
        route="till~adaptive",
        bytes_in=7,
        bytes_out=900,
        method=Method.PUT,
    )
    (batch,) = log.wrote(entry).flush(2.3)
    assert isinstance(batch, Requests)
    told = {name: getattr(batch, name).tolist() for name in Requests.dtypes()}
    assert told == {
        "started_s": [T0 + 2.0],
        "duration_s": [0.25],
        "ttfb_s": [0.125],
        "felt_s": [0.25],
        "service": [1],
        "endpoint": [2],
        "node": [1],
        "route": [1],
        "outcome": [Outcome.OK],
        "status": [201],
        "bytes_in": [7],  # Envoy's upstream log writes these two in each other's place
        "bytes_out": [900],
        "attempt": [1],
        "arm": [Arm.ADAPTIVE],
        "plan": [0],
        "weight": [0],
        "probability": [0.0],
        "method": [Method.PUT],
    }


def test_a_method_of_an_envoy_newer_than_us_is_unknown(log: Log) -> None:
    entries = [log.tried(i / 10, 0.01, method=m) for i, m in enumerate((0, 1, 9, 10, 300, -1, -(2**31)))]
    assert rows(log.wrote(*entries).flush(1.0)).method.tolist() == [0, 1, 9, 0, 0, 0, 0]


def test_an_attempt_that_brought_no_byte_has_no_time_to_the_first(log: Log) -> None:
    refused = log.tried(0, 0.001, status=0, flags=["upstream_connection_failure"])
    assert np.isnan(rows(log.wrote(refused).flush(0.1)).ttfb_s).all()


def test_a_flush_with_nothing_to_tell_tells_nothing(log: Log) -> None:
    assert log.flush(0.1) == []
    log.decoder.decode(scribe.message([]), T0)
    assert log.flush(0.2) == []


def test_what_was_told_is_not_overwritten_by_what_comes_next(log: Log) -> None:
    (first,) = log.wrote(log.tried(0, 0.1, bytes_in=1, bytes_out=2)).flush(0.2)
    before = {name: getattr(first, name).copy() for name in Requests.dtypes()}
    log.wrote(log.tried(1, 0.5, B, status=500, bytes_in=3, bytes_out=4)).flush(1.6)
    for name, column in before.items():
        np.testing.assert_array_equal(getattr(first, name), column, err_msg=name)


# ---- a retried request ----


def test_a_retried_request_is_an_attempt_each_and_the_last_is_felt_since_the_first(log: Log) -> None:
    log.wrote(
        log.tried(0.000, 0.010, A, status=503, request_id="r1"),
        log.tried(0.015, 0.020, B, status=200, request_id="r1"),
        log.tried(0.000, 0.030, B, status=200, request_id="r2"),
    )
    assert log.heard(0.1) == [
        "web/A static ERROR 503 try 1 felt 10",
        "web/B static OK 200 try 2 felt 35",
        "web/B static OK 200 try 1 felt 30",
    ]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_order_of_a_batch_does_not_matter_for_the_order_of_tries(log: Log, order: tuple[int, ...]) -> None:
    tries = [
        log.tried(0.000, 0.010, A, status=0, flags=["upstream_connection_failure"], request_id="r"),
        log.tried(0.020, 0.010, B, status=503, request_id="r"),
        log.tried(0.040, 0.010, A, status=200, request_id="r"),
    ]
    log.wrote(*(tries[i] for i in order))
    assert sorted(log.heard(0.1), key=lambda line: line.split("try")[1]) == [
        "web/A static UNREACHED 0 try 1 felt 10",
        "web/B static ERROR 503 try 2 felt 30",
        "web/A static OK 200 try 3 felt 50",
    ]


def test_tries_are_counted_across_flushes(log: Log) -> None:
    log.wrote(log.tried(0, 0.3, A, status=0, flags=["upstream_request_timeout"], request_id="r"))
    assert log.heard(0.4) == ["web/A static TIMEOUT 0 try 1 felt 300"]
    log.wrote(log.tried(0.32, 0.3, B, status=0, flags=["upstream_request_timeout"], request_id="r"))
    assert log.heard(0.7) == ["web/B static TIMEOUT 0 try 2 felt 620"]
    log.wrote(log.tried(0.65, 0.1, A, request_id="r"), log.tried(0.65, 0.1, A, request_id="s"))
    assert log.heard(0.9) == ["web/A static OK 200 try 3 felt 750", "web/A static OK 200 try 1 felt 100"]


def test_a_first_try_that_arrives_after_the_second_is_still_the_first(log: Log) -> None:
    log.wrote(log.tried(0.3, 0.1, B, status=503, request_id="r"))
    assert log.heard(0.4) == ["web/B static ERROR 503 try 1 felt 100"]
    log.wrote(log.tried(0.0, 0.2, A, status=503, request_id="r"))
    assert log.heard(0.5) == ["web/A static ERROR 503 try 1 felt 200"]


def test_a_failure_is_forgotten_after_its_window(log: Log) -> None:
    log.wrote(log.tried(0, 0.1, A, status=503, request_id="r")).heard(0.2)
    log.wrote(log.tried(40, 0.1, A, request_id="r"))
    assert log.heard(40.2) == ["web/A static OK 200 try 1 felt 100"]


def test_requests_without_an_id_are_all_first_tries(log: Log) -> None:
    log.wrote(log.tried(0, 0.1, status=503), log.tried(0.2, 0.1))
    assert log.heard(0.4) == ["web/A static ERROR 503 try 1 felt 100", "web/A static OK 200 try 1 felt 100"]


# ---- attempts that only their request's end explains ----


def test_a_route_timeout_is_told_by_the_downstream_entry_whichever_comes_first(log: Log) -> None:
    cut = log.tried(0, 0.3, status=0, request_id="r")
    end = log.ended(0, 0.3, status=504, flags=["upstream_request_timeout"], request_id="r")
    assert log.wrote(cut, end).heard(0.4) == ["felt web static TIMEOUT 504", "web/A static TIMEOUT 0 try 1 felt 300"]
    cut = log.tried(1, 0.3, status=0, request_id="s")
    end = log.ended(1, 0.3, status=504, flags=["upstream_request_timeout"], request_id="s")
    assert log.wrote(cut).heard(1.4) == []
    assert log.wrote(end).heard(1.6) == ["felt web static TIMEOUT 504", "web/A static TIMEOUT 0 try 1 felt 300"]
    cut = log.tried(2, 0.3, status=0, request_id="t")
    end = log.ended(2, 0.3, status=504, flags=["upstream_request_timeout"], request_id="t")
    assert log.wrote(end).heard(2.4) == ["felt web static TIMEOUT 504"]
    assert log.wrote(cut).heard(2.6) == ["web/A static TIMEOUT 0 try 1 felt 300"]


def test_a_client_that_left_is_no_fault_of_the_endpoint(log: Log) -> None:
    log.wrote(log.tried(0, 3.2, status=0, request_id="r"))
    log.wrote(log.ended(0, 3.2, status=0, flags=["downstream_connection_termination"], request_id="r"))
    assert log.heard(3.3) == ["felt web static CANCELLED 0", "web/A static CANCELLED 0 try 1 felt 3200"]


def test_an_answer_that_was_under_way_when_the_client_left_is_cancelled_too(log: Log) -> None:
    log.wrote(log.tried(0, 1.0, status=200, finished=False, request_id="r"))
    log.wrote(log.ended(0, 1.0, status=200, flags=["downstream_remote_reset"], request_id="r"))
    assert log.heard(1.1) == ["felt web static CANCELLED 200", "web/A static CANCELLED 200 try 1 felt 1000"]


def test_a_body_cut_short_is_the_endpoints_error_though_it_said_200(log: Log) -> None:
    log.wrote(log.tried(0, 0.1, status=200, finished=False, flags=["upstream_protocol_error"], request_id="r"))
    assert log.heard(0.2) == ["web/A static ERROR 200 try 1 felt 100"]


def test_an_attempt_that_nothing_explains_is_held_a_second_and_then_cancelled(log: Log) -> None:
    log.wrote(log.tried(0, 0.1, status=0, request_id="r"))
    assert log.heard(0.2) == []
    assert log.heard(1.1) == []
    assert log.heard(1.2) == ["web/A static CANCELLED 0 try 1 felt 100"]
    assert log.heard(2.5) == []


def test_an_attempt_without_a_request_id_is_not_held_for_an_explanation_that_cannot_come(log: Log) -> None:
    log.wrote(log.tried(0, 0.1, status=0))
    log.wrote(log.ended(0, 0.1, status=504, flags=["upstream_request_timeout"]))
    assert log.heard(0.2) == ["felt web static TIMEOUT 504", "web/A static CANCELLED 0 try 1 felt 100"]


def test_a_retry_that_was_given_the_last_moment_is_not_blamed_for_the_route_timeout(log: Log) -> None:
    log.wrote(
        log.tried(0.0, 0.9, A, status=0, flags=["upstream_connection_termination"], request_id="r"),
        log.tried(0.9, 0.1, B, status=0, request_id="r"),
        log.ended(0.0, 1.0, B, status=504, flags=["upstream_request_timeout"], request_id="r"),
    )
    assert log.heard(1.1) == [
        "felt web static TIMEOUT 504",
        "web/A static ERROR 0 try 1 felt 900",
        "web/B static CANCELLED 0 try 2 felt 1000",
    ]


def test_what_is_held_is_bounded_and_the_rest_is_settled_at_once() -> None:
    log, n = Log(), HELD_MAX + 500
    entries = [log.tried(i * 1e-6, 0.1, status=0, request_id=f"{i:08x}") for i in range(n)]
    log.wrote(*entries)
    assert len(rows(log.flush(0.2))) == 500
    assert len(rows(log.flush(1.3))) == HELD_MAX


# ---- what the user felt ----


def test_a_bad_end_is_felt_and_a_good_one_is_told_by_its_attempts_alone(log: Log) -> None:
    log.wrote(
        log.ended(0, 0.1, status=500, request_id="a"),
        log.ended(0, 0.1, status=429, cluster="web~adaptive", request_id="b"),
        log.ended(0, 0.1, status=503, flags=["upstream_overflow"], request_id="c"),
        log.ended(0, 0.1, status=200, flags=["delay_injected"], request_id="d"),
        log.ended(0, 0.1, status=404, request_id="e"),
    )
    assert log.heard(0.2) == [
        "felt web static ERROR 500",
        "felt web adaptive ERROR 429",
        "felt web static REJECTED 503",
    ]


def test_a_request_that_no_endpoint_could_take_is_felt_at_its_routes_service(log: Log) -> None:
    log.wrote(log.ended(0, 0.1, "", "", status=503, flags=["no_healthy_upstream"], route="till~adaptive"))
    assert log.heard(0.2) == ["felt pay adaptive UNREACHED 503"]


def test_a_request_without_a_route_belongs_to_nobody(log: Log) -> None:
    log.wrote(log.ended(0, 0.1, "", "", status=404, flags=["no_route_found"]))
    assert log.heard(0.2) == ["dropped no_route_found 1"]


# ---- where it belongs ----


def test_a_refused_attempt_may_name_neither_cluster_nor_host(log: Log) -> None:
    log.wrote(
        log.tried(0.0, 0.001, "", "", status=0, flags=["upstream_overflow"], route="shop~adaptive"),
        log.tried(0.1, 0.001, A, "web", status=0, flags=["upstream_overflow"], route="shop"),
    )
    assert log.heard(0.2) == ["web/- adaptive REJECTED 0 try 1 felt 1", "web/A static REJECTED 0 try 1 felt 1"]


def test_attempts_at_strangers_are_counted_and_not_learned(log: Log) -> None:
    log.wrote(
        log.tried(0.0, 0.1, A, "nonesuch"),
        log.tried(0.1, 0.1, "10.9.9.9:80"),
        log.tried(0.2, 0.1, C, "web"),  # an endpoint of another service
        log.tried(0.3, 0.1, "", "web"),
        log.tried(0.4, 0.1, "", "", route="nonesuch"),
        log.tried(0.5, 0.1, A, "web~adaptive~adaptive"),
        log.tried(0.6, 0.1, A),
    )
    assert log.heard(0.9) == [
        "web/A static OK 200 try 1 felt 100",
        "dropped no_endpoint 1",
        "dropped unknown_cluster 3",
        "dropped unknown_endpoint 2",
    ]


def test_an_endpoint_that_joins_is_known_and_one_that_just_left_still_is(log: Log) -> None:
    moved = Service(0, "web", (Endpoint(0, A), Endpoint(3, "10.0.0.4:80")))
    log.wrote(log.tried(0.0, 0.1, B), log.tried(0.1, 0.1, "10.0.0.4:80"))
    log.decoder.moved(Topology(2, (moved, PAY), TOPOLOGY.nodes, TOPOLOGY.routes, TOPOLOGY.route_services))
    assert rows(log.flush(0.3)).endpoint.tolist() == [1, 3]
    log.decoder.moved(Topology(3, (moved, PAY), TOPOLOGY.nodes, TOPOLOGY.routes, TOPOLOGY.route_services))
    log.wrote(log.tried(1.0, 0.1, B))
    assert log.heard(1.2) == ["dropped unknown_endpoint 1"]


def test_an_address_that_comes_back_is_the_new_endpoint(log: Log) -> None:
    log.wrote(log.tried(0.0, 0.1, B)).flush(0.2)
    back = Service(0, "web", (Endpoint(0, A), Endpoint(7, B)))
    log.decoder.moved(Topology(2, (back, PAY), TOPOLOGY.nodes, TOPOLOGY.routes, TOPOLOGY.route_services))
    assert rows(log.wrote(log.tried(1.0, 0.1, B)).flush(1.2)).endpoint.tolist() == [7]


def test_an_explosion_of_names_costs_its_own_entries_and_passes(log: Log) -> None:
    """Fault case 23 as far as it concerns the decoder: names are bounded, and the next flush starts afresh."""
    names = [log.tried(i * 1e-3, 0.1, A, f"hostile-{i}", route=f"r{i}") for i in range(TARGETS_MAX + 100)]
    log.wrote(*names, log.tried(9, 0.1, A))
    assert reasons(log.flush(9.2)) == {"unknown_cluster": TARGETS_MAX, "too_many_names": 101}
    log.wrote(log.tried(10, 0.1, A))
    assert log.heard(10.2) == ["web/A static OK 200 try 1 felt 100"]
    assert ROUTES_MAX < TARGETS_MAX  # routes overflowed as well: unknown ones, which costs nothing


# ---- fault case 19: numbers that cannot be ----


def _set(path: str, **values: int) -> Any:
    def damage(entry: Any) -> Any:
        part = entry
        for step in path.split("."):
            part = getattr(part, step)
        for name, value in values.items():
            setattr(part, name, value)
        return entry

    return damage


def _clear(field: str) -> Any:
    def damage(entry: Any) -> Any:
        entry.common_properties.ClearField(field)
        return entry

    return damage


SPAN, START = "common_properties.duration", "common_properties.start_time"
BAD = [
    ("no_start", _clear("start_time")),
    ("no_start", _set(START, seconds=0, nanos=0)),
    ("absurd_start", _set(START, seconds=-1)),
    ("absurd_start", _set(START, seconds=9_223_372_036)),  # 2262: the end of int64 nanoseconds
    ("absurd_start", _set(START, seconds=253_402_300_799)),  # 9999: the end of the proto's
    ("absurd_start", _set(START, seconds=START_MAX_NS // 10**9 + 1)),
    ("no_duration", _clear("duration")),
    ("negative_duration", _set(SPAN, seconds=-1)),
    ("negative_duration", _set(SPAN, seconds=0, nanos=-1)),
    ("absurd_duration", _set(SPAN, seconds=10**6)),  # 10^9 ms
    ("absurd_duration", _set(SPAN, seconds=DURATION_MAX_NS // 10**9, nanos=1)),
    ("absurd_duration", _set(SPAN, seconds=2**63 - 1)),
    ("absurd_first_byte", _set("common_properties.time_to_first_upstream_rx_byte", seconds=-5)),
    ("absurd_first_byte", _set("common_properties.time_to_first_upstream_rx_byte", seconds=10**7)),
    ("absurd_status", _set("response.response_code", value=1000)),
    ("absurd_status", _set("response.response_code", value=2**32 - 1)),
    ("absurd_size", _set("request", request_body_bytes=2**64 - 1)),
    ("absurd_size", _set("response", response_body_bytes=2**60)),
    ("intermediate", _set("common_properties", intermediate_log_entry=True)),
    ("not_an_end", _set("common_properties", access_log_type=0)),
    ("not_an_end", _set("common_properties", access_log_type=4)),  # DownstreamStart
    ("not_an_end", _set("common_properties", access_log_type=7)),  # UpstreamPoolReady
    ("not_an_end", _set("common_properties", access_log_type=8)),  # UpstreamPeriodic
]


@pytest.mark.parametrize(("reason", "damage"), BAD, ids=[f"{i}-{reason}" for i, (reason, _) in enumerate(BAD)])
def test_an_impossible_entry_is_counted_by_its_reason_and_learned_by_nobody(log: Log, reason: str, damage: Any) -> None:
    log.wrote(log.tried(0, 0.1, A), damage(log.tried(0.2, 0.1, B)), log.tried(0.4, 0.1, A))
    assert log.heard(0.6) == [*["web/A static OK 200 try 1 felt 100"] * 2, f"dropped {reason} 1"]
    assert log.decoder.offset_s == pytest.approx(-0.5, abs=1e-6)  # nor do its times count for anything


def test_the_longest_request_and_the_latest_start_that_can_be_are_learned(log: Log) -> None:
    log.wrote(_set(SPAN, seconds=3600, nanos=0)(log.tried(0, 0.1)))
    assert log.heard(0.1) == ["web/A static OK 200 try 1 felt 3600000"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-1, len(BAD) - 1), min_size=1, max_size=40))
def test_of_any_mixture_only_the_sound_entries_are_learned(choice: list[int]) -> None:
    log = Log()
    entries = [log.tried(i * 1e-3, 0.1, B if c >= 0 else A) for i, c in enumerate(choice)]
    log.wrote(*(BAD[c][1](e) if c >= 0 else e for c, e in zip(choice, entries, strict=True)))
    told = log.flush(1.0)
    assert rows(told).endpoint.tolist() == [0] * choice.count(-1)
    assert reasons(told) == Counter(BAD[c][0] for c in choice if c >= 0)


def test_a_malformed_message_costs_itself_and_nothing_else(log: Log) -> None:
    whole = scribe.message([log.tried(0, 0.1), log.tried(0.1, 0.1)])
    log.decoder.decode(whole[:-3], T0)
    log.decoder.decode(b"\xff" * 50, T0)
    log.decoder.decode(whole, T0)
    assert log.heard(0.3) == [*["web/A static OK 200 try 1 felt 100"] * 2, "dropped malformed 2"]


# ---- fault case 20: clocks ----


@pytest.mark.parametrize("skew_s", [-300.0, 300.0, -86_400.0 * 365, 86_400.0 * 365])
def test_a_skewed_clock_changes_the_offset_that_is_shown_and_nothing_else(skew_s: float) -> None:
    def lived(log: Log) -> list[str]:
        out = []
        for second in range(5):
            log.now = T0 + second + 0.5
            log.wrote(
                log.tried(second, 0.1, A, status=503, request_id=f"r{second}"),
                log.tried(second + 0.1, 0.1, B, request_id=f"r{second}"),
                log.tried(second + 0.2, 0.3, A, status=0, request_id=f"t{second}"),
                log.ended(second + 0.2, 0.3, status=504, flags=["upstream_request_timeout"], request_id=f"t{second}"),
            )
            out += log.heard(second + 0.6)
        return out

    right, wrong = Log(), Log(skew_s=skew_s)
    assert lived(right) == lived(wrong)
    assert right.decoder.offset_s == pytest.approx(0.0, abs=1e-5)
    assert wrong.decoder.offset_s == pytest.approx(-skew_s, abs=1e-5)
    assert right.decoder.skewed == wrong.decoder.skewed == 0


def test_the_offset_is_unknown_until_an_entry_has_come() -> None:
    log = Log()
    log.heard(0.1)
    assert np.isnan(log.decoder.offset_s)


def test_the_offset_is_the_least_delay_lately_and_follows_a_clock_that_steps() -> None:
    log, shown = Log(), {}
    for second in range(40):
        log.skew_s = 0.0 if second < 10 else 300.0 if second < 20 else -300.0
        log.now = T0 + second + 0.25
        log.wrote(log.tried(second, 0.05), log.tried(second + 0.1, 0.1))  # they arrive 0.2 s and 0.05 s after their end
        assert len(rows(log.flush(second + 0.3))) == 2
        shown[second] = round(log.decoder.offset_s, 2)
    assert {shown[s] for s in range(10)} == {0.05}
    assert {shown[s] for s in range(10, 20)} == {-299.95}  # ahead: seen with the first entry
    assert {shown[s] for s in range(30, 40)} == {300.05}  # back: when the window has passed


def test_an_entry_far_off_the_others_is_learned_and_keeps_out_of_the_offset() -> None:
    log = Log()
    log.now = T0 + 1
    odd = [log.tried(-5000, 0.1, B), log.tried(+9000, 0.1, B)]
    log.wrote(*(log.tried(0.5, 0.1 + i / 100, A) for i in range(5)), *odd)
    assert rows(log.flush(1.0)).endpoint.tolist() == [0] * 5 + [1] * 2
    assert (log.decoder.skewed, round(log.decoder.offset_s, 2)) == (2, 0.36)


def test_after_a_pause_of_ours_what_had_waited_is_stale_and_what_is_fresh_is_learned() -> None:
    """Fault case 2: resumed after a SIGSTOP, old samples are dropped by age and not replayed as fresh."""
    log = Log()
    log.now = T0 + 0.15
    log.wrote(log.tried(0, 0.1)).heard(0.2)
    log.now = T0 + 60
    log.wrote(*(log.tried(float(second), 0.1) for second in range(1, 60)))
    assert log.heard(60.0) == [*["web/A static OK 200 try 1 felt 100"] * 10, "dropped stale 49"]
    assert log.decoder.offset_s == pytest.approx(0.9, abs=0.01)  # of the freshest: it ended at 59.1


# ---- fault case 21: duplicates, order, lateness ----


def test_an_entry_sent_again_is_counted_once(log: Log) -> None:
    first, second = log.tried(0, 0.1, request_id="r"), log.tried(0.2, 0.1, request_id="s")
    bad = log.ended(0, 0.1, status=500, request_id="r")
    log.wrote(first, second, first).wrote(bad, bad)
    assert log.heard(0.4) == [
        "felt web static ERROR 500",
        *["web/A static OK 200 try 1 felt 100"] * 2,
        "dropped duplicate 2",
    ]
    log.wrote(second, first, bad)
    assert log.heard(0.6) == ["dropped duplicate 3"]


def test_like_entries_that_are_not_the_same_are_all_counted(log: Log) -> None:
    log.wrote(
        log.tried(0.0, 0.1, A),
        log.tried(0.0, 0.1, B),
        log.tried(0.0, 0.2, A),
        log.tried(0.000001, 0.1, A),
        log.tried(0.0, 0.1, A, request_id="r"),
        log.tried(0.0, 0.1, A, "web~adaptive"),
    )
    assert len(rows(log.flush(0.3))) == 6


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 29), min_size=1, max_size=120),
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
)
def test_however_entries_are_doubled_shuffled_and_cut_into_messages_each_counts_once(
    order: list[int], cuts: list[int]
) -> None:
    log = Log()
    entries = [log.tried(i / 10, 0.05, (A, B)[i % 2], request_id=str(i)) for i in range(30)]
    told: list[Requests] = []
    for i, size in enumerate([*cuts, len(order)]):
        part, order = order[:size], order[size:]
        if part:
            told.append(rows(log.wrote(*(entries[k] for k in part)).flush(3.0 + i / 10)))
    seen = Requests.concat(told)
    assert len(set(seen.started_s.tolist())) == len(seen)


def test_duplicates_are_found_among_entries_that_share_a_slot() -> None:
    memory = Duplicates(slots=2)
    prints = np.array([2, 4, 2, 4, 6, 6, 3], dtype=np.uint64)
    assert memory.fresh(prints).tolist() == [True, True, False, False, True, False, True]


def test_a_doubled_batch_of_ten_thousand_is_halved_to_the_row() -> None:
    rng = np.random.default_rng(3)
    column = rng.integers(1, 2**62, 10_000)
    both = np.concatenate([column, column])[rng.permutation(20_000)]
    assert int(Duplicates().fresh(fingerprint(both)).sum()) == 10_000


def test_entries_that_come_late_are_learned_in_their_own_time(log: Log) -> None:
    log.wrote(log.tried(5, 0.1)).heard(5.2)
    log.wrote(log.tried(2, 0.1))
    (batch,) = log.flush(5.4)
    assert isinstance(batch, Requests)
    assert batch.started_s.tolist() == [T0 + 2]
