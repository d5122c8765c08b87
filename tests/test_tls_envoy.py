"""TLS against real Envoys: who gets its snapshot, who is refused and told (fault case 30), and rotation under load.

Every wait is for a condition, with a deadline.
"""

import asyncio
import json
import time
from collections import Counter
from dataclasses import replace

import pytest

from dataplane import rpc
from dataplane.contract import InFlight, Presence, Requests
from dataplane.envoy.secrets import sds_files
from dataplane.mesh import NodeSpec
from tests.certificates import HOUR_S, Authority, Secured, put
from tests.wires import a_world, near

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(90)]

XDS = "cluster.weirflow_xds."
STRANGERS = Authority("strangers")


@pytest.fixture
async def world(tmp_path):
    async with a_world() as found:
        found.tls = Secured(tmp_path)
        yield found


async def another(world, tmp_path, **given):
    """The mesh gets a second node, `n2`, which holds what is given and calls."""
    mesh = replace(world.rules, nodes=(*world.rules.nodes, NodeSpec("n2")))
    world.server.replace(mesh, world.registry.topology(mesh))
    world.tls.give("n2", **given)
    await world.join(NodeSpec("n2"), log=tmp_path / "n2.log")
    return world.envoys["n2"]


def connected(world):
    return [name for name, node in world.server.status()["nodes"].items() if node["connected"]]


async def serves_on(world):
    """New weights reach the node that was there first, and its log and its load reports arrive."""
    before = len(world.told(Requests))
    world.hold(plan := world.plan(web=(100, 300)))
    await world.until(lambda: world.in_force("n1", plan))
    assert await world.split("/web", 40) == near({"a": 10, "b": 30})
    await world.until(lambda: len(world.told(Requests)) >= before + 40)
    assert connected(world) == ["n1"]


async def test_over_tls_every_node_gets_its_snapshot_and_its_log_and_its_load_reports_arrive(world):
    await world.start(await world.service("web", "a", "b"), nodes=("n1", "n2"), workers=2)
    await world.publish(world.plan(web=(100, 300)))
    for base in (world.n1, world.n2):
        assert await world.split("/web", 40, base) == near({"a": 10, "b": 30})
    await world.until(lambda: len(world.told(Requests)) >= 80)
    await world.until(lambda: {b.node_id for b in world.telemetry if isinstance(b, InFlight)} == {0, 1})
    versions = await world.envoys["n1"].stats(f"{XDS}ssl.versions.")
    assert set(versions) == {f"{XDS}ssl.versions.TLSv1.3"}, "which keeps certificates from who listens"
    told = world.server.status()
    assert told["faults"] == {}
    assert told["tls"]["connections"] == told["tls"]["trusted"] >= 2


async def test_an_envoy_with_the_certificate_of_another_node_is_refused_and_told(world, tmp_path, monkeypatch):
    monkeypatch.setattr(rpc, "OVER_TLS", (("grpc.max_connection_age_ms", 1000),))
    await world.start(await world.service("web", "a", "b"))
    await another(world, tmp_path, pair=world.tls.authority.issue("spiffe://mesh/node/n1"))
    log = tmp_path / "n2.log"
    words = "a certificate of 'spiffe://mesh/node/n1' may not speak for node 'n2': that takes 'spiffe://mesh/node/n2'"
    await world.until(lambda: words in log.read_text())
    assert set(world.server.status()["faults"]) == {"identity"}
    await serves_on(world)
    world.tls.give("n2")  # the right one: it is shown by the next connection
    await world.until(lambda: connected(world) == ["n1", "n2"], 15)
    assert [e for e in world.events if isinstance(e, Presence) and e.node == 0] == [Presence(0, connected=True)]


@pytest.mark.parametrize(
    ("issued_by", "dates"),
    [
        pytest.param(STRANGERS, {}, id="of another CA"),
        pytest.param(None, {"start_s": -2 * HOUR_S, "end_s": -HOUR_S}, id="expired"),
        pytest.param(None, {"start_s": HOUR_S}, id="not yet valid"),
    ],
)
async def test_an_envoy_whose_certificate_is_not_trusted_is_turned_away_and_others_go_on(
    world, tmp_path, issued_by, dates
):
    await world.start(await world.service("web", "a", "b"))
    authority = issued_by or world.tls.authority
    envoy = await another(world, tmp_path, pair=authority.issue("spiffe://mesh/node/n2", **dates))
    await world.until(lambda: (told := world.server.status()["tls"])["connections"] >= told["trusted"] + 2)
    assert (await envoy.stats(f"{XDS}upstream_cx"))[f"{XDS}upstream_cx_total"] >= 2
    await serves_on(world)
    assert world.server.status()["faults"] == {}


async def test_an_envoy_in_the_clear_is_turned_away_and_others_go_on(world, tmp_path):
    await world.start(await world.service("web", "a", "b"))
    secured, world.tls.node = world.tls.node, lambda name: None
    await another(world, tmp_path)
    world.tls.node = secured
    await world.until(lambda: (told := world.server.status()["tls"])["connections"] >= told["trusted"] + 2)
    await serves_on(world)


