"""Whom a backend calls: another service, through a proxy, once for each request that it has done its own work for.

No worker waits for the answer, so a callee that is slow or wrong reaches the caller's users as it is: later, or as a
502, and not as a queue of the caller's own besides. The one timeout is the proxy's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus

from weirflow.demo.pool import Asked, Headers, Pool

MOST_CONNECTIONS = 512
_WHERE = re.compile(r"(?P<ip>[0-9.]+):(?P<port>[0-9]{1,5})(?P<path>/[!-~]*)")

Then = Callable[[int], None]


class Callee:
    """Nobody, until `turn` says who."""

    def __init__(self) -> None:
        self._pool: Pool | None = None
        self._request = b""
        self._waiting: dict[Asked, Then] = {}

    def turn(self, where: str) -> None:
        """Call `ip:port/path` from now on; once, in a running loop. ValueError that says what is allowed."""
        told = _WHERE.fullmatch(where.strip())
        if told is None or not 0 < int(told["port"]) < 65536 or self._pool is not None:
            raise ValueError(f"ip:port/path of one callee, told once, is wanted, not {where!r}")
        self._request = f"GET {told['path']} HTTP/1.1\r\nhost: {told['ip']}\r\n\r\n".encode()
        self._pool = Pool(told["ip"], int(told["port"]), MOST_CONNECTIONS, self._ended)

    def ask(self, then: Then) -> None:
        """Call, and tell what to answer: 200, or 502 when the callee did not answer well. At once if it is nobody."""
        if self._pool is None:
            then(HTTPStatus.OK)
            return
        asked = Asked(self._request, 0.0, 0)
        self._waiting[asked] = then
        self._pool.ask(asked)

    def _ended(self, asked: Asked, status: int, _headers: Headers) -> None:
        self._waiting.pop(asked)(HTTPStatus.OK if 200 <= status < 400 else HTTPStatus.BAD_GATEWAY)
