"""What the brain predicts of endpoints, and what policies see is cut from: one set of models and its verbs.

Another set with the same verbs can take its place (`brain.simple`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from brain.rows import named_rows, numbered_rows
from models.capacity import Capacity

if TYPE_CHECKING:
    from brain.quantiles import Quantiles
    from brain.settings import Settings
    from dataplane.contract import Topology
    from features.columns import Features
    from models.base import Floats, Ints, Prediction, State


class Learners:
    """The models of one topology."""

    def __init__(self, topology: Topology, settings: Settings) -> None:
        learning = settings.learning
        self._capacity = Capacity(
            topology.endpoint_slots, error_exponent=learning.error_exponent, rate_half_life_s=learning.half_life_s
        )
        self._lanes = np.full(topology.service_slots, np.nan)

    def learn(self, features: Features, service_of: Ints, now: float) -> None:
        """Take a tick's features in."""
        columns = {c: getattr(features.endpoints, c) for c in Capacity.columns}
        self._capacity.learn_many(**columns, now=now)
        self._lanes = np.where(np.isnan(features.lanes.value), features.lanes.low, features.lanes.value)

    def capacities(self) -> Prediction:
        """Attempts a second, by endpoint slot."""
        return self._capacity.predict_many()

    def service_times(self) -> Prediction:
        """Latency of an average request at an idle endpoint, seconds, by endpoint slot."""
        return self._capacity.service_times()

    def lanes(self) -> Floats:
        """Requests worked on at once, by service slot: what is known, else the least that is not refuted, else NaN."""
        return self._lanes

    def expected_s(self, found: Floats) -> Floats:
        """Mean latency of an attempt that finds so many open, by endpoint slot."""
        return self._capacity.curve(found)

    def moved(self, topology: Topology) -> None:
        """Have room for this topology."""
        self._capacity.resize(topology.endpoint_slots)
        more = max(topology.service_slots - self._lanes.size, 0)
        self._lanes = np.pad(self._lanes, (0, more), constant_values=np.nan)

    def state(self, topology: Topology) -> State:
        """Each model's rows with the names they belong to. What `features` keeps, like lanes, is not here."""
        return named_rows("capacity", self._capacity.state(), topology)

    def restore(self, state: State, topology: Topology) -> None:
        """Take the kept rows up under this run's integers; who has left is left out, who is new is not ready."""
        self._capacity.restore(numbered_rows("capacity", state, topology))


def quantiles_of(topology: Topology, settings: Settings) -> Quantiles | None:
    """What learns them, when it is asked for. Imported here: whoever does not ask should not wait for a compiler."""
    if not settings.models.quantiles:
        return None
    from brain.quantiles import Quantiles

    return Quantiles(topology)
