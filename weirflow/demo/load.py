"""An open-loop client: requests leave when a seeded Poisson schedule says so, whatever became of those before.

Each request keeps the time it was meant to leave, and its latency counts from there. When every connection to a node is
taken a request waits its turn in the client, and the wait is part of its latency. A request that gets no answer is a
failed request.

Two response headers tell where a request went: `x-backend` is the backend's own word, and `x-weirflow-arm` the route's,
for a route that tells it. They make this client a witness that does not depend on the brain's telemetry.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from dataplane.contract import Arm
from dataplane.mesh import ARM_HEADER
from weirflow.demo.answers import UNKNOWN, Answers
from weirflow.demo.pool import Asked, Headers, Pool

_ARM_HEADER = ARM_HEADER.encode()
_ARMS = {a.name.lower().encode(): int(a) for a in Arm}
_CODES = {"f4": "f", "f8": "d", "i1": "b", "i2": "h"}  # NumPy's names of the columns' types in array's
SWEEP_S = 0.25


@dataclass(frozen=True, slots=True)
class Stream:
    """Requests for one service through one node, `rate_per_s` of them on average."""

    service: str
    node: str
    port: int
    rate_per_s: float
    host: str = "localhost"
    path: str = "/"
    address: str = "127.0.0.1"

    def request(self) -> bytes:
        """The bytes of one request."""
        return f"GET {self.path} HTTP/1.1\r\nhost: {self.host}\r\n\r\n".encode()


def arrivals(rates_per_s: Sequence[float], random: np.random.Generator) -> Iterator[tuple[float, int]]:
    """Poisson arrivals without end: seconds from the start, and which stream.

    Independent Poisson streams together are one Poisson process whose arrivals pick a stream by its share of the rate.
    ValueError when a rate is negative or all are 0.
    """
    rates = np.asarray(rates_per_s, dtype=np.float64)
    if not (rates >= 0).all() or not 0 < rates.sum() < np.inf:
        raise ValueError(f"rates must not be negative, and one must be above 0: {list(rates_per_s)}")
    return _endless(rates, random)


def _endless(rates: np.ndarray[Any, np.dtype[np.float64]], random: np.random.Generator) -> Iterator[tuple[float, int]]:
    at, total = 0.0, float(rates.sum())
    while True:
        times = at + np.cumsum(random.exponential(1 / total, 1024))
        at = float(times[-1])
        yield from zip(times.tolist(), random.choice(len(rates), 1024, p=rates / total).tolist(), strict=True)


class Load:
    """The client, for the length of an `async with` block. `answers()` is what it has seen so far.

    `connections` bounds those to one node and `ready` of them are opened at the start; all are used in turn, so that
    every worker of a node gets its part. `timeout_s` bounds how long a request is waited for, from its intended time.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        random: np.random.Generator,
        *,
        connections: int = 128,
        ready: int = 16,
        timeout_s: float = 20.0,
    ) -> None:
        self.services = tuple(dict.fromkeys(s.service for s in streams))
        self.nodes = tuple(dict.fromkeys(s.node for s in streams))
        self.backends: list[str] = []
        self._streams = tuple(streams)
        self._requests = tuple(s.request() for s in streams)
        self._places = tuple((self.services.index(s.service), self.nodes.index(s.node)) for s in streams)
        self._connections, self._ready, self._timeout_s = connections, ready, timeout_s
        self._arrivals = arrivals([s.rate_per_s for s in streams], random)
        self._open: dict[Asked, None] = {}  # in the order of their intended times
        self._backend_ids: dict[bytes, int] = {}
        self._columns: dict[str, array[Any]] = {n: array(_CODES[d.str[1:]]) for n, d in Answers.dtypes().items()}

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        pools = {at: Pool(*at, self._connections, self._ended) for at in {(s.address, s.port) for s in self._streams}}
        self._pools = tuple(pools.values())
        self._pool_of = tuple(pools[s.address, s.port] for s in self._streams)
        for pool in self._pools:
            pool.prepare(self._ready)
        self._start = self.now()
        self._take_next()
        self._timer = self._loop.call_at(self._next_at, self._fire)
        self._sweep()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._timer.cancel()
        self._sweeper.cancel()
        for pool in self._pools:
            await pool.stop()

    def now(self) -> float:
        """The clock of `Answers.intended_s`."""
        return self._loop.time()

    def horizon(self) -> float:
        """Every request that was meant to leave before this time has ended, and is in `answers()`."""
        oldest = next(iter(self._open), None)
        return min(self.now(), self._next_at, oldest.intended if oldest else float("inf"))

    async def settled(self, until: float) -> None:
        """Wait until every request meant to leave before `until` has ended: `timeout_s` after it at the latest."""
        while self.horizon() < until:
            await asyncio.sleep(0.02)

    def answers(self) -> Answers:
        """All requests that have ended so far."""
        return Answers(**{name: np.array(a) for name, a in self._columns.items()})

    def _ended(self, asked: Asked, status: int, headers: Headers) -> None:
        self._open.pop(asked, None)
        backend = UNKNOWN
        name = headers.get(b"x-backend")
        if name is not None:
            backend = self._backend_ids.setdefault(name, len(self.backends))
            if backend == len(self.backends):
                self.backends.append(name.decode("latin-1"))
        service, node = self._places[asked.stream]
        c = self._columns
        c["intended_s"].append(asked.intended)
        c["latency_s"].append(self.now() - asked.intended)
        c["late_s"].append(asked.sent - asked.intended)
        c["status"].append(status)
        c["service"].append(service)
        c["node"].append(node)
        c["arm"].append(_ARMS.get(headers.get(_ARM_HEADER, b""), UNKNOWN))
        c["backend"].append(backend)

    def _take_next(self) -> None:
        after_s, self._next_stream = next(self._arrivals)
        self._next_at = self._start + after_s

    def _fire(self) -> None:
        now = self.now()
        while self._next_at <= now:
            asked = Asked(self._requests[self._next_stream], self._next_at, self._next_stream)
            self._open[asked] = None
            self._pool_of[asked.stream].ask(asked)
            self._take_next()
        self._timer = self._loop.call_at(self._next_at, self._fire)

    def _sweep(self) -> None:
        for pool in self._pools:
            pool.give_up(self.now() - self._timeout_s)
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