@pytest.mark.parametrize(
    ("brain", "counted"),
    [
        (lambda authority: authority.issue("spiffe://mesh/node/n1"), "ssl.fail_verify_san"),
        (lambda authority: STRANGERS.issue(Secured.BRAIN), "ssl.fail_verify_error"),
        (lambda authority: authority.issue(Secured.BRAIN, start_s=-2 * HOUR_S, end_s=-HOUR_S), "ssl.fail_verify_error"),
    ],
    ids=["a node that poses as the brain", "another CA", "expired"],
)
async def test_an_envoy_speaks_to_nobody_but_the_brain(world, brain, counted):
    put(world.tls.brain, brain(world.tls.authority), world.tls.authority.pem)
    await world.serve(world.mesh(await world.service("web", "a")))
    await world.join(NodeSpec("n1"))

    async def refused():
        return (await world.envoys["n1"].stats(XDS + counted)).get(XDS + counted, 0) >= 2

    await world.until(refused)
    assert connected(world) == []


async def test_rotating_every_file_under_load_fails_no_request_and_the_new_ones_are_in_use(world):
    await world.start(await world.service("web", "a", "b"))
    await world.publish(world.plan(web=(100, 300)))
    seen, stopped, following = Counter(), asyncio.Event(), Authority("next")

    async def load():
        while not stopped.is_set():
            seen[await world.get("/web")] += 1

    async def updates():
        return sum((await world.envoys["n1"].stats(f"{XDS}client_ssl_socket_factory.ssl_context_update")).values())

    loads = [asyncio.create_task(load()) for _ in range(4)]
    before, brain = await updates(), world.tls.brain
    put(brain, following.issue(Secured.BRAIN), world.tls.authority.pem + following.pem)
    world.tls.give("n1", following.issue("spiffe://mesh/node/n1"), following.pem)

    async def read():
        return await updates() >= before + 2

    await world.until(read)
    put(brain, following.issue(Secured.BRAIN), following.pem)  # nobody trusts the old CA any more
    world.let_go()
    await world.server.stop()  # all connections end, and Envoy calls again
    await world.serve(world.rules)
    await world.until(lambda: connected(world) == ["n1"], 15)
    await world.publish(world.plan(web=(300, 100)))
    served = seen.total()
    await world.until(lambda: seen.total() >= served + 100)
    stopped.set()
    await asyncio.gather(*loads)
    assert set(seen) == {"a", "b"}
    assert world.server.status()["faults"] == {}


async def test_a_certificate_that_has_ended_does_not_live_on_in_an_old_stream_and_no_request_fails(world, monkeypatch):
    monkeypatch.setattr(rpc, "OVER_TLS", tuple((name, 1000) for name, _ in rpc.OVER_TLS))
    await world.start(await world.service("web", "a", "b"))
    await world.publish(world.plan(web=(100, 300)))
    world.tls.give("n1", world.tls.authority.issue("spiffe://mesh/node/n1", start_s=-2 * HOUR_S, end_s=-HOUR_S))
    seen = Counter()

    async def gone():
        seen.update(await world.split("/web", 10))
        tls = world.server.status()["tls"]
        return connected(world) == [] and tls["connections"] >= tls["trusted"] + 2

    await world.until(gone, 15)
    world.tls.give("n1")

    async def back():
        seen.update(await world.split("/web", 10))
        return connected(world) == ["n1"]

    await world.until(back, 15)
    assert set(seen) == {"a", "b"}


async def test_the_sds_files_themselves_are_read_again_when_a_config_map_of_them_changes(world, tmp_path):
    tls = world.tls.node("n1")
    mounted, elsewhere = tmp_path / "mounted", replace(tls, sds=tmp_path / "mounted", files=tmp_path / "other")

    def mount(told):
        """As Kubernetes mounts a ConfigMap."""
        data = tmp_path / f"map-{told.files.name}"
        data.mkdir()
        mounted.mkdir(exist_ok=True)
        for name, content in sds_files(told).items():
            (data / name).write_text(json.dumps(content))
            if not (mounted / name).is_symlink():
                (mounted / name).symlink_to(f"..data/{name}")
        (mounted / "..new").symlink_to(data)
        (mounted / "..new").replace(mounted / "..data")

    mount(replace(tls, sds=mounted))
    world.tls.node = lambda name: replace(tls, sds=mounted)
    await world.start(await world.service("web", "a"))
    put(elsewhere.files, world.tls.authority.issue("spiffe://mesh/node/n1", end_s=7 * HOUR_S), world.tls.authority.pem)
    mount(elsewhere)
    ends = f"{XDS}ssl.certificate.certificate.expiration_unix_time_seconds"

    async def read():
        return abs((await world.envoys["n1"].stats(ends))[ends] - time.time() - 7 * HOUR_S) < HOUR_S

    await world.until(read)
