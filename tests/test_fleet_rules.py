"""The operator's rules in the fast mesh: are they those of plain proxies, attempt by attempt; and Envoy's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataplane.contract import Arm, Felt, InFlight, Outcome, Plan, Requests, ServicePlan
from dataplane.simulated.fleet import Fleet, Trace
from dataplane.simulated.fleet_mesh import FleetMesh, Rhythm
from dataplane.simulated.rules import NO_LIMIT, RouteRules, Rules
from dataplane.simulated.tried import Tried
from tests.fleets import NEVER, fleet, mesh, trace
from tests.slow_proxies import SlowProxies, rows_of
from weirflow.lab.bounds import topology_at

E = 4


def moody(seed: int, *, sharing: bool = False) -> Fleet:
    """Endpoints whose speed, delay and errors change twice; some of them hang in the end."""
    rng = np.random.default_rng(seed)
    since_s = np.sort(rng.uniform(0.0, 4.0, (E, 3)), axis=1)
    since_s[:, 0] = 0.0
    shape, hang = since_s.shape, np.zeros(since_s.shape, np.bool_)
    hang[:, -1] = rng.random(E) < 0.3
    return fleet(
        *[1.0] * E,
        since_s=since_s,
        speed=rng.choice([0.2, 1.0, 2.0], shape),
        extra_s=rng.choice([0.0, 0.0, 0.3], shape),
        error_share=rng.choice([0.0, 0.3, 1.0], shape),
        after_s=np.full(shape, 0.01),
        hang=hang,
        sharing=np.full(E, sharing),
    )


def of_classes(work: Trace, classes: int, seed: int) -> Trace:
    """The same requests, dealt out to classes."""
    klass = np.random.default_rng(seed).integers(classes, size=len(work))
    return Trace.of(at_s=work.at_s, node=work.node, klass=klass, demand_s=work.demand_s, luck=work.luck)


RULES = st.builds(
    Rules,
    policy=st.sampled_from(["random", "round_robin", "least_request", "full_scan"]),
    routes=st.lists(
        st.builds(
            RouteRules,
            timeout_s=st.sampled_from([0.4, 1.0, 3.0]),
            num_retries=st.integers(0, 4),
            per_try_timeout_s=st.sampled_from([0.1, 0.3, NEVER]),
            priority=st.sampled_from(["default", "critical"]),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
    max_connections=st.sampled_from([2, 6, NO_LIMIT]),
    max_pending_requests=st.sampled_from([0, 3, NO_LIMIT]),
    max_requests=st.sampled_from([4, NO_LIMIT]),
    budget_percent=st.sampled_from([0.0, 20.0, 100.0]),
    min_retry_concurrency=st.integers(0, 3),
    critical_max_requests=st.sampled_from([None, 2]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10_000), rules=RULES, sharing=st.booleans())
def test_the_compiled_proxies_are_the_slow_ones_attempt_by_attempt(seed: int, rules: Rules, sharing: bool) -> None:
    if sharing and rules.max_connections < NO_LIMIT:
        # Two that leave at the same moment, for two endpoints, would give up at the same moment: either may be first.
        rules = replace(rules, routes=tuple(replace(r, per_try_timeout_s=NEVER) for r in rules.routes))
    of = moody(seed, sharing=sharing)
    work = of_classes(trace(of, 0.8, 5.0, nodes=2, seed=seed), len(rules.routes), seed)
    fast = mesh(of, [work], nodes=2, rules=rules, rhythm=Rhythm(NEVER, NEVER))
    slow = SlowProxies(fast, work)
    slow.run()
    found, expected = rows_of(fast), slow.rows
    assert [(n, nth, e, status, last) for n, nth, e, _, _, status, last in found] == [
        (n, nth, e, status, last) for n, nth, e, _, _, status, last in expected
    ]
    np.testing.assert_allclose([row[3:5] for row in found], [row[3:5] for row in expected], atol=1e-8)
    if not of.hang.any():
        assert_nothing_is_left(fast)


def assert_nothing_is_left(made: FleetMesh) -> None:
    """All that was counted is counted down, and all rows are free."""
    for name in ("open", "waiting", "retries"):
        assert (made._nodes.breaker[name] == 0).all(), name
    assert (made._nodes.lane["open"] == 0).all()
    assert (made._nodes.pool["busy"] == 0).all()
    assert (made._servers.server["here"] == 0).all()
    assert made._book.clock["free"][0] == len(made._book.row)
    assert made._nodes.breaker["connections"].sum() == made._nodes.pool["connections"].sum()


# Word for word.


def asked(*told: tuple[float, float], klass: list[int] | None = None) -> Trace:
    """Requests of one node: when, and how much work. None of them meets an error share below 1."""
    at_s, demand_s = zip(*told, strict=True)
    many = len(told)
    return Trace.of(
        at_s=at_s, node=np.zeros(many), klass=klass or np.zeros(many), demand_s=demand_s, luck=np.full(many, 0.99)
    )


def told(of: Fleet, work: Trace, rules: Rules, **kw: Any) -> Tried:
    """What became of it, in the order in which it ended."""
    made = mesh(of, [work], rules=rules, rhythm=Rhythm(NEVER, NEVER), **kw)
    made.finish()
    return made.take()


def lines(found: Tried) -> list[tuple[int, int, int, str, bool]]:
    """Request, attempt, endpoint, outcome, whether it was the last; as they ended."""
    return [
        (int(n), int(nth), int(e), Outcome(int(how)).name, bool(last))
        for n, nth, e, how, last in zip(
            found.number, found.attempt, found.endpoint, found.outcome, found.last, strict=True
        )
    ]


def turns(**kw: Any) -> Rules:
    """Round robin, which begins at endpoint 0."""
    return Rules(policy="round_robin", **kw)


FIRST_FAILS = np.array([[1.0], [0.0]])


def test_a_failed_try_is_made_again_at_whose_turn_it_is_and_both_are_told() -> None:
    of = fleet(1.0, 1.0, error_share=FIRST_FAILS)
    found = told(of, asked((0.0, 0.1)), turns(routes=(RouteRules(num_retries=1),)))
    assert lines(found) == [(0, 1, 0, "ERROR", False), (0, 2, 1, "OK", True)]
    waited_s = found.at_s[1] - found.duration_s[0]
    assert 0.0 <= waited_s < 0.025
    assert waited_s * 1000 == pytest.approx(round(waited_s * 1000)), "Envoy draws whole milliseconds"
    assert found.felt_s.tolist() == pytest.approx([0.001, 0.001 + waited_s + 0.1])


def test_waits_between_tries_are_drawn_below_25_50_100_200_and_250_ms() -> None:
    of = fleet(1.0, error_share=np.array([[1.0]]))
    work = asked(*[(float(t), 0.1) for t in range(3000)])
    found = told(of, work, turns(routes=(RouteRules(num_retries=6),)))
    assert len(found) == 7 * len(work)
    by_attempt = {k: found.at_s[found.attempt == k] for k in range(1, 8)}
    order = {k: np.argsort(found.number[found.attempt == k]) for k in range(1, 8)}
    for k, most_ms in enumerate((25, 50, 100, 200, 250, 250), start=1):
        waited_s = by_attempt[k + 1][order[k + 1]] - by_attempt[k][order[k]] - 0.001
        assert waited_s.max() * 1000 == pytest.approx(most_ms - 1, abs=most_ms / 100)
        assert waited_s.mean() * 1000 == pytest.approx((most_ms - 1) / 2, rel=0.05)


def test_who_may_be_open_no_more_is_refused_and_not_tried_again() -> None:
    found = told(
        fleet(1.0, 1.0),
        asked((0.0, 0.1), (0.01, 0.1), (0.02, 0.1)),
        turns(max_requests=2, routes=(RouteRules(9.0, 3),)),
    )
    assert lines(found) == [(2, 1, -1, "REJECTED", True), (0, 1, 0, "OK", True), (1, 1, 1, "OK", True)]
    assert found.status.tolist() == [503, 200, 200]


def test_who_finds_no_connection_waits_for_one_and_no_more_than_may() -> None:
    found = told(
        fleet(1.0), asked((0.0, 0.1), (0.01, 0.1), (0.02, 0.1)), turns(max_connections=1, max_pending_requests=1)
    )
    assert lines(found) == [(2, 1, -1, "REJECTED", True), (0, 1, 0, "OK", True), (1, 1, 0, "OK", True)]
    assert found.duration_s.tolist() == pytest.approx([0.0, 0.1, 0.19])


def test_an_endpoint_without_any_connection_gets_one_whatever_the_cluster_may_have() -> None:
    found = told(fleet(1.0, 1.0), asked((0.0, 0.1), (0.01, 0.1), (0.02, 0.1)), turns(max_connections=1))
    assert lines(found) == [(0, 1, 0, "OK", True), (1, 1, 1, "OK", True), (2, 1, 0, "OK", True)]
    assert found.duration_s.tolist() == pytest.approx([0.1, 0.1, 0.18])


def test_who_waits_too_long_for_a_connection_was_at_no_endpoint() -> None:
    rules = turns(max_connections=1, routes=(RouteRules(timeout_s=0.5),))
    found = told(fleet(1.0), asked((0.0, 0.4), (0.0, 0.4), (0.0, 0.4)), rules)
    assert lines(found) == [(0, 1, 0, "OK", True), (2, 1, -1, "TIMEOUT", True), (1, 1, 0, "TIMEOUT", True)]


def test_a_try_that_takes_too_long_is_left_and_its_work_goes_on() -> None:
    rules = turns(routes=(RouteRules(num_retries=1, per_try_timeout_s=0.3),))
    found = told(fleet(1.0, workers=1), asked((0.0, 1.0), (0.9, 0.1)), rules)
    assert lines(found) == [(0, 1, 0, "TIMEOUT", False), (0, 2, 0, "TIMEOUT", True), (1, 1, 0, "OK", True)]
    assert found.duration_s.tolist() == pytest.approx([0.3, 0.3, 0.2]), "the worker is busy until 1.0"


@pytest.mark.parametrize(
    ("percent", "least", "again"), [(20.0, 0, [0]), (100.0, 0, [0, 1, 2, 3, 4]), (0.0, 3, [0, 1, 2])]
)
def test_the_budget_is_a_part_of_what_is_open(percent: float, least: int, again: list[int]) -> None:
    """Ten fail one after the other: the k-th finds k fewer open."""
    rules = turns(
        budget_percent=percent, min_retry_concurrency=least, routes=(RouteRules(num_retries=1, timeout_s=0.2),)
    )
    of = fleet(1.0, error_share=np.array([[1.0]]), after_s=np.array([[0.1]]))
    found = told(of, asked(*[(k * 1e-6, 0.1) for k in range(10)]), rules)
    assert found.number[~found.last].tolist() == again


def test_a_request_whose_time_ends_between_two_tries_is_told_of_without_one() -> None:
    rules = turns(routes=(RouteRules(timeout_s=0.0011, num_retries=1),))
    of = fleet(1.0, error_share=np.array([[1.0]]))
    found = told(of, asked(*[(float(t), 0.1) for t in range(100)]), rules)
    between = found.attempt == 0
    assert between.sum() > 80, "24 of 25 waits last a millisecond and more"
    assert set(found.outcome[between]) == {Outcome.TIMEOUT}
    np.testing.assert_allclose(found.felt_s[between], 0.0011)
    assert found.last.sum() == 100


def test_critical_requests_count_apart() -> None:
    rules = turns(max_requests=1, routes=(RouteRules(), RouteRules(priority="critical")))
    work = asked((0.0, 0.1), (0.01, 0.1), (0.02, 0.1), (0.03, 0.1), klass=[0, 1, 0, 1])
    assert [n for n, *_, how, _ in lines(told(fleet(1.0), work, rules)) if how == "REJECTED"] == [2, 3]


def test_a_second_try_has_new_luck_unless_it_is_to_have_the_same() -> None:
    of = fleet(1.0, error_share=np.array([[0.5]]))
    work = trace(of, 0.1, 200.0)
    rules = turns(routes=(RouteRules(num_retries=1),), min_retry_concurrency=99)
    new, same = (told(of, work, rules, same_luck=same) for same in (False, True))
    assert (new.status[new.attempt == 2] == 200).mean() == pytest.approx(0.5, abs=0.08)
    assert not (same.status[same.attempt == 2] == 200).any()


def test_who_is_shed_is_of_the_adaptive_arm_and_only_while_the_lease_lasts() -> None:
    of, heard = fleet(1.0, 1.0), []
    work = of_classes(trace(of, 0.5, 12.0), 2, 1)
    rules = Rules(routes=(RouteRules(), RouteRules(priority="sheddable")))
    made = mesh(of, [work], rules=rules, on_telemetry=heard.append)
    made.publish(Plan(3, {0: ServicePlan(60.0, {0: 1, 1: 1}, shed_percent=40.0)}))
    made.run(13.0)
    found = made.take()
    shed = found.attempt == 0
    leased = (found.at_s > 0.01) & (found.at_s < 5.01)
    assert set(found.klass[shed]) == {1}
    assert set(found.arm[shed]) == {Arm.ADAPTIVE}
    assert shed[leased & (found.klass == 1)].mean() == pytest.approx(0.4, abs=0.12)
    assert (found.arm[leased & (found.klass == 1)] == Arm.ADAPTIVE).mean() == pytest.approx(0.6, abs=0.12)
    assert not shed[~leased].any()
    felt = [b for b in heard if type(b).__name__ == "Felt"]
    assert sum(len(b) for b in felt) == shed.sum()
    assert {int(o) for b in felt for o in b.outcome} == {Outcome.REJECTED}


def test_leased_limits_are_the_adaptive_clusters_and_never_more_than_the_operators() -> None:
    of = fleet(1.0)
    made = mesh(of, trace(of, 0.5, 1.0), rules=Rules(max_requests=50, budget_percent=20.0))
    limits = {"max_requests": 7, "max_pending_requests": 70, "high.max_requests": 99, "retry_budget.budget_percent": 4}
    made.publish(Plan(1, {0: ServicePlan(100.0, {0: 1}, limits, node_limits={0: {"max_pending_requests": 5}})}))
    made.run(0.5)
    static, adaptive = made._nodes.breaker[0]
    assert static["most_open"].tolist() == [50, 50]
    assert adaptive["most_open"].tolist() == [7, 50]
    assert adaptive["most_waiting"].tolist() == [5, NO_LIMIT]
    assert adaptive["budget_percent"].tolist() == [4.0, 20.0]
    made.publish(Plan(2, {0: ServicePlan(100.0, {0: 1})}))
    made.run(1.0)
    assert adaptive["most_open"].tolist() == [50, 50]


def test_who_waits_for_a_connection_is_open_to_the_policy_and_not_to_the_endpoint() -> None:
    heard: list[Any] = []
    work = asked((0.0, 1.0), (0.01, 1.0), (0.02, 1.0))
    made = mesh(fleet(1.0), [work], rules=turns(max_connections=1), on_telemetry=heard.append)
    made.run(0.6)
    report = next(b for b in heard if isinstance(b, InFlight))
    assert (report.in_flight.tolist(), report.issued.tolist()) == ([1], [1])
    assert made._nodes.lane["open"][0, Arm.STATIC, 0] == 3


def test_idle_connections_of_an_endpoint_that_has_left_make_room_for_others() -> None:
    of = fleet(1.0, 1.0, leaves_s=np.array([1.0, NEVER]))
    work = asked((0.0, 0.1), (0.01, 0.1), (0.5, 0.9), (0.9, 0.1), (2.0, 0.1), (2.01, 0.1))
    made = mesh(of, [work], rules=turns(max_connections=2), rhythm=Rhythm(NEVER, NEVER))
    made.run(1.0)
    made.moved(topology_at(of, 1.0, version=2))
    assert made._nodes.breaker["connections"][0, Arm.STATIC, 0] == 2, "one is in use"
    made.finish()
    found = made.take()
    assert found.endpoint.tolist() == [0, 1, 1, 0, 1, 1]
    np.testing.assert_allclose(found.duration_s[-2:], 0.1, atol=1e-9)
    assert made._nodes.pool["connections"][0, Arm.STATIC, :, 0].tolist() == [0, 2]


def test_the_brain_is_told_of_each_try_and_of_who_had_no_answer_in_the_end() -> None:
    heard: list[Any] = []
    of = fleet(1.0, 1.0, error_share=FIRST_FAILS)
    rules = turns(routes=(RouteRules(num_retries=1),), min_retry_concurrency=9)
    made = mesh(of, [asked((0.0, 0.1), (0.2, 0.1), (0.4, 0.1))], rules=rules, on_telemetry=heard.append)
    made.run(2.0)
    rows = Requests.concat([b for b in heard if isinstance(b, Requests)])
    # Turns: 0 fails and 1 answers, 0 and 1 again, 0 and 1 again.
    assert rows.endpoint.tolist() == [0, 1] * 3
    assert rows.attempt.tolist() == [1, 2] * 3
    assert rows.outcome.tolist() == [Outcome.ERROR, Outcome.OK] * 3
    assert (rows.felt_s[1::2] > rows.duration_s[1::2]).all()
    assert not [b for b in heard if isinstance(b, Felt)], "all users had their answer"
