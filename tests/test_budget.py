"""The retry budget: the operator's while retries are answered, next to nothing while they only make things worse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain.budget import HALF_LIFE_S, Budget, Retries

OPERATORS = (20.0, 3)


class Storm:
    """A service's retries, second by second."""

    def __init__(self) -> None:
        self.budget, self.now = Budget(), 0.0

    def of(
        self, ended: float, answered: float, seconds: int = 1, operators: tuple[float, int] | None = OPERATORS
    ) -> Retries:
        for _ in range(seconds):
            self.now += 1.0
            out = self.budget.told(ended, answered, operators, self.now)
        return out


def test_while_retries_are_answered_the_budget_is_the_operators() -> None:
    assert Storm().of(50, 48, seconds=30).runtime() == {}


def test_with_few_retries_nothing_is_told_and_the_budget_is_the_operators() -> None:
    assert Storm().of(0, 0, seconds=30) == Retries(None)
    assert Storm().of(1, 0).percent is None


def test_a_storm_is_starved_within_seconds_and_fed_again_when_retries_are_answered() -> None:
    storm = Storm()
    starved = storm.of(100, 2, seconds=2)
    assert starved.runtime() == {"retry_budget.budget_percent": 1, "retry_budget.min_retry_concurrency": 1}
    assert starved.answered == pytest.approx(0.02)
    assert storm.of(2, 2, seconds=round(6 * HALF_LIFE_S)).percent is None


def test_a_starved_service_that_retries_nothing_any_more_has_its_budget_back() -> None:
    storm = Storm()
    storm.of(100, 0, seconds=5)
    assert storm.of(0, 0, seconds=round(10 * HALF_LIFE_S)).percent is None


def test_the_least_number_falls_with_the_budget_and_is_never_nothing() -> None:
    assert Storm().of(100, 60, seconds=10) == Retries(pytest.approx(0.6), pytest.approx(12, abs=1), 2)
    assert Storm().of(100, 0, seconds=10).least == 1


def test_small_changes_are_no_news() -> None:
    storm = Storm()
    half = storm.of(100, 50, seconds=10).percent
    assert storm.of(100, 45, seconds=10).percent == half
    assert storm.of(100, 20, seconds=10).percent < half


def test_a_service_that_may_retry_nothing_has_no_budget_to_learn() -> None:
    assert Storm().of(100, 0, seconds=5, operators=None).runtime() == {}


@given(st.lists(st.tuples(st.floats(0, 1e9), st.floats(0, 1)), max_size=20), st.floats(0.1, 100.0))
def test_it_is_never_more_than_the_operators_nor_less_than_nothing(log: list, percent: float) -> None:
    storm = Storm()
    for ended, share in log:
        found = storm.of(ended, share * ended, operators=(percent, 3)).percent
        assert found is None or 0 <= found <= round(percent)
