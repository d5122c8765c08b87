"""The last decisions in memory, for those who record nothing, and for the minute whose part of a recording is open.

A decision is kept every `every_s`, and each that moved or told something, as compressed JSON, as many as fit into
`keep_bytes`. Telling costs the tick an append. What was told is packed afterwards, one at a time in another thread
(`packing`), and can be read before that as well: so nothing waits for the packing, and its end loses nothing. That
thread takes the interpreter from the event loop while it writes JSON: it writes in small parts, so never for long.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from weirflow.plain import json_of, plain

if TYPE_CHECKING:
    from brain.decision import Decision

Json = dict[str, Any]

EVERY_S = 5.0
KEEP_BYTES = 32 << 20
A_PART = 250
"""Endpoints whose JSON is written in one go: some 2 ms."""
MOST_WAITING = 8
"""Where packing takes longer than a tick, further decisions are passed over: each that waits is held whole."""


class Kept:
    """One decision: as it was told, or packed. Read by any thread."""

    def __init__(self, decision: Decision) -> None:
        self.at = decision.now
        self._body: Decision | bytes = decision

    def pack(self) -> None:
        """Make it small."""
        if not isinstance(self._body, bytes):
            packer = zlib.compressobj(1)
            self._body = b"".join([*(packer.compress(part.encode()) for part in _parts(self._body)), packer.flush()])

    @property
    def bytes(self) -> int:
        """Its size once it is packed; 0 before."""
        return len(self._body) if isinstance(self._body, bytes) else 0

    def read(self) -> Json:
        """The decision as JSON has it."""
        body = self._body
        out: Json = json.loads(zlib.decompress(body)) if isinstance(body, bytes) else plain(body.to_dict())
        return out


class Memory:
    """Told every decision. All calls from one event loop."""

    def __init__(self, every_s: float = EVERY_S, keep_bytes: int = KEEP_BYTES) -> None:
        self._every_s, self._keep_bytes = every_s, keep_bytes
        self._kept: deque[Kept] = deque()
        self._waiting: deque[Kept] = deque()
        self._bytes = 0
        self._came = asyncio.Event()

    def told(self, decision: Decision) -> None:
        """A tick ended. One that tells something is kept in any case."""
        soon = bool(self._kept) and 0.0 <= decision.now - self._kept[-1].at < self._every_s
        if soon and not (decision.alerts or decision.notes or any(s.pushed for s in decision.services)):
            return
        if len(self._waiting) >= MOST_WAITING:
            return
        kept = Kept(decision)
        self._kept.append(kept)
        self._waiting.append(kept)
        self._came.set()

    def kept(self) -> tuple[Kept, ...]:
        """All there are, the oldest first."""
        return tuple(self._kept)

    async def packing(self) -> None:
        """Pack what is told, until cancelled."""
        while True:
            await self._came.wait()
            self._came.clear()
            await self.pack()

    async def pack(self) -> None:
        """Pack what waits, and let the oldest go that does not fit."""
        while self._waiting:
            await asyncio.to_thread(self._waiting[0].pack)
            self._bytes += self._waiting.popleft().bytes
            while self._bytes > self._keep_bytes and self._kept[0].bytes and len(self._kept) > 1:
                self._bytes -= self._kept.popleft().bytes


def _parts(decision: Decision) -> Iterator[str]:
    """Its JSON, in parts that each take the interpreter for a moment only."""
    told = decision.to_dict()
    services = told.pop("services")
    yield json_of(told)[:-1] + ',"services":['
    for number, service in enumerate(services):
        endpoints = service.pop("endpoints")
        yield ("," if number else "") + json_of(service)[:-1] + ',"endpoints":['
        for at in range(0, len(endpoints), A_PART):
            yield ("," if at else "") + json_of(endpoints[at : at + A_PART])[1:-1]
        yield "]}"
    yield "]}"
