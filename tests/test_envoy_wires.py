"""The wires against real Envoy: what it accepts, where it sends requests, and what it tells.

Every wait is for a condition, with a deadline. Time here is the real one, for so is Envoy's.
"""

import asyncio
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from brain.brain import Brain
from brain.settings import Learning, Mode, Settings
from dataplane.contract import Arm, Felt, InFlight, Method, Outcome, Presence, Requests
from dataplane.envoy.bootstrap import bootstrap
from dataplane.envoy.process import EnvoyError, EnvoyProcess
from dataplane.mesh import (
    EndpointSpec,
    NodeSpec,
    OutlierSpec,
    RetrySpec,
    RouteSpec,
)
from dataplane.xds import weights
from tests.wires import TTL_S, a_world, near

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(60)]


@pytest.fixture
async def world():
    async with a_world() as found:
        yield found


async def test_envoy_accepts_everything_and_tells_what_it_carried(world):
    rules = {"outliers": OutlierSpec(), "policy": "ROUND_ROBIN"}
    await world.start(
        await world.service("web", "a", "b", zones=("here", "there"), **rules),
        await world.service("api", "c", http2=False, policy="RANDOM"),
        retry=RetrySpec(per_try_timeout_s=1.0),
    )
    assert world.events[0] == Presence(0, connected=True)
    assert [(v.kind, v.accepted) for v in world.verdicts()] == [
        (kind, True) for kind in ("RTDS", "CDS", "EDS", "LDS", "RDS")
    ]
    await world.until(lambda: InFlight in map(type, world.telemetry))  # a node counts from its first report on
    assert await world.split("/web", 10) == near({"a": 5, "b": 5})
    world.backends["c"].status = 503
    assert await world.get("/api") == 503

    # Ten good attempts, and the two of the failed request: its retry failed as well.
    attempts = await world.until(lambda: len(found := world.told(Requests)) >= 12 and found)
    web, api = world.topology.service("web"), world.topology.service("api")
    good = attempts.take(attempts.service == web.id)
    assert sorted(good.endpoint) == sorted([e.id for e in web.endpoints] * 5)
    assert set(good.outcome) == {Outcome.OK}
    assert set(good.arm) == {Arm.STATIC}
    assert set(good.weight) == {1}
    assert set(good.probability) == {0.5}
    assert list(attempts.take(attempts.service == api.id).status) == [503, 503]

    felt = await world.until(lambda: len(found := world.told(Felt)) and found)
    assert list(felt.service) == [api.id]
    assert list(felt.status) == [503]
    reports = await world.until(lambda: world.told(InFlight).issued.sum() >= 12 and world.told(InFlight))
    assert reports.issued[reports.service == web.id].sum() == 10
    assert reports.failed[reports.service == api.id].sum() == 2
    assert world.server.status()["nodes"]["n1"]["dropped"] == {}
    assert abs(world.server.status()["nodes"]["n1"]["clock_offset_s"]) < 1.0


async def test_weights_are_in_force_with_the_ack_and_zones_do_not_change_the_split(world):
    await world.start(await world.service("web", "a", "b", "c", zones=("here", "here", "there")))
    await world.publish(world.plan(web=(100, 100, 200)))
    first = await world.split("/web", 400)
    assert first == near({"a": 100, "b": 100, "c": 200})

    # From the very ACK on, and not up to a second later: `update_merge_window` is 0 there.
    seen = len(world.verdicts("EDS"))
    world.hold(world.plan(web=(100, 800, 100)))
    await world.until(lambda: len(world.verdicts("EDS")) > seen)
    assert (await world.split("/web", 100))["b"] == pytest.approx(80, abs=2)

    stamped = await world.until(lambda: len(found := world.told(Requests)) >= 500 and found)
    assert Counter(zip(stamped.plan.tolist(), stamped.weight.tolist(), strict=True))[(1, 200)] == first["c"]
    assert stamped.probability[stamped.weight == 800][0] == np.float32(0.8)


