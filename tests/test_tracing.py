"""Traces through real Envoy to a real OTLP receiver: what is kept, what is told, and what a dead collector costs."""

import asyncio
import contextlib
import itertools
import socket
import time
from dataclasses import dataclass, field, replace

import aiohttp
import grpc
import grpc.aio
import pytest
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from dataplane.contract import Dropped, InFlight, Plan, ServicePlan
from dataplane.envoy.bootstrap import bootstrap
from dataplane.envoy.process import EnvoyProcess
from dataplane.mesh import (
    EndpointSpec,
    ListenerSpec,
    Mesh,
    NodeSpec,
    Registry,
    RetrySpec,
    RouteSpec,
    ServiceSpec,
    TracingSpec,
)
from dataplane.server import Server
from dataplane.xds.kinds import Kind
from dataplane.xds.resources import percentage
from dataplane.xds.snapshot import Snapshot
from dataplane.xds.tracing import COLLECTOR, MAX_EXPORTS, log_filter

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(60)]

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
DEADLINE_S = 15.0
CARES = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
AT_ONCE = {"tracing.opentelemetry.min_flush_spans": 1}
"""Envoy holds spans until it has five of them, or for five seconds."""


@dataclass(frozen=True)
class Span:
    trace: str
    id: str
    parent: str
    kind: int  # 2 is a server's, 3 a client's
    start_ns: int
    tags: dict[str, str]
    resource: dict[str, str]


class Collector(grpc.GenericRpcHandler):
    """Takes OTLP over gRPC, and keeps it. `deaf`: it takes calls and answers none."""

    def __init__(self):
        self.spans, self.deaf, self.called = [], False, 0

    async def start(self):
        self.server = grpc.aio.server()
        self.server.add_generic_rpc_handlers([self])
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        await self.server.start()
        return self

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(self.export) if details.method == EXPORT else None

    async def export(self, message, context):
        self.called += 1
        if self.deaf:
            await asyncio.Event().wait()
        for group in trace_service_pb2.ExportTraceServiceRequest.FromString(message).resource_spans:
            resource = {a.key: a.value.string_value for a in group.resource.attributes}
            for span in itertools.chain.from_iterable(scope.spans for scope in group.scope_spans):
                tags = {a.key: a.value.string_value for a in span.attributes}
                ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
                self.spans.append(Span(*ids, span.kind, span.start_time_unix_nano, tags, resource))
        return trace_service_pb2.ExportTraceServiceResponse().SerializeToString()

    def of(self, trace):
        return [s for s in self.spans if s.trace == trace]


