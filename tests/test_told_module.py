"""What a plan tells our module beside weights: what was learned, told anew only where it differs enough to matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from brain.course import Course
from brain.module import BELIEVED, MEAN, SAME, ToldModule, told_module
from brain.settings import Cost, Mode, Pick, Settings
from brain.view import Floats, View
from brain.weights import Proposal, propose
from tests.test_weights import loaded


def want(
    view: View, bears: Sequence[float] | Floats | None = None, overdue_s: Sequence[float] | None = None
) -> Proposal:
    """A proposal as far as the module is told of it."""
    n = len(view.members)
    late = np.zeros(n) if overdue_s is None else np.array(overdue_s)
    return Proposal(
        np.ones(n), np.ones(n), np.zeros(n, np.int64), late, bears=None if bears is None else np.array(bears)
    )


def test_lanes_of_a_node_workers_of_all_and_how_long_a_queue_is_believed() -> None:
    v = replace(loaded([10.0, 20.0, 40.0], 0.9, lanes=4.0), service_s=np.array([0.4, 0.2, np.nan]))
    told = told_module(ToldModule(), v, 8.0, want(v), hears=True)
    assert (told.workers, told.believed_s) == (4.0, pytest.approx(BELIEVED * 0.3))
    assert told.lanes == pytest.approx(4.0 / 8.0 * 1.13, abs=0.01), "its part, and a little for what it cannot see"
    assert told.capacities == {}


def test_nothing_known_tells_nothing_and_takes_nothing_back() -> None:
    known = loaded([10.0, 20.0], 0.9, lanes=4.0)
    told = told_module(ToldModule(), known, 2.0, want(known, known.capacity), hears=True)
    unknown = replace(known, lanes=np.nan, service_s=np.full(2, np.nan))
    assert told_module(ToldModule(), unknown, 2.0, want(unknown), hears=True) == ToldModule()
    assert told_module(told, unknown, 2.0, want(known, known.capacity), hears=True) == told


def test_who_does_not_want_to_hear_is_told_no_time_and_no_capacities() -> None:
    v = loaded([10.0, 20.0], 0.9, lanes=4.0)
    told = told_module(ToldModule(believed_s=1.0, capacities={0: 1.0}), v, 2.0, want(v, v.capacity), hears=False)
    assert (told.believed_s, told.capacities) == (0.0, {})
    assert told.lanes > 0.0


def test_capacities_are_told_anew_when_one_of_them_is_off_by_much() -> None:
    v = loaded([10.0, 30.0], 0.9, lanes=4.0)
    first = told_module(ToldModule(), v, 2.0, want(v, [1.0, 3.0]), hears=True)
    assert first.capacities == {v.members[0]: MEAN / 2, v.members[1]: MEAN * 1.5}
    near = want(v, [1.0, 3.0 * (1 + SAME / 2)])
    assert told_module(first, v, 2.0, near, hears=True).capacities is first.capacities
    far = told_module(first, v, 2.0, want(v, [1.0, 1.0]), hears=True)
    assert far.capacities == {v.members[0]: MEAN, v.members[1]: MEAN}


def test_who_is_seconds_behind_is_told_with_what_it_has_and_forgotten_when_it_is_not() -> None:
    v = replace(loaded([10.0, 20.0], 0.9, lanes=4.0), in_flight=np.array([3.0, 90.0]))
    told = told_module(ToldModule(), v, 2.0, want(v, overdue_s=[0.0, 1.5]), hears=True)
    assert told.queues == {v.members[1]: 90.0}
    near = replace(v, in_flight=np.array([3.0, 95.0]))
    assert told_module(told, near, 2.0, want(v, overdue_s=[0.0, 1.0]), hears=True).queues == told.queues
    assert told_module(told, near, 2.0, want(v), hears=True).queues == {}
    assert told_module(told, near, 2.0, want(v, overdue_s=[0.0, 1.0]), hears=False).queues == {}


def test_where_turns_are_dealt_out_capacities_stand_beside_the_split_and_neither_is_believed_when_nothing_lasts() -> (
    None
):
    v = replace(loaded([10.0, 20.0, 40.0], 0.5, lanes=4.0), in_flight=np.full(3, 0.1))
    found = propose(v, 10.0, Cost(), nodes=50.0, by_module=True)
    assert not found.by_queue
    assert found.bears is not None
    split, bears = found.wanted / found.wanted.sum(), found.bears / found.bears.sum()
    assert bears == pytest.approx(np.array([1, 2, 4]) / 7, abs=0.05)
    assert split[2] / split[0] != pytest.approx(4.0, rel=0.1)
    passing = propose(v, 10.0, Cost(), nodes=50.0, lasting=0.0, by_module=True)
    assert passing.bears is not None
    assert np.ptp(passing.bears) == np.ptp(passing.wanted) == 0.0
    assert propose(v, 10.0, Cost(), nodes=50.0).bears is None, "Envoy hears nothing"


def test_where_queues_are_weighed_capacities_that_do_not_last_are_equal() -> None:
    v = loaded([10.0, 20.0, 40.0], 0.5, lanes=4.0)
    lasts, passes = (propose(v, 10.0, Cost(), lasting=of, by_module=True) for of in (1.0, 0.0))
    assert lasts.by_queue
    assert passes.by_queue
    assert lasts.wanted / lasts.wanted.sum() == pytest.approx(np.array([1, 2, 4]) / 7, abs=0.05)
    assert np.ptp(passes.wanted) == 0.0


@pytest.mark.parametrize("lame", [2.0, 0.1])
def test_who_is_lame_gets_no_more_by_capacities_than_by_turns_for_proxies_may_deal_them_out(lame: float) -> None:
    """One of five was 200 ms late, and got 4 % of the requests for five seconds, its capacity dealt out as turns."""
    v = loaded([lame, 40.0, 40.0, 40.0, 40.0], 0.3, lanes=4.0)
    queues, turns = (propose(v, 10.0, Cost(), nodes=n, by_module=True) for n in (1.0, 2000.0))
    assert queues.by_queue
    assert not turns.by_queue
    by_queue, by_turn = (found.wanted / found.wanted.sum() for found in (queues, turns))
    assert by_queue[0] <= by_turn[0] * 1.01
    assert by_queue[1:] == pytest.approx(np.full(4, 0.25), abs=0.01)


def test_who_is_only_weak_keeps_its_capacity() -> None:
    v = loaded([10.0, 40.0, 40.0, 40.0], 0.3, lanes=4.0)
    found = propose(v, 10.0, Cost(), nodes=1.0, by_module=True)
    assert found.by_queue
    assert found.wanted[0] / found.wanted[1] == pytest.approx(0.25, rel=0.1)


def test_equals_beside_one_that_is_cut_are_told_equal_capacities_and_do_not_differ_by_rounding() -> None:
    """By one in a hundred more, twenty idle ones would be picked before four, by every proxy, and have a queue."""
    v = loaded([10.0] * 24 + [4.0], 0.6, lanes=4.0)
    course, settings = Course(v.service, Settings(mode=Mode.ADAPTIVE, pick=Pick.MODULE)), Settings(pick=Pick.MODULE)
    picks, workers = np.array([1000]), np.array([1])
    for now in range(100, 130):
        course.look(10_000 * now, 0.0, float(now), settings)
        course.stand(frozen=False, now=float(now), settings=settings)
        course.steer(replace(v, in_force=course.in_force), picks * now, workers, float(now), settings)
    assert course.in_force[-1] < 60
    assert len(set(course.in_force[:-1].tolist())) == 1


def test_whether_differences_last_is_asked_of_latencies_only_where_the_module_does_not_even_them_out() -> None:
    """At a hundred proxies, where turns are dealt out, p99 with antagonists was 9.6 s by work and 6.8 s by latency."""
    settings = Settings(mode=Mode.ADAPTIVE, pick=Pick.MODULE)
    v = replace(loaded([10.0, 20.0], 0.9, lanes=4.0), good=np.full(2, 50.0), in_flight=np.full(2, 4.0))
    for nodes, by_latency in ((1, False), (500, True)):
        course = Course(v.service, settings)
        course.steer(v, np.full(nodes, 1000), np.ones(nodes, np.int64), 1.0, settings)
        assert (course.lasting._samples is not None) is by_latency
