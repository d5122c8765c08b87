"""An operator's own model of latency as a seat among ours (`brain.champion`): scored in the shadow, and it may decide.

It foretells the mean latency of an endpoint's attempts in the next second from `FEATURES`, which are what is known at a
tick, and `found`, how many requests are open there. What a policy needs beside that it takes from the queueing model:
an endpoint of which this one expects twice the latency that the other does is taken to bear half as much, within
`MOST` either way.

A model that raises, or that has said nothing for `SILENT_S`, is dropped: `dropped` says why, the champion lets it go
with a note, and the tick goes on. One that is slow is dropped by command (`DropModel`), for the brain has no clock. No
checkpoint keeps it, for what it is made of is not ours: after a restart it learns anew.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from brain.learners import Learners
from dataplane.contract import Outcome
from models.base import Prediction
from models.own import Own

if TYPE_CHECKING:
    from brain.settings import Settings
    from dataplane.contract import Requests, Topology
    from features.columns import Features
    from models.base import Floats, Ints
    from models.own import Timed

FEATURES = ("found", "rate_per_s", "latency_s", "latency_sd_s", "p50_s", "p99_s", "error_share", "level_s")
"""What a model is given, in this order: `found` is the requests open at the endpoint, the others are columns of
`features.columns.EndpointFeatures` as they were at the last tick."""
LEAST_ATTEMPTS = 5.0
"""In a second, of an endpoint that teaches: as many as one that counts (`brain.scores`)."""
MOST = 4.0
SILENT_S = 300.0
"""Of traffic that others could say something about."""


class OwnLearners(Learners):
    """Our queueing model, corrected by a model of one's own. `timed` as in `models.own.Own`."""

    def __init__(self, topology: Topology, settings: Settings, model: Any, timed: Timed = nullcontext) -> None:
        super().__init__(topology, settings)
        self.dropped = ""
        self._own = Own(model, FEATURES, timed)
        self._ended = np.zeros((2, topology.endpoint_slots))  # since the last tick: attempts, and their seconds
        self._known: Floats | None = None  # features of the last tick but `found`, shape (slots, k - 1)
        self._found = np.zeros(topology.endpoint_slots)
        self._ratio = np.ones(topology.endpoint_slots)  # its latency over the queueing model's
        self._now = self._spoke_at = np.nan

    def told(self, batch: Requests) -> None:
        """Count the attempts that ended well: the truth that it learns."""
        slots = self._ended.shape[1]
        took_s = batch.duration_s
        good = (batch.outcome == Outcome.OK) & (batch.endpoint >= 0) & (batch.endpoint < slots)
        good &= (took_s >= 0) & (took_s < np.inf)
        self._ended[0] += np.bincount(batch.endpoint[good], minlength=slots)
        self._ended[1] += np.bincount(batch.endpoint[good], weights=took_s[good], minlength=slots)

    def learn(self, features: Features, service_of: Ints, now: float) -> None:
        """Teach it the second that has ended, by what was known before."""
        super().learn(features, service_of, now)
        count, took_s = self._ended
        rows = np.flatnonzero(count >= LEAST_ATTEMPTS)
        if self._known is not None and len(rows) and not self.dropped:
            x = np.column_stack([self._found, self._known])[rows]
            self._safely(lambda: self._own.learn(x, took_s[rows] / count[rows]))
        self._ended = np.zeros_like(self._ended)
        columns = [getattr(features.endpoints, name) for name in FEATURES[1:]]
        self._known = np.column_stack(columns)
        if np.isnan(self._spoke_at):
            self._spoke_at = now
        elif now - self._spoke_at > SILENT_S and not self.dropped:
            self.dropped = f"it has said nothing for {SILENT_S:g} s"
        self._now = now

    def expected_s(self, found: Floats) -> Floats:
        """Mean latency of an attempt that finds so many open, by endpoint slot; NaN while it is not ready."""
        self._found = found
        out: Floats = np.full(found.shape, np.nan)
        if self._known is None or self.dropped or self._known.shape[0] != found.shape[0]:
            return out
        x = np.column_stack([found, self._known])
        out = self._safely(lambda: self._own.predict(x), out)
        theirs = super().expected_s(found)
        with np.errstate(all="ignore"):
            ratio = np.clip(out / theirs, 1.0 / MOST, MOST)
        self._ratio = np.where(np.isfinite(ratio), ratio, 1.0)
        if np.isfinite(out).any() or not np.isfinite(theirs).any():
            self._spoke_at = self._now
        return out

    def capacities(self) -> Prediction:
        """The queueing model's over the ratio of expectations."""
        return _times(super().capacities(), 1.0 / self._ratio)

    def service_times(self) -> Prediction:
        """The queueing model's times the ratio of expectations."""
        return _times(super().service_times(), self._ratio)

    def moved(self, topology: Topology) -> None:
        """Have room for this topology."""
        super().moved(topology)
        more = max(topology.endpoint_slots - self._ratio.size, 0)
        self._ended = np.zeros((2, topology.endpoint_slots))
        self._ratio = np.pad(self._ratio, (0, more), constant_values=1.0)
        self._known = None  # of other rows; the next tick's are there in a second

    @property
    def count(self) -> int:
        """Rows that it has learned."""
        return self._own.count

    def _safely(self, do: Any, otherwise: Any = None) -> Any:
        try:
            return do()
        except Exception as error:  # somebody else's code: whatever it is, it costs that model and nothing else
            self.dropped = f"it raised {error!r}"[:300]
            return otherwise


def _times(said: Prediction, by: Floats) -> Prediction:
    return Prediction(said.value * by, said.low * by, said.high * by, said.count)
