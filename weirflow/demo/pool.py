"""The client's connections to one node: bounded, kept alive, one request at a time on each.

A raw asyncio protocol that reads just enough of HTTP/1.1 to tell where an answer ends: a request costs about 100
microseconds of this process, so that the load is not what the figures show. Nothing is retried: a connection that ends
under a request has failed it.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import cast

_HEADER = re.compile(rb"\r\n([^:\r\n]+):[ \t]*([^\r\n]*)")

Headers = Mapping[bytes, bytes]


class Asked:
    """One request that has not ended: the bytes to send, when they were meant to leave, and when they did."""

    __slots__ = ("intended", "request", "sent", "stream")

    def __init__(self, request: bytes, intended: float, stream: int) -> None:
        self.request, self.intended, self.stream, self.sent = request, intended, stream, float("nan")


Ended = Callable[[Asked, int, Headers], None]
"""Told of every request once: its status, 0 when no answer came, and the answer's headers, names in lower case."""


class Connection(asyncio.Protocol):
    """One connection to a node."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._buffer = b""
        self.asked: Asked | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready for a request."""
        self._transport = cast("asyncio.Transport", transport)
        self._pool.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """A request that was under way has failed."""
        self._pool.lost(self)

    def send(self, asked: Asked, now: float) -> None:
        """Start a request."""
        self.asked, asked.sent = asked, now
        self._transport.write(asked.request)

    def close(self) -> None:
        """Hang up; `connection_lost` follows."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes in until the answer is whole."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        headers = {k.lower(): v for k, v in _HEADER.findall(head)}
        length = headers.get(b"content-length", b"0")
        if self.asked is None or b"transfer-encoding" in headers or not length.isdigit():
            self.close()  # an answer to nobody, or without a length: where it ends could not be told
        elif len(body) >= int(length):
            self._buffer = body[int(length) :]
            asked, self.asked = self.asked, None
            keep = headers.get(b"connection", b"").lower() != b"close"
            self._pool.answered(self, asked, int(head[9:12]), headers, keep=keep)


class Pool:
    """At most `most` connections to one address, and a queue for the requests that find them all taken."""

    def __init__(self, address: str, port: int, most: int, ended: Ended) -> None:
        self._address, self._port, self._most, self._ended = address, port, most, ended
        self._loop = asyncio.get_running_loop()
        self._idle: deque[Connection] = deque()  # used in turn, so that a node's workers all get their part
        self._open: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: deque[Asked] = deque()
        self._stopping = False

    def ask(self, asked: Asked) -> None:
        """Send it now if a connection is free, else in turn."""
        if self._idle:
            self._idle.popleft().send(asked, self._loop.time())
        else:
            self._waiting.append(asked)
            self._grow()

    def opened(self, connection: Connection) -> None:
        """Put a new connection to work."""
        self._open.add(connection)
        self._free(connection)

    def answered(self, connection: Connection, asked: Asked, status: int, headers: Headers, *, keep: bool) -> None:
        """Write it down and give the connection the next request."""
        self._ended(asked, status, headers)
        if keep:
            self._free(connection)
        else:
            connection.close()

    def lost(self, connection: Connection) -> None:
        """Its request has failed, and a waiting one may need a new connection."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if connection.asked is not None:
            self._ended(connection.asked, 0, {})
        self._grow()

    def give_up(self, before: float) -> None:
        """Fail what was meant to leave before this time and has no answer yet."""
        while self._waiting and self._waiting[0].intended < before:
            self._ended(self._waiting.popleft(), 0, {})
        for connection in self._open:
            if connection.asked is not None and connection.asked.intended < before:
                connection.close()

    def prepare(self, count: int) -> None:
        """Have this many connections opened, before a request needs them."""
        for _ in range(min(count, self._most) - len(self._open) - len(self._opening)):
            self._begin()

    async def stop(self) -> None:
        """Fail what is open and hang up."""
        self._stopping = True
        for task in self._opening:
            task.cancel()
        self.give_up(float("inf"))
        for connection in self._open:
            connection.close()
        while self._open or self._opening:
            await asyncio.sleep(0)  # aborted transports report their loss in the next turns of the loop

    def _free(self, connection: Connection) -> None:
        if self._waiting:
            connection.send(self._waiting.popleft(), self._loop.time())
        else:
            self._idle.append(connection)

    def _grow(self) -> None:
        if self._waiting and not self._stopping and len(self._open) + len(self._opening) < self._most:
            self._begin()

    def _begin(self) -> None:
        task = self._loop.create_task(self._connect())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        try:
            await self._loop.create_connection(lambda: Connection(self), self._address, self._port)
        except OSError:
            if self._waiting:  # whoever has waited longest learns that nobody listens
                self._ended(self._waiting.popleft(), 0, {})
            self._grow()
