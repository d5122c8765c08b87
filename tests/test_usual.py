"""What is usual follows over minutes, stands still for what is odd, and takes up what lasts."""

from __future__ import annotations

import numpy as np
import pytest

from models.usual import FIRST_S, FOLLOWS_S, LEAST_SEEN, MOST_S, Usual


class Stream:
    """One stream, a value a second."""

    def __init__(self, **made: float) -> None:
        self.usual, self.now = Usual(1, least_spread=0.01, **made), 0.0

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


def test_what_lasts_as_long_as_this_one_was_made_for_is_its_new_usual_at_once() -> None:
    stream = Stream(first_s=10.0, most_s=60.0)
    stream.of(1.0, 100)
    assert not stream.of(9.0, 60, odd=True)
    assert stream.of(9.0, 1, odd=True)
    assert stream.usual.state()["seen"][0] == 1, "what it shows now is the first of it"
    assert stream.usual.spread[0] == 0.01, "and nothing from before is left"
    stream.of(9.0, 4)
    assert stream.mean == 9.0


def test_oddness_that_stops_and_comes_again_does_not_last() -> None:
    stream = Stream()
    stream.of(1.0, 100)
    for _ in range(4):
        assert not stream.of(9.0, int(MOST_S / 2), odd=True)
        stream.of(1.0, 1)
    assert stream.mean == 1.0


def test_how_soon_it_follows_and_how_long_its_beginning_is_are_as_it_was_made() -> None:
    stream = Stream(follows_s=10.0, first_s=20.0)
    stream.of(0.0, 100)
    stream.of(1.0, 10)
    assert stream.mean == pytest.approx(0.5)
    young = Stream(follows_s=10.0, first_s=200.0)
    young.of(0.0, 100)
    young.of(1.0, 10)
    assert young.mean == pytest.approx(10 / 110)


def test_the_spread_is_that_of_what_was_seen() -> None:
    """Against NumPy's in the first minute; later against the fading mean's own equation, in the long run."""
    rng, stream = np.random.default_rng(1), Stream()
    values = rng.normal(5.0, 0.4, int(FIRST_S))
    for value in values:
        stream.of(float(value), 1)
    assert stream.usual.spread[0] == pytest.approx(values.std())
    assert stream.mean == pytest.approx(values.mean())
    for value in rng.normal(5.0, 0.4, 20_000):
        stream.of(float(value), 1)
    effective = 2.0 * FOLLOWS_S / np.log(2.0)  # values in a fading mean
    assert stream.usual.spread[0] == pytest.approx(0.4, rel=5.0 / np.sqrt(2.0 * effective))


def test_what_is_unseen_for_hours_leaves_the_spread_as_it_was() -> None:
    stream = Stream()
    for _ in range(60):
        stream.of(1.0, 1)
        stream.of(2.0, 1)
    before = stream.usual.spread[0]
    stream.of(float("nan"), 10_000)
    assert stream.usual.spread[0] == before


def test_a_stream_is_known_since_its_first_value_and_not_since_it_was_looked_at() -> None:
    stream = Stream()
    stream.of(float("nan"), 100)
    assert stream.usual.known_s(stream.now)[0] < 0
    stream.of(1.0, 11)
    assert stream.usual.known_s(stream.now)[0] == 10.0
    assert stream.mean == 1.0


def test_a_clock_that_runs_back_teaches_nothing_backwards() -> None:
    stream = Stream()
    stream.of(1.0, 200)
    stream.now -= 50.0
    stream.of(2.0, 1)
    assert stream.mean == 1.0


def test_one_that_is_forgotten_is_as_one_that_never_was() -> None:
    usual, never = Usual(2, least_spread=0.01), Usual(1, least_spread=0.01)
    for second in range(100):
        usual.learn_many(np.array([second, second % 2], dtype=float), np.array([second > 90, False]), float(second))
    kept = {name: array[1] for name, array in usual.state().items()}
    usual.forget(np.array([0]))
    for name, array in usual.state().items():
        assert (array[0], array[1]) == (never.state()[name][0], kept[name]), name


def test_the_time_that_a_brain_was_away_teaches_nothing() -> None:
    stream = Stream()
    stream.of(1.0, 200)
    again = Stream()
    again.now = stream.now + 3600.0
    again.usual.restore(stream.usual.state(), again.now)
    again.of(2.0, 1)
    stream.of(2.0, 1)
    assert again.mean == stream.mean
    with pytest.raises(ValueError, match="mean"):
        again.usual.restore(stream.usual.state() | {"mean": np.zeros(2)}, 0.0)
    assert again.mean == stream.mean


def test_room_for_more_changes_nothing_for_those_there_are_and_there_is_never_less() -> None:
    stream = Stream()
    stream.of(1.0, 100)
    stream.usual.resize(3)
    stream.usual.resize(2)
    assert stream.usual.mean[0] == 1.0
    assert np.isnan(stream.usual.mean[1:]).all()
    assert (stream.usual.known_s(stream.now)[1:] < 0).all()
    stream.usual.learn_many(np.array([1.0, 5.0, 5.0]), np.array([False, True, False]), stream.now)
    assert stream.usual.state()["odd_since"].tolist() == [np.inf, stream.now, np.inf]
    assert stream.usual.known_s(stream.now)[2] == 0.0