async def test_equal_weights_are_a_full_scan_and_unequal_ones_a_schedule(world):
    await world.start(await world.service("web", *"abcd"))
    await world.publish(world.plan(web=(100, 100, 100, 100)))
    held = await world.hold_at("a", 1)
    assert set(await world.split("/web", 80)) == {"b", "c", "d"}, "the one that is busy is never taken"
    await world.let_end(held)
    await world.publish(world.plan(web=(100, 100, 100, 101)))
    held = await world.hold_at("a", 1)
    assert (await world.split("/web", 70))["a"] == near(10), "the one that is busy counts as half"
    await world.let_end(held)


async def test_tiers_take_turns_by_weight_and_within_one_the_idlest_is_picked(world):
    await world.start(await world.service("web", *"abcd", zones=("here", "there", "here", "there")))
    await world.publish(world.plan(tiers=(0, 0, 1, 1), web=(300, 300, 100, 100)))
    seen = await world.split("/web", 400)
    assert (seen["a"] + seen["b"], seen["c"] + seen["d"]) == near((300, 100))
    assert min(seen["a"], seen["b"]) > 105, "who are alike are picked at random: 150 each, and this is 5 sigma"
    held = await world.hold_at("a", 1)
    seen = await world.split("/web", 400)
    assert (seen["a"], seen["b"], seen["c"] + seen["d"]) == near((0, 300, 100)), "the other tier takes nothing over"
    await world.let_end(held)
    await world.publish(world.plan(tiers=(0, 1, 1, 1), web=(300, 300, 100, 100)))
    held = await world.hold_at("b", 2)
    assert await world.split("/web", 400) == near({"a": 150, "b": 83, "c": 83, "d": 83}), "300 / 3 beside 100 and 100"
    await world.let_end(held)


async def test_an_endpoint_that_changes_tiers_is_a_new_one_to_envoy_and_what_it_has_open_is_forgotten(world):
    await world.start(await world.service("web", *"abcd"))
    await world.publish(world.plan(tiers=(0, 0, 1, 1), web=(100, 100, 100, 100)))
    held = await world.hold_at("a", 1)
    assert set(await world.split("/web", 40)) == {"b", "c", "d"}
    first = world.topology.service("web").endpoints[0].id

    def open_at_a():
        reports = [b for b in world.telemetry if isinstance(b, InFlight)]
        return reports and reports[-1].in_flight[reports[-1].endpoint == first].sum()

    await world.until(lambda: open_at_a() == 1)
    await world.publish(world.plan(tiers=(1, 0, 1, 1), web=(100, 100, 100, 100)))
    assert (await world.split("/web", 400))["a"] > 60
    await world.until(lambda: open_at_a() == 0)
    assert sum(not t.done() for t in held) == 1, "it is open all the same, and will be answered"
    await world.let_end(held)


async def test_an_endpoint_that_changes_tiers_under_load_fails_no_request(world):
    await world.start(await world.service("web", *"abcd"))
    seen, stopped = Counter(), asyncio.Event()

    async def load():
        while not stopped.is_set():
            seen[await world.get("/web")] += 1

    loads = [asyncio.create_task(load()) for _ in range(8)]
    for n in range(10):
        await world.publish(world.plan(tiers=(0, 0, n % 2, 1), web=(200, 200, 200, 100)))
        before = seen.total()
        await world.until(lambda least=before + 100: seen.total() >= least)
    stopped.set()
    await asyncio.gather(*loads)
    assert set(seen) == set("abcd")


async def test_the_share_is_kept_to_its_decimals(world):
    await world.start(await world.service("web", "a", "b"))
    await world.publish(world.plan(share=80.0, web=(1, 1)))
    await world.split("/web", 1000, at_once=8)
    stamped = await world.until(lambda: len(found := world.told(Requests)) >= 1000 and found)
    assert np.mean(stamped.arm == Arm.ADAPTIVE) == pytest.approx(0.8, abs=0.06)  # 4.7 sigma

    await world.publish(world.plan(share=0.5, web=(1, 1)))
    await world.split("/web", 2000, at_once=8)
    stamped = await world.until(lambda: len(found := world.told(Requests)) >= 3000 and found)
    assert 1 <= np.count_nonzero(stamped.arm[1000:] == Arm.ADAPTIVE) <= 30  # 10 expected


