"""Which service is at the root of a trouble whose beginning is known: a ranking over the call graph.

By stream: how far the mean of the minutes since has moved, in units of the band in which such means usually lie
(`models.band`). By service: the largest of what speaks against it. That is

* latencies that rose, each against the service that answers; as its caller's proxy sees it, a call holds the network;
* traffic that fell, against those who no longer call. Only where nobody is known to call is it the service's own;
* failures. Of a service that calls others they are a symptom that may have come from anyone below: they count for no
  more than `SYMPTOM`, so that it is blamed for them when nothing below is odd.

A caller shows its callee's trouble as its own. So callees first, a service is not put above one that it calls whose
score comes near to its own (`NEAR`): its own is explained. That goes on up the graph, hop by hop.

Ranking by the largest change since the beginning, with robust statistics, is what BARO (Pham et al., FSE 2024) showed
to be hard to beat; here the spread is that of means as long as the one judged, which counts slow wandering in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from models.band import band, beyond
from models.base import Floats, Ints
from models.streams import Kind, of_latency, tamed

WINDOW, BASELINE = 4, 240
"""Steps of a minute."""
SYMPTOM = 2.5
NEAR = 0.8
LEAST = 3.0
"""When nothing has moved so far nobody is blamed."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A service that may be the root, and the stream that speaks most against it."""

    service: int
    score: float
    stream: int  # -1 when nothing does


def shifts(
    values: Floats, kind: Ints, began: int, window: int = WINDOW, baseline: int = BASELINE, level: int = 0
) -> Floats:
    """By stream, how far it has moved since row `began`; above 0 upwards, NaN for unknown. Shape (n,).

    `values`: (times, streams) up to now. `level`: of so many rows just before. Where the baseline is of other days a
    stream must have left its band and the level that it had just before: the lesser move counts.
    """
    past = tamed(values[max(0, began - baseline) : began], kind)
    now = mean(tamed(values[began : began + window], kind))
    ends = band(past, max(1, min(window, len(values) - began)))
    moved = beyond(now, ends, kind)
    if not level:
        return moved
    since = beyond(now, ends + mean(past[-level:]) - ends[1], kind)
    nearer = np.copysign(np.minimum(np.abs(moved), np.abs(since)), moved)
    return np.asarray(np.where(np.isfinite(moved + since) & (moved * since <= 0.0), 0.0, nearer))


def mean(values: Floats) -> Floats:
    """By stream, of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0))


class Blame:
    """The ranking of one mesh. `calls`: rows of caller and callee; `owner` and `kind` by stream."""

    def __init__(self, owner: Ints, kind: Ints, services: int, calls: Ints, near: float = NEAR) -> None:
        self._owner, self._kind, self._near = owner, kind, near
        self._services = services
        self._callees: dict[int, list[int]] = defaultdict(list)
        self._callers: dict[int, list[int]] = defaultdict(list)
        for caller, callee in calls.tolist():
            self._callees[caller].append(callee)
            self._callers[callee].append(caller)

    def rank(self, shift: Floats, least: float = LEAST) -> tuple[Cause, ...]:
        """All services, the likeliest root first; none at all when no service has a score of `least`."""
        own, stream = self._scores(shift)
        if not (own >= least).any():
            return ()
        score = self._explained(own)
        order = sorted(range(own.size), key=lambda s: (-score[s], s))
        return tuple(Cause(s, float(score[s]), int(stream[s])) for s in order)

    def _scores(self, shift: Floats) -> tuple[Floats, Ints]:
        """By service what speaks most against it, and which stream that is."""
        score, stream = np.zeros(self._services), np.full(self._services, -1)
        up = np.where(np.isfinite(shift), shift, 0.0)
        speaks = of_latency(self._kind) | (self._kind == Kind.WORK)
        for i, (s, kind) in enumerate(zip(self._owner.tolist(), self._kind.tolist(), strict=True)):
            against: Iterable[int] = (s,)
            said = float(up[i]) if speaks[i] else 0.0
            if kind == Kind.RATE:
                said, against = float(-up[i]), self._callers.get(s) or (s,)
            elif kind == Kind.FAILS:
                said = min(float(up[i]), SYMPTOM) if self._callees.get(s) else float(up[i])
            for who in against:
                if said > score[who]:
                    score[who], stream[who] = said, i
        return score, stream

    def _explained(self, own: Floats) -> Floats:
        """Scores in which no caller stands above a callee that explains it."""
        worst = {caller: max(below, key=lambda s: own[s]) for caller, below in self._callees.items()}
        explained = [(a, b) for a, b in worst.items() if own[b] > 0.0 and own[b] >= self._near * own[a]]
        score = own.copy()
        for _ in range(own.size):  # a hop each
            before = score.copy()
            for caller, callee in explained:
                score[caller] = min(own[caller], np.nextafter(score[callee], 0.0))
            if np.array_equal(score, before):
                break
        return score
