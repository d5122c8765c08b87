"""Load reports: what a node says is open now. The last tests read what Envoy 1.40 really sent."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from envoy.service.load_stats.v3 import lrs_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.als.decoder import COMPILED, Decoder, identify
from dataplane.contract import Arm, Dropped, Endpoint, InFlight, Node, Outcome, Requests, Service, Topology
from dataplane.lrs import CONTROL_CLUSTERS, COUNT_MAX, read_report
from dataplane.xds.resources import XDS_CLUSTER
from dataplane.xds.tracing import COLLECTOR

WEB = Service(0, "web", (Endpoint(0, "10.0.0.1:80"), Endpoint(1, "[fd00::2]:80")))
PAY = Service(1, "pay", (Endpoint(2, "10.0.0.1:80"),))  # the same address in another service
TOPOLOGY = Topology(1, (WEB, PAY), (Node(0, "edge"),))


def report(*rows: tuple[str, str, int, int, int, int], interval_s: float = 0.5) -> Any:
    """A LoadStatsRequest of rows: cluster, address, in progress, issued, succeeded, failed."""
    request = lrs_pb2.LoadStatsRequest()
    for cluster, address, in_progress, issued, succeeded, failed in rows:
        stats = request.cluster_stats.add(cluster_name=cluster)
        stats.load_report_interval.FromNanoseconds(round(interval_s * 1e9))
        host, _, port = address.rpartition(":")
        endpoint = stats.upstream_locality_stats.add().upstream_endpoint_stats.add(
            total_requests_in_progress=in_progress,
            total_issued_requests=issued,
            total_successful_requests=succeeded,
            total_error_requests=failed,
        )
        endpoint.address.socket_address.address = host.strip("[]")
        endpoint.address.socket_address.port_value = int(port)
    return request


def rows(told: InFlight) -> list[tuple[int, int, int, int, int, int, int]]:
    """The report's rows."""
    return list(zip(*(getattr(told, name).tolist() for name in InFlight.dtypes()), strict=True))


def test_a_report_is_a_row_per_endpoint_and_arm() -> None:
    told, rejected = read_report(
        report(
            ("web", "10.0.0.1:80", 3, 10, 6, 1),
            ("web~adaptive", "10.0.0.1:80", 1, 2, 1, 0),
            ("web~adaptive", "[fd00::2]:80", 0, 5, 4, 1),
            ("pay", "10.0.0.1:80", 9, 0, 0, 0),
        ),
        4,
        TOPOLOGY,
    )
    assert rows(told) == [
        (0, 0, Arm.STATIC, 3, 10, 6, 1),
        (0, 0, Arm.ADAPTIVE, 1, 2, 1, 0),
        (0, 1, Arm.ADAPTIVE, 0, 5, 4, 1),
        (1, 2, Arm.STATIC, 9, 0, 0, 0),
    ]
    assert (told.node_id, told.interval_s, rejected) == (4, 0.5, {})


def test_a_report_without_rows_is_still_a_report() -> None:
    assert {XDS_CLUSTER, COLLECTOR} == CONTROL_CLUSTERS
    ours = (report((name, "127.0.0.1:9", 3, 1, 0, 0)) for name in CONTROL_CLUSTERS)
    for request in (lrs_pb2.LoadStatsRequest(), report(), *ours):
        told, rejected = read_report(request, 2, TOPOLOGY)
        assert (len(told), told.node_id, told.interval_s, rejected) == (0, 2, 0.5, {})


def test_an_endpoint_told_in_two_localities_is_summed() -> None:
    told, _ = read_report(
        report(("web", "10.0.0.1:80", 1, 2, 3, 4), ("web", "10.0.0.1:80", 10, 20, 30, 40)), 0, TOPOLOGY
    )
    assert rows(told) == [(0, 0, Arm.STATIC, 11, 22, 33, 44)]


def test_strangers_and_absurd_counts_are_rejected_by_reason_and_the_rest_is_kept() -> None:
    told, rejected = read_report(
        report(
            ("web", "10.0.0.1:80", 1, 1, 1, 1),
            ("nonesuch", "10.0.0.1:80", 1, 1, 1, 1),
            ("web", "10.9.9.9:80", 1, 1, 1, 1),
            ("web~adaptive", "10.0.0.1:80", 2**64 - 1, 1, 1, 1),  # a gauge that fell below 0
            ("pay", "10.0.0.1:80", 0, COUNT_MAX + 1, 0, 0),
        ),
        0,
        TOPOLOGY,
    )
    assert len(told) == 1
    assert rejected == {"unknown_cluster": 1, "unknown_endpoint": 1, "absurd_count": 2}