async def test_the_lease_ends_with_the_renewals_and_no_request_fails(world):
    await world.start(await world.service("web", "a", "b"))
    await world.publish(world.plan(web=(1, 10_000)))
    seen = Counter()
    renewed_until = time.monotonic() + 1.5 * TTL_S
    while "weirflow.adaptive.web" in await world.envoys["n1"].runtime():
        if time.monotonic() > renewed_until:
            world.let_go()
        assert time.monotonic() < renewed_until + 3 * TTL_S, "the lease outlived its time"
        seen += await world.split("/web", 20)
    gone = time.monotonic()
    assert gone > renewed_until, "renewals did not prolong the lease"
    assert TTL_S - 0.1 < gone - world.last_renewal < TTL_S + 1.0
    assert set(seen) <= {"a", "b"}
    assert seen["a"] < 0.2 * seen["b"]

    after = await world.split("/web", 200)
    assert 50 < after["a"] < 150, "the static cluster serves, by the operator's weights"
    await world.publish(world.plan(web=(1, 10_000)))
    assert (await world.split("/web", 50))["b"] >= 48, "and a lease that had ended can be had again"


async def test_a_refused_weight_is_parked_at_its_node_and_mended_by_the_next_plan(world, monkeypatch):
    """Fault case 7."""
    await world.start(await world.service("web", "a", "b"), nodes=("n1", "n2"))
    await world.publish(world.plan(web=(100, 300)))
    with monkeypatch.context() as broken:
        broken.setattr(weights, "in_force", lambda service, plan: np.array([0, 7]))
        bad = world.server._snapshot.then(plan=world.plan(web=(5, 6)))
    n1 = world.server._nodes["n1"]
    world.server._carry_out(n1, n1.peer, n1.peer.stream.on_snapshot(bad, world.server._steady()))
    refused = await world.until(lambda: [v for v in world.verdicts("EDS") if not v.accepted])
    assert refused[0].version == bad.parts["EDS"].version
    assert "load_balancing_weight" in refused[0].detail or "LoadBalancingWeight" in refused[0].detail
    assert await world.split("/web", 100) == near({"a": 25, "b": 75}), "the last accepted weights serve on"
    assert "weight" in world.server.status()["nodes"]["n1"]["kinds"]["EDS"]["parked"].lower()
    assert world.server.status()["nodes"]["n2"]["nacks"] == 0
    renewed = world.last_renewal
    await world.until(lambda: world.last_renewal > renewed + TTL_S)
    assert len([v for v in world.verdicts("EDS") if not v.accepted]) == 1, "it is not sent again"

    world.server._snapshot = bad
    await world.publish(world.plan(web=(100, 900)))
    for base in (world.n1, world.n2):
        assert await world.split("/web", 100, base) == near({"a": 10, "b": 90})
    assert world.server.status()["nodes"]["n1"]["kinds"]["EDS"]["parked"] == ""


async def test_leased_limits_are_enforced_and_go_with_the_lease(world):
    await world.start(await world.service("web", "a"))
    backend = world.backends["a"]
    await world.publish(world.plan(web=(1,), limits={"max_requests": 2}))
    backend.gate.clear()
    requests = [asyncio.create_task(world.get("/web")) for _ in range(10)]
    await world.until(lambda: sum(r.done() for r in requests) == 8 and backend.hanging == 2)
    backend.gate.set()
    assert Counter(await asyncio.gather(*requests)) == {503: 8, "a": 2}
    rejected = await world.until(lambda: len(found := world.told(Felt)) >= 8 and found)
    assert set(rejected.outcome) == {Outcome.REJECTED}

    world.let_go()

    async def ended():
        return not any("max_requests" in key for key in await world.envoys["n1"].runtime())

    await world.until(ended)
    assert await world.split("/web", 40, at_once=10) == {"a": 40}


