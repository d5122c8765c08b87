"""Who is young, what it is believed to bear for that, and what of its own figures is out of date by now.

How much slower endpoints of a service are at which age is learned (`models.warmup`). It is used twice. What a newcomer
is believed to bear before its own attempts say so is that part of what its operator's weight promises. And what they
said is of a younger one than it is now: its capacity is believed to have grown since by as much as others' did, if any
were seen. So it is given more when others were warm by then, without an attempt of its own that shows it; if it is not,
its queue and its latency tell within seconds, as of any other.

Whoever was there when its service was first seen may have been there for days, and counts as grown. Nobody knows, and
where all began with the brain they are alike in it. So a start teaches in the first minute as well.
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
    """Of one topology. By endpoint slot, as of the last tick: 1 for who is not young, and for all where it is learned
    and not acted on.
    """

    def __init__(self, topology: Topology, *, acts: bool = True) -> None:
        self._model = WarmUp(topology.service_slots)
        self.first: Floats = np.ones(0)  # by service slot, the part that one bears as it joins
        self.part: Floats = np.ones(0)  # of what it will bear
        self.grown: Floats = np.ones(0)  # times what its own figures say
        self._said: Floats = np.zeros(0)  # mean logarithm of the part, when the attempts behind its figures were
        self._at, self._acts = np.nan, acts
        self._known: frozenset[int] = frozenset()  # services of which somebody was seen
        self._first_seen = np.zeros(0, dtype=bool)  # by endpoint slot: with its service
        self.moved(topology)

    def moved(self, topology: Topology) -> None:
        """Other members."""
        self._topology, of = topology, topology.service_of
        began = np.isin(of, [s.id for s in topology.services if s.id not in self._known])
        self._known = frozenset(s.id for s in topology.services if s.endpoints)
        before = np.pad(self._first_seen, (0, max(of.size - self._first_seen.size, 0)))[: of.size]
        self._first_seen = (of >= 0) & (before | began)
        self._model.resize(topology.service_slots)
        self._enter()
        more = max(topology.endpoint_slots - self.part.size, 0)
        self.part, self.grown = (np.pad(a, (0, more), constant_values=1.0) for a in (self.part, self.grown))
        self._said = np.pad(self._said, (0, more))
        self._promised = np.ones(topology.endpoint_slots)
        for e in (e for s in topology.services for e in s.endpoints):
            self._promised[e.id] = max(1, e.weight)

    def begin(self) -> None:
        """Ages are counted anew: of those who are here now nobody knows how young they are."""
        self._first_seen = self._topology.service_of >= 0

    def learn(self, seen: EndpointFeatures, now: float, *, acts: bool = True) -> None:
        """Take a tick's features in. `acts`: what is learned is to be acted on."""
        self._acts = acts
        service_of = self._topology.service_of
        since_s = now - self._at if now > self._at else 0.0
        self._at = now
        age_s = np.where(self._first_seen, np.inf, seen.age_s)
        self._model.learn_many(age_s, seen.tick_good, seen.tick_log_work, self._promised, service_of, since_s)
        log, known = (-self._model.slower_many(age_s, service_of, seen=only) for only in (False, True))
        newer = np.clip(seen.tick_good / np.maximum(seen.level_count, 1.0), 0.0, 1.0)
        first = (seen.level_count <= seen.tick_good) | (age_s <= since_s)
        self._said = np.where(first, known, self._said + newer * (known - self._said))
        self._enter()
        self.part, self.grown = np.exp(log), np.exp(np.maximum(known - self._said, 0.0))
        if not acts:
            self.part, self.grown = np.ones_like(self.part), np.ones_like(self.grown)

    def _enter(self) -> None:
        part = np.exp(-self._model.at_first())
        self.first = part if self._acts else np.ones_like(part)

    def state(self) -> State:
        """What is known of starts, by the service's name. How young who is comes with the features."""
        rows = np.array([s.id for s in self._topology.services], dtype=np.int64)
        return {"names": [s.name for s in self._topology.services], "warmup": take_rows(self._model.state(), rows)}

    def restore(self, state: Mapping[str, State]) -> None:
        """Take up a state, of the services that are here. ValueError when it is of another shape.

        How old who is comes with the features then, and whoever is not in them joined since.
        """
        ids = {s.name: s.id for s in self._topology.services}
        pairs = [(i, ids[name]) for i, name in enumerate(state["names"]) if name in ids]
        theirs, ours = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        self._model.restore(put_rows(take_rows(state["warmup"], theirs), ours, self._topology.service_slots))
        self._first_seen[:] = False
        self._enter()
