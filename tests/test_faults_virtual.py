"""The fault cases that need no real Envoy: a brain over a simulated mesh, in virtual time.

Case numbers are those of the project's list of faults; each test fails when the guard that it names is taken out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from brain.brain import Brain
from brain.decision import Decision
from brain.settings import Guard, Learning, Mode, Models, Settings
from dataplane.contract import Arm, Endpoint, Node, Service, Topology
from dataplane.simulated.drive import run
from dataplane.simulated.endpoint import Behaviour, Fault
from dataplane.simulated.mesh import Load, SimulatedMesh
from models.base import Prediction

ADAPTIVE = Settings(mode=Mode.ADAPTIVE)
FOREVER = 1e9


def topology(n: int = 4, nodes: int = 1, workers: int = 1, weights: list[int] | None = None) -> Topology:
    endpoints = tuple(Endpoint(i, f"10.0.0.{i}:80", w) for i, w in enumerate(weights or [1] * n))
    return Topology(1, (Service(0, "app", endpoints),), tuple(Node(i, f"edge-{i}", workers) for i in range(nodes)))


class World:
    """A mesh of one service and its brain, lived through tick by tick."""

    def __init__(
        self,
        *behaviours: Behaviour,
        rate: float | Callable[[float], float] = 200.0,
        settings: Settings = ADAPTIVE,
        seed: int = 1,
        nodes: int = 1,
        workers: int = 1,
        weights: list[int] | None = None,
        **mesh: float,
    ) -> None:
        self.topology = topology(len(behaviours), nodes, workers, weights)
        by_address = {e.address: b for e, b in zip(self.topology.services[0].endpoints, behaviours, strict=True)}
        rng = np.random.default_rng(seed)
        self.mesh = SimulatedMesh(self.topology, [Load("app", rate)], by_address, rng, **mesh)  # type: ignore[arg-type]
        self.brain = Brain(self.topology, settings)
        self.decisions: list[Decision] = []

    def live(self, until: float) -> list[Decision]:
        self.decisions += (lived := list(run(self.mesh, self.brain, until)))
        return lived

    def shares(self, start: float, end: float, arm: Arm | None = None) -> list[float]:
        """Each endpoint's part of the requests that ended in this time."""
        picked = [r.endpoint for r in self.mesh.ended if start <= r.at_s < end and (arm is None or r.arm == arm)]
        return (np.bincount(picked, minlength=self.topology.endpoint_slots) / max(len(picked), 1)).tolist()

    def adaptive(self, start: float, end: float) -> int:
        return sum(r.arm is Arm.ADAPTIVE for r in self.mesh.ended if start <= r.at_s < end)


def weights(decision: Decision) -> list[int]:
    return [e.weight for e in decision.services[0].endpoints]


def state(decision: Decision) -> str:
    return decision.services[0].state


def healthy(n: int = 4) -> list[Behaviour]:
    return [Behaviour()] * n


def sick(fault: Fault, n: int = 4) -> list[Behaviour]:
    return [Behaviour(faults=(fault,)), *healthy(n - 1)]


def assert_bounded_steps(decisions: list[Decision], factor: float = 1.5) -> None:
    """No weight ever grows by more than a step while something learned is leased."""
    for before, after in pairwise(decisions):
        if before.services[0].share_percent > 0 and after.services[0].share_percent > 0:
            for w, w_next in zip(weights(before), weights(after), strict=True):
                assert w_next <= max(w * factor, w + 1)


def test_case_4_a_cold_start_serves_the_operators_rules_until_enough_is_known() -> None:
    world = World(*healthy(2), rate=20, weights=[3, 1])
    lived = world.live(20)
    learning = [d for d in lived if state(d) == "learning"]
    assert learning == lived[: len(learning)]
    assert len(learning) >= ADAPTIVE.learning.min_time_s
    for d in learning:
        assert weights(d) == [150, 50]
        assert d.plan is not None
        assert d.plan.services[0].share_percent == 0
    assert "of 30 requests" in learning[0].services[0].reason
    assert state(lived[-1]) == "adaptive"
    assert world.adaptive(0, len(learning)) == 0