async def test_two_nodes_are_served_from_one_snapshot_and_told_apart(world):
    await world.start(await world.service("web", "a", "b"), nodes=("n1", "n2"))
    await world.publish(world.plan(web=(100, 300)))
    for base in (world.n1, world.n2):
        assert await world.split("/web", 40, base) == near({"a": 10, "b": 30})
    stamped = await world.until(lambda: len(found := world.told(Requests)) >= 80 and found)
    assert np.bincount(stamped.node).tolist() == [40, 40]
    await world.until(lambda: {b.node_id for b in world.telemetry if isinstance(b, InFlight)} == {0, 1})


async def test_a_server_that_comes_back_finds_its_nodes_and_they_converge(world):
    await world.start(await world.service("web", "a", "b"))
    await world.publish(world.plan(web=(100, 300)))
    before = world.server._snapshot.parts["EDS"].version
    world.let_go()
    await world.server.stop()
    assert set(await world.split("/web", 40)) == {"a", "b"}, "a node without us serves on"
    world.events.clear()

    await world.serve(world.rules)
    await world.until(lambda: len(world.verdicts("RDS")) == 1)
    versions = {v.kind: v.version for v in world.verdicts()}
    assert all(version.startswith("epoch-1.") for version in versions.values())
    assert versions["EDS"] != before
    after = await world.split("/web", 200)
    assert 50 < after["a"] < 150, "the lease of the earlier run is over: the new one knows nothing yet"
    await world.publish(world.plan(web=(300, 100)))
    assert await world.split("/web", 40) == near({"a": 30, "b": 10})


async def test_a_hung_endpoint_is_seen_before_any_request_ends(world):
    await world.start(await world.service("web", "a", "b", policy="ROUND_ROBIN"))
    world.backends["a"].gate.clear()
    requests = [asyncio.create_task(world.get("/web")) for _ in range(8)]
    hung = world.topology.service("web").endpoints[0].id

    def open_at_the_hung():
        reports = [b for b in world.telemetry if isinstance(b, InFlight)]
        return len(reports) and reports[-1].in_flight[reports[-1].endpoint == hung].sum() == 4

    await world.until(open_at_the_hung)
    assert hung not in world.told(Requests).endpoint
    world.backends["a"].gate.set()
    assert Counter(await asyncio.gather(*requests)) == {"a": 4, "b": 4}


async def test_an_endpoint_that_answers_with_nothing_is_an_error_and_is_cut(world):
    await world.start(await world.service("web", "good", "fine", "hollow", policy="ROUND_ROBIN", min_body_bytes=4))
    world.backends["hollow"].empty = True
    learning = Learning(half_life_s=0.5, min_samples=20, min_time_s=0.5)
    brain = Brain(world.topology, Settings(mode=Mode.ADAPTIVE, share_percent=90.0, learning=learning))
    heard, hollow = 0, world.topology.service("web").endpoints[2].id

    def cut():
        nonlocal heard
        batches, heard = world.telemetry[heard:], len(world.telemetry)
        for batch in batches:
            brain.told(batch, time.time())
        plan = brain.tick(time.time()).plan
        given = plan.services[0].weights if plan is not None and plan.services else {}
        return given and given[hollow] < 0.3 * max(given.values())

    deadline = time.monotonic() + 20
    while not cut():
        assert time.monotonic() < deadline, "it was not cut"
        await world.split("/web", 30)
    told = world.told(Requests)
    assert set(told.outcome[told.endpoint == hollow]) == {Outcome.ERROR}
    assert set(told.outcome[told.endpoint != hollow]) == {Outcome.OK}
    assert set(told.method) == {Method.GET}
    felt = world.told(Felt)
    assert set(felt.outcome) == {Outcome.ERROR}
    assert len(felt) == np.count_nonzero(told.endpoint == hollow)


