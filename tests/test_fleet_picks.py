"""How the fast mesh picks: as Envoy does, and as the policies that Envoy does not have."""

from __future__ import annotations

import numpy as np
import pytest

from dataplane.simulated import picking
from dataplane.simulated.fleet import Fleet
from dataplane.simulated.fleet_mesh import WAYS, FleetMesh
from tests.fleets import fleet, in_tiers, mesh, trace


def shares_of(policy: str, weights: list[float], open_now: list[int], picks: int = 20_000) -> np.ndarray:
    """Pick that often with open requests held still."""
    of = fleet(*[1.0] * len(weights))
    made = mesh(of, trace(of, 0.5, 1.0), policy=policy, weights=np.array(weights))
    made._nodes.lane["open"][0, 0] = open_now
    picking.rebuild(made._nodes, 0, 0)
    found = [picking.earliest(made._nodes, 0, 0, 0) for _ in range(picks)]
    return np.bincount(found, minlength=len(weights)) / picks


@pytest.mark.parametrize("policy", ["round_robin", "cswrr"])
def test_round_robin_deals_by_weight(policy: str) -> None:
    found = shares_of(policy, [100, 200, 400, 50], [0, 7, 3, 1])
    np.testing.assert_allclose(found, np.array([100, 200, 400, 50]) / 750, atol=1e-3)


@pytest.mark.parametrize("policy", ["least_request", "full_scan"])
def test_least_request_divides_a_weight_by_its_open_requests_and_one(policy: str) -> None:
    weight, open_now = np.array([100.0, 200.0, 400.0]), np.array([0, 3, 7])
    expected = weight / (open_now + 1.0)
    np.testing.assert_allclose(
        shares_of(policy, weight.tolist(), open_now.tolist()), expected / expected.sum(), atol=1e-3
    )


def test_a_full_scan_takes_the_least_and_draws_among_equals() -> None:
    of = fleet(1.0, 1.0, 1.0, 1.0)
    made = mesh(of, trace(of, 0.5, 1.0), policy="full_scan")
    made._nodes.lane["open"][0, 0] = [1, 3, 1, 1]
    rng = np.random.default_rng(1)
    found = np.bincount([picking.full_scan(made._nodes, 0, 0, 0, rng) for _ in range(6000)], minlength=4) / 6000
    np.testing.assert_allclose(found, [1 / 3, 0, 1 / 3, 1 / 3], atol=0.03)


def in_three_tiers() -> FleetMesh:
    """Two of weight 300, two of 100 with one of them busy, one of 200; all of one node."""
    of = fleet(*[1.0] * 5)
    made = mesh(of, trace(of, 0.5, 1.0), policy="full_scan", weights=np.array([300.0, 300, 100, 100, 200]))
    made._nodes.lane["open"][0, 0] = [4, 4, 1, 0, 9]
    in_tiers(made, [0, 0, 1, 1, 2])
    return made


def test_tiers_take_turns_by_weight_whatever_is_open_there() -> None:
    made, rng = in_three_tiers(), np.random.default_rng(1)
    found = np.bincount([picking.stock(made._nodes, 0, 0, 0.0, rng) for _ in range(10_000)], minlength=5)
    np.testing.assert_allclose([found[:2].sum(), found[2:4].sum(), found[4]], [6000, 2000, 2000], atol=2)


def test_inside_a_tier_of_equal_weights_the_shortest_queue_is_taken() -> None:
    made, rng = in_three_tiers(), np.random.default_rng(1)
    found = np.bincount([picking.stock(made._nodes, 0, 0, 0.0, rng) for _ in range(10_000)], minlength=5)
    assert found[2] == 0, "its neighbour is idler"
    np.testing.assert_allclose(found[:2], 3000, atol=200)


