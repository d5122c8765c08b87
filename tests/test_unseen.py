"""What nobody saw to end is drawn, and comes out right in the mean where to reckon with the usual time does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.unqueue import GAVE_UP, WORKED, Busy, Unqueued, Visits, unqueue
from models.unseen import Unseen
from tests.queues import Served, poisson, serve

WORKERS, MEAN_S = 4, 0.1


def storm(seed: int, load: float, patience_s: float, many: int = 20_000) -> Served:
    """More work comes than can be done, so nearly all give up, waiting or at work."""
    rng = np.random.default_rng(seed)
    return serve(
        poisson(rng, many, load * WORKERS / MEAN_S), rng.exponential(MEAN_S, many), WORKERS, patience_s=patience_s
    )


def walked(visits: Visits) -> Unqueued:
    many = len(visits.arrival_s)
    return Unseen(np.array([WORKERS])).go(visits, np.zeros(many), np.full(many, MEAN_S))


def a_work(visits: Visits, found: Unqueued) -> tuple[float, float]:
    """Time at work over works that ended, and how far that may be off by chance, in parts of it."""
    ended = visits.kind == WORKED
    spent = np.nansum(found.work_s[ended]) + np.nansum((visits.end_s - found.begin_s)[~ended])
    return float(spent / ended.sum()), float(1.0 / np.sqrt(ended.sum()))


@pytest.mark.parametrize(("load", "patience_s"), [(1.1, 0.8), (1.4, 0.8), (1.4, 4.0), (2.0, 0.3)])
def test_the_usual_work_is_found_in_a_storm(load: float, patience_s: float) -> None:
    of = storm(1, load, patience_s)
    assert ((of.visits.kind == GAVE_UP) & np.isfinite(of.begin_s)).sum() > 2_000
    mean_s, off = a_work(of.visits, walked(of.visits))
    assert mean_s == pytest.approx(MEAN_S, rel=5 * off)


@pytest.mark.parametrize(("load", "patience_s"), [(1.1, 0.8), (1.4, 4.0), (2.0, 0.3)])
def test_as_many_begin_and_as_early_as_did(load: float, patience_s: float) -> None:
    of = storm(2, load, patience_s)
    found = walked(of.visits)
    left = of.visits.kind == GAVE_UP
    begun, true = np.isfinite(found.begin_s[left]), np.isfinite(of.begin_s[left])
    many = true.sum()
    assert begun.sum() == pytest.approx(many, abs=5 * np.sqrt(2 * many))
    ended = ~left
    late = found.begin_s[ended] - of.begin_s[ended]
    # Neighbours share their luck: means of fifty in a row are taken for independent.
    means = late[: len(late) // 50 * 50].reshape(-1, 50).mean(axis=1)
    assert late.mean() == pytest.approx(0.0, abs=5 * means.std() / np.sqrt(len(means)))


@given(st.integers(0, 1000), st.integers(1, 9))
def test_where_every_work_was_seen_to_end_it_is_the_walk_backwards(seed: int, workers: int) -> None:
    rng = np.random.default_rng(seed)
    of = serve(poisson(rng, 200, 0.9 * workers / MEAN_S), rng.exponential(MEAN_S, 200), workers)
    none = np.zeros(200)
    found = Unseen(np.array([workers])).go(of.visits, none, none + MEAN_S)
    true = unqueue(of.visits, none, Busy.idle(np.array([workers])))
    for one, other in zip(found, true, strict=True):
        assert np.array_equal(one, other, equal_nan=True)


def test_a_walk_in_two_goes_is_the_walk_in_one() -> None:
    visits = storm(3, 1.4, 0.8, 2000).visits
    whole, parts, unseen = walked(visits), [], Unseen(np.array([WORKERS]))
    for rows in (slice(0, 700), slice(700, None)):
        some = Visits(np.array([0, len(visits.arrival_s[rows])]), *(column[rows] for column in visits[1:]))
        many = len(some.arrival_s)
        parts.append(unseen.go(some, np.zeros(many), np.full(many, MEAN_S)))
    for k in range(3):
        assert np.array_equal(np.concatenate([p[k] for p in parts]), whole[k], equal_nan=True)


def test_after_a_storm_the_works_are_those_that_were() -> None:
    rng = np.random.default_rng(4)
    one = storm(4, 1.5, 0.8, 4000)
    after = one.visits.arrival_s[-1] + 20 * MEAN_S + poisson(rng, 500, 0.8 * WORKERS / MEAN_S)
    work = rng.exponential(MEAN_S, 500)
    calm = serve(after, work, WORKERS)
    visits = Visits(
        np.array([0, 4500]),
        np.concatenate([one.visits.arrival_s, after]),
        np.concatenate([one.visits.end_s, calm.visits.end_s]),
        np.concatenate([one.visits.kind, calm.visits.kind]),
    )
    assert walked(visits).work_s[4000:] == pytest.approx(work, abs=1e-9)
