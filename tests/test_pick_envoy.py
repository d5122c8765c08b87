"""The pick module in real Envoy: it is loaded where a node has it, picks as it should, and takes nothing down."""

import asyncio
import base64
import contextlib
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from dataplane.build import PICK
from dataplane.envoy.process import EnvoyProcess
from dataplane.mesh import EndpointSpec, OutlierSpec
from dataplane.pick import policy
from dataplane.xds.kinds import Kind
from tests.wires import Backend, a_world, near

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(90)]


@pytest.fixture
async def world():
    if PICK.missing() and not os.environ.get("CI"):
        pytest.skip(PICK.missing())
    assert policy.built(), PICK.missing() or "build it: `make setup`"
    async with a_world() as found:
        yield found


async def test_a_node_that_has_the_module_gets_it_and_requests_one_by_one_are_dealt_out_by_capacity(world):
    await world.start(await world.service("web", *"abc", module=True), module=True)
    await world.publish(world.plan(web=(100, 200, 400)))
    assert world.server.status()["nodes"]["n1"]["module"]
    assert [v.accepted for v in world.verdicts("CDS")] == [True]
    assert await world.split("/web", 700) == near({"a": 100, "b": 200, "c": 400})


async def test_where_much_is_open_the_least_open_for_its_capacity_is_picked(world):
    await world.start(await world.service("web", *"ab", module=True), module=True)
    await world.publish(world.plan(web=(100, 300)))
    held = [asyncio.create_task(world.get("/web/hold")) for _ in range(80)]
    a, b = world.backends["a"], world.backends["b"]
    await world.until(lambda: a.held + b.held == 80, deadline_s=30.0)
    assert (a.held, b.held) == (pytest.approx(20, abs=4), pytest.approx(60, abs=4))
    await world.let_end(held)


@pytest.mark.parametrize(
    "form",
    ["TEXT named_metrics.in_flight={}", 'JSON {{"named_metrics": {{"in_flight": {}}}}}', "TEXT cpu_utilization={}"],
)
async def test_what_endpoints_say_of_their_queues_goes_before_turns_while_it_is_believed(world, form):
    await world.start(await world.service("web", *"abc", module=True), module=True)
    for name, in_flight in zip("abc", (1, 0, 1), strict=True):  # the request that is answered is none of them
        world.backends[name].says = form.format(in_flight)
    await world.publish(world.plan(web=(100, 100, 100), module={"workers": 1.0, "believed_s": 60.0}))
    assert await world.split("/web", 3) == near({"a": 1, "b": 1, "c": 1}), "nobody has said anything"
    got = await world.split("/web", 9)
    await world.publish(world.plan(web=(100, 100, 100), module={"workers": 1.0}))
    await world.split("/web", 60)  # in which who was early has waited
    assert await world.split("/web", 300) == near({"a": 100, "b": 100, "c": 100}), "by turns again"
    assert got == ({"a": 3, "b": 3, "c": 3} if "cpu" in form else {"b": 9})


async def test_what_is_known_of_an_endpoint_goes_before_what_it_says_and_capacities_before_weights(world):
    await world.start(await world.service("web", *"abc", module=True), module=True)
    for name, in_flight in zip("abc", (6, 0, 2), strict=True):
        world.backends[name].says = f"TEXT named_metrics.in_flight={in_flight}"
    ids = [e.id for e in world.topology.service("web").endpoints]
    told = {"workers": 1.0, "believed_s": 60.0}

    async def favourite(**own):
        """Who gets nine requests, with this told of each."""
        own = {name: dict(zip(ids, values, strict=True)) for name, values in own.items()}
        world.hold(world.plan(web=(100, 100, 100), module=told | own))
        await world.until(lambda: world.server._nodes["n1"].peer.stream.settled(Kind.EDS))
        return set(await world.split("/web", 9))

    await world.publish(world.plan(web=(100, 100, 100), module=told))
    assert set(await world.split("/web", 6)) == set("abc"), "each has said what it has, at its first turn"
    assert await favourite() == {"b"}
    assert await favourite(queues=(0.0, 9.0, 0.0)) == {"c"}, "it says that it has none, and is known to have nine"
    assert await favourite(queues=(0.0, 9.0, 0.0), capacities=(400.0, 100.0, 100.0)) == {"a"}, "7 / 400 before 3 / 100"


