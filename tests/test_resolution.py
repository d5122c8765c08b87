"""The step in which times are told shows in the times themselves."""

from __future__ import annotations

import numpy as np
import pytest

from models.resolution import FEWEST, step_of

AT_S = 1_700_000_000.0


def took(many: int = 2000) -> np.ndarray:
    return np.random.default_rng(1).exponential(0.02, many)


@pytest.mark.parametrize("step_s", [1.0, 0.01, 1e-3, 1e-4])
def test_a_step_is_found_in_durations_of_single_precision_and_in_starts_of_today(step_s: float) -> None:
    lasted = 50 * step_s * took()
    at_s = AT_S + np.cumsum(lasted)
    assert step_of((np.floor(lasted / step_s) * step_s).astype(np.float32)) == step_s
    assert step_of(np.floor(at_s / step_s) * step_s) == step_s


def test_times_of_microseconds_and_finer_have_none() -> None:
    assert step_of(took()) == step_of(took().astype(np.float32)) == 0.0
    assert step_of(np.round(AT_S + np.cumsum(took()), 6)) == 0.0


def test_one_time_that_is_no_multiple_refutes_a_step_wherever_it_stands() -> None:
    cut = np.floor(took() / 1e-3) * 1e-3
    for place in (0, 1500):
        one = cut.copy()
        one[place] += 0.0004
        assert step_of(one) == 1e-4


def test_works_that_are_all_the_same_and_a_handful_tell_of_no_step() -> None:
    assert step_of(np.full(2000, 0.1)) == 0.0
    assert step_of(np.zeros(2000)) == 0.0
    assert step_of(np.floor(took(FEWEST - 1) / 1e-3) * 1e-3) == 0.0


def test_answers_that_took_no_time_or_a_millisecond_were_told_in_milliseconds() -> None:
    assert step_of(np.floor(took() / 20 / 1e-3).clip(0, 1) * 1e-3) == 1e-3
