"""What is foretold of arrivals, and the verbs of whoever foretells: the interface between demand and those who use it.

Demand is told as counts: how many requests arrived at each service in a step of time. What was not seen is NaN and
never 0: a gap in telemetry is no quiet. A forecast is in requests a second, by service and horizon, with the ends of a
90 % interval and the 99th percentile, because who guards capacity asks for more than the middle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from models.base import Floats, State


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """Arrivals ahead, requests a second. Shape (services, horizons) each; NaN throughout a row that is not ready."""

    ahead_s: Floats  # shape (horizons,): the mean rate over the step that ends so far ahead
    value: Floats  # the median
    low: Floats  # of a 90 % interval
    high: Floats
    p99: Floats
    count: Floats  # shape (services,): steps that it was learned from


class Forecaster(Protocol):
    """Learns a service's arrivals a step at a time and foretells them. Time is an argument; steps may be missing."""

    def learn_many(self, arrivals: Floats, now: float) -> None:
        """Requests that arrived at each service in the second that ended at `now`; NaN where that was not seen.

        Called once a tick; a longer gap between calls is a gap in what was seen. Shape (services,).
        """

    def predict_many(self, ahead_s: Floats) -> Forecast:
        """Arrivals so far ahead of the last `learn_many`, 1 s to 30 min. Shape (horizons,), in seconds."""

    def resize(self, services: int) -> None:
        """Have room for this many services; none is ever taken away."""

    def state(self) -> State:
        """Plain arrays and numbers, a row per service."""

    def restore(self, state: State) -> None:
        """Take up a state. ValueError, and unchanged, when it is not of this model."""
