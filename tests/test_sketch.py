"""The sketch against numpy's own quantiles, and its decay against the clock."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.sketch import QuantileSketch

SHARES = (0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 1.0)

DRAWS = {
    "lognormal": lambda rng, n: rng.lognormal(-4, 1.2, n),
    "exponential": lambda rng, n: rng.exponential(0.05, n),
    "bimodal": lambda rng, n: np.where(rng.random(n) < 0.7, rng.normal(0.01, 0.001, n), rng.normal(2.0, 0.1, n)),
}


def close(sketched, values):
    """Within 2 % of numpy's quantiles, which pick a value of the sample."""
    true = np.quantile(values, SHARES, method="inverted_cdf")
    return np.abs(sketched - true) <= 0.02 * true * (1 + 1e-9)


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("n", [1, 2, 7, 1000, 30_000])
def test_every_quantile_of_every_stream_is_within_two_percent(draw, n):
    rng = np.random.default_rng(n)
    values = np.clip(DRAWS[draw](rng, (3, n)), 1e-4, 600.0)
    sketch = QuantileSketch(streams=3)
    streams = np.repeat([2, 0, 1], n)
    shuffled = rng.permutation(3 * n)
    sketch.add(streams[shuffled], values.ravel()[shuffled])
    quantiles = sketch.quantiles(SHARES)
    assert close(quantiles[:, 2], values[0]).all()
    assert close(quantiles[:, 0], values[1]).all()
    assert close(quantiles[:, 1], values[2]).all()
    assert sketch.count().tolist() == [n, n, n]


@given(st.lists(st.floats(1e-4, 600.0), min_size=1, max_size=60), st.sampled_from([0.005, 0.02, 0.1]))
def test_any_sample_at_all_is_within_the_accuracy_asked_for(values, accuracy):
    sketch = QuantileSketch(streams=1, accuracy=accuracy)
    sketch.add(np.zeros(len(values), dtype=int), np.array(values))
    true = np.quantile(values, SHARES, method="inverted_cdf")
    assert (np.abs(sketch.quantiles(SHARES)[:, 0] - true) <= accuracy * true * (1 + 1e-9)).all()


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(width=32)), max_size=40))
def test_no_number_at_all_breaks_it(rows):
    sketch = QuantileSketch(streams=4, half_life_s=3.0)
    streams, values = np.array([r[0] for r in rows], dtype=np.int32), np.array([r[1] for r in rows], dtype=np.float32)
    sketch.add(streams, values, now=10.0)
    assert sketch.count(10.0).sum() == sum(v >= 0 for _, v in rows)
    quantiles = sketch.quantiles((0.5,))[0]
    assert (np.isnan(quantiles) | ((quantiles >= 1e-4) & (quantiles <= 600.0))).all()


def test_values_beyond_the_range_count_as_its_ends():
    sketch = QuantileSketch(streams=1, lowest=0.001, highest=10.0)
    sketch.add(np.zeros(4, dtype=int), np.array([0.0, 1e-9, 1e6, np.inf]))
    assert sketch.count()[0] == 4
    assert sketch.quantiles((0.5, 1.0))[:, 0] == pytest.approx([0.001, 10.0], rel=0.02)


def test_nan_and_negative_values_are_not_added():
    sketch = QuantileSketch(streams=1)
    sketch.add(np.zeros(4, dtype=int), np.array([np.nan, -1.0, -np.inf, 0.2]))
    assert sketch.count()[0] == 1
    assert sketch.quantiles((0.5,))[0, 0] == pytest.approx(0.2, rel=0.02)


def test_a_stream_without_values_has_no_quantile():
    sketch = QuantileSketch(streams=2)
    sketch.add(np.array([0]), np.array([1.0]))
    assert np.isnan(sketch.quantiles((0.0, 1.0))[:, 1]).all()


@given(st.data())
def test_merging_two_sketches_is_adding_all_to_one(data):
    row = st.tuples(st.integers(0, 2), st.floats(1e-4, 600.0), st.floats(0.0, 300.0))
    parts = [data.draw(st.lists(row, max_size=20)) for _ in range(2)]
    both, *halves = (QuantileSketch(streams=3, half_life_s=3.0) for _ in range(3))
    for part, half in zip(parts, halves, strict=True):
        for stream, value, at in sorted(part, key=lambda r: r[2]):
            half.add(np.array([stream]), np.array([value]), now=at)
    for stream, value, at in sorted(parts[0] + parts[1], key=lambda r: r[2]):
        both.add(np.array([stream]), np.array([value]), now=at)
    halves[0].merge(halves[1])
    assert np.allclose(halves[0].count(300.0), both.count(300.0), rtol=1e-9, atol=1e-6)


def test_unlike_sketches_do_not_merge():
    for other in (QuantileSketch(3), QuantileSketch(2, half_life_s=1.0), QuantileSketch(2, accuracy=0.01)):
        with pytest.raises(ValueError, match="merge"):
            QuantileSketch(2).merge(other)


def test_the_count_halves_in_a_half_life_and_the_quantiles_stay():
    sketch = QuantileSketch(streams=1, half_life_s=3.0)
    sketch.add(np.zeros(1000, dtype=int), np.linspace(0.1, 0.2, 1000), now=50.0)
    before = sketch.quantiles(SHARES)
    assert sketch.count(53.0)[0] == pytest.approx(500.0)
    assert sketch.count(59.0)[0] == pytest.approx(125.0)
    assert np.array_equal(sketch.quantiles(SHARES), before)


