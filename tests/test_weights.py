"""The weights policy: capacity against peers, believed as far as count and interval allow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain.settings import Cost
from brain.view import View, prior_of
from brain.weights import middle, propose
from dataplane.contract import Endpoint, Service

PER_ENDPOINT = ("good", "service_s", "service_low_s", "service_high_s", "latency_s", "rate_per_s", "in_flight")


def view(
    capacity: list[float], *, count: float | list[float] = 1e9, spread: float = 1.0, weights: list[int] | None = None,
    ready: bool = True,
) -> View:  # fmt: skip
    n = len(capacity)
    c = np.array(capacity, dtype=float)
    service = Service(0, "app", tuple(Endpoint(i, f"10.0.0.{i}:80", w) for i, w in enumerate(weights or [1] * n)))
    return View(
        service=service,
        members=np.arange(n),
        prior=prior_of(service),
        in_force=np.full(n, 100),
        capacity=c,
        capacity_low=c / spread,
        capacity_high=c * spread,
        count=np.broadcast_to(np.array(count, dtype=float), (n,)),
        error_share=np.full(n, np.nan),
        **dict.fromkeys(PER_ENDPOINT, np.full(n, np.nan)),
        lanes=np.nan,
        ready=ready,
    )


def ratios(v: View, prior_samples: float = 10.0) -> list[float]:
    w = propose(v, prior_samples, Cost()).wanted
    return [round(x, 3) for x in (w / w.max()).tolist()]


def test_certain_capacities_become_weights_in_their_ratio() -> None:
    assert ratios(view([400, 200, 100])) == [1.0, 0.5, 0.25]


def test_before_the_service_is_ready_the_operators_weights_stand() -> None:
    assert ratios(view([400, 200, 100], weights=[1, 1, 2], ready=False)) == [0.5, 0.5, 1.0]


def test_an_endpoint_that_keeps_the_operators_promise_keeps_the_operators_weight() -> None:
    assert ratios(view([400, 200, 100], weights=[4, 2, 1])) == [1.0, 0.5, 0.25]


def test_an_unknown_capacity_gets_the_operators_weight() -> None:
    assert ratios(view([100, np.nan, 100])) == [1.0, 1.0, 1.0]
    assert ratios(view([np.nan, np.nan], weights=[3, 1])) == [1.0, 0.333]


def test_a_capacity_of_nothing_is_the_worst_there_is_and_not_an_unknown() -> None:
    assert ratios(view([0, 100, 100])) == [0.0, 1.0, 1.0]
    assert ratios(view([0, 0, 0])) == [1.0, 1.0, 1.0]


def test_few_samples_are_drawn_towards_the_peers() -> None:
    assert ratios(view([10, 100, 100], count=[10, 1e9, 1e9])) == [pytest.approx(0.316, abs=0.001), 1.0, 1.0]
    assert ratios(view([10, 100, 100], count=[0, 1e9, 1e9])) == [1.0, 1.0, 1.0]


def test_a_difference_that_the_interval_could_make_is_no_difference() -> None:
    assert ratios(view([90, 100, 110], spread=2.0)) == [1.0, 1.0, 1.0]


def test_a_difference_far_beyond_the_interval_is_taken_almost_whole() -> None:
    assert ratios(view([10, 100, 100], spread=1.2)) == [pytest.approx(0.1, abs=0.005), 1.0, 1.0]


def test_all_slower_alike_reshuffles_nothing() -> None:
    assert ratios(view([40, 20, 10])) == ratios(view([400, 200, 100]))


@given(
    st.lists(st.tuples(*[st.floats() for _ in range(4)], st.integers(1, 10**6)), min_size=1, max_size=12),
    st.floats(0, 100),
)
def test_whatever_a_model_predicts_the_proposal_is_positive(rows: list[tuple[float, ...]], prior: float) -> None:
    v = view([r[0] for r in rows], weights=[int(r[4]) for r in rows])
    v = View(
        **{f: getattr(v, f) for f in ("service", "members", "prior", "in_force", "capacity", "error_share", "ready")},
        **{f: getattr(v, f) for f in (*PER_ENDPOINT, "lanes")},
        capacity_low=np.array([r[1] for r in rows]),
        capacity_high=np.array([r[2] for r in rows]),
        count=np.array([r[3] for r in rows]),
    )
    w = propose(v, prior, Cost()).wanted
    assert np.isfinite(w).all()
    assert (w >= 0).all()


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20))
def test_the_middle_is_the_median(values: list[float]) -> None:
    assert middle(np.array(values)) == pytest.approx(float(np.median(values)))