async def test_lanes_reach_it_in_the_metadata_also_when_nothing_else_changes(world):
    await world.start(await world.service("web", *"ab", module=True), module=True)
    await world.publish(world.plan(web=(100, 300), module={"lanes": 0.0}))
    a, b = world.backends["a"], world.backends["b"]

    async def first_eight():
        """Where they are, one after the other, while all before are open. The first dozens show that queues tell."""
        a.gate.clear()
        tasks = [asyncio.create_task(world.get("/web/warm")) for _ in range(120)]
        await world.until(lambda: sum(x.hanging for x in (a, b)) > 20)
        a.gate.set()
        await asyncio.gather(*tasks)
        a.release.clear()
        b.release.clear()
        tasks = []
        for n in range(8):
            tasks.append(asyncio.create_task(world.get("/web/hold")))
            await world.until(lambda n=n: a.held + b.held == n + 1)
        seen = a.held, b.held
        await world.let_end(tasks)
        return seen

    assert await first_eight() == (2, 6), "without lanes in proportion"
    plan = world.plan(web=(100, 300), module={"lanes": 4.0})
    world.hold(plan)
    await world.until(lambda: world.server._nodes["n1"].peer.stream.settled(Kind.EDS))
    assert await first_eight() == (0, 8), "(8 + 0) / 300 is less than 4 / 100: the slow one's answer takes longer"


async def test_a_node_without_the_module_goes_on_with_envoys_own_policies(world):
    await world.start(await world.service("web", *"ab", module=True), module=False)
    await world.publish(world.plan(web=(100, 300)))
    assert not world.server.status()["nodes"]["n1"]["module"]
    assert await world.split("/web", 400) == near({"a": 100, "b": 300})


async def test_a_node_that_has_it_not_after_all_refuses_once_says_why_and_is_served_without(
    world, monkeypatch, tmp_path
):
    monkeypatch.setenv(policy.SEARCH_PATH, str(tmp_path))
    await world.start(await world.service("web", *"ab", module=True), module=True)
    await world.publish(world.plan(web=(100, 300)))
    status = world.server.status()["nodes"]["n1"]
    assert (status["module"], status["nacks"]) == (False, 1)
    assert "weirflow_pick" in status["module_refused"]
    assert await world.split("/web", 400) == near({"a": 100, "b": 300})


async def test_the_module_refuses_a_configuration_for_another_envoy(world, monkeypatch):
    told = policy.policy()
    told.typed_config.value = told.typed_config.value.replace(b"1.40", b"1.41")
    monkeypatch.setattr("dataplane.xds.resources.policy", lambda: told)
    await world.start(await world.service("web", *"ab", module=True), module=True)
    await world.publish(world.plan(web=(100, 300)))
    status = world.server.status()["nodes"]["n1"]
    assert not status["module"]
    assert "in-module load balancer configuration" in status["module_refused"]
    assert await world.split("/web", 4) == near({"a": 1, "b": 3})


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_a_retry_takes_another_host_only_if_its_route_asks_for_that(elsewhere):
    """The one that fails has a thousand turns for each of the other's, so by turns it would be asked again."""
    asks = {"retry_on": "5xx", "num_retries": 1}
    if elsewhere:
        kind = "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
        name = "envoy.retry_host_predicates.previous_hosts"
        asks |= {"retry_host_predicate": [{"name": name, "typed_config": {"@type": kind}}]}
        asks |= {"host_selection_retry_max_attempts": 3}
    async with _alone("ab", weights=(1000, 1), retry=asks) as (backends, get):
        backends[0].status = 503
        seen = Counter([await get() for _ in range(20)])
    assert seen["b"] == 20 if elsewhere else seen["b"] <= 1


