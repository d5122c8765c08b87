"""What is usual follows over minutes, stands still for what is odd, and takes up what lasts."""

from __future__ import annotations

import numpy as np
import pytest

from models.usual import FIRST_S, FOLLOWS_S, LEAST_SEEN, MOST_S, Usual


class Stream:
    """One stream, a value a second."""

    def __init__(self) -> None:
        self.usual, self.now = Usual(1, least_spread=0.01), 0.0

    def of(self, value: float, seconds: int, *, odd: bool = False) -> bool:
        lasting = False
        for _ in range(seconds):
            self.now += 1.0
            lasting = bool(self.usual.learn_many(np.array([value]), np.array([odd]), self.now)[0]) or lasting
        return lasting

    @property
    def mean(self) -> float:
        return float(self.usual.mean[0])


def test_nothing_is_usual_before_enough_was_seen() -> None:
    stream = Stream()
    stream.of(3.0, int(LEAST_SEEN) - 1)
    assert np.isnan(stream.mean)
    stream.of(3.0, 1)
    assert stream.mean == 3.0


def test_in_its_first_minute_it_is_the_plain_mean() -> None:
    stream = Stream()
    stream.of(0.0, int(FIRST_S) // 2)
    stream.of(1.0, int(FIRST_S) // 2)
    assert stream.mean == pytest.approx(0.5)


def test_later_it_follows_with_its_half_life_and_the_spread_with_it() -> None:
    stream = Stream()
    stream.of(0.0, 600)
    assert stream.usual.spread[0] == 0.01, "no less than it may be"
    stream.of(1.0, int(FOLLOWS_S))
    assert stream.mean == pytest.approx(0.5, abs=0.01)
    assert stream.usual.spread[0] > 0.3


def test_what_is_odd_or_unseen_teaches_nothing() -> None:
    stream = Stream()
    stream.of(1.0, 100)
    assert not stream.of(9.0, 600, odd=True)
    assert stream.mean == 1.0
    stream.of(float("nan"), 600)
    assert stream.mean == 1.0


def test_what_lasts_half_an_hour_is_the_new_usual() -> None:
    stream = Stream()
    stream.of(1.0, 100)
    assert stream.of(9.0, int(MOST_S) + 1, odd=True)
    stream.of(9.0, int(LEAST_SEEN))
    assert stream.mean == 9.0


def test_room_for_more_changes_nothing_for_those_there_are() -> None:
    stream = Stream()
    stream.of(1.0, 100)
    stream.usual.resize(3)
    assert stream.usual.mean[0] == 1.0
    assert np.isnan(stream.usual.mean[1:]).all()
