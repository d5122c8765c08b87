"""One queue for all endpoints, compiled: the bound that no router reaches, because it binds only when a worker is free.

Requests are served in order, so the moment one comes it is settled who will serve it: the best worker that is free, or
the one that is free first. An error costs the timeout, so who answers some with errors is taken for one that is free
later by what they cost in the mean: good ones are waited for, within reason.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from dataplane.simulated import arrays, serving
from dataplane.simulated.arrays import Book, Servers
from dataplane.simulated.compiled import compiled, kept, mark_of
from dataplane.simulated.serving import fail, piece_at, soonest, thawed, work


@compiled
def _central(s: Servers, b: Book, timeout_s: float, mean_s: float) -> None:
    for i in range(len(b.row)):
        row = b.row[i]
        best, start, first, least = int(row.endpoint), inf, inf, inf  # nobody yet
        for e in range(len(s.server)):
            server = s.server[e]
            server.piece = piece_at(s, e, row.at_s)
            free = thawed(s, e, max(row.at_s, s.free_s[e, soonest(s, e)], server.joins_s))
            if free >= server.leaves_s:
                continue
            piece = s.pieces[e, piece_at(s, e, free)]
            ready = free + piece.error_share * timeout_s
            cost = mean_s / piece.speed + piece.extra_s
            if ready < first or (ready == first and cost < least):
                best, start, first, least = e, free, ready, cost
        row.ended_s = row.until_s
        if start >= row.until_s:
            continue
        row.endpoint = best
        if row.luck < s.pieces[best, piece_at(s, best, start)].error_share:
            fail(s, b, i, best, start)
        else:
            work(s, b, i, best, soonest(s, best), start)


def _kept(mark: int) -> Callable[..., None]:
    """What is called from outside. The mark is asked for so that numba sees it; it is never below 0."""

    @kept
    def central(s: Servers, b: Book, timeout_s: float, mean_s: float) -> None:
        if mark >= 0:
            _central(s, b, timeout_s, mean_s)

    return central


central = _kept(mark_of(arrays, serving))
"""Fill the book in. The mean demand is what "best" goes by, with speed, errors and added delay."""
