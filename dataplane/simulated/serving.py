"""What endpoints do with a request, compiled: `dataplane.simulated.fleet` says it in words.

Because a queue is served in order and what will happen to an endpoint is known, the moment a request comes settles
when its work begins and ends: no event is needed for a start. Who would begin only after his user has given up never
begins, and holds nobody up.
"""

from __future__ import annotations

from math import exp, inf

import numpy as np

from dataplane.simulated.arrays import RECENT, Book, Servers
from dataplane.simulated.compiled import compiled
from dataplane.simulated.fleet import Floats

NEAR = 7
"""A probe is answered with the median of this many latencies, those met at the queue lengths nearest to now's."""


@compiled
def piece_at(s: Servers, e: int, at_s: float) -> int:
    """The piece in force at a time not before the last arrival."""
    k = int(s.piece[e])
    while k + 1 < s.since_s.shape[1] and s.since_s[e, k + 1] <= at_s:
        k += 1
    return k


@compiled
def thawed(s: Servers, e: int, at_s: float) -> float:
    """That time, or when the hang is over that covers it; infinity for one that lasts."""
    k = piece_at(s, e, at_s)
    while s.hang[e, k]:
        k += 1
        if k == s.since_s.shape[1]:
            return inf
        at_s = s.since_s[e, k]
    return at_s


@compiled
def soonest(s: Servers, e: int) -> int:
    """The worker that is free first."""
    best = 0
    for w in range(1, s.workers[e]):
        if s.free_s[e, w] < s.free_s[e, best]:
            best = w
    return best


@compiled
def answer_s(s: Servers, e: int, at_s: float, demand_s: float) -> float:
    """When a request of this demand that came now would be answered, if it met no error."""
    start = thawed(s, e, max(thawed(s, e, at_s), s.free_s[e, soonest(s, e)]))
    if start == inf:
        return inf
    k = piece_at(s, e, start)
    return thawed(s, e, start + demand_s / s.speed[e, k]) + float(s.extra_s[e, k])


@compiled
def serve(s: Servers, b: Book, i: int, e: int, timeout_s: float) -> None:
    """Request i has reached endpoint e: write down its end."""
    at_s = b.at_s[i]
    gives_up = at_s + timeout_s
    b.ended_s[i] = b.served_s[i] = gives_up
    reached = thawed(s, e, at_s)
    if reached >= gives_up:
        return
    k = piece_at(s, e, reached)
    if b.luck[i] < s.error_share[e, k]:
        answered = served = thawed(s, e, reached + s.after_s[e, k])
        status, good = s.status[e, k], False
    else:
        w = soonest(s, e)
        start = thawed(s, e, max(reached, s.free_s[e, w]))
        if start >= gives_up:
            return
        k = piece_at(s, e, start)
        served = thawed(s, e, start + b.demand_s[i] / s.speed[e, k])
        s.free_s[e, w] = served
        answered, status, good = served + s.extra_s[e, k], 200, True
    b.begun[i], b.served_s[i] = True, served
    if answered < gives_up:
        b.ended_s[i], b.status[i], b.good[i] = answered, status, good


@compiled
def watch(s: Servers, e: int, at_s: float) -> None:
    """Bring the load that an endpoint reports up to this time. Nothing may have begun or ended since the last call."""
    kept = exp(s.told_s[e] - at_s)  # over one second
    busy = 0
    for w in range(s.workers[e]):
        if s.free_s[e, w] > s.told_s[e]:
            busy += 1
    share = busy / s.workers[e]
    s.busy_share[e] = share + (s.busy_share[e] - share) * kept
    s.answers_per_s[e] *= kept
    s.failures_per_s[e] *= kept
    s.told_s[e] = at_s


@compiled
def leave(s: Servers, b: Book, i: int) -> None:
    """Request i leaves its endpoint, which remembers how long it took."""
    e, at_s = b.endpoint[i], b.served_s[i]
    watch(s, e, at_s)
    s.count[e] -= 1
    if not b.begun[i]:
        return
    s.answers_per_s[e] += 1.0
    if b.status[i] >= 500:
        s.failures_per_s[e] += 1.0
    place = s.answered[e] % RECENT
    s.latency_s[e, place] = at_s - b.at_s[i]
    s.met[e, place] = b.met[i]
    s.answered[e] += 1


@compiled
def latency_near(s: Servers, e: int) -> float:
    """The median of recent latencies met near the present queue length, as Prequal's servers tell it; 0 without any."""
    many = min(s.answered[e], RECENT)
    if many == 0:
        return 0.0
    near = min(NEAR, many)
    off, value = np.full(NEAR, inf), np.zeros(NEAR)
    for back in range(1, many + 1):  # the newest first: of equally near ones it wins
        place = (s.answered[e] - back) % RECENT
        _insert(off, value, near, abs(s.met[e, place] - s.count[e]), s.latency_s[e, place])
    for j in range(near):
        off[j] = inf
    for j in range(near):
        _insert(off, off, near, value[j], value[j])
    return float(off[near // 2])


@compiled
def _insert(key: Floats, value: Floats, many: int, k: float, v: float) -> None:
    """Put v among the `many` values of least key, in order of key; of equal keys the earlier stays before."""
    if k >= key[many - 1]:
        return
    j = many - 1
    while j > 0 and key[j - 1] > k:
        key[j], value[j] = key[j - 1], value[j - 1]
        j -= 1
    key[j], value[j] = k, v
