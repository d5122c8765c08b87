"""The switchback over a simulated mesh: what a static block does to weights and the lease, and what it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from brain.brain import Brain
from brain.commands import Freeze, SetMode
from brain.decision import Decision
from brain.settings import Mode, Proof, Settings, Switchback
from brain.switchback import block_at
from dataplane.contract import Arm, Endpoint, Node, Service, Topology
from dataplane.simulated.drive import run
from dataplane.simulated.endpoint import Behaviour, Fault
from dataplane.simulated.mesh import Load, SimulatedMesh

DESIGN = Switchback(block_s=10.0, washout_s=3.0)
SWITCHED = Settings(mode=Mode.ADAPTIVE, proof=Proof(switchback=DESIGN))
FOREVER = 1e9


class World:
    """One service over two nodes, lived through tick by tick."""

    def __init__(self, *behaviours: Behaviour, settings: Settings = SWITCHED, rate: float = 60.0, **mesh: Any) -> None:
        endpoints = tuple(Endpoint(i, f"10.0.0.{i}:80") for i in range(len(behaviours)))
        self.topology = Topology(1, (Service(0, "app", endpoints),), (Node(0, "edge-1"), Node(1, "edge-2")))
        by_address = {e.address: b for e, b in zip(endpoints, behaviours, strict=True)}
        random = np.random.default_rng(77)
        self.mesh = SimulatedMesh(self.topology, [Load("app", rate)], by_address, random, **mesh)
        self.brain = Brain(self.topology, settings)

    def live(self, until: float) -> list[Decision]:
        return list(run(self.mesh, self.brain, until))

    def mean(self, start: float) -> float:
        return float(np.mean([r.felt_s for r in self.mesh.ended if r.at_s > start]))


def fleet(fault: Fault | None = None) -> list[Behaviour]:
    return [Behaviour(faults=() if fault is None else (fault,)), *[Behaviour()] * 3]


def weights(decision: Decision) -> list[int]:
    return [e.weight for e in decision.services[0].endpoints]


def rule(decision: Decision) -> str:
    switchback = decision.services[0].switchback
    assert switchback is not None
    return switchback.block


def static_block(after: float) -> tuple[float, float]:
    """The next whole run of static blocks that begins after this time and follows an adaptive one."""
    t = after
    while True:
        before, block = block_at("app", t - 1, DESIGN), block_at("app", t, DESIGN)
        assert before is not None
        assert block is not None
        if block.static and not before.static:
            end = t
            while (b := block_at("app", end, DESIGN)) is not None and b.static:
                end += DESIGN.block_s
            return t, end
        t += DESIGN.block_s


def test_a_static_block_leases_nothing_keeps_the_weights_and_goes_straight_back() -> None:
    world = World(*fleet(Fault("slow", 5, FOREVER)))
    lived = world.live(100)
    start, end = static_block(50.0)
    within = [d for d in lived if start <= d.now < end]
    assert within
    assert {(d.services[0].share_percent, d.services[0].state, rule(d)) for d in within} == {
        (0.0, "adaptive", "static")
    }
    assert "a static block of the switchback" in within[0].services[0].reason
    assert len({tuple(weights(d)) for d in within}) == 1
    assert weights(within[0])[0] < 40
    assert not [r for r in world.mesh.ended if start + 2 < r.at_s < end and r.arm is Arm.ADAPTIVE]
    back = next(d for d in lived if d.now >= end)
    assert back.services[0].share_percent == 95.0
    assert weights(back)[0] < 60, "not from the operator's weights"


def test_the_first_way_in_is_not_measured_and_no_block_is_static_before_it_is_over() -> None:
    world = World(*fleet())
    lived = world.live(60)
    first = next(d for d in lived if d.services[0].share_percent > 0)
    assert not any(rule(d) for d in lived if d.now < first.now + DESIGN.block_s)
    assert any(rule(d) for d in lived)


def test_every_step_over_a_static_block_keeps_the_guards_bound() -> None:
    world = World(*fleet(Fault("slow", 50, 90)))
    for before, after in pairwise(world.live(140)):
        for w, w_next in zip(weights(before), weights(after), strict=True):
            assert w_next <= max(1.5 * w, w + 1)


def test_what_turns_bad_in_a_static_block_is_cut_by_the_plan_that_ends_it() -> None:
    start, end = static_block(50.0)
    world = World(*fleet(Fault("slow", start + 4, FOREVER)))
    lived = world.live(end + 5)
    within = [d for d in lived if start <= d.now < end]
    assert within[-1].services[0].endpoints[0].proposed < 40, "learning goes on in a static block"
    assert weights(within[-1])[0] > 70
    back = next(d for d in lived if d.now >= end)
    assert back.services[0].share_percent == 95.0
    assert weights(back)[0] < 40


@pytest.mark.parametrize("way", ["telemetry", "away", "command"])
def test_whatever_comes_between_in_a_static_block_the_weights_start_from_the_operators(way: str) -> None:
    world = World(*fleet(Fault("slow", 5, FOREVER)))
    start, _ = static_block(50.0)
    assert weights(world.live(start + 3)[-1])[0] < 40
    if way == "telemetry":
        for node in world.mesh.nodes:
            node.reports_lost = node.log_lost = ((start + 3, start + 10),)
    elif way == "away":
        world.mesh.run(start + 13)
    else:
        world.brain.command(SetMode("app", Mode.SHADOW), world.mesh.now)
        world.live(start + 5)
        world.brain.command(SetMode("app", Mode.ADAPTIVE), world.mesh.now)
    lived = world.live(start + 40)
    first = next(d for d in lived if d.services[0].share_percent > 0)
    assert weights(first) == [100] * 4


def test_a_freeze_in_a_static_block_holds_it_says_so_and_spoils_it() -> None:
    world = World(*fleet(Fault("slow", 5, FOREVER)))
    start, _ = static_block(50.0)
    before = world.live(start + 3)[-1]
    world.brain.command(Freeze(), world.mesh.now)
    frozen = world.live(start + 43)
    assert {d.services[0].share_percent for d in frozen} == {0.0}
    assert "in a static block of the switchback" in frozen[0].services[0].reason
    assert {rule(d) for d in frozen} == {""}
    assert weights(frozen[-1]) == weights(before)
    world.brain.command(Freeze(on=False), world.mesh.now)
    thawed = world.live(start + 73)
    assert weights(next(d for d in thawed if d.services[0].share_percent > 0))[0] < 60


def pairs(decision: Decision) -> float:
    switchback = decision.services[0].switchback
    assert switchback is not None
    return switchback.pairs


def test_blocks_out_of_sight_are_thrown_away() -> None:
    clear, dim = World(*fleet(), rate=30), World(*fleet(), rate=30)
    for node in dim.mesh.nodes:
        node.reports_lost = node.log_lost = ((65, 75),)
    assert pairs(dim.live(120)[-1]) < pairs(clear.live(120)[-1]) - 0.9


def test_an_operators_command_begins_the_evidence_anew() -> None:
    world = World(*fleet(), rate=30)
    assert pairs(world.live(140)[-1]) > 3
    world.brain.command(SetMode("app", Mode.ADAPTIVE, 50), world.mesh.now)
    assert pairs(world.live(145)[-1]) == 0


def test_the_evidence_outlives_a_restart_and_a_checkpoint_of_before_the_switchback_is_still_read() -> None:
    world = World(*fleet(), rate=30)
    before = pairs(world.live(140)[-1])
    kept = world.brain.state()
    for forget, told in ((False, before), (True, 0.0)):
        if forget:
            del kept["services"]["app"]["switchback"]
        world.brain = Brain(world.topology, SWITCHED)
        world.brain.restore(kept, world.mesh.now)
        assert pairs(world.brain.tick(world.mesh.now)) == pytest.approx(told)


def test_without_being_asked_for_there_is_no_switchback() -> None:
    world = World(*fleet(), settings=Settings(mode=Mode.ADAPTIVE))
    lived = world.live(60)
    assert {d.services[0].switchback for d in lived} == {None}
    assert {d.services[0].share_percent for d in lived[20:]} == {95.0}


def test_the_two_estimates_differ_where_the_arms_share_endpoints_and_the_switchback_has_the_truth() -> None:
    """The cluster of a holdout sees one open request in ten, and picks worse than the static rules alone would."""
    slow = [Behaviour(service_s=0.08), *[Behaviour()] * 3]

    def lived(settings: Settings) -> tuple[float, Decision]:
        world = World(*slow, settings=settings, rate=200.0, policy="LEAST_REQUEST")
        last = world.live(200)[-1]
        return world.mean(40), last

    adaptive = Settings(mode=Mode.ADAPTIVE, share_percent=90, proof=Proof(window_s=600))
    static_s, _ = lived(Settings(mode=Mode.STATIC))
    adaptive_s, alone = lived(adaptive)
    _, switched = lived(replace(adaptive, proof=Proof(switchback=DESIGN)))
    truth, holdout, whole = 1 - adaptive_s / static_s, alone.services[0].gain, switched.services[0].switchback
    assert whole is not None
    assert whole.low is not None
    assert whole.high is not None
    assert holdout.low is not None
    assert whole.low - 0.02 <= truth <= whole.high + 0.02
    assert holdout.low > truth + 0.02, "the holdout sees more than there is"


def test_a_static_block_is_no_evidence_for_the_holdout() -> None:
    world = World(*[Behaviour(service_s=0.08), *[Behaviour()] * 3], rate=150.0, policy="ROUND_ROBIN")
    counts: Callable[[Decision], float] = lambda d: d.services[0].gain.static_requests  # noqa: E731
    lived = world.live(80)
    start, end = static_block(50.0)
    within = [counts(d) for d in lived if start + 4 <= d.now < end]
    assert max(within) <= within[0], "a whole service's requests would swamp the holdout's"
