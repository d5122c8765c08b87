"""From a batch of attempts to what a model of latencies learns: a bounded sample, fair to endpoints of little traffic.

A model that learns a request at a time costs microseconds for each, and a busy mesh has more of them than a brain has
microseconds. An endpoint's quantiles need no more than some hundred of its latest, so of a batch that is too large each
endpoint keeps its share: the busy ones lose rows before the quiet ones do. Which rows of an endpoint stay is drawn by
chance, so its own quantiles are not bent.
"""

from __future__ import annotations

import numpy as np

from dataplane.contract import Outcome, Requests
from models.base import Floats, Ints


def sample(batch: Requests, limit: int, rng: np.random.Generator) -> tuple[dict[str, Ints], Floats]:
    """At most `limit` attempts as `x` and `y` of `LatencyQuantiles.learn_many`, in the order in which they ended.

    What ended well counts with its latency, and a timeout with the time it was waited for: it took at least that long,
    and without it a hang would look fast. Other failures say nothing of how long an answer takes. A request's class is
    its route, 0 when that is unknown.
    """
    if limit < 0:
        raise ValueError(f"a sample of {limit} rows cannot be drawn")
    told = (batch.outcome == Outcome.OK) | (batch.outcome == Outcome.TIMEOUT)
    rows = np.flatnonzero(told & (batch.endpoint >= 0) & (batch.service >= 0) & (batch.duration_s >= 0))
    if len(rows) > limit:
        rows = rng.permutation(rows)
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
