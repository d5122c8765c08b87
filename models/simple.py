"""The simple estimate of capacity: how fast an endpoint answers now, and nothing else.

    capacity = lanes / R * (share of good answers) ** error_exponent

with `R` the mean latency of good answers within the features' few seconds, or the time that open requests have been
stuck if that is longer. It has no memory, no curve and nothing to be wrong about for long: it is what the brain falls
back to when a better model has drifted, and what a better model has to beat. It takes a queue for slowness.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from models.base import Floats, Prediction, State, check_state

LANES = 4.0
"""Requests that an endpoint is taken to work on at once. The same for all, so no ratio depends on it."""

_Z90 = 1.645
_SHORTEST_S = 1e-6


class Simple:
    """Capacity by endpoint from the features of this moment: one row each.

    >>> simple = Simple(slots=2)
    >>> one = dict(latency_s=[0.1, 0.1], latency_sd_s=[0.1, 0.1], error_share=[0.0, 0.5])
    >>> two = dict(samples=[50.0, 50.0], stuck_s=[0.0, 0.0])
    >>> simple.learn_many(**{name: np.array(column) for name, column in (one | two).items()}, now=10.0)
    >>> simple.predict_many().value
    array([40., 10.])
    """

    columns: ClassVar[tuple[str, ...]] = ("latency_s", "latency_sd_s", "error_share", "samples", "stuck_s")
    """The columns of `EndpointFeatures` that `learn_many` takes, by name."""

    def __init__(self, slots: int, *, error_exponent: float = 2.0) -> None:
        self.error_exponent = error_exponent
        self._latency = np.full(slots, np.nan)
        self._error = np.zeros(slots)  # its relative standard error
        self._good = np.zeros(slots)  # success share, to the power
        self._count = np.zeros(slots)

    def learn_many(
        self,
        *,
        latency_s: Floats,
        latency_sd_s: Floats,
        error_share: Floats,
        samples: Floats,
        stuck_s: Floats,
        now: float,
    ) -> None:
        """Take in one frozen set of columns, each of shape (slots,); NaN is unknown. ValueError when one is not."""
        given = (latency_s, latency_sd_s, error_share, samples, stuck_s)
        if any(np.shape(column) != self._latency.shape for column in given):
            raise ValueError(f"columns of shapes {[np.shape(c) for c in given]} for {self._latency.size} slots")
        stuck = np.where(stuck_s > _SHORTEST_S, stuck_s, np.nan)
        latency = np.fmax(np.where(latency_s > _SHORTEST_S, latency_s, np.nan), stuck)
        self._latency = np.where(np.isfinite(latency), latency, np.nan)
        self._count = np.where(np.isfinite(samples), np.maximum(samples, 0.0), 0.0)
        self._count = np.maximum(self._count, np.isfinite(stuck))  # a hang is evidence too
        spread = np.where(np.isfinite(latency_sd_s), latency_sd_s, 0.0) / np.maximum(self._latency, _SHORTEST_S)
        self._error = np.sqrt((spread**2 + 1.0 / (self._count + 1.0)) / (self._count + 1.0))
        failing = np.where(np.isfinite(error_share), np.clip(error_share, 0.0, 1.0), 0.0)
        self._good = (1.0 - failing) ** self.error_exponent

    def predict_many(self) -> Prediction:
        """Attempts a second each bears, with a 90 % interval. NaN where nothing was seen lately."""
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.maximum(LANES / self._latency * self._good, 1e-3)
        return self._within(np.where(self._count >= 1.0, value, np.nan))

    def service_times(self) -> Prediction:
        """Seconds of an average request at an idle endpoint: taken as what it takes now."""
        return self._within(np.where(self._count >= 1.0, self._latency, np.nan))

    def curve(self, found: Floats) -> Floats:
        """Mean latency of a request that finds this many at its endpoint: what it takes now, whatever it finds."""
        return np.where(self._count >= 1.0, self._latency, np.nan) + 0.0 * found

    def resize(self, slots: int) -> None:
        """Have room for this many endpoints."""
        more = slots - self._latency.size
        if more > 0:
            self._latency = np.pad(self._latency, (0, more), constant_values=np.nan)
            self._error, self._good, self._count = (
                np.pad(a, (0, more)) for a in (self._error, self._good, self._count)
            )

    def state(self) -> State:
        """A row per slot; one that nothing is known of is zeros."""
        arrays = {"latency": np.nan_to_num(self._latency), "error": self._error.copy()}
        return {"error_exponent": self.error_exponent, **arrays, "good": self._good.copy(), "count": self._count.copy()}

    def restore(self, state: State) -> None:
        """Take up a state. ValueError, and unchanged, when slots or parameters are not these."""
        like = {"latency": self._latency, "error": self._error, "good": self._good, "count": self._count}
        check_state(state, like, error_exponent=self.error_exponent)
        latency, self._error, self._good, self._count = (np.array(state[name], dtype=np.float64) for name in like)
        self._latency = np.where(latency > 0, latency, np.nan)

    def _within(self, value: Floats) -> Prediction:
        reach = np.exp(_Z90 * np.minimum(np.nan_to_num(self._error, nan=5.0), 5.0))
        return Prediction(value=value, low=value / reach, high=value * reach, count=self._count.copy())
