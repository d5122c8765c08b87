"""The gate: a push restarts every worker's schedule, so it waits until they have been walked."""

from __future__ import annotations

import numpy as np

from brain.gate import Gate
from brain.settings import Guard

GUARD = Guard()
EVEN = np.array([100, 100, 100, 100])
NEXT = np.array([80, 100, 110, 110])
CUT = np.array([10, 130, 130, 130])


def ask(gate: Gate, weights: np.ndarray, in_force: np.ndarray, picks: list[int], now: float, **kw: object) -> str:
    workers = np.array(kw.pop("workers", [1] * len(picks)))
    goal = np.array(kw.pop("goal", weights))
    spared = np.array(kw.pop("spared", [False] * len(weights)))
    return gate.held(weights, goal, in_force, spared, np.array(picks), workers, now, GUARD)


def pushed(picks: list[int], now: float = 0.0, weights: np.ndarray = EVEN, before: np.ndarray = EVEN) -> Gate:
    gate = Gate()
    gate.pushed(weights, before, np.array(picks), now, GUARD)
    return gate


def test_small_differences_are_not_worth_a_push() -> None:
    assert ask(pushed([0]), np.array([95, 105, 100, 100]), EVEN, [10**6], 10) == "within the deadband"


def test_one_unit_is_rounding_even_where_it_is_more_than_the_deadband() -> None:
    floor = np.array([5, 131, 132, 132])
    assert ask(pushed([0]), np.array([6, 131, 131, 132]), floor, [10**6], 10) == "within the deadband"


def test_a_small_step_towards_a_far_goal_is_worth_a_push() -> None:
    floor = np.array([5, 131, 132, 132])
    assert ask(pushed([0]), np.array([7, 131, 131, 131]), floor, [10**6], 10, goal=EVEN) == ""


def test_a_service_is_pushed_at_most_once_a_second() -> None:
    assert ask(pushed([0], now=10.0), NEXT, EVEN, [10**6], 10.5) == "the last push was 0.5 s ago"
    assert ask(pushed([0], now=10.0), NEXT, EVEN, [10**6], 11.0) == ""


def test_a_push_waits_until_every_worker_has_walked_its_schedule_three_times() -> None:
    # Four endpoints of weight 100: a schedule is 4 picks long, three walks are 12, by each of 2 workers.
    gate = pushed([1000])
    assert ask(gate, NEXT, EVEN, [1023], 5, workers=[2]) == (
        "23 picks since the last push are too few for whole schedules (24 a node)"
    )
    assert ask(gate, NEXT, EVEN, [1024], 5, workers=[2]) == ""


def test_an_uneven_schedule_takes_longer_to_walk_when_the_light_one_is_not_raised() -> None:
    light = np.array([5, 131, 132, 132])
    for again in (np.array([5, 110, 142, 143]), np.array([3, 110, 143, 144])):
        assert ask(pushed([0]), again, light, [239], 60) != "", "it may not have been picked once since"
        assert ask(pushed([0]), again, light, [240], 60) == ""


def test_an_endpoint_on_its_way_up_does_not_hold_up_its_own_rise() -> None:
    # The other three have a schedule of 400 / 131 picks, three walks are 10; the first alone would take 240.
    floor, up = np.array([5, 131, 132, 132]), np.array([7, 131, 131, 131])
    assert "too few for whole schedules (9 a node)" in ask(pushed([0]), up, floor, [9], 60, goal=EVEN)
    assert ask(pushed([0]), up, floor, [10], 60, goal=EVEN) == ""


def test_one_that_rises_does_not_take_the_protection_from_another_that_does_not() -> None:
    two_light, one_rises = np.array([5, 5, 195, 195]), np.array([8, 5, 194, 193])
    assert ask(pushed([0]), one_rises, two_light, [239], 60, goal=EVEN) != ""
    assert ask(pushed([0]), one_rises, two_light, [240], 60, goal=EVEN) == ""


def test_one_that_does_not_starve_at_its_floor_does_not_hold_up_the_others() -> None:
    # Without the first, the schedule is that of 131: three walks are 10 picks.
    floor, others = np.array([5, 131, 132, 132]), np.array([5, 110, 142, 143])
    assert ask(pushed([0]), others, floor, [10], 60) != ""
    assert ask(pushed([0]), others, floor, [10], 60, spared=[True, False, False, False]) == ""
    assert ask(pushed([0]), others, floor, [9], 60, spared=[True, False, False, False]) != ""


def test_where_all_are_spared_all_count() -> None:
    assert ask(pushed([0]), NEXT, EVEN, [11], 5, spared=[True] * 4) != ""
    assert ask(pushed([0]), NEXT, EVEN, [12], 5, spared=[True] * 4) == ""


def test_a_node_that_carries_nothing_does_not_hold_the_others_up() -> None:
    assert ask(pushed([0, 0]), NEXT, EVEN, [100, 0], 5) == ""


def test_a_node_with_a_trickle_does_not_hold_the_others_up() -> None:
    assert ask(pushed([0, 0]), NEXT, EVEN, [100, 3], 5) == ""


def test_many_nodes_with_a_trickle_each_do() -> None:
    assert ask(pushed([0] * 20), NEXT, EVEN, [30] + [1] * 19, 5) != ""


def test_a_service_without_picks_is_not_pushed() -> None:
    assert ask(pushed([50]), NEXT, EVEN, [50], 3600) != ""


def test_a_node_that_joined_since_counts_from_nothing() -> None:
    assert ask(pushed([100]), NEXT, EVEN, [100, 12], 5) == ""


def test_a_cut_by_half_or_more_need_not_wait_for_picks_but_only_every_five_seconds() -> None:
    gate = pushed([0])
    assert ask(gate, CUT, EVEN, [1], 5) == ""
    gate.pushed(CUT, EVEN, np.array([1]), 5.0, GUARD)
    worse = np.array([5, 60, 167, 168])
    assert ask(gate, worse, CUT, [2], 9.9) != ""
    assert ask(gate, worse, CUT, [2], 10.0) == ""


def test_a_drain_also_keeps_to_one_push_a_second() -> None:
    assert ask(pushed([0], now=4.5), CUT, EVEN, [1], 5) == "the last push was 0.5 s ago"


def test_the_more_workers_there_are_the_less_they_walk_together_but_never_less_than_three_cycles() -> None:
    # Each begins its walk somewhere else. A schedule is 4 picks long, three walks are 12.
    for nodes, each in ((1, 12), (8, 12), (16, 3), (64, 1)):
        assert ask(pushed([0] * nodes), NEXT, EVEN, [each] * nodes, 5) == ""
        assert ask(pushed([0] * nodes), NEXT, EVEN, [each - 1] * nodes, 5) != ""


def test_a_cut_that_only_begins_because_the_others_may_not_rise_faster_is_a_cut() -> None:
    before, step, goal = np.array([330, 23, 23, 24]), np.array([295, 34, 34, 37]), np.array([4, 130, 130, 136])
    gate = pushed([0])
    assert ask(gate, step, before, [1], 5, goal=goal) == ""
    gate.pushed(goal, before, np.array([1]), 5.0, GUARD)
    assert ask(gate, step, before, [2], 9.9, goal=goal) != "", "but only every five seconds"
