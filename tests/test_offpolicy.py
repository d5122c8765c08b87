"""Weighed picks tell what other picks would have met, and how sure that is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import offpolicy
from models.offpolicy import difference, direct, doubly_robust, quantile, self_normalised, weighed

MEANS = np.array([[0.1, 0.3], [0.2, 0.6], [0.5, 0.8]])  # by action and class
LOGGED = np.array([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5]])  # by class
WANTED = np.array([0.2, 0.7, 0.1])
TRUTH = float((WANTED @ MEANS).mean())


class Logged:
    """Picks by known chances, of rows in blocks that share some luck."""

    def __init__(self, seed: int, rows: int = 4000, blocks: int = 20, spread: float = 0.0) -> None:
        rng = np.random.default_rng(seed)
        self.block = np.repeat(np.arange(blocks), rows // blocks)
        self.klass = rng.integers(2, size=rows)
        chances = LOGGED[self.klass]
        self.action = (rng.random(rows)[:, None] > np.cumsum(chances, axis=1)).sum(axis=1)
        luck = 1.0 + spread * rng.standard_normal(blocks)
        self.y = MEANS[self.action, self.klass] * rng.exponential(1.0, rows) * luck[self.block]
        self.chance = chances[np.arange(rows), self.action]
        self.weighed = weighed(self.chance, WANTED[self.action], 50.0)

    def robust(self, model: np.ndarray | None = None) -> offpolicy.Estimate:
        fold = self.block % 2
        model = direct(self.y, self.action, self.klass, fold, 3, 2) if model is None else model
        fitted = model[fold, self.action, self.klass]
        expected = np.einsum("a,na->n", WANTED, model[fold, :, self.klass])
        return doubly_robust(self.y, self.weighed.weight, fitted, expected, self.block)


def test_both_estimates_find_the_mean_that_the_other_picks_would_have_met() -> None:
    logged = Logged(1, rows=200_000)
    assert logged.y.mean() != pytest.approx(TRUTH, rel=0.05), "the recorded mean is another one"
    assert self_normalised(logged.y, logged.weighed.weight, logged.block).value == pytest.approx(TRUTH, rel=0.01)
    assert logged.robust().value == pytest.approx(TRUTH, rel=0.01)


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_the_intervals_cover_the_truth_as_often_as_they_say(spread: float) -> None:
    found = [Logged(seed, spread=spread) for seed in range(200)]
    robust = [logged.robust() for logged in found]
    plain = [self_normalised(f.y, f.weighed.weight, f.block) for f in found]
    for estimates in (robust, plain):
        covered = np.mean([e.low <= TRUTH <= e.high for e in estimates])
        # 95 % less what 200 runs may miss by chance, four standard errors.
        assert covered >= 0.95 - 4.0 * np.sqrt(0.95 * 0.05 / 200)
    widths = [np.mean([e.high - e.low for e in estimates]) for estimates in (robust, plain)]
    assert widths[0] < widths[1], "the direct model earns its place"


def test_doubly_robust_is_right_with_a_wrong_model_and_right_chances_and_the_other_way_round() -> None:
    logged = Logged(3, rows=200_000)
    assert logged.robust(np.full((2, 3, 2), 7.0)).value == pytest.approx(TRUTH, rel=0.02)
    right = np.stack([MEANS, MEANS])
    logged.weighed = weighed(np.full(len(logged.y), 0.5), WANTED[logged.action], 50.0)
    assert logged.robust(right).value == pytest.approx(TRUTH, rel=0.01)


def test_a_quantile_is_that_of_what_the_other_picks_would_have_met() -> None:
    rng = np.random.default_rng(4)
    truth_of = np.concatenate([rng.exponential(m, int(1e6 * w)) for w, m in zip(WANTED, MEANS[:, 0], strict=True)])
    truth = float(np.quantile(truth_of, 0.9))
    covered = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        action = random.choice(3, size=4000, p=LOGGED[0])
        y = random.exponential(MEANS[action, 0])
        weight = weighed(LOGGED[0, action], WANTED[action], 50.0).weight
        found = quantile(y, weight, 0.9, np.repeat(np.arange(20), 200))
        covered += found.low <= truth <= found.high
    assert covered >= 60 * (0.95 - 4.0 * np.sqrt(0.95 * 0.05 / 60))


def test_the_difference_of_two_weighings_cancels_what_both_suffer() -> None:
    rng = np.random.default_rng(5)
    block = np.repeat(np.arange(20), 200)
    luck = np.exp(rng.standard_normal(20))[block]  # all rows of a block are slow together
    arm = rng.integers(2, size=4000)
    y = luck * (1.0 + 0.5 * arm)
    on, off = (arm == 1) / 0.5, (arm == 0) / 0.5
    apart = difference(y, on, off, block)
    alone = self_normalised(y, on, block)
    assert apart.low > 0.0
    assert apart.high - apart.low < 0.5 * (alone.high - alone.low)


def test_the_effective_rows_fall_as_the_picks_part() -> None:
    chance = np.full(1000, 0.5)
    same = weighed(chance, chance, 50.0)
    assert (same.effective, same.effective_share, same.clipped_share) == (1000.0, 1.0, 0.0)
    half = weighed(chance, np.where(np.arange(1000) < 500, 1.0, 0.0), 50.0)
    assert half.effective == 500.0


def test_a_weight_that_is_cut_off_is_told() -> None:
    found = weighed(np.array([0.001, 0.5]), np.array([0.5, 0.5]), 50.0)
    assert found.weight.tolist() == [50.0, 1.0]
    assert found.clipped_share == pytest.approx(450.0 / 501.0)


@pytest.mark.parametrize(("chance", "wanted"), [(0.0, 0.5), (1.5, 0.5), (0.5, -0.1), (0.5, 1.1), (np.nan, 0.5)])
def test_chances_that_are_none_are_refused(chance: float, wanted: float) -> None:
    with pytest.raises(ValueError, match="chances must lie in"):
        weighed(np.array([chance]), np.array([wanted]), 50.0)


def test_where_nobody_would_have_been_picked_nothing_is_told() -> None:
    y, none, block = np.ones(10), np.zeros(10), np.arange(10)
    for found in (
        self_normalised(y, none, block),
        doubly_robust(y, none, y, y, block),
        quantile(y, none, 0.5, block),
        difference(y, none, np.ones(10), block),
    ):
        assert np.isnan([found.value, found.low, found.high]).all()


def test_few_blocks_have_a_figure_and_no_interval() -> None:
    found = self_normalised(np.arange(10.0), np.ones(10), np.zeros(10, np.int64))
    assert found.value == 4.5
    assert np.isnan(found.low)


def test_a_quantile_that_too_few_rows_could_show_is_not_told() -> None:
    block = np.repeat(np.arange(9), 11)
    assert np.isnan(quantile(np.ones(99), np.ones(99), 0.99, block).value)
    assert quantile(np.ones(100), np.ones(100), 0.99, np.repeat(np.arange(10), 10)).value == 1.0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 0.95))
def test_an_estimate_is_within_what_was_measured_and_in_order(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    arm = rng.random(300) < share
    y = rng.exponential(1.0, 300)
    weight = weighed(np.where(arm, share, 1 - share), np.where(arm, 0.5, 0.5), 50.0).weight
    block = np.repeat(np.arange(10), 30)
    for found in (self_normalised(y, weight, block), quantile(y, weight, 0.9, block)):
        assert y.min() <= found.value <= y.max()
        assert found.low <= found.value <= found.high


def test_students_quantile_is_students() -> None:
    for freedom, tabulated in ((5, 2.5706), (10, 2.2281), (30, 2.0423), (1000, 1.9623)):
        assert offpolicy.student(freedom) == pytest.approx(tabulated, rel=0.005)
