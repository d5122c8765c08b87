"""The sample that latency quantiles learn from: bounded, fair, unbent."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import features.sample
from dataplane.contract import Outcome, Requests
from features.sample import Pool, sample
from models.latency import LatencyQuantiles


def attempts(n, **columns):
    return Requests.of(**{name: np.zeros(n) for name in Requests.dtypes()} | columns)


def test_a_busy_endpoint_loses_rows_before_a_quiet_one():
    rng = np.random.default_rng(1)
    batch = attempts(1000, endpoint=np.repeat([0, 1, 2], [900, 90, 10]), duration_s=rng.exponential(1, 1000))
    x, _ = sample(batch, 150)
    assert np.bincount(x["endpoint"]).tolist() == [70, 70, 10]


def test_a_sample_of_an_endpoint_has_its_quantiles():
    rng = np.random.default_rng(2)
    batch = attempts(50_000, duration_s=rng.exponential(1, 50_000))
    _, took = sample(batch, 5000)
    assert np.quantile(took, [0.5, 0.95]) == pytest.approx([0.69, 3.0], rel=0.05)


@given(st.integers(0, 60), st.integers(0, 40), st.integers(0, 99))
def test_it_is_never_more_than_asked_for_and_in_the_order_of_ends(rows, limit, seed):
    rng = np.random.default_rng(seed)
    batch = attempts(
        rows,
        started_s=rng.uniform(0, 10, rows),
        duration_s=rng.exponential(1, rows),
        endpoint=rng.integers(-1, 4, rows),
        outcome=rng.integers(0, 6, rows),
        route=np.arange(rows) - 1,
    )
    x, took = sample(batch, limit)
    assert len(took) <= limit
    ends = {route + 1: end for route, end in zip(batch.route, batch.started_s + batch.duration_s, strict=True)}
    assert (np.diff([ends[k] for k in x["class"].tolist()]) >= 0).all()
    assert (x["endpoint"] >= 0).all()


def test_a_timeout_counts_and_a_fast_failure_does_not():
    outcome = [Outcome.OK, Outcome.TIMEOUT, Outcome.ERROR, Outcome.UNREACHED, Outcome.REJECTED, Outcome.CANCELLED]
    batch = attempts(6, outcome=outcome, duration_s=np.array([0.1, 5.0, 0.001, 0.001, 0.001, 0.001]))
    assert sorted(sample(batch, 9)[1].tolist()) == pytest.approx([0.1, 5.0])


def test_it_is_what_the_model_learns():
    rng = np.random.default_rng(4)
    model = LatencyQuantiles(64)
    batch = attempts(
        600, started_s=np.arange(600.0), duration_s=rng.exponential(1, 600), endpoint=rng.integers(0, 3, 600)
    )
    model.learn_many(*sample(batch, 300))
    assert model.predict_one({"service": 0, "endpoint": 2, "class": 1}) == pytest.approx(3.0, rel=0.4)


@pytest.mark.parametrize("batches", [1, 40, 3000])
def test_a_pool_thins_what_comes_to_what_a_draw_takes_and_leaves_quantiles_and_endpoints_as_they_are(batches):
    """Endpoints in turn, as round robin has them: a step of one in so many must not see the same one for ever."""
    pool, rng = Pool(400), np.random.default_rng(5)
    took, drawn = [], []
    for tick in range(12):
        all_rows = attempts(24_000, endpoint=np.arange(24_000) % 4, duration_s=rng.exponential(1, 24_000))
        for part in np.array_split(np.arange(24_000), batches):
            pool.told(all_rows.take(part))
        assert tick == 0 or sum(len(w.endpoint) for w in pool._waiting) < 1000
        x, y = pool.draw()
        took, drawn = [*took, *y.tolist()], [*drawn, *x["endpoint"].tolist()]
    assert len(took) == pytest.approx(12 * 400, rel=0.15)
    assert np.bincount(drawn) / len(drawn) == pytest.approx([0.25] * 4, abs=0.06)
    assert np.quantile(took, [0.5, 0.95]) == pytest.approx([0.69, 3.0], rel=0.05)
    assert pool.draw() is None


def test_a_pool_that_nobody_draws_from_does_not_grow_without_end():
    pool, batch = Pool(50), attempts(1000)
    for _ in range(2000):
        pool.told(batch)
    assert sum(len(w.endpoint) for w in pool._waiting) < 5000


def test_the_example_runs():
    assert doctest.testmod(features.sample).failed == 0
