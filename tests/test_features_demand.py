"""Demand is what was asked: retries left out, refusals and open requests in, nothing made of what is unseen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.contract import Outcome, Requests
from features.columns import NodeFeatures
from features.demand import Arrivals

ALL = np.ones(2, dtype=np.bool_)


class Proxies:
    """Two nodes that report when told to, and what they carried of two services."""

    def __init__(self) -> None:
        self.arrivals = Arrivals(2)
        self.issued = np.zeros((2, 2), dtype=np.int64)
        self.reported_at = np.zeros(2)
        self.now = 0.0

    def step(
        self,
        *sent: tuple[int, int],
        seconds: float = 1.0,
        silent: tuple[int, ...] = (),
        stale: tuple[int, ...] = (),
        expected: np.ndarray[Any, Any] = ALL,
    ) -> list[float]:
        """So much time passes, in which each node sent that many to each service; what is said of it."""
        self.now += seconds
        for node, counts in enumerate(sent):
            if node not in silent:
                self.issued[node] += counts
                self.reported_at[node] = self.now
        nothing, none = np.zeros(2), np.zeros(2, dtype=np.int64)
        fresh = np.array([node not in stale for node in range(2)])
        told = NodeFeatures(
            self.now - self.reported_at, nothing, nothing, nothing, fresh, none, self.issued.copy(), none, none, nothing
        )
        return [float(x) for x in self.arrivals.freeze(told, expected, self.now)]

    def log(self, *rows: tuple[int, Outcome, int]) -> None:
        """Attempts of the first node: service, outcome, and which try it was."""
        columns = {name: np.zeros(len(rows)) for name in Requests.dtypes()}
        service, outcome, attempt = zip(*rows, strict=True)
        self.arrivals.told(Requests.of(**columns | {"service": service, "outcome": outcome, "attempt": attempt}))


@pytest.fixture
def proxies() -> Proxies:
    it = Proxies()
    it.step((0, 0), (0, 0))
    it.step((10, 0), (30, 6))
    return it


def test_at_first_nobody_knows_in_how_much_time_it_was_sent() -> None:
    it = Proxies()
    assert np.isnan(it.step((5, 5), (5, 5))).all()
    assert it.step((5, 5), (5, 5)) == [10.0, 10.0]


def test_a_node_that_comes_into_sight_makes_what_it_carries_unknown_until_it_was_there_for_a_while() -> None:
    it = Proxies()
    for _ in range(3):
        it.step((10, 4), (0, 0), silent=(1,), stale=(1,))
    asked = it.step((10, 4), (6, 0))
    assert np.isnan(asked[0])
    assert asked[1] == 4.0
    assert it.step((10, 4), (6, 0)) == [16.0, 4.0]


def test_what_was_sent_counts_at_once_though_nothing_has_ended(proxies: Proxies) -> None:
    assert proxies.step((7, 0), (5, 0)) == [12.0, 0.0]


def test_a_quiet_second_is_nought_and_not_unknown(proxies: Proxies) -> None:
    assert proxies.step((0, 0), (0, 0)) == [0.0, 0.0]


def test_retries_are_no_demand(proxies: Proxies) -> None:
    proxies.log(*[(0, Outcome.ERROR, 1)] * 10, *[(0, Outcome.OK, 2)] * 10)
    assert proxies.step((10, 0), (10, 0)) == [10.0, 0.0]


def test_who_was_refused_or_could_reach_nobody_asked_all_the_same(proxies: Proxies) -> None:
    proxies.log(
        (0, Outcome.REJECTED, 1), (0, Outcome.UNREACHED, 1), (0, Outcome.UNREACHED, 2), (1, Outcome.REJECTED, 1)
    )
    assert proxies.step((10, 0), (10, 0)) == [22.0, 1.0]


def test_who_left_was_sent_to_an_endpoint_and_is_not_counted_twice(proxies: Proxies) -> None:
    proxies.log(*[(0, Outcome.CANCELLED, 1)] * 3)
    assert proxies.step((3, 0), (0, 0)) == [3.0, 0.0]


def test_a_node_out_of_sight_makes_its_services_unknown_and_the_others_not(proxies: Proxies) -> None:
    asked = proxies.step((10, 0), (0, 0), silent=(1,), stale=(1,))
    assert np.isnan(asked).all()
    it = Proxies()
    it.step((0, 0), (0, 0))
    it.step((0, 8), (9, 0))
    asked = it.step((0, 8), (0, 0), silent=(1,), stale=(1,))
    assert np.isnan(asked[0])
    assert asked[1] == 8.0


def test_a_little_out_of_sight_is_made_up_for_by_what_is_seen() -> None:
    it = Proxies()
    it.step((0, 0), (0, 0))
    for _ in range(30):
        it.step((95, 0), (5, 0))
    assert it.step((95, 0), (0, 0), silent=(1,), stale=(1,))[0] == pytest.approx(100.0, rel=0.01)


def test_a_node_that_left_has_taken_nothing_with_it(proxies: Proxies) -> None:
    asked = proxies.step((40, 0), (0, 0), silent=(1,), stale=(1,), expected=np.array([True, False]))
    assert asked == [40.0, 0.0]


def test_a_node_that_hangs_is_forgotten_over_minutes() -> None:
    it = Proxies()
    it.step((0, 0), (0, 0))
    for _ in range(5):
        it.step((50, 0), (50, 0))
    unknown = [np.isnan(it.step((50, 0), (0, 0), silent=(1,), stale=(1,))[0]) for _ in range(600)]
    assert unknown[0]
    assert not unknown[-1]


def test_a_late_report_is_a_gap_and_the_next_one_covers_it(proxies: Proxies) -> None:
    assert np.isnan(proxies.step((0, 0), (0, 0), silent=(0, 1))[0])
    assert proxies.step((20, 0), (60, 0)) == [40.0, 0.0]  # in two seconds


def test_counters_that_start_again_are_no_demand(proxies: Proxies) -> None:
    proxies.issued[:] = 0
    assert np.isnan(proxies.step((3, 0), (2, 0))).all()
    assert proxies.step((3, 0), (2, 0)) == [5.0, 0.0]


def test_a_service_and_a_node_more_find_room(proxies: Proxies) -> None:
    proxies.arrivals.resize(3, 3)
    proxies.issued = np.pad(proxies.issued, ((0, 0), (0, 1)))
    proxies.arrivals.told(Requests.empty())
    assert proxies.arrivals._carried.shape == (3, 3)


def test_rows_of_no_known_service_are_passed_over(proxies: Proxies) -> None:
    proxies.log((-1, Outcome.REJECTED, 1), (99, Outcome.REJECTED, 1))
    assert proxies.step((1, 1), (1, 1)) == [2.0, 2.0]


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.tuples(*[st.tuples(st.integers(0, 1000), st.integers(0, 1000))] * 2),
            st.floats(0.1, 20),
            st.sets(st.integers(0, 1)),
            st.sets(st.integers(0, 1)),
            st.lists(st.tuples(st.integers(-1, 2), st.sampled_from(Outcome), st.integers(0, 3)), max_size=5),
        ),
        max_size=20,
    )
)
def test_whatever_is_told_demand_is_unknown_or_a_rate(steps: list[Any]) -> None:
    it = Proxies()
    for sent, seconds, silent, stale, rows in steps:
        if rows:
            it.log(*rows)
        asked = np.array(it.step(*sent, seconds=seconds, silent=tuple(silent), stale=tuple(stale)))
        assert (np.isnan(asked) | ((asked >= 0) & (asked < np.inf))).all()
