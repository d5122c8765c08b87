"""Taking the waiting out is the queue run backwards: what was put in comes out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.unqueue import GAVE_UP, WORKED, Busy, Hangs, Visits, unqueue
from tests.queues import poisson, serve, several

ENDPOINT_TIMES = st.lists(
    # Eighths, so that arrivals, ends and begins fall on one another.
    st.tuples(st.integers(0, 40), st.integers(1, 60), st.booleans()),
    min_size=1,
    max_size=60,
)


@pytest.fixture(autouse=True, scope="module")
def _compiled() -> None:
    unqueue(serve([0.0], [1.0], 1).visits, np.zeros(1), idle(1))


def idle(*workers: int) -> Busy:
    return Busy.idle(np.array(workers))


def nothing(visits: Visits) -> np.ndarray:
    return np.zeros(len(visits.arrival_s))


@given(ENDPOINT_TIMES, st.integers(1, 9))
def test_the_work_of_every_attempt_is_found_whatever_came_and_however_many_workers(
    attempts: list[tuple[int, int, bool]], workers: int
) -> None:
    arrival = np.cumsum([gap for gap, _, _ in attempts]) / 8
    work = np.array([w for _, w, _ in attempts]) / 8
    fails = [f for _, _, f in attempts]
    served = serve(arrival, work, workers, fails=fails)
    found = unqueue(served.visits, nothing(served.visits), idle(workers))
    worked = ~np.array(fails)
    assert found.work_s[worked].tolist() == work[worked].tolist()
    assert found.begin_s[worked].tolist() == served.begin_s[worked].tolist()
    assert found.waited.tolist() == served.waited
    assert np.isnan(found.work_s[~worked]).all()


@given(ENDPOINT_TIMES, st.integers(1, 4), st.integers(1, 20))
def test_who_gave_up_in_the_queue_never_began_and_moves_nobody(
    attempts: list[tuple[int, int, bool]], workers: int, patience: int
) -> None:
    arrival = np.cumsum([gap for gap, _, _ in attempts]) / 8
    # Nobody gives up while it is worked on.
    work = np.array([min(w, 1) for _, w, _ in attempts]) / 16
    served = serve(arrival, work, workers, patience_s=patience / 8 + 1 / 16)
    gave_up_at_work = (served.visits.kind == GAVE_UP) & np.isfinite(served.begin_s)
    found = unqueue(served.visits, nothing(served.visits), idle(workers))
    if not gave_up_at_work.any():
        worked = served.visits.kind == WORKED
        assert found.work_s[worked].tolist() == work[worked].tolist()
        assert np.isnan(found.begin_s[~worked]).all()


@given(ENDPOINT_TIMES, st.integers(1, 4), st.integers(0, 40), st.integers(1, 80))
def test_a_hang_is_no_work_and_nothing_begins_in_it(
    attempts: list[tuple[int, int, bool]], workers: int, begins: int, lasts: int
) -> None:
    arrival = np.cumsum([gap for gap, _, _ in attempts]) / 8
    work = np.array([w for _, w, _ in attempts]) / 8
    hang = (begins / 8 + 1 / 16, (begins + lasts) / 8 + 1 / 16)  # off the grid: no end falls on its edge
    served = serve(arrival, work, workers, hang=hang)
    hangs = Hangs(np.array([0, 1]), np.array([hang[0]]), np.array([hang[1]]))
    found = unqueue(served.visits, nothing(served.visits), idle(workers), hangs)
    assert found.work_s == pytest.approx(work)
    assert not ((found.begin_s > hang[0]) & (found.begin_s < hang[1])).any()


@given(ENDPOINT_TIMES, st.integers(1, 4), st.integers(1, 40))
def test_a_delay_of_the_answer_holds_no_worker(attempts: list[tuple[int, int, bool]], workers: int, delay: int) -> None:
    arrival = np.cumsum([gap for gap, _, _ in attempts]) / 8
    work = np.array([w for _, w, _ in attempts]) / 8
    served = serve(arrival, work, workers, extra_s=delay / 8)
    found = unqueue(served.visits, np.full(len(work), delay / 8), idle(workers))
    assert found.work_s.tolist() == work.tolist()


@given(ENDPOINT_TIMES, st.integers(1, 4), st.integers(0, 60))
def test_a_walk_in_two_goes_is_the_walk_in_one(attempts: list[tuple[int, int, bool]], workers: int, cut: int) -> None:
    arrival = np.cumsum([gap for gap, _, _ in attempts]) / 8
    visits = serve(arrival, [w / 8 for _, w, _ in attempts], workers, patience_s=3.0).visits
    whole = unqueue(visits, nothing(visits), once := idle(workers))
    busy, parts = idle(workers), []
    for rows in (slice(0, cut), slice(cut, None)):
        some = Visits(np.array([0, len(arrival[rows])]), *(column[rows] for column in visits[1:]))
        parts.append(unqueue(some, nothing(some), busy))
    assert np.array_equal(np.concatenate([p.work_s for p in parts]), whole.work_s, equal_nan=True)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(busy, once, strict=True))


def test_too_few_workers_cannot_have_done_it_and_too_many_leave_the_waiting_in() -> None:
    rng = np.random.default_rng(1)
    work = rng.exponential(0.1, 2000)
    visits = serve(poisson(rng, 2000, 36.0), work, 4).visits
    assert (unqueue(visits, nothing(visits), idle(3)).work_s < 0).sum() > 100
    more = unqueue(visits, nothing(visits), idle(5)).work_s
    assert more.min() >= 0
    assert more.mean() > 1.05 * work.mean()


def test_work_that_was_given_up_on_holds_its_worker_for_about_as_long_as_work_takes() -> None:
    rng = np.random.default_rng(2)
    work = rng.exponential(0.1, 4000)
    served = serve(poisson(rng, 4000, 36.0), work, 4, patience_s=0.35)
    found = unqueue(served.visits, nothing(served.visits), idle(4))
    worked = served.visits.kind == WORKED
    assert 0.03 < np.mean(~worked) < 0.5  # a good many gave up, and most of those at work
    # Nobody knows when what was given up on ended; those who followed come out nearly right all the same.
    assert np.mean(found.work_s[worked]) == pytest.approx(np.mean(work[worked]), rel=0.05)
    assert np.mean(found.work_s[worked] < 0) < 0.02


def test_endpoints_do_not_see_each_other() -> None:
    one, other = serve([0.0, 1.0], [4.0, 2.0], 1), serve([0.5, 0.6], [1.0, 1.0], 2)
    both = several(one.visits, other.visits)
    assert unqueue(both, nothing(both), idle(1, 2)).work_s == pytest.approx([4.0, 2.0, 1.0, 1.0])


def test_the_time_an_endpoint_had_something_to_do_is_counted_once() -> None:
    busy = idle(2)
    visits = serve([0.0, 1.0, 10.0], [4.0, 2.0, 1.5], 2).visits
    unqueue(visits, nothing(visits), busy)
    assert busy.busy_s.tolist() == [5.5]


def test_an_answer_that_came_sooner_takes_back_what_was_reckoned_of_work_that_was_given_up_on() -> None:
    arrival, end = np.array([0.0, 10.0, 11.0]), np.array([10.0, 12.0, 14.0])
    visits = Visits(np.array([0, 3]), arrival, end, np.array([WORKED, GAVE_UP, WORKED], np.int8))
    # Work usually takes ten, so the second would hold the worker till 22; but the third was answered at 14.
    assert unqueue(visits, np.zeros(3), idle(1)).work_s[2] == 2.0


def test_the_usual_work_is_not_taken_from_the_short_ones_that_were_answered_in_time() -> None:
    """Everyone leaves after a second; of works of two seconds in the mean the answered ones take half of one."""
    rng, many = np.random.default_rng(3), 4000
    arrival = 100.0 * np.arange(many)
    work = rng.exponential(2.0, many)
    left = work > 1.0
    kind = np.where(left, GAVE_UP, WORKED).astype(np.int8)
    visits = Visits(np.array([0, many]), arrival, arrival + np.minimum(work, 1.0), kind)
    busy = idle(1)
    usual = []
    for i in range(many):
        one = Visits(np.array([0, 1]), *(column[i : i + 1] for column in visits[1:]))
        unqueue(one, np.zeros(1), busy)
        usual.append(float(busy.usual_s[0]))
    assert np.mean(usual[500:]) == pytest.approx(2.0, rel=0.15)
