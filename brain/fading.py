"""The mean of numbers that come one at a time and fade, with Student's 95 % interval: what few, costly readings say.

Decayed by time with a half-life. What n faded numbers are worth is (sum d)^2 / sum d^2, and that is the n of the
interval; the variance is the decayed one. Both evidence by pairs of blocks (`brain.switchback`) and contests between
models (`brain.champion`) are such means, of log ratios.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from brain.proof import student

FARTHEST = 700.0
"""Numbers are kept within this of 0: a log ratio beyond it cannot be raised again."""


class Interval(NamedTuple):
    """A mean and where it lies with 95 % confidence."""

    mean: float
    low: float
    high: float


class FadingMean:
    """Numbers that fade with a half-life given at each `add`."""

    def __init__(self) -> None:
        self._sums = np.zeros(4)  # decay, its square, decayed number, decayed square of it
        self._at = 0.0  # when the sums were last brought up to date

    @property
    def worth(self) -> float:
        """How many fresh numbers the faded ones are worth."""
        decay, squares = self._sums[:2].tolist()
        return decay * decay / squares if squares > 0 else 0.0

    def add(self, number: float, now: float, half_life_s: float) -> None:
        """One more."""
        fade = 0.5 ** (max(0.0, now - self._at) / half_life_s)
        number = max(-FARTHEST, min(FARTHEST, number))
        self._sums = self._sums * (fade, fade * fade, fade, fade) + (1.0, 1.0, number, number * number)
        self._at = now

    def interval(self, least: float) -> Interval | None:
        """The mean with its interval; None when all there is is worth less than `least` numbers (or than two)."""
        n = self.worth
        if n < max(least, 1.5):
            return None
        decay, _, total, total_sq = self._sums.tolist()
        mean = total / decay
        variance = max(0.0, total_sq / decay - mean * mean) / (n - 1)
        reach = float(student(np.array(n - 1))) * math.sqrt(variance)
        return Interval(mean, max(mean - reach, -FARTHEST), min(mean + reach, FARTHEST))

    def forget(self) -> None:
        """Start anew."""
        self._sums = np.zeros(4)

    def state(self) -> dict[str, Any]:
        """Plain numbers."""
        return {"sums": self._sums.copy(), "at": self._at}

    def restore(self, state: dict[str, Any], now: float) -> None:
        """Take up a state that `check` passed; it fades with the next number."""
        self._sums, self._at = state["sums"].copy(), min(state["at"], now)

    @staticmethod
    def check(state: dict[str, Any]) -> dict[str, Any]:
        """The state with every value in its type. KeyError, TypeError or ValueError when one is missing or odd."""
        sums, at = np.array(state["sums"], dtype=np.float64), float(state["at"])
        if sums.shape != (4,) or not (np.isfinite(sums).all() and math.isfinite(at)):
            raise ValueError("the evidence of a mean is four finite sums and a time")
        return {"sums": sums, "at": at}
