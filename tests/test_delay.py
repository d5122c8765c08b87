"""A delay is told from slowness, and from work that varies less than elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from models.delay import delay_of

MEAN_S = np.array([0.03, 3.0])


def took(rng: np.random.Generator, many: int, varies: float) -> tuple[np.ndarray, np.ndarray]:
    """Requests of two costs, one in twenty of the dear one, that nearly always cost the same."""
    klass = (rng.random(many) < 0.05).astype(np.int64)
    return MEAN_S[klass] * (1.0 + varies * rng.standard_normal(many)), klass


@pytest.mark.parametrize("shape", [110.0, 150.0, 400.0, 1e4])
def test_work_that_varies_less_than_elsewhere_is_not_late(shape: float) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        took_s, klass = took(rng, 60, 0.02)
        assert delay_of(took_s, klass, MEAN_S, shape) == 0.0
        assert delay_of(3.0 * took_s, klass, MEAN_S, shape) == 0.0


@pytest.mark.parametrize("shape", [110.0, 150.0, 400.0, 1e4])
def test_late_answers_of_unlike_requests_are_late_by_as_much_for_both(shape: float) -> None:
    took_s, klass = took(np.random.default_rng(2), 100, 0.02)
    assert delay_of(0.2 + took_s, klass, MEAN_S, shape) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("many", [40, 200])
def test_late_answers_of_one_class_have_no_short_ones_among_them(many: int) -> None:
    work = np.random.default_rng(3).gamma(4, 0.0075, many)
    one = np.zeros(many, np.int64)
    assert delay_of(0.2 + work, one, MEAN_S, 4.0) == pytest.approx(0.2, abs=0.02)
    assert delay_of(8.0 * work, one, MEAN_S, 4.0) == 0.0


@pytest.mark.parametrize("mean_s", [3e-4, 0.03, 3.0])
def test_a_delay_is_told_however_short_the_work_is_but_not_below_the_step_of_the_log(mean_s: float) -> None:
    work = np.random.default_rng(3).gamma(4, mean_s / 4, 200)
    one, mean = np.zeros(200, np.int64), np.array([mean_s])
    late = 5 * mean_s
    assert delay_of(late + work, one, mean, 4.0) == pytest.approx(late, rel=0.05)
    assert delay_of(late + work, one, mean, 4.0, least_s=2 * late) == 0.0
