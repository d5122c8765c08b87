"""What was not seen to end counts for as long as it was seen."""

from __future__ import annotations

import numpy as np
import pytest

from models.lifetimes import Lifetimes


def seen(times: np.ndarray, until: np.ndarray) -> Lifetimes:
    return Lifetimes.of(np.minimum(times, until), times <= until)


def even(many: int) -> np.ndarray:
    """As many numbers in [0, 1), evenly: no luck in what is drawn by them."""
    return (np.arange(many) + 0.5) / many


@pytest.mark.parametrize("shape", [0.25, 1.0, 4.0])
def test_the_short_ones_that_ended_in_time_are_not_taken_for_all(shape: float) -> None:
    rng, many = np.random.default_rng(1), 4000
    times = rng.gamma(shape, 1 / shape, many)
    found = seen(times, rng.exponential(1.0, many))
    drawn = found.drawn(even(many), np.zeros(many))
    # Greenwood's variance of the product limit is below that of as many as were still seen at the end of the range.
    spread = 5 * times.std() / np.sqrt(many * 0.2)
    assert drawn.mean() == pytest.approx(times.mean(), abs=spread)
    assert np.quantile(drawn, 0.5) == pytest.approx(np.quantile(times, 0.5), abs=spread)


def test_a_tail_that_nobody_saw_is_exponential() -> None:
    rng, many = np.random.default_rng(2), 8000
    times = rng.exponential(1.0, many)
    drawn = seen(times, np.full(many, 0.5)).drawn(even(many), np.zeros(many))
    ended = (times <= 0.5).sum()
    assert drawn.mean() == pytest.approx(1.0, abs=5 / np.sqrt(ended))
    assert np.mean(drawn > 2.0) == pytest.approx(np.exp(-2.0), abs=5 * 2.0 * np.exp(-2.0) / np.sqrt(ended))


def test_who_has_lasted_so_long_lasts_longer() -> None:
    found = Lifetimes.of(np.array([1.0, 2.0, 3.0, 4.0]), np.ones(4, bool))
    assert found.drawn(even(4), np.zeros(4)).tolist() == [1.0, 2.0, 3.0, 4.0]
    assert found.drawn(even(2), np.full(2, 2.5)).tolist() == [3.0, 4.0]
    assert found.drawn(even(2), np.full(2, 9.0)).tolist() == [9.0, 9.0]
    assert found.drawn(np.array([0.0, 0.999]), np.full(2, 3.0)).tolist() == [3.0, 4.0]


def test_of_what_never_ended_nothing_is_said() -> None:
    with pytest.raises(ValueError, match="never seen to end"):
        Lifetimes.of(np.array([1.0]), np.array([False]))
