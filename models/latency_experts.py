"""Five opinions on how long the next request takes, each cheap and each right somewhere.

| expert | says | right when |
| --- | --- | --- |
| `ten`, `fifty` | the quantile of the stream's last 10, of its last 50 | after a change; a while after it |
| `regime` | in trouble or not, and what then (`models.latency_regime`) | all is steady; trouble comes and goes |
| `parent` | the quantile of the last 200 of a wider stream: the endpoint, the class, the service | the stream is new |
| `learned` | a level from what is known at the start, and its errors (`models.latency_level`) | load and class tell |

Each earns its place by what gets worse without it: `docs/measured.md`, "Latency quantiles". A plain window of the last
200 did not: while all is steady `regime` is one.
"""

from __future__ import annotations

import numpy as np

from models.base import Floats, Ints
from models.latency_level import learn_level, level
from models.latency_regime import learn_regime, regime
from models.latency_streams import (
    ENDPOINT,
    ENOUGH,
    FIFTY,
    LEAF,
    LEARNED,
    PARENT,
    REGIME,
    SERVICE,
    TEN,
    Streams,
)
from models.windows import Window, compiled, quantile, slide


@compiled
def ask(streams: Streams, path: Ints, in_flight: float, shares: Floats, said: Floats) -> None:
    """What each expert says, logarithms: fills `said` (experts, quantiles), NaN where one has nothing to say.

    A stream that is new is silent while a wider one is not.
    """
    said[:] = np.nan
    leaf, parent = path[LEAF], _parent(streams, path)
    if parent >= 0:
        _read(streams.long[parent], streams.seen[parent, 0], shares, said[PARENT])
    seen = streams.seen[leaf, 0] if leaf >= 0 else 0
    if seen == 0 or (seen < ENOUGH and parent >= 0):
        return
    _read(streams.ten[leaf], seen, shares, said[TEN])
    _read(streams.fifty[leaf], seen, shares, said[FIFTY])
    regime(streams, leaf, shares, said[REGIME])
    level(streams, path, in_flight, shares, said[LEARNED])


@compiled
def take(streams: Streams, path: Ints, in_flight: float, value: float) -> None:
    """Let every stream of a request know the logarithm of its latency."""
    learn_level(streams, path, in_flight, value)
    if path[LEAF] >= 0:
        learn_regime(streams, path[LEAF], value)
    for row in path:
        if row >= 0:
            seen = streams.seen[row, 0]
            slide(streams.ring[row], streams.ten[row], seen, value)
            slide(streams.ring[row], streams.fifty[row], seen, value)
            slide(streams.ring[row], streams.long[row], seen, value)
            streams.ring[row, seen % streams.ring.shape[1]] = value
            streams.seen[row, 0] += 1


@compiled
def _parent(streams: Streams, path: Ints) -> int:
    """The nearest wider stream that is not new and has seen more than the leaf; while all are new, the service's."""
    seen = streams.seen[path[LEAF], 0] if path[LEAF] >= 0 else 0
    for row in path[ENDPOINT:]:
        if row >= 0 and streams.seen[row, 0] > max(seen, ENOUGH - 1):
            return int(row)
    service = path[SERVICE]
    return int(service) if service >= 0 and streams.seen[service, 0] > 0 else -1


@compiled
def _read(window: Window, seen: int, shares: Floats, out: Floats) -> None:
    for q in range(shares.size):
        out[q] = quantile(window, 0, min(seen, window.size), shares[q])
