"""The gRPC shell, told things by a bare gRPC client: who is served, and what one peer can do to the others."""

import asyncio
import contextlib
import random
from dataclasses import replace

import grpc
import grpc.aio
import pytest
from envoy.service.accesslog.v3 import als_pb2
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.load_stats.v3 import lrs_pb2

from dataplane.contract import InFlight, Plan, Presence, ServicePlan, Verdict
from dataplane.mesh import EndpointSpec, ListenerSpec, Mesh, NodeSpec, Registry, RouteSpec, ServiceSpec
from dataplane.server import ADS, ALS, LRS, Server
from dataplane.xds.kinds import TYPE_URL, Kind
from dataplane.xds.snapshot import InconsistentError

pytestmark = pytest.mark.timeout(30)

WEB = ServiceSpec("web", (EndpointSpec("127.0.0.1:1"), EndpointSpec("127.0.0.1:2")))
MESH = Mesh(
    nodes=(NodeSpec("n1"), NodeSpec("n2")),
    listeners=(ListenerSpec("in", "127.0.0.1", 0),),
    routes=(RouteSpec("r", "web"),),
    services=(WEB,),
)


class Told(list):
    """What the listener was told; `fault` is raised instead when set."""

    fault = None

    def __call__(self, thing):
        if self.fault is not None:
            raise self.fault
        self.append(thing)


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
async def server(told, registry):
    found = Server(MESH, registry.topology(MESH), told, told, lambda: 1_000_000.0, epoch="e", flush_s=0.01)
    found.port = await found.start()
    yield found
    await found.stop()


@pytest.fixture
async def channel(server):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as found:
        yield found


class Call:
    """A raw stream of one method."""

    def __init__(self, channel, method):
        self._call = channel.stream_stream(method)()

    async def send(self, message):
        await self._call.write(message if isinstance(message, bytes) else message.SerializeToString())

    async def read(self, of=discovery_pb2.DiscoveryResponse):
        return of.FromString(await asyncio.wait_for(self._call.read(), 5))

    async def ended(self):
        """Status and words, once the stream is over."""
        return await asyncio.wait_for(self._call.code(), 5), await self._call.details()

    def leave(self):
        self._call.cancel()


def ask(kind, node="", nonce="", version="", names=()):
    return discovery_pb2.DiscoveryRequest(
        type_url=TYPE_URL[kind],
        node={"id": node},
        response_nonce=nonce,
        version_info=version,
        resource_names=names,
    )


async def connect(channel, node="n1"):
    """A stream that was given its clusters and accepted them."""
    call = Call(channel, ADS)
    await call.send(ask(Kind.CDS, node))
    response = await call.read()
    await call.send(ask(Kind.CDS, nonce=response.nonce, version=response.version_info))
    return call


async def until(reached):
    async with asyncio.timeout(5):
        while not reached():
            await asyncio.sleep(0.005)


def first_message(method, node):
    if method == ADS:
        return ask(Kind.CDS, node)
    if method == LRS:
        return lrs_pb2.LoadStatsRequest(node={"id": node})
    return als_pb2.StreamAccessLogsMessage(identifier={"node": {"id": node}, "log_name": "weirflow.upstream"})


@pytest.mark.parametrize("method", [ADS, ALS, LRS])
async def test_a_node_that_the_mesh_does_not_name_is_refused_with_the_mend(server, channel, method):
    call = Call(channel, method)
    await call.send(first_message(method, "stranger"))
    code, words = await call.ended()
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert words == (
        "node 'stranger' is not in the mesh: add it to `nodes`, or start Envoy with the bootstrap of one of n1, n2"
    )
    assert server.status()["faults"] == {"unknown node": 1}


async def test_a_node_is_present_while_its_stream_is_open(server, channel, told):
    call = await connect(channel)
    await until(lambda: len(told) == 2)
    assert told == [Presence(0, connected=True), Verdict(0, "CDS", "e.1", accepted=True)]
    assert server.status()["nodes"]["n1"]["connected"]
    call.leave()
    await until(lambda: len(told) == 3)
    assert told[-1] == Presence(0, connected=False)
    assert not server.status()["nodes"]["n1"]["connected"]


