"""Say in every answer how many requests are in progress, for proxies that pick by it. Put it around a web application:

    application = orca.wsgi(application)  # Flask, Django
    app = orca.asgi(app)                  # Starlette, FastAPI, Django
    orca.aiohttp(app)                     # an aiohttp.web.Application

The answer gets ORCA's header, `endpoint-load-metrics: TEXT named_metrics.in_flight=3`: requests in progress beside the
one that is answered, at the moment its headers go out. Whoever writes that header already, in this form, has the number
added; any other form is left alone. Nothing but Python is needed, and the file may be copied.

A process counts its own requests. Where several processes serve one address, give them one count, made before they
fork: `orca.InFlight(multiprocessing.Value("q"))`.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

HEADER = "endpoint-load-metrics"
TEXT = "TEXT "

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Callable[[], Awaitable[Any]], Send], Awaitable[None]]
StartResponse = Callable[..., Callable[[bytes], object]]
Wsgi = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class Shared(Protocol):
    """A `multiprocessing.Value` of whole numbers."""

    value: int

    def get_lock(self) -> AbstractContextManager[Any]:
        """What to hold while it is changed."""


class _Own:
    def __init__(self) -> None:
        self.value, self._lock = 0, threading.Lock()

    def get_lock(self) -> AbstractContextManager[Any]:
        return self._lock


class InFlight:
    """Requests in progress, counted by threads, tasks or, with a `shared` number, by processes."""

    def __init__(self, shared: Shared | None = None) -> None:
        self._count: Shared = shared or _Own()

    @contextmanager
    def one(self) -> Iterator[None]:
        """While it is entered a request is in progress."""
        self.add(1)
        try:
            yield
        finally:
            self.add(-1)

    def add(self, requests: int) -> None:
        """So many more are in progress."""
        with self._count.get_lock():
            self._count.value += requests

    def said(self, before: str | None = None) -> str | None:
        """The header in an answer to one of them, whose application set it to `before`; None leaves that as it is."""
        metric = f"named_metrics.in_flight={max(self._count.value - 1, 0)}"
        if before is None:
            return TEXT + metric
        return f"{before},{metric}" if before.startswith(TEXT) and "in_flight" not in before else None


def asgi(app: Asgi, in_flight: InFlight | None = None) -> Asgi:
    """The application, saying what it has in progress. Only its HTTP requests are counted."""
    count = in_flight or InFlight()

    async def counted(scope: Scope, receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return

        async def say(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                name = HEADER.encode()
                before = next((v.decode("latin-1") for k, v in headers if k.lower() == name), None)
                value = count.said(before)
                if value is not None:
                    headers = [(k, v) for k, v in headers if k.lower() != name] + [(name, value.encode("latin-1"))]
                    message = {**message, "headers": headers}
            await send(message)

        with count.one():
            await app(scope, receive, say)

    return counted


def wsgi(app: Wsgi, in_flight: InFlight | None = None) -> Wsgi:
    """The application, saying what it has in progress. A request ends as its server closes the answer (PEP 3333)."""
    count = in_flight or InFlight()

    def counted(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        def say(status: str, headers: list[tuple[str, str]], *told: Any) -> Callable[[bytes], object]:
            before = next((v for k, v in headers if k.lower() == HEADER), None)
            value = count.said(before)
            if value is not None:
                headers = [(k, v) for k, v in headers if k.lower() != HEADER] + [(HEADER, value)]
            return start_response(status, headers, *told)

        count.add(1)
        try:
            body = app(environ, say)
        except BaseException:
            count.add(-1)
            raise
        return _Body(body, count)

    return counted


class _Body:
    """The parts of an answer; closed, its request is over."""

    def __init__(self, parts: Iterable[bytes], count: InFlight) -> None:
        self._parts, self._count, self._open = parts, count, True

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)

    def close(self) -> None:
        """Called by the server in any case, and once counted."""
        try:
            close = getattr(self._parts, "close", None)
            if close is not None:
                close()
        finally:
            if self._open:
                self._open = False
                self._count.add(-1)


def aiohttp(app: Any, in_flight: InFlight | None = None) -> None:
    """Have an `aiohttp.web.Application` say what it has in progress. Before it runs: RuntimeError after."""
    from aiohttp import web  # only who calls this needs it

    count = in_flight or InFlight()

    def say(response: Any) -> None:
        value = count.said(response.headers.get(HEADER))
        if value is not None:
            response.headers[HEADER] = value

    @web.middleware
    async def counted(request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        with count.one():  # an answer that is not a stream goes out after this
            try:
                response = await handler(request)
            except web.HTTPException as answer:
                say(answer)
                raise
            if not response.prepared:
                say(response)
            return response

    async def say_of_stream(_request: Any, response: Any) -> None:
        say(response)

    app.middlewares.insert(0, counted)
    app.on_response_prepare.append(say_of_stream)
