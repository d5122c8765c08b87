"""The mesh in virtual time: does it behave as Envoy, queues and clients do."""

from __future__ import annotations

from math import factorial

import numpy as np
import pytest

from dataplane.contract import (
    Arm,
    Endpoint,
    Event,
    Felt,
    InFlight,
    Node,
    Outcome,
    Plan,
    Presence,
    Requests,
    Service,
    ServicePlan,
    Telemetry,
    Topology,
    Verdict,
)
from dataplane.simulated.endpoint import Behaviour, Fault
from dataplane.simulated.mesh import Load, SimulatedMesh
from dataplane.simulated.picks import picker
from dataplane.simulated.schedule import Schedule


def topology(n: int = 2, workers: int = 1) -> Topology:
    endpoints = tuple(Endpoint(i, f"10.0.0.{i}:80") for i in range(n))
    return Topology(1, (Service(0, "app", endpoints),), (Node(0, "edge", workers),))


class Listener:
    """Hears all that a mesh tells."""

    def __init__(self) -> None:
        self.told: list[Telemetry] = []
        self.heard: list[Event] = []

    def rows(self) -> Requests:
        return Requests.concat([b for b in self.told if isinstance(b, Requests)])

    def felt(self) -> Felt:
        return Felt.concat([b for b in self.told if isinstance(b, Felt)])

    def reports(self) -> list[InFlight]:
        return [b for b in self.told if isinstance(b, InFlight)]


def mesh(
    *behaviours: Behaviour, rate: float = 100.0, seed: int = 1, workers: int = 1, **kw: object
) -> tuple[SimulatedMesh, Listener]:
    listener = Listener()
    by_address = {f"10.0.0.{i}:80": b for i, b in enumerate(behaviours)}
    made = SimulatedMesh(
        topology(len(behaviours), workers), [Load("app", rate)], by_address, np.random.default_rng(seed),
        listener.told.append, listener.heard.append, **kw,  # type: ignore[arg-type]
    )  # fmt: skip
    return made, listener


def plan(version: int, *weights: int, share: float = 100.0) -> Plan:
    return Plan(version, {0: ServicePlan(share, dict(enumerate(weights)))})


def counts(picks: list[int], n: int) -> list[int]:
    return np.bincount(picks, minlength=n).tolist()


def test_equal_times_happen_by_priority_and_then_in_the_order_asked_for() -> None:
    schedule, log = Schedule(), []
    for name, at, priority in [("c", 2.0, 1), ("b", 1.0, 1), ("d", 2.0, 1), ("a", 1.0, 0), ("e", 3.0, 1)]:
        schedule.at(at, log.append, name, priority=priority)
    schedule.run(3.0)
    assert log == ["a", "b", "c", "d"]
    assert schedule.now == 3.0


def test_weighted_round_robin_splits_exactly_over_a_cycle() -> None:
    pick = picker("ROUND_ROBIN", [6, 2, 1, 1], lambda _: 0, np.random.default_rng(1), skip=0)
    assert counts([pick() for _ in range(100)], 4) == [60, 20, 10, 10]


def test_a_schedule_that_is_restarted_too_often_starves_its_light_endpoints() -> None:
    picks = []
    for _ in range(60):  # a push a second at 2 requests/s
        pick = picker("ROUND_ROBIN", [6, 2, 1, 1], lambda _: 0, np.random.default_rng(1), skip=0)
        picks += [pick(), pick()]
    assert counts(picks, 4)[2:] == [0, 0]


def test_weighted_least_request_splits_by_weight_over_open_requests() -> None:
    active = [0, 0]
    pick = picker("LEAST_REQUEST", [2, 1], lambda i: active[i], np.random.default_rng(1), skip=0)
    assert counts([pick() for _ in range(90)], 2) == [60, 30]
    active[0] = 3  # a quarter of its weight
    picks = [pick() for _ in range(93)][3:]
    assert counts(picks, 2) == [30, 60]


