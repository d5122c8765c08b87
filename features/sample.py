"""From attempts to what a model of latencies learns: a bounded sample, fair to endpoints of little traffic.

A model that learns a request at a time costs microseconds for each, and a busy mesh has more of them than a brain has
microseconds. An endpoint's quantiles need no more than some hundred of its latest, so of what is too much each endpoint
keeps its share: the busy ones lose rows before the quiet ones do. Which rows of an endpoint stay is spread evenly over
all of its rows, by multiples of the golden ratio (Weyl's sequence), so its own quantiles are not bent. That takes no
chance: the same rows give the same sample.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Outcome, Requests
from models.base import Floats, Ints

GOLDEN = (5.0**0.5 - 1.0) / 2.0


class Rows(NamedTuple):
    """The columns of `Requests` that a sample is drawn by."""

    service: NDArray[np.int32]
    endpoint: NDArray[np.int32]
    route: NDArray[np.int32]
    outcome: NDArray[np.int8]
    started_s: Floats
    duration_s: NDArray[np.float32]


class Pool:
    """What came since the last draw, thinned on its way in, so that waiting costs no more than drawing.

    Of each batch every so many-th row is kept, and of which row on differs from batch to batch. `limit` is that of the
    draw; about twice as many rows wait for it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: list[Rows] = []
        self._batches = self._rows = self._rows_before = 0  # rows since the last draw, and before it

    def told(self, batch: Requests) -> None:
        """Let some of these wait."""
        step = 1 + max(self._rows, self._rows_before) // (2 * self._limit)
        self._batches += 1
        first = int(step * (self._batches * GOLDEN % 1.0))
        self._rows += len(batch)
        if first < len(batch):
            self._waiting.append(Rows(*(getattr(batch, name)[first::step] for name in Rows._fields)))

    def draw(self) -> tuple[dict[str, Ints], Floats] | None:
        """A sample of what waits, of which nothing is left then; None when nothing waited."""
        waiting, self._waiting = self._waiting, []
        self._rows_before, self._rows = self._rows, 0
        if not waiting:
            return None
        return sample(Rows(*map(np.concatenate, zip(*waiting, strict=True))), self._limit)


def sample(batch: Requests | Rows, limit: int) -> tuple[dict[str, Ints], Floats]:
    """At most `limit` attempts as `x` and `y` of `LatencyQuantiles.learn_many`, in the order in which they ended.

    What ended well counts with its latency, and a timeout with the time it was waited for: it took at least that long,
    and without it a hang would look fast. Other failures say nothing of how long an answer takes. A request's class is
    its route plus one, 0 when that is unknown. ValueError when the limit is below 0.
    """
    if limit < 0:
        raise ValueError(f"a sample of {limit} rows cannot be drawn")
    told = (batch.outcome == Outcome.OK) | (batch.outcome == Outcome.TIMEOUT)
    rows = np.flatnonzero(told & (batch.endpoint >= 0) & (batch.service >= 0) & (batch.duration_s >= 0))
    if len(rows) > limit:
        rows = rows[np.argsort(np.arange(len(rows)) * GOLDEN % 1.0)]
        rows = rows[np.argsort(_turn(batch.endpoint[rows].astype(np.int64)), kind="stable")[:limit]]
    rows = rows[np.argsort(batch.started_s[rows] + batch.duration_s[rows], kind="stable")]
    x = {
        "service": batch.service[rows].astype(np.int64),
        "endpoint": batch.endpoint[rows].astype(np.int64),
        "class": np.maximum(batch.route[rows].astype(np.int64) + 1, 0),
    }
    return x, batch.duration_s[rows].astype(np.float64)


def _turn(group: Ints) -> Ints:
    """Of each row, how many rows of its group come before it.

    >>> _turn(np.array([7, 7, 3, 7, 3]))
    array([0, 1, 0, 2, 1])
    """
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    first = np.searchsorted(ordered, ordered, side="left")
    out = np.empty(len(group), dtype=np.int64)
    out[order] = np.arange(len(group)) - first
    return out
