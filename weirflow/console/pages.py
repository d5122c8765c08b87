"""The console's part of the admin API: the page with what it is made of, the state document, and its stream.

The files are this package's own and hold nothing of the mesh, so they are served to whoever may see the port at all;
all that is of the mesh is asked for by the page, with the token where there is one. Browsers are told to run no script
and load nothing but these files (Content-Security-Policy), whatever a service may be named.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from weirflow import __version__
from weirflow.access import Access, RefusedError, reply
from weirflow.console.asked import Asked
from weirflow.console.feed import Feed
from weirflow.console.meshfile import MeshFile
from weirflow.console.wondering import Wondering
from weirflow.operations import Operations

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # asked again each time, answered 304: an upgrade shows at once
}
PING_S = 5.0
"""A comment goes out after so long without a document, so that either end sees a dead connection."""
MAX_STREAMS = 64


class Console:
    """The handlers of one mesh."""

    def __init__(self, operations: Operations, access: Access) -> None:
        self._operations, self._access = operations, access
        self._asked = Asked(operations)
        self._streams = 0

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application."""
        return [
            web.get("/", self._home),
            web.get("/console", self._home),
            web.get("/console/", self._page),
            web.get("/console/api/about", self._about),
            web.get("/console/api/state", self._state),
            web.get("/console/api/events", self._events),
            *self._asked.routes(),
            *MeshFile(self._operations).routes(),
            *Wondering(self._operations).routes(),
            web.get("/console/{file:.+}", self._file),
        ]

    async def _home(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "/console/"})

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "index.html", headers=HEADERS | {"Content-Type": "text/html; charset=utf-8"})

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["file"]
        path = (STATIC / name).resolve()
        kind = TYPES.get(path.suffix)
        if kind is None or not path.is_relative_to(STATIC) or not path.is_file():
            raise RefusedError(404, "the console has no such file", "start at /console/")
        return web.FileResponse(path, headers=HEADERS | {"Content-Type": f"{kind}; charset=utf-8"})

    async def _about(self, request: web.Request) -> web.Response:
        """Whether there is a token at all, and whether this request shows it: without one the page only looks."""
        has = self._access.token is not None
        return reply({"version": __version__, "token": has, "change": has and self._access.knows(request.headers)})

    async def _state(self, request: web.Request) -> web.Response:
        if "at" in request.query:
            return await self._asked.at(request.query["at"])
        document = self._feed.newest()
        if document is None:
            raise RefusedError(409, "nothing has been decided yet", "the first tick comes within a second; ask again")
        return web.Response(body=document, content_type="application/json", headers={"Cache-Control": "no-store"})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """`event: state`, `id: TICK`, `data: DOCUMENT`, until one of both goes away."""
        if self._streams >= MAX_STREAMS:
            raise RefusedError(503, f"{MAX_STREAMS} streams are open already", "close a tab, or ask again later")
        self._streams += 1
        try:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
            await response.prepare(request)
            tick: int | None = None
            while True:
                try:
                    async with asyncio.timeout(PING_S):
                        tick, document = await self._feed.after(tick)
                except TimeoutError:
                    await response.write(b": still here\n\n")
                    continue
                await response.write(b"event: state\nid: %d\ndata: %b\n\n" % (tick, document))
        except ConnectionResetError:
            return response
        finally:
            self._streams -= 1

    @property
    def _feed(self) -> Feed:
        return self._operations.feed
