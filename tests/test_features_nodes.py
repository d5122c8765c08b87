"""What load reports add: what is open, what hangs, and which node may be believed."""

import numpy as np
import pytest

from dataplane.contract import Arm, Dropped, Outcome
from features.dialogue import START, A, B, C, Told


def test_in_flight_is_the_newest_report_of_each_node_summed():
    told = Told()
    told.report(0.5, node=0, rows=[(A, 9, 9, 0, 0), (B, 1, 1, 0, 0)])
    told.report(1.0, node=0, rows=[(A, 4, 0, 5, 0), (A, 2, 0, 0, 0)])  # on either arm; nothing of b any more
    told.report(1.0, node=1, rows=[(A, 3, 3, 0, 0)])
    assert told.endpoints(1.0).in_flight.tolist() == [9, 0, 0]


def test_a_stale_node_counts_no_more_and_with_no_fresh_node_nothing_is_known():
    told = Told(stale_after_s=3.0)
    told.report(1.0, node=0, rows=[(A, 4, 4, 0, 0)])
    told.report(3.0, node=1, rows=[(A, 1, 1, 0, 0)])
    assert told.endpoints(3.9).in_flight[A] == 5
    assert told.endpoints(4.1).in_flight[A] == 1
    seen = told.endpoints(6.1)
    assert np.isnan(seen.in_flight).all()
    assert (seen.stuck_s == 0).all()


def test_a_hang_is_seen_from_the_first_report_of_it():
    told = Told()
    told.report(0.5, rows=[(A, 2, 10, 8, 0), (B, 2, 10, 8, 0)])
    log = []
    for half in range(2, 7):
        at = half / 2
        told.report(at, rows=[(A, 9, 5, 0, 0), (B, 2, 10, 10, 0)])
        log.append((told.endpoints(at).stuck_s[A], told.endpoints(at).stuck_s[B]))
    assert log == [(0.5, 0.0), (1.0, 0.0), (1.5, 0.0), (2.0, 0.0), (2.5, 0.0)]


@pytest.mark.parametrize("how", ["reported done", "reported failed", "logged", "seen by the other node", "none open"])
def test_a_hang_ends_when_something_finishes(how):
    told = Told()
    told.report(0.5, rows=[(A, 2, 2, 0, 0)])
    told.report(1.0, rows=[(A, 2, 0, 0, 0)])
    told.report(2.0, node=1)
    assert told.endpoints(2.0).stuck_s[A] == 1.5
    match how:
        case "reported done":
            told.report(2.0, rows=[(A, 1, 0, 1, 0)])
        case "reported failed":
            told.report(2.0, rows=[(A, 1, 0, 0, 1)])
        case "logged":
            told.attempts(2.0, A, outcome=Outcome.TIMEOUT)
        case "seen by the other node":
            told.report(2.0, node=1, rows=[(A, 0, 1, 1, 0)])
        case "none open":
            told.report(2.0)
    assert told.endpoints(2.0).stuck_s[A] == 0.0
    told.report(3.0, node=1)
    assert told.endpoints(3.0).stuck_s[A] == (0.0 if how == "none open" else 1.0)


def test_the_next_hang_is_counted_from_its_own_beginning():
    told = Told()
    told.report(1.0, rows=[(A, 2, 2, 0, 0)])
    told.report(2.0)
    told.report(3.0, rows=[(A, 1, 1, 0, 0)])
    told.report(3.5, node=1)
    assert told.endpoints(3.5).stuck_s[A] == 0.5


def test_clients_that_give_up_do_not_end_a_hang():
    told = Told()
    for half in range(1, 5):
        told.report(half / 2, rows=[(A, 3, 3, 0, 0)])
        told.attempts(half / 2, A, n=3, outcome=Outcome.CANCELLED, took=1.0)
    assert told.endpoints(2.0).stuck_s[A] == 1.5


def test_a_node_back_from_a_long_silence_says_nothing_of_what_was_stuck_before():
    told = Told(stale_after_s=3.0)
    told.report(1.0, rows=[(A, 1, 1, 0, 0)])
    told.report(60.0, rows=[(A, 1, 0, 0, 0)])
    told.report(60.5, node=1)
    assert told.endpoints(60.5).stuck_s[A] == 0.5


def test_when_nobody_says_anything_silence_is_no_hang():
    told = Told()
    told.report(1.0, rows=[(A, 2, 2, 0, 0)])
    told.report(1.5, rows=[(A, 2, 0, 0, 0)])
    assert [told.endpoints(at).stuck_s[A] for at in (2.0, 3.0, 4.0)] == [0.5, 0.5, 0.5]


