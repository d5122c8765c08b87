"""Which try of its request an attempt was, and since when the user waited.

The upstream log does not number attempts (Envoy 1.40 writes 0), but all attempts of a request share its id. Only
failed ones are remembered, since only a failure is followed by another try, so the memory stays small on a healthy mesh
and bounded on a sick one (see `recent`). Within a batch the order of rows does not matter: starts decide.
"""

from __future__ import annotations

import numpy as np

from dataplane.als.attempts import Attempts
from dataplane.als.recent import Recent
from dataplane.contract import Ints, Outcome

WINDOW_S = 30.0
"""How long a failure is remembered: twice Envoy's default route timeout, within which its retries must end."""
_SLOTS = 1 << 16


class Tries:
    """The requests of one node that have failed attempts, lately."""

    def __init__(self) -> None:
        self._recent = Recent(_SLOTS, WINDOW_S)
        self._failures = np.zeros(_SLOTS, dtype=np.int64)
        self._first_ns = np.zeros(_SLOTS, dtype=np.int64)

    def number(self, attempts: Attempts, now: float) -> tuple[Ints, Ints]:
        """The number of each attempt, 1 for the first, and the start of its request's first attempt. Shapes (n,)."""
        number = np.ones(len(attempts), dtype=np.int64)
        first_ns = attempts.start_ns.copy()
        failed = (attempts.outcome != Outcome.OK) & (attempts.request != 0)
        self._open(attempts.request[failed], attempts.start_ns[failed], now)
        if self._recent.idle(now):
            return number, first_ns
        rows = self._recent.holds(attempts.request, now).nonzero()[0]
        if not len(rows):
            return number, first_ns
        rows = rows[np.lexsort((attempts.start_ns[rows], attempts.request[rows]))]
        keys, starts, bad = attempts.request[rows], attempts.start_ns[rows], failed[rows]
        is_head = np.concatenate([[True], keys[1:] != keys[:-1]])
        heads, request = is_head.nonzero()[0], np.cumsum(is_head) - 1  # which head each row follows
        slots = self._recent.slots(keys[heads])
        remembered = np.where(starts > self._first_ns[slots][request], self._failures[slots][request], 0)
        before = np.cumsum(bad) - bad
        number[rows] = 1 + remembered + before - before[heads][request]
        self._first_ns[slots] = np.minimum(self._first_ns[slots], starts[heads])
        first_ns[rows] = self._first_ns[slots][request]
        self._failures[slots] += np.add.reduceat(bad, heads, dtype=np.int64)
        return number, first_ns

    def _open(self, requests: Ints, starts: Ints, now: float) -> None:
        """Give each failed request a slot; those that have one keep what it says."""
        if not len(requests):
            return
        new = ~self._recent.holds(requests, now)
        slots = self._recent.slots(requests[new])
        self._failures[slots] = 0
        self._first_ns[slots] = starts[new]
        self._recent.put(requests, now)
