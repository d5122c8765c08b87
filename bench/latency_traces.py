"""Made-up requests to try latency quantiles on where there are no real ones: a steady fleet, and one under faults.

Both are drawn to be as hard as the production data and the injected faults whose figures are published, but whose
requests are not here: the plain windows and averages of `bench.latency_rivals` come out near those figures.

* `steady`: 132 containers, 34,000 requests in a day, 18 s each in the mean. Arrivals come in bursts, at unlike rates.
  All containers have nearly one median, which drifts and rises with the load, but a fifth of them serve, now and then,
  jobs that are three or four times longer: what is to be learned of an endpoint is its tail.
* `faults`: 18 operations that call each other, 70,000 calls in four and a half hours. Every eight or nine minutes one
  service is broken for three: each call of it is delayed, or takes 15 to 300 times as long, or a few of its calls
  hang, or nothing happens to latency at all. Its callers wait with it. Sizes and times are those of the Nezha fault
  injections of 2022-08-22, whose metrics by the minute are public; a call's own latency is not in them.
"""

from __future__ import annotations

import numpy as np

from bench.latency_data import Calls, by_start


def steady(seed: int, rows: int = 34_000, containers: int = 132, hours: float = 22.8) -> Calls:
    """One service of many containers, of which each has a tail of its own. Three classes of job."""
    rng, horizon = np.random.default_rng(seed), hours * 3600
    # Bursts of 1 to some ten requests, at a rate that follows the day.
    bursts = rng.uniform(0, horizon, 3 * rows)
    bursts = bursts[rng.random(bursts.size) < 0.55 + 0.45 * np.sin(2 * np.pi * bursts / 86_400)]
    popularity = rng.lognormal(0, 0.9, containers)
    where = rng.choice(containers, bursts.size, p=popularity / popularity.sum())
    size = np.minimum(rng.geometric(0.5, bursts.size), 12)
    start = np.repeat(bursts, size) + rng.exponential(8.0, size.sum()) * (np.arange(size.sum()) > 0)
    endpoint = np.repeat(where, size)
    keep = np.sort(rng.permutation(start.size)[:rows])
    start, endpoint = start[keep], endpoint[keep]

    hour = (start / 3600).astype(int)
    walk = 0.04 * np.cumsum(rng.normal(0, 1, (containers, int(hours) + 2)), axis=1)
    walk -= 0.5 * walk.mean(axis=1, keepdims=True)
    minute = (start / 60).astype(int)
    load = np.bincount(minute, minlength=minute.max() + 1)[minute] / (rows / (hours * 60))
    klass = rng.choice(3, rows, p=[0.6, 0.3, 0.1])
    log_s = np.log(14.0) + walk[endpoint, hour] + 0.10 * np.log(load) + np.array([-0.05, 0.05, 0.15])[klass]
    log_s += rng.normal(0, 0.30, rows)
    slow_share = np.where(rng.random(containers) < 0.22, rng.beta(3.0, 9.0, containers), 0.0005)
    slow = rng.random(rows) < slow_share[endpoint]
    times = rng.uniform(2.8, 4.2, containers)
    log_s[slow] += np.log(times[endpoint[slow]]) + rng.normal(0, 0.08, slow.sum())
    return by_start(f"steady-{seed}", start, np.exp(log_s), endpoint, np.zeros(rows, int), klass)


# Of each operation: its caller (-1: the front door), service, median ms, spread, and calls for each of its caller.
_OPERATIONS = [
    (-1, 0, 2.0, 0.4, 1.0),
    (0, 1, 3.0, 0.25, 2.2),
    (0, 1, 3.6, 0.25, 0.5),
    (0, 2, 1.8, 0.35, 2.5),
    (0, 2, 1.5, 0.3, 0.8),
    (0, 3, 2.2, 0.3, 0.8),
    (0, 3, 2.8, 0.3, 0.2),
    (0, 4, 2.2, 0.35, 0.5),
    (7, 1, 3.2, 0.3, 1.0),
    (0, 5, 2.6, 0.4, 0.6),
    (0, 6, 1.2, 0.3, 0.3),
    (0, 7, 4.0, 0.4, 0.06),
    (11, 1, 3.0, 0.3, 1.5),
    (11, 2, 1.8, 0.4, 1.5),
    (11, 3, 2.2, 0.3, 1.0),
    (11, 6, 1.2, 0.3, 2.0),
    (11, 8, 1.1, 0.3, 1.0),
    (11, 9, 1.4, 0.3, 1.0),
]


def faults(seed: int, rows: int = 70_000, hours: float = 4.5) -> Calls:
    """Calls within requests that cross ten services, while one service after the other is broken for three minutes."""
    rng, horizon = np.random.default_rng(seed), hours * 3600
    broken = _faults(rng, horizon)
    a_request = 1.0
    reached = [1.0]
    for caller, _, _, _, calls in _OPERATIONS[1:]:
        reached.append(calls * reached[caller])
        a_request += reached[-1]
    roots = np.sort(rng.uniform(0, horizon, int(rows / a_request)))
    starts, durations, operations = [], [], []
    for at in roots:
        _call(rng, 0, at, broken, starts, durations, operations)
    operation = np.array(operations)
    service = np.array([s for _, s, *_ in _OPERATIONS])[operation]
    return by_start(f"faults-{seed}", np.array(starts), np.array(durations), operation, service, operation)


def _faults(rng: np.random.Generator, horizon: float) -> list[tuple[float, float, int, str, float]]:
    """From, to, service, kind and size of each fault."""
    out, at = [], 200.0
    while at < horizon:
        kind = str(rng.choice(["delay", "slow", "some", "none"], p=[0.3, 0.35, 0.1, 0.25]))
        size = rng.uniform(0.1, 0.6) if kind == "delay" else np.exp(rng.uniform(np.log(15), np.log(300)))
        out.append((at, at + rng.uniform(150, 210), int(rng.integers(0, 10)), kind, float(size)))
        at += rng.uniform(480, 560)
    return out


def _call(rng, operation, at, broken, starts, durations, operations) -> float:  # type: ignore[no-untyped-def]
    """Make one call and those that it makes, one after the other; returns how long it took."""
    _, service, median_ms, spread, _ = _OPERATIONS[operation]
    took = median_ms / 1e3 * np.exp(0.6 * spread * rng.normal())
    if rng.random() < 0.006:  # a pause of its own: garbage, a new connection, a neighbour
        took += rng.exponential(0.04)
    index = int(at // 520)
    for since, until, where, kind, size in broken[max(index - 2, 0) : index + 3]:
        if since <= at < until and where == service:
            if kind == "delay":
                took += size * np.exp(0.1 * rng.normal()) * (1 + rng.integers(0, 2))
            elif kind == "slow":
                took *= size * np.exp(0.5 * rng.normal())
            elif kind == "some" and rng.random() < 0.15:
                took *= 2 * size
    for child, (caller, _, _, _, calls) in enumerate(_OPERATIONS):
        if caller == operation:
            for _ in range(int(calls) + (rng.random() < calls % 1)):
                took += _call(rng, child, at + took, broken, starts, durations, operations)
    starts.append(at)
    durations.append(took)
    operations.append(operation)
    return took
