"""The proof: the gain's interval covers the truth, and a proven loss takes the share back."""

from __future__ import annotations

import numpy as np
import pytest

from brain.decision import GainView
from brain.proof import BLOCK_S, Evidence, StepBack, student
from brain.settings import Proof
from features.columns import ServiceFeatures

SETTINGS = Proof()


def tick(count: list[float], cost: list[float]) -> ServiceFeatures:
    """One service's second: [static, adaptive] requests and summed cost."""
    none = np.full((1, 2), np.nan)
    return ServiceFeatures(
        requests_per_s=none, p50_s=none, p99_s=none, failed_share=none, total=np.zeros((1, 2), dtype=np.int64),
        tick_count=np.array([count]), tick_failed=np.zeros((1, 2)), tick_refused=np.zeros((1, 2)),
        tick_retries=np.zeros((1, 2)), tick_retries_ok=np.zeros((1, 2)),
        tick_good=np.array([count]), tick_good_s=np.array([cost]),
        tick_bytes_in=np.zeros((1, 2)), tick_bytes_out=np.zeros((1, 2)), tick_cost_s=np.array([cost]),
        tick_cost_sq=np.zeros((1, 2)), failure_cost_s=np.array([1.0]),
    )  # fmt: skip


def gather(rng: np.random.Generator, seconds: int, rate: float, true_gain: float) -> GainView:
    """A mesh whose requests share their luck: bursts, and a slowness that lasts for seconds."""
    evidence = Evidence(1, SETTINGS.window_s)
    slowness = 0.0
    for t in range(seconds):
        slowness = 0.7 * slowness + rng.normal(0, 0.3)
        demand = rate * rng.gamma(4.0, 0.25)
        counts, costs = [], []
        for share, factor in ((0.05, 1.0), (0.95, 1 - true_gain)):
            n = int(rng.poisson(demand * share))
            own = np.exp(slowness + rng.normal(0, 0.2))
            counts.append(float(n))
            costs.append(float(factor * own * rng.lognormal(-4.0, 1.0, n).sum()))
        evidence.add(tick(counts, costs), float(t))
    return evidence.gains(SETTINGS.min_requests)[0]


@pytest.mark.parametrize("true_gain", [0.0, 0.3, -0.5])
def test_the_95_percent_interval_covers_the_truth_in_92_percent_of_runs_or_more(true_gain: float) -> None:
    rng = np.random.default_rng(5)
    runs, covered = 250, 0
    for _ in range(runs):
        gain = gather(rng, seconds=240, rate=100.0, true_gain=true_gain)
        assert gain.low is not None
        assert gain.high is not None
        covered += gain.low <= true_gain <= gain.high
    assert 0.92 <= covered / runs <= 0.99


def test_no_gain_is_told_before_both_arms_have_enough_requests_and_blocks() -> None:
    evidence = Evidence(1, SETTINGS.window_s)
    for t in range(10):
        evidence.add(tick([1000, 1000], [20, 10]), float(t))
    assert evidence.gains(100)[0].value is None  # plenty of requests, one block
    for t in range(10, 60):
        evidence.add(tick([1000, 1000], [20 + t % 7, 10 + t % 5]), float(t))
    assert evidence.gains(100)[0].value == pytest.approx(0.48, abs=0.05)
    for t in range(60):
        evidence.add(tick([1, 1000], [0.02, 10]), 60.0 + t)
    evidence.forget(0)
    for t in range(60):
        evidence.add(tick([1, 1000], [0.02, 10]), 120.0 + t)
    assert evidence.gains(100)[0].value is None  # plenty of blocks, few requests on the static arm


def test_old_evidence_fades() -> None:
    evidence = Evidence(1, 30.0)
    for t in range(120):
        evidence.add(tick([50, 50], [2.0 + t % 3, 1.0 + t % 2]), float(t))
    for t in range(120, 420):
        evidence.add(tick([50, 50], [2.0 + t % 3, 4.0 + t % 2]), float(t))
    gain = evidence.gains(100)[0]
    assert gain.value == pytest.approx(1 - 4.5 / 3.0, abs=0.02)


def test_services_do_not_share_their_evidence() -> None:
    evidence = Evidence(1, SETTINGS.window_s)
    evidence.resize(2)
    row = tick([50, 50], [2.0, 1.0])
    two = ServiceFeatures(**{
        f: np.concatenate([getattr(row, f), getattr(tick([0, 0], [0, 0]), f)])
        for f in ServiceFeatures.__slots__
    })  # fmt: skip
    for t in range(100):
        evidence.add(two, float(t))
    first, second = evidence.gains(100)
    assert first.value == pytest.approx(0.5)
    assert second.value is None


def test_student_is_the_textbook_quantile() -> None:
    assert student(np.array([4.0, 5.0, 10.0, 30.0, 1e9])) == pytest.approx(
        [2.776, 2.571, 2.228, 2.042, 1.960], rel=0.01
    )


LOSS = GainView(-0.2, -0.3, -0.1, 500, 9500)
MAYBE = GainView(-0.2, -0.5, 0.1, 500, 9500)


def test_a_loss_that_lasts_steps_the_share_down_and_a_doubtful_one_does_not() -> None:
    step, log = StepBack(), []
    for t in range(100):
        if why := step.judge(LOSS if t < 40 else MAYBE, 95.0, float(t), SETTINGS):
            log.append((t, why))
    assert log == [(30, "gain -20.0% (-30.0% to -10.0%) below zero for 30 s: share down to 50 %")]
    assert step.share(95.0, SETTINGS) == 50.0


def test_a_loss_that_pauses_counts_from_its_return() -> None:
    step = StepBack()
    for t in range(100):
        assert step.judge(MAYBE if t % 30 == 29 else LOSS, 95.0, float(t), SETTINGS) == ""


def test_the_share_walks_down_to_nothing_and_is_tried_again_step_by_step() -> None:
    step, shares = StepBack(), []
    for t in range(0, 3000, 10):
        step.judge(LOSS if t < 150 else GainView(), 95.0, float(t), SETTINGS)
        shares.append(step.share(95.0, SETTINGS))
    assert [s for i, s in enumerate(shares) if i == 0 or s != shares[i - 1]] == [
        95.0,
        50.0,
        10.0,
        0.0,
        10.0,
        50.0,
        95.0,
    ]


def test_a_step_is_always_below_the_commanded_share() -> None:
    step = StepBack()
    for t in range(31):
        step.judge(LOSS, 20.0, float(t), SETTINGS)
    assert step.share(20.0, SETTINGS) == 10.0


def test_a_block_is_longer_than_a_tick() -> None:
    assert BLOCK_S >= 2