def test_the_interval_is_what_the_report_states_where_that_is_sound() -> None:
    row = ("web", "10.0.0.1:80", 1, 1, 1, 1)
    stated = [read_report(report(row, interval_s=s), 0, TOPOLOGY)[0].interval_s for s in (0.503, 2.0, -1.0, 0.0, 1e6)]
    assert stated == pytest.approx([0.503, 2.0, 0.5, 0.5, 0.5])


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["web", "web~adaptive", "pay", "", "web~adaptive~adaptive", "x\0y"]),
            st.sampled_from(["10.0.0.1:80", "[fd00::2]:80", "10.0.0.1:0", ":5"]),
            *[st.integers(0, 2**64 - 1) | st.integers(0, 5)] * 4,
        ),
        max_size=12,
    )
)
def test_every_row_is_either_told_within_bounds_or_rejected(
    given_rows: list[tuple[str, str, int, int, int, int]],
) -> None:
    told, rejected = read_report(report(*given_rows), 0, TOPOLOGY)
    assert len(told) + sum(rejected.values()) <= len(given_rows)
    assert bool(given_rows) == bool(len(told) or rejected)
    for name in ("in_flight", "issued", "succeeded", "failed"):
        column = getattr(told, name)
        assert ((column >= 0) & (column <= COUNT_MAX * len(given_rows))).all()


# ---- what Envoy 1.40 really sent, over both wires ----

RECORDED = json.loads((Path(__file__).parent / "recorded" / "envoy_1_40.json").read_text())


def really(wire: str) -> list[tuple[float, bytes]]:
    """Arrival in seconds and bytes of each message."""
    return [(at, base64.b64decode(text)) for at, text in RECORDED[wire]]


def real_topology() -> Topology:
    """The clusters of that run."""
    where = RECORDED["endpoints"]
    names = {"web": "ab", "mixed": "ab", "dead": "", "lim": "a", "empty": "", "idle": ""}
    services, free = [], 0
    for i, (name, members) in enumerate(names.items()):
        addresses = [where[m] for m in members]
        addresses += [where["dead"]] * (name in ("dead", "mixed")) + [where["idle"]] * (name == "idle")
        services.append(Service(i, name, tuple(Endpoint(free + k, a) for k, a in enumerate(addresses))))
        free += len(addresses)
    return Topology(1, tuple(services), (Node(0, "n1"),), ("r-empty-empty",), (4,))


def test_real_reports_come_without_traffic_and_name_an_endpoint_while_it_hangs() -> None:
    seen = {}
    for at, message in really("lrs"):
        told, _ = read_report(lrs_pb2.LoadStatsRequest.FromString(message), 0, real_topology())
        seen[at] = {(e, int(n)) for e, n in zip(told.endpoint.tolist(), told.in_flight, strict=True)}
        assert told.interval_s == pytest.approx(0.5, abs=0.01)
    assert [rows for at, rows in seen.items() if at < 0] == [set()] * 3  # no traffic: still a report each interval
    assert [rows for at, rows in seen.items() if 4.9 < at < 5.9] == [{(0, 2), (1, 1)}] * 2  # three requests hang


@pytest.mark.parametrize("compiled", [False, True])
def test_real_entries_of_every_kind_of_trouble_are_understood(compiled: bool) -> None:
    if compiled and not COMPILED:
        pytest.skip("not built")
    decoder, told, dropped = Decoder(0, real_topology(), compiled=compiled), [], {}
    messages = really("als")
    assert [identify(message) for _, message in messages[:3]] == [
        ("n1", "weirflow.upstream"),
        ("n1", "weirflow.downstream"),
        ("", ""),
    ]
    for at, message in messages:
        now = RECORDED["origin_s"] + at
        decoder.decode(message, now)
        for batch in decoder.flush(now):
            if isinstance(batch, Requests):
                told += list(zip(batch.service.tolist(), batch.outcome.tolist(), batch.attempt.tolist(), strict=True))
            elif isinstance(batch, Dropped):
                dropped.update(batch.reasons)
    web = [(Outcome(outcome).name, attempt) for service, outcome, attempt in told if service == 0]
    assert web == [
        ("OK", 1),
        ("OK", 1),
        ("ERROR", 1),  # 500
        ("ERROR", 1),  # 429
        *[("ERROR", n) for n in (1, 2, 3)],  # 503, retried twice
        *[("TIMEOUT", n) for n in (1, 2, 3)],  # per try
        ("TIMEOUT", 1),  # of the route
        ("ERROR", 1),  # a body cut short
        ("CANCELLED", 1),  # the client left
        ("ERROR", 1),  # reset before an answer
        *[("CANCELLED", 1)] * 3,
    ]
    mixed = [(Outcome(outcome).name, attempt) for service, outcome, attempt in told if service == 1]
    assert mixed == [("UNREACHED", 1), ("OK", 2)] * 2
    assert [Outcome(outcome).name for service, outcome, _ in told if service == 2] == ["UNREACHED"]
    assert [Outcome(outcome).name for service, outcome, _ in told if service == 3] == ["REJECTED"] * 3 + ["OK"]
    assert dropped == {"no_route_found": 1}
    assert 0.0 < decoder.offset_s < 0.3
