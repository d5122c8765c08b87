"""A queue of seconds is planned away; a short one is the pick's to even out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain import drain
from brain.drain import LEAST_S, OVER_S, drained, overdue
from brain.explain import queue
from brain.settings import Cost, Mode, Settings
from brain.view import View
from brain.weights import propose
from tests.test_weights import loaded
from weirflow.lab.draw import draw
from weirflow.lab.files import load
from weirflow.lab.simulate import simulate


def waiting(waits_s: list[float], capacity: list[float] | None = None, lanes: float = 4.0) -> View:
    """Endpoints at 90 % load, each with so many seconds of work waiting."""
    v = loaded(capacity or [10.0] * len(waits_s), 0.9, lanes=lanes)
    return replace(v, in_flight=np.array(waits_s) * v.capacity + lanes)


def test_who_has_three_seconds_more_to_work_off_than_the_others_is_planned_to_get_rid_of_two_in_five() -> None:
    v = waiting([3.2, 0.2, 0.2, 0.2])
    late = overdue(v)
    assert late.tolist() == pytest.approx([3.0 - LEAST_S, 0, 0, 0])
    rate = drained(np.full(4, 0.25), v, late) * 36.0
    assert rate == pytest.approx([9.0 - 10.0 * late[0] / OVER_S, 9, 9, 9])


def test_queues_that_are_gone_before_a_weight_acts_move_nothing() -> None:
    v = waiting([0.9, 0.0, 0.4, 0.0])
    assert not overdue(v).any()
    share = np.array([0.1, 0.2, 0.3, 0.4])
    assert drained(share, v, overdue(v)) is share


def test_where_all_wait_alike_there_is_nobody_to_give_the_work_to() -> None:
    assert not overdue(waiting([30.0, 30.5, 29.5, 30.0])).any()


def test_usual_is_what_most_of_the_capacity_has_and_not_what_most_endpoints_have() -> None:
    assert overdue(waiting([8.0, 8.0, 8.0, 0.0], capacity=[5.0, 5.0, 5.0, 50.0]))[:3].min() == pytest.approx(7.0)


@pytest.mark.parametrize("unknown", ["in_flight", "capacity"])
def test_of_whom_too_little_is_known_nothing_is_said(unknown: str) -> None:
    v = waiting([9.0, 9.0, 0.0, 0.0])
    v = replace(v, **{unknown: np.where(np.arange(4) == 1, np.nan, getattr(v, unknown))})
    late = overdue(v)
    assert late[0] > 0
    assert late[1] == 0
    assert not overdue(replace(v, lanes=np.nan)).any()


def test_the_proposal_tells_who_drains_and_why() -> None:
    proposal = propose(waiting([6.0, 0.0, 0.0, 0.0]), 10.0, Cost())
    assert proposal.overdue_s[0] == pytest.approx(5.0)
    assert proposal.wanted[0] < 0.1 * proposal.wanted[1]
    assert queue(5.0) == ", its queue 5.00 s too long"
    assert queue(0.0) == ""


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(1e-3, 1e6), st.floats(1e-6, 1.0)), min_size=1, max_size=12),
    st.floats(1.0, 64.0),
)
def test_whatever_is_open_the_shares_stay_shares_and_only_the_late_get_less(
    rows: list[tuple[float, float, float]], lanes: float
) -> None:
    open_now, capacity, share = (np.array(column) for column in zip(*rows, strict=True))
    v = replace(loaded(capacity.tolist(), 0.9, lanes=lanes), in_flight=open_now)
    late = overdue(v)
    out = drained(share / share.sum(), v, late)
    assert np.isfinite(late).all()
    assert (late >= 0).all()
    assert (out > 0).all()
    assert out[late == 0] == pytest.approx((share / share.sum())[late == 0])
    assert (out <= share / share.sum() * (1 + 1e-9)).all()


@pytest.mark.parametrize("delay_s", [0.5, 1.0, 1.5])
def test_with_the_delay_that_weights_have_a_queue_drains_without_swinging(delay_s: float) -> None:
    step = 0.05
    wait = [10.0] * (round(delay_s / step) + 1)  # seconds of work at one endpoint that gets just what it can bear
    for _ in range(1000):
        seen = wait[-1 - round(delay_s / step)]
        wait.append(max(0.0, wait[-1] - step * max(0.0, seen - LEAST_S) / OVER_S))
    assert min(wait) >= LEAST_S - 0.05
    assert wait[-1] == pytest.approx(LEAST_S, abs=0.05)
    assert (np.diff(wait) <= 0).all()


def p99_s(at_s: float) -> float:
    """A hundred proxies before twenty endpoints of unlike speed at 90 %, who pick blindly for eight seconds."""
    scenario = load("many-nodes-124")
    fleet, trace = draw(scenario, np.random.default_rng((61,)), 100)
    settings = Settings(mode=Mode.ADAPTIVE, share_percent=99.0)
    fate = simulate(
        scenario, "weirflow", fleet, trace, np.random.default_rng((61, 1)), nodes=100, settings=settings
    ).fate
    felt = np.where(fate.ok, fate.latency_s, scenario.timeout_s)
    return float(np.quantile(felt[(trace.at_s >= at_s) & (trace.at_s < at_s + 20)], 0.99))


def test_what_blind_picks_piled_up_is_gone_soon_after_weights_are_leased(monkeypatch: pytest.MonkeyPatch) -> None:
    with_it = p99_s(at_s=20.0)
    monkeypatch.setattr(drain, "LEAST_S", np.inf)
    assert with_it < 0.6 * p99_s(at_s=20.0)