def test_case_4_a_service_without_enough_requests_goes_on_learning() -> None:
    lived = World(*healthy(2), rate=0.5).live(30)
    assert {state(d) for d in lived} == {"learning"}


def test_case_6_a_brain_that_was_away_finds_the_lease_ended_and_comes_back_from_neutral_in_bounded_steps() -> None:
    world = World(*sick(Fault("slow", 10, FOREVER)))
    world.live(40)
    assert weights(world.decisions[-1])[0] < 40
    world.mesh.run(70)  # nobody ticks
    assert world.adaptive(47, 70) == 0, "the lease outlived its time"
    back = world.live(80)
    first = next(d for d in back if d.services[0].share_percent > 0)
    assert weights(first) == [100] * 4
    assert "the lease has ended" in back[0].notes[0]
    assert_bounded_steps([*back[:1], *back])
    assert weights(back[-1])[0] < 60, "it learns anew what it knew"


def test_case_6_a_restarted_brain_comes_back_from_the_operators_weights_though_it_remembers() -> None:
    world = World(*sick(Fault("slow", 10, FOREVER)))
    world.live(40)
    kept = world.brain.state()
    world.mesh.run(60)
    world.brain = Brain(world.topology, ADAPTIVE)
    world.brain.restore(kept, world.mesh.now)
    back = world.live(80)
    assert weights(back[0]) == [100] * 4
    assert state(back[0]) == "learning"
    assert back[0].plan is not None
    assert back[0].plan.version > kept["plan_version"]
    assert_bounded_steps(back)
    assert weights(back[-1])[0] < 60


def test_case_9_all_endpoints_slow_alike_reshuffles_nothing() -> None:
    world = World(*[Behaviour(faults=(Fault("slow", 20, 60, factor=5),))] * 4, rate=30)
    for d in world.live(80):
        assert all(75 <= w <= 133 for w in weights(d)), weights(d)


@pytest.mark.parametrize(("watches", "kind"), [(True, "ServiceFailing"), (False, "ServiceInTrouble")])
def test_case_9_all_endpoints_failing_moves_nothing_and_raises_one_alert_for_the_service(
    watches: bool, kind: str
) -> None:
    fails = [Behaviour(faults=(Fault("error", 20, 50, share=share),)) for share in (0.6, 0.7, 0.8, 1.0)]
    world = World(*fails, settings=replace(ADAPTIVE, models=Models(anomalies=watches)))
    world.live(22)
    before = weights(world.decisions[-1])
    during = world.live(50)[4:]
    assert all(weights(d) == weights(during[0]) for d in during)
    assert all(0.5 * b < w < 2 * b for b, w in zip(before, weights(during[0]), strict=True))
    world.live(100)
    alerts = [(a.kind, a.opened) for d in world.decisions for a in d.alerts]
    assert alerts == [(kind, True), (kind, False)]


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_case_11_a_gray_endpoint_is_cut_within_5_seconds_and_recovers_within_60(seed: int) -> None:
    world = World(*sick(Fault("slow", 30, 60)), seed=seed)
    world.live(30)
    assert 85 <= weights(world.decisions[-1])[0] <= 118
    world.live(35)
    assert weights(world.decisions[-1])[0] <= 60
    world.live(60)
    assert world.shares(45, 60, Arm.ADAPTIVE)[0] < 0.08
    world.live(120)
    assert weights(world.decisions[-1])[0] >= 85
    assert world.shares(110, 120)[0] > 0.2
    assert_bounded_steps(world.decisions)


