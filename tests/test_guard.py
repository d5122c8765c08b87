"""The guard: whatever a policy says, what leaves is whole, positive, inside its rails and one bounded step away."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brain.guard import SUM_LIMIT, Rails, dispose, mean_weight
from brain.settings import Guard

GUARD = Guard(floor_share_of_mean=0.05, step_down=0.1)
FOUR = Rails.of(np.ones(4), GUARD)


def even(n: int) -> np.ndarray:
    return np.full(n, GUARD.weight_mean, dtype=np.int64)


def quiet(n: int) -> np.ndarray:
    return np.full(n, np.nan)


def dispose_even(wanted: list[float], in_force: list[int] | None = None, **tuned: float) -> list[int]:
    guard = replace(GUARD, **tuned)  # type: ignore[arg-type]
    n = len(wanted)
    now = even(n) if in_force is None else np.array(in_force)
    return dispose(np.array(wanted), now, quiet(n), Rails.of(np.ones(n), guard), guard).weights.tolist()


def assert_kept(weights: np.ndarray, in_force: np.ndarray, rails: Rails, guard: Guard) -> None:
    """All that the guard promises, at once and after rounding; the one tolerance is a single unit of step."""
    n = len(in_force)
    mean = mean_weight(n, guard)
    assert weights.dtype == np.int64
    assert weights.shape == in_force.shape, "an endpoint is missing"
    assert (weights >= 1).all()
    assert weights.sum() == n * mean <= SUM_LIMIT
    assert (weights >= rails.low).all(), "below the floor"
    assert (weights <= rails.high).all(), "above the cap"
    assert (weights <= np.maximum(in_force + 1, guard.step_up * in_force + 1e-9)).all(), "stepped up too far"
    assert (weights >= np.minimum(in_force - 1, guard.step_down * in_force - 1e-9)).all(), "stepped down too far"


def garbage(rng: np.random.Generator, n: int) -> np.ndarray:
    wanted = np.exp(rng.normal(0.0, rng.choice([0.1, 1.0, 5.0, 150.0]), n))
    odd = rng.random(n) < rng.choice([0.0, 0.2, 1.0])
    wanted[odd] = rng.choice([np.nan, np.inf, -np.inf, -1.0, 0.0, -0.0, 1e308, 5e-324, 2.0**32], int(odd.sum()))
    return wanted


def test_a_hundred_thousand_random_proposals_all_leave_within_the_rails() -> None:
    rng = np.random.default_rng(8)
    guards = [
        GUARD,
        Guard(step_up=1.1, step_down=0.9),
        Guard(floor_share_of_mean=0.01, weight_mean=10),
        Guard(cap_share_of_mean=1.2),
    ]
    done = 0
    while done < 100_000:
        n = int(rng.integers(1, 12))
        guard = guards[done % len(guards)]
        prior = np.where(rng.random(n) < 0.5, 1.0, rng.integers(1, 200, n))
        rails = Rails.of(prior / prior.mean(), guard)
        in_force = rails.own
        for _ in range(20):  # a walk: each step starts from what the last one left
            errors = np.where(rng.random(n) < 0.5, np.nan, rng.random(n))
            strength = garbage(rng, n) if rng.random() < 0.5 else None
            weights = dispose(garbage(rng, n), in_force, errors, rails, guard, strength).weights
            assert_kept(weights, in_force, rails, guard)
            in_force = weights
            done += 1


@given(
    st.lists(st.tuples(st.floats(), st.integers(0, 10**6)), min_size=1, max_size=40),
    st.floats(0.001, 1.0),
    st.floats(1.0, 20.0),
)
@settings(max_examples=300, deadline=None)
def test_weights_in_force_that_the_guard_never_made_are_settled_into_the_rails(
    rows: list[tuple[float, int]], floor: float, cap: float
) -> None:
    wanted, in_force = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    guard = Guard(floor_share_of_mean=floor, cap_share_of_mean=cap)
    rails = Rails.of(np.ones(len(rows)), guard)
    out = dispose(wanted, in_force, quiet(len(rows)), rails, guard).weights
    assert out.sum() == 100 * len(rows)
    assert ((out >= rails.low) & (out <= rails.high)).all()


def test_a_cut_goes_to_the_floor_at_once_and_the_others_keep_their_ratios() -> None:
    assert dispose_even([0.01, 1, 1, 2], step_up=10.0) == [10, 98, 97, 195]
    assert dispose_even([0.01, 1, 1, 2], [10, 98, 97, 195]) == [5, 99, 99, 197]


def test_recovery_climbs_in_bounded_steps_and_ends_where_it_should() -> None:
    weights, seen = [5, 131, 132, 132], []
    while weights[0] < 100:
        weights = dispose_even([1, 1, 1, 1], weights)
        seen.append(weights[0])
    assert seen == [7, 10, 15, 22, 33, 49, 73, 100]
    assert weights == [100, 100, 100, 100]


def test_nan_is_no_opinion_and_gets_the_operators_weight() -> None:
    assert dispose_even([math.nan, 1, 1, 1]) == [100, 100, 100, 100]
    assert dispose_even([math.nan] * 3) == [100, 100, 100]


@pytest.mark.parametrize("odd", [0.0, -1.0, -math.inf])
def test_what_is_not_positive_gets_the_least_that_a_step_allows(odd: float) -> None:
    assert dispose_even([odd, 1, 1, 1])[0] == 10
    assert dispose_even([odd, 1, 1, 1], [10, 130, 130, 130])[0] == 5


def test_infinity_is_no_better_than_the_best_peer_and_a_huge_number_no_more_than_a_step_up() -> None:
    assert dispose_even([math.inf, 1, 1, 2]) == dispose_even([2, 1, 1, 2])
    assert dispose_even([1e308, 1, 1, 1, 1], trouble_share=1.0)[0] == 150
    assert dispose_even([math.inf] * 4) == [100] * 4


def test_a_false_promise_attracts_no_more_than_the_cap() -> None:
    weights = [100] * 8
    for _ in range(20):
        weights = dispose_even([1e9, 1, 1, 1, 1, 1, 1, 1], weights, trouble_share=1.0)
    assert weights[0] == 500


def test_a_service_so_large_that_the_sum_would_not_fit_gets_smaller_weights() -> None:
    assert mean_weight(4, GUARD) == 100
    assert mean_weight(10**8, GUARD) * 10**8 <= SUM_LIMIT


def test_the_operators_own_canary_is_neither_raised_to_the_floor_nor_cut_at_the_cap() -> None:
    prior = np.array([1.0, 99.0]) / 50
    guard = Guard(cap_share_of_mean=1.5)
    rails = Rails.of(prior, guard)
    assert rails.own.tolist() == [2, 198]
    assert dispose(prior, rails.own, quiet(2), rails, guard).weights.tolist() == [2, 198]


def test_when_most_endpoints_would_be_cut_the_trouble_is_the_services_and_nothing_moves() -> None:
    now = np.array([90, 110, 95, 105])
    out = dispose(np.array([1.0, 0.001, 0.001, 0.001]), now, quiet(4), FOUR, GUARD)
    assert out.weights.tolist() == now.tolist()
    assert out.rails == ("trouble",) * 4
    assert out.trouble.startswith("3 of 4 endpoints")
    assert out.trouble.endswith("weights held")


def test_the_trouble_rule_asks_what_they_can_bear_and_not_what_is_wanted_of_them() -> None:
    # At low load the fast one is wanted for everything, and the others are none the worse for it.
    wanted = np.array([1.0, 0.001, 0.001, 0.001])
    well = dispose(wanted, even(4), quiet(4), FOUR, GUARD, np.ones(4))
    assert not well.trouble
    assert well.weights[0] == 150
    ill = dispose(np.ones(4), even(4), quiet(4), FOUR, GUARD, wanted)
    assert ill.trouble.startswith("3 of 4 endpoints")
    assert ill.weights.tolist() == [100] * 4


def test_a_strength_that_is_no_number_is_as_strong_as_the_operator_said() -> None:
    out = dispose(np.ones(4), even(4), quiet(4), FOUR, GUARD, np.array([math.nan, math.inf, 1.0, 1.0]))
    assert not out.trouble


def test_where_traffic_is_thin_the_floor_may_be_higher_and_never_lower_than_the_rails_own() -> None:
    wanted, low = np.array([0.0, 1, 1, 1]), np.array([5, 131, 132, 132])
    assert dispose(wanted, low, quiet(4), FOUR, GUARD).goal[0] == 5
    assert dispose(wanted, low, quiet(4), FOUR, GUARD, floor=0.07).goal[0] == 7
    for lower in (0.02, 0.0, -1.0):
        assert dispose(wanted, low, quiet(4), FOUR, GUARD, floor=lower).goal[0] == 5


def test_a_floor_for_exploring_raises_no_canary_above_the_operators_own_weight() -> None:
    prior = np.array([1.0, 99.0]) / 50
    rails = Rails.of(prior, GUARD)
    assert dispose(np.array([0.0, 1.0]), rails.own, quiet(2), rails, GUARD, floor=0.5).goal.tolist() == [2, 198]


def test_who_is_below_a_floor_that_rose_is_settled_onto_it() -> None:
    low = np.array([5, 131, 132, 132])
    assert dispose(np.array([0.0, 1, 1, 1]), low, quiet(4), FOUR, GUARD, floor=0.2).weights[0] == 20


def test_when_most_endpoints_fail_most_attempts_nothing_moves() -> None:
    out = dispose(np.array([1.0, 0.3, 0.5, 0.2]), even(4), np.array([0.2, 0.7, 0.6, 0.9]), FOUR, GUARD)
    assert out.weights.tolist() == [100] * 4
    assert out.trouble == "3 of 4 endpoints fail more than 50% of their attempts: weights held"


def test_half_of_the_endpoints_may_be_cut() -> None:
    out = dispose(np.array([1.0, 0.001]), even(2), np.array([0.0, 1.0]), Rails.of(np.ones(2), GUARD), GUARD)
    assert not out.trouble
    assert out.weights.tolist() == [150, 50]


def test_each_endpoint_is_told_which_rail_held_it() -> None:
    out = dispose(np.array([0.001, 1, 1, 1]), even(4), quiet(4), FOUR, GUARD)
    assert out.rails[0] == "step_down"
    assert out.unguarded[0] == 0
    out = dispose(np.array([0.001, 1, 1, 1]), out.weights, quiet(4), FOUR, GUARD)
    assert out.rails == ("floor", "", "", "")
    out = dispose(np.array([1.0, 1, 1, np.nan]), out.weights, quiet(4), FOUR, GUARD)
    assert out.rails[0] == "step_up"
    assert out.rails[3] == "cleaned"


def test_one_endpoint_or_none_is_no_special_case() -> None:
    assert dispose_even([math.nan]) == [100]
    assert dispose_even([]) == []
