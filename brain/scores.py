"""How well each model foresees: what it expected of the attempts of a block, against what they took.

At each tick every model says how long an attempt at each endpoint will take, given what is open there; the attempts
that end until the next tick say how long it was. So nobody is scored on what it has learned from (prequential scoring:
Dawid, "Statistical Theory: the prequential approach", JRSS A 1984). Over a block a model's error is the mean over
endpoints of |log(seen / expected)|, by an endpoint's sums: a factor of two either way is the same mistake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dataplane.contract import Outcome

if TYPE_CHECKING:
    from dataplane.contract import Requests
    from models.base import Floats

BLOCK_S = 5.0
"""Queues remember for a second or two, and blocks should not share their luck."""
LEAST_ATTEMPTS = 5.0
"""In a block, of an endpoint that counts."""
LEAST_ERROR = 0.01
"""Errors below one percent are alike: a ratio of two of them says nothing."""
_SHORTEST_S = 1e-6


class Scores:
    """Sums of the open block, by endpoint slot."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._tick = np.zeros((2, slots))  # since the last tick: attempts that ended well, and their seconds
        self._expected: dict[str, Floats] = {}  # of one attempt, by model
        self.begin()

    def begin(self) -> None:
        """Begin a block: also when the models that are scored changed."""
        self._seen = np.zeros((2, self._slots))
        self._foreseen: dict[str, Floats] = {}
        self._began: float | None = None

    def resize(self, slots: int) -> None:
        """Other members: the open block is given up."""
        self._slots, self._tick, self._expected = slots, np.zeros((2, slots)), {}
        self.begin()

    def told(self, batch: Requests) -> None:
        """Count the attempts that ended well."""
        endpoint, took = batch.endpoint, batch.duration_s
        good = (
            (batch.outcome == Outcome.OK) & (endpoint >= 0) & (endpoint < self._slots) & (took >= 0) & (took < np.inf)
        )
        endpoint = endpoint[good]
        self._tick[0] += np.bincount(endpoint, minlength=self._slots)
        self._tick[1] += np.bincount(endpoint, weights=took[good], minlength=self._slots)

    def tick(self, expect: dict[str, Floats], now: float) -> dict[str, float] | None:
        """Close a tick: what ended in it was expected at the last one; `expect` is of the next.

        Returns each model's error when this closed a block in which it can be told. An endpoint counts only while all
        models expect something of it.
        """
        before, self._expected = self._expected, expect
        (count, took), self._tick = self._tick, np.zeros((2, self._slots))
        if before.keys() != expect.keys():
            self.begin()
        if self._began is None:
            self._began = now
            return None
        known = np.all([np.isfinite(e) for e in before.values()], axis=0)
        self._seen += np.where(known, (count, took), 0.0)
        for name, expected in before.items():
            more = np.where(known, count * np.maximum(expected, _SHORTEST_S), 0.0)
            self._foreseen[name] = self._foreseen[name] + more if name in self._foreseen else more
        return self._close(now) if now - self._began >= BLOCK_S else None

    def _close(self, now: float) -> dict[str, float] | None:
        (count, took), foreseen = self._seen, self._foreseen
        enough = (count >= LEAST_ATTEMPTS) & (took > 0)
        self.begin()
        self._began = now
        if not enough.any():
            return None
        return {
            name: max(LEAST_ERROR, float(np.abs(np.log(took[enough] / expected[enough])).mean()))
            for name, expected in foreseen.items()
        }
