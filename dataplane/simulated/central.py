"""One queue for all endpoints, compiled: the bound that no router reaches, because it binds only when a worker is free.

Requests are served in order, so the moment one comes it is settled who will serve it: the best worker that is free, or
the one that is free first.
"""

from __future__ import annotations

from math import inf

from dataplane.simulated.arrays import Book, Servers
from dataplane.simulated.compiled import compiled
from dataplane.simulated.serving import piece_at, thawed


@compiled
def central(s: Servers, b: Book, timeout_s: float, mean_s: float) -> None:
    """Fill the book in. `mean_s` is the mean demand: what "best" goes by, with speed, errors and added delay."""
    for i in range(len(b.at_s)):
        at_s = b.at_s[i]
        best, worker, start, least = -1, 0, inf, inf
        for e in range(len(s.workers)):
            s.piece[e] = piece_at(s, e, at_s)
            for w in range(s.workers[e]):
                free = thawed(s, e, max(at_s, s.free_s[e, w], s.joins_s[e]))
                if free > start or free >= s.leaves_s[e]:
                    continue
                k = piece_at(s, e, free)
                cost = mean_s / (s.speed[e, k] * (1.0 - s.error_share[e, k])) + s.extra_s[e, k]
                if cost < inf and (free < start or cost < least):
                    best, worker, start, least = e, w, free, cost
        b.ended_s[i] = b.served_s[i] = at_s + timeout_s
        if start >= b.ended_s[i]:
            continue
        k = piece_at(s, best, start)
        b.endpoint[i], b.begun[i] = best, True
        if b.luck[i] < s.error_share[best, k]:
            answered, status, good = thawed(s, best, start + s.after_s[best, k]), s.status[best, k], False
        else:
            served = thawed(s, best, start + b.demand_s[i] / s.speed[best, k])
            s.free_s[best, worker] = served
            answered, status, good = served + s.extra_s[best, k], 200, True
        if answered < b.ended_s[i]:
            b.ended_s[i], b.status[i], b.good[i] = answered, status, good