def test_decay_is_the_same_in_one_step_as_in_many():
    one, many = QuantileSketch(1, half_life_s=3.0), QuantileSketch(1, half_life_s=3.0)
    for sketch in (one, many):
        sketch.add(np.zeros(100, dtype=int), np.full(100, 0.5), now=0.0)
    nothing = np.empty(0, dtype=int)
    for step in range(600):
        many.add(nothing, np.empty(0), now=step * 0.1)
        many.count(step * 0.1)
    assert one.count(60.0)[0] == pytest.approx(many.count(60.0)[0], rel=1e-12)


def test_old_values_give_way_to_new_ones():
    sketch = QuantileSketch(streams=1, half_life_s=3.0)
    for second in range(60):
        sketch.add(np.zeros(100, dtype=int), np.full(100, 0.01 if second < 30 else 0.1), now=float(second))
        if second == 33:  # four seconds of the new: 1 - 2**(-4/3) of the weight
            assert sketch.quantiles((0.38, 0.42))[:, 0] == pytest.approx([0.01, 0.1], rel=0.02)
    assert sketch.quantiles((0.01,))[0, 0] == pytest.approx(0.1, rel=0.02)


def test_days_of_values_overflow_nothing_and_stay_right():
    rng = np.random.default_rng(5)
    sketch = QuantileSketch(streams=1, half_life_s=3.0)
    with np.errstate(all="raise", under="ignore"):
        for hour in range(72):
            for second in range(0, 3600, 90):
                sketch.add(np.zeros(20, dtype=int), rng.exponential(0.1, 20), now=3600.0 * hour + second)
    count = sketch.count(72 * 3600.0 - 90)
    assert 20 <= count[0] < 20.001
    assert math.isfinite(sketch.quantiles((0.99,))[0, 0])


def test_a_month_of_silence_forgets_all_and_breaks_nothing():
    sketch = QuantileSketch(streams=2, half_life_s=3.0)
    sketch.add(np.array([0]), np.array([5.0]), now=0.0)
    assert sketch.count(30 * 86400.0)[0] == pytest.approx(0.0, abs=1e-200)
    sketch.add(np.array([1]), np.array([0.1]), now=30 * 86400.0)
    assert sketch.count(30 * 86400.0).tolist() == [0.0, 1.0]
    assert np.isnan(sketch.quantiles((0.5,))[0, 0])


def test_what_has_faded_to_a_millionth_is_gone():
    sketch = QuantileSketch(streams=2, half_life_s=3.0)
    sketch.add(np.array([0]), np.array([5.0]), now=0.0)
    sketch.add(np.array([1]), np.array([0.1]), now=40 * 3.0)
    assert sketch.count(120.0)[0] == 0.0
    assert np.isnan(sketch.quantiles((0.5,))[0, 0])


def test_after_a_restart_with_a_clock_that_is_behind_new_values_weigh_as_much_as_ever():
    first, second = QuantileSketch(1, half_life_s=3.0), QuantileSketch(1, half_life_s=3.0)
    first.add(np.zeros(10, dtype=int), np.full(10, 1.0), now=1000.0)
    second.restore(first.state())
    second.resume(left=1000.0, now=100.0)
    second.add(np.zeros(20, dtype=int), np.full(20, 2.0), now=100.0)
    assert second.count(100.0)[0] == pytest.approx(30.0)
    assert second.quantiles((0.5,))[0, 0] == pytest.approx(2.0, rel=0.02)


def test_neighbouring_streams_can_be_asked_as_one():
    sketch = QuantileSketch(streams=4)
    sketch.add(np.array([0, 0, 1, 2, 3]), np.array([1.0, 1.0, 9.0, 0.1, 0.1]))
    assert sketch.quantiles((0.5, 1.0), pool=2) == pytest.approx(np.array([[1.0, 0.1], [9.0, 0.1]]), rel=0.02)


def test_growing_keeps_what_was_there_and_clearing_takes_only_what_is_named():
    sketch = QuantileSketch(streams=2)
    sketch.add(np.array([0, 1]), np.array([1.0, 2.0]))
    sketch.resize(4)
    sketch.clear(np.array([0]))
    assert sketch.count().tolist() == [0, 1, 0, 0]
    assert sketch.quantiles((0.5,))[0, 1] == pytest.approx(2.0, rel=0.02)
    sketch.resize(1)
    assert sketch.streams == 4


def test_a_restored_sketch_goes_on_as_if_never_stopped():
    rng = np.random.default_rng(6)
    first, second = QuantileSketch(2, half_life_s=3.0), QuantileSketch(2, half_life_s=3.0)
    first.add(rng.integers(0, 2, 100), rng.exponential(1.0, 100), now=7.0)
    second.restore(first.state())
    for sketch in (first, second):
        sketch.add(np.array([0, 1]), np.array([0.3, 0.4]), now=9.0)
    assert np.array_equal(first.count(9.0), second.count(9.0))
    assert np.array_equal(first.quantiles(SHARES), second.quantiles(SHARES))


def test_a_foreign_state_is_refused_and_changes_nothing():
    sketch = QuantileSketch(1, half_life_s=3.0)
    sketch.add(np.array([0]), np.array([1.0]), now=1.0)
    kept = sketch.state()
    for bad in (
        QuantileSketch(2, half_life_s=3.0).state(),
        QuantileSketch(1, half_life_s=4.0).state(),
        {k: v for k, v in kept.items() if k != "counts"},
        {k: v for k, v in kept.items() if k != "landmark"},
    ):
        with pytest.raises(ValueError, match="state"):
            sketch.restore(bad)
    assert sketch.count(1.0)[0] == 1


@pytest.mark.parametrize(
    "wrong", [{"accuracy": 0.0}, {"accuracy": 1.0}, {"lowest": 0.0}, {"lowest": 2.0, "highest": 1.0}]
)
def test_a_sketch_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        QuantileSketch(1, **wrong)
