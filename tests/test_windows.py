"""Sorted windows against the plainest way to say the same: keep a list, sort it, look."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.windows import below, compiled_once, quantile, share_band, slide, tail_quantile

VALUES = st.lists(st.floats(-20, 20), max_size=60)


@given(VALUES, st.integers(1, 12))
@settings(deadline=None)
def test_a_window_is_the_last_values_in_order(values, size):
    ring, window = np.zeros(12, np.float32), np.zeros(size, np.float32)
    for seen, value in enumerate(values):
        slide(ring, window, seen, value)
        ring[seen % ring.size] = value
        kept = sorted(np.array(values[: seen + 1][-size:], np.float32))
        assert window[: len(kept)].tolist() == [float(k) for k in kept]


@given(hnp.arrays(np.float32, st.integers(1, 50), elements=st.floats(-20, 20, width=32)), st.floats(0, 1))
@settings(deadline=None)
def test_a_quantile_is_numpys_weibull(values, share):
    values.sort()
    expected = np.quantile(values.astype(float), share, method="weibull")
    assert quantile(values, 0, values.size, share) == pytest.approx(expected, abs=1e-5)
    assert below(values, values.size, float(values[0])) == 0


def test_nothing_has_no_quantile():
    assert np.isnan(quantile(np.zeros(5, np.float32), 0, 0, 0.5))


@given(st.floats(0.01, 0.99), st.floats(1, 1000))
@settings(deadline=None)
def test_the_band_of_a_share_holds_it_and_stays_within_nothing_and_all(share, samples):
    low, high = share_band(share, samples)
    assert 0 <= low < share < high < 1


def test_the_band_of_shares_holds_the_true_quantile_nine_times_in_ten():
    rng = np.random.default_rng(3)
    for share, samples in ((0.5, 50), (0.95, 200), (0.99, 200)):
        below_it = rng.binomial(samples, share, 20_000) / samples  # share of samples below the true quantile
        low, high = share_band(share, samples)
        # It lies between the sample's quantiles at the band's ends when the share of samples below it does.
        held = np.mean((below_it >= low) & (below_it <= high))
        assert 0.84 < held < 0.95  # of counts, so in steps: 0.845 for the p99 of 200


def test_beyond_the_largest_the_tail_goes_on_as_it_was():
    """Of a Pareto tail with index 0.5 the p99.9 from 200 samples, which the largest is not."""
    rng = np.random.default_rng(4)
    said = []
    for _ in range(300):
        logs = np.sort(rng.exponential(0.5, 200)).astype(np.float32)
        said.append(tail_quantile(logs, 200, 0.999))
    assert np.median(said) == pytest.approx(0.5 * np.log(1000), rel=0.08)
    assert tail_quantile(logs, 200, 0.5) == quantile(logs, 0, 200, 0.5)


def test_where_there_is_no_place_to_keep_machine_code_it_is_made_anew_and_nobody_fails():
    """A function of no file is one that numba finds no place for, as in a read-only installation without a home."""
    nowhere: dict[str, object] = {}
    exec("def more(x):\n    return x + 1", nowhere)
    assert compiled_once(nowhere["more"])(1) == 2
