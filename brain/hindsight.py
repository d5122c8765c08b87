"""How well demand was foretold: each forecast is held against what was asked when its time had come.

What is foretold at second `s` for `h` seconds ahead comes due at `s + h`, so the forecasts of one horizon wait in a
ring of `h` places: the place that is read at a second is the one that the next forecast takes. All rings are one array,
and a step is a handful of operations over it however many services there are.

An error alone says little of a service that is asked ten or ten thousand times a second. So the last value is held
against the same seconds: whoever foretells the present does as well as that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from dataplane.contract import Topology
    from models.base import Floats, State

HORIZONS_S = (1.0, 10.0, 60.0, 300.0)
"""Seconds ahead, the first of `brain.demand.AHEAD_S`: beyond, too few come due for the last hour to tell anything."""
HALF_LIFE_S = 600.0
LEAST = 30.0
"""Forecasts that came due, as many as the faded ones are worth, before anything is told."""

_VALUE, _LOW, _HIGH, _LAST = range(4)


@dataclass(frozen=True, slots=True)
class ForetoldView:
    """How well one service's demand was foretold so far ahead."""

    service: str
    ahead_s: float
    count: float  # forecasts that came due, as many as the faded ones are worth
    error_per_s: float  # mean of |asked - foretold|, requests a second
    against_last: float | None  # ratio of it to the error of the last value; None: that was right throughout
    inside_90: float  # share of what was asked that lay within the 90 % interval


class Hindsight:
    """Of so many services."""

    def __init__(self, services: int) -> None:
        self._ahead = np.array(HORIZONS_S, dtype=np.int64)
        self._first = np.cumsum(self._ahead) - self._ahead
        places = int(self._ahead.sum())
        self._due = np.full(places, -1)  # the second that a place's forecasts are of
        self._said = np.full((places, 4, services), np.nan)
        self._sums = np.zeros((4, len(HORIZONS_S), services))  # count, error, the last value's error, inside; they fade
        self._at = 0.0

    def step(self, asked: Floats, said: Floats, now: float) -> None:
        """Score what comes due now, and keep what is foretold.

        `asked`: requests a second, shape (services,), NaN for unknown. `said`: value, low and high for `HORIZONS_S`
        ahead, shape (horizons, 3, services), NaN for unknown.
        """
        second = round(now)
        places = self._first + second % self._ahead
        kept = self._said[places]
        apart = np.abs(kept - asked)
        known = np.isfinite(apart).all(axis=1) & (self._due[places] == second)[:, None]
        self._sums *= 0.5 ** (max(0.0, now - self._at) / HALF_LIFE_S)
        inside = (kept[:, _LOW] <= asked) & (asked <= kept[:, _HIGH])
        self._sums[0] += known
        self._sums[1] += np.where(known, apart[:, _VALUE], 0.0)
        self._sums[2] += np.where(known, apart[:, _LAST], 0.0)
        self._sums[3] += known & inside
        self._said[places, :_LAST] = said
        self._said[places, _LAST] = asked
        self._due[places] = second + self._ahead
        self._at = now

    def views(self, topology: Topology) -> tuple[ForetoldView, ...]:
        """Of each service and horizon of which enough came due."""
        told = []
        for s in topology.services:
            for k, ahead_s in enumerate(HORIZONS_S):
                count, error, last, inside = self._sums[:, k, s.id].tolist()
                if count >= LEAST:
                    ratio = error / last if last > 0 else None
                    told.append(ForetoldView(s.name, ahead_s, count, error / count, ratio, inside / count))
        return tuple(told)

    def resize(self, services: int) -> None:
        """Have room for more."""
        more = services - self._sums.shape[2]
        if more > 0:
            self._said = np.pad(self._said, ((0, 0), (0, 0), (0, more)), constant_values=np.nan)
            self._sums = np.pad(self._sums, ((0, 0), (0, 0), (0, more)))

    def state(self) -> State:
        """The scores, a row a service. Forecasts that wait are not kept: after a restart seconds were missed."""
        return {"sums": np.moveaxis(self._sums, 2, 0).copy(), "at": self._at}

    def restore(self, state: Mapping[str, Any], rows: Any, ours: Any) -> None:
        """Take up the scores that were kept: row `rows[i]` is of service slot `ours[i]`. ValueError when it is odd."""
        sums, at = np.array(state["sums"], dtype=np.float64), float(state["at"])
        if sums.shape[1:] != self._sums.shape[:2] or not np.isfinite(sums).all() or not np.isfinite(at):
            raise ValueError(f"scores of forecasts have shape {sums.shape}, or are no numbers")
        self._sums[:, :, ours] = np.moveaxis(sums[rows], 0, 2)
        self._at = at
