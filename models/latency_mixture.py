"""One answer from many experts: each weighted by how it did of late, here and in the whole service.

An expert's weight is the exponential of its recent loss, the loss of a quantile being the pinball loss in seconds
(Koenker and Bassett, Econometrica 1978; the weights are those of Vovk, "Aggregating strategies", COLT 1990). Losses
are kept twice, each decayed by number of requests: of the stream itself over its last 50 or so, which follows what
goes on there, and of its service over the last thousand, which has the evidence. Both are in units of what the
mixture itself lost, so no latency is too small or too large. An expert that has nothing to say sleeps: it is charged
what the mixture lost.

Quantiles are averaged as logarithms, so that one wild expert cannot carry the others away.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.base import Floats, Ints
from models.latency_experts import ask, take
from models.latency_streams import ENDPOINT, ENOUGH, EXPERTS, LEAF, PARENT, SERVICE, Streams
from models.windows import compiled, compiled_once, share_band, tail_quantile

VALUE, LOW, HIGH, COUNT = range(4)

_OWN_RATE, _OWN_KEEP = 5.0, 0.98
_SERVICE_RATE, _SERVICE_KEEP = 10.0, 0.999

_SPEAKS_FOR = np.array([10.0, 50.0, 100.0, 200.0, 200.0])
"""Values behind what each expert says, once there are as many. Of `regime`, half its window: its chance moves too."""

MIXTURE = len(EXPERTS)
"""The place of the mixture's own loss behind the experts'."""


@compiled
def mix(streams: Streams, rows: Ints, said: Floats, used: NDArray[np.bool_], values: Floats, behind: Floats) -> None:
    """Average what was said: logarithms by quantile in `values`, NaN when nobody spoke, and the values behind them."""
    weights = np.empty(said.shape[0])
    for q in range(said.shape[1]):
        most = -np.inf
        for k in range(said.shape[0]):
            weights[k] = -np.inf
            if used[k] and np.isfinite(said[k, q]):
                weights[k] = _merit(streams.loss, rows[LEAF], q, k, _OWN_RATE)
                weights[k] += _merit(streams.loss, rows[SERVICE], q, k, _SERVICE_RATE)
                most = max(most, weights[k])
        total, sum_, values[q], behind[q] = 0.0, 0.0, np.nan, 0.0
        if most == -np.inf:
            continue
        for k in range(said.shape[0]):
            if weights[k] > -np.inf:
                weight = np.exp(weights[k] - most)
                total += weight
                sum_ += weight * said[k, q]
                row = rows[SERVICE] if k == PARENT or rows[LEAF] < 0 else rows[LEAF]
                behind[q] += weight * min(_SPEAKS_FOR[k], streams.seen[row, 0])
        values[q] = sum_ / total
        behind[q] /= total
    values.sort()  # NumPy's order too: a median above the p95 would be no quantile


@compiled
def _merit(loss: Floats, row: int, q: int, expert: int, rate: float) -> float:
    if row < 0 or loss[row, q, MIXTURE] <= 0.0:
        return 0.0
    return float(-rate * loss[row, q, expert] / loss[row, q, MIXTURE])


@compiled
def _pinball(seconds: float, quantile_s: float, share: float) -> float:
    over = seconds - quantile_s
    return float(share * over if over >= 0 else (share - 1.0) * over)


@compiled
def _charge(loss: Floats, said: Floats, values: Floats, seconds: float, shares: Floats, keep: float) -> None:
    """Book what one request cost: the mixture, and each expert more than it."""
    for q in range(shares.size):
        mixture = _pinball(seconds, np.exp(values[q]), shares[q])
        loss[q, MIXTURE] += (1 - keep) * (mixture - loss[q, MIXTURE])
        for k in range(said.shape[0]):
            more = _pinball(seconds, np.exp(said[k, q]), shares[q]) - mixture if np.isfinite(said[k, q]) else 0.0
            loss[q, k] += (1 - keep) * (more - loss[q, k])


@compiled_once
def learn(
    streams: Streams, paths: Ints, in_flight: Floats, log_s: Floats, shares: Floats, used: NDArray[np.bool_]
) -> None:
    """Take in requests in the order in which they ended: judge the experts by each, then let them know."""
    said, values, behind = np.empty((len(EXPERTS), shares.size)), np.empty(shares.size), np.empty(shares.size)
    for i in range(log_s.size):
        _learn(streams, paths[i], in_flight[i], log_s[i], shares, used, said, values, behind)


@compiled_once
def predict(
    streams: Streams, paths: Ints, in_flight: Floats, shares: Floats, used: NDArray[np.bool_], out: Floats
) -> None:
    """Fill `out` (4, quantiles, requests): value, low and high in seconds, and the values behind them."""
    said, values, behind = np.empty((len(EXPERTS), shares.size)), np.empty(shares.size), np.empty(shares.size)
    for i in range(paths.shape[0]):
        _predict(streams, paths[i], in_flight[i], shares, used, said, values, behind, out[:, :, i])


@compiled_once
def replay(
    streams: Streams,
    paths: Ints,
    order: Ints,
    log_s: Floats,
    shares: Floats,
    used: NDArray[np.bool_],
    out: Floats,
) -> None:
    """Predict each request at its start and learn it at its end. `order`: `i` for the start of `i`, `n + i` its end."""
    said, values, behind = np.empty((len(EXPERTS), shares.size)), np.empty(shares.size), np.empty(shares.size)
    requests = log_s.size
    opened, in_flight = np.zeros(streams.seen.shape[0]), np.zeros(requests)
    for event in order:
        i = event % requests
        endpoint = paths[i, ENDPOINT]
        if event < requests:
            in_flight[i] = opened[endpoint] if endpoint >= 0 else np.nan
            opened[endpoint] += 1.0
            _predict(streams, paths[i], in_flight[i], shares, used, said, values, behind, out[:, :, i])
        else:
            opened[endpoint] -= 1.0
            _learn(streams, paths[i], in_flight[i], log_s[i], shares, used, said, values, behind)


@compiled
def _learn(
    streams: Streams,
    path: Ints,
    in_flight: float,
    value: float,
    shares: Floats,
    used: NDArray[np.bool_],
    said: Floats,
    values: Floats,
    behind: Floats,
) -> None:
    if path[SERVICE] < 0:
        return
    ask(streams, path, in_flight, shares, said)
    mix(streams, path, said, used, values, behind)
    if np.isfinite(values[0]):
        seconds = np.exp(value)
        _charge(streams.loss[path[SERVICE]], said, values, seconds, shares, _SERVICE_KEEP)
        if path[LEAF] >= 0:
            _charge(streams.loss[path[LEAF]], said, values, seconds, shares, _OWN_KEEP)
    take(streams, path, in_flight, value)


@compiled
def _predict(
    streams: Streams,
    path: Ints,
    in_flight: float,
    shares: Floats,
    used: NDArray[np.bool_],
    said: Floats,
    values: Floats,
    behind: Floats,
    out: Floats,
) -> None:
    out[:COUNT], out[COUNT] = np.nan, 0.0
    if path[SERVICE] < 0:
        return
    ask(streams, path, in_flight, shares, said)
    mix(streams, path, said, used, values, behind)
    # How far apart quantiles lie about here, by the longest window of the stream, or of the service while it is new.
    row = path[LEAF] if path[LEAF] >= 0 and streams.seen[path[LEAF], 0] >= ENOUGH else path[SERVICE]
    window, size = streams.long[row], min(streams.seen[row, 0], streams.long.shape[1])
    for q in range(shares.size):
        if np.isfinite(values[q]):
            low, high = share_band(shares[q], max(behind[q], 1.0))
            middle = tail_quantile(window, size, shares[q])
            out[VALUE, q] = np.exp(values[q])
            out[LOW, q] = np.exp(values[q] + tail_quantile(window, size, low) - middle)
            out[HIGH, q] = np.exp(values[q] + tail_quantile(window, size, high) - middle)
            out[COUNT, q] = behind[q]
