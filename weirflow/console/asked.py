"""What the console asks about the past and about itself; `pages` has the rest."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import TypeVar

from aiohttp import web

from weirflow.access import RefusedError, reply
from weirflow.console.past import Looked, NothingError
from weirflow.operations import Operations

T = TypeVar("T")

WINDOW_S, NEWS_S = 600.0, 3600.0
MOST_AT_ONCE = 2
"""Reads of the past at one time: each may unpack a recording's part, and the brain needs the machine."""


class Asked:
    """The handlers of one mesh."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._turn = asyncio.Semaphore(MOST_AT_ONCE)

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application."""
        return [
            web.get("/console/api/span", self._span),
            web.get("/console/api/history", self._history),
            web.get("/console/api/news", self._news),
        ]

    async def at(self, moment: str) -> web.Response:
        """The state document of a moment, as the query says it."""
        at = _moment("at", moment)
        return reply(await self._looked(lambda past: past.at(at)))

    async def _span(self, request: web.Request) -> web.Response:
        first, last = await self._looked(lambda past: past.span())
        return reply({"first": first, "last": last})

    async def _history(self, request: web.Request) -> web.Response:
        """Query: `service`, perhaps `endpoint`, `since` and `until` (seconds since 1970; the last ten minutes else)."""
        query = request.query
        if "service" not in query:
            raise RefusedError(400, "'service' is needed", "name a service of the mesh file")
        since, until = self._window(request)
        service, endpoint = query["service"], query.get("endpoint")
        return reply(await self._looked(lambda past: past.history(service, endpoint, since, until)))

    async def _news(self, request: web.Request) -> web.Response:
        """Query: `since` and `until`, as for history; of an hour at most, the last."""
        since, until = self._window(request)
        since = max(since, until - NEWS_S)
        return reply({"news": await self._looked(lambda past: past.news(since, until))})

    def _window(self, request: web.Request) -> tuple[float, float]:
        query = request.query
        until = _moment("until", query["until"]) if "until" in query else self._operations.now()
        return (_moment("since", query["since"]) if "since" in query else until - WINDOW_S), until

    async def _looked(self, look: Callable[[Looked], T]) -> T:
        async with self._turn:
            try:
                return await asyncio.to_thread(look, self._operations.past.looked())
            except NothingError as error:
                raise RefusedError(404, str(error)) from error


def _moment(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RefusedError(400, f"{name!r} must be seconds since 1970, not {text[:40]!r}")
    return value
