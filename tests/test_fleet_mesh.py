"""The fast mesh: is it the slow one, request by request; and does it tell as the wires do."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataplane.contract import Arm, Felt, InFlight, Outcome, Plan, Requests, ServicePlan, Telemetry, Verdict
from dataplane.simulated.compiled import compiled, mark_of
from dataplane.simulated.fleet import Fleet
from dataplane.simulated.fleet_mesh import WAYS, FleetMesh, Rhythm
from dataplane.simulated.logs import Lie, Wire
from tests.fleets import NEVER, SlowMesh, fleet, in_tiers, mesh, trace
from weirflow.lab.bounds import topology_at

E = 4


class Listener:
    def __init__(self) -> None:
        self.told: list[Telemetry] = []

    def __call__(self, batch: Telemetry) -> None:
        self.told.append(batch)

    def rows(self) -> Requests:
        return Requests.concat([b for b in self.told if isinstance(b, Requests)])

    def felt(self) -> Felt:
        return Felt.concat([b for b in self.told if isinstance(b, Felt)])

    def reports(self, node: int) -> list[InFlight]:
        return [b for b in self.told if isinstance(b, InFlight) and b.node_id == node]


def troubled(seed: int) -> Fleet:
    """Endpoints whose speed, delay, errors and hangs change twice each at times of their own."""
    rng = np.random.default_rng(seed)
    since_s = np.sort(rng.uniform(0.0, 4.0, (E, 3)), axis=1)
    since_s[:, 0] = 0.0
    shape = since_s.shape
    return fleet(
        *rng.choice([0.5, 1.0, 2.0], E),
        since_s=since_s,
        speed=rng.choice([0.2, 1.0, 2.0], shape),
        extra_s=rng.choice([0.0, 0.0, 0.3], shape),
        error_share=rng.choice([0.0, 0.0, 0.5, 1.0], shape),
        status=rng.choice([200, 503], shape),
        after_s=np.full(shape, 0.01),
        hang=rng.random(shape) < 0.2,
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10_000),
    policy=st.sampled_from(["random", "round_robin", "least_request", "full_scan"]),
    uneven=st.booleans(),
    tiers=st.lists(st.integers(0, 2), min_size=E, max_size=E),
)
def test_the_compiled_mesh_is_the_slow_one_request_by_request(
    seed: int, policy: str, uneven: bool, tiers: list[int]
) -> None:
    of = troubled(seed)
    work = trace(of, 0.8, 5.0, nodes=2, seed=seed)
    rng = np.random.default_rng(seed)
    weights = rng.uniform(50, 500, E) if uneven else rng.uniform(50, 500, 3)[tiers]  # equal where the tier is the same
    if not uneven and policy != "full_scan":
        weights = np.ones(E)
    fast = mesh(of, work, nodes=2, policy=policy, weights=weights, rhythm=Rhythm(NEVER, NEVER, timeout_s=1.0))
    if policy == "full_scan":
        in_tiers(fast, tiers)
    slow = SlowMesh(fast, work, policy)
    slow.run()
    fate = fast.finish()
    endpoint, ended_s, status, good = (np.array(c) for c in zip(*(slow.ends[i] for i in range(len(work))), strict=True))
    np.testing.assert_array_equal(fate.endpoint, endpoint)
    np.testing.assert_allclose(work.at_s + fate.latency_s, ended_s, atol=1e-9)
    np.testing.assert_array_equal(fate.status, status)
    np.testing.assert_array_equal(fate.ok, good)


@pytest.mark.parametrize("policy", WAYS)
def test_by_any_policy_each_request_ends_once_and_is_logged_once(policy: str) -> None:
    of, heard = troubled(3), Listener()
    work = trace(of, 0.8, 5.0, nodes=3)
    made = mesh(of, work, nodes=3, policy=policy, on_telemetry=heard, rhythm=Rhythm(timeout_s=1.0))
    made.run(12.0)
    rows, fate = heard.rows(), made.finish()
    assert sorted(rows.started_s) == sorted(work.at_s)
    assert np.isclose(np.sort(rows.duration_s), np.sort(fate.latency_s), atol=1e-4).all()
    assert (made._nodes.lane["open"] == 0).all()
    assert (made._servers.server["here"] == 0).all()


def test_chunks_change_nothing() -> None:
    of = troubled(5)
    work = trace(of, 0.8, 5.0, nodes=2)
    whole, chunked = mesh(of, work, nodes=2), mesh(of, work, nodes=2)
    for t in np.arange(0.0, 6.0, 0.037):
        chunked.run(t)
    a, b = whole.finish(), chunked.finish()
    np.testing.assert_array_equal(a.latency_s, b.latency_s)
    np.testing.assert_array_equal(a.endpoint, b.endpoint)


# The brain's end.


def plan(version: int, weights: list[int], share: float = 50.0) -> Plan:
    """Each endpoint in a tier of its own: turns by weight alone."""
    return Plan(version, {0: ServicePlan(share, dict(enumerate(weights)), tiers={e: e for e in range(len(weights))})})


def test_a_plan_deals_its_share_by_its_weights_until_its_lease_ends() -> None:
    of, heard, events = fleet(1.0, 1.0, 1.0), Listener(), []
    work = trace(of, 0.7, 12.0, nodes=2)
    made = mesh(of, work, nodes=2, on_telemetry=heard, on_event=events.append)
    made.run(1.0)
    made.publish(plan(7, [100, 200, 500]))
    made.run(12.0)
    rows = heard.rows()
    leased = (rows.started_s > 1.01) & (rows.started_s < 6.01)
    adaptive = rows.arm == Arm.ADAPTIVE
    assert adaptive[leased].mean() == pytest.approx(0.5, abs=0.06)
    assert not adaptive[~leased].any()
    found = np.bincount(rows.endpoint[adaptive], minlength=3) / adaptive.sum()
    np.testing.assert_allclose(found, np.array([1, 2, 5]) / 8, atol=0.03)
    np.testing.assert_allclose(
        rows.probability[adaptive], (np.array([1, 2, 5]) / 8)[rows.endpoint[adaptive]], atol=1e-6
    )
    assert (rows.plan[adaptive] == 7).all()
    acks = [e for e in events if isinstance(e, Verdict)]
    assert {(e.node, e.kind, e.plan, e.accepted) for e in acks} == {
        (v, k, 7, True) for v in (0, 1) for k in ("EDS", "RTDS")
    }


def test_a_plan_divides_into_tiers_and_a_member_that_it_does_not_know_has_its_own() -> None:
    of, heard = fleet(*[1.0] * 4, joins_s=np.array([0.0, 0.0, 0.0, 1.0])), Listener()
    made = mesh(of, trace(of, 0.5, 12.0), on_telemetry=heard)
    told = ServicePlan(100.0, {0: 100, 1: 100, 2: 400}, tiers={0: 0, 1: 0, 2: 5})
    made.publish(Plan(1, {0: told}))
    made.run(1.0)
    made.moved(topology_at(of, 1.0, version=2))
    lane = made._nodes.lane[0, Arm.ADAPTIVE]
    assert lane["tier"].tolist() == [0, 0, 1, 2]
    made.publish(Plan(2, {0: told}))
    made.run(5.0)
    rows = heard.rows()
    late = (rows.started_s > 1.0) & (rows.started_s < 4.0)
    found = np.bincount(rows.endpoint[late], minlength=4) / late.sum()
    np.testing.assert_allclose(found, np.array([1, 1, 4, 2]) / 8, atol=0.05)
    made.publish(Plan(3, {0: ServicePlan(100.0, told.weights)}))
    made.run(6.0)
    assert made._nodes.cluster["tiers"][0, Arm.ADAPTIVE] == 1, "the same weights in one tier are another plan"


def test_an_endpoint_that_changes_tiers_is_a_new_host_with_nothing_open() -> None:
    of, heard = fleet(*[1.0] * 4, hang=np.array([[True], [False], [False], [False]])), Listener()
    made = mesh(of, trace(of, 0.5, 6.0), on_telemetry=heard)
    apart = [dict(enumerate(tiers)) for tiers in ([0, 0, 1, 1], [1, 0, 1, 1])]
    weights = dict.fromkeys(range(4), 100)
    made.publish(Plan(1, {0: ServicePlan(100.0, weights, tiers=apart[0])}))
    made.run(2.0)
    lane = made._nodes.lane[0, Arm.ADAPTIVE]
    assert lane["open"][0] > 0
    made.publish(Plan(2, {0: ServicePlan(100.0, weights, tiers=apart[0])}))
    made.run(2.02)
    assert lane["open"][0] > 0, "the same tiers again are no change"
    made.publish(Plan(3, {0: ServicePlan(100.0, weights, tiers=apart[1])}))
    made.run(2.035)
    assert lane["open"][0] <= 1
    made.finish()
    assert (lane["open"] == 0).all()


def test_the_arms_do_not_see_each_others_requests() -> None:
    of = fleet(1.0, 1.0)
    work = trace(of, 0.95, 6.0)
    made = mesh(of, work, policy="full_scan")
    made.publish(plan(1, [1, 1], share=50.0))
    made.run(3.0)
    assert (made._nodes.lane["open"][0].sum(axis=1) > 0).all()
    came = int(made._book.clock["number"][0])
    still = made._nodes.lane["open"].sum()
    assert still == (work.at_s[:came] + made.finish().latency_s[:came] >= 3.0).sum()


def test_weights_that_did_not_move_restart_no_schedule() -> None:
    of = fleet(1.0, 1.0, 1.0)
    made = mesh(of, trace(of, 0.7, 6.0))
    made.publish(plan(1, [100, 200, 500]))
    made.run(2.0)
    cluster = made._nodes.cluster[0, Arm.ADAPTIVE]
    stamps = int(cluster["stamps"])
    assert stamps > 9
    made.publish(plan(2, [100, 200, 500], share=0.0))
    made.run(3.0)
    assert cluster["stamps"] == pytest.approx(stamps, abs=5)
    made.publish(plan(3, [100, 200, 501], share=0.0))
    made.run(4.0)
    assert cluster["stamps"] < 9


def test_reports_count_what_is_open_and_what_ended_since() -> None:
    of, heard = troubled(4), Listener()
    work = trace(of, 0.8, 5.0, nodes=2)
    made = mesh(of, work, nodes=2, on_telemetry=heard, rhythm=Rhythm(timeout_s=1.0))
    made.run(5.01)
    rows = heard.rows()
    for v in (0, 1):
        reports = heard.reports(v)
        issued, ended = (
            sum(int(getattr(r, c).sum()) for r in reports for c in cs) for cs in (("issued",), ("succeeded", "failed"))
        )
        assert issued - ended == reports[-1].in_flight.sum()
        assert ended == (rows.node == v).sum()
    bad = rows.outcome != Outcome.OK
    assert len(heard.felt()) == bad.sum() > 0
    assert np.isnan(rows.ttfb_s[rows.outcome == Outcome.TIMEOUT]).all()


def test_what_is_wrong_with_the_wires_is_wrong_with_the_telemetry_alone() -> None:
    of = fleet(1.0, 1.0, 1.0)
    work = trace(of, 0.5, 10.0, nodes=2)

    def told(wire: Wire) -> tuple[Requests, np.ndarray]:
        heard = Listener()
        made = mesh(of, work, nodes=2, policy="round_robin", on_telemetry=heard, wire=wire)
        made.run(20.0)
        return heard.rows(), made.finish().latency_s

    whole, felt = told(Wire())
    assert len(whole) == len(work)
    lost, same = told(Wire(lost=0.5))
    assert 0.3 < len(lost) / len(whole) < 0.7
    np.testing.assert_array_equal(felt, same)
    lied, same = told(Wire(lies={1: Lie(0, 10.0)}, skew_s=(0.0, 3600.0)))
    np.testing.assert_array_equal(felt, same)
    order, lied_order = np.argsort(whole.started_s), np.argsort(lied.started_s - 3600.0 * (lied.node == 1))
    factor = lied.duration_s[lied_order] / whole.duration_s[order]
    liar = (whole.node == 1) & (whole.endpoint == 0)
    np.testing.assert_allclose(factor, np.where(liar[order], 10.0, 1.0), rtol=1e-5)


def test_late_telemetry_comes_late() -> None:
    of, heard = fleet(1.0, 1.0), Listener()
    made = mesh(of, trace(of, 0.5, 5.0), on_telemetry=heard, wire=Wire(late_s=2.0))
    made.run(2.05)
    assert not heard.told
    made.run(4.0)
    assert heard.rows().started_s.max() < 2.0


def test_who_joins_has_the_part_of_a_share_that_the_plan_has_for_newcomers() -> None:
    of = fleet(1.0, 1.0, 1.0, joins_s=np.array([0.0, 0.0, 2.0]))
    made = mesh(of, trace(of, 0.4, 3.0), policy="round_robin")
    made.publish(Plan(1, {0: ServicePlan(100.0, {0: 100, 1: 300}, newcomer=0.5)}))
    made.run(2.0)
    made.moved(topology_at(of, 2.0, version=2))
    np.testing.assert_allclose(made.share(0), [0.2, 0.6, 0.2])


def test_who_has_left_gets_nothing_and_who_joins_late_gets_his_share() -> None:
    of = fleet(1.0, 1.0, 1.0, joins_s=np.array([0.0, 0.0, 2.0]), leaves_s=np.array([4.0, NEVER, NEVER]))
    work = trace(of, 0.4, 6.0)
    made = mesh(of, work, policy="round_robin")
    made.publish(plan(1, [100, 300]))
    for version, t in enumerate((2.0, 4.0), 2):
        made.run(t)
        made.moved(topology_at(of, t, version=version))
    np.testing.assert_allclose(made.share(0), [0.0, 0.5, 0.5])  # the new one: the mean of those that the plan knows
    made.run(7.0)
    fate = made.finish()
    assert set(fate.endpoint[work.at_s < 2.0]) == {0, 1}
    assert set(fate.endpoint[(work.at_s > 2.0) & (work.at_s < 4.0)]) == {0, 1, 2}
    assert set(fate.endpoint[work.at_s > 4.0]) == {1, 2}


def test_with_nobody_there_a_request_fails_at_once() -> None:
    of = fleet(1.0, leaves_s=np.array([1.0]))
    work, heard = trace(of, 0.5, 3.0), Listener()
    made = mesh(of, work, on_telemetry=heard)
    made.run(1.0)
    made.moved(topology_at(of, 1.0, version=2))
    made.run(5.0)
    rows = heard.rows()
    assert (rows.outcome[rows.started_s > 1.0] == Outcome.UNREACHED).all()
    assert (rows.endpoint[rows.started_s > 1.0] == -1).all()


def test_the_mesh_says_what_it_does_not_know() -> None:
    of = fleet(1.0)
    with pytest.raises(ValueError, match="'ring_hash'"):
        mesh(of, trace(of, 0.5, 1.0), policy="ring_hash")
    with pytest.raises(ValueError, match="a row of the fleet for each endpoint"):
        FleetMesh(topology_at(fleet(1.0, 1.0), 0.0), of, trace(of, 0.5, 1.0), np.random.default_rng(1))


def test_what_is_kept_compiled_is_marked_by_the_code_and_the_numbers_that_it_calls() -> None:
    def page(number: float, power: int) -> ModuleType:
        made = ModuleType("page")
        made.NUMBER = number
        made.curve = compiled((lambda x: x**2) if power == 2 else (lambda x: x**3))
        return made

    marks = {mark_of(page(n, p)) for n in (1.0, 1.5) for p in (2, 3)}
    assert len(marks) == 4
    assert mark_of(page(1.0, 2)) == mark_of(page(1.0, 2)) >= 0
