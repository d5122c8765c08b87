"""The stock policies are stock: real Envoy takes their configuration, and picks as its documentation says."""

from __future__ import annotations

import asyncio
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataplane.envoy.process import find_envoy
from dataplane.simulated.fleet import Fleet, Ints, Trace
from weirflow.lab.client import Client
from weirflow.lab.draw import draw, end_s
from weirflow.lab.endpoints import Endpoints
from weirflow.lab.peers import (
    UNREACHED,
    World,
    assignment,
    bootstraps,
    breakers,
    cluster,
    stock,
    true_limit,
    true_weights,
)
from weirflow.lab.run import LIMITING, STOCK, TOLD
from weirflow.lab.scenario import Change, Group, Retries, Scenario

LAB = Scenario(
    "s", "S", "ours", (Group("slow", 1), Group("fast", 1, speed=3.0, weight=2, zones=("z",))), load=0.3, timeout_s=2.0
)


def drawn(lab: Scenario) -> Fleet:
    return draw(lab, np.random.default_rng(1), 1)[0]


def a_world(fleet: Fleet, addresses: tuple[str, ...] = ("127.0.0.1:9", "127.0.0.1:10"), nodes: int = 1) -> World:
    return World(fleet, addresses, nodes, LAB.timeout_s, ("all",), end_s(LAB), demand_s=0.1, goal_s=1.0)


