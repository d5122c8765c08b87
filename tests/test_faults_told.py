"""Fault cases of what the brain is told: late, false, hostile, or about a whole zone. A brain over the fast mesh.

Case numbers are those of the project's list of faults. A share of a service of n endpoints is told as a weight, whose
mean is 100.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from brain.brain import Brain
from brain.decision import Decision
from brain.settings import Mode, Settings
from dataplane.contract import Endpoint, InFlight, Node, Requests, Service, Telemetry, Topology
from dataplane.simulated import drive
from dataplane.simulated.endpoint import Behaviour
from dataplane.simulated.fleet import Fleet
from dataplane.simulated.logs import Lie, Wire
from dataplane.simulated.mesh import Load, SimulatedMesh
from tests.fleets import fleet, mesh, trace
from weirflow.lab.bounds import topology_at

ADAPTIVE = Settings(mode=Mode.ADAPTIVE)
FAULT_S, END_S = 20.0, 60.0
STEP_UP, CAP = ADAPTIVE.guard.step_up, 100 * ADAPTIVE.guard.cap_share_of_mean


def live(
    of: Fleet,
    load: float,
    seconds: float = END_S,
    *,
    nodes: int = 1,
    seed: int = 1,
    wire: Wire | None = None,
    then: Wire | None = None,
) -> list[Decision]:
    """A brain's decisions, a second each; at `FAULT_S` the wire changes to `then`."""
    it = mesh(of, trace(of, load, seconds + 1.0, nodes=nodes, seed=seed), nodes=nodes, seed=seed + 1, wire=wire)
    decisions = []
    for decision in drive.run(it, Brain(topology_at(of, 0.0, nodes), ADAPTIVE), seconds):
        decisions.append(decision)
        if then is not None and it.now == FAULT_S:
            it.wire = then
    return decisions


def slowed(many: int, of: int, factor: float, *, start_s: float = FAULT_S, end_s: float = 40.0) -> Fleet:
    """Of equal endpoints with 4 workers, the first so many are slower for a while."""
    speed = np.ones((of, 3))
    speed[:many, 1] = 1.0 / factor
    return replace(fleet(*[1.0] * of, workers=4, since_s=np.tile([0.0, start_s, end_s], (of, 1))), speed=speed)


def weights(decisions: list[Decision]) -> np.ndarray:
    """Weights in force, shape (decisions, endpoints)."""
    return np.array([[e.weight for e in d.services[0].endpoints] for d in decisions])


def opened(decisions: list[Decision], kind: str) -> list[dict[str, str]]:
    """The labels of the alerts of this kind that opened, in order."""
    return [dict(a.labels) for d in decisions for a in d.alerts if a.kind == kind and a.opened]


def at(decisions: list[Decision], start_s: float, end_s: float) -> list[Decision]:
    return [d for d in decisions if start_s < d.now <= end_s]


# 10: a zone.


def test_case_10_a_zone_that_is_slow_is_left_by_others_within_their_means_and_nobody_falls_after_it() -> None:
    of = slowed(4, 12, 10.0)
    lived = live(of, 0.5, 80.0)
    during = weights(at(lived, 26, 40))
    assert (during[:, :4] <= 20).all()
    well = during[:, 4:]
    assert (well.max(axis=1) <= 1.3 * well.min(axis=1)).all(), "of those that are well nobody is singled out"
    assert (well >= 100).all()
    assert opened(lived, "ServiceInTrouble") == []
    assert (weights(at(lived, 70, 80)) >= 80).all(), "all are back"


def test_case_10_when_the_others_have_no_room_for_a_zone_they_share_what_there_is_and_none_is_cut() -> None:
    of = slowed(4, 12, 4.0)
    during = weights(at(live(of, 0.85, 80.0), 26, 40))  # 102 % of what the other eight bear
    well = during[:, 4:]
    assert (well >= 95).all()
    assert (well.max(axis=1) <= 1.4 * well.min(axis=1)).all()
    assert during[:, :4].mean() >= 10, "the slow go on working"


def test_case_10_a_zone_that_is_most_of_the_service_is_the_services_trouble_and_is_not_left() -> None:
    speed = np.ones((6, 3))
    errors = np.zeros((6, 3))
    errors[:4, 1] = 1.0
    since_s = np.tile([0.0, FAULT_S, 40.0], (6, 1))
    of = replace(fleet(*[1.0] * 6, workers=4, since_s=since_s), speed=speed, error_share=errors)
    lived = live(of, 0.4)
    held = weights(at(lived, 26, 40))
    assert (held == held[0]).all()
    assert opened(lived, "ServiceFailing") == [{"service": "lab"}]
    assert held[0][4:].max() <= 250, "the two that are left are not sent all"


