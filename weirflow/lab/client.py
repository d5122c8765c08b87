"""The lab's client: sends a trace when the trace says so, whatever became of the requests before, in its own process.

    async with Client(trace, scenario, ports, folder) as client:
        client.begin(start)
        seen = await client.seen()

A request's latency counts from the time it was meant to leave (no coordinated omission). It carries its work and its
luck in headers, so each policy meets the same. The client notes how late it sent each request: when that is not next to
nothing, the figures are the client's and not the policy's.
"""

from __future__ import annotations

import argparse
import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from dataplane.contract import Arm
from dataplane.mesh import ARM_HEADER
from dataplane.simulated.fleet import Fate, Trace
from weirflow.demo.pool import Asked, Headers, Pool
from weirflow.lab import child
from weirflow.lab.child import ANSWER_DEADLINE_S, Child, never_pause, say, told
from weirflow.lab.endpoints import WORK
from weirflow.lab.scenario import Scenario
from weirflow.lab.stored import read_fate, read_trace, write_columns

MOST_CONNECTIONS = 8192
"""To one node. More than are ever open: a request that waited in the client would be hidden from the node's policy."""
READY = 64
SWEEP_S = 0.1
_ARM = ARM_HEADER.encode()
_ADAPTIVE = Arm.ADAPTIVE.name.lower().encode()


@dataclass(frozen=True, slots=True)
class Seen:
    """What the client saw, and how late it was itself (p99)."""

    fate: Fate
    late_s: float


class Client(Child):
    """The process, for the length of an `async with` block. `ports` are the nodes' listeners, by the trace's `node`."""

    def __init__(self, trace: Trace, scenario: Scenario, ports: Sequence[int], folder: Path) -> None:
        self._trace, self._folder = trace, folder
        self._patience_s = (float(trace.at_s[-1]) if len(trace) else 0.0) + scenario.timeout_s + ANSWER_DEADLINE_S
        super().__init__(
            "weirflow.lab.client",
            *(str(folder / "trace.npz"), str(folder / "fate.npz")),
            *("--ports", ",".join(map(str, ports)), "--paths", ",".join(c.name for c in scenario.classes)),
            *("--timeout-s", str(scenario.timeout_s)),
            *(["--good-body"] if scenario.good_body else []),
        )

    async def __aenter__(self) -> Self:
        write_columns(self._trace, self._folder / "trace.npz")
        await super().__aenter__()
        try:
            await self.hear()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    def begin(self, start: float) -> None:
        """The trace begins at this time of the monotonic clock."""
        self.tell(start=start)

    async def seen(self) -> Seen:
        """Wait for the end of the last request. ChildError when the client ended before."""
        late = (await self.hear(self._patience_s))["late_s"]
        return Seen(read_fate(self._folder / "fate.npz"), math.nan if late is None else float(late))


class Sender:
    """Sends the trace over pools of connections, and keeps each request's fate in its row."""

    def __init__(self, trace: Trace, ports: Sequence[int], paths: Sequence[str], timeout_s: float, body: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._at, self._node = trace.at_s.tolist(), trace.node.tolist()
        self._work = [trace.klass.tolist(), trace.demand_s.tolist(), trace.luck.tolist()]
        self._heads = [f"GET /{path} HTTP/1.1\r\nhost: lab\r\n" for path in paths]
        self._timeout_s, self._body = timeout_s, body
        self._pools = [Pool("127.0.0.1", port, MOST_CONNECTIONS, self._ended) for port in ports]
        self._next, self._open = 0, len(self._at)
        self._latency, self._late = (np.full(self._open, np.nan) for _ in range(2))
        self._status, self._endpoint = np.zeros(self._open, np.int16), np.full(self._open, -1, np.int32)
        self._ok, self._adaptive = (np.zeros(self._open, np.bool_) for _ in range(2))
        self._done = asyncio.Event()

    async def connect(self) -> None:
        """Open some connections to each node, before a request needs them."""
        for pool in self._pools:
            pool.prepare(READY)
        await asyncio.sleep(0)

    async def send(self, start: float) -> None:
        """Send all of it from this time of the loop's clock on, and wait for the end of the last."""
        self._start = start
        if not self._open:
            return
        self._loop.call_at(start + self._at[0], self._fire)
        self._sweep()
        await self._done.wait()

    def fate(self) -> Fate:
        """What became of each request, in the trace's order."""
        latency = np.minimum(self._latency, self._timeout_s)  # whoever gave up did so then
        columns: dict[str, Any] = {"status": self._status, "endpoint": self._endpoint, "adaptive": self._adaptive}
        return Fate.of(latency_s=latency, ok=self._ok & (self._latency <= self._timeout_s), **columns)

    def late_s(self) -> float | None:
        """How late requests left, p99; None when none did."""
        return float(np.nanquantile(self._late, 0.99)) if np.isfinite(self._late).any() else None

    def _fire(self) -> None:
        now, row = self._loop.time() - self._start, self._next
        while row < len(self._at) and self._at[row] <= now:
            klass, demand, luck = (column[row] for column in self._work)
            request = f"{self._heads[klass]}{WORK}: {row} {demand!r} {luck!r}\r\n\r\n".encode()
            self._pools[self._node[row]].ask(Asked(request, self._start + self._at[row], row))
            row += 1
        self._next = row
        if row < len(self._at):
            self._loop.call_at(self._start + self._at[row], self._fire)

    def _ended(self, asked: Asked, status: int, headers: Headers) -> None:
        row = asked.stream
        self._latency[row] = self._loop.time() - asked.intended
        self._late[row] = asked.sent - asked.intended
        self._status[row] = status
        empty = headers.get(b"content-length") == b"0"
        self._ok[row] = 200 <= status < 300 and not (empty and self._body)
        name = headers.get(b"x-backend", b"")
        if name.isdigit():
            self._endpoint[row] = int(name)
        self._adaptive[row] = headers.get(_ARM) == _ADAPTIVE
        self._open -= 1
        if not self._open:
            self._done.set()

    def _sweep(self) -> None:
        for pool in self._pools:
            pool.give_up(self._loop.time() - self._timeout_s)
        if self._open:
            self._loop.call_later(SWEEP_S, self._sweep)


async def serve(options: argparse.Namespace) -> None:
    """Get ready, wait for the word, send, write the fate down, tell how late. The parent ends it."""
    ports = [int(p) for p in options.ports.split(",")]
    sender = Sender(read_trace(options.trace), ports, options.paths.split(","), options.timeout_s, options.good_body)
    await sender.connect()
    never_pause()
    say(ready=True)
    async for words in told():
        await sender.send(words["start"])
        write_columns(sender.fate(), options.fate)
        say(late_s=sender.late_s())


def main() -> None:
    """Read the command line and send."""
    parser = argparse.ArgumentParser(description="an open-loop client that sends a trace")
    parser.add_argument("trace", type=Path)
    parser.add_argument("fate", type=Path)
    parser.add_argument("--ports", required=True, help="of the nodes, in order")
    parser.add_argument("--paths", required=True, help="of the request classes, in order")
    parser.add_argument("--timeout-s", type=float, required=True)
    parser.add_argument("--good-body", action="store_true", help="an answer without a body is no good answer")
    child.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
