"""How well each model foresees: what it expected of the attempts of a block, against what they took.

At each tick, before it learns from them, every model says how long the attempts that ended since the last one should
have taken, given how many requests were open at their endpoint; so nobody is scored on what it has learned from
(prequential scoring: Dawid, "Statistical Theory: the prequential approach", JRSS A 1984). What was open is given
because it is no merit to guess a queue that is there anyway: a model is to know what a queue costs. Over a block a
model's error is the mean over endpoints of |log(seen / expected)|, by an endpoint's sums: a factor of two either way is
the same mistake. `apart` has the same of the tick alone, with its sign, for `brain.calibration`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from dataplane.contract import Outcome
from features.together import Waiting, in_turn

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
    """Sums by endpoint slot: of the tick, and of the open block."""

    def __init__(self, slots: int) -> None:
        self.apart: dict[str, Floats] = {}  # of the last tick, by model: log(seen / expected) of endpoints that count
        self.resize(slots)

    def resize(self, slots: int) -> None:
        """Other members: the open block is given up."""
        self._tick = np.zeros((2, slots))  # attempts that ended well since the last tick, and their seconds
        self._waiting = Waiting()  # to be counted
        self._begin((), 0.0)

    def told(self, batch: Requests) -> None:
        """Count the attempts that ended well."""
        if self._waiting.add(batch.outcome, batch.endpoint, batch.duration_s):
            self._count()

    def _count(self) -> None:
        waiting = self._waiting.take()
        if waiting is None:
            return
        (outcome, endpoint, took_s), of, many = waiting
        slots = self._tick.shape[1]
        good = (outcome == Outcome.OK) & (endpoint >= 0) & (endpoint < slots) & (took_s >= 0) & (took_s < np.inf)
        cell = of[good] * slots + endpoint[good]
        for row, weights in enumerate((None, took_s[good])):
            parts = np.bincount(cell, weights, minlength=many * slots).reshape(-1, slots)
            self._tick[row] = in_turn(self._tick[row], parts)

    def tick(self, expected_s: Mapping[str, Floats], now: float) -> dict[str, float] | None:
        """Close a tick. `expected_s`: what each model says that an attempt of it takes, shape (slots,).

        Returns each model's error when this closed a block in which it can be told. An endpoint counts only while all
        models expect something of it. Other members or other models begin another block.
        """
        self._count()
        if expected_s.keys() != self._expected.keys():
            self._begin(expected_s, now)
        known = np.all([np.isfinite(e) for e in expected_s.values()], axis=0)
        ended = np.where(known, self._tick, 0.0)
        self._tick[:] = 0.0
        self._seen += ended
        rows = np.flatnonzero((ended[0] >= LEAST_ATTEMPTS) & (ended[1] > 0))
        mean_s = ended[1, rows] / ended[0, rows]
        self.apart = {}
        for name, expected in expected_s.items():
            sane = np.clip(expected, _SHORTEST_S, 1e9)
            self._expected[name] += ended[0] * np.where(known, sane, 0.0)
            self.apart[name] = np.log(mean_s / sane[rows])
        return self._close(now) if now - self._began >= BLOCK_S else None

    def _begin(self, names: Iterable[str], now: float) -> None:
        self._began, self._seen = now, np.zeros_like(self._tick)
        self._expected = {name: np.zeros(self._tick.shape[1]) for name in names}

    def _close(self, now: float) -> dict[str, float] | None:
        (count, took_s), sums = self._seen, self._expected
        self._begin(sums, now)
        enough = (count >= LEAST_ATTEMPTS) & (took_s > 0)
        if not enough.any():
            return None
        return {
            name: max(LEAST_ERROR, float(np.abs(np.log(took_s[enough] / expected_s[enough])).mean()))
            for name, expected_s in sums.items()
        }
