"""Blame: the root of a trouble over a call graph of made-up streams."""

from __future__ import annotations

import numpy as np

from models.blame import Blame, Cause, shifts
from models.streams import Kind

FRONT, SHOP, CART = range(3)
CALLS = np.array([[FRONT, SHOP], [SHOP, CART]])
STREAMS = [
    (FRONT, Kind.SERVED), (SHOP, Kind.SERVED), (CART, Kind.SERVED), (SHOP, Kind.CALLED), (CART, Kind.CALLED),
    (FRONT, Kind.RATE), (SHOP, Kind.RATE), (CART, Kind.RATE), (FRONT, Kind.FAILS),
]  # fmt: skip
OWNER = np.array([owner for owner, _ in STREAMS])
KIND = np.array([int(kind) for _, kind in STREAMS])
USUAL = np.array([0.3, 0.1, 0.02, 0.1, 0.02, 10.0, 10.0, 10.0, 0.0])
BEGAN = 240


def mesh(**later: dict[int, float]) -> np.ndarray:
    """Four hours as usual, then four minutes in which streams are as said, as a factor or as a value."""
    rng = np.random.default_rng(3)
    values = USUAL * np.exp(rng.normal(0.0, 0.1, (BEGAN + 4, len(STREAMS))))
    for stream, factor in later.get("times", {}).items():
        values[BEGAN:, stream] *= factor
    for stream, value in later.get("are", {}).items():
        values[BEGAN:, stream] = value
    return values


def blamed(values: np.ndarray, least: float = 3.0) -> tuple[Cause, ...]:
    return Blame(OWNER, KIND, 3, CALLS).rank(shifts(values, KIND, BEGAN), least)


def test_a_fault_two_hops_down_is_blamed_on_the_callee() -> None:
    slow = mesh(times={0: 1.9, 1: 3.0, 2: 12.0, 3: 3.0, 4: 12.0})
    assert [c.service for c in blamed(slow)] == [CART, SHOP, FRONT]


def test_a_caller_that_moved_a_little_more_than_its_callee_does_not_outrank_it() -> None:
    moved = np.array([11.0, 10.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert [c.service for c in Blame(OWNER, KIND, 3, CALLS).rank(moved)] == [CART, SHOP, FRONT]
    moved[2] = 4.0
    assert Blame(OWNER, KIND, 3, CALLS).rank(moved)[0].service == SHOP


def test_a_fault_in_the_caller_is_not_blamed_on_the_callee() -> None:
    causes = blamed(mesh(times={0: 3.0}))
    assert causes[0].service == FRONT
    assert causes[0].stream == 0
    assert blamed(mesh(times={1: 6.0, 3: 6.0, 0: 4.0}))[0].service == SHOP


def test_the_network_before_a_service_is_its_own_when_only_its_callers_see_it() -> None:
    assert blamed(mesh(times={4: 10.0, 1: 2.0}))[0].service == CART


def test_traffic_that_no_longer_comes_speaks_against_who_should_have_sent_it() -> None:
    assert blamed(mesh(are={7: 0.0}))[0].service == SHOP
    assert blamed(mesh(are={5: 0.0}))[0].service == FRONT


def test_failures_of_a_caller_are_a_symptom_that_anything_odd_below_explains() -> None:
    assert blamed(mesh(are={8: 0.5}), least=0.0)[0].service == FRONT
    assert blamed(mesh(are={8: 0.5}, times={2: 2.0}), least=0.0)[0].service == CART


def test_nothing_odd_gives_no_ranking() -> None:
    assert blamed(mesh()) == ()


def test_streams_of_which_nothing_is_known_are_unknown_and_not_odd() -> None:
    values = mesh(times={2: 12.0})
    values[:, 0] = np.nan
    values[BEGAN:, 1] = np.nan
    moved = shifts(values, KIND, BEGAN)
    assert np.isnan(moved[:2]).all()
    assert blamed(values)[0].service == CART
    assert blamed(np.full_like(values, np.nan)) == ()


def test_calls_in_a_circle_are_ranked_too() -> None:
    circle = np.array([[0, 1], [1, 2], [2, 0]])
    moved = np.where(np.arange(len(STREAMS)) == 2, 9.0, 0.0)
    assert Blame(OWNER, KIND, 3, circle).rank(moved)[0].service == CART


def test_against_days_of_other_weeks_a_stream_must_have_left_its_level_too() -> None:
    wandered = mesh()
    wandered[BEGAN - 10 :, 0] *= 5.0
    wandered[BEGAN:, 2] *= 5.0
    assert shifts(wandered, KIND, BEGAN)[0] > 5.0
    moved = shifts(wandered, KIND, BEGAN, level=4)
    assert abs(moved[0]) < 3.0
    assert moved[2] > 5.0
