"""Has a model's error left its own history? Page's test, on numbers in units of their own spread.

Hinkley's form of the cumulative sum (Page, "Continuous inspection schemes", Biometrika 1954; Hinkley, "Inference about
the change-point from cumulative sum tests", Biometrika 1971), one-sided: how far each number lies above the mean so
far, less a slack, is summed, and the sum never falls below zero. Mean and spread are the history's, which fades slowly,
so that a slow season is followed and a jump is not. One number counts as at most `MOST` spreads: a single bad block, as
any fault makes while it is new, says nothing yet.
"""

from __future__ import annotations

import math
from typing import Any

SLACK = 1.0
"""Spreads above the mean that are no drift."""
MOST = 4.0
"""Spreads that one number counts as at most: with the slack, three bad blocks in a row at least."""
BOUND = 8.0
"""Summed spreads that are drift. With slack 1, normal noise passes this about once in 10^7 numbers."""
LEAST = 12
"""Numbers of history before any is judged."""
MEMORY = 720
"""Numbers that the history is worth at most: an hour of blocks of 5 s."""
LEAST_SPREAD = 0.05
"""A history more even than this is taken as this uneven."""


class Drift:
    """Page's test on one series."""

    def __init__(self) -> None:
        self._seen, self._mean, self._square = 0.0, 0.0, 0.0
        self._sum = 0.0

    @property
    def usual(self) -> float:
        """The history's mean."""
        return self._mean

    def add(self, number: float) -> bool:
        """Take one number; True when the series has drifted upwards. It stays True until a new test is made."""
        if self._seen >= LEAST:
            spread = max(math.sqrt(max(self._square - self._mean**2, 0.0)), LEAST_SPREAD)
            number = min(number, max(self._mean, 0.0) + MOST * spread)
            # A history below zero is one of doing better than the reference: no drift before it does worse.
            self._sum = max(0.0, self._sum + (number - max(self._mean, 0.0)) / spread - SLACK)
        self._seen = min(self._seen + 1, MEMORY)
        self._mean += (number - self._mean) / self._seen
        self._square += (number * number - self._square) / self._seen
        return self._sum > BOUND

    def state(self) -> dict[str, Any]:
        """Plain numbers."""
        return {"seen": self._seen, "mean": self._mean, "square": self._square, "sum": self._sum}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state. KeyError, TypeError or ValueError, and unchanged, when a number is missing or odd."""
        seen, mean, square, total = (float(state[name]) for name in ("seen", "mean", "square", "sum"))
        if not (math.isfinite(mean + square) and 0 <= seen <= MEMORY and 0 <= total < math.inf):
            raise ValueError("a drift test is four finite numbers")
        self._seen, self._mean, self._square, self._sum = seen, mean, square, total
