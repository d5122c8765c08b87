"""How many workers endpoints have is told by every attempt that they served, or is said not to be known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import models.workers
from models.unqueue import Visits
from models.workers import Evidence, Walk, Workers, class_means
from tests.queues import gamma, poisson, serve, several

MEAN_S = 0.1


def endpoint(
    seed: int, workers: int, load: float, variation: float = 1.0, many: int = 2000, mean_s: float = MEAN_S
) -> Visits:
    rng = np.random.default_rng(seed)
    arrival = poisson(rng, many, load * workers / mean_s)
    return serve(arrival, gamma(rng, many, mean_s, variation), workers, patience_s=5.0).visits


def told(*visits: Visits, klass: np.ndarray | None = None, pieces: int = 1) -> Workers:
    every = several(*visits)
    of = np.zeros(len(every.arrival_s), np.int64) if klass is None else klass
    evidence = Evidence(len(visits), int(of.max(initial=0)) + 1)
    for k in range(pieces):  # an equal part of each endpoint's at a time
        rows, counts = [], [0]
        for a, b in zip(every.offsets, every.offsets[1:], strict=False):
            part = np.arange(a + (b - a) * k // pieces, a + (b - a) * (k + 1) // pieces)
            rows.append(part)
            counts.append(counts[-1] + len(part))
        at = np.concatenate(rows)
        some = Visits(np.array(counts), every.arrival_s[at], every.end_s[at], every.kind[at])
        evidence.learn(some, of[at], np.zeros(len(at)))
    return evidence.told()


@pytest.mark.parametrize("workers", [1, 2, 4, 7, 16])
@pytest.mark.parametrize("variation", [0.0, 0.5, 1.0, 2.0])
def test_the_number_of_workers_is_found_where_there_is_a_queue(workers: int, variation: float) -> None:
    for load in (0.7, 0.95):
        found = told(endpoint(3, workers, load, variation))
        assert found.count.tolist() == [workers]
        assert (found.low, found.high) == (workers, workers)


@pytest.mark.parametrize("mean_s", [1e-4, 1e-3, 0.005, 0.1])
@pytest.mark.parametrize("variation", [0.7, 1.0])
def test_the_number_of_workers_is_found_however_short_their_work_is(mean_s: float, variation: float) -> None:
    for load in (0.6, 0.85):
        visits = endpoint(3, 4, load, variation, mean_s=mean_s)
        found = told(visits)
        assert (found.count.tolist(), found.low, found.high) == ([4], 4, 4)


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
def test_times_that_are_off_by_some_of_a_work_make_no_workers(share: float) -> None:
    rng = np.random.default_rng(15)
    for mean_s in (0.002, 0.1):
        visits = endpoint(3, 4, 0.8, 0.7, many=4000, mean_s=mean_s)
        arrival = visits.arrival_s + share * mean_s * rng.uniform(-0.5, 0.5, 4000)
        end = np.maximum(visits.end_s + share * mean_s * rng.uniform(-0.5, 0.5, 4000), arrival)
        order = np.argsort(arrival)
        noisy = Visits(visits.offsets, arrival[order], end[order], visits.kind[order])
        assert told(noisy).count.tolist() == [4]


def test_without_a_queue_more_workers_are_not_refuted_and_that_is_said() -> None:
    found = told(endpoint(4, 16, 0.15, 0.5))
    assert found.high == np.inf
    assert found.low <= found.count[0] <= 16


def test_endpoints_that_saw_no_queue_are_taken_to_be_like_the_others() -> None:
    busy, quiet = endpoint(5, 4, 0.9), endpoint(6, 4, 0.05, many=100)
    assert told(busy, quiet).count.tolist() == [4, 4]


def test_an_endpoint_that_is_unlike_the_others_has_workers_of_its_own() -> None:
    assert told(endpoint(7, 4, 0.8), endpoint(8, 4, 0.8), endpoint(9, 2, 0.8)).count.tolist() == [4, 4, 2]


def test_a_change_of_speed_makes_no_workers() -> None:
    slow = endpoint(10, 4, 0.8, mean_s=5 * MEAN_S)
    quick = endpoint(11, 4, 0.8)
    after = slow.end_s.max() + 1.0
    arrival, end = (np.concatenate([a, b + after]) for a, b in ((slow[1], quick[1]), (slow[2], quick[2])))
    both = Visits(np.array([0, len(arrival)]), arrival, end, np.concatenate([slow.kind, quick.kind]))
    assert told(both).count.tolist() == [4]


@pytest.mark.parametrize("seed", range(8))
def test_a_bad_time_of_a_few_attempts_makes_no_workers(seed: int) -> None:
    """One of ten is ten times slower for as long as it takes to send it less; elsewhere there is never a queue."""
    rng = np.random.default_rng(seed)
    arrival = poisson(rng, 300, 10.0)
    slow = np.arange(300) >= 270
    bad = serve(arrival, gamma(rng, 300, 0.03, 0.5) * np.where(slow, 10.0, 1.0), 4).visits
    good = [serve(poisson(rng, 300, 10.0), gamma(rng, 300, 0.03, 0.5), 4).visits for _ in range(9)]
    found = told(bad, *good)
    assert found.low <= 4 <= found.high
    assert abs(found.count - 4).max() <= 1, "a handful that waited may leave two numbers that are as likely"


def test_classes_of_unlike_cost_are_told_apart() -> None:
    rng = np.random.default_rng(12)
    klass = (rng.random(4000) < 0.05).astype(np.int64)
    work = np.where(klass == 1, 3.0, 0.03)
    visits = serve(poisson(rng, 4000, 0.8 * 4 / work.mean()), work, 4).visits
    assert told(visits, klass=klass).count.tolist() == [4]


def test_what_is_told_in_parts_comes_to_the_same() -> None:
    visits = [endpoint(s, 4, 0.8) for s in (13, 14)]
    assert told(*visits, pieces=7).count.tolist() == told(*visits).count.tolist() == [4, 4]


def test_nobody_who_worked_is_nothing_known() -> None:
    found = told(Visits(np.array([0, 0]), np.empty(0), np.empty(0), np.empty(0, np.int8)))
    assert found.high == np.inf


def test_class_means_do_not_take_a_slow_endpoint_for_a_heavy_class() -> None:
    # Two endpoints, the second half as fast, with other mixes of classes of work 1 and 10.
    works = np.array([[90.0, 10.0], [10.0, 90.0]])
    work = works * [[1.0, 10.0], [2.0, 20.0]]
    one, ten = class_means(work, works)
    assert ten / one == pytest.approx(10.0, rel=0.01)


def test_a_class_that_nobody_worked_for_has_the_mean_of_all() -> None:
    assert class_means(np.array([[6.0, 0.0]]), np.array([[3.0, 0.0]])).tolist() == [2.0, 2.0]


def test_numbers_that_are_out_of_the_question_are_followed_no_further_and_the_answer_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    walked: list[int] = []
    go = Walk.go

    def counted(self: Walk, visits: Visits, *more: Any) -> Any:
        walked.append(self.busy.free_s.shape[1])
        return go(self, visits, *more)

    monkeypatch.setattr(Walk, "go", counted)
    busy = [endpoint(seed, 4, 0.85, many=20_000) for seed in (20, 21)]
    found, few = told(*busy, pieces=10), walked.copy()
    monkeypatch.setattr(models.workers, "OUT", np.inf)
    walked.clear()
    every = told(*busy, pieces=10)
    assert (
        (found.count.tolist(), found.low, found.high) == (every.count.tolist(), every.low, every.high) == ([4, 4], 4, 4)
    )
    assert found.log_likelihood.max(axis=1).tolist() == every.log_likelihood.max(axis=1).tolist()
    assert len(few) < 0.6 * len(walked)
    assert set(few[-3:]) <= {3, 4, 5, 6}


def test_while_hardly_anything_is_known_of_one_endpoint_every_number_is_followed_for_it() -> None:
    found = told(endpoint(22, 4, 0.85, many=20_000), endpoint(23, 2, 0.8, many=60), pieces=10)
    assert np.isfinite(found.log_likelihood).all()