def test_like_weights_take_the_better_of_two() -> None:
    active = [5, 0, 5, 5]
    pick = picker("LEAST_REQUEST", [1] * 4, lambda i: active[i], np.random.default_rng(1), skip=0)
    assert counts([pick() for _ in range(4000)], 4)[1] == pytest.approx(4000 * 7 / 16, rel=0.1)


def test_a_policy_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="no policy 'MAGLEV'"):
        picker("MAGLEV", [1], lambda _: 0, np.random.default_rng(1), skip=0)


def test_waiting_times_are_those_of_the_textbook() -> None:
    """M/M/4 at 70 %: Erlang's C formula."""
    workers, service_s, rate = 4, 0.02, 140.0
    m, _ = mesh(Behaviour(service_s, workers), rate=rate)
    m.run(300)
    load = rate * service_s
    tail = load**workers / factorial(workers) * workers / (workers - load)
    waits = tail / (sum(load**k / factorial(k) for k in range(workers)) + tail)
    mean_s = service_s + waits * service_s / (workers - load)
    assert np.mean([r.felt_s for r in m.ended]) == pytest.approx(mean_s, rel=0.03)


def test_the_same_seed_lives_the_same_life() -> None:
    lives = []
    for _ in range(2):
        m, listener = mesh(Behaviour(), Behaviour(faults=(Fault("error", 2, 4, share=0.5),)), retries=1)
        m.run(3)
        m.publish(plan(1, 3, 1, share=50))
        m.run(10)
        lives.append((m.ended, [len(b) for b in listener.told if isinstance(b, Requests | InFlight)]))
    assert lives[0] == lives[1]


def test_a_plan_is_in_force_until_its_lease_ends_and_renewing_it_lengthens_it() -> None:
    m, _ = mesh(Behaviour(), Behaviour(), ttl_s=5.0)
    m.publish(plan(1, 100, 100))
    m.run(3)
    m.publish(plan(1, 100, 100))
    m.run(20)
    adaptive = [r.at_s for r in m.ended if r.arm is Arm.ADAPTIVE]
    assert 7.9 < max(adaptive) < 8.5
    assert all(r.ok for r in m.ended)


def test_the_share_is_the_part_that_is_picked_adaptively_and_weights_split_it() -> None:
    m, listener = mesh(Behaviour(0.0001), Behaviour(0.0001), rate=200, ttl_s=1000)
    m.publish(plan(1, 300, 100, share=80))
    m.run(60)
    rows = listener.rows().take(slice(100, None))
    assert (rows.arm == Arm.ADAPTIVE).mean() == pytest.approx(0.8, abs=0.01)
    adaptive = rows.take(rows.arm == Arm.ADAPTIVE)
    assert (adaptive.endpoint == 0).mean() == pytest.approx(0.75, abs=0.01)
    assert set(adaptive.weight[adaptive.endpoint == 0].tolist()) == {300}
    assert set(adaptive.probability[adaptive.endpoint == 0].tolist()) == {0.75}
    assert set(adaptive.plan.tolist()) == {1}


def test_a_refused_plan_is_told_as_a_nack_and_the_last_one_stays() -> None:
    m, listener = mesh(Behaviour(), Behaviour())
    m.refuse = lambda _node, p: "bad weight" if p.version == 2 else ""
    m.publish(plan(1, 100, 100))
    m.run(1)
    m.publish(plan(2, 1, 1000))
    m.run(2)
    assert m.nodes[0].weights[0] == {0: 100, 1: 100}
    assert listener.heard == [
        Presence(0, True),
        Verdict(0, "EDS", "1", True, 1, ""),
        Verdict(0, "RTDS", "1", True, 1),
        Verdict(0, "EDS", "2", False, 2, "bad weight"),
        Verdict(0, "RTDS", "2", True, 2),
    ]


