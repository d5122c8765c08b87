"""The join of what the upstream log leaves unexplained with the downstream entry that explains it.

A route timeout and a client that left look the same in the upstream log: no status, no flag, no end. Envoy says which
it was in the downstream entry of the same request, which arrives on another stream, a fraction of a second earlier or
later. So an unexplained attempt is held for at most `HOLD_S`, and a bad downstream entry is remembered a little longer.

Not every attempt under way at a route timeout is to blame for it: a retry that was given the last tenth of a second
after a slow first try is not. An attempt that had less than half of the request's time counts as cancelled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataplane.als.attempts import NO_ATTEMPTS, Attempts
from dataplane.als.recent import Recent
from dataplane.contract import Ints, Outcome

HOLD_S = 1.0
HELD_MAX = 32_768
_SLOTS = 1 << 16
"""At three thousand bad ends a flush one in fifty is forgotten early, and its attempt is called cancelled."""


class Join:
    """The held attempts of one node and its recent downstream entries."""

    def __init__(self) -> None:
        self._ends = Recent(_SLOTS, 2 * HOLD_S)
        self._outcome = np.zeros(_SLOTS, dtype=np.int8)
        self._duration_ns = np.zeros(_SLOTS, dtype=np.int64)
        self._held = NO_ATTEMPTS
        self._since = np.empty(0)

    def ended(self, request: Ints, outcome: NDArray[np.int8], duration_ns: Ints, now: float) -> None:
        """Remember bad downstream entries. Shapes (n,); requests without an id (0) explain nothing."""
        known = request.nonzero()[0]
        slots = self._ends.slots(request[known])
        self._ends.put(request[known], now)
        self._outcome[slots] = outcome[known]
        self._duration_ns[slots] = duration_ns[known]

    def settle(self, unexplained: Attempts, now: float) -> Attempts:
        """Of the new unexplained attempts and those held, the ones that are settled now, with their outcome."""
        if not len(unexplained) and not len(self._held):
            return unexplained
        rows = Attempts.concat([self._held, unexplained])
        since = np.concatenate([self._since, np.full(len(unexplained), now)])
        explained = self._ends.holds(rows.request, now)
        over = (since <= now - HOLD_S) | (rows.request == 0)
        over[HELD_MAX:] = True
        settled = explained | over
        rows.outcome[:] = np.where(explained, self._verdict(rows), Outcome.CANCELLED)
        self._held, self._since = rows.take(~settled), since[~settled]
        return rows.take(settled)

    def _verdict(self, rows: Attempts) -> NDArray[np.int8]:
        slots = self._ends.slots(rows.request)
        blame = (self._outcome[slots] == Outcome.TIMEOUT) & (rows.duration_ns * 2 >= self._duration_ns[slots])
        return np.where(blame, Outcome.TIMEOUT, Outcome.CANCELLED).astype(np.int8)