async def test_a_node_is_what_it_says_it_is_cut_where_it_says_too_much(server, channel):
    for said, shown in (
        ({"user_agent_name": "envoy", "user_agent_build_version": {"version": {"major_number": 1, "minor_number": 40}}},
         "envoy 1.40.0"),
        ({"user_agent_name": "gRPC Go", "user_agent_version": "1.80"}, "gRPC Go 1.80"),
        ({}, ""),
        ({"user_agent_name": "x" * 1000}, "x" * 100),
    ):  # fmt: skip
        call = Call(channel, ADS)
        await call.send(discovery_pb2.DiscoveryRequest(type_url=TYPE_URL[Kind.CDS], node={"id": "n1", **said}))
        await call.read()
        assert server.status()["nodes"]["n1"]["agent"] == shown


async def test_a_node_that_reconnects_replaces_its_old_stream(server, channel, told):
    old = await connect(channel)
    await until(lambda: len(told) == 2)
    told.clear()
    await connect(channel)
    assert await old.ended() == (grpc.StatusCode.ABORTED, "the node has opened a newer stream")
    await until(lambda: len(told) == 3)
    assert told[:2] == [Presence(0, connected=False), Presence(0, connected=True)]
    assert server.status()["nodes"]["n1"]["connected"]


async def test_a_malformed_message_ends_its_own_stream_only(server, channel, told):
    good, bad = await connect(channel, "n1"), await connect(channel, "n2")
    await bad.send(b"\xff\xff not a request")
    code, words = await bad.ended()
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert words == "StreamAggregatedResources: a message that cannot be decoded"
    await good.send(ask(Kind.EDS, names=["web"]))
    assert (await good.read()).version_info == "e.1"
    assert server.status()["faults"]["malformed message"] == 1