async def test_a_push_for_one_service_leaves_the_schedule_of_another_alone(world):
    await world.start(await world.service("web", "a", "b", "c", "d"), await world.service("api", "e", "f"))
    base = {"web": (600, 200, 100, 100)}
    await world.publish(world.plan(**base, api=(100, 100)))
    before = (await world.envoys["n1"].stats("cluster.web~adaptive.update_attempt")).popitem()[1]
    seen = Counter()
    for n in range(40):  # a request or two between any two pushes: a schedule that was restarted would starve c and d
        await world.publish(world.plan(**base, api=(100, 101 + n)))
        seen[await world.get("/web")] += 1
    assert seen == near({"a": 24, "b": 8, "c": 4, "d": 4})
    assert (await world.envoys["n1"].stats("cluster.web~adaptive.update_attempt")).popitem()[1] == before


async def test_a_reload_and_a_new_member_fail_no_request(world):
    web = await world.service("web", "a", "b")
    await world.start(web, await world.service("old", "c"))
    stopped = asyncio.Event()
    seen = Counter()

    async def load():
        while not stopped.is_set():
            seen[await world.get("/web")] += 1

    loads = [asyncio.create_task(load()) for _ in range(4)]
    new = await world.service("new", "d")
    # The same path, led to other clusters; a changed cluster; one gone.
    rules = world.mesh(replace(web, connect_timeout_s=2.0), new)
    rules = replace(rules, routes=(RouteSpec("to-web", "new", prefix="/web"), RouteSpec("rest", "web", prefix="/")))
    topology = world.registry.topology(rules)
    world.server.replace(rules, topology)
    await world.until(lambda: seen["d"] > 50)
    grown = replace(new, endpoints=(*new.endpoints, EndpointSpec((await world.backend("e")).address)))
    world.server.moved(world.registry.topology(replace(rules, services=(rules.services[0], grown))))
    await world.until(lambda: seen["e"] > 50)
    stopped.set()
    await asyncio.gather(*loads)
    assert {"d", "e"} <= set(seen) <= {"a", "b", "d", "e"}
    stats = await world.envoys["n1"].stats("cluster")
    assert stats["cluster_manager.warming_clusters"] == 0
    assert not any(name.startswith("cluster.old") and value for name, value in stats.items() if "membership" in name)


async def test_a_node_that_the_mesh_does_not_name_is_refused_and_told_why(world):
    await world.start(await world.service("web", "a"))
    stranger = EnvoyProcess(bootstrap(NodeSpec("stranger"), f"127.0.0.1:{world.port}"))
    try:
        await stranger.start()
        await world.until(lambda: world.server.status()["faults"].get("unknown node"))
        with pytest.raises(EnvoyError, match="node 'stranger' is not in the mesh: add it to `nodes`"):
            await stranger.ready(deadline_s=0.5)
        assert await world.get("/web") == "a"
    finally:
        await stranger.stop()


async def test_a_drained_envoy_ends_what_is_open_before_it_leaves(world):
    await world.start(await world.service("web", "a"))
    backend, envoy = world.backends["a"], world.envoys["n1"]
    backend.gate.clear()
    request = asyncio.create_task(world.get("/web"))
    await world.until(lambda: backend.hanging == 1)
    leaving = asyncio.create_task(envoy.stop(drain_s=10.0))
    await world.until(lambda: draining(envoy))
    assert not leaving.done()
    backend.gate.set()
    assert await request == "a"
    await leaving
    assert envoy.returncode == 0


async def test_a_leased_retry_budget_stops_retries_and_the_operators_is_back_without_it(world):
    retry = RetrySpec("5xx", num_retries=1, budget_percent=100.0)
    await world.start(await world.service("web", "a"), retry=retry)
    world.backends["a"].status = 503
    tries = lambda: world.backends["a"].served  # noqa: E731
    await world.publish(world.plan(web=(1,)))
    await world.split("/web", 20)
    assert tries() == 40
    starved = {"retry_budget.budget_percent": 0, "retry_budget.min_retry_concurrency": 0}
    await world.publish(world.plan(web=(1,), limits=starved))
    await world.split("/web", 20)
    assert tries() == 60
    await world.publish(world.plan(web=(1,)))
    await world.split("/web", 20)
    assert tries() == 100


