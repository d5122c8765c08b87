"""The plain ways to foretell demand, and river's: each learns one series a step at a time.

All get their quantiles the same way: from their own last 600 errors at that horizon.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from river import linear_model, time_series

from bench.demand_score import HORIZONS, LEVELS, Floats, Ints

ERRORS_KEPT = 600


class Rival(Protocol):
    """One way to foretell a series."""

    def learn(self, value: float) -> None:
        """A step; a missing one is NaN."""

    def ask(self) -> Sequence[float]:
        """The counts at each of `HORIZONS`; NaN before it knows anything."""


class Ewma:
    """An exponentially weighted mean; at a rate of 1 the last value."""

    def __init__(self, rate: float) -> None:
        self.rate, self.level = rate, math.nan

    def learn(self, value: float) -> None:
        """A missing step teaches nothing."""
        if math.isnan(value):
            return
        self.level = value if math.isnan(self.level) else self.level + self.rate * (value - self.level)

    def ask(self) -> Sequence[float]:
        """The same at each horizon."""
        return [self.level] * len(HORIZONS)


class SeasonalNaive:
    """What was counted at that time yesterday; the last value until then."""

    def __init__(self, day: int) -> None:
        self.day, self.past, self.last = day, deque[float](maxlen=day), math.nan

    def learn(self, value: float) -> None:
        """Keeps a day."""
        self.last = self.last if math.isnan(value) else value
        self.past.append(self.last)

    def ask(self) -> Sequence[float]:
        """Of a day ago, or the last value."""
        full = len(self.past) == self.day > HORIZONS[-1]
        return [self.past[h - 1] if full else self.last for h in HORIZONS]


class OfRiver:
    """A forecaster of river. A missing step is told as the one before: river knows no other way."""

    def __init__(self, model: Any, *, warm: int) -> None:
        self.model, self.warm, self.seen, self.last = model, warm, 0, math.nan

    def learn(self, value: float) -> None:
        """A step."""
        self.last = self.last if math.isnan(value) else value
        if not math.isnan(self.last):
            self.model.learn_one(self.last)
            self.seen += 1

    def ask(self) -> Sequence[float]:
        """Counts are not negative; what is no number is said as the largest float, so that it is scored."""
        if self.seen <= self.warm:
            return [math.nan] * len(HORIZONS)
        said = self.model.forecast(horizon=HORIZONS[-1])
        return [max(0.0, said[h - 1]) if math.isfinite(said[h - 1]) else 1e300 for h in HORIZONS]


class WithAllLags:
    """A regressor of river that is left alone until every lag is there: its Bayesian one fails on a row of none."""

    def __init__(self, regressor: Any, lags: int) -> None:
        self.regressor, self.lags = regressor, lags

    def learn_one(self, x: dict[str, float], y: float) -> None:
        """A whole row."""
        if len(x) >= self.lags:
            self.regressor.learn_one(x, y)

    def predict_one(self, x: dict[str, float]) -> float:
        """0 for a row that is not whole."""
        return float(self.regressor.predict_one(x)) if len(x) >= self.lags else 0.0


def rivals(day: int) -> dict[str, Callable[[], Rival]]:
    """Each by name. `day`: steps in a day."""

    def holt_winters() -> Rival:
        season = {"seasonality": day, "gamma": 0.1} if day > 1 else {}
        return OfRiver(time_series.HoltWinters(alpha=0.3, beta=0.01, **season), warm=2 * day)

    def snarimax() -> Rival:
        regressor = (
            linear_model.BayesianLinearRegression()
        )  # no scaler: it has no intercept, so lags must keep their level
        model = time_series.SNARIMAX(p=12, d=0, q=0, m=day, sp=1, regressor=WithAllLags(regressor, 13))
        return OfRiver(model, warm=day + 24)

    return {
        "last value": lambda: Ewma(1.0),
        "seasonal naive": lambda: SeasonalNaive(day),
        "ewma 0.3": lambda: Ewma(0.3),
        "ewma 0.1": lambda: Ewma(0.1),
        "river HoltWinters": holt_winters,
        "river SNARIMAX + BLR": snarimax,
    }


def follow(rival: Rival, values: Floats, origins: Ints) -> Floats:
    """What it foretold at the origins, (levels, horizons, origins), its middle as it said it."""
    out = np.full((len(LEVELS), len(HORIZONS), len(origins)), np.nan)
    errors = [deque[float](maxlen=ERRORS_KEPT) for _ in HORIZONS]
    waiting: dict[int, Sequence[float]] = {}
    place = {int(at): k for k, at in enumerate(origins)}
    # Nobody asks before, but the errors that quantiles are made of have to be known by then.
    ask_from = int(origins[0]) - ERRORS_KEPT - HORIZONS[-1]
    for i, value in enumerate(values.tolist()):
        rival.learn(value)
        if i < ask_from:
            continue
        for k, h in enumerate(HORIZONS):
            said = waiting.get(i - h)
            if said is not None and math.isfinite(value) and math.isfinite(said[k]):
                errors[k].append(value - said[k])
        waiting.pop(i - HORIZONS[-1], None)
        waiting[i] = rival.ask()
        if i in place:
            for k, middle in enumerate(waiting[i]):
                out[0, k, place[i]] = middle
                if errors[k]:
                    out[1:, k, place[i]] = np.maximum(0.0, middle + np.quantile(errors[k], LEVELS[1:]))
    return out
