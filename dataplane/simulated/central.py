"""One queue for all endpoints, compiled: the bound that no router reaches, because it binds only when a worker is free.

Requests are served in order, so the moment one comes it is settled who will serve it: the best worker that is free, or
the one that is free first.
"""

from __future__ import annotations

from math import inf

from dataplane.simulated.arrays import Book, Servers
from dataplane.simulated.compiled import compiled
from dataplane.simulated.serving import fail, piece_at, soonest, thawed, work


@compiled
def central(s: Servers, b: Book, timeout_s: float, mean_s: float) -> None:
    """Fill the book in. `mean_s` is the mean demand: what "best" goes by, with speed, errors and added delay."""
    for i in range(len(b.request)):
        request = b.request[i]
        best, start, least = int(request.endpoint), inf, inf  # nobody yet
        for e in range(len(s.server)):
            server = s.server[e]
            server.piece = piece_at(s, e, request.at_s)
            free = thawed(s, e, max(request.at_s, s.free_s[e, soonest(s, e)], server.joins_s))
            if free > start or free >= server.leaves_s:
                continue
            piece = s.pieces[e, piece_at(s, e, free)]
            cost = mean_s / (piece.speed * (1.0 - piece.error_share)) + piece.extra_s
            if cost < inf and (free < start or cost < least):
                best, start, least = e, free, cost
        gives_up = request.at_s + timeout_s
        request.ended_s = gives_up
        if start >= gives_up:
            continue
        request.endpoint = best
        if request.luck < s.pieces[best, piece_at(s, best, start)].error_share:
            fail(s, b, i, best, start, gives_up)
        else:
            work(s, b, i, best, soonest(s, best), start, gives_up)
