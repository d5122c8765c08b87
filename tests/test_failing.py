"""Failures: two in a hundred where hardly any are usual, three times the usual where some are."""

from __future__ import annotations

import numpy as np

from models.failing import FAILING, TIMES, Failing, limit


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


def test_what_did_not_end_says_nothing() -> None:
    stream = Stream()
    stream.of(0.0, 60)
    stream.of(50.0, 5)
    assert stream.of(0.0, 600, count=0.0)


def test_the_share_that_is_looked_for_is_never_below_what_matters() -> None:
    assert limit(np.array([0.0, 0.1])).tolist() == [FAILING, TIMES * 0.1]