async def test_a_message_too_large_ends_its_own_stream_only(server, channel):
    good, bad = await connect(channel, "n1"), await connect(channel, "n2")
    await bad.send(bytes(5 << 20))
    assert (await bad.ended())[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    await good.send(ask(Kind.EDS, names=["web"]))
    assert (await good.read()).version_info == "e.1"


@pytest.mark.parametrize("method", [ADS, ALS, LRS])
async def test_no_bytes_stop_the_server(server, channel, method):
    rng = random.Random(7)
    for _ in range(60):
        call = Call(channel, method)
        message = bytearray(first_message(method, "n1").SerializeToString() + rng.randbytes(rng.randrange(40)))
        for _ in range(rng.randrange(4)):
            message[rng.randrange(len(message))] = rng.randrange(256)
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the server was the quicker
            await call.send(bytes(message))
            await call.send(rng.randbytes(rng.randrange(60)))
        call.leave()
    good = await connect(channel, "n2")
    await good.send(ask(Kind.EDS, names=["web"]))
    assert (await good.read()).version_info == "e.1"
    assert "internal error" not in server.status()["faults"]


async def test_a_bug_in_a_handler_ends_its_own_stream_only(server, channel, monkeypatch):
    bad = await connect(channel, "n2")
    monkeypatch.setattr(server._nodes["n2"].peer.stream, "on_request", lambda *_: 1 / 0)
    await bad.send(ask(Kind.EDS, names=["web"]))
    assert await bad.ended() == (grpc.StatusCode.INTERNAL, "StreamAggregatedResources: internal error")
    assert server.status()["faults"] == {"internal error": 1}
    assert not server.status()["nodes"]["n2"]["connected"]
    await connect(channel, "n2")


async def test_a_stream_that_fails_lets_a_write_under_way_end_for_grpc_takes_no_status_beside_it(server, monkeypatch):
    log, writing, written = [], asyncio.Event(), asyncio.Event()

    async def messages():
        yield ask(Kind.CDS, "n2").SerializeToString()
        await writing.wait()
        monkeypatch.setattr(server._nodes["n2"].peer.stream, "on_request", lambda *_: 1 / 0)
        yield ask(Kind.EDS, names=["web"]).SerializeToString()

    class Context:
        async def write(self, _):
            log.append("write begins")
            writing.set()
            await written.wait()
            log.append("write ends")

    stream = asyncio.create_task(server._ads(messages(), Context()))
    await until(lambda: writing.is_set() and not server.status()["nodes"]["n2"]["connected"])
    assert not stream.done()
    written.set()
    with pytest.raises(ZeroDivisionError):
        await stream
    assert log == ["write begins", "write ends"]


async def test_load_reports_are_asked_for_by_endpoint_and_told_as_they_come(server, channel, told):
    call = Call(channel, LRS)
    await call.send(first_message(LRS, "n1"))
    answer = await call.read(lrs_pb2.LoadStatsResponse)
    assert answer.send_all_clusters
    assert answer.report_endpoint_granularity
    assert answer.load_reporting_interval.ToMilliseconds() == 500
    await call.send(lrs_pb2.LoadStatsRequest())
    await until(lambda: len(told) == 1)
    assert isinstance(told[0], InFlight)
    assert told[0].node_id == 0


async def test_a_listener_that_fails_is_counted_and_the_wires_go_on(server, channel, told):
    told.fault = RuntimeError("a bug in the brain")
    call = await connect(channel)
    await until(lambda: server.status()["faults"].get("listener") == 2)
    told.fault = None
    await call.send(ask(Kind.EDS, names=["web"]))
    response = await call.read()
    await call.send(ask(Kind.EDS, nonce=response.nonce, version="e.1", names=["web"]))
    await until(lambda: len(told) == 1)
    assert told[0].kind == "EDS"


async def test_a_plan_reaches_every_node_and_its_verdict_comes_back(server, channel, told):
    calls = [await connect(channel, "n1"), await connect(channel, "n2")]
    for call in calls:
        await call.send(ask(Kind.EDS, names=["web~adaptive"]))
        response = await call.read()
        await call.send(ask(Kind.EDS, nonce=response.nonce, version=response.version_info, names=["web~adaptive"]))
    await until(lambda: len(told) == 6)
    told.clear()
    server.publish(Plan(4, {0: ServicePlan(100.0, {0: 5, 1: 6})}))
    for call in calls:
        response = await call.read()
        assert response.version_info == "e.2"
        await call.send(ask(Kind.EDS, nonce=response.nonce, version="e.2", names=["web~adaptive"]))
    await until(lambda: len(told) == 2)
    assert {(v.node, v.version, v.plan, v.accepted) for v in told} == {(0, "e.2", 4, True), (1, "e.2", 4, True)}


async def test_a_membership_that_cannot_be_rendered_is_not_published_and_the_old_one_stays(server, registry):
    before = server._snapshot
    odd = replace(MESH, services=(replace(WEB, endpoints=(EndpointSpec("no address"),)),))
    server.moved(registry.topology(odd))
    assert server._snapshot is before
    assert server.status()["faults"] == {"inconsistent": 1}


async def test_a_reload_with_an_error_keeps_the_old_rules_whole(server, registry, channel):
    call = await connect(channel)
    before = server._snapshot
    bad = replace(MESH, nodes=(NodeSpec("n9"),), routes=(RouteSpec("r", "nowhere"),))
    with pytest.raises(InconsistentError, match="nowhere"):
        server.replace(bad, registry.topology(bad))
    assert server._snapshot is before
    assert list(server.status()["nodes"]) == ["n1", "n2"]
    await call.send(ask(Kind.EDS, names=["web"]))
    assert (await call.read()).version_info == "e.1"


async def test_a_reload_without_a_node_ends_its_stream_and_serves_a_new_one(server, registry, channel):
    call = await connect(channel, "n2")
    rules = replace(MESH, nodes=(NodeSpec("n1"), NodeSpec("n3")))
    server.replace(rules, registry.topology(rules))
    assert await call.ended() == (grpc.StatusCode.ABORTED, "node 'n2' is no longer in the mesh")
    await connect(channel, "n3")
    assert server.status()["nodes"]["n3"]["connected"]


async def test_a_port_that_is_taken_is_an_error_and_not_shared(server, told, registry):
    other = Server(MESH, registry.topology(MESH), told, told, lambda: 0.0, epoch="f")
    try:
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{server.port}: is it in use"):
            await other.start(f"127.0.0.1:{server.port}")
    finally:
        await other.stop()


async def test_stopping_twice_is_stopping_once(server, channel):
    call = await connect(channel)
    await server.stop()
    await server.stop()
    assert (await call.ended())[0] is grpc.StatusCode.UNAVAILABLE
