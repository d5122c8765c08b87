"""Failures: two in a hundred where hardly any are usual, three times the usual where some are."""

from __future__ import annotations

import numpy as np
import pytest

from models.failing import FAILING, FOLLOWS_S, LEAST_SHARE, PRIOR, TIMES, Failing, limit


class Stream:
    """One stream, a hundred requests a second."""

    def __init__(self) -> None:
        self.failing = Failing(1, 12.0)

    def of(self, failed: float, seconds: int, count: float = 100.0) -> bool:
        for _ in range(seconds):
            self.usual = float(self.failing.learn_many(np.array([count]), np.array([failed]), 1.0)[0])
        return bool(self.failing.odd[0])


def test_where_hardly_any_fail_two_in_a_hundred_are_odd_within_seconds_and_one_in_a_thousand_never() -> None:
    assert not Stream().of(0.1, 600)
    stream = Stream()
    stream.of(0.0, 60)
    assert stream.of(3.0, 4)


def test_where_some_always_fail_it_takes_three_times_as_many() -> None:
    stream = Stream()
    for part in range(1, 21):  # so slowly that it is no burst
        stream.of(part / 10, 120)
    assert not stream.failing.odd[0]
    assert stream.usual > 0.01
    assert not stream.of(3.0, 10)
    assert stream.of(9.0, 5)


def test_what_stands_out_is_never_usual_and_it_is_over_when_it_is() -> None:
    stream = Stream()
    stream.of(0.0, 60)
    before = stream.usual
    assert stream.of(50.0, 3600)
    assert stream.usual <= before
    assert not stream.of(0.0, 20)


def test_by_many_more_fewer_are_proof() -> None:
    """Three failures in a row are, by the logarithm of 60 each. By that of 10 it would take six."""
    stream = Stream()
    stream.of(0.0, 60)
    assert not stream.of(2.0, 1, count=2.0)
    assert stream.of(1.0, 1, count=1.0)


def test_one_in_forty_is_never_proof_of_many_more_and_is_found_all_the_same() -> None:
    stream = Stream()
    stream.of(0.0, 60)
    assert stream.of(2.5, 60)
    assert stream.failing.state()["odd_1"].tolist() == [False]


def test_how_much_fails_usually_is_not_said_by_a_handful() -> None:
    lucky, unlucky = Stream(), Stream()
    lucky.of(0.0, 1)
    lucky.of(0.0, 1)
    assert lucky.usual == pytest.approx(LEAST_SHARE)
    unlucky.of(1.0, 1, count=2.0)
    unlucky.of(0.0, 1)
    assert unlucky.usual == pytest.approx((1 + LEAST_SHARE * PRIOR) / (2 + PRIOR), rel=0.01)


def test_what_fails_hardly_ever_is_taken_for_no_less_than_two_in_a_thousand() -> None:
    stream = Stream()
    stream.of(0.0, 1000)
    assert stream.usual == LEAST_SHARE
    assert limit(np.array([stream.usual]))[0] == FAILING


def test_where_nearly_all_always_fails_no_share_is_impossible() -> None:
    """Of what is usual half is the most, and of what is looked for nine in ten."""
    stream = Stream()
    for failed in np.linspace(0.0, 100.0, 2000):
        stream.of(float(failed), 1)
    assert np.isfinite(stream.failing.state()["sum_0"]).all()
    assert np.isfinite(stream.failing.state()["sum_1"]).all()
    usual = Stream()
    usual.failing.restore(usual.failing.state() | {"sums": np.array([[1e6, 1e6]])}, 0.0)
    usual.of(100.0, 1)
    assert usual.usual == 0.5
    assert not usual.of(50.0, 60)
    assert usual.of(95.0, 5)
    assert not usual.of(50.0, 20)


def test_what_was_usual_fades_with_its_half_life_also_while_it_is_odd() -> None:
    for failed in (0.0, 50.0):
        stream = Stream()
        stream.of(0.5, 600)
        stream.of(failed, 5)
        before = stream.failing.state()["sums"][0]
        stream.of(failed, int(FOLLOWS_S), count=0.0 if failed == 0.0 else 100.0)
        assert stream.failing.state()["sums"][0] == pytest.approx(before / 2.0)


def test_one_step_of_whatever_size_brings_no_more_than_what_is_asked_for() -> None:
    stream = Stream()
    stream.of(0.0, 60)
    assert stream.of(1e6, 1, count=1e6)
    assert not stream.of(0.0, 2, count=1e6)


def test_one_that_is_forgotten_is_as_one_that_never_was() -> None:
    failing = Failing(2, 12.0)
    for failed in (0.0, 50.0, 2.0):
        failing.learn_many(np.full(2, 100.0), np.full(2, failed), 1.0)
    failing.learn_many(np.full(2, 100.0), np.full(2, 1.0), 1.0)
    kept = {name: array[1].tolist() for name, array in failing.state().items()}
    failing.forget(np.array([0]))
    for name, array in Failing(1, 12.0).state().items():
        assert failing.state()[name][0].tolist() == array[0].tolist(), name
        assert failing.state()[name][1].tolist() == kept[name], name


def test_there_is_never_less_room_and_a_state_of_another_shape_is_refused() -> None:
    failing = Failing(2, 12.0)
    failing.resize(1)
    assert failing.odd.size == 2
    with pytest.raises(ValueError, match="sums"):
        failing.restore(failing.state() | {"sums": np.zeros((3, 2))}, 0.0)


def attempts_until(stream: Stream, odd: bool, share: float = 0.0) -> int:
    """How many, ten a second of which so many fail, until it is odd or until it is not."""
    seconds = 0
    while stream.of(10.0 * share, 1, count=10.0) is not odd:
        seconds += 1
        assert seconds < 1000
    return 10 * (seconds + 1)


def test_who_failed_half_is_well_again_by_a_hundred_attempts_and_who_failed_a_fortieth_by_many_more() -> None:
    half, fortieth = Stream(), Stream()
    for stream, share in ((half, 0.5), (fortieth, 1 / 40)):
        stream.of(0.0, 60)
        stream.of(100.0 * share, 10)
    assert attempts_until(half, odd=False) == pytest.approx(12.0 / np.log(0.998 / 0.88), abs=10)
    assert attempts_until(fortieth, odd=False) == pytest.approx(12.0 / np.log(0.998 / 0.98), abs=10)


def test_what_is_left_of_it_is_still_odd_from_a_twenty_fifth_on_and_a_fiftieth_is_found_anew() -> None:
    stream = Stream()
    stream.of(0.0, 60)
    stream.of(50.0, 10)
    assert stream.of(0.4, 600, count=10.0), "four in a hundred"
    attempts_until(stream, odd=False)
    assert stream.of(0.2, 100, count=10.0), "two in a hundred"


def test_what_did_not_end_says_nothing() -> None:
    stream = Stream()
    stream.of(0.0, 60)
    stream.of(50.0, 5)
    assert stream.of(0.0, 600, count=0.0)


def test_the_share_that_is_looked_for_is_never_below_what_matters() -> None:
    assert limit(np.array([0.0, 0.1])).tolist() == [FAILING, TIMES * 0.1]
