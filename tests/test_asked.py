"""What is asked of a service: counted when it starts, refusals and retries among it, and soon forgotten."""

from __future__ import annotations

import math

import numpy as np
import pytest

from brain.asked import HALF_LIFE_S, Asked, Asking

TICK_S = 0.5


def sent(asking: Asking, per_s: list[float], refused_per_s: float = 0.0, seconds: float = 20.0) -> Asked:
    """What service 0 is told to be asked after so long of so much sent a second, by service."""
    now = 0.0 if math.isnan(asking._at) else asking._at
    for _ in range(round(seconds / TICK_S)):
        now += TICK_S
        asking.told(TICK_S * np.array(per_s), np.array([refused_per_s * TICK_S, 0.0]), now)
    return asking.of(0)


def test_it_is_what_was_sent_and_what_was_refused() -> None:
    told = sent(Asking(2), [150.0, 14.0], refused_per_s=30.0)
    assert told.per_s == pytest.approx(180.0, rel=0.01)
    assert told.refused


def test_a_crowd_is_told_within_seconds() -> None:
    asking = Asking(2)
    assert sent(asking, [100.0, 0.0]).per_s == pytest.approx(100.0, rel=0.01)
    assert sent(asking, [200.0, 0.0], seconds=HALF_LIFE_S).per_s == pytest.approx(150.0, rel=0.02)


def test_the_first_seconds_do_not_read_as_calm() -> None:
    assert sent(Asking(2), [100.0, 0.0], seconds=1.5).per_s == pytest.approx(100.0, rel=0.01)


def test_its_error_is_that_of_a_poisson_number() -> None:
    rng, asking, told = np.random.default_rng(8), Asking(1), []
    for tick in range(1, 20_001):
        asking.told(np.array([float(rng.poisson(20.0))]), np.zeros(1), tick * TICK_S)
        told.append(asking.of(0))
    rates = np.array([t.per_s for t in told[100:]])
    assert rates.std() == pytest.approx(told[-1].error, rel=0.1)


def test_of_a_service_that_is_new_nothing_is_known_yet() -> None:
    asking = Asking(1)
    assert asking.of(3) == Asked(0.0, 0.0, refused=False)
    asking.told(np.array([10.0]), np.zeros(1), 1.0)
    asking.told(np.array([0.0, 60.0]), np.zeros(2), 2.0)
    assert asking.of(1).per_s > 0.0
