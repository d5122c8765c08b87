"""How many requests each request found at its endpoint, over all nodes: what tells waiting from work.

No log says it, but the logs together do: a request found those that began before it and had not ended when it began.
So attempts are kept for a few latencies, until those that were open have ended and been told of as well, and then
counted: with one key for endpoint and time, the number begun before less the number ended before is a rank in one
sorted array less a rank in another.

Nodes' clocks differ, so each node's times are put on the brain's by the least delay between the end of an attempt and
the arrival of its row, over the last ten to twenty seconds. A node whose log comes a constant second late is put right
by that too; one whose clock jumps is wrong until then.

The latest attempts can be asked for at once, before those that they found have all been told of: who first saw a change
looks again that way.

What is kept is bounded. With more than `most` attempts a tick, some endpoints are watched and all their attempts taken,
others not, in turns of twenty seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.base import known_or

if TYPE_CHECKING:
    from models.base import Floats, Ints
    from models.decay import When

MOST = 6_000
"""Attempts a tick that are looked at: 5 ms of work."""

TURN_S = 20.0
WAIT_LATENCIES = 4.0
"""A request is looked at when it began this many mean latencies ago: one in fifty that it found may still be open."""

SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.5, 5.0
ALIGN_S = 10.0
APART_S = 1e-3
"""What lies so far apart is not taken for the same moment by any rounding."""
_GOLDEN = 0.6180339887498949

Believed = Callable[[NDArray[Any], NDArray[Any]], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A row for each good attempt that was looked at since the last tick."""

    endpoint: Ints
    found: Ints  # requests open there when it began, on all nodes
    took_s: Floats  # its latency, freed of its request class


class Clocks:
    """What to add to each node's times to have the brain's: the least delay lately. Unknown is NaN."""

    def __init__(self, nodes: int) -> None:
        self._least = np.full((2, nodes), np.inf)  # in this block of time and in the one before
        self._block = -1.0

    def told(self, node: NDArray[np.integer], ended: Floats, heard: NDArray[np.bool_], when: When) -> None:
        """Rows of these nodes, which ended then by their own clocks, came in. Only those `heard` count."""
        delay = when.s - ended
        for rows, now in when.runs(ALIGN_S):
            block = now // ALIGN_S
            if block != self._block:
                self._least[1] = self._least[0] if block == self._block + 1 else np.inf
                self._least[0], self._block = np.inf, block
            counts = heard[rows]
            np.minimum.at(self._least[0], node[rows][counts], delay[rows][counts])

    def ahead(self) -> Floats:
        """Seconds to add, by node."""
        least = self._least.min(axis=0)
        return np.where(np.isfinite(least), least, np.nan)

    def resize(self, nodes: int) -> None:
        """Have room for this many nodes."""
        more = max(nodes - self._least.shape[1], 0)
        self._least = np.pad(self._least, ((0, 0), (0, more)), constant_values=np.inf)