def test_a_node_that_reports_nothing_open_is_idle_and_one_that_reports_not_at_all_is_unknown():
    told = Told(stale_after_s=3.0)
    for half in range(1, 20):
        told.report(half / 2, node=0)
    seen = told.nodes(9.6)
    assert seen.fresh.tolist() == [True, False]
    assert seen.report_age_s == pytest.approx([0.1, np.inf])
    assert seen.issued_per_s[0] == 0


def test_a_node_that_falls_silent_is_unknown_after_the_stale_time():
    told = Told(stale_after_s=3.0)
    told.report(1.0)
    assert told.nodes(4.0).fresh[0]
    assert not told.nodes(4.1).fresh[0]
    told.report(5.0)
    assert told.nodes(5.0).fresh[0]


@pytest.mark.parametrize("per_report", [1, 100])
def test_when_reports_say_that_requests_finish_and_the_log_brings_none_telemetry_is_lost(per_report):
    told, log = Told(stale_after_s=3.0), []
    for half in range(1, 21):
        at = half / 2
        told.report(at, rows=[(A, 0, per_report, per_report, 0)])
        if at <= 4.0:
            told.attempts(at, A, n=per_report)
        log.append(bool(told.nodes(at).fresh[0]))
    assert log == [True] * 15 + [False] * 5  # the first report that the log owes is that of 4.5 s
    told.attempts(10.1, A)
    assert told.nodes(10.1).fresh[0]


def test_the_log_of_one_node_does_not_answer_for_the_other():
    told = Told(stale_after_s=3.0)
    for half in range(1, 13):
        for node in (0, 1):
            told.report(half / 2, node=node, rows=[(A, 0, 10, 10, 0)])
        told.attempts(half / 2, A, n=10, node=1)
    assert told.nodes(6.0).fresh.tolist() == [False, True]


@pytest.mark.parametrize("then", ["idle", "hanging"])
def test_a_busy_node_where_nothing_finishes_any_more_has_lost_nothing(then):
    told = Told(stale_after_s=3.0)
    for half in range(1, 21):
        told.report(half / 2, rows=[(A, 0, 50, 50, 0)])
        told.attempts(half / 2 + 0.1, A, n=50)
    for half in range(21, 40):
        told.report(half / 2, rows=[] if then == "idle" else [(A, 50, 0, 0, 0)])
        assert told.nodes(half / 2).fresh[0], half


def test_a_hang_is_not_lost_telemetry():
    told = Told(stale_after_s=3.0)
    for half in range(1, 20):
        told.report(half / 2, rows=[(A, half, 1, 0, 0)])
    assert told.nodes(9.5).fresh[0]


def test_a_few_rows_lost_with_an_old_stream_are_forgiven_to_a_node_that_then_is_idle():
    told = Told(half_life_s=3.0, stale_after_s=3.0)
    told.report(0.5, rows=[(A, 0, 3, 3, 0)])
    for half in range(2, 30):
        told.report(half / 2)
    assert told.nodes(14.5).fresh[0]


def test_issued_stands_beside_seen():
    told = Told()
    for half in range(1, 41):
        told.report(half / 2, rows=[(A, 0, 50, 50, 0)])
        told.attempts(half / 2, A, n=20)
        told.attempts(half / 2, A, n=5, outcome=Outcome.CANCELLED)
        told.attempts(half / 2, A, n=90, outcome=Outcome.REJECTED)  # never sent, so no report counts it
    seen = told.nodes(20.0)
    assert seen.issued_per_s[0] / seen.seen_per_s[0] == pytest.approx(2.0)
    assert seen.issued_per_s[0] == pytest.approx(100, rel=0.1)


def test_picks_are_what_reports_say_was_issued_on_the_adaptive_arm():
    told = Told()
    told.report(0.5, node=1, rows=[(A, 0, 7, 7, 0), (B, 0, 5, 5, 0), (C, 0, 2, 2, 0)])
    told.report(1.0, node=1, rows=[(A, 0, 3, 3, 0)])
    told.report(1.0, node=0, rows=[(A, 0, 100, 100, 0)], arm=Arm.STATIC)
    assert told.nodes(1.0).picks.tolist() == [[0, 0], [15, 2]]


def test_dropped_entries_are_counted_by_node():
    told = Told()
    told.store.told(Dropped(1, {"duration": 3, "cluster": 4}), START + 1)
    told.store.told(Dropped(1, {"duration": 1}), START + 2)
    told.store.told(Dropped(7, {"duration": 1}), START + 2)
    assert told.nodes(2.0).dropped.tolist() == [0, 8]


def test_a_report_of_a_node_or_endpoint_that_nobody_knows_is_passed_over():
    told = Told()
    told.report(1.0, node=9, rows=[(A, 5, 5, 0, 0)])
    told.report(1.0, node=0, rows=[(77, 5, 5, 0, 0), (-1, 5, 5, 0, 0), (A, 1, 1, 0, 0)])
    assert told.endpoints(1.0).in_flight.tolist() == [1, 0, 0]