def test_inside_a_tier_of_unequal_weights_turns_are_dealt_by_weight_and_queue() -> None:
    of = fleet(*[1.0] * 4)
    made = mesh(of, trace(of, 0.5, 1.0), policy="full_scan", weights=np.array([300.0, 100, 50, 50]))
    made._nodes.lane["open"][0, 0] = [2, 0, 0, 0]
    in_tiers(made, [0, 0, 1, 1])
    rng = np.random.default_rng(1)
    found = np.bincount([picking.stock(made._nodes, 0, 0, 0.0, rng) for _ in range(10_000)], minlength=4)
    np.testing.assert_allclose(found[:2], 4000, atol=2)  # 300 / 3 beside 100 / 1, of four fifths of all


def test_a_tier_of_which_nobody_is_up_passes_its_turns_on() -> None:
    made, rng = in_three_tiers(), np.random.default_rng(1)
    made._notes.note["ejected_at_s"][0, 4] = 0.0
    picking.line_up(made._nodes, made._notes, 0)
    found = np.bincount([picking.stock(made._nodes, 0, 0, 0.0, rng) for _ in range(8000)], minlength=5)
    np.testing.assert_allclose([found[:2].sum(), found[2:4].sum(), found[4]], [6000, 2000, 0], atol=2)


def test_two_choices_take_the_idler_and_now_and_then_the_busiest() -> None:
    of = fleet(1.0, 1.0, 1.0, 1.0)
    made = mesh(of, trace(of, 0.5, 1.0))
    made._nodes.lane["open"][0, 0] = [0, 1, 2, 3]
    rng = np.random.default_rng(1)
    found = np.bincount([picking.stock(made._nodes, 0, 0, 0.0, rng) for _ in range(8000)], minlength=4) / 8000
    np.testing.assert_allclose(found, np.array([7, 5, 3, 1]) / 16, atol=0.03)  # drawn with replacement


def failing(share: float, status: int = 503) -> Fleet:
    """The first of five fails at once."""
    return fleet(*[1.0] * 5, error_share=np.array([[share]] + [[0.0]] * 4), status=np.full((5, 1), status))


def share_of_the_first(of: Fleet, policy: str, after_s: float = 3.0) -> float:
    work = trace(of, 0.6, 12.0, nodes=2)
    fate = mesh(of, work, nodes=2, policy=policy).finish()
    return float((fate.endpoint[work.at_s > after_s] == 0).mean())


def test_a_fast_failure_draws_least_request_in_and_not_those_who_know_failures() -> None:
    of = failing(1.0)
    assert share_of_the_first(of, "least_request") > 0.25, "a fifth would be its due"
    for policy in ("least_request_outliers", "peak_ewma", "prequal"):
        assert share_of_the_first(of, policy) < 0.05, policy
    assert share_of_the_first(failing(1.0, 200), "least_request_outliers") > 0.25, "an empty 200 is no error to Envoy"


def test_no_more_than_half_are_ejected() -> None:
    of = fleet(*[1.0] * 6, error_share=np.ones((6, 1)))
    made = mesh(of, trace(of, 0.6, 5.0), policy="least_request_outliers")
    made.run(4.0)
    assert made._nodes.node["ups"][0] == 3


def test_reported_load_makes_weights_of_capacity() -> None:
    of = fleet(1.0, 2.0, 4.0)
    work = trace(of, 0.7, 60.0)
    fate = mesh(of, work, policy="cswrr").finish()
    late = work.at_s > 10.0
    np.testing.assert_allclose(np.bincount(fate.endpoint[late]) / late.sum(), np.array([1, 2, 4]) / 7, atol=0.03)


def test_oracles_see_how_many_share_an_endpoints_workers() -> None:
    of = fleet(1.0, 1.0, 2.0, sharing=np.ones(3, np.bool_))
    work = trace(of, 0.85, 60.0)
    took_s = {policy: mesh(of, work, policy=policy).finish().latency_s.mean() for policy in WAYS}
    assert max(took_s["jsed"], took_s["clairvoyant"]) < 0.8 * min(took_s["least_request"], took_s["random"])
