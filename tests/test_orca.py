"""Applications say in their answers what they have in progress: behind their real servers, asked by real clients."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from aiohttp import ClientSession, web

from weirflow import orca

IDLE = "TEXT named_metrics.in_flight=0"


def test_an_aiohttp_application_says_what_it_has_beside_the_request_that_it_answers() -> None:
    async def talk() -> list[str]:
        gate, app, inside = asyncio.Event(), web.Application(), 0

        async def slow(_: web.Request) -> web.Response:
            nonlocal inside
            inside += 1
            await gate.wait()
            return web.Response()

        async def quick(_: web.Request) -> web.Response:
            return web.Response()

        async def stream(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write_eof(b"ok")
            return response

        app.add_routes([web.get("/slow", slow), web.get("/quick", quick), web.get("/stream", stream)])
        orca.aiohttp(app)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with ClientSession() as client:

            async def said(path: str) -> str:
                async with client.get(base + path) as response:
                    return response.headers[orca.HEADER]

            heard = [await said("/quick")]
            waiting = [asyncio.create_task(said("/slow")) for _ in range(2)]
            while inside < 2:
                await asyncio.sleep(0.001)
            heard += [await said(path) for path in ("/quick", "/nowhere", "/stream")]
            gate.set()
            await asyncio.gather(*waiting)
            heard.append(await said("/quick"))
        await runner.cleanup()
        return heard

    two = "TEXT named_metrics.in_flight=2"
    assert asyncio.run(talk()) == [IDLE, two, two, two, IDLE], "a 404 says it, and a stream"


class _Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def served() -> Iterable[Callable[[orca.Wsgi], Callable[[str], tuple[int, str | None]]]]:
    """Serve a WSGI application, and ask it by a path: its status, and what it said."""
    servers = []

    def serve(app: orca.Wsgi) -> Callable[[str], tuple[int, str | None]]:
        server = make_server("127.0.0.1", 0, app, server_class=_Threads, handler_class=_Silent)  # type: ignore[arg-type]
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

        def ask(path: str) -> tuple[int, str | None]:
            connection = HTTPConnection("127.0.0.1", server.server_port, timeout=30)
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            connection.close()
            return response.status, response.getheader(orca.HEADER)

        return ask

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_wsgi_application_counts_a_request_until_its_answer_is_closed(served: Any) -> None:
    inside, gate = threading.Semaphore(0), threading.Event()

    def app(environ: dict[str, Any], start: orca.StartResponse) -> Iterable[bytes]:
        start("200 OK", [("content-type", "text/plain")])
        if environ["PATH_INFO"] == "/slow":
            inside.release()
            yield b"a"
            gate.wait()
        yield b"b"

    ask = served(orca.wsgi(app))
    assert ask("/") == (200, IDLE)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(ask, "/slow")
        inside.acquire()
        assert ask("/") == (200, "TEXT named_metrics.in_flight=1"), "its headers are out, its body is not"
        gate.set()
        slow.result()
    for _ in range(1000):  # the server closes it after the last byte
        if ask("/") == (200, IDLE):
            return
    raise AssertionError("it is counted for ever")


def test_a_wsgi_application_that_raises_has_answered(served: Any, capfd: pytest.CaptureFixture[str]) -> None:
    def app(environ: dict[str, Any], start: orca.StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/broken":
            raise ValueError("broken")
        start("200 OK", [])
        return [b""]

    ask = served(orca.wsgi(app))
    assert ask("/broken")[0] == 500
    assert ask("/") == (200, IDLE)
    capfd.readouterr()  # the server's traceback


async def _answer(app: orca.Asgi, headers: list[tuple[bytes, bytes]] | None = None) -> list[dict[str, Any]]:
    """What an ASGI server would be told."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    await app({"type": "http", "headers": headers or []}, receive, send)
    return sent


def _asgi(*headers: tuple[bytes, bytes], meanwhile: Callable[[], Any] | None = None) -> orca.Asgi:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if meanwhile is not None:
            await meanwhile()
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        await send({"type": "http.response.body", "body": b""})

    return app


def test_an_asgi_application_says_it_and_goes_on_counting_after_one_that_raised() -> None:
    in_flight = orca.InFlight()
    inner = orca.asgi(_asgi(), in_flight)

    async def meanwhile() -> None:
        assert dict((await _answer(inner))[0]["headers"]) == {
            b"endpoint-load-metrics": b"TEXT named_metrics.in_flight=1"
        }
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(_answer(orca.asgi(_asgi(meanwhile=meanwhile), in_flight)))
    start, body = asyncio.run(_answer(inner))
    assert dict(start["headers"]) == {b"endpoint-load-metrics": IDLE.encode()}
    assert body == {"type": "http.response.body", "body": b""}


def test_other_things_than_requests_are_not_counted() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.complete"})

    async def talk() -> list[Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await orca.asgi(app)({"type": "lifespan"}, None, send)  # type: ignore[arg-type]
        return sent

    assert asyncio.run(talk()) == [{"type": "lifespan.startup.complete"}]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"TEXT cpu_utilization=0.3", b"TEXT cpu_utilization=0.3,named_metrics.in_flight=0"),
        (b"TEXT named_metrics.in_flight=9", b"TEXT named_metrics.in_flight=9"),
        (b'JSON {"cpu_utilization":0.3}', b'JSON {"cpu_utilization":0.3}'),
    ],
)
def test_a_report_of_the_applications_own_is_added_to_or_left_alone(before: bytes, after: bytes) -> None:
    start = asyncio.run(_answer(orca.asgi(_asgi((b"Endpoint-Load-Metrics", before)))))[0]
    assert [v for _, v in start["headers"]] == [after]


def test_processes_may_count_together() -> None:
    shared = multiprocessing.get_context("fork").Value("q")
    ours, theirs = orca.InFlight(shared), orca.InFlight(shared)
    theirs.add(3)
    with ours.one():
        assert ours.said() == "TEXT named_metrics.in_flight=3"
    theirs.add(-3)
    assert shared.value == 0