async def test_an_ejected_host_gets_nothing_and_at_least_half_are_never_ejected(world):
    outliers = OutlierSpec(consecutive_5xx=1, interval_s=0.2, base_ejection_time_s=30.0, max_ejection_percent=100)
    await world.start(await world.service("web", *"abcd", module=True, outliers=outliers), module=True)
    await world.publish(world.plan(web=(1, 1, 1, 1)))
    world.backends["a"].status = 503
    await world.until(lambda: _ejected(world, 1))
    served = world.backends["a"].served
    assert set(await world.split("/web", 40)) == {"b", "c", "d"}
    assert world.backends["a"].served == served
    for name in "bcd":
        world.backends[name].status = 503
    await world.until(lambda: _ejected(world, 2))
    await world.split("/web", 60)
    assert await _ejected(world, 2), "two of four stay, so that somebody can always be picked"
    for name in "abcd":
        world.backends[name].status = 200
    assert set(await world.split("/web", 40)) <= set("abcd"), "and nobody is told that there is no healthy upstream"


async def _ejected(world, least):
    await world.split("/web", 8)
    stats = await world.envoys["n1"].stats("cluster.web~adaptive.outlier_detection.ejections_active")
    return sum(stats.values()) >= least and (least != 2 or sum(stats.values()) == 2)


async def test_endpoints_come_and_go_under_load_with_several_workers_and_no_request_fails_and_memory_stays(world):
    rules = await world.service("web", *"abcdefgh", module=True)
    await world.start(rules, module=True, workers=2)
    world.hold(world.plan(web=(100,) * 8))
    over, seen, sizes = False, Counter(), []

    async def client():
        while not over:
            seen[await world.get("/web")] += 1

    clients = [asyncio.create_task(client()) for _ in range(24)]
    everybody = [EndpointSpec(world.backends[b].address) for b in "abcdefgh"]
    for turn in range(60):
        here = [e for i, e in enumerate(everybody) if (turn * 7 + i) % 5 or i < 2]
        mesh = replace(world.rules, services=(replace(rules, endpoints=tuple(here)),))
        world.topology = world.registry.topology(mesh)
        world.server.replace(mesh, world.topology)
        world.hold(world.plan(web=tuple(50 + (turn * 31 + i * 17) % 400 for i in range(len(here)))))
        before = seen.total()
        await world.until(lambda before=before: seen.total() > before + 40)
        if turn in (20, 59):
            sizes.append(_resident_kb(world.envoys["n1"].pid))
    over = True
    await asyncio.gather(*clients)
    assert set(seen) <= set("abcdefgh"), f"all were served: {seen}"
    assert world.envoys["n1"].returncode is None
    assert sizes[1] < sizes[0] * 1.05 + 1024, f"resident memory, kB, early and late: {sizes}"


def _resident_kb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


async def test_a_request_that_must_have_a_host_gets_it_and_the_others_are_picked():
    """Envoy's stateful sessions name a host in a header; it is looked up before the module is asked."""
    async with _alone("abc", sessions=True) as (backends, get):
        must = {"x-host": base64.b64encode(backends[1].address.encode()).decode()}
        for headers, wanted in ((must, {"b": 30}), ({}, {"a": 10, "b": 10, "c": 10})):
            assert Counter([await get(headers) for _ in range(30)]) == near(wanted)


async def test_a_priority_that_is_half_sick_keeps_seven_in_ten_and_the_next_one_gets_the_rest():
    """As Envoy's own policies have it: 140 % of what is well of a priority stays there. The sick one gets nothing."""
    async with _alone("abc", priorities=(0, 0, 1), sick=(1,)) as (_, get):
        got = Counter([await get() for _ in range(600)])
    assert set(got) == {"a", "c"}
    assert got["a"] == pytest.approx(420, abs=45), "four standard errors"


