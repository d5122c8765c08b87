"""What it costs to learn from an access log: serialized ALS messages to columns, attempts, features and ticks.

On one core: the messages of a busy node (an upstream entry for every attempt, a downstream one for each of the few bad
ends), flushed every 0.1 s of virtual time, load reports every 0.5 s, a tick of the whole brain every second. Measured
is the thread's CPU time, so that other processes on the machine do not count; making the bytes is left out.

* `attempts_per_s` with 2 services of 4 endpoints, and with 200 endpoints: at least 300,000.
* `memory_growth_mb` over the soak, 20 million attempts by default, after the first million: at most 8.
* Where the microseconds of an attempt go, step by step; what a flush of three rows costs, which is what a quiet mesh of
  many nodes pays; and the plain reader beside the compiled one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np
import psutil

from bench.result import CannotRunError, Figure, Result, say, show
from bench.traffic import Traffic, mesh
from brain.brain import Brain
from brain.settings import Mode, Settings
from dataplane.als.decoder import COMPILED, Decoder
from dataplane.contract import Arm, Dropped, InFlight, Requests, Topology
from dataplane.ledger import Ledger

ATTEMPTS_BAR, GROWTH_BAR_MB = 300_000.0, 8.0
FLUSH_S, REPORT_FLUSHES, TICK_FLUSHES = 0.1, 5, 10
START_S = 1_800_000_000.0
WARM_UP = 1_000_000
STEPS = ("decode", "attempts", "ledger", "features", "tick")


class Line:
    """The straight line from bytes to decisions, with a stopwatch at each step."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._decoder = Decoder(0, topology)
        self._ledger = Ledger(topology)
        self._brain = Brain(topology, Settings(mode=Mode.ADAPTIVE))
        self.spent: dict[str, float] = defaultdict(float)
        self.learned = 0
        self._flushes = 0
        self._issued = np.zeros((topology.endpoint_slots, 2), dtype=np.int64)

    def flush(self, now: float, messages: list[bytes]) -> None:
        """One flush and, when due, a load report and a tick."""
        with self._timed("decode"):
            for message in messages:
                self._decoder.decode(message, now)
        with self._timed("attempts"):
            batches = self._decoder.flush(now)
        for i, batch in enumerate(batches):
            if isinstance(batch, Dropped):
                raise CannotRunError(f"entries were dropped, so the figures mean nothing: {dict(batch.reasons)}")
            if isinstance(batch, Requests):
                with self._timed("ledger"):
                    batches[i] = batch = self._ledger.stamp(batch, self._decoder.offset_s)
                self.learned += len(batch)
                np.add.at(self._issued, (batch.endpoint, batch.arm), 1)
        with self._timed("features"):
            for batch in batches:
                self._brain.told(batch, now)
        self._flushes += 1
        if self._flushes % REPORT_FLUSHES == 0:
            self._report(now)
        if self._flushes % TICK_FLUSHES == 0:
            self._tick(now)

    def _report(self, now: float) -> None:
        endpoint, arm = np.divmod(np.arange(self._issued.size), 2)
        issued = self._issued.ravel()
        report = InFlight.report(
            0,
            REPORT_FLUSHES * FLUSH_S,
            service=self._topology.service_of[endpoint],
            endpoint=endpoint,
            arm=arm,
            in_flight=issued // 20,
            issued=issued,
            succeeded=issued,
            failed=issued * 0,
        )
        self._issued[:] = 0
        with self._timed("features"):
            self._brain.told(report, now)

    def _tick(self, now: float) -> None:
        with self._timed("tick"):
            plan = self._brain.tick(now).plan
        if plan is not None:
            self._ledger.published(plan, now)
            self._ledger.accepted(0, plan.version, now)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        before = time.thread_time()
        yield
        self.spent[step] += time.thread_time() - before


def speed(name: str, topology: Topology, seconds: float) -> list[Figure]:
    """Attempts a second for this long (of the line's own CPU), and what each step costs an attempt."""
    say(f"{name}: writing the messages")
    traffic = Traffic(topology, 30_000, start_s=START_S, flush_s=FLUSH_S)
    line, flushes = Line(topology), traffic.flushes()
    for now, messages in islice(flushes, TICK_FLUSHES):  # warm caches and tables
        line.flush(now, messages)
    line.spent.clear()
    line.learned = 0
    for now, messages in flushes:
        line.flush(now, messages)
        if sum(line.spent.values()) > seconds and line.spent["tick"] > 0:
            break
    total = sum(line.spent.values())
    figures = [Figure(f"attempts_per_s_{name}", line.learned / total, "attempts/s", ATTEMPTS_BAR, at_most=False)]
    figures += [Figure(f"{step}_us_{name}", line.spent[step] / line.learned * 1e6, "us/attempt") for step in STEPS]
    return figures


