"""The learned quantile: a level from what is known when a request starts, and the spread about it.

The logarithm of a latency, less the median of its endpoint's last 200, is regressed on four features by recursive
least squares with a prior, a regression for each service. That is Bayesian linear regression with known noise; it
cannot run away as gradient steps on raw latencies do, and here each error is clipped to 2.5 times the usual one
besides. The last 200 errors at the endpoint, unclipped, then give the quantiles about the level: split conformal
prediction in a sliding window.

The features: one; by how much the endpoint's last 20 or so lie above its median; the same of the last 200 of the
class in the whole service; the logarithm of one plus the requests open at the endpoint, less what is usual there.
"""

from __future__ import annotations

import numpy as np

from models.base import Floats, Ints
from models.latency_streams import (
    CLASS,
    ENDPOINT,
    ENOUGH,
    ERROR_SIZE,
    FEATURES,
    IN_FLIGHT,
    RECENT,
    SERVICE,
    Streams,
)
from models.windows import compiled, quantile, slide

_CLIP = 2.5
_FIRST_ERROR = 0.1
_ENDPOINT_STEP, _CLASS_STEP, _IN_FLIGHT_STEP = 0.05, 0.005, 0.02


@compiled
def level(streams: Streams, path: Ints, in_flight: float, shares: Floats, out: Floats) -> None:
    """Quantiles of the next latency; `out` is left as it is while the endpoint is new. `in_flight` may be NaN."""
    endpoint, service = path[ENDPOINT], path[SERVICE]
    if endpoint < 0 or service < 0 or streams.seen[endpoint, 1] < ENOUGH:
        return
    x = np.empty(FEATURES)
    expected = _features(streams, path, in_flight, x)
    for k in range(FEATURES):
        expected += streams.learned[service, k, 0] * x[k]
    size = min(streams.seen[endpoint, 1], streams.errors.shape[1])
    for q in range(shares.size):
        out[q] = expected + quantile(streams.errors[endpoint], 0, size, shares[q])


@compiled
def learn_level(streams: Streams, path: Ints, in_flight: float, value: float) -> None:
    """One step of the regression, then of what its features are made of. Before the windows take the value."""
    endpoint, klass, service = path[ENDPOINT], path[CLASS], path[SERVICE]
    if endpoint < 0 or service < 0 or streams.seen[endpoint, 0] < ENOUGH:
        return
    x = np.empty(FEATURES)
    above = value - _features(streams, path, in_flight, x)
    error = _regress(streams, service, x, above)
    seen = streams.seen[endpoint, 1]
    slide(streams.error_ring[endpoint], streams.errors[endpoint], seen, error)
    streams.error_ring[endpoint, seen % streams.error_ring.shape[1]] = error
    streams.seen[endpoint, 1] += 1
    above = min(max(above, -1.0), 1.0)  # trouble is another expert's affair
    streams.level[endpoint, RECENT] += _ENDPOINT_STEP * (above - streams.level[endpoint, RECENT])
    if klass >= 0:
        streams.level[klass, RECENT] += _CLASS_STEP * (above - streams.level[klass, RECENT])
    if np.isfinite(in_flight):
        streams.level[endpoint, IN_FLIGHT] += _IN_FLIGHT_STEP * (
            np.log1p(in_flight) - streams.level[endpoint, IN_FLIGHT]
        )


@compiled
def _features(streams: Streams, path: Ints, in_flight: float, x: Floats) -> float:
    """Fill `x`; return the endpoint's median, from which levels are counted."""
    endpoint, klass = path[ENDPOINT], path[CLASS]
    x[0] = 1.0
    x[1] = streams.level[endpoint, RECENT]
    x[2] = streams.level[klass, RECENT] if klass >= 0 else 0.0
    x[3] = np.log1p(in_flight) - streams.level[endpoint, IN_FLIGHT] if np.isfinite(in_flight) else 0.0
    size = min(streams.seen[endpoint, 0], streams.long.shape[1])
    return quantile(streams.long[endpoint], 0, size, 0.5)


@compiled
def _regress(streams: Streams, service: int, x: Floats, above: float) -> float:
    """Recursive least squares, one step. Returns the error before it."""
    weights, covariance = streams.learned[service, :, 0], streams.learned[service, :, 1:]
    if covariance[0, 0] == 0.0:  # never taught
        for k in range(FEATURES):
            covariance[k, k] = 1.0
        streams.level[service, ERROR_SIZE] = _FIRST_ERROR
    error, gain, surprise = above, np.zeros(FEATURES), 1.0
    for k in range(FEATURES):
        error -= weights[k] * x[k]
        for m in range(FEATURES):
            gain[k] += covariance[k, m] * x[m]
        surprise += gain[k] * x[k]
    usual = streams.level[service, ERROR_SIZE]
    clipped = min(max(error, -_CLIP * usual), _CLIP * usual)
    streams.level[service, ERROR_SIZE] += 0.01 * (1.25 * abs(clipped) - usual)  # 1.25 E|e| is one sd of a Gaussian
    for k in range(FEATURES):
        weights[k] += gain[k] / surprise * clipped
        for m in range(FEATURES):
            covariance[k, m] -= gain[k] * gain[m] / surprise
    return error
