"""All endpoints of a fleet, in one process, on loopback ports of their own.

    async with Endpoints(fleet, folder) as endpoints:
        endpoints.addresses
        endpoints.begin(start)

A request names itself and its work in `x-lab-work: ROW DEMAND LUCK`: its row in the trace, seconds at speed 1, and its
luck. An answer names its endpoint's index in `x-backend` and its load in `endpoint-load-metrics`, ORCA's text form, for
the policies that read it (Envoy: source/common/orca/orca_parser.cc).

The process remembers where each request went, which the client cannot know of one that was never answered. And it
measures how late its own timers fire: the one thing that an emulated server can get wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import math
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from dataplane.simulated.fleet import Fleet, Ints
from weirflow.demo.served import Served
from weirflow.lab import child
from weirflow.lab.child import Child, never_pause, say, told
from weirflow.lab.endpoint import Endpoint, pieces
from weirflow.lab.stored import read_fleet, write_fleet

WORK = "x-lab-work"
REACHED = "reached.npy"


@dataclass(frozen=True, slots=True)
class Met:
    """Which endpoint each request reached, -1 for none, by row of the trace; and how late the timers were (p99)."""

    endpoint: Ints
    late_s: float


class Endpoints(Child):
    """The process, for the length of an `async with` block. `addresses` are in the fleet's order."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self._fleet, self._file = fleet, folder / "fleet.npz"
        super().__init__("weirflow.lab.endpoints", str(self._file))
        self.addresses: tuple[str, ...] = ()

    async def __aenter__(self) -> Self:
        write_fleet(self._fleet, self._file)
        await super().__aenter__()
        try:
            self.addresses = tuple(f"127.0.0.1:{port}" for port in (await self.hear())["ports"])
        except BaseException:
            await self.__aexit__()
            raise
        return self

    def begin(self, start: float) -> None:
        """The run starts at this time of the monotonic clock: pieces of life count from there."""
        self.tell(start=start)

    async def ended(self, requests: int) -> Met:
        """What it met since the run began, of a trace with this many requests. ChildError when it has ended."""
        self.tell(ended=requests)
        late = (await self.hear())["late_s"]
        return Met(np.load(self._file.with_name(REACHED)), math.nan if late is None else float(late))


class Timers:
    """The loop's clock from the run's start on, which keeps how late it was."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: float) -> None:
        self._loop, self._start = loop, start
        self.late = array("d")

    def now(self) -> float:
        """Seconds since the start."""
        return self._loop.time() - self._start

    def at(self, when_s: float, call: Callable[..., None], *args: Any) -> None:
        """Call it then, or a little later, and note by how much."""
        self._loop.call_at(self._start + when_s, self._due, when_s, call, args)

    def _due(self, when_s: float, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.late.append(self.now() - when_s)
        call(*args)


class Connection(Served):
    """One connection to one endpoint. Between a request and its answer it is that request's asker."""

    def __init__(self, index: int, hosted: Hosted) -> None:
        super().__init__(str(index))
        self._index, self._hosted = index, hosted
        self.demand_s = self.luck = 0.0

    def asked(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """Ask the endpoint; 400 for a request that names no work."""
        try:
            row, demand, luck = headers[WORK].split()
            self.demand_s, self.luck = float(demand), float(luck)
            self._hosted.reached[int(row)] = self._index
        except (KeyError, ValueError):
            self.send(400, f"a request names its work: {WORK}: ROW DEMAND LUCK\n".encode())
            return
        self._hosted.endpoints[self._index].ask(self)

    def answer(self, status: int, *, empty: bool = False) -> None:
        """Send it, with the endpoint's load."""
        endpoint = self._hosted.endpoints[self._index]
        busy, rate, errors = endpoint.load()
        load = f"cpu_utilization={busy:.4f},rps_fractional={rate:.3f},eps={errors:.3f}"
        load += f",named_metrics.in_flight={endpoint.in_flight()}"
        self.send(status, b"" if empty else b"ok\n", f"endpoint-load-metrics: TEXT {load}\r\n")


class Hosted:
    """The endpoints of the process. They start anew, idle, when the run begins."""

    def __init__(self, fleet: Fleet, loop: asyncio.AbstractEventLoop) -> None:
        self._fleet, self._loop = fleet, loop
        self.begin(loop.time())

    def begin(self, start: float) -> None:
        """Count the pieces of their lives from this time of the loop's clock."""
        self.timers = Timers(self._loop, start)
        self.reached: dict[int, int] = {}
        self.endpoints = [
            Endpoint(int(n), pieces(self._fleet, e), self.timers) for e, n in enumerate(self._fleet.workers)
        ]

    def late_s(self) -> float | None:
        """p99; None when no timer fired."""
        return float(np.quantile(self.timers.late, 0.99)) if self.timers.late else None

    def endpoint_of(self, requests: int) -> Ints:
        """By row of the trace, -1 for a request that reached none."""
        out = np.full(requests, -1, dtype=np.int64)
        out[list(self.reached)] = list(self.reached.values())
        return out


async def serve(file: Path) -> None:
    """Listen, tell the ports, obey until the parent hangs up."""
    loop = asyncio.get_running_loop()
    fleet = read_fleet(file)
    hosted = Hosted(fleet, loop)

    def accepting(index: int) -> Callable[[], Connection]:
        return lambda: Connection(index, hosted)

    servers = [await loop.create_server(accepting(e), "127.0.0.1", 0, backlog=1024) for e in range(len(fleet))]
    never_pause()
    say(ports=[s.sockets[0].getsockname()[1] for s in servers])
    async for words in told():
        if "start" in words:
            hosted.begin(words["start"])
        else:
            np.save(file.with_name(REACHED), hosted.endpoint_of(words["ended"]))
            say(late_s=hosted.late_s())


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="the emulated endpoints of a fleet")
    parser.add_argument("fleet", type=Path)
    child.run(serve(parser.parse_args().fleet))


if __name__ == "__main__":
    main()
