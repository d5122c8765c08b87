"""Who is young, what it is believed to bear for that, and what of its own figures is out of date by now.

How much slower endpoints of a service are at which age is learned (`models.warmup`). It is used twice. What a newcomer
is believed to bear before its own attempts say so is that part of what its operator's weight promises. And what they
said is of a younger one than it is now: its capacity is believed to have grown since by as much as others' did, if any
were seen. So it is given more when others were warm by then, without an attempt of its own that shows it; if it is not,
its queue and its latency tell within seconds, as of any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.base import put_rows, take_rows
from models.warmup import WarmUp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataplane.contract import Topology
    from features.columns import EndpointFeatures
    from models.base import Floats, State


class Warm:
    """Of one topology. By endpoint slot, as of the last tick: 1 for who is not young."""

    def __init__(self, topology: Topology) -> None:
        self._model = WarmUp(topology.service_slots)
        self.first: Floats = np.ones(0)  # by service slot, the part that one bears as it joins
        self.part: Floats = np.ones(0)  # of what it will bear
        self.grown: Floats = np.ones(0)  # times what its own figures say
        self._said: Floats = np.zeros(0)  # mean logarithm of the part, when the attempts behind its figures were
        self._at = np.nan
        self.moved(topology)

    def moved(self, topology: Topology) -> None:
        """Other members."""
        self._topology = topology
        self._model.resize(topology.service_slots)
        self.first = np.exp(-self._model.at_first())
        more = max(topology.endpoint_slots - self.part.size, 0)
        self.part, self.grown = (np.pad(a, (0, more), constant_values=1.0) for a in (self.part, self.grown))
        self._said = np.pad(self._said, (0, more))
        self._promised = np.ones(topology.endpoint_slots)
        for e in (e for s in topology.services for e in s.endpoints):
            self._promised[e.id] = max(1, e.weight)

    def learn(self, seen: EndpointFeatures, now: float) -> None:
        """Take a tick's features in."""
        service_of = self._topology.service_of
        since_s = now - self._at if now > self._at else 0.0
        self._at = now
        self._model.learn_many(seen.age_s, seen.tick_good, seen.tick_log_work, self._promised, service_of, since_s)
        log, known = (-self._model.slower_many(seen.age_s, service_of, seen=only) for only in (False, True))
        newer = np.clip(seen.tick_good / np.maximum(seen.level_count, 1.0), 0.0, 1.0)
        first = (seen.level_count <= seen.tick_good) | (seen.age_s <= since_s)
        self._said = np.where(first, known, self._said + newer * (known - self._said))
        self.first = np.exp(-self._model.at_first())
        self.part, self.grown = np.exp(log), np.exp(np.maximum(known - self._said, 0.0))

    def state(self) -> State:
        """What is known of starts, by the service's name. How young who is comes with the features."""
        rows = np.array([s.id for s in self._topology.services], dtype=np.int64)
        return {"names": [s.name for s in self._topology.services], "warmup": take_rows(self._model.state(), rows)}

    def restore(self, state: Mapping[str, State]) -> None:
        """Take up a state, of the services that are here. ValueError when it is of another shape."""
        ids = {s.name: s.id for s in self._topology.services}
        pairs = [(i, ids[name]) for i, name in enumerate(state["names"]) if name in ids]
        theirs, ours = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        self._model.restore(put_rows(take_rows(state["warmup"], theirs), ours, self._topology.service_slots))
        self.first = np.exp(-self._model.at_first())
