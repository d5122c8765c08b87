"""An Envoy that keeps its own listeners, routes and clusters joins a mesh, with the bootstrap that the how-to shows."""

import asyncio
import re
import subprocess
import time
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from ruamel.yaml import YAML

from dataplane.contract import Arm, Dropped, InFlight, Outcome, Plan, Requests, ServicePlan
from dataplane.envoy.process import EnvoyProcess, find_envoy
from dataplane.mesh import EndpointSpec, Mesh, NodeSpec, Registry, ServiceSpec
from dataplane.server import Server
from tests.proxies import Backend

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(60)]

PAGE = (Path(__file__).parent.parent / "docs" / "how-to.md").read_text()
SHOWN = re.search(r"```yaml\n(node: \{id: front-1.*?)```", PAGE, re.DOTALL)[1]
DEADLINE_S = 15.0
FRONT = NodeSpec("front-1", spawn=False)


class World:
    """Two backends, a server, and the Envoy of the page."""

    def __init__(self, http, server, envoy, topology, told):
        self.http, self.server, self.envoy, self.topology, self.told = http, server, envoy, topology, told

    async def ask(self, count=100):
        """Who answered how often."""
        url = f"http://127.0.0.1:{(await self.envoy.listeners())['web']}"
        out = Counter()
        for _ in range(count):
            async with self.http.get(url) as answer:
                out[(await answer.text()) if answer.status == 200 else answer.status] += 1
        return out

    def of(self, kind):
        return kind.concat([b for b in self.told if isinstance(b, kind)])

    async def until(self, reached):
        async with asyncio.timeout(DEADLINE_S):
            while not await reached():
                await asyncio.sleep(0.05)


@asynccontextmanager
async def world(change, *others, node=FRONT):
    """`change` turns the shown bootstrap into the one that is started."""
    backends = [await Backend().start() for _ in range(2)]
    told, registry = [], Registry()
    endpoints = tuple(EndpointSpec(b.address) for b in backends)
    mesh = Mesh((node,), (), (), (ServiceSpec("orders", endpoints, also_known_as=others),))
    topology = registry.topology(mesh)
    server = Server(mesh, topology, told.append, lambda _: None, time.time, ttl_s=2.0, epoch="e")
    port = await server.start()
    shown = YAML(typ="safe").load(SHOWN)
    shown["admin"]["address"]["socket_address"]["port_value"] = 0
    shown["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"] = 0
    (xds,) = [c for c in shown["static_resources"]["clusters"] if c["name"] == "weirflow_xds"]
    place = xds["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    place["port_value"] = port
    change(shown, [b.address for b in backends])
    envoy = EnvoyProcess(shown)
    async with aiohttp.ClientSession() as http:
        try:
            await envoy.start()
            await envoy.ready()
            yield World(http, server, envoy, topology, told)
        finally:
            await envoy.stop()
            await server.stop()
            for backend in backends:
                backend.stop()


def nothing(shown, backends):
    """As the page has it."""


def watch_only(shown, backends):
    """As one whose endpoints are its own, and whose ADS is somebody else's: it gives us its log and its reports."""
    del shown["dynamic_resources"]
    shown["layered_runtime"]["layers"] = [{"name": "static", "static_layer": {}}]
    resources = shown["static_resources"]
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["route_config"]["virtual_hosts"][0]["routes"][0]
    resources["clusters"] = [c for c in resources["clusters"] if c["name"] != "orders~adaptive"]
    (orders,) = [c for c in resources["clusters"] if c["name"] == "orders"]
    del orders["eds_cluster_config"]
    hosts = [
        {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}}
        for host, port in (b.split(":") for b in backends)
    ]
    own = {"cluster_name": "orders", "endpoints": [{"lb_endpoints": hosts}]}
    orders |= {"type": "STATIC", "load_assignment": own}


def test_envoy_takes_what_the_page_shows_without_a_warning(tmp_path):
    (tmp_path / "envoy.yaml").write_text(SHOWN)
    command = [find_envoy(), "--mode", "validate", "-c", tmp_path / "envoy.yaml", "--log-level", "warning"]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (said.returncode, said.stderr) == (0, "")


