"""What is known of each node, and whether it may be believed.

Two wires tell of the same requests. Load reports say how many were issued and how many finished; the access log brings
a row for each. A node is fresh when it reported lately *and* its log does not contradict its reports: when reports say
that requests finish and the log brings nothing, telemetry is lost, and nothing is not the same as zero. A node that
reports zero is idle, which is knowledge; a node that reports nothing is unknown.

Whether the log is lost is told by order, not by rates, so that two requests a second are judged as well as two
thousand: the clock starts at the first report of something finished, any row of the log stops it, and the log is lost
when it has run for the stale time. A request or two whose rows went down with an old stream, before a node fell
silent, are forgiven as they decay: what is owed must be worth `LOST_COUNT` rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import REPORTED, Arm, Dropped, InFlight
from features.columns import Floats, Ints, NodeFeatures
from features.together import Attempts
from models.base import known_or
from models.decay import DecayedSums, ForwardDecay, When

LOST_COUNT = 1.0
"""Finished requests, decayed, that the log must owe before it is called lost."""

_ISSUED, _FINISHED, _SEEN = range(3)


class NodeTally:
    """Figures of `slots` nodes and `services` services."""

    def __init__(self, slots: int, services: int, half_life_s: float, stale_after_s: float) -> None:
        self._stale_after_s = stale_after_s
        self._sums = DecayedSums(3, slots, half_life_s)
        self._report = np.full(slots, -np.inf)  # when the last one came
        self._row = np.full(slots, -np.inf)  # when the log's last row came
        self._owed = np.full(slots, np.inf)  # since when the log owes a row; inf: it owes none
        self._picks = np.zeros((slots, services), dtype=np.int64)
        self._issued_to = np.zeros((slots, services), dtype=np.int64)
        self._dropped = np.zeros(slots, dtype=np.int64)

    def begin(self, nodes: NDArray[np.int64], now: float) -> None:
        """These nodes are new."""
        self._sums.begin(nodes, now)

    @property
    def decays(self) -> tuple[ForwardDecay, ...]:
        """By which what was told is weighed."""
        return (self._sums.decay,)

    def told(self, batch: Attempts, when: When) -> None:
        """The log of these rows' nodes is alive."""
        node, sent = batch.node, REPORTED[batch.outcome]
        known = (node >= 0) & (node < self._row.size)
        if not known.all():
            node, sent, when = node[known], sent[known], when.take(known)
        self._row[node] = when.s  # of several the last one stands
        self._owed[node] = np.inf
        self._sums.add(_SEEN, node[sent], 1.0, when.take(sent))

    def reported(self, batch: InFlight, now: float) -> None:
        """Take a load report in."""
        node = batch.node_id
        finished = int(batch.succeeded.sum() + batch.failed.sum())
        self._report[node] = now
        one = np.array([node])
        self._sums.add(_ISSUED, one, float(batch.issued.sum()), now)
        self._sums.add(_FINISHED, one, float(finished), now)
        if finished > 0:
            self._owed[node] = min(self._owed[node], now)
        known = (batch.service >= 0) & (batch.service < self._picks.shape[1])
        np.add.at(self._issued_to[node], batch.service[known], batch.issued[known])
        known &= batch.arm == Arm.ADAPTIVE
        np.add.at(self._picks[node], batch.service[known], batch.issued[known])

    def dropped(self, batch: Dropped) -> None:
        """Count log entries that nobody learned from."""
        self._dropped[batch.node] += sum(batch.reasons.values())

    def knows(self, node: int) -> bool:
        """Is there a row for this node."""
        return 0 <= node < self._report.size

    def reporting(self, now: float) -> NDArray[np.bool_]:
        """Which nodes reported within the stale time. Shape (slots,)."""
        return now - self._report <= self._stale_after_s

    def freeze(self, now: float, contradicts: Ints, worst_ratio: Floats) -> NodeFeatures:
        """The figures at `now`, with what witnesses say of each node. Changes nothing."""
        issued, finished, seen = self._sums.at(now)
        window = self._sums.window_s(now)
        lost = (now - self._owed > self._stale_after_s) & (finished >= LOST_COUNT)
        return NodeFeatures(
            report_age_s=now - self._report,
            attempts_age_s=now - self._row,
            issued_per_s=known_or(issued / window, 0.0),
            seen_per_s=known_or(seen / window, 0.0),
            fresh=self.reporting(now) & ~lost,
            picks=self._picks.copy(),
            issued=self._issued_to.copy(),
            dropped=self._dropped.copy(),
            contradicts=contradicts,
            worst_ratio=worst_ratio,
        )

    def resize(self, slots: int, services: int) -> None:
        """Have room for this many nodes and services; new nodes have to `begin`."""
        more = max(slots - self._report.size, 0)
        more_services = max(services - self._picks.shape[1], 0)
        self._sums.resize(slots)
        self._report = np.pad(self._report, (0, more), constant_values=-np.inf)
        self._row = np.pad(self._row, (0, more), constant_values=-np.inf)
        self._owed = np.pad(self._owed, (0, more), constant_values=np.inf)
        self._picks = np.pad(self._picks, ((0, more), (0, more_services)))
        self._issued_to = np.pad(self._issued_to, ((0, more), (0, more_services)))
        self._dropped = np.pad(self._dropped, (0, more))
