"""How often what came lay within the band that was said before: a model's calibration.

Our models of latency say what an attempt takes and no interval, so the band is made of each one's own past errors, as
split conformal prediction makes it (Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005): of n
errors that are alike, the next lies between the k-th and the k-th last with a chance of (n + 1 - 2 k) / (n + 1). Every
second of an endpoint is held against the band before it goes into it. A share far from 0.9 says that errors are not
alike: the world has changed, or the model is surer of some endpoints than of others. How wide the band is says what
the share is worth, so the two are told together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from models.base import Floats, State

PAST, LEAST_PAST = 300, 60
"""Errors that a band is made of, at most and at least."""
A_TICK = 30
"""Of them from one tick at most, taken from all endpoints in turn: a band is of some time, not of a moment."""
LEAST = 60.0
"""Errors held against a band before the share is told."""
TAIL = 0.05


class Held(NamedTuple):
    """The share of what was seen that the 90 % band held, and the band now, as seen over expected."""

    share: float
    low: float
    high: float


class Calibration:
    """One model's. Errors are log(seen / expected)."""

    def __init__(self) -> None:
        self._past: Floats = np.zeros(0)  # the newest last
        self._sums = np.zeros(2)  # inside the band, of how many; both fade
        self._at = 0.0

    def add(self, errors: Floats, now: float, half_life_s: float = math.inf) -> None:
        """Hold a tick's errors against the band, shape (any,), and let some of them into it."""
        if not len(errors):
            return
        band = self._band()
        if band is not None:
            low, high = band
            inside = float(((low <= errors) & (errors <= high)).sum())
            fade = 0.5 ** (max(0.0, now - self._at) / half_life_s)
            self._sums = self._sums * fade + (inside, float(len(errors)))
            self._at = now
        step = -(-len(errors) // A_TICK)
        self._past = np.concatenate([self._past, errors[int(now) % step :: step]])[-PAST:]

    def held(self) -> Held | None:
        """None when too little was held against a band."""
        band = self._band()
        inside, of = self._sums.tolist()
        return None if band is None or of < LEAST else Held(inside / of, math.exp(band[0]), math.exp(band[1]))

    def _band(self) -> tuple[float, float] | None:
        n = len(self._past)
        if n < LEAST_PAST:
            return None
        k = int(TAIL * (n + 1))
        ordered = np.sort(self._past)
        return float(ordered[k - 1]), float(ordered[n - k])

    def state(self) -> State:
        """Plain arrays and a number."""
        return {"past": self._past.copy(), "sums": self._sums.copy(), "at": self._at}

    @staticmethod
    def of(state: Mapping[str, Any]) -> Calibration:
        """The one that was kept. KeyError, TypeError or ValueError when the state is odd."""
        past, sums, at = np.array(state["past"], float), np.array(state["sums"], float), float(state["at"])
        finite = np.isfinite(past).all() and np.isfinite(sums).all() and math.isfinite(at)
        if past.ndim != 1 or len(past) > PAST or sums.shape != (2,) or not finite:
            raise ValueError("a calibration is finite: past errors, two sums and a time")
        out = Calibration()
        out._past, out._sums, out._at = past, sums, at
        return out
