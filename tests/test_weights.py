"""The weights policy: capacity against peers, believed as far as count and interval allow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain.course import least_share
from brain.settings import Cost, Guard
from brain.tiers import BUSY
from brain.view import View, middle, prior_of
from brain.weights import propose
from dataplane.contract import Endpoint, Service

PER_ENDPOINT = (
    "tick_good",
    "tick_log_work",
    "good",
    "service_s",
    "service_low_s",
    "service_high_s",
    "latency_s",
    "rate_per_s",
    "ok_per_s",
    "in_flight",
    "quiet_s",
)


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
        promised=prior_of(service),
        in_force=np.full(n, 100),
        capacity=c,
        capacity_low=c / spread,
        capacity_high=c * spread,
        count=np.broadcast_to(np.array(count, dtype=float), (n,)),
        error_share=np.full(n, np.nan),
        **dict.fromkeys(PER_ENDPOINT, np.full(n, np.nan)),
        lanes=np.nan,
        lanes_high=np.nan,
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


def loaded(
    capacity: list[float], load: float, *, lanes: float = 4.0, error_share: list[float] | None = None, **more: object
) -> View:
    """One whose endpoints work on `lanes` requests at once, under a load that is a part of what all can bear."""
    base = view(capacity, **more)  # type: ignore[arg-type]
    rate = np.full(base.capacity.shape, load * float(np.nansum(base.capacity)) / len(capacity))
    failing = np.array(error_share or [0.0] * len(capacity))
    with np.errstate(divide="ignore"):
        service_s = lanes / base.capacity * (1.0 - failing) ** 2  # as `models.capacity` counts failures
    told = {"lanes": lanes, "rate_per_s": rate, "latency_s": service_s, "service_s": service_s, "error_share": failing}
    return replace(base, **told)


def wanted(v: View, cost: Cost = Cost(), **more: float) -> np.ndarray:  # noqa: B008 - it is frozen
    share = propose(v, 10.0, cost, **more).wanted
    return share / share.sum()


def test_with_room_to_spare_the_slow_get_less_than_their_capacity_but_not_less_than_the_reserve() -> None:
    v = loaded([400, 400, 100, 100], 0.3)
    assert wanted(v)[2:].tolist() == pytest.approx([0.1 * 0.25 / 1.05] * 2, rel=0.01)
    assert wanted(v, Cost(reserve=0.0))[2:].sum() < 0.001
    assert wanted(v, Cost(reserve=1.0)) == pytest.approx([0.4, 0.4, 0.1, 0.1], rel=0.2)


def test_while_there_is_room_no_tier_is_planned_for_more_than_it_can_bear_without_one() -> None:
    v = loaded([400, 400, 266, 266], 0.4, lanes=2.0)
    busy = lambda cost: wanted(v, cost) * float(v.rate_per_s.sum()) / v.capacity  # noqa: E731
    assert busy(Cost(overhang_price_s=0.0))[:2].min() > 0.5
    assert busy(Cost()).max() <= 0.5 * BUSY + 1e-3


def test_where_nodes_see_no_queues_nothing_is_kept_free_for_one_that_is_lost() -> None:
    # Nobody would take over by itself there: turns are dealt out until weights change.
    v = loaded([400, 400, 266, 266], 0.4, lanes=2.0)
    crowd = wanted(v, nodes=100.0)
    assert crowd == pytest.approx(wanted(v, Cost(overhang_price_s=0.0), nodes=100.0), rel=1e-4)
    assert crowd.max() > wanted(v, nodes=1.0).max()


def test_near_saturation_the_split_is_by_capacity() -> None:
    assert wanted(loaded([400, 400, 100, 100], 0.97)) == pytest.approx([0.4, 0.4, 0.1, 0.1], abs=0.01)


def test_while_it_is_not_known_how_many_an_endpoint_works_on_the_split_is_by_capacity() -> None:
    for lanes in (np.nan, 0.5):
        v = replace(loaded([400, 400, 100, 100], 0.3), lanes=lanes)
        assert wanted(v) == pytest.approx([0.4, 0.4, 0.1, 0.1])


def test_what_the_holdout_sends_is_counted_so_that_all_together_come_out_right() -> None:
    v = view([400, 400, 100, 100])
    whole = 0.2 * 0.25 + 0.8 * wanted(v, holdout=0.2)
    assert whole == pytest.approx([0.4, 0.4, 0.1, 0.1])


def test_a_holdout_that_already_sends_too_much_leaves_a_hundredth() -> None:
    share = propose(view([400, 400, 400, 1]), 10.0, Cost(), holdout=0.4).wanted
    assert share[3] == pytest.approx(0.01 * 1 / 1201)


@pytest.mark.parametrize("holdout", [-1.0, 0.9, 1.0])
def test_a_holdout_that_is_most_or_none_of_the_load_does_not_turn_the_split_upside_down(holdout: float) -> None:
    share = wanted(view([400, 200, 100]), holdout=holdout)
    assert share[0] > share[1] > share[2] > 0


def test_a_difference_in_latency_that_does_not_last_is_not_acted_on() -> None:
    v = loaded([400, 400, 100, 100], 0.97)
    assert wanted(v, lasting=0.0) == pytest.approx([0.25] * 4)
    half = wanted(v, lasting=0.5)
    assert 0.25 < half[0] < 0.4


def test_a_failing_endpoint_is_always_believed() -> None:
    # It answers as fast as the others, and fails half: its capacity is a quarter, and none of that is latency.
    v = loaded([100, 100, 100, 25], 0.97, error_share=[0, 0, 0, 0.5])
    assert v.service_s.tolist() == [0.04] * 4
    assert wanted(v, lasting=0.0) == pytest.approx(wanted(v), abs=1e-9)
    assert wanted(v, lasting=0.0)[3] < 0.1


def test_a_hung_endpoint_is_believed_though_latency_differences_do_not_last() -> None:
    v = loaded([100, 100, 100, 0], 0.6)
    v = replace(v, service_s=np.array([0.04, 0.04, 0.04, np.nan]))
    assert wanted(v, lasting=0.0)[3] < 1e-6


def test_an_endpoint_of_unknown_capacity_is_an_average_peer_and_shares_their_tier() -> None:
    proposal = propose(loaded([100, 100, np.nan], 0.6), 10.0, Cost())
    assert (proposal.wanted / proposal.wanted.sum()) == pytest.approx([1 / 3] * 3)
    assert proposal.tiers.tolist() == [0, 0, 0]
    assert proposal.strength.tolist() == [1.0, 1.0, 1.0]


def test_a_price_for_failures_moves_load_from_who_fails_beyond_what_its_capacity_says() -> None:
    v = loaded([100, 100, 100, 81], 0.6, error_share=[0, 0, 0, 0.1])
    assert wanted(v, Cost(error_price_s=1.0))[3] < wanted(v)[3]


def test_a_price_for_crossing_zones_moves_load_to_who_is_near() -> None:
    v = replace(loaded([100] * 4, 0.6), crossing_share=np.array([0.0, 0.0, 1.0, 1.0]))
    share = wanted(v, Cost(zone_crossing_s=0.05))
    assert share[0] == share[1] > 1.5 * share[2]
    assert wanted(v) == pytest.approx([0.25] * 4)


def test_unlike_endpoints_are_in_tiers_and_alike_ones_share_one() -> None:
    assert propose(loaded([400, 400, 100, 100, 390], 0.9), 10.0, Cost()).tiers.tolist() == [0, 0, 1, 1, 0]


def test_where_a_node_sees_no_queue_there_is_one_tier_and_who_is_alike_has_like_weights_still() -> None:
    v = loaded([400, 380, 100, 100], 0.9)
    assert propose(v, 10.0, Cost(), nodes=1000.0).tiers.tolist() == [0] * 4
    assert wanted(v, nodes=1000.0) == pytest.approx(wanted(v), rel=1e-6)
    assert wanted(v)[0] == wanted(v)[1] > wanted(v)[2]


def test_before_the_service_is_ready_there_is_one_tier_and_nobody_is_weak() -> None:
    proposal = propose(loaded([400, 100, np.nan], 0.9, ready=False), 10.0, Cost())
    assert proposal.tiers.tolist() == [0, 0, 0]
    assert proposal.strength.tolist() == [1.0] * 3


@given(
    st.lists(st.tuples(*[st.floats() for _ in range(4)], st.integers(1, 10**6)), min_size=1, max_size=12),
    st.floats(0, 100),
)
def test_whatever_a_model_predicts_the_proposal_is_positive(rows: list[tuple[float, ...]], prior: float) -> None:
    v = view([r[0] for r in rows], weights=[int(r[4]) for r in rows])
    v = View(
        **{f: getattr(v, f) for f in ("service", "members", "prior", "promised", "in_force", "capacity", "ready")},
        **{f: getattr(v, f) for f in (*PER_ENDPOINT, "error_share", "lanes", "lanes_high")},
        capacity_low=np.array([r[1] for r in rows]),
        capacity_high=np.array([r[2] for r in rows]),
        count=np.array([r[3] for r in rows]),
    )
    for lanes, holdout, lasting in ((np.nan, 0.0, 1.0), (4.0, 0.1, 0.6), (1.0, 0.5, 0.0)):
        rate = np.full(len(rows), 10.0)
        told = replace(v, lanes=lanes, rate_per_s=rate, latency_s=np.array([r[1] for r in rows]))
        proposal = propose(told, prior, Cost(), holdout=holdout, lasting=lasting)
        assert np.isfinite(proposal.wanted).all()
        assert (proposal.wanted >= 0).all()
        assert proposal.wanted.any()
        assert np.isfinite(proposal.strength).all()
        assert sorted(set(proposal.tiers.tolist())) == list(range(len(set(proposal.tiers.tolist()))))


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20))
def test_the_middle_is_the_median(values: list[float]) -> None:
    assert middle(np.array(values)) == pytest.approx(float(np.median(values)))


# The floor of who is cut.


def asked(per_s: float, weights: list[int] | None = None) -> View:
    v = view([100] * 5, weights=weights)
    return replace(v, rate_per_s=np.full(5, per_s / 5))


def test_where_traffic_is_thin_the_floor_rises_to_bring_what_shows_a_recovery() -> None:
    guard = Guard(explore_per_s=0.3, explore_share_of_mean=0.05)
    assert least_share(asked(100.0), guard) == pytest.approx(0.3 / 20)
    assert least_share(asked(10.0), guard) == 0.05
    assert least_share(asked(0.0), guard) == 0.05


def test_what_the_holdout_brings_is_not_asked_for_again() -> None:
    guard = Guard(explore_per_s=0.3)
    assert least_share(asked(100.0), guard, holdout=0.01) == pytest.approx(0.1 / 20)
    assert least_share(asked(100.0), guard, holdout=0.05) == 0.0
    # It splits by the operator's weights, and may bring next to nothing to a small one.
    assert least_share(asked(100.0, [1, 1, 1, 1, 96]), guard, holdout=0.05) == pytest.approx(0.3 / 20 - 0.05 / 20)


@given(
    st.lists(st.floats(1.0, 1000.0), min_size=2, max_size=8),
    st.floats(0.1, 1.0),
    st.sampled_from([np.nan, 1.0, 4.0]),
    st.booleans(),
)
def test_where_all_are_as_young_the_proposal_is_as_if_none_was(
    capacity: list[float], part: float, lanes: float, by_module: bool
) -> None:
    grown = replace(loaded(capacity, 0.5), lanes=lanes)
    young = replace(grown, promised=grown.prior * part)
    for nodes in (1.0, 500.0):
        one, other = (propose(v, 10.0, Cost(), nodes, 0.05, 0.8, by_module) for v in (grown, young))
        assert one.wanted / one.wanted.sum() == pytest.approx(other.wanted / other.wanted.sum(), rel=1e-6)
        assert one.strength == pytest.approx(other.strength)
        assert one.tiers.tolist() == other.tiers.tolist()
