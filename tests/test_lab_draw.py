"""Worlds drawn from a scenario: the work comes at the rate that was said, and nothing depends on who will pick."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.simulated.fleet import Fleet, Trace
from weirflow.lab.draw import draw, full_rate
from weirflow.lab.scenario import Change, Flips, Group, RequestClass, Scenario, Step

TWENTY = Scenario("twenty", "t", "s", groups=(Group("slow", 10), Group("fast", 10, speed=2.0)), load=0.7)


def world(scenario: Scenario, seed: int = 1, nodes: int = 4, time_scale: float = 1.0) -> tuple[Fleet, Trace]:
    return draw(scenario, np.random.default_rng(seed), nodes, time_scale=time_scale)


def same(a: object, b: object) -> bool:
    return all(np.array_equal(getattr(a, f), getattr(b, f)) for f in a.__slots__)  # type: ignore[attr-defined]


changes = st.builds(
    lambda start, length, **how: Change(start, start + length, **how),
    start=st.floats(0, 60),
    length=st.floats(0.01, 100),
    first=st.none() | st.integers(1, 3),
    speed=st.floats(0.1, 2),
    extra_s=st.floats(0, 0.3),
    error_share=st.floats(0, 1),
    hang=st.booleans(),
)
groups = st.builds(
    Group,
    name=st.just("g"),
    count=st.integers(1, 4),
    speed=st.floats(0.5, 4),
    zones=st.sampled_from([("",), ("a", "b")]),
    joins_s=st.sampled_from([0.0, 10.0]),
    changes=st.lists(changes, max_size=4).map(tuple),
    flips=st.none() | st.builds(Flips, hold_s=st.floats(0.5, 9), together=st.sampled_from(["endpoint", "zone"])),
)
scenarios = st.builds(
    lambda some, steps, load: Scenario(
        "s", "t", "s", groups=(Group("sure", 1), *some), load=load, load_steps=tuple(steps), duration_s=20.0
    ),
    some=st.lists(groups, max_size=3),
    steps=st.lists(st.builds(Step, st.floats(0, 60), st.floats(0, 2)), max_size=4),
    load=st.floats(0.05, 1.5),
)


@given(scenarios, st.integers(0, 9), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_times_never_fall_and_pieces_rise_from_zero(scenario: Scenario, seed: int, nodes: int) -> None:
    fleet, trace = world(scenario, seed, nodes)
    assert np.all(np.diff(trace.at_s) >= 0)
    assert np.all((trace.at_s >= 0) & (trace.at_s <= 35.0))
    assert np.all((trace.node >= 0) & (trace.node < nodes))
    assert np.all(trace.demand_s >= 0)
    assert np.all((trace.luck >= 0) & (trace.luck < 1))
    assert np.all(fleet.since_s[:, 0] == 0)
    for since in fleet.since_s:
        own = since[np.isfinite(since)]
        assert np.all(np.diff(own) > 0)
        assert np.all(np.isinf(since[len(own) :]))
    assert np.all(fleet.speed > 0)
    assert np.all((fleet.error_share >= 0) & (fleet.error_share <= 1))


@given(scenarios, st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_one_seed_is_one_world(scenario: Scenario, seed: int) -> None:
    one, two = world(scenario, seed), world(scenario, seed)
    assert same(one[0], two[0])
    assert same(one[1], two[1])


def test_another_seed_is_another_world() -> None:
    assert not np.array_equal(world(TWENTY, 1)[1].at_s[:9], world(TWENTY, 2)[1].at_s[:9])


def test_another_number_of_nodes_deals_the_same_requests_out_anew() -> None:
    few, many = world(TWENTY, nodes=4)[1], world(TWENTY, nodes=100)[1]
    assert np.array_equal(few.at_s, many.at_s)
    assert np.array_equal(few.demand_s, many.demand_s)
    assert many.node.max() == 99


def test_the_rate_is_the_load_times_the_true_capacity_over_the_mean_demand() -> None:
    long = replace(TWENTY, duration_s=2000.0)
    rate = 0.7 * (10 * 4 + 10 * 4 * 2) / 0.24
    assert len(world(long)[1]) / 2015.0 == pytest.approx(rate, rel=0.01)
    work = world(long)[1].demand_s.sum() / 2015.0
    assert work == pytest.approx(0.7 * 120, rel=0.01)


def test_who_joins_later_adds_no_load_and_antagonists_count_by_their_mean() -> None:
    assert full_rate(replace(TWENTY, groups=(*TWENTY.groups, Group("late", 5, joins_s=30.0)))) == pytest.approx(120.0)
    assert full_rate(replace(TWENTY, groups=(Group("noisy", 20, flips=Flips((1.0, 0.4))),))) == pytest.approx(56.0)


def test_a_step_changes_the_rate_from_its_moment_on() -> None:
    stepped = replace(TWENTY, duration_s=985.0, load_steps=(Step(600.0, 0.0), Step(500.0, 2.0), Step(800.0, 1.0)))
    times = world(stepped)[1].at_s
    counts = [int(np.sum((times >= a) & (times < b))) for a, b in ((0, 500), (500, 600), (600, 800), (800, 1000))]
    assert counts[0] == pytest.approx(350 * 500, rel=0.01)
    assert counts[1] == pytest.approx(700 * 100, rel=0.02)
    assert counts[2] == 0
    assert counts[3] == pytest.approx(350 * 200, rel=0.02)


def test_classes_come_by_their_shares_with_demands_of_their_own() -> None:
    mixed = (RequestClass("small", 0.95, 0.01, 0.0), RequestClass("large", 0.05, 1.0, 0.5))
    trace = world(replace(TWENTY, classes=mixed, duration_s=300.0))[1]
    large = trace.klass == 1
    assert large.mean() == pytest.approx(0.05, rel=0.03)
    assert np.all(trace.demand_s[~large] == 0.01)
    assert trace.demand_s[large].mean() == pytest.approx(1.0, rel=0.03)
    assert trace.demand_s[large].std() == pytest.approx(0.5, rel=0.05)


def test_a_time_scale_stretches_demands_and_thins_requests_but_moves_no_moment() -> None:
    noisy = replace(TWENTY, groups=(Group("noisy", 20, flips=Flips(), changes=(Change(20.0, 30.0, hang=True),)),))
    (fleet, plain), (again, scaled) = world(noisy), world(noisy, time_scale=4.0)
    assert same(fleet, again)
    assert len(scaled) == pytest.approx(len(plain) / 4, rel=0.05)
    assert scaled.demand_s.mean() == pytest.approx(4 * plain.demand_s.mean(), rel=0.1)
    assert scaled.at_s[-1] == pytest.approx(plain.at_s[-1], rel=0.01)


def test_no_world_has_no_node_or_no_time() -> None:
    with pytest.raises(ValueError, match="at least one node"):
        world(TWENTY, nodes=0)
    with pytest.raises(ValueError, match="positive time scale"):
        world(TWENTY, time_scale=0.0)


def test_a_change_touches_the_first_of_its_group_for_its_time() -> None:
    bad = Group("bad", 3, speed=2.0, changes=(Change(10.0, 20.0, first=1, speed=0.1, extra_s=0.2),))
    fleet, _ = world(replace(TWENTY, groups=(bad, Group("good", 2))))
    assert fleet.names == ("bad-0", "bad-1", "bad-2", "good-0", "good-1")
    assert [float(fleet.capacity(t)[0]) for t in (9.9, 10.0, 19.9, 20.0)] == pytest.approx([8.0, 0.8, 0.8, 8.0])
    assert [float(fleet.capacity(t)[1]) for t in (9.9, 10.0, 19.9, 20.0)] == pytest.approx([8.0] * 4)
    assert fleet.extra_s[0, 1] == 0.2
    assert list(fleet.group) == [0, 0, 0, 1, 1]


def test_changes_at_once_add_up_and_the_later_failure_gives_the_answer() -> None:
    both = (
        Change(0.0, speed=0.5, error_share=0.5, status=503),
        Change(5.0, 9.0, speed=0.5, error_share=0.5, status=200, after_s=0.002, hang=True),
    )
    fleet, _ = world(replace(TWENTY, groups=(Group("bad", 1, changes=both),)))
    assert list(fleet.since_s[0]) == [0.0, 5.0, 9.0]
    assert list(fleet.speed[0]) == [0.5, 0.25, 0.5]
    assert list(fleet.error_share[0]) == [0.5, 0.75, 0.5]
    assert list(fleet.status[0]) == [503, 200, 503]
    assert list(fleet.hang[0]) == [False, True, False]


def test_antagonists_hold_each_factor_for_their_mean_time() -> None:
    noisy = Group("noisy", 40, speed=2.0, flips=Flips((1.0, 0.4), hold_s=2.0))
    fleet, _ = world(replace(TWENTY, groups=(noisy,), load=0.01, duration_s=500.0))
    ends = np.where(np.isinf(fleet.since_s), np.nan, fleet.since_s)
    assert np.nanmean(np.diff(ends, axis=1)) == pytest.approx(2.0, rel=0.05)
    assert set(np.unique(fleet.speed[np.isfinite(fleet.since_s)])) == {2.0, 0.8}


def test_antagonists_of_a_zone_flip_at_once_and_those_of_two_zones_do_not() -> None:
    noisy = Group("noisy", 6, zones=("a", "b", "c"), flips=Flips(together="zone"))
    fleet, _ = world(replace(TWENTY, groups=(noisy,)))
    assert fleet.zones == ("a", "b", "c", "a", "b", "c")
    assert np.array_equal(fleet.since_s[:3], fleet.since_s[3:])
    assert np.array_equal(fleet.speed[:3], fleet.speed[3:])
    assert not np.array_equal(fleet.since_s[0], fleet.since_s[1])
