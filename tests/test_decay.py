"""Decayed sums and the rates made of them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.decay import DecayedSums, ForwardDecay, age_s, window_s

ZERO = np.array([0])


def begun(streams=1, half_life_s=3.0, now=0.0):
    sums = DecayedSums(1, streams, half_life_s)
    sums.begin(np.arange(streams), now)
    return sums


def rate(sums, now):
    return sums.at(now)[0] / sums.window_s(now)


def test_a_half_life_later_half_is_left():
    sums = begun()
    sums.add(0, ZERO, 8.0, now=10.0)
    assert [sums.at(t)[0, 0] for t in (10.0, 13.0, 16.0, 19.0)] == pytest.approx([8, 4, 2, 1])


@given(st.lists(st.tuples(st.floats(0.0, 200.0), st.floats(0.0, 100.0)), min_size=1, max_size=30))
def test_the_sum_is_what_the_definition_says(seen):
    sums = begun()
    for at, amount in sorted(seen):
        sums.add(0, ZERO, amount, now=at)
    true = sum(amount * 2 ** ((at - 200.0) / 3.0) for at, amount in seen)
    assert sums.at(200.0)[0, 0] == pytest.approx(true, rel=1e-9, abs=1e-12)


def test_reading_changes_nothing():
    read, left = begun(), begun()
    for second in range(200):
        read.at(second), read.window_s(second)
        for sums in (read, left):
            sums.add(0, ZERO, 1.0, now=float(second))
    assert np.array_equal(read.at(200.0), left.at(200.0))


@pytest.mark.parametrize("age", [0.5, 1.0, 2.0, 5.0, 30.0, 3600.0])
def test_a_steady_rate_is_told_right_at_every_age(age):
    sums = begun(now=100.0)
    for k in range(math.ceil(age * 50)):  # fifty a second, each in the middle of its fiftieth
        sums.add(0, ZERO, 1.0, now=100.0 + (k + 0.5) / 50)
    assert rate(sums, 100.0 + age)[0] == pytest.approx(50.0, rel=0.01)


def test_one_early_attempt_is_not_a_flood():
    sums = begun(now=100.0)
    sums.add(0, ZERO, 1.0, now=100.001)
    assert rate(sums, 100.001)[0] < 2.5


def test_a_stream_that_was_never_begun_has_no_rate():
    sums = DecayedSums(1, streams=2, half_life_s=3.0)
    sums.begin(ZERO, now=0.0)
    assert np.isnan(rate(sums, 10.0)).tolist() == [False, True]


def test_a_stream_that_joins_late_is_told_right_beside_an_old_one():
    sums = begun(streams=1)
    for second in range(100):
        sums.add(0, ZERO, 10.0, now=second + 0.5)
    sums.resize(2)
    sums.begin(np.array([1]), now=100.0)
    for tenth in range(20):
        sums.add(0, np.array([0, 1]), 1.0, now=100.0 + (tenth + 0.5) / 10)
    assert rate(sums, 102.0) == pytest.approx([10.0, 10.0], rel=0.02)


def test_a_stream_that_begins_again_has_no_past():
    sums = begun()
    sums.add(0, ZERO, 1000.0, now=1.0)
    sums.begin(ZERO, now=2.0)
    assert sums.at(3.0)[0, 0] == 0


def test_time_that_nobody_watched_makes_no_rate_smaller():
    sums = begun()
    for k in range(300):
        sums.add(0, ZERO, 1.0, now=(k + 0.5) / 10)
    for away_s in (0.0, 1.0, 3.0, 8.0):
        back = DecayedSums(1, 1, 3.0)
        back.restore(sums.state())
        back.resume(left=30.0, now=30.0 + away_s)
        assert rate(back, 30.0 + away_s)[0] == pytest.approx(10.0, rel=0.02)
        assert back.at(30.0 + away_s)[0, 0] == pytest.approx(sums.at(30.0)[0, 0] * 2 ** (-away_s / 3))


def test_a_clock_that_is_behind_after_a_restart_counts_as_no_time_gone_by():
    sums = begun()
    for k in range(300):
        sums.add(0, ZERO, 1.0, now=(k + 0.5) / 10)
    back = DecayedSums(1, 1, 3.0)
    back.restore(sums.state())
    back.resume(left=30.0, now=-500.0)
    assert back.at(-500.0)[0, 0] == pytest.approx(sums.at(30.0)[0, 0])
    assert rate(back, -500.0)[0] == pytest.approx(10.0, rel=0.01)


@given(st.floats(0.0, 60.0), st.floats(0.5, 100.0))
def test_an_age_and_its_window_tell_each_other(age, half_life_s):
    window = window_s(np.array([age]), half_life_s)
    assert age_s(window, half_life_s)[0] == pytest.approx(age, rel=1e-3, abs=1e-6) or age > 30 * half_life_s


def test_without_a_half_life_nothing_is_forgotten():
    sums = begun(half_life_s=math.inf)
    for day in range(100):
        sums.add(0, ZERO, 86400.0, now=86400.0 * (day + 1))
    assert rate(sums, 8640000.0)[0] == pytest.approx(1.0)


def test_weeks_of_additions_overflow_nothing():
    sums = begun(half_life_s=1.0)
    with np.errstate(all="raise", under="ignore"):
        for hour in range(24 * 14):
            sums.add(0, ZERO, 1.0, now=3600.0 * hour)
    assert sums.at(3600.0 * (24 * 14 - 1))[0, 0] == 1.0


def test_a_half_life_must_be_one():
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="half-life"):
            ForwardDecay(wrong)


def test_a_foreign_state_is_refused_and_changes_nothing():
    sums = begun()
    sums.add(0, ZERO, 1.0, now=0.0)
    for bad in ({}, begun(streams=2).state(), begun(half_life_s=5.0).state(), sums.state() | {"landmark": None}):
        with pytest.raises(ValueError, match="state"):
            sums.restore(bad)
    assert sums.at(0.0)[0, 0] == 1.0