@pytest.mark.envoy
@pytest.mark.parametrize("policy", STOCK | TOLD | LIMITING)
def test_real_envoy_accepts_each_policy(policy: str, tmp_path: Path) -> None:
    members, file = tmp_path / "endpoints.json", tmp_path / "bootstrap.json"
    members.touch()
    (told,) = bootstraps(policy, a_world(drawn(LAB)), members)
    file.write_text(json.dumps(told))
    said = subprocess.run(
        [find_envoy(), "--mode", "validate", "--config-path", file, "--log-level", "warning"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert "deprecated" not in said.stderr.lower()


def test_what_is_not_the_policy_s_is_the_same_for_all(tmp_path: Path) -> None:
    told = [cluster(policy, tmp_path) for policy in STOCK | TOLD]
    for one in told:
        one.pop("load_balancing_policy")
        one.pop("outlier_detection", None)
    assert all(one == told[0] for one in told)


def test_nobody_is_refused_but_by_those_that_are_there_to_refuse() -> None:
    world = a_world(drawn(LAB))
    for policy in ("full_scan", "adaptive_concurrency", "admission_control"):
        assert set(breakers(policy, world)["circuit_breakers"]["thresholds"][0].values()) == {UNREACHED}
    assert breakers("breakers_default", world) == {}, "Envoy's own: 1024 of everything"
    by_hand = breakers("breakers_true", world)["circuit_breakers"]["thresholds"][0]
    assert (by_hand["max_requests"], by_hand["max_connections"]) == (true_limit(world), UNREACHED)


def test_retries_are_the_same_for_all_within_envoy_s_budget_but_where_its_own_count_serves(tmp_path: Path) -> None:
    world = replace(a_world(drawn(LAB)), retries=Retries(3, 0.5))
    for policy in ("full_scan", "breakers_true", "admission_control"):
        (told,) = breakers(policy, world)["circuit_breakers"]["thresholds"]
        assert told["retry_budget"] == {"budget_percent": {"value": 20.0}, "min_retry_concurrency": 3}
    assert breakers("breakers_default", world) == {}, "three at once"
    (bootstrap,) = bootstraps("full_scan", world, tmp_path)
    assert '"retry_policy": {"retry_on": "5xx", "num_retries": 3, "per_try_timeout": "0.500000s"}' in json.dumps(
        bootstrap
    )


def test_critical_requests_have_envoy_s_high_priority_which_nobody_s_breakers_refuse(tmp_path: Path) -> None:
    world = replace(a_world(drawn(LAB)), paths=("pay", "all"), priorities={"pay": "critical"})
    for policy in ("full_scan", "breakers_true"):
        _, high = breakers(policy, world)["circuit_breakers"]["thresholds"]
        assert (high["priority"], high["max_requests"]) == ("HIGH", UNREACHED)
    (bootstrap,) = bootstraps("full_scan", world, tmp_path)
    assert '"match": {"prefix": "/pay"}, "route": {"cluster": "lab", "timeout": "2.000000s", "priority": "HIGH"}' in (
        json.dumps(bootstrap)
    )


def test_the_oracle_lets_be_open_what_is_worked_on_and_what_can_wait_within_the_goal() -> None:
    # 4 and 4 workers, one endpoint of three times the speed: 16 demand seconds a second are 160 requests, of 50 ms.
    world = a_world(drawn(LAB))
    assert true_limit(world) == round(8 + 160 * (1.0 - 4.6 * 0.05))
    assert true_limit(replace(world, nodes=4)) == round((8 + 160 * 0.77) / 4)
    assert true_limit(replace(world, goal_s=0.01)) == 8, "never less than can be worked on"
    with pytest.raises(ValueError, match="without a latency goal"):
        true_limit(replace(world, goal_s=None))


def test_a_policy_that_is_not_stock_has_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="weirflow"):
        cluster("weirflow", tmp_path)


def test_the_oracle_s_weights_are_mean_capacity_as_a_member_and_the_others_the_operator_s(tmp_path: Path) -> None:
    late = Group("late", 1, workers=2, joins_s=20.0, changes=(Change(5.0, speed=0.5), Change(40.0, speed=0.2)))
    fleet = drawn(replace(LAB, groups=(*LAB.groups, late)))
    assert true_weights(fleet, 60.0) == [333, 1000, 50]  # 2 of 12 for half of the time, then 0.4
    world = a_world(fleet, ("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"))
    told = assignment(world, fleet.members(0.0).tolist(), fleet.weight.tolist())
    assert [(z["locality"]["zone"], z["lb_endpoints"][0]["load_balancing_weight"]) for z in told["endpoints"]] == [
        ("", 1),
        ("z", 2),
    ]


async def went(policy: str, lab: Scenario, requests: int, folder: Path) -> Ints:
    """Which endpoints requests went to that came one after another, through one node; members of `leaves` leave after
    half of them."""
    fleet = drawn(lab)
    each_s = 0.01
    at_s = np.arange(requests) * each_s
    zero = np.zeros(requests)
    trace = Trace.of(at_s=at_s, node=zero, klass=zero, demand_s=zero + 0.001, luck=zero + 0.5)
    async with Endpoints(fleet, folder) as endpoints:
        world = World(fleet, endpoints.addresses, 1, lab.timeout_s, ("all",), end_s(lab))
        async with (
            stock(policy, world, folder) as proxies,
            Client(trace, lab, proxies.ports, folder) as client,
        ):
            start = asyncio.get_running_loop().time() + 0.1
            client.begin(start)
            for change_s in world.fleet.changes_s():
                await asyncio.sleep(start + change_s - asyncio.get_running_loop().time())
                await proxies.moved(change_s)
            seen = await client.seen()
            assert sorted(proxies.pids) == ["node-0"]
            assert await proxies.shares() is None
    assert seen.fate.ok.all()
    assert not seen.fate.adaptive.any()
    return seen.fate.endpoint.astype(np.int64)


@pytest.mark.envoy
@pytest.mark.parametrize(("policy", "share"), [("round_robin", 2 / 3), ("round_robin_true", 3 / 4)])
async def test_requests_go_by_the_weights(policy: str, share: float, tmp_path: Path) -> None:
    assert (await went(policy, LAB, 120, tmp_path)).mean() == pytest.approx(share, abs=0.03)


@pytest.mark.envoy
async def test_who_leaves_gets_nothing_more(tmp_path: Path) -> None:
    lab = replace(LAB, groups=(Group("stays", 1), Group("leaves", 1, leaves_s=0.6)))
    seen = await went("round_robin", lab, 160, tmp_path)
    assert set(seen[:50].tolist()) == {0, 1}
    assert set(seen[-50:].tolist()) == {0}
