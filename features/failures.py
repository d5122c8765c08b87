"""What share of an endpoint's attempts fails: over a long time while it stays so, and at once when it does not.

The long window tells five failures in a hundred from three, so that luck moves no weight. An endpoint that begins to
fail, or stops failing, is found by `models.change`: four failures in a row are enough where there were none, and what
is known starts again from them. Peers need no comparing here: a share that all endpoints have cuts all of them alike.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from features.levels import HALF_LIFE_S, QUANTUM_S
from models.base import Floats, Ints, State, check_state
from models.change import Changes
from models.decay import ForwardDecay, When

SHIFT = 0.5
"""The change of share that is looked for; below half of it nothing adds up."""

_VARIANCE = 0.15
"""Of one attempt's failing, about midway between never and half the time: a single failure is no change."""


class Failures:
    """By endpoint: decayed attempts and failures."""

    def __init__(self, slots: int, half_life_s: float = HALF_LIFE_S) -> None:
        self._decay = ForwardDecay(half_life_s)
        self._slow = np.zeros((slots, 2))
        self._run = np.zeros((slots, 2))
        self._new = np.zeros((slots, 2))
        self._changes = Changes(slots, shift=SHIFT)
        self._share = np.full(slots, np.nan)
        self._portion = -math.inf

    def told(self, endpoint: NDArray[np.integer], failed: NDArray[np.bool_], when: When) -> None:
        """Attempts that ended, each well or not."""
        for rows, now in when.runs(QUANTUM_S):
            if now // QUANTUM_S != self._portion:
                self._fold()
                self._portion = now // QUANTUM_S
            np.add.at(self._new[:, 0], endpoint[rows], 1.0)
            np.add.at(self._new[:, 1], endpoint[rows][failed[rows]], 1.0)

    def _fold(self) -> None:
        count, failed = self._new.T
        if not count.any():
            return
        now = self._portion * QUANTUM_S
        self._slow *= self._decay.admit(now)
        weight = self._decay.weight(now)
        self._slow += self._new * weight
        known = np.where(np.isnan(self._share), 0.0, count)
        before = self._changes.leaning()
        beyond = np.where(known > 0, failed - count * self._share, 0.0)
        verdict = self._changes.learn_many(known, beyond, np.full(count.size, _VARIANCE))
        self._run[(before == 0) | (self._changes.leaning() != before)] = 0.0
        self._run += self._new
        certain = verdict != 0
        if certain.any():
            self._slow[certain] = self._run[certain] * weight
            self._share[certain] = self._run[certain, 1] / self._run[certain, 0]
            self._run[certain] = 0.0
            self._changes.forget(certain)
        self._new[:] = 0.0

    def freeze(self, now: float) -> tuple[Floats, Floats]:
        """Share and count by endpoint; NaN and less than one attempt where nothing is known. Shape (slots,) each."""
        self._fold()
        count, failed = self._slow.T / self._decay.weight(now)
        self._share = np.divide(failed, count, out=np.full_like(count, np.nan), where=count > 0.01)
        return np.clip(self._share, 0.0, 1.0), count.copy()

    def begin(self, endpoints: Ints) -> None:
        """These are new."""
        self._slow[endpoints] = self._run[endpoints] = self._new[endpoints] = 0.0
        self._share[endpoints] = np.nan
        self._changes.forget(endpoints)

    def resize(self, slots: int) -> None:
        """Have room for this many."""
        more = max(slots - self._share.size, 0)
        self._slow, self._run, self._new = (np.pad(a, ((0, more), (0, 0))) for a in (self._slow, self._run, self._new))
        self._share = np.pad(self._share, (0, more), constant_values=np.nan)
        self._changes.resize(slots)

    def state(self) -> State:
        """A row per endpoint."""
        return {
            "half_life_s": self._decay.half_life_s,
            "landmark": self._decay.landmark,
            "slow": self._slow.copy(),
        }

    def restore(self, state: State, left: float, now: float) -> None:
        """Take up a state kept at `left`. ValueError, and unchanged, when it is of another shape."""
        check_state(state, {"slow": self._slow}, "landmark", half_life_s=self._decay.half_life_s)
        self._slow = np.array(state["slow"], dtype=np.float64)
        self._decay.landmark = float(state["landmark"]) + min(now - left, 0.0)
