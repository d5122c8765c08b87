"""A backend: one HTTP/1.1 server process that is slow when it is busy, and wrong when it is told to be.

    python -m weirflow.demo.backend --name catalog-1 --workers 8 --service-ms 20

prints the port that the kernel chose on loopback and serves until it is killed. Every answer names the backend in
`x-backend`. `GET /__control` tells its state; `POST /__control` with any of `{"slow": 10, "error_share": 0.5, "hang":
true}` changes its faults. `POST /__callee` with `ip:port/path` makes it call that for each request, after its own work.
`weirflow.demo.backends` starts and steers several.

Imports nothing heavy: a process answers about 100 ms after it was started.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from http import HTTPStatus
from random import Random

from weirflow.demo.callee import Callee
from weirflow.demo.desk import Desk, Faults
from weirflow.demo.served import Served

CONTROL = "/__control"
CALLEE = "/__callee"


def turned(faults: Faults, body: bytes) -> Faults:
    """The faults that a control request asks for; ValueError that says what is allowed."""
    told = json.loads(body)
    allowed = asdict(faults)
    if not isinstance(told, dict) or not told.keys() <= allowed.keys():
        raise ValueError(
            f"a JSON object with any of {', '.join(allowed)} is wanted, not {body.decode(errors='replace')}"
        )
    return replace(faults, **told)


class Connection(Served):
    """One client connection, in front of the desk and whom it calls; the control pages beside them."""

    def __init__(self, name: str, desk: Desk, callee: Callee) -> None:
        super().__init__(name)
        self._desk, self._callee = desk, callee

    def answer(self, status: int) -> None:
        """Its own work is done: call whom it calls, then answer."""
        if status == HTTPStatus.OK:
            self._callee.ask(self._plain)
        else:
            self._plain(status)

    def _plain(self, status: int) -> None:
        self.send(status, b"ok\n" if status == HTTPStatus.OK else HTTPStatus(status).phrase.encode() + b"\n")

    def asked(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """To the desk, or to the control pages."""
        if path not in (CONTROL, CALLEE):
            self._desk.ask(self)
            return
        if method == "POST":
            try:
                if path == CALLEE:
                    self._callee.turn(body.decode(errors="replace"))
                else:
                    self._desk.turn(turned(self._desk.faults, body))
            except ValueError as wrong:
                self.send(HTTPStatus.BAD_REQUEST, f"{wrong}\n".encode())
                return
        self.send(HTTPStatus.OK, json.dumps(self._desk.state()).encode() + b"\n")


async def serve(told: argparse.Namespace) -> None:
    """Listen on loopback, print the port, serve until killed."""
    loop = asyncio.get_running_loop()
    random = Random(told.seed)  # noqa: S311 - service times, not secrets
    desk = Desk(told.workers, told.service_ms / 1000, random, loop.call_later, told.sigma)
    callee = Callee()
    server = await loop.create_server(lambda: Connection(told.name, desk, callee), "127.0.0.1", told.port, backlog=1024)
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
