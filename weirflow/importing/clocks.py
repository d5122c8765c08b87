"""What the lines of a file and the ids of requests tell about clocks: lines out of order, and nodes that disagree.

A proxy writes a line when a request ends, so ends rise through a file; where one falls behind, lines were reordered or
the clock was put back. A request that two proxies carried is, at the inner one, within what it is at the outer one: so
the inner clock is ahead by no more than the least difference of their starts, and by no less than the greatest of
their ends (as NTP bounds an offset, RFC 5905). Which of two is the inner one, the longer duration tells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weirflow.importing.attempts import Rows

SAMPLE = 1 << 15  # rows kept to compare nodes by; which, the hash of the request's id says, alike for all nodes
LEAST = 20


@dataclass(frozen=True, slots=True)
class Skew:
    """How far a node's clock is ahead of another's: between `low_s` and `high_s`. `requests`: told by both."""

    node: int
    against: int
    low_s: float
    high_s: float
    requests: int


class Order:
    """The order of the lines of one file."""

    def __init__(self) -> None:
        self.late = 0  # lines that end before the latest end so far
        self.worst_s = 0.0  # the furthest behind
        self._latest = -np.inf

    def look(self, rows: Rows) -> None:
        """Rows in the order of their lines."""
        if not len(rows):
            return
        # A line is as late as its last try: those before it, which NGINX tells in the same line, ended earlier.
        rows = rows[np.append(rows["attempt"][1:] <= rows["attempt"][:-1], True)]
        latest = np.maximum.accumulate(np.concatenate([[self._latest], rows["ended"]]))
        behind = latest[:-1] - rows["ended"]
        # Logs are written to the millisecond: less than that is no disorder.
        self.late += int(np.count_nonzero(behind > 0.002))
        self.worst_s = max(self.worst_s, float(behind.max()))
        self._latest = float(latest[-1])


class Skews:
    """A sample of requests with ids, the same ones of every node."""

    def __init__(self) -> None:
        self._kept: list[Rows] = []
        self._count, self._below = 0, np.uint64(2**64 - 1)

    def look(self, rows: Rows) -> None:
        """Take what belongs to the sample."""
        taken = rows[(rows["request"] != 0) & (rows["request"] <= self._below)]
        self._kept.append(taken)
        self._count += len(taken)
        while self._count > SAMPLE:
            self._below = self._below >> np.uint64(1)
            kept = np.concatenate(self._kept)
            self._kept = [kept[kept["request"] <= self._below]]
            self._count = len(self._kept[0])

    def found(self) -> list[Skew]:
        """Every pair of nodes with enough requests in common."""
        if not self._count:
            return []
        rows = np.concatenate(self._kept)
        rows = rows[np.lexsort((rows["node"], -rows["duration"], rows["request"]))]
        outer, inner = rows[:-1], rows[1:]
        pair = (outer["request"] == inner["request"]) & (outer["node"] != inner["node"])
        outer, inner = outer[pair], inner[pair]
        out = []
        for a, b in sorted({(int(x), int(y)) for x, y in zip(outer["node"], inner["node"], strict=True)}):
            of = (outer["node"] == a) & (inner["node"] == b)
            if np.count_nonzero(of) < LEAST:
                continue
            low = float((inner["ended"][of] - outer["ended"][of]).max())
            high = float((inner["started"][of] - outer["started"][of]).min())
            out.append(Skew(b, a, min(low, high), max(low, high), int(np.count_nonzero(of))))
        return out
