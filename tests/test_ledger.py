"""By what plan, weight and probability an attempt was picked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.contract import Arm, Plan, Requests, ServicePlan
from dataplane.ledger import KEPT_PLANS, Ledger
from dataplane.mesh import EndpointSpec, Mesh, NodeSpec, Registry, ServiceSpec

STATIC, ADAPTIVE = Arm.STATIC, Arm.ADAPTIVE


def mesh(*weights):
    members = tuple(EndpointSpec(f"127.0.0.1:{n}", w) for n, w in enumerate(weights, start=1))
    return Mesh((NodeSpec("n1"), NodeSpec("n2")), (), (), (ServiceSpec("web", members),))


def plan(version, *weights):
    return Plan(version, {0: ServicePlan(100.0, dict(enumerate(weights)))})


def attempts(*rows, node=0):
    """Rows of (started, endpoint, arm)."""
    started, endpoint, arm = zip(*rows, strict=True) if rows else ((), (), ())
    given = {"started_s": started, "endpoint": endpoint, "arm": arm, "node": [node] * len(rows)}
    return Requests.of(**{name: given.get(name, np.zeros(len(rows))) for name in Requests.dtypes()})


def stamped(ledger, *rows, offset_s=0.0, node=0):
    got = ledger.stamp(attempts(*rows, node=node), offset_s)
    return list(
        zip(got.plan.tolist(), got.weight.tolist(), np.round(got.probability.astype(float), 4).tolist(), strict=True)
    )


@pytest.fixture
def ledger():
    return Ledger(Registry().topology(mesh(3, 1)))


def test_before_any_plan_both_arms_have_the_operators_weights(ledger):
    assert stamped(ledger, (1.0, 0, STATIC), (1.0, 1, ADAPTIVE)) == [(0, 3, 0.75), (0, 1, 0.25)]


def test_a_plan_counts_from_the_moment_that_the_node_accepted_it(ledger):
    ledger.published(plan(1, 10, 90), 5.0)
    ledger.accepted(0, 1, 6.0)
    ledger.published(plan(2, 50, 50), 7.0)
    ledger.accepted(0, 2, 8.0)
    rows = [(t, 1, ADAPTIVE) for t in (5.9, 6.0, 7.9, 8.0)]
    assert stamped(ledger, *rows) == [(0, 1, 0.25), (1, 90, 0.9), (1, 90, 0.9), (2, 50, 0.5)]


def test_the_static_arm_keeps_the_operators_weights_under_any_plan(ledger):
    ledger.published(plan(1, 10, 90), 5.0)
    ledger.accepted(0, 1, 6.0)
    assert stamped(ledger, (7.0, 1, STATIC), (7.0, 1, ADAPTIVE)) == [(1, 1, 0.25), (1, 90, 0.9)]


def test_a_node_that_did_not_accept_a_plan_is_not_under_it(ledger):
    ledger.published(plan(1, 10, 90), 5.0)
    ledger.accepted(0, 1, 6.0)
    assert stamped(ledger, (7.0, 1, ADAPTIVE), node=1) == [(0, 1, 0.25)]


def test_the_nodes_clock_is_turned_into_ours(ledger):
    ledger.published(plan(1, 10, 90), 1000.0)
    ledger.accepted(0, 1, 1000.0)
    assert stamped(ledger, (99.0, 1, ADAPTIVE), (101.0, 1, ADAPTIVE), offset_s=900.0) == [(0, 1, 0.25), (1, 90, 0.9)]


def test_while_the_offset_is_unknown_the_newest_accepted_plan_is_assumed(ledger):
    ledger.published(plan(1, 10, 90), 1000.0)
    assert stamped(ledger, (5.0, 1, ADAPTIVE), offset_s=float("nan")) == [(0, 1, 0.25)]
    ledger.accepted(0, 1, 1000.0)
    assert stamped(ledger, (5.0, 1, ADAPTIVE), offset_s=float("nan")) == [(1, 90, 0.9)]


def test_an_attempt_without_an_endpoint_has_no_weight(ledger):
    assert stamped(ledger, (1.0, -1, ADAPTIVE), (1.0, -1, STATIC)) == [(0, 0, 0.0), (0, 0, 0.0)]


def test_an_endpoint_that_joins_is_known_from_then_on(ledger):
    registry = Registry()
    ledger = Ledger(registry.topology(mesh(1, 1)))
    ledger.published(plan(1, 10, 30), 1.0)
    ledger.accepted(0, 1, 1.0)
    assert stamped(ledger, (2.0, 2, ADAPTIVE)) == [(1, 0, 0.0)]
    ledger.moved(registry.topology(mesh(1, 1, 1)))
    assert stamped(ledger, (2.0, 2, ADAPTIVE), (2.0, 1, ADAPTIVE)) == [(1, 20, 0.3333), (1, 30, 0.5)]


def test_only_the_newest_plans_are_remembered_and_older_attempts_get_the_oldest_of_them(ledger):
    for n in range(1, 3 * KEPT_PLANS):
        ledger.published(plan(n, n, 1), float(n))
        ledger.accepted(0, n, float(n))
    oldest = 2 * KEPT_PLANS
    assert stamped(ledger, (1.0, 0, ADAPTIVE)) == [(oldest, oldest, round(oldest / (oldest + 1), 4))]
    assert len(ledger._tables) <= KEPT_PLANS + 1


def test_an_empty_batch_stays_empty(ledger):
    assert len(ledger.stamp(Requests.empty(), 0.0)) == 0


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(1, 1000), st.integers(1, 1000)), max_size=8),
    st.lists(st.floats(-10, 110), min_size=1, max_size=50),
)
def test_vectors_say_what_a_plain_look_up_says(accepts, times):
    ledger = Ledger(Registry().topology(mesh(3, 1)))
    history = [(float("-inf"), 0, (3, 1))]
    for n, (at, *given_) in enumerate(sorted(accepts), start=1):
        ledger.published(plan(n, *given_), at)
        ledger.accepted(0, n, at)
        history.append((at, n, tuple(given_)))
    for t, (version, weight, probability) in zip(
        times, stamped(ledger, *((t, 0, ADAPTIVE) for t in times)), strict=True
    ):
        _, expected, pair = [h for h in history if h[0] <= t][-1]
        assert (version, weight) == (expected, pair[0])
        assert probability == pytest.approx(pair[0] / sum(pair), abs=1e-4)
