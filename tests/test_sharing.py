"""Taking processor sharing out, and telling it from a queue."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.sharing import Shared
from models.unqueue import Hangs, Visits
from models.workers import Evidence
from tests.queues import gamma, poisson, serve


def shared(arrival: np.ndarray, work: np.ndarray, workers: int) -> np.ndarray:
    """When each ends, step by step: whoever is there gets the same."""
    left, ends = dict[int, float](), np.zeros(len(work))
    now, i = 0.0, 0
    while i < len(arrival) or left:
        rate = min(1.0, workers / len(left)) if left else 0.0
        first = min(left, key=left.__getitem__) if left else -1
        done = now + left[first] / rate if left else np.inf
        comes = arrival[i] if i < len(arrival) else np.inf
        until = min(done, comes)
        for k in left:
            left[k] -= (until - now) * rate
        now = until
        if done <= comes:
            ends[first] = now
            del left[first]
        else:
            left[i] = float(work[i])
            i += 1
    return ends


def visits(arrival: np.ndarray, end: np.ndarray) -> Visits:
    return Visits(np.array([0, len(arrival)]), arrival, end, np.zeros(len(arrival), np.int8))


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.01, 5.0)), min_size=1, max_size=40), st.integers(1, 6))
def test_the_work_of_every_request_is_found(attempts: list[tuple[float, float]], workers: int) -> None:
    arrival, work = np.cumsum([gap for gap, _ in attempts]), np.array([w for _, w in attempts])
    end = shared(arrival, work, workers)
    found, _ = Shared(np.array([workers])).go(visits(arrival, end), np.zeros(len(work)))
    assert found.work_s == pytest.approx(work, abs=1e-6)


def test_a_walk_in_two_goes_is_the_walk_in_one_but_for_who_was_there_at_the_cut() -> None:
    rng = np.random.default_rng(1)
    arrival, work = poisson(rng, 400, 30.0), gamma(rng, 400, 0.1, 1.0)
    end = shared(arrival, work, 4)
    walk = Shared(np.array([4]))
    first, _ = walk.go(visits(arrival[:200], end[:200]), np.zeros(200))
    second, _ = walk.go(visits(arrival[200:], end[200:]), np.zeros(200))
    found = np.concatenate([first.work_s, second.work_s])
    assert found[end < arrival[199]] == pytest.approx(work[end < arrival[199]])
    assert found[200:] == pytest.approx(work[200:])


def test_a_hang_is_no_work() -> None:
    arrival, end = np.array([0.0, 1.0]), np.array([6.0, 6.0])  # from 2 to 5 nothing was done
    hangs = Hangs(np.array([0, 1]), np.array([2.0]), np.array([5.0]))
    found, _ = Shared(np.array([2])).go(visits(arrival, end), np.zeros(2), hangs)
    assert found.work_s == pytest.approx([3.0, 2.0])


def test_the_rate_at_the_end_is_what_a_shift_of_the_end_is_worth() -> None:
    rng = np.random.default_rng(2)
    arrival, work = poisson(rng, 50, 30.0), gamma(rng, 50, 0.1, 1.0)
    end = shared(arrival, work, 2)
    base, rate = Shared(np.array([2])).go(visits(arrival, end), np.zeros(50))
    for i in (5, 20, 40):
        moved = end.copy()
        moved[i] += 1e-7
        other, _ = Shared(np.array([2])).go(visits(arrival, moved), np.zeros(50))
        assert (other.work_s[i] - base.work_s[i]) / 1e-7 == pytest.approx(np.exp(rate[i]), rel=1e-3)


@pytest.mark.parametrize("workers", [1, 2, 4, 8])
@pytest.mark.parametrize("variation", [0.5, 1.0, 2.0])
def test_who_shares_is_told_from_who_queues_and_how_many_workers_either_has(workers: int, variation: float) -> None:
    rng = np.random.default_rng(3)
    arrival, work = poisson(rng, 2000, 0.8 * workers / 0.1), gamma(rng, 2000, 0.1, variation)
    for made, sharing in (
        (visits(arrival, shared(arrival, work, workers)), True),
        (serve(arrival, work, workers).visits, False),
    ):
        found = []
        for asked in (True, False):
            evidence = Evidence(1, 1, sharing=asked)
            evidence.learn(made, np.zeros(2000, np.int64), np.zeros(2000))
            found.append(evidence.told())
        best = found[0] if sharing else found[1]
        assert (found[0].explains > found[1].explains) == sharing
        assert best.count.tolist() == [workers]
