"""The requests of a recording, cut to a window or made more or fewer, chunk by chunk.

More of them keeps what the recorded ones are like. Time is cut into blocks of some seconds. In each the recorded
arrivals are run through as much faster, over and over until the block is full, so bursts keep their shape and the rate
keeps its course; the first time round with the requests themselves, then with requests drawn from the same block
(a block bootstrap: Kuensch 1989). Fewer of them are drawn by a coin for each.

Arrivals are open: nobody waits for an answer before asking again. A crowd that does would ask less as things slow down.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np

from dataplane.simulated.fleet import Trace
from weirflow.whatif.world import Chunks

BLOCK_S = 5.0
MOST_HELD = 4_000_000
"""Requests: some hundred megabytes. More are read anew for each run."""
RESAMPLING = 2  # which of a seed's streams of chance this is


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """All of them in memory, so that they are read from the recording but once."""

    traces: tuple[Trace, ...]

    def __call__(self) -> Iterator[Trace]:
        """The requests anew."""
        yield from self.traces


def held(chunks: Chunks, requests: int) -> Chunks:
    """The same requests, in memory if they are few enough."""
    return chunks if requests > MOST_HELD else Held(tuple(chunks()))


@dataclass(frozen=True, slots=True)
class Cut:
    """Those from `start_s` to `end_s`, whose times then count from `start_s`."""

    chunks: Chunks
    start_s: float
    end_s: float

    def __call__(self) -> Iterator[Trace]:
        """The requests anew. What comes after the end is not read."""
        for chunk in self.chunks():
            first, last = np.searchsorted(chunk.at_s, [self.start_s, self.end_s])
            if last > first:
                own = chunk.take(slice(first, last))
                yield Trace.of(
                    at_s=own.at_s - self.start_s,
                    node=own.node,
                    klass=own.klass,
                    demand_s=own.demand_s,
                    luck=own.luck,
                )
            if last < len(chunk):
                return


@dataclass(frozen=True, slots=True)
class Scaled:
    """`factor` times as many, over the same `duration_s`."""

    chunks: Chunks
    factor: float
    duration_s: float
    seed: int

    def __call__(self) -> Iterator[Trace]:
        """The requests anew; the same for the same seed."""
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, RESAMPLING])))
        if self.factor < 1.0:
            for chunk in self.chunks():
                yield chunk.take(random.random(len(chunk)) < self.factor)
            return
        width_s = self.duration_s / max(1, round(self.duration_s / BLOCK_S))
        for start_s, block in _blocks(self.chunks(), width_s):
            yield self._more(block, start_s, width_s, random)

    def _more(self, block: Trace, start_s: float, width_s: float, random: np.random.Generator) -> Trace:
        rounds = ceil(self.factor)
        into_s = (block.at_s - start_s)[None, :] + width_s * np.arange(rounds)[:, None]
        at_s = start_s + into_s.ravel() / self.factor
        kept = at_s < start_s + width_s
        rows = np.concatenate([np.arange(len(block)), random.integers(len(block), size=(rounds - 1) * len(block))])
        drawn = block.take(rows[kept])
        luck = random.random(len(rows))[kept]
        own = (np.arange(len(rows)) < len(block))[kept]
        return Trace.of(
            at_s=at_s[kept],
            node=drawn.node,
            klass=drawn.klass,
            demand_s=drawn.demand_s,
            luck=np.where(own, drawn.luck, luck),
        )


def _blocks(chunks: Iterator[Trace], width_s: float) -> Iterator[tuple[float, Trace]]:
    """Start and requests of every block that has any. Memory holds a chunk and a block."""
    rest = Trace.empty()
    for chunk in chunks:
        both = Trace.concat([rest, chunk])
        if not len(both):
            continue
        number = np.floor(both.at_s / width_s)
        cuts = np.flatnonzero(np.diff(number)) + 1
        edges = [0, *cuts.tolist()]
        for first, last in pairwise(edges):
            yield float(number[first]) * width_s, both.take(slice(first, last))
        rest = both.take(slice(edges[-1], None))
    if len(rest):
        yield float(np.floor(rest.at_s[0] / width_s)) * width_s, rest