def soak(topology: Topology, attempts: int) -> list[Figure]:
    """How much the process grew from the first million attempts to the last."""
    traffic = Traffic(topology, 30_000, start_s=START_S, flush_s=FLUSH_S, seed=2)
    line, process = Line(topology), psutil.Process()
    rss: list[int] = []
    for now, messages in traffic.flushes():
        line.flush(now, messages)
        if line.learned >= WARM_UP * (len(rss) + 1):
            rss.append(process.memory_info().rss)
        if line.learned >= attempts + WARM_UP:
            break
    mb = np.array(rss) / 2**20
    return [
        Figure("memory_growth_mb", float(mb[1:].max() - mb[0]), "MB", GROWTH_BAR_MB),
        Figure("memory_start_mb", float(mb[0]), "MB"),
        Figure("memory_end_mb", float(mb[-1]), "MB"),
        Figure("soak_attempts", float(line.learned)),
    ]


def readers(topology: Topology) -> list[Figure]:
    """The plain reader beside the compiled one, microseconds an entry, and the compiled one's bytes a second."""
    traffic = Traffic(topology, 5_000, start_s=START_S, flush_s=FLUSH_S, seed=3)
    figures = []
    for name, compiled in [("plain", False)] + [("compiled", True)] * COMPILED:
        decoder = Decoder(0, topology, compiled=compiled)
        spent = _best(5, traffic, lambda now, messages, d=decoder: [d.decode(m, now) for m in messages], decoder)
        figures.append(Figure(f"decode_us_an_entry_{name}", spent / traffic.entries * 1e6, "us"))
        figures.append(Figure(f"decode_mb_per_s_{name}", traffic.size / spent / 1e6, "MB/s"))
    return figures


def quiet(topology: Topology) -> list[Figure]:
    """A flush of three rows, decode included, and of none."""
    traffic = Traffic(topology, 3, start_s=START_S, flush_s=FLUSH_S, seed=4)
    decoder, spent = Decoder(0, topology), [0.0, 0.0]
    for i, (now, messages) in enumerate(islice(traffic.flushes(), 4000)):
        before = time.thread_time()
        for message in messages if i % 2 else []:
            decoder.decode(message, now)
        decoder.flush(now)
        spent[i % 2] += time.thread_time() - before
    return [Figure(f"flush_of_{rows}_us", s / 2000 * 1e6, "us") for rows, s in zip((0, 3), spent, strict=True)]


def _best(times: int, traffic: Traffic, work: Callable[[float, list[bytes]], object], decoder: Decoder) -> float:
    """The least CPU seconds that `work` took for a flush."""
    least = float("inf")
    for now, messages in islice(traffic.flushes(), times):
        before = time.thread_time()
        work(now, messages)
        least = min(least, time.thread_time() - before)
        decoder.flush(now)
    return least


def measure(seconds: float, endpoints: int, attempts: int) -> Result:
    """All of it."""
    result = Result("ingest", detail={"compiled": COMPILED, "endpoints": endpoints, "arms": len(Arm)})
    small, large = mesh(2, 4), mesh(4, endpoints // 4)
    result.figures += speed("2x4_endpoints", small, seconds)
    result.figures += speed(f"{endpoints}_endpoints", large, seconds)
    result.figures += readers(small)
    result.figures += quiet(small)
    if attempts:
        say(f"soak: {attempts / 1e6:.0f} million attempts")
        result.figures += soak(large, attempts)
    return result


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="What it costs to learn from an access log.")
    parser.add_argument("--seconds", type=float, default=6.0, help="CPU seconds measured of each mesh")
    parser.add_argument("--endpoints", type=int, default=200, help="of the larger mesh, over four services")
    parser.add_argument("--soak", type=int, default=20_000_000, help="attempts to watch the memory over; 0: none")
    args = parser.parse_args()
    if args.endpoints < 4 or args.seconds <= 0 or args.soak < 0:
        parser.error("at least 4 endpoints, a positive time and no negative soak")
    try:
        show(measure(args.seconds, args.endpoints, args.soak))
    except CannotRunError as problem:
        say(f"bench.ingest: {problem}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
