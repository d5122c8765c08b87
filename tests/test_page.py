"""Page's test, both ways: evidence adds up to a change, calm takes it away, and unknown is neither."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.page import Page, more_fail, other_mean


def states(*gains: float, evidence: float = 3.0, most: float = 2.0) -> list[bool]:
    page = Page(1, evidence, most)
    return [bool(page.learn_many(np.array([gain]))[0]) for gain in gains]


def test_evidence_adds_up_and_the_way_back_is_as_long() -> None:
    assert states(1, 1, 1, 1) == [False, False, True, True]
    assert states(2, 2, -1, -1, -1) == [False, True, True, True, False]


def test_calm_takes_evidence_away_but_lays_none_up() -> None:
    assert states(-9, -9, 2, 2) == [False, False, False, True]
    assert states(2, -2, 2, -2, 2, -2) == [False] * 6


def test_one_step_counts_as_no_more_than_it_may() -> None:
    assert states(1e9) == [False]
    assert states(1e9, -1e9, 1e9) == [False] * 3


def test_unknown_is_as_it_was() -> None:
    assert states(2, float("nan"), float("nan"), 1) == [False, False, False, True]
    assert states(2, 2, float("nan")) == [False, True, True]


def test_streams_know_nothing_of_each_other_and_can_be_forgotten() -> None:
    page = Page(2, 3.0, 2.0)
    for _ in range(2):
        odd = page.learn_many(np.array([2.0, -2.0]))
    assert odd.tolist() == [True, False]
    page.resize(3)
    page.forget(np.array([0]))
    assert page.learn_many(np.array([2.0, 2.0, 2.0])).tolist() == [False] * 3


def test_what_speaks_for_no_change_counts_as_no_more_either() -> None:
    assert states(2, 2, -1e9) == [False, True, True]


def test_who_is_forgotten_is_usual_and_nothing_speaks_against_it() -> None:
    page = Page(2, 3.0, 2.0)
    for gains in ([2.0, 2.0], [2.0, 0.0]):
        page.learn_many(np.array(gains))
    assert page.odd.tolist() == [True, False]
    page.forget(np.array([0, 1]))
    assert page.odd.tolist() == [False, False]
    assert page.state()["sum"].tolist() == [0.0, 0.0]
    assert page.learn_many(np.array([2.0, 2.0])).tolist() == [False, False]


def test_there_is_never_less_room_and_a_state_of_another_shape_is_refused() -> None:
    page = Page(2, 3.0, 2.0)
    page.resize(1)
    assert page.odd.size == 2
    with pytest.raises(ValueError, match="sum"):
        page.restore(Page(3, 3.0, 2.0).state(), 0.0)
    assert page.odd.size == 2


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=50))
def test_whatever_comes_a_state_is_a_state(gains: list[float]) -> None:
    assert all(isinstance(s, bool) for s in states(*gains))


def test_ratios_favour_what_was_seen() -> None:
    count = np.array([100.0, 100.0])
    fails = more_fail(count, np.array([0.0, 4.0]), np.full(2, 0.002), np.full(2, 0.02))
    assert fails[0] < 0 < fails[1]
    mean = other_mean(np.array([0.0, 0.5]), np.zeros(2), np.full(2, 0.2), 0.5)
    assert mean.tolist() == pytest.approx([-3.125, 3.125])
