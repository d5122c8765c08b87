"""The course of a stream: what was expected of each value, and how its unrest and its time of day stand.

Expected is what did best of late: the last value, a quick or a slow moving average, or what is usual at this time of
the day. Unrest is how much steps differ from one to the next, against how much they did for long. The usual day moves
by a bounded amount only, so that no outage becomes a part of it. NaN where it is not known yet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.base import Floats
from models.columns import Columns

LEAST_SEEN = 64
SLOTS = 48
"""Parts of a day at most."""

_RATES = np.array([0.3, 0.03])
_UNREST_RATES = np.array([1 / 32, 1 / 512])
_ERROR_RATE = 0.02
_TRUST = 4.0
"""Who errs half as much is believed this power of two as much."""
_DAY_RATE = 0.3
_DAY_BOUND = 4.0
"""Usual errors that a value may move the day by, before the rate."""
_DAY_ERROR_RATE = 0.01
_CALM = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Stand:
    """Of one step, each (n,)."""

    expected: Floats
    unrest: Floats  # a logarithm
    from_day: Floats  # distance from what is usual at this time
    change: Floats  # usual distance of one step from the next


class Course(Columns):
    """Of many streams. `steps_per_day`: None where there is no season."""

    seen: Floats
    last: Floats
    level: Floats  # moving averages at `_RATES`
    change: Floats  # moving averages of how much steps differ, at `_UNREST_RATES`
    error: Floats  # of each way to expect
    day: Floats  # what is usual, by part of the day
    days: Floats  # values behind it
    day_error: Floats

    def __init__(self, streams: int, steps_per_day: int | None) -> None:
        self._steps = steps_per_day or 0
        self._slots = min(self._steps, SLOTS)
        super().__init__(
            streams,
            seen=(),
            last=(),
            level=(2,),
            change=(2,),
            error=(4,),
            day=(self._slots,),
            days=(self._slots,),
            day_error=(),
        )

    def learn_many(self, values: Floats, step: int) -> Stand:
        """Take values in, NaN for not seen, at a step that tells the time of day."""
        seen, usual = np.isfinite(values), self._usual(step)
        first, count = seen & (self.seen == 0), np.maximum(self.seen, 1.0)
        value = np.where(seen, values, self.last)
        ways = np.stack([self.last, *self.level.T, np.where(np.isfinite(usual), usual, self.level[:, 1])], axis=1)
        errors = np.maximum(self.error, 1e-200)
        trust = (errors.min(axis=1, keepdims=True) / errors) ** _TRUST
        expected = np.where(self.seen > 0, (trust * ways).sum(axis=1) / trust.sum(axis=1), np.nan)

        later = seen & ~first
        step_by = np.abs(value - self.last)
        self.change += _rate(later, count, _UNREST_RATES) * (step_by[:, None] - self.change)
        self.error += _rate(later, count, np.array([_ERROR_RATE])) * (np.abs(value[:, None] - ways) - self.error)
        self.level += _rate(seen, self.seen + 1, _RATES) * (value[:, None] - self.level)
        quick, slow = self.change.T
        with np.errstate(divide="ignore", invalid="ignore"):
            unrest = np.log((quick + _CALM * slow) / slow)
        unrest = np.where(later & (self.seen >= LEAST_SEEN) & (slow > 0), unrest, np.nan)
        from_day = np.where(seen, values - usual, np.nan)
        if self._slots:
            self._learn_day(value, seen, from_day, step)
        self.last = value
        self.seen += seen
        return Stand(expected, unrest, from_day, slow.copy())

    def _slot(self, step: int) -> int:
        return step % self._steps * self._slots // self._steps

    def _usual(self, step: int) -> Floats:
        """NaN before a whole day was seen."""
        if not self._slots:
            return np.full(self.rows, np.nan)
        slot = self._slot(step)
        return np.where((self.seen >= self._steps) & (self.days[:, slot] > 0), self.day[:, slot], np.nan)

    def _learn_day(self, value: Floats, seen: Floats, off: Floats, step: int) -> None:
        slot, per = self._slot(step), self._steps / self._slots
        known, off = np.isfinite(off), np.nan_to_num(off)
        bound = _DAY_BOUND * self.day_error
        # A part of the first day is the plain mean of it.
        first = seen & ~known
        self.days[:, slot] += seen
        move = (value - self.day[:, slot]) / np.maximum(self.days[:, slot], 1.0)
        later = (1.0 - (1.0 - _DAY_RATE) ** (1.0 / per)) * np.clip(off, -bound, bound)
        self.day[:, slot] += np.where(first, move, np.where(known, later, 0.0))
        # In the beginning nothing is usual; and an outage must not widen the bound that it is held by.
        missed = np.minimum(np.abs(off), 3.0 * bound)
        self.day_error = np.where(
            known,
            np.where(self.day_error == 0, np.abs(off), self.day_error + _DAY_ERROR_RATE * (missed - self.day_error)),
            self.day_error,
        )


def _rate(learning: Floats, count: Floats, rates: Floats) -> Floats:
    """Plain means at first, moving averages when enough was seen; (n, rates)."""
    return np.where(learning[:, None], np.maximum(rates, 1.0 / np.maximum(count, 1.0)[:, None]), 0.0)