class Arrivals:
    """Attempts of the last seconds at the endpoints that are watched."""

    def __init__(self, nodes: int, slots: int, most: int = MOST) -> None:
        self._clocks = Clocks(nodes)
        self._most = most
        self._told = 0  # rows since the last tick, watched or not
        self._share = 1.0  # of the endpoints that are watched
        self._since = np.full(slots, -np.inf)  # when the watch over an endpoint began; inf: it is not watched
        self._rows: list[tuple[NDArray[Any], ...]] = []
        self._turn = 0.0

    def told(
        self,
        endpoint: NDArray[np.integer],
        node: NDArray[np.integer],
        started_s: Floats,
        duration_s: Floats,
        took_s: Floats,
        heard: NDArray[np.bool_],
        when: When,
    ) -> None:
        """Finished attempts that were sent to an endpoint. `took_s` is NaN for one that tells nothing of latency.

        `heard`: whose word counts; the other rows are left out.
        """
        ended = started_s + duration_s
        self._clocks.told(node, ended, heard, when)
        if not heard.all():
            endpoint, node = endpoint[heard], node[heard]
            started_s, ended, took_s = started_s[heard], ended[heard], took_s[heard]
        self._told += endpoint.size
        if self._share < 1.0:
            watched = self._since[endpoint] < np.inf
            endpoint, node = endpoint[watched], node[watched]
            started_s, ended, took_s = started_s[watched], ended[watched], took_s[watched]
        self._rows.append((endpoint, node, started_s, ended, took_s, np.isfinite(took_s)))

    def freeze(self, latency_s: Floats, believed: Believed, now: float) -> Found:
        """Those whose count can be told now, given the mean latency of each endpoint (NaN: not known).

        `believed` says of endpoints and nodes, a row per pair, whether the one's word on the other counts.
        """
        wait = np.clip(WAIT_LATENCIES * known_or(latency_s, 1.0), SHORTEST_WAIT_S, LONGEST_WAIT_S)
        found = self._count(wait, believed, now) if self._rows else _none()
        self._choose(now)
        return found

    def _count(self, wait_s: Floats, believed: Believed, now: float) -> Found:
        endpoint, node, begun, ended, took, waits = (
            np.concatenate(columns) for columns in zip(*self._rows, strict=True)
        )
        heard = believed(endpoint, node)
        if not heard.all():
            endpoint, node, begun, ended, took, waits = (c[heard] for c in (endpoint, node, begun, ended, took, waits))
        ahead = self._clocks.ahead()[node]
        start, end = begun + ahead, ended + ahead
        ready = waits & (start <= now - wait_s[endpoint])
        keep = ready | (end >= now - 2 * wait_s[endpoint] - 1.0) & (self._since[endpoint] < np.inf)
        if ready.any():
            first = start[keep].min()
            span = end[keep].max() - first + 1.0
            place = endpoint * span - first
            # Who had ended before the first that asks began, or began after the last one did, is found by nobody.
            soon, late = start[ready].min() - APART_S, start[ready].max() + APART_S
            near = np.flatnonzero(keep & (end >= soon) & (start <= late))
            begins = (place + start)[near]
            order = np.argsort(begins)
            starts, ends = begins[order], np.sort((place + end)[near])
            # In the order of their starts: to look up rising values costs a fifth.
            mine = near[order]
            mine = mine[ready[mine]]
            asked = (place + start)[mine]
            found = np.searchsorted(starts, asked) - np.searchsorted(ends, asked, side="right")
            whole = start[mine] >= self._since[endpoint[mine]]
            out = Found(endpoint[mine][whole].astype(np.int64), found[whole], took[mine][whole])
        else:
            out = _none()
        self._rows = [tuple(column[keep] for column in (endpoint, node, begun, ended, took, waits & ~ready))]
        return out

    def lately(self, endpoint: int, most: int) -> tuple[Floats, Floats]:
        """How many others the last so many good attempts there found, and what they took, by what is told so far.

        Where who came first leaves first nobody is missed: whoever was found has ended. Elsewhere some are, and the
        counts are too small. Nothing when the endpoint is not watched. Rows in the order in which they were told.
        """
        parts = [[column[rows[0] == endpoint] for column in rows[1:]] for rows in self._rows]
        if not parts or not self._since[endpoint] < np.inf:
            return np.empty(0), np.empty(0)
        node, begun, ended, took, _ = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        ahead = self._clocks.ahead()[node]
        start, end = begun + ahead, ended + ahead
        last = np.flatnonzero(np.isfinite(took))[-most:]
        found = np.searchsorted(np.sort(start), start[last]) - np.searchsorted(np.sort(end), start[last], side="right")
        return np.maximum(found, 0).astype(np.float64), took[last]

    def _choose(self, now: float) -> None:
        """Watch as many endpoints as may be, others at each turn."""
        self._share = min(1.0, self._most / max(self._told, 1))
        self._told = 0
        if self._share >= 1.0:
            self._since = np.where(np.isinf(self._since) & (self._since > 0), now, self._since)
            return
        turn = now // TURN_S
        place = (np.arange(self._since.size) * _GOLDEN + turn * self._share) % 1.0
        watched = place < self._share
        self._since = np.where(watched, np.where(self._since < np.inf, self._since, now), np.inf)

    def resize(self, nodes: int, slots: int) -> None:
        """Have room for this many nodes and endpoints."""
        self._clocks.resize(nodes)
        more = max(slots - self._since.size, 0)
        self._since = np.pad(self._since, (0, more), constant_values=-np.inf)


def _none() -> Found:
    nothing = np.empty(0, dtype=np.int64)
    return Found(nothing, nothing, np.empty(0))
