"""How latencies are spread, in memory that does not grow with them: counted in bins that grow by half a percent.

A quantile read from the bins is within a quarter of a percent. Counts of several runs or windows are added, or drawn
again, and read the same way (`weirflow.whatif.tally`).
"""

from __future__ import annotations

import numpy as np

from dataplane.simulated.fleet import Bools, Floats, Ints
from weirflow.whatif.world import Seen

STEP = 1.005
LEAST_S = 1e-6
BINS = 4_200
"""From a microsecond to twenty minutes."""


def bin_of(latency_s: Floats) -> Ints:
    """The bin that each falls in."""
    place = np.log(np.maximum(latency_s, LEAST_S) / LEAST_S) / np.log(STEP)
    return np.asarray(np.minimum(place.astype(np.int64), BINS - 1))


def middles_s() -> Floats:
    """The middle of each bin. Shape (BINS,)."""
    return np.asarray(LEAST_S * STEP ** (np.arange(BINS) + 0.5))


def quantiles_s(bins: Ints | Floats, *levels: float, first: int = 0) -> tuple[Floats, ...]:
    """At each level, along the last axis, whose bins begin with number `first`.

    NaN where there are fewer than 1 / (1 - q) values: it could not be seen.
    """
    upto = np.cumsum(bins, axis=-1, dtype=np.float64)
    total = upto[..., -1:]
    out = []
    for q in levels:
        wanted = q * total
        place = np.minimum((upto < wanted).sum(axis=-1, keepdims=True), upto.shape[-1] - 1)
        above = np.take_along_axis(upto, place, axis=-1)
        here = np.maximum(np.take_along_axis(np.asarray(bins, np.float64), place, axis=-1), 1e-12)
        into = np.clip((wanted - (above - here)) / here, 0.0, 1.0)
        found = LEAST_S * STEP ** (first + place + into)
        out.append(np.where(total * (1.0 - q) >= 1.0, found, np.nan)[..., 0])
    return tuple(out)


class Spread:
    """Latencies as they come."""

    def __init__(self) -> None:
        self._bins = np.zeros(BINS, np.int64)

    def learn(self, latency_s: Floats) -> None:
        """Take in latencies. What is no number is left out."""
        self._bins += np.bincount(bin_of(latency_s[np.isfinite(latency_s)]), minlength=BINS)

    def seen(self, requests: int, good: int) -> Seen:
        """With how many were asked, and how many answered well."""
        return seen_in(self._bins, requests, requests - good)


def seen_in(bins: Ints, requests: int, failed: int) -> Seen:
    """What bins of latencies tell, with how many requests there were and how many of them failed."""
    p50_s, p90_s, p99_s = (float(q) for q in quantiles_s(bins, 0.5, 0.9, 0.99))
    return Seen(requests, p50_s, p90_s, p99_s, max(failed / requests, 0.0) if requests else 0.0)


def seen_of(latency_s: Floats, ok: Bools) -> Seen:
    """What requests that are at hand tell."""
    spread = Spread()
    spread.learn(latency_s)
    return spread.seen(len(ok), int(ok.sum()))
