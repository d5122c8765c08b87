"""Stretches of time in which an endpoint behaved alike: found where they are, and not where chance is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models.stretches
from models.stretches import MOST_BINS, price_of, stretches, usual_price, within

NO_FAILURES = np.zeros(0)


def cuts(
    work: np.ndarray, failed: np.ndarray | None = None, shape: float = 1.0, price: float | None = None
) -> list[int]:
    bad = np.zeros(len(work)) if failed is None else failed
    return stretches((~bad.astype(bool)).astype(float), np.where(bad > 0, 0.0, work), bad, shape, price).tolist()


def exponential(seed: int, *means_and_many: tuple[float, int]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.exponential(mean, many) for mean, many in means_and_many])


@pytest.mark.parametrize("seed", range(5))
def test_a_stretch_of_slow_work_is_found_from_its_begin_to_its_end(seed: int) -> None:
    found = cuts(exponential(seed, (1.0, 300), (5.0, 60), (1.0, 300)))
    assert found[0] == 0
    assert found[1:] == pytest.approx([300, 360], abs=6)


def test_windows_are_cut_each_for_itself() -> None:
    work = exponential(1, (1.0, 200), (8.0, 100), (1.0, 300))
    found = within(np.array([0, 300]), np.ones(600), work, 1.0, usual_price(600))
    assert [f for f in found.tolist() if f in (0, 300)] == [0, 300], "a window begins where it begins"
    assert found[1] == pytest.approx(200, abs=6)
    assert len(found) == 3


def test_chance_alone_is_cut_nowhere() -> None:
    assert [s for s in range(40) if cuts(exponential(s, (1.0, 400))) != [0]] == []


def test_work_that_varies_less_shows_a_smaller_change() -> None:
    work = np.random.default_rng(1).gamma(16, 1 / 16, 400) * np.repeat([1.0, 1.5, 1.0], [150, 50, 200])
    assert cuts(work, shape=16.0) == pytest.approx([0, 150, 200], abs=2)
    assert cuts(work, shape=1.0) == [0]


def test_a_change_of_a_hundredth_is_of_no_interest_however_even_the_work() -> None:
    work = np.repeat([1.0, 1.01], 100)
    assert cuts(work, shape=1e4) == [0]


def test_errors_make_a_stretch_of_their_own() -> None:
    rng = np.random.default_rng(2)
    failed = (rng.random(600) < np.repeat([0.0, 0.3, 0.0], 200)).astype(float)
    assert cuts(exponential(3, (1.0, 600)), failed) == pytest.approx([0, 200, 400], abs=12)


def test_an_endpoint_that_does_nothing_but_fail_is_told_from_one_that_works() -> None:
    failed = np.repeat([0.0, 1.0, 0.0], 50)
    assert cuts(exponential(4, (1.0, 150)), failed) == [0, 50, 100]


def test_one_quick_attempt_is_no_stretch() -> None:
    work = exponential(5, (1.0, 200))
    work[100] = 1e-9
    assert cuts(work) == [0]


def test_a_long_stream_is_cut_in_turns_and_no_turn_leaves_a_cut_of_its_own() -> None:
    many = 3 * MOST_BINS
    assert cuts(exponential(6, (1.0, many))) == [0]
    change = 2 * MOST_BINS + 100
    assert cuts(exponential(7, (1.0, change), (4.0, many - change))) == pytest.approx([0, change], abs=6)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.booleans()), max_size=80), st.floats(0.25, 100.0))
def test_the_cuts_rise_from_the_first_bin_on(bins: list[tuple[float, bool]], shape: float) -> None:
    found = cuts(np.array([w for w, _ in bins]), np.array([float(f) for _, f in bins]), shape)
    assert found[:1] == ([0] if bins else [])
    assert found == sorted(set(found))
    assert all(0 <= c < len(bins) for c in found)


def streams(seed: int, hold: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Twenty endpoints whose speed flips between 1 and 0.4, every `hold` attempts in the mean."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(20):
        flips = np.cumsum(rng.random(500) < 1 / hold) % 2 if hold else np.zeros(500)
        out.append((np.ones(500), rng.exponential(np.where(flips, 2.5, 1.0)), np.zeros(500)))
    return out


def test_where_speeds_change_all_the_time_a_cut_is_cheaper() -> None:
    usual = usual_price(500)
    assert price_of(streams(1, 0), 1.0) == usual
    assert price_of(streams(2, 20), 1.0) < usual
    assert price_of([], 1.0) == usual_price(2)


@pytest.mark.parametrize("seed", range(9))
def test_what_is_ruled_out_without_being_looked_at_would_not_have_been_the_best(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    size, speed = (1.0, 5.0, 25.0)[seed % 3], np.ones(150)
    for begin, end in np.sort(rng.integers(0, 151, (seed, 2)), axis=1):
        speed[begin:end] *= rng.choice([0.4, 0.8, 1.3, 3.0])
    failed = rng.binomial(int(size), rng.choice([0.0, 0.1]), 150).astype(float)
    works = size - failed
    least = models.stretches.LEAST_WORK if size > 1 else 0.0  # with little work in a bin nothing is ruled out
    work = np.maximum(rng.gamma(np.maximum(2.0 * works, 1e-3), speed / 2.0), least)
    quick = models.stretches._cut(works, work, failed, 2.0, 9.0)
    monkeypatch.setattr(models.stretches, "LOOK_AGAIN", 1)
    assert quick.tolist() == models.stretches._cut.py_func(works, work, failed, 2.0, 9.0).tolist()
    assert len(quick) > 1 or size == 1.0 or seed < 2


def test_where_little_work_is_in_a_bin_nothing_is_ruled_out_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, failed, bound = np.random.default_rng(5), np.zeros(120), models.stretches.LOOK_AGAIN
    for _ in range(60):
        speed = np.repeat(rng.choice([0.2, 1.0, 3.0], 6), 20)
        works, work = np.ones(120), rng.exponential(speed)
        quick = models.stretches._cut(works, work, failed, 1.0, 3.0)
        monkeypatch.setattr(models.stretches, "LOOK_AGAIN", 1)
        assert quick.tolist() == models.stretches._cut.py_func(works, work, failed, 1.0, 3.0).tolist()
        monkeypatch.setattr(models.stretches, "LOOK_AGAIN", bound)
