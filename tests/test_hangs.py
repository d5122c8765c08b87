"""An endpoint hung when nothing ended though requests were open; a slow one, or one with heavy requests, did not."""

from __future__ import annotations

import numpy as np
import pytest

from models.delay import delay_of
from models.hangs import Hangs, hangs, usual_of
from models.unqueue import Visits
from tests.queues import Served, gamma, poisson, serve, several

NEVER = float("inf")


def usual(visits: Visits, klass: np.ndarray) -> np.ndarray:
    took = visits.end_s - visits.arrival_s
    counts = [np.bincount(klass, v, minlength=2).astype(float) for v in (np.ones(len(took)), took, took**2)]
    return usual_of(*counts)


def found(*visits: Visits, until_s: float = 60.0, klass: np.ndarray | None = None) -> Hangs:
    every = several(*visits)
    of = np.zeros(len(every.arrival_s), np.int64) if klass is None else klass
    return hangs(every, of, usual(every, of), until_s)


def endpoint(
    seed: int, *, hang: tuple[float, float] = (NEVER, NEVER), rate: float = 20.0, patience_s: float = 5.0
) -> Served:
    rng = np.random.default_rng(seed)
    arrival = poisson(rng, int(rate * 60), rate)
    return serve(arrival, gamma(rng, len(arrival), 0.03, 0.5), 4, patience_s=patience_s, hang=hang)


@pytest.mark.parametrize("seed", range(5))
def test_a_hang_is_found_from_its_begin_to_its_end(seed: int) -> None:
    told = found(endpoint(seed, hang=(20.0, 40.0)).visits, endpoint(100 + seed).visits)
    assert told.offsets.tolist() == [0, 1, 1]
    assert told.from_s == pytest.approx([20.0], abs=0.3)
    assert told.to_s == pytest.approx([40.0], abs=0.3)


def test_a_hang_that_all_lived_through_is_found_too() -> None:
    told = found(endpoint(1, hang=(20.0, 22.0), patience_s=15.0).visits, endpoint(2).visits)
    assert told.from_s == pytest.approx([20.0], abs=0.3)
    assert told.to_s == pytest.approx([22.0], abs=0.3)


def test_a_hang_that_lasts_has_no_end() -> None:
    told = found(endpoint(3, hang=(50.0, 1e9)).visits, endpoint(4).visits, until_s=65.0)
    assert told.from_s == pytest.approx([50.0], abs=0.3)
    assert told.to_s.tolist() == [NEVER]


def test_an_endpoint_to_which_next_to_nothing_is_sent_any_more_is_still_seen_to_hang() -> None:
    rng = np.random.default_rng(5)
    arrival = np.sort(np.concatenate([rng.uniform(0, 20, 400), rng.uniform(20, 60, 40)]))
    served = serve(arrival, gamma(rng, 440, 0.03, 0.5), 4, patience_s=5.0, hang=(20.0, 40.0))
    told = found(served.visits, endpoint(6).visits)
    assert told.from_s == pytest.approx([20.0], abs=1.5)
    assert told.to_s == pytest.approx([40.0], abs=1.5)


def test_an_endpoint_ten_times_slower_does_not_hang() -> None:
    rng = np.random.default_rng(7)
    arrival = poisson(rng, 600, 10.0)
    work = gamma(rng, 600, 0.03, 0.5) * np.where((arrival > 20) & (arrival < 40), 10.0, 1.0)
    assert len(found(serve(arrival, work, 4).visits, endpoint(8).visits).from_s) == 0


def test_quick_requests_behind_four_heavy_ones_do_not_make_a_hang() -> None:
    rng = np.random.default_rng(9)
    klass = (rng.random(3000) < 0.05).astype(np.int64)
    work = np.where(klass == 1, 3.0, 0.03)
    visits = serve(poisson(rng, 3000, 0.8 * 4 / work.mean()), work, 4).visits
    assert len(found(visits, klass=klass, until_s=float(visits.end_s.max())).from_s) == 0


def test_what_waits_behind_heavy_requests_is_not_due_yet() -> None:
    heavy, quick = np.zeros(4), np.linspace(0.1, 2.0, 20)
    visits = serve(np.concatenate([heavy, quick]), np.repeat([3.0, 0.03], [4, 20]), 4).visits
    klass = np.repeat([1, 0], [4, 20])
    assert len(hangs(visits, klass, np.array([0.03, 3.0]), 4.0).from_s) == 0
    assert len(hangs(visits, np.zeros(24, np.int64), np.array([0.03]), 4.0).from_s) == 1  # were they all quick ones


def test_what_takes_as_long_as_it_took_before_and_after_is_slow_and_no_hang() -> None:
    visits = serve(np.arange(40.0), np.full(40, 0.9), 1).visits
    assert len(hangs(visits, np.zeros(40, np.int64), np.array([0.03]), 40.0).from_s) == 0


def test_an_idle_endpoint_does_not_hang() -> None:
    visits = serve([0.0, 1.0, 50.0], [0.03, 0.03, 0.03], 4).visits
    assert len(found(visits).from_s) == 0
    assert len(found(Visits(np.array([0, 0]), np.empty(0), np.empty(0), np.empty(0, np.int8))).from_s) == 0


def test_late_answers_are_a_delay_and_slow_work_is_none() -> None:
    rng, one = np.random.default_rng(10), np.zeros(300, np.int64)
    work, mean = gamma(rng, 300, 0.03, 0.5), np.array([0.03])
    assert delay_of(work + 0.2, one, mean, 4.0) == pytest.approx(0.2, rel=0.05)
    assert delay_of(work * 10.0, one, mean, 4.0) == 0.0
    assert delay_of(work, one, mean, 4.0) == 0.0


def test_exponential_work_has_a_delay_as_well() -> None:
    rng, one = np.random.default_rng(11), np.zeros(300, np.int64)
    work, mean = gamma(rng, 300, 0.24, 1.0), np.array([0.24])
    assert delay_of(work + 0.2, one, mean, 1.0) == pytest.approx(0.2, rel=0.05)
    assert delay_of(work * 3.0, one, mean, 1.0) == 0.0


def test_strays_of_the_stretch_before_do_not_hide_a_delay() -> None:
    rng, one = np.random.default_rng(13), np.zeros(48, np.int64)
    late = gamma(rng, 48, 0.1, 0.7) + 0.2
    late[:2] = 0.05, 0.1
    assert delay_of(late, one, np.array([0.1]), 2.0) == pytest.approx(0.2, rel=0.08)
    late = late[2:]
    assert delay_of(late, one[2:], np.array([0.1]), 2.0) == pytest.approx(0.2, rel=0.08)


def test_one_class_of_equal_requests_says_neither_and_two_classes_say_which() -> None:
    klass = np.arange(100) % 2
    mean = np.array([0.03, 3.0])
    work = mean[klass] * np.random.default_rng(12).uniform(0.99, 1.01, 100)
    assert delay_of(work[klass == 0] + 0.2, klass[klass == 0], mean, 1e4) == 0.0
    assert delay_of(work + 0.02, klass, mean, 1e4) == pytest.approx(0.0, abs=0.03)
    assert delay_of(work * 7.0, klass, mean, 1e4) == 0.0
    assert delay_of(np.empty(0), np.empty(0, np.int64), mean, 1.0) == 0.0
