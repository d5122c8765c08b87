"""What is kept of each stream of latencies: three windows, a pattern, a few levels. Logarithms of seconds throughout.

A request belongs to four streams, its *path*: its endpoint and class, its endpoint, its class within the service, and
its service. All streams are kept alike, as rows of the same arrays, about 3.5 kilobytes each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.base import Floats, Ints

EXPERTS = ("ten", "fifty", "regime", "parent", "learned")
TEN, FIFTY, REGIME, PARENT, LEARNED = range(len(EXPERTS))

LEAF, ENDPOINT, CLASS, SERVICE = range(4)
"""Places in a path; the row there is -1 where the model has no such stream."""

REFERENCE, SLOW_SHARE, RECENT, IN_FLIGHT, ERROR_SIZE = range(5)
"""Columns of `Streams.level`."""

FEATURES = 4
"""Of the learned level."""

PATTERNS = 16
"""Which of a stream's last four were slow."""

HABITS = 4
"""How often a stream is slow at all."""

ENOUGH = 10
"""Below so many values a stream is new."""


class Streams(NamedTuple):
    """All arrays of a model; numba takes it as one argument."""

    ring: NDArray[np.float32]  # (streams, 200) by age
    ten: NDArray[np.float32]  # (streams, 10) the newest, sorted
    fifty: NDArray[np.float32]  # (streams, 50)
    long: NDArray[np.float32]  # (streams, 200)
    error_ring: NDArray[np.float32]  # (streams, 200) errors of the learned level, by age
    errors: NDArray[np.float32]  # (streams, 200) sorted
    seen: Ints  # (streams, 3): values, errors, and the pattern of the last four as bits, 1 for slow, the newest lowest
    level: Floats  # (streams, 5)
    loss: Floats  # (streams, quantiles, experts + 1): recent loss of each above the mixture's, and the mixture's own
    learned: Floats  # (streams, FEATURES, FEATURES + 1): of a service, the coefficients and then their covariance
    trouble: Floats  # (PATTERNS, HABITS, 2): how often a slow one followed, and how often another. Of all streams


def empty(streams: int, quantiles: int) -> Streams:
    """Streams that know nothing. Of trouble, that it goes on as often as not, and begins once in forty."""
    trouble = np.ones((PATTERNS, HABITS, 2))
    trouble[1::2] = 2.0
    trouble[0] = 0.5, 20.0
    return Streams(
        ring=np.zeros((streams, 200), np.float32),
        ten=np.zeros((streams, 10), np.float32),
        fifty=np.zeros((streams, 50), np.float32),
        long=np.zeros((streams, 200), np.float32),
        error_ring=np.zeros((streams, 200), np.float32),
        errors=np.zeros((streams, 200), np.float32),
        seen=np.zeros((streams, 3), np.int64),
        level=np.zeros((streams, 5)),
        loss=np.zeros((streams, quantiles, len(EXPERTS) + 1)),
        learned=np.zeros((streams, FEATURES, FEATURES + 1)),
        trouble=trouble,
    )