async def test_while_others_are_refused_critical_requests_are_served(world):
    web = await world.service("web", "a")
    mesh = world.mesh(web)
    pay = RouteSpec("pay", "web", prefix="/web/pay", priority="critical")
    await world.start(web, routes=(pay, *mesh.routes))
    backend = world.backends["a"]
    await world.publish(world.plan(web=(1,), limits={"max_requests": 2, "high.max_requests": 5}))
    backend.gate.clear()
    asked = {path: [asyncio.create_task(world.get(path)) for _ in range(8)] for path in ("/web", "/web/pay")}
    await world.until(lambda: sum(r.done() for some in asked.values() for r in some) == 9 and backend.hanging == 7)
    backend.gate.set()
    assert Counter(await asyncio.gather(*asked["/web"])) == {503: 6, "a": 2}
    assert Counter(await asyncio.gather(*asked["/web/pay"])) == {503: 3, "a": 5}


async def test_sheddable_requests_are_refused_by_a_share_of_the_adaptive_arm_and_the_log_says_so(world):
    web = await world.service("web", "a")
    mesh = world.mesh(web)
    crawl = RouteSpec("crawl", "web", prefix="/web/crawl", priority="sheddable", tell_arm=True)
    await world.start(web, routes=(crawl, *mesh.routes))
    plan = world.plan(share=70.0, web=(1,))
    await world.publish(replace(plan, services={s: replace(p, shed_percent=40.0) for s, p in plan.services.items()}))
    assert await world.split("/web", 100) == {"a": 100}
    told = Counter()
    for _ in range(1000):
        async with world.http.get(world.n1 + "/web/crawl") as response:
            told[response.status, response.headers["x-weirflow-arm"]] += 1
            assert response.status == 200 or response.headers["x-envoy-overloaded"] == "true"
    # Of a thousand draws; ten standard errors would be 150.
    assert told == {
        (503, "adaptive"): pytest.approx(400, abs=80),
        (200, "adaptive"): pytest.approx(300, abs=80),
        (200, "static"): pytest.approx(300, abs=80),
    }
    refused = told[503, "adaptive"]
    await world.until(lambda: len(world.told(Felt)) == refused)
    felt = world.told(Felt)
    assert set(felt.outcome) == {Outcome.REJECTED}
    assert set(felt.arm) == {Arm.ADAPTIVE}
    assert {world.topology.routes[r] for r in felt.route} == {"crawl"}
    world.let_go()
    await world.until(lambda: gone(world.envoys["n1"], "weirflow.shed.web"))
    assert await world.split("/web/crawl", 50) == {"a": 50}


async def gone(envoy, key):
    return key not in await envoy.runtime()


async def draining(envoy):
    return (await envoy._ask("/ready") or "").startswith("DRAINING")


async def test_each_node_keeps_its_own_part_of_a_limit(world):
    await world.start(await world.service("web", "a"), nodes=("n1", "n2"))
    backend, plan = world.backends["a"], world.plan(web=(1,))
    own = {n.id: {"max_requests": {"n1": 1, "n2": 3}[n.name]} for n in world.topology.nodes}
    await world.publish(replace(plan, services={s: replace(p, node_limits=own) for s, p in plan.services.items()}))
    backend.gate.clear()
    asked = {base: [asyncio.create_task(world.get("/web", base)) for _ in range(6)] for base in (world.n1, world.n2)}
    await world.until(lambda: sum(r.done() for some in asked.values() for r in some) == 8 and backend.hanging == 4)
    backend.gate.set()
    assert Counter(await asyncio.gather(*asked[world.n1])) == {503: 5, "a": 1}
    assert Counter(await asyncio.gather(*asked[world.n2])) == {503: 3, "a": 3}
