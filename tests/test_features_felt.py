"""What requests felt like, by service and arm, and the sums that the proof is made of."""

import numpy as np
import pytest

from dataplane.contract import Arm, Outcome
from features.dialogue import CART, SHOP, A, B, Told, figures
from features.services import FAILURE_COST_P99S


def test_what_was_felt_is_kept_by_arm():
    told = Told()
    told.attempts(1.0, A, n=300, took=0.01, arm=Arm.ADAPTIVE)
    told.attempts(1.0, B, n=100, took=0.3, arm=Arm.STATIC)
    seen = told.services(1.0)
    assert seen.p50_s[SHOP] == pytest.approx([0.3, 0.01], rel=0.02)
    assert seen.total[SHOP].tolist() == [100, 300]
    assert np.isnan(seen.p50_s[CART]).all()
    assert (seen.failed_share[SHOP] == 0).all()


def test_a_retried_request_is_felt_once_with_its_first_try_in_it():
    told = Told()
    told.attempts(1.0, A, took=1.0, outcome=Outcome.TIMEOUT)
    told.attempts(1.1, B, took=0.1, felt_s=1.1, attempt=2)
    seen = told.services(2.0)
    assert seen.total[SHOP, Arm.ADAPTIVE] == 1
    assert seen.tick_cost_s[SHOP, Arm.ADAPTIVE] == pytest.approx(1.1)
    assert seen.failed_share[SHOP, Arm.ADAPTIVE] == 0


def test_retries_are_counted_by_how_they_ended_and_a_refused_one_was_none():
    told = Told()
    told.attempts(1.0, A, n=9)
    told.attempts(1.0, A, n=3, attempt=2)
    told.attempts(1.0, A, n=2, attempt=3, outcome=Outcome.TIMEOUT)
    told.attempts(1.0, A, n=4, attempt=2, outcome=Outcome.REJECTED)
    seen = told.services(1.5)
    assert seen.tick_retries[SHOP].tolist() == [0, 5]
    assert seen.tick_retries_ok[SHOP].tolist() == [0, 3]
    assert told.services(2.0).tick_retries.sum() == 0


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.TIMEOUT, Outcome.REJECTED, Outcome.UNREACHED])
def test_a_request_that_got_no_good_answer_is_felt_as_failed(outcome):
    told = Told()
    told.attempts(1.0, A, n=3)
    told.felt(1.0, outcome)
    seen = told.services(1.0)
    assert seen.failed_share[SHOP, Arm.ADAPTIVE] == pytest.approx(0.25)
    assert seen.tick_failed[SHOP, Arm.ADAPTIVE] == 1
    assert seen.tick_count[SHOP, Arm.ADAPTIVE] == 4


def test_a_client_that_left_is_charged_its_wait_and_is_no_failure():
    told = Told()
    told.attempts(1.0, A, n=100, took=0.1)
    told.freeze(1.0)
    told.felt(1.5, Outcome.CANCELLED, took=0.05)
    seen = told.services(2.0)
    assert (seen.tick_count[SHOP, Arm.ADAPTIVE], seen.tick_failed[SHOP, Arm.ADAPTIVE]) == (1, 0)
    assert seen.tick_cost_s[SHOP, Arm.ADAPTIVE] == pytest.approx(0.05)


def test_a_good_answer_in_the_log_of_bad_ends_is_not_counted_again():
    told = Told()
    told.attempts(1.0, A)
    told.felt(1.0, Outcome.OK)
    assert told.services(1.0).total[SHOP, Arm.ADAPTIVE] == 1


def test_a_failure_in_a_millisecond_is_charged_three_times_the_tail():
    told = Told()
    told.attempts(1.0, A, n=100, took=0.1, arm=Arm.STATIC)
    told.attempts(1.0, A, n=900, took=0.1, arm=Arm.ADAPTIVE)
    assert np.isnan(told.services(1.0).failure_cost_s[SHOP])  # nothing to go by yet
    told.felt(1.5, Outcome.ERROR, took=0.001, arm=Arm.STATIC)
    told.felt(1.5, Outcome.TIMEOUT, took=15.0, arm=Arm.ADAPTIVE)
    seen = told.services(2.0)
    price = seen.failure_cost_s[SHOP]
    assert price == pytest.approx(FAILURE_COST_P99S * 0.1, rel=0.02)
    assert seen.tick_cost_s[SHOP] == pytest.approx([price, 15.0])
    assert seen.tick_cost_sq[SHOP] == pytest.approx([price**2, 225.0])


def test_before_any_tail_is_known_a_failure_is_charged_what_it_took():
    told = Told()
    told.felt(0.5, Outcome.TIMEOUT, took=2.0)
    assert told.services(1.0).tick_cost_s[SHOP, Arm.ADAPTIVE] == pytest.approx(2.0)


def test_the_sums_of_a_tick_start_again_with_each_freeze():
    told = Told()
    told.attempts(0.5, A, n=4, took=0.5)
    first, second = told.services(1.0), told.services(2.0)
    assert first.tick_count[SHOP, Arm.ADAPTIVE] == 4
    assert first.tick_cost_s[SHOP, Arm.ADAPTIVE] == pytest.approx(2.0)
    assert first.tick_cost_sq[SHOP, Arm.ADAPTIVE] == pytest.approx(1.0)
    for name in ("tick_count", "tick_failed", "tick_cost_s", "tick_cost_sq"):
        assert (getattr(second, name) == 0).all(), name
    assert second.total[SHOP, Arm.ADAPTIVE] == 4


def test_frozen_features_do_not_change_afterwards():
    told = Told()
    told.attempts(0.5, A, n=4)
    told.report(0.5, rows=[(A, 1, 5, 4, 0)])
    frozen = told.freeze(1.0)
    parts = (frozen.endpoints, frozen.services, frozen.nodes)
    kept = [{name: array.copy() for name, array in figures(part).items()} for part in parts]
    told.attempts(1.5, A, n=400, took=3.0)
    told.felt(1.5, Outcome.ERROR)
    told.report(1.5, rows=[(A, 100, 500, 400, 0)])
    told.freeze(2.0)
    for part, before in zip(parts, kept, strict=True):
        for name, array in figures(part).items():
            assert np.array_equal(array, before[name], equal_nan=True), name
