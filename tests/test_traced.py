"""The log of sampled requests: what becomes an exemplar, what never does, and how little of it is read."""

import pytest

from dataplane.als import scribe
from dataplane.als.traced import EVERY_S, MOST_BYTES, Exemplar, Traced
from dataplane.contract import Endpoint, Node, Service, Topology

TRACE = "0af7651916cd43dd8448eb211c80319c"
TOPOLOGY = Topology(
    1, (Service(0, "web", (Endpoint(0, "10.0.0.1:80"),)),), nodes=(Node(0, "n1"), Node(1, "n2")), endpoint_slots=1
)


def entry(traceparent=f"00-{TRACE}-b7ad6b7169203331-01", cluster="web", seconds=0.25):
    out = scribe.ending(cluster, "10.0.0.1:80", 100.0, seconds, status=200)
    out.request.request_headers["traceparent"] = traceparent
    return out


def told(*entries):
    traced = Traced(TOPOLOGY)
    traced.hear(0, scribe.message(entries), 7.0)
    return dict(traced.newest)


def test_the_newest_trace_of_each_arm_is_kept():
    newer = entry(f"00-{'1' * 32}-b7ad6b7169203331-01", seconds=0.5)
    adaptive = entry(f"00-{'2' * 32}-b7ad6b7169203331-01", "web~adaptive", 1.5)
    assert told(entry(), newer, adaptive) == {
        ("web", "static"): Exemplar("1" * 32, 0.5, 7.0),
        ("web", "adaptive"): Exemplar("2" * 32, 1.5, 7.0),
    }


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        f"00-{TRACE}-b7ad6b7169203331-00",
        f"00-{TRACE.upper()}-b7ad6b7169203331-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-b7ad6b7169203331-01\n",
        f"00-{TRACE[:-1]}-b7ad6b7169203331-01",
        f'00-{TRACE[:-2]}"}}-b7ad6b7169203331-01',
        f"00-{TRACE}-b7ad6b7169203331-01-more",
    ],
)
def test_what_is_no_trace_id_of_a_sampled_trace_is_told_to_nobody(traceparent):
    assert told(entry(traceparent)) == {}


@pytest.mark.parametrize(
    "odd", [entry(cluster="other"), entry(cluster=""), entry(seconds=-1.0), entry(seconds=1e6)], ids=range(4)
)
def test_an_entry_of_no_service_or_of_an_impossible_time_is_told_to_nobody(odd):
    assert told(odd) == {}


def test_bytes_that_are_no_message_and_too_many_of_them_are_passed_by():
    traced = Traced(TOPOLOGY)
    traced.hear(0, b"\xff" * 100, 1.0)
    large = scribe.message([entry()] * 2000)
    assert len(large) > MOST_BYTES
    traced.hear(0, large, 10.0)
    assert traced.newest == {}


def test_one_message_each_half_second_of_each_node_is_read():
    traced = Traced(TOPOLOGY)
    for i in range(20):
        for node in (0, 1):
            now = 5.0 + node * EVERY_S / 2 + i * EVERY_S / 10
            traced.hear(node, scribe.message([entry(f"00-{i + 1:032x}-b7ad6b7169203331-01", seconds=node)]), now)
    (last,) = traced.newest.values()
    assert last == Exemplar(f"{11:032x}", 1.0, 5.0 + 1.5 * EVERY_S), "the eleventh of the second node"


def test_a_service_that_is_gone_is_forgotten():
    traced = Traced(TOPOLOGY)
    traced.hear(0, scribe.message([entry()]), 1.0)
    traced.moved(Topology(2, (Service(1, "api", ()),), ()))
    assert traced.newest == {}
