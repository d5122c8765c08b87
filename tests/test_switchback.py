"""The switchback: blocks of the whole service under either rule, and what their pairs say of the gain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain.decision import GainView, SwitchbackView
from brain.fading import FadingMean
from brain.proof import StepBack
from brain.settings import Proof, Switchback
from brain.switchback import Pairs, block_at

DESIGN = Switchback(block_s=10.0, washout_s=3.0, window_s=1e9)

Cost = Callable[[float, bool, float], float]  # mean felt cost of a request at (time, static, seconds into the block)


def lived(
    cost: Cost, rounds: int, design: Switchback = DESIGN, service: str = "app", pairs: Pairs | None = None
) -> Pairs:
    """A service of 100 requests a second, ticked each second, whose mean cost is this function."""
    pairs = pairs or Pairs()
    for t in range(int(rounds * (4 * design.block_s + design.rest_s)) + 1):
        if pairs.block is not None:
            mean = cost(t, pairs.block.static, t - pairs.block.began_s)
            pairs.add(100.0, 100.0 * mean, float(t), design)
        pairs.enter(block_at(service, float(t), design), float(t), design)
    return pairs


def drawn(rng: np.random.Generator, rounds: int, gain: float, service: str) -> SwitchbackView:
    """A mesh whose blocks share their luck with their neighbours, and whose means are skewed."""
    luck = {"now": 0.0}

    def cost(_t: float, static: bool, _into: float) -> float:
        luck["now"] = 0.95 * luck["now"] + rng.normal(0, 0.1)
        return float(np.exp(luck["now"]) * rng.gamma(5.0, 0.2) * (1.0 if static else 1 - gain))

    return lived(cost, rounds, service=service).view(0.0)


@pytest.mark.parametrize("gain", [0.0, 0.4])
def test_the_95_percent_interval_covers_the_truth_about_as_often_as_it_says(gain: float) -> None:
    rng = np.random.default_rng(11)
    runs, covered, values = 300, 0, []
    for i in range(runs):
        view = drawn(rng, rounds=8, gain=gain, service=f"app-{i}")
        assert view.value is not None
        assert view.low is not None
        assert view.high is not None
        covered += view.low <= gain <= view.high
        values.append(np.log(1 - view.value))
    assert 0.92 <= covered / runs <= 0.98
    assert abs(np.mean(values) - np.log(1 - gain)) < 3 * np.std(values) / np.sqrt(runs), "biased"


def test_a_known_gain_is_found() -> None:
    view = lived(lambda t, static, _: (1.0 if static else 0.7) * (1 + 0.01 * (t % 7)), rounds=4).view(0.0)
    assert view.pairs == pytest.approx(8)
    assert view.value == pytest.approx(0.3, abs=0.02)
    assert view.low is not None
    assert view.low > 0.25


def test_a_linear_trend_cancels_whatever_the_orders_drawn() -> None:
    for name in ("app", "web", "orders", "search"):
        view = lived(lambda t, static, _: float(np.exp(0.004 * t)) * (1.0 if static else 0.8), 4, service=name).view(
            0.0
        )
        assert view.value == pytest.approx(0.2, abs=1e-9)


def test_what_the_other_rule_left_in_the_washout_is_left_out() -> None:
    def cost(_t: float, static: bool, into: float) -> float:
        return 50.0 if into <= DESIGN.washout_s else 1.0 if static else 0.5

    assert lived(cost, rounds=4).view(0.0).value == pytest.approx(0.5)
    with_it = lived(cost, 4, replace(DESIGN, washout_s=0.0)).view(0.0)
    assert with_it.value is not None
    assert with_it.value < 0.1, "the remains of the other rule hide the gain"


@given(
    service=st.text(max_size=20),
    now=st.floats(0, 1e10),
    block_s=st.floats(1, 1e5),
    rest_s=st.floats(0, 1e6),
)
def test_every_time_is_in_one_block_or_in_a_rest(service: str, now: float, block_s: float, rest_s: float) -> None:
    design = Switchback(block_s=block_s, rest_s=rest_s)
    block = block_at(service, now, design)
    if block is None:
        assert rest_s > 0
        return
    slack = 1e-9 * max(now, 1.0)
    assert block.began_s - slack <= now <= block.ends_s + slack
    assert block_at(service, now, design) == block


@given(service=st.text(max_size=20), number=st.integers(0, 10**6))
def test_every_round_is_abba_or_baab(service: str, number: int) -> None:
    design = Switchback(block_s=8.0, rest_s=8.0)
    start = number * 40.0
    blocks = [block_at(service, start + 8.0 * k + 1.0, design) for k in range(5)]
    assert blocks[4] is None
    order = "".join("?" if b is None else "A" if b.static else "B" for b in blocks[:4])
    assert order in ("ABBA", "BAAB")
    assert [b.number for b in blocks if b] == [4 * number + k for k in range(4)]


def test_orders_are_drawn_and_differ_between_services_and_rounds() -> None:
    firsts = [[block_at(s, r * 40.0, DESIGN) for r in range(64)] for s in ("app", "web")]
    drawn = [[b.static for b in row if b] for row in firsts]
    assert drawn[0] != drawn[1]
    assert all(20 <= sum(row) <= 44 for row in drawn)


def test_a_block_that_was_not_whole_is_thrown_away_with_its_pair() -> None:
    def go(spoil_at: float | None) -> float:
        pairs = Pairs()
        for t in range(401):
            pairs.add(100.0, 100.0, float(t), DESIGN)
            block = block_at("app", float(t), DESIGN)
            pairs.enter(None if t == spoil_at else block, float(t), DESIGN)
        return pairs.view(400.0).pairs

    assert go(None) == pytest.approx(20)
    assert go(205) == pytest.approx(19), "a moment of doubt in the midst"
    assert go(209) == pytest.approx(19), "a moment of doubt at its end, when most of it was measured"


def test_ticks_that_never_came_spoil_their_block() -> None:
    pairs = Pairs()
    for t in [*range(201), *range(206, 401)]:
        if t == 206:
            pairs.spoil()  # what a lease that ended does
        pairs.add(100.0, 100.0, float(t), DESIGN)
        pairs.enter(block_at("app", float(t), DESIGN), float(t), DESIGN)
    assert pairs.view(400.0).pairs == pytest.approx(19)


def test_nearly_silent_blocks_say_nothing() -> None:
    pairs = Pairs()
    for t in range(801):
        pairs.add(1.0, 1.0, float(t), DESIGN)  # seven a block
        pairs.enter(block_at("app", float(t), DESIGN), float(t), DESIGN)
    assert pairs.view(800.0) == replace(pairs.view(800.0), value=None, pairs=0.0)


def test_nothing_is_told_before_six_pairs() -> None:
    assert lived(lambda *_: 1.0, rounds=2).view(0.0).value is None
    assert lived(lambda *_: 1.0, rounds=3).view(0.0).value == pytest.approx(0.0)


def test_old_pairs_fade() -> None:
    fading = replace(DESIGN, window_s=120.0)
    changed = lived(lambda t, static, _: 1.0 if static else 0.5 if t < 1000 else 1.5, 50, fading).view(0.0)
    assert changed.value == pytest.approx(-0.5, abs=0.03)
    assert changed.pairs < 20


def test_the_view_says_which_block_it_is_and_for_how_long() -> None:
    pairs = Pairs()
    assert (pairs.view(0.0).block, pairs.view(0.0).block_ends_in_s) == ("", None)
    block = block_at("app", 3.0, DESIGN)
    pairs.enter(block, 3.0, DESIGN)
    assert pairs.view(3.0).block in ("static", "adaptive")
    assert pairs.view(3.0).block_ends_in_s == 7.0


def test_the_evidence_outlives_a_restart_and_the_open_pair_does_not() -> None:
    before = lived(lambda t, static, _: (1.0 if static else 0.7) + 0.001 * (t % 9), rounds=4)
    after = Pairs()
    after.log_ratio.restore(FadingMean.check(before.log_ratio.state()), 500.0)
    assert replace(after.view(0.0), block="", block_ends_in_s=None) == replace(
        before.view(0.0), block="", block_ends_in_s=None
    )


@pytest.mark.parametrize(
    "state",
    [{}, {"sums": [1, 2], "at": 0}, {"sums": [1, 2, 3, np.nan], "at": 0}, {"sums": [1, 1, 0, 0], "at": "soon"}],
)
def test_evidence_that_cannot_be_read_is_refused(state: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        FadingMean.check(state)


@given(st.lists(st.tuples(st.floats(0, 1e12), st.floats(0, 1e300)), min_size=40, max_size=80))
def test_no_evidence_makes_the_view_fail_and_the_interval_holds_the_value(ended: list[tuple[float, float]]) -> None:
    pairs, design = Pairs(), Switchback(block_s=2.0, washout_s=0.0)
    for t, (requests, cost_s) in enumerate(ended):
        pairs.add(requests, cost_s, float(t), design)
        pairs.enter(block_at("app", float(t), design), float(t), design)
    view = pairs.view(float(len(ended)))
    if view.value is not None:
        assert view.low is not None
        assert view.high is not None
        assert view.low <= view.value <= view.high <= 1.0


LOSS, NONE = SwitchbackView(-0.3, -0.4, -0.1, 9.0), GainView(0.1, -0.1, 0.3)


def test_a_loss_by_the_switchback_alone_steps_the_share_down_and_says_so() -> None:
    step, settings = StepBack(), Proof()
    said = [step.judge(NONE, 95.0, float(t), settings, LOSS) for t in range(31)]
    assert said[:30] == [""] * 30
    assert said[30] == ("gain of the whole service -30.0% (-40.0% to -10.0%) below zero for 30 s: share down to 50 %")


def test_no_loss_by_either_estimate_steps_nothing_down() -> None:
    step, settings = StepBack(), Proof()
    assert not any(step.judge(NONE, 95.0, float(t), settings, replace(LOSS, high=0.1)) for t in range(100))
