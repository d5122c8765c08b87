"""The band in which a stream usually lies: quantiles of means over a few steps, taken over hours.

Latencies that a proxy reports are steps of a histogram and have heavy tails. A standard deviation is made by the few
worst values of those: it hides what comes next. What a mean over a few steps usually reaches, its 95 % quantile, counts
as one unit above the middle, and how far a stream lies above its middle is told in these units.

>>> band(np.array([[1.0], [2.0], [3.0], [np.nan], [4.0]]), 1)[:, 0].tolist()
[1.0, 3.0, 4.0]
"""

from __future__ import annotations

import numpy as np

from models.base import Floats, Ints
from models.streams import least_spread

SHARE = 0.95
LEAST_SEEN = 20
"""Values before there is a band, of a stream that is followed."""
FAR, LASTING = 6.0, 30


def band(past: Floats, width: int, fewest: int = 1) -> Floats:
    """Lower end, middle and upper end, by stream, of means over `width` steps. Shape (3, n); NaN where too few."""
    means = np.sort(_means(past, width), axis=0)  # NaN last
    known = np.isfinite(means).sum(axis=0)
    out = np.full((3, past.shape[1]), np.nan)
    if not len(means):
        return out
    for row, share in enumerate((1.0 - SHARE, 0.5, SHARE)):
        at = np.round(share * np.maximum(known - 1, 0)).astype(np.int64)
        out[row] = np.where(known >= fewest, means[at, np.arange(known.size)], np.nan)
    return out


def beyond(values: Floats, ends: Floats, kind: Ints) -> Floats:
    """How far each lies from the middle, in units of the band: above 0 upwards. NaN for unknown. Shape (n,)."""
    low, middle, high = ends
    least = least_spread(kind)
    apart = values - middle
    return np.asarray(apart / np.where(apart > 0, np.maximum(high - middle, least), np.maximum(middle - low, least)))


def _means(past: Floats, width: int) -> Floats:
    """Means of each `width` rows in a row, of what is known of them."""
    if len(past) < width:
        return past[:0]
    known = np.isfinite(past)
    total = np.cumsum(np.pad(np.where(known, past, 0.0), ((1, 0), (0, 0))), axis=0)
    count = np.cumsum(np.pad(known, ((1, 0), (0, 0))), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((total[width:] - total[:-width]) / (count[width:] - count[:-width]))


class Band:
    """The band of many streams, that of the last `length` steps.

    A step that lies more than `far` above is not learned, until there were `lasting` of them in a row: a day with many
    faults in it would otherwise end with bands so wide that the next fault is usual.
    """

    def __init__(self, kind: Ints, length: int, width: int, far: float = FAR, lasting: int = LASTING) -> None:
        self._kind, self._width, self._far, self._lasting = kind, width, far, lasting
        self._ring = np.full((length, kind.size), np.nan)
        self._far_for = np.zeros(kind.size)
        self._seen = 0

    def learn_many(self, values: Floats) -> Floats:
        """Take a step in. Returns how far each lies beyond the band of the steps before it."""
        length = len(self._ring)
        first = self._seen % length
        if self._seen < length:
            past = self._ring[: self._seen]
        else:
            past = np.concatenate([self._ring[first:], self._ring[:first]])
        out = beyond(values, band(past, self._width, LEAST_SEEN), self._kind)
        self._far_for = np.where(out > self._far, self._far_for + 1, 0)
        self._ring[first] = np.where((self._far_for > 0) & (self._far_for < self._lasting), np.nan, values)
        self._seen += 1
        return out