async def test_when_nobody_is_well_there_is_no_panic_for_the_interface_has_none():
    """So outlier detection is told to leave half of them, and no health checks are rendered for such a cluster."""
    async with _alone("abc", sick=(0, 1, 2)) as (_, get):
        assert {await get() for _ in range(9)} == {503}


async def test_of_a_crew_too_large_to_be_scanned_each_gets_its_turns():
    """Seventy: more than the 64 that are compared with each other."""
    names = [f"{'weak' if i % 2 else 'strong'}-{i}" for i in range(70)]
    weights = [1 if i % 2 else 3 for i in range(70)]
    async with _alone(names, weights=weights) as (_, get):
        got = Counter([await get() for _ in range(4 * sum(weights))])
    assert got == near(dict(zip(names, (4 * w for w in weights), strict=True)))


@contextlib.asynccontextmanager
async def _alone(names, **told):
    """An Envoy of a file before backends of these names, and how to ask it: who answered, or the status."""
    backends = [await Backend(name).start() for name in names]
    envoy = EnvoyProcess(_of_a_file([b.address for b in backends], **told))
    try:
        await envoy.start()
        await envoy.ready()
        url = f"http://127.0.0.1:{(await envoy.listeners())['in']}/"
        async with aiohttp.ClientSession() as session:

            async def get(headers=None):
                async with session.get(url, headers=headers) as answer:
                    body = await answer.text()
                    return body if answer.status == 200 else answer.status

            yield backends, get
    finally:
        await envoy.stop()
        for backend in backends:
            backend.stop()


def _of_a_file(addresses, *, weights=(), retry=None, sessions=False, priorities=(), sick=()):
    kinds = "type.googleapis.com/envoy.extensions"
    members = {}
    for i, address in enumerate(addresses):
        host, port = address.split(":")
        place = {"address": {"socket_address": {"address": host, "port_value": int(port)}}}
        told = {"endpoint": place, "load_balancing_weight": weights[i] if weights else 1}
        members.setdefault(priorities[i] if priorities else 0, []).append(
            told | ({"health_status": "UNHEALTHY"} if i in sick else {})
        )
    localities = [{"priority": priority, "lb_endpoints": some} for priority, some in members.items()]
    filters = [{"name": "router", "typed_config": {"@type": f"{kinds}.filters.http.router.v3.Router"}}]
    if sessions:
        state = {"@type": f"{kinds}.http.stateful_session.header.v3.HeaderBasedSessionState", "name": "x-host"}
        config = {
            "@type": f"{kinds}.filters.http.stateful_session.v3.StatefulSession",
            "session_state": {"name": "envoy.http.stateful_session.header", "typed_config": state},
        }
        filters.insert(0, {"name": "envoy.filters.http.stateful_session", "typed_config": config})
    route = {"match": {"prefix": "/"}, "route": {"cluster": "web"} | ({"retry_policy": retry} if retry else {})}
    manager = {
        "@type": f"{kinds}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "http_filters": filters,
        "route_config": {"virtual_hosts": [{"name": "web", "domains": ["*"], "routes": [route]}]},
    }
    nowhere = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    chain = {"filters": [{"name": "manager", "typed_config": manager}]}
    cluster = {
        "name": "web",
        "type": "STATIC",
        "load_balancing_policy": {"policies": [{"typed_extension_config": policy.written()}]},
        "load_assignment": {"cluster_name": "web", "endpoints": localities},
    }
    return {
        "node": {"id": "n1", "cluster": "test"},
        "admin": {"address": nowhere},
        "static_resources": {
            "listeners": [{"name": "in", "address": nowhere, "filter_chains": [chain]}],
            "clusters": [cluster],
        },
    }


async def test_the_operators_own_search_path_is_left_as_it_is(monkeypatch):
    assert policy.environment({})[policy.SEARCH_PATH] == str(policy.FOLDER)
    assert policy.environment({policy.SEARCH_PATH: "/opt/modules"})[policy.SEARCH_PATH] == "/opt/modules"
    assert policy.environment(os.environ)["PATH"] == os.environ["PATH"]
