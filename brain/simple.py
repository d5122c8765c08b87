"""The simple model: all that the brain learns of endpoints, taken from the features of this moment (`models.simple`).

It assumes the number of lanes, and expects of an endpoint in a second what it did in this one, whatever is open there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from brain.rows import named_rows, numbered_rows
from models.simple import LANES, Simple

if TYPE_CHECKING:
    from brain.settings import Settings
    from dataplane.contract import Topology
    from features.columns import Features
    from models.base import Floats, Ints, Prediction, State


class SimpleLearners:
    """As `brain.learners.Learners`, with nothing remembered."""

    def __init__(self, topology: Topology, settings: Settings) -> None:
        self._simple = Simple(topology.endpoint_slots, error_exponent=settings.learning.error_exponent)
        self._services = topology.service_slots

    def learn(self, features: Features, service_of: Ints, now: float) -> None:
        """Take a tick's features in."""
        columns = {c: getattr(features.endpoints, c) for c in Simple.columns}
        self._simple.learn_many(**columns, now=now)

    def capacities(self) -> Prediction:
        """Attempts a second, by endpoint slot."""
        return self._simple.predict_many()

    def service_times(self) -> Prediction:
        """Seconds of a request now, by endpoint slot."""
        return self._simple.service_times()

    def lanes(self) -> Floats:
        """As many as its capacities reckon with, by service slot."""
        return np.full(self._services, LANES)

    def expected_s(self, found: Floats) -> Floats:
        """Mean latency of an attempt, by endpoint slot: as lately."""
        return self._simple.curve(found)

    def moved(self, topology: Topology) -> None:
        """Have room for this topology."""
        self._simple.resize(topology.endpoint_slots)
        self._services = topology.service_slots

    def state(self, topology: Topology) -> State:
        """Rows by name."""
        return named_rows("simple", self._simple.state(), topology)

    def restore(self, state: State, topology: Topology) -> None:
        """Take the kept rows up under this run's integers."""
        self._simple.restore(numbered_rows("simple", state, topology))
