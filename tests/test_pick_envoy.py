"""The pick module in real Envoy: it is loaded where a node has it, picks as it should, and takes nothing down."""

import asyncio
import base64
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from dataplane.build import PICK
from dataplane.envoy.process import EnvoyProcess
from dataplane.mesh import EndpointSpec, OutlierSpec, RetrySpec
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


async def test_lanes_reach_it_in_the_metadata_also_when_nothing_else_changes(world):
    await world.start(await world.service("web", *"ab", module=True), module=True)
    await world.publish(world.plan(web=(100, 300), lanes=0.0))
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
    plan = world.plan(web=(100, 300), lanes=4.0)
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
    monkeypatch.setattr(policy, "ENVOY_VERSION", "1.40")
    text = policy.LIBRARY.read_bytes()
    assert policy.ENVOY_VERSION.encode() in text
    told = policy.policy()
    other = told.typed_config.value.replace(b"1.40", b"1.41")
    told.typed_config.value = other
    monkeypatch.setattr("dataplane.xds.resources.policy", lambda: told)
    await world.start(await world.service("web", *"ab", module=True), module=True)
    await world.publish(world.plan(web=(100, 300)))
    status = world.server.status()["nodes"]["n1"]
    assert not status["module"]
    assert "in-module load balancer configuration" in status["module_refused"]
    assert await world.split("/web", 4) == near({"a": 1, "b": 3})


async def test_a_retry_takes_another_host_when_its_route_says_so(world):
    rules = await world.service("web", *"abc", module=True)
    retry = RetrySpec(num_retries=2, retriable_status_codes=(503,), budget_percent=100.0, min_retry_concurrency=100)
    await world.start(rules, module=True, retry=retry)
    await world.publish(world.plan(web=(1, 1, 1)))
    for name in "ab":
        world.backends[name].status = 503
    seen = await world.split("/web", 60, at_once=1)
    assert seen["c"] >= 50, "turns lead away from who has just failed"


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
    backends = [await Backend(name).start() for name in "abc"]
    envoy = EnvoyProcess(_with_sessions([b.address for b in backends]))
    try:
        await envoy.start()
        await envoy.ready()
        url = f"http://127.0.0.1:{(await envoy.listeners())['in']}/"
        must = {"x-host": base64.b64encode(backends[1].address.encode()).decode()}
        async with aiohttp.ClientSession() as session:
            for headers, wanted in ((must, {"b": 30}), ({}, {"a": 10, "b": 10, "c": 10})):
                seen = Counter()
                for _ in range(30):
                    async with session.get(url, headers=headers) as answer:
                        seen[await answer.text()] += 1
                assert seen == near(wanted)
    finally:
        await envoy.stop()
        for backend in backends:
            backend.stop()


def _with_sessions(addresses):
    kinds = "type.googleapis.com/envoy.extensions"
    at = [dict(zip(("address", "port_value"), a.split(":"), strict=True)) for a in addresses]
    members = [{"endpoint": {"address": {"socket_address": {**a, "port_value": int(a["port_value"])}}}} for a in at]
    state = {"@type": f"{kinds}.http.stateful_session.header.v3.HeaderBasedSessionState", "name": "x-host"}
    sessions = {
        "@type": f"{kinds}.filters.http.stateful_session.v3.StatefulSession",
        "session_state": {"name": "envoy.http.stateful_session.header", "typed_config": state},
    }
    manager = {
        "@type": f"{kinds}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "http_filters": [
            {"name": "envoy.filters.http.stateful_session", "typed_config": sessions},
            {"name": "router", "typed_config": {"@type": f"{kinds}.filters.http.router.v3.Router"}},
        ],
        "route_config": {
            "virtual_hosts": [
                {"name": "web", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "web"}}]}
            ]
        },
    }
    nowhere = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    chain = {"filters": [{"name": "manager", "typed_config": manager}]}
    return {
        "node": {"id": "n1", "cluster": "test"},
        "admin": {"address": nowhere},
        "static_resources": {
            "listeners": [{"name": "in", "address": nowhere, "filter_chains": [chain]}],
            "clusters": [
                {
                    "name": "web",
                    "type": "STATIC",
                    "load_balancing_policy": {"policies": [{"typed_extension_config": policy.written()}]},
                    "load_assignment": {"cluster_name": "web", "endpoints": [{"lb_endpoints": members}]},
                }
            ],
        },
    }


async def test_the_operators_own_search_path_is_left_as_it_is(monkeypatch):
    assert policy.environment({})[policy.SEARCH_PATH] == str(policy.FOLDER)
    assert policy.environment({policy.SEARCH_PATH: "/opt/modules"})[policy.SEARCH_PATH] == "/opt/modules"
    assert policy.environment(os.environ)["PATH"] == os.environ["PATH"]
