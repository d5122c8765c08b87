"""Endpoints that share their workers out among all they have, compiled: processor sharing.

With n requests in work each is done at speed * min(1, workers / n), so all of them are done alike: `done` is how many
demand seconds were done for one that was there all the time. A request that comes when `done` is d and wants w is
through when it is d + w, whatever else comes and goes (Kleinrock, "Queueing Systems II", 1976, section 4.4). So the
requests of an endpoint wait in a heap by that number, and only its first needs a time.

A second heap, by who gives up when, says which end is no answer; what was answered falls out of it as it comes up. The
two are skew heaps (Sleator and Tarjan 1986) chained through the book's rows: they take no room of their own.
"""

from __future__ import annotations

from math import inf

from dataplane.simulated.arrays import OVER, Book, Servers
from dataplane.simulated.compiled import inlined
from dataplane.simulated.due import WAKES, let_go, push
from dataplane.simulated.serving import fail, piece_at, thawed

NEXT_TO_NOTHING_S = 1e-12
"""Work that is done but for a rounding."""


@inlined
def pace(s: Servers, e: int, k: int) -> float:
    """Demand seconds done a second for each request, in that piece of time."""
    server, piece = s.server[e], s.pieces[e, k]
    if piece.hang:
        return 0.0
    return float(piece.speed * min(1.0, server.workers / max(server.working, 1)))


@inlined
def progress(s: Servers, e: int, at_s: float) -> None:
    """Do the work up to that time."""
    server = s.server[e]
    k = piece_at(s, e, server.done_s)
    while True:
        ends_s = s.pieces[e, k + 1].since_s if k + 1 < s.pieces.shape[1] else inf
        if server.working > 0:
            server.done += (min(ends_s, at_s) - server.done_s) * pace(s, e, k)
        server.done_s = min(ends_s, at_s)
        if ends_s > at_s:
            break
        k += 1
    server.piece = k


@inlined
def through_s(s: Servers, b: Book, e: int) -> float:
    """When the endpoint's first request is through if nobody else comes; infinity for never."""
    server = s.server[e]
    if server.least < 0:
        return inf
    wanted, at_s, k = b.row[server.least].finish - server.done, server.done_s, piece_at(s, e, server.done_s)
    if wanted <= NEXT_TO_NOTHING_S:
        return float(at_s)
    while True:
        ends_s = s.pieces[e, k + 1].since_s if k + 1 < s.pieces.shape[1] else inf
        rate = pace(s, e, k)
        if rate > 0.0 and at_s + wanted / rate <= ends_s:
            return float(at_s + wanted / rate)
        if ends_s == inf:
            return inf
        wanted -= (ends_s - at_s) * rate
        at_s = ends_s
        k += 1


@inlined
def share(s: Servers, b: Book, i: int, e: int, at_s: float) -> bool:
    """Attempt i has reached endpoint e. True when it is in work; else its end is written down, as `serving.serve`."""
    row, server = b.row[i], s.server[e]
    row.ended_s = row.until_s
    row.served_s = row.until_s
    progress(s, e, at_s)
    reached = thawed(s, e, at_s)
    if reached >= row.until_s:
        return False
    if row.luck < s.pieces[e, piece_at(s, e, reached)].error_share:
        fail(s, b, i, e, reached)
        return False
    if server.working == 0:
        server.done = 0.0  # small numbers are exact ones
    server.working += 1
    row.came = server.came
    server.came += 1
    row.begun = True
    row.finish = server.done + row.demand_s
    row.held += 2  # by the two heaps
    row.left, row.right, row.before, row.after = -1, -1, -1, -1
    server.least = by_finish(b, server.least, i)
    server.soonest = by_until(b, server.soonest, i)
    wake(s, b, e)
    return True


@inlined
def wake(s: Servers, b: Book, e: int) -> None:
    """Have the endpoint looked at when its next request is through or gives up, unless that is so already."""
    server = s.server[e]
    while server.soonest >= 0 and b.row[server.soonest].state == OVER:
        given_up(s, b, e)
    next_s = through_s(s, b, e)
    if server.soonest >= 0:
        next_s = min(next_s, b.row[server.soonest].until_s)
    if next_s < server.wake_s:
        server.wake_s = next_s
        push(b, next_s, e, WAKES)


@inlined
def through(s: Servers, b: Book, e: int, at_s: float) -> int:
    """Whose work is done at that time, taken out of the work; -1 for nobody's."""
    if through_s(s, b, e) > at_s:
        return -1
    server = s.server[e]
    i = int(server.least)
    row = b.row[i]
    server.done = max(server.done, row.finish)
    server.least = by_finish(b, row.left, row.right)
    server.working -= 1
    row.served_s = at_s
    return i


@inlined
def given_up(s: Servers, b: Book, e: int) -> None:
    """Take the first out who gives up, or would if he had not been answered."""
    server = s.server[e]
    i = server.soonest
    server.soonest = by_until(b, b.row[i].before, b.row[i].after)
    let_go(b, i)


@inlined
def by_finish(b: Book, one: int, two: int) -> int:
    """Two heaps of work made one, in a single pass from the top."""
    if one < 0 or two < 0:
        return int(max(one, two))
    if sooner_through(b, two, one):
        one, two = two, one
    top, at = one, one
    while True:  # `two` is to go under `at`: to its right, and then its sides are changed over
        row = b.row[at]
        under = row.right
        row.right = row.left
        if under < 0:
            row.left = two
            return int(top)
        if sooner_through(b, two, under):
            under, two = two, under
        row.left = under
        at = under


@inlined
def by_until(b: Book, one: int, two: int) -> int:
    """The same of who gives up."""
    if one < 0 or two < 0:
        return int(max(one, two))
    if sooner_gone(b, two, one):
        one, two = two, one
    top, at = one, one
    while True:
        row = b.row[at]
        under = row.after
        row.after = row.before
        if under < 0:
            row.before = two
            return int(top)
        if sooner_gone(b, two, under):
            under, two = two, under
        row.before = under
        at = under


@inlined
def sooner_through(b: Book, one: int, two: int) -> bool:
    """Who is through first: of equal ones, who came first."""
    a, c = b.row[one], b.row[two]
    return bool(a.finish < c.finish or (a.finish == c.finish and a.came < c.came))


@inlined
def sooner_gone(b: Book, one: int, two: int) -> bool:
    """Who gives up first: of equal ones, who came first."""
    a, c = b.row[one], b.row[two]
    return bool(a.until_s < c.until_s or (a.until_s == c.until_s and a.came < c.came))
