"""Is the endpoint in trouble, and how long does a request take then?

A latency of five times the stream's usual one is *slow*. How likely the next one is slow follows from which of the
last four were, and from how often the stream is slow at all: a table of decayed counts that all streams share, so
that a stream seldom used profits from what happened elsewhere. With that chance `p` the next latency is a slow one,
else an ordinary one, and as the two do not overlap, a quantile of the mixture is a quantile of one part: for shares
up to `1 - p` of the ordinary ones, above it of the slow ones.

So one slow answer from an ordinary stream moves its p99 and not its median, two in a row move both, and four ordinary
ones end it. A window needs half its length for that.
"""

from __future__ import annotations

import numpy as np

from models.base import Floats
from models.latency_streams import PATTERNS, REFERENCE, SLOW_SHARE, Streams
from models.windows import below, compiled, quantile

_SLOW = np.log(5.0)
_HABITS = np.array([0.01, 0.05, 0.15])
"""Shares of slow ones between which habits change."""

_KEEP = 0.9997
"""Of a count, for each that comes: half of it is forgotten after two thousand like it."""

_YOUNG = 50
"""Below so many values the usual latency is their median; after, it moves in steps."""

_STEP = 0.005

_AT_HAND = 3
"""So many slow ones make a window the one to look in."""


@compiled
def regime(streams: Streams, leaf: int, shares: Floats, out: Floats) -> None:
    """Quantiles of the next latency. The stream must have seen at least one."""
    after, other = streams.trouble[streams.seen[leaf, 2], _habit(streams, leaf)]
    slow = after / (after + other)
    edge = streams.level[leaf, REFERENCE] + _SLOW
    size = min(streams.seen[leaf, 0], streams.long.shape[1])
    ordinary = below(streams.long[leaf], size, edge)
    for q in range(shares.size):
        if ordinary == size or (ordinary > 0 and shares[q] <= 1.0 - slow):
            out[q] = quantile(streams.long[leaf], 0, ordinary, min(shares[q] / (1.0 - slow), 1.0))
        else:
            out[q] = _slow_quantile(streams, leaf, edge, max((shares[q] - (1.0 - slow)) / slow, 0.0))


@compiled
def learn_regime(streams: Streams, leaf: int, value: float) -> None:
    """Count what followed, and move the stream's pattern and its usual latency. Before the windows take the value."""
    level, seen, pattern = streams.level[leaf], streams.seen[leaf, 0], streams.seen[leaf, 2]
    if seen == 0:
        level[REFERENCE] = value
    elif seen < _YOUNG:
        level[REFERENCE] = quantile(streams.long[leaf], 0, seen, 0.5)
    slow = value >= level[REFERENCE] + _SLOW
    counts = streams.trouble[pattern, _habit(streams, leaf)]
    counts *= _KEEP
    counts[0 if slow else 1] += 1.0
    level[SLOW_SHARE] += max(0.01, 1.0 / (seen + 1)) * (slow - level[SLOW_SHARE])
    # A median by signs: trouble of any size moves it by one small step a value, so it outlasts hundreds of slow ones.
    level[REFERENCE] += _STEP if value > level[REFERENCE] else -_STEP
    streams.seen[leaf, 2] = (2 * pattern + (1 if slow else 0)) % PATTERNS


@compiled
def _habit(streams: Streams, leaf: int) -> int:
    return int(np.sum(streams.level[leaf, SLOW_SHARE] >= _HABITS))


@compiled
def _slow_quantile(streams: Streams, leaf: int, edge: float, share: float) -> float:
    """Of the slow ones in the shortest window that has some: of this trouble rather than of the last."""
    seen = streams.seen[leaf, 0]
    for window in (streams.ten[leaf], streams.fifty[leaf]):
        size = min(seen, window.size)
        first = below(window, size, edge)
        if size - first >= _AT_HAND:
            return quantile(window, first, size, share)
    size = min(seen, streams.long.shape[1])
    return quantile(streams.long[leaf], below(streams.long[leaf], size, edge), size, share)
