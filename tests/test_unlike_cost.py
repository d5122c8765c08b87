"""Requests of unlike cost on equal endpoints: who waits for a heavy one is not slow, and nothing is moved."""

from __future__ import annotations

import numpy as np
import pytest

from brain.settings import Mode, Settings
from features.classes import ClassTally
from features.levels import Levels
from models.decay import When
from weirflow.lab.draw import draw
from weirflow.lab.files import load
from weirflow.lab.simulate import simulate

SMALL, LARGE, METHOD = 0, 1, np.array([0])


def seen(tally: ClassTally, work: dict[int, float], count: dict[int, int]) -> None:
    """Attempts whose work, over an average request's, is this, by route."""
    for route, n in count.items():
        classes = np.repeat(tally.of(np.array([route]), METHOD), n)
        tally.told(classes, np.zeros(n, dtype=int), np.full(n, work[route]), When.once(1.0, n))
    tally.freeze(2.0)


def test_where_all_cost_the_same_every_attempt_is_news() -> None:
    tally = ClassTally(2)
    assert tally.unlike(1).tolist() == [1.0]
    seen(tally, {SMALL: 1.0, LARGE: 1.0}, {SMALL: 500, LARGE: 500})
    assert tally.unlike(2).tolist() == [1.0, 1.0]


def test_evidence_counts_for_less_by_the_mean_square_of_what_requests_cost() -> None:
    tally = ClassTally(2)
    seen(tally, {SMALL: 0.2, LARGE: 16.2}, {SMALL: 9500, LARGE: 500})
    factors = tally.factor()[tally.of(np.array([SMALL, LARGE]), np.array([0, 0]))]
    assert factors == pytest.approx([0.21, 15.9], rel=0.05), "drawn to 1 a little"
    assert tally.unlike(1)[0] == pytest.approx(0.95 * 0.21**2 + 0.05 * 15.9**2, rel=0.1)


def test_what_is_known_of_an_endpoint_is_less_sure_where_requests_are_unlike() -> None:
    def error(unlike: float) -> float:
        levels, one = Levels(1, 1, 1), np.zeros(200, dtype=np.int64)
        levels.unlike[:] = unlike
        levels.told(one, one, np.full(200, 0.1), np.full(1, 4.0), np.zeros(1, dtype=np.int64), 1.0)
        return float(
            levels.freeze(np.full(1, 4.0), np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), 2.0).error[0]
        )

    assert error(9.0) == pytest.approx(3.0 * error(1.0))


def test_equal_endpoints_keep_equal_weights_and_the_tail_is_that_of_a_full_scan() -> None:
    cost = load("cost")
    fleet, trace = draw(cost, np.random.default_rng((73,)), 4)
    settings = Settings(mode=Mode.ADAPTIVE, share_percent=99.0)
    run = lambda policy: simulate(  # noqa: E731
        cost, policy, fleet, trace, np.random.default_rng((73, 1)), nodes=4, settings=settings
    )
    ours, theirs = run("weirflow"), run("full_scan")
    late = trace.at_s >= cost.warmup_s
    assert ours.fate.ok.all(), "and nobody is refused"
    p99 = [np.quantile(r.fate.latency_s[late], 0.99) for r in (ours, theirs)]
    assert p99[0] <= 1.1 * p99[1]
