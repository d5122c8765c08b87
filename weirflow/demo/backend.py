"""A backend: one HTTP/1.1 server process that is slow when it is busy, and wrong when it is told to be.

    python -m weirflow.demo.backend --name catalog-1 --workers 8 --service-ms 20

prints the port that the kernel chose on loopback and serves until it is killed. Every answer names the backend in
`x-backend`. `GET /__control` tells its state; `POST /__control` with any of `{"slow": 10, "error_share": 0.5, "hang":
true}` changes its faults. `weirflow.demo.backends` starts and steers several.

Imports nothing heavy: a process answers about 100 ms after it was started. It speaks as much of HTTP/1.1 as a proxy
in front of it needs (keep-alive, bodies with a length), and refuses the rest aloud.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict, replace
from http import HTTPStatus
from random import Random
from typing import cast

from weirflow.demo.desk import Desk, Faults

CONTROL = "/__control"
MOST_HEAD_BYTES = 64 * 1024
MOST_BODY_BYTES = 1024 * 1024


def turned(faults: Faults, body: bytes) -> Faults:
    """The faults that a control request asks for; ValueError that says what is allowed."""
    told = json.loads(body)
    allowed = asdict(faults)
    if not isinstance(told, dict) or not told.keys() <= allowed.keys():
        raise ValueError(
            f"a JSON object with any of {', '.join(allowed)} is wanted, not {body.decode(errors='replace')}"
        )
    return replace(faults, **told)


class Connection(asyncio.Protocol):
    """One client connection: requests in order, one at a time, as HTTP/1.1 without pipelining has it."""

    def __init__(self, name: str, desk: Desk) -> None:
        self.gone = False
        self._name, self._desk = name, desk
        self._buffer = b""
        self._busy = False
        self._close = False

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

    def answer(self, status: int) -> None:
        """Send a plain answer and take up what has come in meanwhile."""
        self._send(status, b"ok\n" if status == HTTPStatus.OK else HTTPStatus(status).phrase.encode() + b"\n")

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
            self._route(words[0], words[1], rest[: int(length)])

    def _route(self, method: str, path: str, body: bytes) -> None:
        if path != CONTROL:
            self._desk.ask(self)
            return
        if method == "POST":
            try:
                self._desk.turn(turned(self._desk.faults, body))
            except ValueError as wrong:
                self._send(HTTPStatus.BAD_REQUEST, f"{wrong}\n".encode())
                return
        self._send(HTTPStatus.OK, json.dumps(self._desk.state()).encode() + b"\n")

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer and hang up: after a request that cannot be read, nobody knows where the next one starts."""
        self._close = True
        self.answer(status)

    def _send(self, status: int, body: bytes) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"x-backend: {self._name}\r\n"
            f"content-length: {len(body)}\r\n"
            f"{'connection: close' + chr(13) + chr(10) if self._close else ''}\r\n".encode()
            + body
        )
        self._busy = False
        if self._close:
            self._buffer = b""
            self._transport.close()
        elif self._buffer:
            self._next()


async def serve(told: argparse.Namespace) -> None:
    """Listen on loopback, print the port, serve until killed."""
    loop = asyncio.get_running_loop()
    random = Random(told.seed)  # noqa: S311 - service times, not secrets
    desk = Desk(told.workers, told.service_ms / 1000, random, loop.call_later, told.sigma)
    server = await loop.create_server(lambda: Connection(told.name, desk), "127.0.0.1", told.port, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="a backend that is slow when it is busy")
    parser.add_argument("--name", default="backend")
    parser.add_argument("--port", type=int, default=0, help="0: the kernel chooses")
    parser.add_argument("--workers", type=int, default=8, help="requests served at once; the rest wait in turn")
    parser.add_argument("--service-ms", type=float, default=20.0, help="mean time of one request's work")
    parser.add_argument("--sigma", type=float, default=0.5, help="spread of that time (lognormal); 0 for none")
    parser.add_argument("--seed", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
