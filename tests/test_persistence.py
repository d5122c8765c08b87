"""What part of a difference is there still when a weight can act on it, learned from how beliefs came true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brain.persistence import ACTS_DOWN_TO, ACTS_FROM, FARTHEST, PRIOR, Persistence

HALF_LIFE_S = 3.0


class Seconds:
    """A service lived through a second at a time: beliefs, and decayed latencies as the features would tell them."""

    def __init__(self, n: int = 2, rate: float = 50.0) -> None:
        self.of, self.now, self.n, self.rate = Persistence(), 0.0, n, rate
        self.count, self.sum_s = np.zeros(n), np.zeros(n)

    def pass_(self, belief: list[float], latency_s: list[float]) -> None:
        keep = 0.5 ** (1.0 / HALF_LIFE_S)
        self.now += 1.0
        self.count = self.count * keep + self.rate
        self.sum_s = self.sum_s * keep + self.rate * np.array(latency_s)
        self.of.told(np.array(belief), self.sum_s / self.count, self.count, HALF_LIFE_S, self.now)


def half(times: float) -> list[float]:
    """The belief that the second of two endpoints is so many times as slow."""
    return [np.log(times) / 2, -np.log(times) / 2]


def test_a_service_begins_by_believing_that_differences_last() -> None:
    assert Persistence().slope == 1.0
    assert Persistence().trust == 1.0


@pytest.mark.parametrize("times", [1.3, 4.0, 9.0])
def test_a_difference_that_lasts_is_acted_on_whole(times: float) -> None:
    it = Seconds()
    for _ in range(60):
        it.pass_(half(times), [0.1, 0.1 * times])
    assert it.of.slope == pytest.approx(1.0, abs=0.02)
    assert it.of.trust == it.of.slope


def test_differences_that_have_turned_by_the_time_a_weight_acts_are_not_acted_on() -> None:
    it = Seconds()
    for second in range(80):
        slow = second // 2 % 2
        it.pass_(half(2.5 if slow else 0.4), [0.1, 0.25] if slow else [0.25, 0.1])
    assert it.of.slope < ACTS_FROM
    assert it.of.trust == 0.0


def test_where_latencies_are_evened_out_the_work_tells_what_lasts() -> None:
    lasts, turns, idle = Persistence(), Persistence(), Persistence()
    for second in range(1, 81):
        slow = second // 2 % 2
        for of, times in ((lasts, 2.5), (turns, 2.5 if slow else 0.4)):
            logs = 20.0 * np.log(np.array([0.1, 0.1 * times]))
            of.told_work(np.array(half(times)), np.full(2, 20.0), logs, float(second))
        idle.told_work(np.array(half(2.5)), np.zeros(2), np.zeros(2), float(second))
    assert lasts.slope == pytest.approx(1.0, abs=0.02)
    assert lasts.acts
    assert not turns.acts
    assert idle.slope == 1.0, "nothing ended, so nothing is judged"


def test_a_belief_that_never_shows_in_latency_is_chance() -> None:
    it = Seconds()
    for _ in range(80):
        it.pass_(half(2.0), [0.1, 0.1])
    assert it.of.trust == 0.0


def test_most_of_a_difference_lasts() -> None:
    it = Seconds()
    for _ in range(200):
        it.pass_(half(4.0), [0.1, 0.1 * 4.0**0.85])
    assert it.of.slope == pytest.approx(0.85, abs=0.04)
    assert it.of.trust == it.of.slope


def test_a_service_whose_neighbours_left_learns_that_differences_last_again() -> None:
    it = Seconds()
    for second in range(80):
        slow = second // 2 % 2
        it.pass_(half(2.5 if slow else 0.4), [0.1, 0.25] if slow else [0.25, 0.1])
    for _ in range(100):  # five half-lives
        it.pass_(half(2.5), [0.1, 0.25])
    assert it.of.trust > 0.85


def test_what_all_have_in_common_says_nothing() -> None:
    it = Seconds()
    for second in range(80):
        surge = 1.0 + second % 5
        it.pass_(half(3.0), [0.1 * surge, 0.3 * surge])
    assert it.of.slope == pytest.approx(1.0, abs=0.02)


def test_without_beliefs_or_without_traffic_what_was_known_fades_to_the_prior() -> None:
    it = Seconds()
    for _ in range(40):
        it.pass_(half(2.5), [0.1, 0.1])
    assert it.of.trust == 0.0
    it.rate = 0.0
    for _ in range(300):
        it.pass_([0.0, 0.0], [0.1, 0.1])
    assert it.of.slope == pytest.approx(1.0, abs=0.05)
    assert it.of.weighed == pytest.approx(PRIOR, rel=0.05)


def test_other_members_clear_what_waits_and_keep_what_was_learned() -> None:
    it = Seconds()
    for _ in range(40):
        it.pass_(half(2.5), [0.1, 0.1])
    learned = it.of.slope
    it.of.moved()
    it.n, it.count, it.sum_s = 3, np.zeros(3), np.zeros(3)
    it.pass_([0.5, 0.0, -0.5], [0.1, 0.2, 0.3])
    assert it.of.slope == learned
    for _ in range(5):
        it.pass_([0.5, 0.0, -0.5], [0.1, 0.2, 0.3])
    assert it.of.slope > learned


def test_members_that_changed_in_number_without_a_word_are_no_outcome() -> None:
    it = Seconds()
    for _ in range(5):
        it.pass_(half(2.5), [0.1, 0.25])
    before = it.of.agreed
    it.of.told(np.zeros(3), np.full(3, 0.1), np.full(3, 50.0), HALF_LIFE_S, it.now + 1)
    assert it.of.agreed == before


def test_one_that_collapsed_does_not_outvote_the_others_for_minutes() -> None:
    it = Seconds(n=4)
    for _ in range(5):
        it.pass_([9.0, 0.0, 0.0, -9.0], [0.1, 0.1, 0.1, 0.1])
    assert it.of.weighed <= PRIOR + 5 * 4 * it.rate * FARTHEST**2
    assert it.of.weighed - PRIOR <= 5 * it.rate * 2 * FARTHEST**2


ANYTHING = st.floats(-1e12, 1e12) | st.sampled_from([np.nan, np.inf, -np.inf])


@given(st.lists(st.lists(st.tuples(ANYTHING, ANYTHING, ANYTHING), min_size=3, max_size=3), min_size=1, max_size=12))
@settings(max_examples=200, deadline=None)
def test_whatever_it_is_told_the_slope_and_the_trust_stay_between_0_and_1(ticks: list) -> None:
    of = Persistence()
    for second, rows in enumerate(ticks):
        belief, latency_s, good = np.array(rows).T
        of.told(belief, latency_s, good, HALF_LIFE_S, float(second))
        assert np.isfinite(of.agreed)
        assert 0.0 <= of.slope <= 1.0
        assert of.trust == 0.0 or ACTS_DOWN_TO <= of.trust <= 1.0


def test_a_slope_between_the_two_bounds_leaves_it_as_it_was() -> None:
    between = (ACTS_DOWN_TO + ACTS_FROM) / 2

    def trusts(acts: bool) -> bool:
        of = Persistence(acts=acts, agreed=PRIOR + 1e6 * between, weighed=PRIOR + 1e6)
        of.told(np.zeros(2), np.full(2, 0.1), np.full(2, 5.0), 3.0, 1.0)
        return of.trust > 0.0

    assert trusts(True)
    assert not trusts(False)
