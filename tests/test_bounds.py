"""The bounds, and runs in the simulated mesh: nothing beats what cannot be beaten, and the brain can be in the loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brain.brain import Brain
from brain.settings import Mode, Settings
from dataplane.simulated.fleet_mesh import WAYS, Rhythm
from tests.fleets import NEVER, fleet, mesh, p99, trace
from weirflow.lab import bounds
from weirflow.lab.draw import draw
from weirflow.lab.scenario import Change, Group, Scenario, TelemetryFault
from weirflow.lab.simulate import POLICIES, simulate, wire_of

QUIET = Rhythm(flush_s=NEVER, report_s=NEVER)


def test_one_worker_alone_is_a_queue_of_textbooks() -> None:
    of = fleet(2.0, workers=1)
    work = trace(of, 0.9, 30.0)
    free_s, expected = 0.0, []
    for at_s, demand_s in zip(work.at_s, work.demand_s, strict=True):
        free_s = max(at_s, free_s) + demand_s / 2.0
        expected.append(free_s - at_s)
    for bound in (bounds.central_queue, bounds.jsed, bounds.static_weights, bounds.clairvoyant):
        np.testing.assert_allclose(bound(of, work).latency_s, expected, atol=1e-9)


@pytest.mark.parametrize("policy", [p for p in WAYS if p != "clairvoyant"])
def test_among_equals_no_router_beats_one_queue_for_all(policy: str) -> None:
    of = fleet(*[1.0] * 6)
    work = trace(of, 0.85, 60.0, nodes=2)
    routed, one = mesh(of, work, nodes=2, policy=policy, rhythm=QUIET).finish(), bounds.central_queue(of, work)
    assert one.latency_s.mean() <= routed.latency_s.mean()
    assert p99(one.latency_s) <= p99(routed.latency_s)


def test_who_knows_everything_beats_who_knows_speeds_beats_who_knows_nothing() -> None:
    of = fleet(1.0, 1.0, 2.0, 2.0, 4.0, 4.0)
    work = trace(of, 0.8, 60.0, nodes=4)
    local = mesh(of, work, nodes=4, policy="jsed_local", rhythm=QUIET).finish()
    blind = mesh(of, work, nodes=4, rhythm=QUIET).finish()
    means = [f.latency_s.mean() for f in (bounds.clairvoyant(of, work), bounds.jsed(of, work), local, blind)]
    assert means == sorted(means)


def test_oracles_avoid_who_fails_or_hangs() -> None:
    hang, share = np.array([[True], [False], [False], [False]]), np.array([[0.0], [1.0], [0.0], [0.0]])
    of = fleet(4.0, 4.0, 1.0, 1.0, hang=hang, error_share=share)
    work = trace(fleet(1.0, 1.0), 0.7, 20.0)
    for bound in (bounds.central_queue, bounds.jsed, bounds.clairvoyant):
        fate = bound(of, work)
        assert set(fate.endpoint) == {2, 3}, bound
        assert fate.ok.all(), bound


def test_oracles_leave_who_fails_now_and_then_for_when_all_others_are_as_slow() -> None:
    of = fleet(4.0, 1.0, 1.0, error_share=np.array([[0.3], [0.0], [0.0]]))
    work = trace(fleet(1.0, 1.0), 0.7, 20.0)
    for bound in (bounds.central_queue, bounds.jsed, bounds.clairvoyant):
        assert set(bound(of, work).endpoint) == {1, 2}, bound
    crowd = trace(fleet(1.0, 1.0), 2.0, 30.0)
    for bound in (bounds.central_queue, bounds.jsed, bounds.clairvoyant):
        fate = bound(of, crowd)
        first = int(np.argmax(fate.endpoint == 0))
        assert fate.endpoint[first] == 0, bound
        assert fate.latency_s[first - 20 : first].max() > 0.3 * 15.0 / 2, bound


def test_oracles_use_members_alone() -> None:
    of = fleet(1.0, 1.0, 1.0, joins_s=np.array([0.0, 0.0, 5.0]), leaves_s=np.array([10.0, NEVER, NEVER]))
    work = trace(of, 0.4, 15.0)
    for bound in (bounds.jsed, bounds.static_weights, bounds.clairvoyant):
        at_s, endpoint = work.at_s, bound(of, work).endpoint
        assert set(endpoint[at_s < 5]) == {0, 1}, bound
        assert set(endpoint[(at_s > 5) & (at_s < 10)]) == {0, 1, 2}, bound
        assert set(endpoint[at_s > 10]) == {1, 2}, bound
    fate = bounds.central_queue(of, work)
    begun_s = work.at_s + fate.latency_s - work.demand_s
    assert (begun_s[fate.endpoint == 0] < 10).all()
    assert (begun_s[fate.endpoint == 2] >= 5 - 1e-9).all()


# The fleet's truth.


def test_mean_capacity_is_that_of_each_endpoint_over_its_time_as_a_member() -> None:
    of = fleet(
        *[1.0] * 4,
        joins_s=np.array([0.0, 4.0, 30.0, 0.0]),
        leaves_s=np.array([NEVER, 8.0, NEVER, NEVER]),
        since_s=np.array([[0.0, 5.0, 7.0]] * 3 + [[0.0, NEVER, NEVER]]),
        speed=np.array([[1.0, 3.0, 1.0]] * 4),
        hang=np.array([[False, False, True]] * 4),
    )
    assert of.changes_s() == [4.0, 8.0, 30.0]
    assert [of.members(t).tolist() for t in (0.0, 4.0, 8.0, 30.0)] == [[0, 3], [0, 1, 3], [0, 3], [0, 2, 3]]
    np.testing.assert_allclose(of.mean_capacity(10.0), 2 * np.array([(5 + 6) / 10, (1 + 6) / 4, 0.0, 1.0]))
    moments = (np.arange(10_000) + 0.5) / 1000
    seen = np.mean([of.capacity(t) for t in moments], axis=0)
    np.testing.assert_allclose(of.mean_capacity(10.0)[[0, 3]], seen[[0, 3]], atol=1e-2)


def test_a_capacity_that_flips_has_one_truth_however_it_starts() -> None:
    fast, slow = [1.0, 0.4] * 50, [0.4, 1.0] * 50
    of = fleet(1.0, 1.0, since_s=np.array([np.arange(100.0)] * 2), speed=np.array([fast, slow]))
    np.testing.assert_allclose(of.mean_capacity(100.0), [1.4, 1.4])


# The split.

CAPACITIES = st.lists(st.floats(0.1, 100.0), min_size=1, max_size=20)


@settings(max_examples=20, deadline=None)
@given(capacity=CAPACITIES, load=st.floats(0.01, 0.98))
def test_for_one_worker_each_the_split_is_the_square_root_rule(capacity: list[float], load: float) -> None:
    c = np.array(capacity)
    x = load * c.sum() * bounds.split(c, np.ones(len(c), np.int64), load * c.sum())
    used = x > 1e-6 * c.sum()
    root = (c[used].sum() - load * c.sum()) / np.sqrt(c[used]).sum()
    np.testing.assert_allclose(x[used], c[used] - np.sqrt(c[used]) * root, atol=1e-3 * c.sum())


@settings(max_examples=20, deadline=None)
@given(capacity=CAPACITIES, workers=st.integers(1, 64), load=st.floats(0.001, 3.0))
def test_a_split_is_of_the_whole_overloads_nobody_and_treats_equals_alike(
    capacity: list[float], workers: int, load: float
) -> None:
    c = np.array([*capacity, capacity[0], 0.0])
    share = bounds.split(c, np.full(len(c), workers), load * c.sum())
    assert share.sum() == pytest.approx(1.0)
    assert (share >= 0).all()
    assert share[-1] == 0.0
    assert share[0] == pytest.approx(share[-2])
    assert (share * min(load, 1.0) * c.sum() <= c * (1 + 1e-6)).all()


def test_the_best_split_is_no_worse_than_one_by_capacity() -> None:
    of = fleet(1.0, 2.0, 4.0, 8.0, workers=4)
    work = trace(of, 0.6, 120.0)
    by_capacity = mesh(of, work, policy="round_robin", weights=of.capacity(0.0) * 100, rhythm=QUIET).finish()
    assert bounds.static_weights(of, work).latency_s.mean() <= by_capacity.latency_s.mean()


# Runs.


def scenario(*groups: Group, load: float = 0.8, **kw: object) -> Scenario:
    return Scenario("s", "t", "nowhere", groups, load, **({"warmup_s": 5.0, "duration_s": 15.0} | kw))  # type: ignore[arg-type]


MIXED = (Group("slow", 3), Group("fast", 3, speed=4.0))


@pytest.mark.parametrize("policy", POLICIES)
def test_each_policy_and_bound_runs(policy: str) -> None:
    groups = (*MIXED, Group("late", 2, joins_s=8.0), Group("early", 1, leaves_s=7.5))
    told = scenario(*groups, load=0.5, latency_goal_s=3.0)  # far from what is taken: there is one for breakers to keep
    of, work = draw(told, np.random.default_rng(1), 3)
    run = simulate(told, policy, of, work, np.random.default_rng(2), nodes=3, place=4)
    assert (len(run.fate), run.engine, run.nodes, run.place) == (len(work), "simulated", 3, 4)
    assert run.fate.ok.mean() > 0.99
    late, early = np.isin(run.fate.endpoint, [6, 7]), run.fate.endpoint == 8
    if policy != "central_queue":  # which binds when work begins
        assert (work.at_s[late] >= 8.0).all()
        assert (work.at_s[early] < 7.5).all()


def test_the_same_chance_is_the_same_run() -> None:
    told = scenario(*MIXED)
    of, work = draw(told, np.random.default_rng(1), 2)
    for policy in ("weirflow", "least_request"):
        one, two = (simulate(told, policy, of, work, np.random.default_rng(2), nodes=2) for _ in range(2))
        np.testing.assert_array_equal(one.fate.latency_s, two.fate.latency_s)


def test_with_the_brain_in_the_loop_the_fast_get_more_and_the_tail_is_shorter() -> None:
    told = scenario(*MIXED, warmup_s=15.0)
    of, work = draw(told, np.random.default_rng(1), 4)
    made = {p: simulate(told, p, of, work, np.random.default_rng(2), nodes=4) for p in ("weirflow", "least_request")}
    run = made["weirflow"]
    assert run.weights is not None
    assert run.weights.share.shape == (30, 6)
    np.testing.assert_allclose(run.weights.share.sum(axis=1), 1.0)
    assert run.weights.share[0].std() == pytest.approx(0.0)
    assert run.weights.share[-1][3:].sum() > 0.6
    late = work.at_s > 15.0
    assert run.fate.adaptive[late].mean() == pytest.approx(0.99, abs=0.01)
    assert p99(run.fate.latency_s[late]) < p99(made["least_request"].fate.latency_s[late])


def test_another_brain_or_other_settings_can_be_put_in_the_loop() -> None:
    told = scenario(*MIXED, Group("late", 1, joins_s=6.0), duration_s=5.0)
    of, work = draw(told, np.random.default_rng(1), 2)
    made: list[Brain] = []

    def watched(topology: object, how: Settings) -> Brain:
        made.append(Brain(topology, how))  # type: ignore[arg-type]
        return made[-1]

    run = simulate(
        told, "weirflow", of, work, np.random.default_rng(2), nodes=2, make_brain=watched,
        settings=Settings(mode=Mode.SHADOW),
    )  # fmt: skip
    assert not run.fate.adaptive.any()
    assert made[0].decision is not None
    assert len(made[0].decision.services[0].endpoints) == 7, "it heard of who joined"


def test_a_hang_holds_what_it_has_and_a_scenario_says_what_is_a_good_answer() -> None:
    bad = Group("bad", 1, changes=(Change(5.0, 10.0, hang=True), Change(12.0, 15.0, error_share=1.0, status=200)))
    told = scenario(bad, Group("good", 4), load=0.5, good_body=True, timeout_s=3.0)
    of, work = draw(told, np.random.default_rng(1), 1)
    fate = simulate(told, "round_robin", of, work, np.random.default_rng(2), nodes=1).fate
    hung = (fate.endpoint == 0) & (work.at_s > 5.0) & (work.at_s < 6.9)
    assert hung.any()
    assert (fate.status[hung] == 0).all()
    np.testing.assert_allclose(fate.latency_s[hung], 3.0)
    empty = (fate.endpoint == 0) & (work.at_s > 12.0) & (work.at_s < 15.0)
    assert (fate.status[empty] == 200).all()
    assert not fate.ok[empty].any()


def test_a_share_of_lying_nodes_is_one_at_least() -> None:
    assert list(wire_of(TelemetryFault(lying_nodes=0.01, lie=3.0, lied_about=2), 4).lies) == [0]
    assert list(wire_of(TelemetryFault(lying_nodes=0.5), 4).lies) == [0, 1]
    assert not wire_of(TelemetryFault(), 4).lies


def test_an_unknown_policy_is_named_with_those_there_are() -> None:
    told = scenario(*MIXED, duration_s=1.0)
    of, work = draw(told, np.random.default_rng(1), 1)
    with pytest.raises(ValueError, match="'maglev' to simulate; there are round_robin, random"):
        simulate(told, "maglev", of, work, np.random.default_rng(2), nodes=1)
