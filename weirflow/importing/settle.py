"""Sorted rows to attempts as they are told: without duplicates, numbered, with what the user felt; gaps noted.

The same row with the same request id is one that was told twice, and goes. Without an id two alike may well be two
requests of one millisecond: they stay and are counted. A row after a failed one of the same request, service and node
is its next try. What must be remembered is only the failures of the last `WINDOW_S`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Outcome
from weirflow.importing.attempts import ROW, Rows
from weirflow.importing.hashes import mixed
from weirflow.importing.runs import fingerprints

WINDOW_S = 30.0
"""How long after a failure another try may end (dataplane.als.tries has the same)."""
GAP_S = 10.0
GAP_SPACINGS = 50.0
GAPS = 50


@dataclass(frozen=True, slots=True)
class Gap:
    """A time without any attempt at a node that had many before and after."""

    node: int
    start: float
    end: float


class Settling:
    """Over the blocks of `Runs.merged`, in order. `spacing_s` by node: the mean time between its attempts."""

    def __init__(self, spacing_s: NDArray[np.float64]) -> None:
        self.duplicates = 0  # rows dropped: same id, same everything
        self.alike = 0  # rows kept: same everything, no id
        self.retries = 0  # rows that were found to be a further try by their id
        self.gaps: list[Gap] = []
        self._limit_s = np.maximum(GAP_S, GAP_SPACINGS * spacing_s)
        self._last = np.full(len(spacing_s), np.nan)
        self._failed = np.empty(0, ROW)

    def settled(self, rows: Rows) -> Rows:
        """The attempts of a block."""
        rows = self._once(rows)
        self._number(rows)
        self._watch(rows)
        return rows

    def _once(self, rows: Rows) -> Rows:
        """Equal rows end at the same moment, so they are in one block, side by side."""
        print_ = fingerprints(rows)
        again = np.zeros(len(rows), np.bool_)
        again[1:] = (print_[1:] == print_[:-1]) & (rows["ended"][1:] == rows["ended"][:-1])
        known = rows["request"] != 0
        self.duplicates += int(np.count_nonzero(again & known))
        self.alike += int(np.count_nonzero(again & ~known))
        kept: Rows = rows[~(again & known)]
        return kept

    def _number(self, rows: Rows) -> None:
        """Write `attempt` where the log does not tell it, and `felt` where it can be known."""
        new = len(self._failed)
        held = np.concatenate([self._failed, rows])
        failed = (held["outcome"] != Outcome.OK) & (held["request"] != 0)
        number, first = np.ones(len(held), np.int64), held["started"].copy()
        if failed.any():
            key = mixed([held["request"], held["service"], held["node"]])
            some = np.flatnonzero(np.isin(key, key[failed]) & (held["request"] != 0))
            some = some[np.lexsort((held["ended"][some], key[some]))]
            bad = failed[some].astype(np.int64)
            late = np.diff(held["ended"][some]) > WINDOW_S
            head = np.concatenate([[True], (key[some][1:] != key[some][:-1]) | late])
            group = np.cumsum(head) - 1
            before = np.cumsum(bad) - bad
            number[some] = 1 + before - before[head][group]
            first[some] = np.minimum.reduceat(held["started"][some], np.flatnonzero(head))[group]
        number, first = number[new:], first[new:]
        counted = (rows["attempt"] == 0) & (number > 1)
        self.retries += int(np.count_nonzero(counted))
        rows["attempt"] = np.where(rows["attempt"] == 0, np.minimum(number, 32_767), rows["attempt"])
        felt = np.where(number > 1, rows["ended"] - first, rows["duration"])
        rows["felt"] = np.where(np.isnan(rows["felt"]), felt, rows["felt"])
        if len(held):
            self._failed = held[failed & (held["ended"] >= held["ended"][-1] - WINDOW_S)]

    def _watch(self, rows: Rows) -> None:
        """Note where a node was silent for long."""
        for node in np.unique(rows["node"]).tolist():
            ends = rows["ended"][rows["node"] == node]
            times = np.concatenate([[self._last[node]], ends])
            for i in np.flatnonzero(np.diff(times) > self._limit_s[node]).tolist():
                self.gaps.append(Gap(node, float(times[i]), float(times[i + 1])))
            self._last[node] = ends[-1]
        if len(self.gaps) > GAPS:
            self.gaps = sorted(self.gaps, key=lambda g: g.start - g.end)[:GAPS]
