"""Many proxies that speak as one node: Istio's sidecars, which come and go and only tell."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane import node as node_module
from dataplane.als.scribe import attempt, ending, message
from dataplane.contract import InFlight, Outcome, Presence, Requests
from dataplane.mesh import EndpointSpec, Mesh, NodeSpec, Registry, ServiceSpec
from dataplane.node import ANY, LINGERS_S, LONGEST, Crowd
from dataplane.server import ADS, ALS, LRS, Server
from tests.test_server import Call, Told, first_message, until

pytestmark = pytest.mark.timeout(30)

CLUSTER = "outbound|80||web.shop.svc.cluster.local"
WEB = ServiceSpec("web", (EndpointSpec("127.0.0.1:1"), EndpointSpec("127.0.0.1:2")), also_known_as=(CLUSTER,))
SIDECARS = NodeSpec("sidecars", spawn=False, ids="sidecar~*.shop~*")
MESH = Mesh((NodeSpec("edge"), SIDECARS), (), (), (WEB,))
ONE, TWO = (f"sidecar~10.0.0.{i}~orders-{i}.shop~shop.svc.cluster.local" for i in (1, 2))
NODE = 1


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def server(told: Told) -> Any:
    server = Server(
        MESH, Registry().topology(MESH), told, told, time.time, epoch="e", flush_s=0.01, lrs_interval_s=0.05
    )
    server.port = await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def channel(server: Any) -> Any:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as found:
        yield found


def log(proxy: str, *entries: Any) -> bytes:
    return message(entries, node=proxy, log_name="weirflow")


def answered(address: str = "127.0.0.1:1", status: int = 200, late_s: float = 0.0, **more: Any) -> Any:
    """A request that took 0.2 s and ended just now, by a clock that is so far behind."""
    return ending(CLUSTER, address, time.time() - 0.2 - late_s, 0.2, status=status, **more)


def heard(told: Told) -> Requests:
    return Requests.concat([b for b in told if isinstance(b, Requests)])


def reports(told: Told) -> list[InFlight]:
    return [b for b in told if isinstance(b, InFlight)]


async def test_all_whose_ids_match_speak_as_one_node_and_a_request_is_told_as_its_last_try(
    server: Any, channel: Any, told: Told
) -> None:
    for proxy, status in ((ONE, 200), (TWO, 503)):
        entry = answered(status=status, request_id=proxy)
        entry.request.request_body_bytes, entry.response.response_body_bytes = 7, 4000
        await Call(channel, ALS).send(log(proxy, entry))
    await until(lambda: len(heard(told)) == 2)
    found = heard(told)
    assert found.node.tolist() == [NODE, NODE]
    assert sorted(found.outcome.tolist()) == [Outcome.OK, Outcome.ERROR]
    assert (found.endpoint == found.endpoint[0]).all()
    assert found.duration_s.tolist() == pytest.approx([0.2, 0.2])
    assert found.bytes_in.tolist() == [7, 7], "what it was asked with: this log has the bodies in their places"
    assert found.bytes_out.tolist() == [4000, 4000]
    assert server.status()["nodes"]["sidecars"]["proxies"] == 2


async def test_what_an_edge_logs_of_requests_that_ended_well_is_still_told_by_its_tries_alone(
    channel: Any, told: Told
) -> None:
    tried = attempt("web", "127.0.0.1:2", time.time() - 0.2, 0.2, request_id="a")
    await Call(channel, ALS).send(log("edge", answered(), tried))
    await until(lambda: len(heard(told)) == 1)
    assert heard(told).node.tolist() == [0]


async def test_each_tells_by_its_own_clock(channel: Any, told: Told) -> None:
    calls = {proxy: Call(channel, ALS) for proxy in (ONE, TWO)}
    for i in range(3):
        for (proxy, call), late_s in zip(calls.items(), (0.0, 3600.0), strict=True):
            await call.send(log(proxy, answered(late_s=late_s, request_id=f"{proxy}{i}")))
    await until(lambda: len(heard(told)) == 6)
    assert abs(heard(told).started_s - (time.time() - 0.2)).max() < 5.0


async def test_one_that_nothing_answered_is_felt_and_no_try_and_a_strange_endpoint_is_counted(
    server: Any, channel: Any, told: Told
) -> None:
    nowhere = answered("", 503, flags=["no_healthy_upstream"])
    await Call(channel, ALS).send(log(ONE, nowhere, answered("127.0.0.1:9"), answered()))
    await until(lambda: len(heard(told)) == 1)
    assert server.status()["nodes"]["sidecars"]["dropped"] == {"unknown_endpoint": 1}


async def test_what_ended_is_reported_as_sent_while_anybody_is_there_and_nothing_when_nobody_is(
    channel: Any, told: Told
) -> None:
    call = Call(channel, ALS)
    await call.send(log(ONE, answered(), answered(status=500, request_id="b")))
    await until(lambda: sum(r.issued.sum() for r in reports(told)) == 2)
    assert sum(r.succeeded.sum() for r in reports(told)) == 1
    assert sum(r.failed.sum() for r in reports(told)) == 1
    before = len(reports(told))
    await until(lambda: len(reports(told)) > before + 2)
    assert not any(len(r.issued) for r in reports(told)[-2:]), "idle, and known to be"
    assert {r.node_id for r in reports(told)} == {NODE}
    call.leave()
    await until(lambda: told[-1] == Presence(NODE, connected=False))
    after = len(told)
    await until(lambda: len(told) == after)


async def test_it_is_present_while_any_of_them_has_a_stream(server: Any, channel: Any, told: Told) -> None:
    calls = [Call(channel, ALS) for _ in range(3)]
    for call, proxy in zip(calls, (ONE, ONE, TWO), strict=True):
        await call.send(log(proxy, answered()))
    await until(lambda: server.status()["nodes"]["sidecars"]["proxies"] == 2)
    for call in calls[:2]:
        call.leave()
    await until(lambda: server.status()["nodes"]["sidecars"]["proxies"] == 1)
    assert [e for e in told if isinstance(e, Presence)] == [Presence(NODE, connected=True)]
    calls[2].leave()
    await until(lambda: Presence(NODE, connected=False) in told)
    assert not server.status()["nodes"]["sidecars"]["connected"]


@pytest.mark.parametrize("method", [ADS, LRS])
async def test_they_only_tell(server: Any, channel: Any, method: str) -> None:
    call = Call(channel, method)
    await call.send(first_message(method, ONE))
    code, words = await call.ended()
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert words == (
        f"node {ONE!r} speaks as 'sidecars', whose `ids` it matches, and they only tell: send its access log and no "
        "load report, and have it configured elsewhere"
    )


async def test_one_of_another_namespace_is_a_stranger(channel: Any) -> None:
    call = Call(channel, ALS)
    await call.send(log("sidecar~10.0.0.9~pay-1.bank~bank.svc.cluster.local", answered()))
    code, words = await call.ended()
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert "is not in the mesh" in words


async def test_more_than_can_be_held_are_refused_with_the_mend(
    server: Any, channel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "MOST", 1)
    await Call(channel, ALS).send(log(ONE, answered()))
    await until(lambda: server.status()["nodes"]["sidecars"]["proxies"] == 1)
    call = Call(channel, ALS)
    await call.send(log(TWO, answered()))
    code, words = await call.ended()
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "narrower pattern in `nodes[].ids`" in words


async def test_streams_end_when_the_pattern_is_another_and_who_matches_comes_back(
    server: Any, channel: Any, told: Told
) -> None:
    call = Call(channel, ALS)
    await call.send(log(ONE, answered()))
    await until(lambda: len(heard(told)) == 1)
    mesh = replace(MESH, nodes=(NodeSpec("edge"), replace(SIDECARS, ids="sidecar~*")))
    server.replace(mesh, Registry().topology(mesh))
    await call.send(message([answered(request_id="lost")]))
    assert (await call.ended())[0] is grpc.StatusCode.ABORTED, "Envoy opens another one"
    await Call(channel, ALS).send(log(ONE, answered(request_id="c")))
    await until(lambda: len(heard(told)) == 2)


def crowd(ids: str = "*") -> Crowd:
    return Crowd(NODE, ids, Registry().topology(MESH), {CLUSTER: "web"})


def test_who_left_is_remembered_for_a_moment_and_comes_back_to_what_it_held() -> None:
    some = crowd()
    first = some.begin(ONE)
    some.end(ONE, 10.0)
    assert some.decoders(10.0 + LINGERS_S) == [first]
    assert some.begin(ONE) is first
    some.end(ONE, 20.0)
    assert some.decoders(20.0 + LINGERS_S + 0.1) == []
    assert some.begin(ONE) is not first


@given(st.text("ab*", min_size=1, max_size=8).filter(lambda t: ANY in t), st.text("ab", max_size=12))
def test_a_star_is_any_text_and_everything_else_is_itself(ids: str, proxy: str) -> None:
    regular = re.compile(".*".join(map(re.escape, ids.split(ANY))), re.DOTALL)
    assert crowd(ids).matches(proxy) is (regular.fullmatch(proxy) is not None)


def test_an_id_that_is_long_is_nobodys_and_one_that_nearly_matches_is_looked_through_once() -> None:
    """A regular expression of so many stars would take for ever."""
    assert not crowd("a*" * 100 + "b").matches("a" * LONGEST)
    assert crowd("a*").matches("a" * LONGEST)
    assert not crowd("a*").matches("a" * (LONGEST + 1)), "two thousand of a megabyte each would be kept"


async def test_a_client_that_left_is_told_at_once_for_no_other_entry_will_say_why(channel: Any, told: Told) -> None:
    gone = answered(status=0, flags=["downstream_connection_termination"])
    half = answered(status=0)
    await Call(channel, ALS).send(log(ONE, gone, half))
    await until(lambda: len(heard(told)) == 2)
    assert heard(told).outcome.tolist() == [Outcome.CANCELLED] * 2
    assert heard(told).attempt.tolist() == [1, 1]