def test_a_hung_endpoint_shows_in_reports_only_until_it_thaws() -> None:
    m, listener = mesh(Behaviour(faults=(Fault("hang", 5, 15),)), rate=20, timeout_s=60)
    m.run(15)
    rows = listener.rows()
    assert (rows.started_s + rows.duration_s).max() <= 5
    assert listener.reports()[-1].in_flight.sum() == pytest.approx(200, rel=0.2)
    m.run(30)
    assert listener.reports()[-1].in_flight.sum() < 5
    assert listener.rows().duration_s.max() > 9


def test_an_endpoint_that_changes_tiers_is_a_new_one_and_what_it_has_open_is_in_no_report() -> None:
    m, listener = mesh(Behaviour(faults=(Fault("hang", 0, 6),)), Behaviour(), Behaviour(), rate=50, timeout_s=60)
    weights = dict.fromkeys(range(3), 100)

    def open_at_the_first(tiers: tuple[int, ...], version: int) -> int:
        m.publish(Plan(version, {0: ServicePlan(100.0, weights, tiers=dict(enumerate(tiers)))}))
        m.run(2.0 * version + 0.05)
        told = listener.reports()[-1]
        return int(told.in_flight[(told.endpoint == 0) & (told.arm == Arm.ADAPTIVE)].sum())

    apart = open_at_the_first((0, 1, 1), 1)
    assert apart > 20, "its tier has its turns, whatever hangs there"
    assert open_at_the_first((1, 1, 1), 2) < 5
    m.run(10)
    assert listener.reports()[-1].in_flight.sum() < 5
    assert (listener.rows().endpoint == 0).sum() > apart, "all of them end all the same"


def test_a_request_that_outlasts_its_patience_is_a_timeout_and_felt_as_such() -> None:
    m, listener = mesh(Behaviour(faults=(Fault("hang", 5, 100),)), rate=20, timeout_s=2.0)
    m.run(20)
    rows = listener.rows()
    late = rows.take(rows.outcome == Outcome.TIMEOUT)
    assert len(late) == len(listener.felt()) > 100
    assert late.duration_s.min() >= 2.0
    assert late.duration_s.max() < 2.2
    assert np.isnan(late.ttfb_s).all()


def test_a_retry_is_a_second_attempt_of_the_same_request_on_the_same_arm() -> None:
    m, listener = mesh(Behaviour(faults=(Fault("error", 0, 100),)), Behaviour(), retries=1, rate=50)
    m.run(30)
    rows = listener.rows()
    second = rows.take(rows.attempt == 2)
    assert len(second) > 100
    assert (second.felt_s > second.duration_s).all()
    assert len(listener.felt()) == ((rows.attempt == 2) & (rows.outcome == Outcome.ERROR)).sum()


def test_each_attempt_is_issued_once_and_ends_once_in_the_reports() -> None:
    m, listener = mesh(Behaviour(), Behaviour(faults=(Fault("error", 0, 100, share=0.3),)))
    m.run(20.05)
    reports, rows = listener.reports(), listener.rows()
    issued = sum(int(r.issued.sum()) for r in reports)
    ended = sum(int((r.succeeded + r.failed).sum()) for r in reports)
    assert issued - ended == reports[-1].in_flight.sum()
    assert ended == pytest.approx(len(rows), abs=30)
    assert len(reports) == 40


def test_slow_and_full_endpoints_are_slow_and_full() -> None:
    m, listener = mesh(Behaviour(0.01, 1, 0.0, queue=2, faults=(Fault("slow", 10, 20, factor=100),)), rate=20)
    m.run(20)
    rows = listener.rows()
    before, during = rows.take(rows.started_s < 9.5), rows.take(rows.started_s > 10.5)
    assert before.status.tolist() == [200] * len(before)
    assert (during.status == 503).mean() > 0.8
    assert during.duration_s[during.status == 200].min() > 0.9