# 15: feedback.


@pytest.mark.parametrize("late_s", [0.2, 1.0, 2.0, 5.0])
def test_case_15_weights_do_not_swing_however_late_telemetry_is(late_s: float) -> None:
    of = fleet(1.0, 1.0, 1.0, 0.5, 0.5, 0.5, workers=4)
    share = weights(live(of, 0.8, 180.0, nodes=2, wire=Wire(late_s=late_s))) / 600
    early, late = share[60:120].std(axis=0).max(), share[120:].std(axis=0).max()
    assert late < 0.03
    assert late <= 1.5 * early + 0.01, "it grows"
    assert share[60:, :3].mean() > 1.4 * share[60:, 3:].mean(), "it still tells the fast from the slow"


@pytest.mark.parametrize("late_s", [0.2, 2.0, 5.0])
def test_case_15_one_endpoint_that_turns_gray_is_cut_once_however_late_telemetry_is(late_s: float) -> None:
    lived = live(slowed(1, 4, 10.0), 0.5, 80.0, wire=Wire(late_s=late_s))
    first = weights(lived)[:, 0]
    assert first[25:40].max() <= 60 if late_s < 5 else first[30:40].max() <= 60
    assert first[75:].min() >= 85
    down = sum(after < 0.7 * before for before, after in pairwise(first.tolist()))
    assert down <= 3, "it is cut, and comes back, and is not cut again"


class Half:
    """One of two brains over the same backends: it hears of one node, and its plans reach that node alone."""

    def __init__(self, topology: Topology, node: int) -> None:
        self.node = node
        self.brain = Brain(replace(topology, nodes=(topology.nodes[node],)), ADAPTIVE)

    def hears(self, batch: Telemetry) -> bool:
        node = batch.node if not isinstance(batch, InFlight) else batch.node_id
        return bool((np.atleast_1d(node) == self.node).all())


def two_brains(behaviours: list[Behaviour], rate: float, seconds: int) -> Iterator[list[Decision]]:
    endpoints = tuple(Endpoint(i, f"10.0.0.{i}:80") for i in range(len(behaviours)))
    topology = Topology(1, (Service(0, "app", endpoints),), (Node(0, "one"), Node(1, "two")))
    by_address = {e.address: b for e, b in zip(endpoints, behaviours, strict=True)}
    it = SimulatedMesh(topology, [Load("app", rate)], by_address, np.random.default_rng(3))
    halves = [Half(topology, 0), Half(topology, 1)]
    it.on_telemetry = lambda batch: [h.brain.told(batch, it.now) for h in halves if h.hears(batch)]
    it.on_event = lambda event: [h.brain.heard(event, it.now) for h in halves if h.node == event.node]
    for second in range(1, seconds + 1):
        it.run(float(second))
        decisions = [h.brain.tick(it.now) for h in halves]
        for h, d in zip(halves, decisions, strict=True):
            it.schedule.at(it.now + 0.01, it._deliver, it.nodes[h.node], d.plan)
        yield decisions


def test_case_15_two_brains_on_the_same_backends_do_not_chase_each_other() -> None:
    unlike = [Behaviour(service_s=s) for s in (0.02, 0.02, 0.04, 0.04)]
    share = np.array([weights(both) for both in two_brains(unlike, 0.75 * 600, 120)]) / 400
    early, late = share[40:80].std(axis=0).max(), share[80:].std(axis=0).max()
    assert late < 0.04
    assert late <= 1.5 * early + 0.01, "it grows"
    means = share[40:].mean(axis=0)
    assert np.abs(means[0] - means[1]).max() < 0.05, "both come to the same"
    assert (means[:, :2].min(axis=1) > 1.3 * means[:, 2:].max(axis=1)).all()


# 16, 17: nodes that lie.


def liars(*nodes: int, factor: float = 100.0) -> Wire:
    return Wire(lies={v: Lie(0, factor) for v in nodes})


@pytest.mark.parametrize("factor", [100.0, 0.01])
@pytest.mark.parametrize(("nodes", "lying"), [(5, (0,)), (10, (0, 1))])
def test_cases_16_and_17_a_fifth_of_the_proxies_lie_and_what_moves_is_back_in_seconds(
    nodes: int, lying: tuple[int, ...], factor: float
) -> None:
    lived = live(fleet(*[1.0] * 4, workers=4), 0.8, nodes=nodes, then=liars(*lying, factor=factor))
    off = np.abs(weights(at(lived, FAULT_S, END_S)) - 100).max(axis=1)
    assert (off > 25).sum() <= 12, "seconds"
    assert {f"node-{v}" for v in lying} <= {a["node"] for a in opened(lived, "NodeContradicts")}