@dataclass
class Backend:
    """Answers with the next of `statuses`, then 200; keeps the trace headers that came."""

    statuses: list[int] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def serve(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
                found = dict(line.split(": ", 1) for line in head[1:] if line)
                self.parents.append(found.get("traceparent", ""))
                self.states.append(found.get("tracestate", ""))
                status = self.statuses.pop(0) if self.statuses else 200
                writer.write(b"HTTP/1.1 %d .\r\ncontent-length: 2\r\n\r\nok" % status)
        writer.close()


def mesh(endpoint, tracing):
    return Mesh(
        nodes=(NodeSpec("front-1"),),
        listeners=(ListenerSpec("in", "127.0.0.1", 0),),
        routes=(RouteSpec("all", "web", retry=RetrySpec(num_retries=2)),),
        services=(ServiceSpec("web", (EndpointSpec(endpoint),)),),
        tracing=tracing,
    )


class World:
    """A backend behind an Envoy, and a collector."""

    def __init__(self, http):
        self.http, self.registry = http, Registry()
        self.server = self.envoy = self.dns = None
        self.told = []

    async def start(self, otlp=None, *, deaf_dns=False, **tracing):
        self.backend, self.collector = await Backend().start(), await Collector().start()
        self.mesh = mesh(self.backend.address, TracingSpec(otlp or self.collector.address, **tracing))
        self.topology = self.registry.topology(self.mesh)
        self.server = Server(self.mesh, self.topology, self.told.append, lambda _: None, time.time, epoch="e")
        port = await self.server.start()
        made = bootstrap(self.mesh.nodes[0], f"127.0.0.1:{port}")
        made["layered_runtime"]["layers"][0]["static_layer"] = AT_ONCE
        if deaf_dns:
            self.dns = socket.socket(type=socket.SOCK_DGRAM)
            self.dns.bind(("127.0.0.1", 0))
            address = {"address": "127.0.0.1", "port_value": self.dns.getsockname()[1]}
            resolver = {"@type": CARES, "resolvers": [{"socket_address": address}]}
            made["typed_dns_resolver_config"] = {
                "name": "envoy.network.dns_resolver.cares",
                "typed_config": resolver | {"dns_resolver_options": {"no_default_search_domain": True}},
            }
        self.envoy = EnvoyProcess(made)
        await self.envoy.start()
        await self.envoy.ready()
        self.url = f"http://127.0.0.1:{(await self.envoy.listeners())['in']}"

    async def ask(self, parent="", **headers):
        if parent:
            headers |= {"traceparent": parent}
        async with self.http.get(self.url, headers=headers) as answer:
            await answer.read()
            return answer.status

    def become(self, mesh):
        self.server.replace(mesh, self.registry.topology(mesh))

    async def adapt(self):
        """All requests on the adaptive arm."""
        (service,) = self.topology.services
        plan = Plan(1, {service.id: ServicePlan(100.0, {e.id: 100 for e in service.endpoints})})
        async with asyncio.timeout(DEADLINE_S):
            while not any("adaptive" in key for key in await self.envoy.runtime()):
                self.server.publish(plan)
                await asyncio.sleep(0.05)

    async def until(self, reached):
        async with asyncio.timeout(DEADLINE_S):
            while not (found := reached()):
                await asyncio.sleep(0.02)
            return found

    async def until_stat(self, name, reached):
        async with asyncio.timeout(DEADLINE_S):
            while not reached((await self.envoy.stats(name)).get(name, -1.0)):
                await asyncio.sleep(0.05)

    async def until_asked(self, reached):
        """Ask, on connections of their own as the listener changes, until the backend's request is so."""
        async with asyncio.timeout(DEADLINE_S):
            while not (self.backend.parents and reached(self.backend.parents[-1])):
                assert await self.ask(connection="close") == 200

    async def spans(self, count):
        """That many have come, no more: the request's, then those of its attempts in order."""
        await self.until(lambda: len(self.collector.spans) >= count)
        assert len(self.collector.spans) == count
        return sorted(self.collector.spans, key=lambda s: (s.kind, s.start_ns))

    async def stop(self):
        if self.envoy is not None:
            await self.envoy.stop()
        if self.server is not None:
            await self.server.stop()
            await self.collector.server.stop(0)
            self.backend.server.close()
        if self.dns is not None:
            self.dns.close()


@pytest.fixture
async def world():
    async with aiohttp.ClientSession() as http:
        found = World(http)
        try:
            yield found
        finally:
            await found.stop()


async def test_a_request_goes_on_in_the_trace_that_it_came_in(world):
    await world.start(sampling_percent=0)
    assert await world.ask(SAMPLED, tracestate="vendor=1") == 200
    request, attempt = await world.spans(2)
    assert (request.trace, attempt.trace) == (TRACE, TRACE)
    assert (request.parent, attempt.parent) == (PARENT, request.id)
    assert world.backend.parents == [f"00-{TRACE}-{attempt.id}-01"], "the endpoint goes on below its own attempt"
    assert world.backend.states == ["vendor=1"]
    assert request.tags["node_id"] == "front-1"
    assert request.resource["service.name"] == "weirflow"


async def test_a_caller_that_decided_against_a_trace_is_obeyed(world):
    await world.start(sampling_percent=100, service_name="shop's edge")
    assert await world.ask(NOT_SAMPLED) == 200
    assert await world.ask() == 200, "this one begins a trace"
    request, _ = await world.spans(2)
    assert request.parent == ""
    assert request.resource["service.name"] == "shop's edge"
    (first, second) = world.backend.parents
    assert (first[:36], first[-2:]) == (f"00-{TRACE}-", "00")
    assert (second[:36], second[-2:]) == (f"00-{request.trace}-", "01")
    assert not world.collector.of(TRACE)


async def test_each_attempt_of_a_retried_request_is_a_span(world):
    await world.start(sampling_percent=100)
    world.backend.statuses = [503, 503]
    assert await world.ask() == 200
    request, *attempts = await world.spans(4)
    assert [a.tags["http.status_code"] for a in attempts] == ["503", "503", "200"]
    assert {a.parent for a in attempts} == {request.id}
    assert world.backend.parents == [f"00-{request.trace}-{a.id}-01" for a in attempts]
    assert request.tags["http.status_code"] == "200"


async def test_a_span_says_by_which_arm_the_request_went(world):
    await world.start(sampling_percent=100)
    await world.ask()
    assert [s.tags["upstream_cluster"] for s in await world.spans(2)] == ["web", "web"]
    await world.adapt()
    world.collector.spans.clear()
    await world.ask()
    assert [s.tags["upstream_cluster"] for s in await world.spans(2)] == ["web~adaptive", "web~adaptive"]


async def test_a_sampled_trace_of_each_arm_is_told_for_metrics(world):
    await world.start(sampling_percent=0)
    assert await world.ask() == 200
    assert await world.ask(SAMPLED) == 200
    await world.until(lambda: world.server.status()["exemplars"])
    await world.adapt()
    assert await world.ask(SAMPLED.replace("0af7", "beef")) == 200
    await world.until(lambda: len(world.server.status()["exemplars"]) == 2)
    told = {e["arm"]: e for e in world.server.status()["exemplars"]}
    assert {arm: (e["service"], e["trace_id"]) for arm, e in told.items()} == {
        "static": ("web", TRACE),
        "adaptive": ("web", TRACE.replace("0af7", "beef")),
    }
    assert all(0 < e["seconds"] < 5 and abs(e["at"] - time.time()) < 30 for e in told.values())


async def test_what_a_node_sends_to_its_collector_is_not_taken_for_telemetry_of_a_stranger(world):
    await world.start(sampling_percent=100)
    await world.ask()
    await world.spans(2)
    before = len(world.told)
    await world.until(lambda: sum(isinstance(b, InFlight) for b in world.told[before:]) == 3)
    assert not [b for b in world.told if isinstance(b, Dropped)]


async def test_where_none_are_sampled_none_are_sent(world):
    await world.start(sampling_percent=0)
    for _ in range(50):
        assert await world.ask() == 200
    assert all(parent.endswith("-00") for parent in world.backend.parents), "a trace goes through it all the same"
    assert await world.ask(SAMPLED) == 200
    await world.spans(2)
    assert {s.trace for s in world.collector.spans} == {TRACE}, "spans come in order: all before it would be here"


@pytest.mark.parametrize(
    ("otlp", "dns"),
    [("127.0.0.1:1", False), ("collector.invalid:4317", False), ("collector.example:4317", True)],
    ids=["is down", "has no address", "has a name server that hangs"],
)
async def test_a_collector_that_is_not_there_fails_no_request(world, otlp, dns):
    await world.start(otlp, deaf_dns=dns, sampling_percent=100)
    assert [await world.ask() for _ in range(50)] == [200] * 50
    await world.until_stat("tracing.opentelemetry.spans_sent", lambda sent: sent == 100)
    assert [await world.ask() for _ in range(50)] == [200] * 50


async def test_a_collector_that_hangs_fails_no_request_and_may_hold_few_spans(world):
    await world.start(sampling_percent=100)
    world.collector.deaf = True
    assert [await world.ask() for _ in range(100)] == [200] * 100
    await world.until(lambda: world.collector.called == MAX_EXPORTS)
    open_calls = "cluster.weirflow~collector.upstream_rq_active"
    assert (await world.envoy.stats(open_calls))[open_calls] <= MAX_EXPORTS
    await world.until_stat(open_calls, lambda n: n == 0)
    world.collector.deaf = False
    world.collector.spans.clear()
    assert await world.ask(SAMPLED) == 200
    await world.until(lambda: len(world.collector.of(TRACE)) == 2)


async def test_a_traceparent_that_is_none_fails_no_request(world):
    await world.start(sampling_percent=100)
    for parent in ("00-zz-00-01", "x" * 4000, f"ff-{TRACE}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01"):
        assert await world.ask(parent) == 200


async def test_tracing_begins_and_ends_in_a_mesh_that_runs(world):
    await world.start(sampling_percent=100)
    traced = world.mesh
    world.become(replace(traced, tracing=None))
    await world.until_asked(lambda parent: not parent)
    world.become(traced)
    await world.until_asked(lambda parent: parent.endswith("-01"))


def test_of_all_requests_no_more_than_one_in_a_hundred_is_logged_for_exemplars_whatever_is_sampled():
    for sampled, logged in ((0.0, 100.0), (0.5, 100.0), (1.0, 100.0), (10.0, 10.0), (100.0, 1.0)):
        _, dice = log_filter(TracingSpec("127.0.0.1:1", sampled))["and_filter"]["filters"]
        assert dice["runtime_filter"]["percent_sampled"] == percentage(logged)


def test_a_mesh_without_tracing_is_what_it_was():
    traced = mesh("127.0.0.1:80", TracingSpec("[::1]:4317", 2.5, "shop"))
    plain = replace(traced, tracing=None)
    before, after = (Snapshot.first("e", m, Registry().topology(m)).parts for m in (plain, traced))
    assert after[Kind.CDS].resources.keys() - before[Kind.CDS].resources.keys() == {COLLECTOR}
    for kind in Kind:
        for name, was in before[kind].resources.items():
            now = after[kind].resources[name]
            assert (now == was) == (kind is not Kind.LDS), (kind, name)
    was, now = (Listener.FromString(p[Kind.LDS].resources["in"].value) for p in (before, after))
    manager = HttpConnectionManager()
    place = now.filter_chains[0].filters[0].typed_config
    place.Unpack(manager)
    assert manager.tracing.spawn_upstream_span.value
    manager.ClearField("tracing")
    del manager.access_log[-1]
    place.Pack(manager, deterministic=True)
    assert now == was, "a listener that is traced differs by that and its log alone"