@pytest.mark.parametrize("status", [500, 429])
def test_case_12_an_endpoint_that_fails_fast_gets_less_and_never_more(status: int) -> None:
    world = World(*sick(Fault("error", 30, 60, status=status)))
    world.live(30)
    fair = world.shares(10, 30)[0]
    for d in world.live(60)[1:]:
        assert d.services[0].endpoints[0].share <= fair * 1.1
    assert weights(world.decisions[-1])[0] <= 10
    assert world.shares(40, 60, Arm.ADAPTIVE)[0] < 0.05
    world.live(120)
    assert weights(world.decisions[-1])[0] >= 85
    assert_bounded_steps(world.decisions)


def test_case_12_an_endpoint_that_fails_half_of_its_requests_fast_gets_less() -> None:
    world = World(*sick(Fault("error", 30, 60, share=0.5)))
    world.live(60)
    assert weights(world.decisions[-1])[0] < 50
    assert world.shares(45, 60, Arm.ADAPTIVE)[0] < 0.15


@pytest.mark.parametrize("kind", ["slow", "hang", "error"])
def test_case_13_after_a_blip_of_2_seconds_the_full_share_is_back_within_60(kind: str) -> None:
    world = World(*sick(Fault(kind, 30, 32)))  # type: ignore[arg-type]
    world.live(92)
    assert weights(world.decisions[-1])[0] >= 85
    assert world.shares(82, 92)[0] > 0.2


@pytest.mark.parametrize("seed", [21, 22])
def test_case_14_at_2_requests_a_second_every_endpoint_keeps_its_floor_share_for_10_minutes(seed: int) -> None:
    world = World(*healthy(4), rate=2.0, seed=seed, workers=2)
    lived = world.live(610)
    floor = ADAPTIVE.guard.floor_share_of_mean / 4
    for start in (10, 210, 410):
        assert min(world.shares(start, start + 200)) >= floor
    assert sum(d.services[0].pushed for d in lived) < 60


def test_case_14_a_policy_that_would_push_every_second_cannot_starve_an_endpoint() -> None:
    jumpy = replace(ADAPTIVE, guard=Guard(deadband=0.0), learning=Learning(prior_samples=0.0))
    world = World(*healthy(4), rate=2.0, seed=24, settings=jumpy, weights=[6, 2, 1, 1])
    world.brain._learners.capacities = lambda: noise(world.mesh.now)  # type: ignore[method-assign]
    lived = world.live(610)
    assert min(world.shares(10, 610, Arm.ADAPTIVE)) >= ADAPTIVE.guard.floor_share_of_mean / 4
    for before, after in pairwise([i for i, d in enumerate(lived) if d.services[0].pushed]):
        in_force, pushed = weights(lived[before]), weights(lived[after])
        walked = world.adaptive(lived[before].now - 0.5, lived[after].now)
        assert drains(in_force, pushed) or walked >= 3 * cycle_without_who_rises(in_force, pushed)


def drains(in_force: list[int], pushed: list[int]) -> bool:
    """Is the push an emergency: does it cut anybody by half."""
    return any(2 * after <= w for w, after in zip(in_force, pushed, strict=True))


def cycle_without_who_rises(in_force: list[int], pushed: list[int]) -> float:
    """Picks of one walk of the schedule in force, by the least of those that the push does not raise."""
    return sum(in_force) / min(w for w, after in zip(in_force, pushed, strict=True) if after <= w)


def noise(now: float) -> Prediction:
    """Certain of something else every second: the light endpoints are a little better, then a little worse."""
    value = np.array([6.0, 2.0, 1.0, 1.0]) * np.where(int(now) % 2, 1.0, [1.0, 1.0, 1.3, 0.8])
    return Prediction(value, value, value, np.full(4, 1e9))


def test_case_14_a_slow_endpoint_on_a_quiet_service_keeps_its_floor_share_as_well() -> None:
    world = World(Behaviour(service_s=0.4), *healthy(3), rate=2.0, seed=23)
    world.live(610)
    assert min(world.shares(10, 610)) >= ADAPTIVE.guard.floor_share_of_mean / 4


def test_cases_20_and_21_a_node_whose_clock_is_five_minutes_off_changes_nothing_that_is_decided() -> None:
    right, wrong = World(*healthy()), World(*healthy())
    wrong.mesh.nodes[0].clock_s = -300.0
    assert [d.to_dict() for d in right.live(30)] == [d.to_dict() for d in wrong.live(30)]


