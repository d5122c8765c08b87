"""What the streams of a mesh are about, and how their values are made comparable.

Every stream belongs to one service. A latency belongs to the service that answers: as its own proxy sees it, and as the
proxy of whoever calls it does, which holds the network between as well. Times go by their logarithm, for what doubles
matters alike at 3 ms and at 300; counts by their square root, which makes their scatter even (Bartlett 1936).
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from models.base import Floats, Ints


class Kind(IntEnum):
    """Of a stream."""

    SERVED = 0  # how long requests to the service take, by its own proxy; seconds
    ASKED = 1  # how long what it calls takes, by its own proxy
    CALLED = 2  # how long one caller's requests to it take, by the caller's proxy
    ANSWERED = 3  # the same by its own
    RATE = 4  # requests to it a second
    FAILS = 5  # share of them that fails, 0 to 1
    WORK = 6  # CPU, bytes: anything above 0


LATENCIES = (Kind.SERVED, Kind.ASKED, Kind.CALLED, Kind.ANSWERED)

_LEAST = np.array([0.05, 0.05, 0.05, 0.05, 0.1, 0.01, 0.05])
_LEAST_S = 1e-4


def least_spread(kind: Ints) -> Floats:
    """No stream is taken to be more even than this, of the values that `tamed` makes. Shape (n,)."""
    return _LEAST[kind]


def tamed(values: Floats, kind: Ints) -> Floats:
    """The same values on scales on which they scatter evenly; streams along the last axis."""
    return np.where(
        _any(kind, LATENCIES),
        np.log(np.maximum(values, _LEAST_S)),
        np.where(
            kind == Kind.RATE,
            np.sqrt(np.maximum(values, 0.0)),
            np.where(kind == Kind.WORK, np.log1p(np.maximum(values, 0.0)), values),
        ),
    )


def _any(kind: Ints, of: tuple[Kind, ...]) -> NDArray[np.bool_]:
    return np.isin(kind, [int(k) for k in of])


def of_latency(kind: Ints) -> NDArray[np.bool_]:
    """Which streams are latencies. Shape (n,)."""
    return _any(kind, LATENCIES)