@pytest.mark.parametrize("factor", [100.0, 0.01])
@pytest.mark.parametrize(("nodes", "lying"), [(2, (0,)), (4, (0, 1))])
def test_case_17_when_half_of_the_proxies_lie_nobody_can_say_who_so_weights_are_held_and_an_alert_opens(
    nodes: int, lying: tuple[int, ...], factor: float
) -> None:
    lived = live(fleet(*[1.0] * 4, workers=4), 0.5, nodes=nodes, then=liars(*lying, factor=factor))
    known = next(d.now for d in lived for a in d.alerts if a.kind == "ServiceInTrouble")
    assert FAULT_S < known <= FAULT_S + 15
    held = weights(at(lived, known - 1, END_S))
    assert (held == held[0]).all()
    assert "contradict each other" in lived[-1].services[0].reason


def test_case_16_a_gray_endpoint_is_no_lie_and_is_cut_though_few_nodes_see_it() -> None:
    for nodes in (2, 4):
        lived = live(slowed(1, 4, 10.0), 0.5, 30.0, nodes=nodes, seed=5)
        assert weights(lived)[25:, 0].max() <= 20
        assert opened(lived, "ServiceInTrouble") == []


# 18, 24: what backends and clients may try.


class Told:
    """A brain that is told something else."""

    def __init__(self, brain: Brain, otherwise: Callable[[Telemetry, float], Telemetry]) -> None:
        self._brain, self._otherwise = brain, otherwise
        self.heard, self.tick = brain.heard, brain.tick

    def told(self, batch: Telemetry, now: float) -> None:
        self._brain.told(self._otherwise(batch, now), now)


def told_otherwise(of: Fleet, load: float, seconds: float, otherwise: Any, nodes: int = 1) -> list[Decision]:
    it = mesh(of, trace(of, load, seconds + 1.0, nodes=nodes), nodes=nodes)
    return list(drive.run(it, Told(Brain(topology_at(of, 0.0, nodes), ADAPTIVE), otherwise), seconds))


def ramp(start_s: float, halves_s: float) -> Callable[[Telemetry, float], Telemetry]:
    """All proxies tell of the first endpoint that it gets faster and faster."""

    def told(batch: Telemetry, now: float) -> Telemetry:
        if not isinstance(batch, Requests) or now < start_s:
            return batch
        factor = np.where(batch.endpoint == 0, max(1e-3, 0.5 ** ((now - start_s) / halves_s)), 1.0)
        return replace(batch, **{name: getattr(batch, name) * factor for name in ("duration_s", "ttfb_s", "felt_s")})

    return told


def test_case_24_a_ramp_of_ever_better_latency_attracts_no_more_than_steps_and_the_cap_and_is_alerted() -> None:
    of = fleet(*[1.0] * 8, workers=4)
    lived = told_otherwise(of, 0.5, 170.0, ramp(90.0, 15.0))
    first = weights(lived)[:, 0]
    for before, after in pairwise(first.tolist()):
        assert after <= STEP_UP * before * 1.03 + 1, "a step, and the rounding of a tier"
    assert first.max() > 100, "the ramp is believed as far as that"
    assert opened(lived, "UnexplainedGain") == [{"service": "lab", "endpoint": of.names[0]}]
    known = next(d.now for d in lived for a in d.alerts if a.kind == "UnexplainedGain")
    assert known <= 150
    assert first[int(known) :].max() <= first[int(known) - 1] * 1.03 + 1, "it gets no more than it had"
    assert first.max() <= 0.8 * CAP
    assert opened(lived, "ServiceInTrouble") == [], "nobody else is sick for it"


def test_case_24_a_fleet_of_unlike_endpoints_and_one_that_heals_are_no_unexplained_gain() -> None:
    unlike = fleet(4.0, 1.0, 1.0, 1.0, 1.0, workers=4)
    assert opened(live(unlike, 0.6, 150.0), "UnexplainedGain") == []
    healed = live(slowed(1, 4, 10.0, start_s=80.0, end_s=110.0), 0.5, 160.0)
    assert opened(healed, "UnexplainedGain") == []


def test_case_24_when_all_but_a_few_slow_down_those_few_did_not_gain() -> None:
    lived = live(slowed(5, 8, 6.0, start_s=80.0, end_s=140.0), 0.3, 130.0)
    assert opened(lived, "UnexplainedGain") == []
    assert weights(lived)[120:, 5:].min() > 120
