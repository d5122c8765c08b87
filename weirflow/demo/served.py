"""The server's end of a connection, in as much HTTP/1.1 as a proxy in front of it needs.

Keep-alive, bodies with a length, one request at a time; the rest is refused aloud. A raw asyncio protocol: a request
costs some 50 microseconds of its process. What to answer is a subclass's, which is `asked` and calls `send`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import cast

MOST_HEAD_BYTES = 64 * 1024
MOST_BODY_BYTES = 1024 * 1024
_PHRASES = {int(s): s.phrase for s in HTTPStatus}


class Served(asyncio.Protocol):
    """One client connection: requests in order, one at a time, as HTTP/1.1 without pipelining has it."""

    def __init__(self, name: str) -> None:
        self.gone = False
        self._name = name
        self._buffer = b""
        self._busy = False
        self._close = False

    def asked(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """A whole request has come, names of headers in lower case. Call `send` once, now or later."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is left to answer."""
        self.gone = True

    def data_received(self, data: bytes) -> None:
        """Take bytes in; a whole request starts when the one before it has been answered."""
        self._buffer += data
        if not self._busy:
            self._next()

    def send(self, status: int, body: bytes, headers: str = "") -> None:
        """Answer, and take up what has come in meanwhile. `headers` are whole lines, each with its end."""
        if self._transport.is_closing():
            return
        self._transport.write(
            f"HTTP/1.1 {status} {_PHRASES[status]}\r\n"
            f"x-backend: {self._name}\r\n"
            f"content-length: {len(body)}\r\n"
            f"{headers}"
            f"{'connection: close' + chr(13) + chr(10) if self._close else ''}\r\n".encode()
            + body
        )
        self._busy = False
        if self._close:
            self._buffer = b""
            self._transport.close()
        elif self._buffer:
            self._next()

    def _next(self) -> None:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            if len(head) > MOST_HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        length = headers.get("content-length", "0")
        if len(words) != 3 or not length.isdecimal():
            self._refuse(HTTPStatus.BAD_REQUEST)
        elif "transfer-encoding" in headers:
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
        elif int(length) > MOST_BODY_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif len(rest) >= int(length):
            self._busy = True
            self._buffer = rest[int(length) :]
            self._close = headers.get("connection", "").lower() == "close" or words[2] == "HTTP/1.0"
            self.asked(words[0], words[1], headers, rest[: int(length)])

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer and hang up: after a request that cannot be read, nobody knows where the next one starts."""
        self._close = True
        self.send(status, status.phrase.encode() + b"\n")