def test_case_22_a_log_that_goes_silent_while_requests_finish_is_unknown_and_not_zero() -> None:
    world = World(*sick(Fault("slow", 10, FOREVER)))
    world.live(30)
    world.mesh.nodes[0].log_lost = ((30, 60),)
    held = weights(world.decisions[-1])
    silent = world.live(60)
    unsure = [d for d in silent if state(d) == "unsure"]
    assert [d.now for d in unsure] == [d.now for d in silent[-len(unsure) :]], "once unsure, it stays so"
    assert len(unsure) >= 24
    assert all(weights(d) == weights(silent[4]) for d in unsure), "unknown freezes, it never moves"
    assert max(abs(a - b) for a, b in zip(weights(unsure[0]), held, strict=True)) < 30
    assert world.adaptive(37, 60) == 0
    assert [(a.kind, dict(a.labels)) for d in silent for a in d.alerts if a.opened] == [
        ("TelemetryStale", {"node": "edge-0"})
    ]
    back = world.live(90)
    first = next(d for d in back if state(d) == "adaptive")
    assert first.now >= 60 + ADAPTIVE.learning.stale_after_s, "watched for a moment first"
    assert weights(first) == [100] * 4, "back from the operator's weights"
    assert weights(back[-1])[0] < 40


def test_case_22_reports_that_stop_make_the_mesh_unknown_as_well() -> None:
    world = World(*healthy())
    world.mesh.nodes[0].reports_lost = ((20, FOREVER),)
    lived = world.live(30)
    assert state(lived[18]) == "adaptive"
    assert state(lived[-1]) == "unsure"
    assert lived[-1].plan is not None
    assert lived[-1].plan.services[0].share_percent == 0


def test_case_22_one_node_of_three_out_of_sight_holds_the_weights_and_keeps_the_lease() -> None:
    world = World(*sick(Fault("slow", 26, FOREVER)), nodes=3)
    world.mesh.nodes[2].log_lost = world.mesh.nodes[2].reports_lost = ((20, 40),)
    world.live(26)
    dark = world.live(40)
    assert {state(d) for d in dark} == {"adaptive"}
    assert {tuple(weights(d)) for d in dark} == {(100, 100, 100, 100)}
    assert weights(world.live(60)[-1])[0] < 50


def test_a_hung_endpoint_is_cut_within_seconds_though_nothing_of_it_ends() -> None:
    world = World(*sick(Fault("hang", 30, 50)), timeout_s=60.0)
    world.live(34)
    assert weights(world.decisions[-1])[0] <= 15
    assert "none finished" in world.decisions[-1].services[0].endpoints[0].reason
    world.live(110)
    assert weights(world.decisions[-1])[0] >= 85
    assert_bounded_steps(world.decisions)


@pytest.mark.parametrize("rate", [60.0, 300.0, 600.0])
def test_like_endpoints_keep_like_weights(rate: float) -> None:
    lived = World(*healthy(), rate=rate, seed=31).live(180)[30:]
    share = np.array([weights(d) for d in lived]) / 400
    assert np.abs(share.mean(axis=0) - 0.25).max() < 0.025
    assert share.std(axis=0).max() < 0.025


@pytest.mark.parametrize("seed", [41, 42])
def test_unlike_endpoints_get_weights_in_the_order_of_their_speed_and_keep_them(seed: int) -> None:
    fleet = [Behaviour(service_s=0.02), Behaviour(service_s=0.04), Behaviour(service_s=0.08)]
    lived = World(*fleet, rate=0.7 * 350, seed=seed).live(240)[60:]
    share = np.array([weights(d) for d in lived]) / 300
    mean = share.mean(axis=0)
    assert mean[0] > 1.5 * mean[1] > 1.5 * 1.3 * mean[2]
    assert share.std(axis=0).max() < 0.05