async def test_an_envoy_with_routes_of_its_own_takes_weights_and_the_lease_and_falls_back_to_its_own_route():
    async with world(nothing) as mesh:
        first, second = (e.address for e in mesh.topology.services[0].endpoints)
        assert set(await mesh.ask()) == {first, second}
        ids = [e.id for e in mesh.topology.services[0].endpoints]
        plan = Plan(1, {0: ServicePlan(100.0, dict(zip(ids, (90, 10), strict=True)))})

        async def leased():
            mesh.server.publish(plan)
            return any("adaptive" in key for key in await mesh.envoy.runtime())

        await mesh.until(leased)
        split = await mesh.ask()
        assert split[first] == pytest.approx(90, abs=2), "Envoy's schedule is exact but for where it begins"

        async def gone():
            return not any("adaptive" in key for key in await mesh.envoy.runtime())

        await mesh.until(gone)  # nobody renews
        assert set(await mesh.ask()) == {first, second}

        async def heard():
            return len(mesh.of(Requests)) == 300

        await mesh.until(heard)
        found = mesh.of(Requests)
        assert Counter(found.arm.tolist()) == {Arm.STATIC: 200, Arm.ADAPTIVE: 100}
        assert set(found.endpoint.tolist()) == set(ids)

        async def reported():
            return len(mesh.of(InFlight)) > 0

        await mesh.until(reported)


async def test_an_envoy_whose_ads_is_anothers_is_watched():
    async with world(watch_only) as mesh:
        await mesh.ask()

        async def heard():
            return len(mesh.of(Requests)) == 100 and len(mesh.of(InFlight)) > 0

        await mesh.until(heard)
        assert not mesh.server.status()["nodes"]["front-1"]["connected"]
        ids = {e.id for e in mesh.topology.services[0].endpoints}
        assert set(mesh.of(Requests).endpoint.tolist()) == ids


ISTIO = "outbound|80||orders.shop.svc.cluster.local"


def called_as_istio_does(shown, backends):
    watch_only(shown, backends)
    resources = shown["static_resources"]
    (orders,) = [c for c in resources["clusters"] if c["name"] == "orders"]
    orders["name"] = orders["load_assignment"]["cluster_name"] = ISTIO
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["cluster"] = ISTIO


async def test_a_cluster_that_is_called_otherwise_is_its_service_s_where_the_mesh_file_says_so():
    async with world(called_as_istio_does, "of-old", ISTIO) as mesh:
        mesh.server.moved(mesh.topology)  # as after every change of membership

        async def reports():
            return any(isinstance(b, InFlight) for b in mesh.told)

        await mesh.until(reports)  # Envoy counts for them from when they are asked for
        await mesh.ask()

        async def heard():
            return len(mesh.of(Requests)) == 100 and mesh.of(InFlight).issued.sum() == 100

        await mesh.until(heard)
        ids = {e.id for e in mesh.topology.services[0].endpoints}
        assert set(mesh.of(Requests).endpoint.tolist()) == ids
        assert Counter(mesh.of(Requests).arm.tolist()) == {Arm.STATIC: 100}
        assert not [b for b in mesh.told if isinstance(b, Dropped)]


def log_as_istio_does(shown, backends):
    """As its Telemetry API has sidecars log to an `envoyHttpAls` provider: requests, each second, and nothing else."""
    called_as_istio_does(shown, backends)
    shown["node"] = {"id": "sidecar~10.0.0.7~web-1.shop~shop.svc.cluster.local", "cluster": "web.shop"}
    shown["cluster_manager"] = {}
    manager = shown["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    (router,) = (f["typed_config"] for f in manager["http_filters"] if f["name"] == "envoy.filters.http.router")
    (logger,) = router.pop("upstream_log")
    common = logger["typed_config"]["common_config"]
    common["log_name"] = "weirflow"
    del common["buffer_flush_interval"], common["buffer_size_bytes"]
    manager["access_log"] = [logger]


async def test_a_sidecar_that_istio_configures_is_watched_by_the_log_that_its_telemetry_api_can_send():
    sidecars = NodeSpec("sidecars", spawn=False, ids="sidecar~*.shop~*", service="orders")
    async with world(log_as_istio_does, ISTIO, node=sidecars) as mesh:
        assert (await mesh.ask()).total() == 100

        async def heard():
            return len(mesh.of(Requests)) == 100 and mesh.of(InFlight).issued.sum() == 100

        await mesh.until(heard)
        found = mesh.of(Requests)
        assert Counter(found.outcome.tolist()) == {Outcome.OK: 100}
        assert set(found.endpoint.tolist()) == {e.id for e in mesh.topology.services[0].endpoints}
        assert set(found.node.tolist()) == {0}
        assert not [b for b in mesh.told if isinstance(b, Dropped)]
        assert (mesh.server.status()["nodes"]["sidecars"]["proxies"], mesh.server.status()["faults"]) == (1, {})


async def test_a_cluster_that_nobody_names_is_told_as_dropped():
    async with world(called_as_istio_does) as mesh:
        await mesh.ask()

        async def dropped():
            found = Counter()
            for batch in mesh.told:
                found.update(batch.reasons if isinstance(batch, Dropped) else {})
            return found["unknown_cluster"] >= 100

        await mesh.until(dropped)
        assert len(mesh.of(Requests)) == 0
