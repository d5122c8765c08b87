"""Tiers: endpoints alike share one, so that inside it queues decide and between them weights do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain.tiers import ALIKE, BUSY, UNSURE_ALIKE, alike, evened, joined, middles, telling, without_one

FINITE = st.floats(-20, 20)


def tiers_of(capacity: list[float], error: float | list[float] = 0.0) -> list[int]:
    c = np.array(capacity, dtype=float)
    return alike(np.log(c), np.broadcast_to(error, c.shape).astype(float)).tolist()


def joined_of(tiers: list[int], capacity: list[float], counts: list[bool] | None = None) -> list[int]:
    c = np.log(np.array(capacity, dtype=float))
    return joined(np.array(tiers), c, np.array(counts or [True] * len(tiers))).tolist()


def test_equals_are_one_tier() -> None:
    assert tiers_of([100] * 5) == [0] * 5


def test_one_two_four_with_small_errors_are_three_tiers_the_strongest_first() -> None:
    assert tiers_of([100, 400, 200, 110, 380, 210], 0.02) == [2, 0, 1, 2, 0, 1]


def test_what_the_intervals_leave_open_is_one_tier() -> None:
    rng = np.random.default_rng(5)
    for error in (0.02, 0.05, 0.1):
        noisy = 100 * np.exp(rng.normal(0, error, 12))
        assert tiers_of(noisy.tolist(), error) == [0] * 12


def test_however_wide_their_intervals_two_to_one_is_two_tiers() -> None:
    assert tiers_of([200, 100], 10.0) == [0, 1]
    assert np.log(2.0) > UNSURE_ALIKE


def test_a_ladder_of_small_steps_is_not_climbed_into_one_tier() -> None:
    capacity = [100 * 0.9**i for i in range(12)]
    tiers = tiers_of(capacity)
    assert max(tiers) >= 3
    for tier in set(tiers):
        own = [c for c, t in zip(capacity, tiers, strict=True) if t == tier]
        assert np.log(max(own) / min(own)) <= ALIKE


@given(st.lists(st.tuples(FINITE, st.floats(0, 5)), max_size=20))
def test_tiers_follow_the_order_of_strength_and_leave_no_gap(rows: list[tuple[float, float]]) -> None:
    log_c, error = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    tiers = alike(log_c, error)
    assert (np.diff(tiers[np.argsort(-log_c, kind="stable")]) >= 0).all()
    assert sorted(set(tiers.tolist())) == list(range(len(set(tiers.tolist()))))


def test_a_lone_one_joins_its_nearest_neighbours() -> None:
    assert joined_of([0, 0, 1, 2, 2], [400, 400, 250, 100, 100]) == [0, 0, 0, 1, 1]


def test_a_lone_one_far_from_everybody_stays_alone() -> None:
    assert joined_of([0, 0, 1], [400, 400, 100]) == [0, 0, 1]


def test_a_lone_one_that_is_held_at_the_floor_joins_nobody_and_nobody_joins_it() -> None:
    assert joined_of([0, 0, 1], [200, 200, 100], [True, True, False]) == [0, 0, 1]
    assert joined_of([0, 1], [200, 100], [True, False]) == [0, 1]


def test_two_lone_ones_join_each_other() -> None:
    assert joined_of([0, 1], [200, 100]) == [0, 0]


@given(st.lists(st.tuples(FINITE, st.booleans()), min_size=1, max_size=15))
def test_joining_keeps_who_was_together_together_and_numbers_from_0(rows: list[tuple[float, bool]]) -> None:
    log_c, counts = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    before = alike(log_c, np.zeros(len(rows)))
    after = joined(before, log_c, counts)
    assert sorted(set(after.tolist())) == list(range(len(set(after.tolist()))))
    for tier in set(before.tolist()):
        assert len(set(after[before == tier].tolist())) == 1


def test_an_endpoint_is_split_for_as_its_tiers_mean() -> None:
    assert middles(np.array([1.0, 3.0, 7.0]), np.array([0, 0, 1])).tolist() == [2.0, 2.0, 7.0]


def test_weights_of_a_tier_that_differ_by_rounding_are_made_equal_and_others_are_not() -> None:
    assert evened(np.array([133, 134, 133]), np.zeros(3, int)).tolist() == [133, 133, 133]
    assert evened(np.array([133, 134, 50]), np.array([0, 0, 1])).tolist() == [134, 134, 50]
    assert evened(np.array([100, 110]), np.zeros(2, int)).tolist() == [100, 110]
    assert evened(np.array([100, 101]), np.array([0, 1])).tolist() == [100, 101]


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 3)), min_size=1, max_size=20))
def test_evening_keeps_the_sum_to_half_a_unit_an_endpoint_and_no_weight_at_nothing(rows: list[tuple[int, int]]) -> None:
    weights = np.array([r[0] for r in rows])
    tiers = np.unique([r[1] for r in rows], return_inverse=True)[1].reshape(-1)
    after = evened(weights, tiers)
    assert abs(int(after.sum() - weights.sum())) <= len(rows) / 2
    assert (after >= 1).all()
    assert (np.abs(after - weights) <= np.maximum(2, 0.05 * np.maximum(weights, after))).all()


@pytest.mark.parametrize(("nodes", "sees"), [(1, True), (4, True), (100, False)])
def test_nodes_with_hardly_a_request_open_at_an_endpoint_do_not_see_queues(nodes: int, sees: bool) -> None:
    assert telling(open_requests=100.0, endpoints=20, nodes=nodes) is sees


def safe_of(tiers: list[int], capacity: list[float]) -> list[float]:
    return without_one(np.array(tiers, dtype=np.int64), np.log(np.array(capacity, dtype=float))).tolist()


def test_a_tier_of_many_may_be_busier_than_one_of_two_and_who_is_alone_has_nobody_to_take_over() -> None:
    safe = safe_of([0, 1, 1, 2, 2, 2, 2], [400, 200, 200, 100, 100, 100, 100])
    assert safe == pytest.approx([0, *[BUSY / 2] * 2, *[BUSY * 3 / 4] * 4])


def test_of_a_tier_of_unlike_ones_it_is_the_strongest_that_must_be_done_without() -> None:
    assert safe_of([0, 0, 0], [200, 100, 100]) == pytest.approx([BUSY / 2] * 3)


@given(st.lists(st.tuples(FINITE, st.integers(0, 3)), min_size=1, max_size=15))
def test_planned_no_busier_than_safe_any_tier_bears_its_load_without_any_one_of_it(
    rows: list[tuple[float, int]],
) -> None:
    log_c = np.array([r[0] for r in rows])
    tiers = np.unique([r[1] for r in rows], return_inverse=True)[1].reshape(-1)
    safe, capacity = without_one(tiers, log_c), np.exp(log_c)
    assert ((safe >= 0) & (safe < 1)).all()
    for lost in range(len(rows)):
        mine = tiers == tiers[lost]
        left = capacity[mine].sum() - capacity[lost]
        assert (safe * capacity)[mine].sum() <= BUSY * left + 1e-6 * capacity[mine].sum()


def test_of_nobody_nothing_is_asked() -> None:
    assert safe_of([], []) == []
