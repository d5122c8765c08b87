"""How many requests were asked of each service: demand, which is not what was served.

Load reports say at once what was sent to endpoints, so a request counts when it starts, however long it takes. The
access log says the rest of what it was: which of them were first tries (a retry is no demand), and which first tries
were sent nowhere (our own limit said no, or nobody could be reached), which no report counts and whose end is their
start. Both arms count, and clients that left.

A node's reports are divided by the time that they cover, which is from report to report and not from tick to tick.
What a node carries that cannot be believed now is believed to be what it carried, for a while. With more than
`MOST_UNSEEN` of a service's traffic there, its demand is unknown: NaN, never 0.

Refusals of Envoy's own rate limit are in no attempt, and not counted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import REPORTED, Requests
from features.columns import Floats, NodeFeatures
from features.together import Waiting, in_turn

MOST_UNSEEN = 0.1
"""Of a service's traffic that may be out of sight; up to there, what is in sight is scaled up."""
CARRIED_HALF_LIFE_S = 3.0
"""Of what a node is believed to carry of a service."""
FORGET_HALF_LIFE_S = 60.0
"""What a silent node is believed to carry halves in this time, as in `brain.nodes`."""
TRIES_HALF_LIFE_S = 3.0
"""Of the share of first tries among all."""

_SENT, _FIRST = range(2)


class Arrivals:
    """Requests a second, by service, of the time from one `freeze` to the next."""

    def __init__(self, services: int) -> None:
        self._at: float | None = None
        self._tries = np.zeros((2, services))  # sent to an endpoint, decayed: all, and first tries
        self._waiting = Waiting()  # to be counted
        self._unsent = np.zeros(services)  # first tries that were sent nowhere, since the last freeze
        self._issued = np.zeros((0, services), dtype=np.int64)  # by node, at the last freeze
        self._report_at = np.zeros(0)
        self._fresh = np.zeros(0, dtype=np.bool_)
        self._carried = np.zeros((0, services))

    def told(self, batch: Requests) -> None:
        """Count tries. Rows of no known service are passed over."""
        if self._waiting.add(batch.service, batch.attempt, batch.outcome):
            self._count()

    def _count(self) -> None:
        waiting = self._waiting.take()
        if waiting is None:
            return
        (service, attempt, outcome), of, many = waiting
        services, first, sent = self._unsent.size, attempt <= 1, REPORTED[outcome]
        known = (service >= 0) & (service < services)
        if not known.all():
            service, first, sent, of = service[known], first[known], sent[known], of[known]
        cell = 4 * (of * services + service) + 2 * first + sent
        kinds = np.bincount(cell, minlength=4 * services * many).reshape(-1, services, 2, 2)
        (_, again), (unsent, firsts) = kinds.transpose(2, 3, 0, 1)
        self._tries[_SENT] = in_turn(self._tries[_SENT], again + firsts)
        self._tries[_FIRST] = in_turn(self._tries[_FIRST], firsts)
        self._unsent += unsent.sum(axis=0)

    def freeze(self, nodes: NodeFeatures, expected: NDArray[np.bool_], now: float) -> Floats:
        """Requests a second since the last call; NaN where that was not seen, and throughout at the first one.

        `expected`: which nodes ought to be in sight, shape (nodes,); the traffic of others has gone elsewhere.
        """
        self._count()
        self.resize(self._unsent.size, len(nodes.fresh))
        elapsed_s = 0.0 if self._at is None else now - self._at
        report_at = now - nodes.report_age_s
        with np.errstate(invalid="ignore"):
            covered_s = report_at - self._report_at
        sent = nodes.issued - self._issued
        in_sight = nodes.fresh & self._fresh & (covered_s > 0) & (covered_s < np.inf) & (sent >= 0).all(axis=1)
        rate = np.where(in_sight[:, None], sent / np.where(in_sight, covered_s, 1.0)[:, None], 0.0)
        unseen = self._unseen(rate, in_sight, expected, elapsed_s)
        # Who has just come into sight sent something, and nobody knows in how much time.
        just_come = (sent[nodes.fresh & ~self._fresh] > 0).any(axis=0)
        if elapsed_s > 0 and in_sight.any():
            asked = rate.sum(axis=0) * self._first_share() + self._unsent / elapsed_s
            out = np.where((unseen <= MOST_UNSEEN) & ~just_come, asked / np.maximum(1.0 - unseen, 0.5), np.nan)
        else:
            out = np.full(self._unsent.size, np.nan)
        self._at, self._report_at, self._fresh = now, report_at, nodes.fresh.copy()
        self._issued = nodes.issued.copy()
        self._unsent = np.zeros_like(self._unsent)
        self._tries *= 0.5 ** (elapsed_s / TRIES_HALF_LIFE_S)
        return out

    def _unseen(
        self, rate: Floats, in_sight: NDArray[np.bool_], expected: NDArray[np.bool_], elapsed_s: float
    ) -> Floats:
        """The share of each service's traffic that goes through nodes out of sight, by what they carried."""
        keep = 0.5 ** (elapsed_s / CARRIED_HALF_LIFE_S)
        seen = keep * self._carried + (1 - keep) * rate
        silent = np.where(expected[:, None], self._carried * 0.5 ** (elapsed_s / FORGET_HALF_LIFE_S), 0.0)
        self._carried = np.where(in_sight[:, None], seen, silent)
        total, away = self._carried.sum(axis=0), self._carried[~in_sight].sum(axis=0)
        return np.where(total > 0, away / np.where(total > 0, total, 1.0), 0.0)

    def _first_share(self) -> Floats:
        """Of what was sent to endpoints, first tries; 1 while the log has brought nothing."""
        sent, first = self._tries
        return np.where(sent > 0, first / np.where(sent > 0, sent, 1.0), 1.0)

    def resize(self, services: int, nodes: int | None = None) -> None:
        """Have room for this many services and nodes; nobody is ever taken away."""
        more = max(0, services - self._unsent.size)
        more_nodes = max(0, (nodes or 0) - self._fresh.size)
        if not more and not more_nodes:
            return
        self._count()
        self._tries = np.pad(self._tries, ((0, 0), (0, more)))
        self._unsent = np.pad(self._unsent, (0, more))
        self._issued = np.pad(self._issued, ((0, more_nodes), (0, more)))
        self._carried = np.pad(self._carried, ((0, more_nodes), (0, more)))
        self._report_at = np.pad(self._report_at, (0, more_nodes), constant_values=-np.inf)
        self._fresh = np.pad(self._fresh, (0, more_nodes))
