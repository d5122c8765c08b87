"""Whom to believe when nodes tell unlike things of one endpoint.

Each node is a witness. Of an endpoint that all nodes reach, each sees a sample of the same latencies, so their means of
the logarithm differ by chance and by the node's own distance, and by no more. A node whose mean lies more than
`CONTRADICTS` times from the others' and by `SURE` standard errors, without its common offset, contradicts them.

* The middle of what nodes say of an endpoint, weighted by their attempts, is what they are compared with. It is only
  the judge: what is learned is the plain mean over those who are believed, so it is unbiased when nobody lies.
* The offset of a node is the middle of its differences over the endpoints of one group (a zone of a service), and a
  difference has to be left both as a ratio and as seconds: a longer way adds the same time to every endpoint there.
* Above `MOST_LIARS` of an endpoint's attempts, or with no majority to be the judge, nobody can say who lies: the
  endpoint is disputed, and all are believed.

The rule costs little while nobody lies: only groups in which some node differs from the mean of the others are judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.base import Floats, Ints

CONTRADICTS = 2.0
SURE = 4.5
MOST_LIARS = 0.35
FEWEST = 5.0
"""Attempts, decayed, below which a witness is not heard of one endpoint: too few to be sure of anything."""

_SUSPECT = 3.5


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Who is believed of what. Shapes (endpoints, witnesses), (endpoints,) and (endpoints, witnesses)."""

    believed: NDArray[np.bool_]
    disputed: NDArray[np.bool_]
    ratio: Floats  # how many times the others' a disbelieved one's latency is, or the other way round; else 1


def judge(count: Floats, took: Floats, logs: Floats, spread: Floats, group: Ints) -> Judgement:
    """Judge sums by endpoint and witness: attempts, their latency, and its logarithm.

    `spread`, by endpoint: the standard deviation of a log latency. `group`, by endpoint: among which a node's distance
    is the same, -1 for an endpoint that is not judged.
    """
    shape = count.shape
    ratio = np.ones(shape)
    believed, disputed = np.ones(shape, dtype=bool), np.zeros(shape[0], dtype=bool)
    suspects = _suspects(count, logs, spread) & (group >= 0)
    if not suspects.any():
        return Judgement(believed, disputed, ratio)
    judged = np.flatnonzero(np.isin(group, group[suspects]))
    k, x, y = count[judged], took[judged], logs[judged]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_log, mean = np.where(k > 0, y / k, np.nan), np.where(k > 0, x / k, np.nan)
    middle_log, middle = weighted_middle(mean_log, k), weighted_middle(mean, k)
    by_ratio = _without_offset(mean_log - middle_log[:, None], group[judged])
    in_seconds = _without_offset(mean - middle[:, None], group[judged])
    with np.errstate(divide="ignore", invalid="ignore"):
        by_seconds = np.log(np.maximum(middle[:, None] + in_seconds, middle[:, None] / 1e3) / middle[:, None])
        far = np.sign(by_ratio) * np.fmin(np.abs(by_ratio), np.abs(by_seconds)) * (by_ratio * by_seconds > 0)
        rest = np.maximum(k.sum(axis=1, keepdims=True) - k, 1.0)
        error = spread[judged][:, None] * np.sqrt(1.0 / k + 1.0 / rest)
        lies = (k >= FEWEST) & (np.abs(far) > math.log(CONTRADICTS)) & (np.abs(far) > SURE * error)
    share = (k * lies).sum(axis=1) / np.maximum(k.sum(axis=1), 1e-9)
    unsettled = share > MOST_LIARS
    believed[judged] = ~lies | unsettled[:, None]
    disputed[judged] = unsettled
    ratio[judged] = np.where(lies, np.exp(np.abs(np.where(lies, far, 0.0))), 1.0)
    return Judgement(believed, disputed, ratio)


def _suspects(count: Floats, logs: Floats, spread: Floats) -> NDArray[np.bool_]:
    """Endpoints at which some witness differs from all the others together."""
    if count.shape[1] < 2:
        return np.zeros(len(count), dtype=bool)
    row, column = np.nonzero(count >= FEWEST)
    k, log = count[row, column], logs[row, column]
    rest, rest_logs = count.sum(axis=1)[row] - k, logs.sum(axis=1)[row] - log
    heard = rest >= FEWEST
    row, k, log, rest, rest_logs = row[heard], k[heard], log[heard], rest[heard], rest_logs[heard]
    apart = np.abs(log / k - rest_logs / rest)
    found = (apart > math.log(CONTRADICTS) / 2) & (apart > _SUSPECT * spread[row] * np.sqrt(1.0 / k + 1.0 / rest))
    out = np.zeros(len(count), dtype=bool)
    out[row[found]] = True
    return out


def weighted_middle(values: Floats, weights: Floats) -> Floats:
    """The weighted median of each row; NaN values weigh nothing. Shape (rows,); NaN where nothing weighs."""
    order = np.argsort(values, axis=1)  # NaN last
    v, w = np.take_along_axis(values, order, axis=1), np.take_along_axis(weights, order, axis=1)
    w = np.where(np.isnan(v), 0.0, w)
    running = np.cumsum(w, axis=1)
    at = (running >= running[:, -1:] / 2).argmax(axis=1)
    return np.asarray(v[np.arange(len(v)), at])


def _without_offset(apart: Floats, group: Ints) -> Floats:
    """What is left of each difference when its witness's middle one over the group is taken away. NaN stays.

    Of an even number of differences the middle one is the one nearer to 0: with two endpoints, a lie about one is no
    distance to both.
    """
    out = apart.copy()
    for g in np.unique(group):
        rows = np.flatnonzero(group == g)
        part = apart[rows]
        ordered = np.sort(part, axis=0)  # NaN last
        n = np.isfinite(part).sum(axis=0)
        columns = np.arange(part.shape[1])
        low = ordered[np.maximum((n - 1) // 2, 0), columns]
        high = ordered[np.minimum(n // 2, len(rows) - 1), columns]
        middle = np.where(np.abs(low) <= np.abs(high), low, high)
        out[rows] = part - np.where((n > 1) & np.isfinite(middle), middle, 0.0)
    return out
