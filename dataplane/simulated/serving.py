"""What endpoints with a queue do with an attempt, compiled: `dataplane.simulated.fleet` says it in words.

Because a queue is served in order and what will happen to an endpoint is known, the moment a request comes settles
when its work begins and ends: no event is needed for a start. Who would begin only after his user has given up never
begins, and holds nobody up.
"""

from __future__ import annotations

from math import exp, inf

from dataplane.simulated.arrays import QUEUES, RECENT, Book, Servers
from dataplane.simulated.compiled import compiled, inlined
from dataplane.simulated.fleet import Floats


@inlined
def piece_at(s: Servers, e: int, at_s: float) -> int:
    """The piece in force at a time not before the last arrival."""
    k = int(s.server[e].piece)
    while k + 1 < s.pieces.shape[1] and s.pieces[e, k + 1].since_s <= at_s:
        k += 1
    return k


@inlined
def thawed(s: Servers, e: int, at_s: float) -> float:
    """That time, or when the hang is over that covers it; infinity for one that lasts."""
    k = piece_at(s, e, at_s)
    while s.pieces[e, k].hang:
        k += 1
        if k == s.pieces.shape[1]:
            return inf
        at_s = s.pieces[e, k].since_s
    return at_s


@inlined
def soonest(s: Servers, e: int) -> int:
    """The worker that is free first."""
    best = 0
    for w in range(1, s.server[e].workers):
        if s.free_s[e, w] < s.free_s[e, best]:
            best = w
    return best


@compiled
def answer_s(s: Servers, e: int, at_s: float, demand_s: float) -> float:
    """When a request of this demand that came now would be answered, if it met no error; and, where workers are shared,
    if nobody came or went meanwhile."""
    server = s.server[e]
    start = thawed(s, e, at_s if server.sharing else max(at_s, s.free_s[e, soonest(s, e)]))
    if start == inf:
        return inf
    piece = s.pieces[e, piece_at(s, e, start)]
    if server.sharing:
        demand_s *= max(1.0, (server.working + 1.0) / server.workers)
    return thawed(s, e, start + demand_s / piece.speed) + float(piece.extra_s)


@inlined
def serve(s: Servers, b: Book, i: int, e: int, at_s: float) -> None:
    """Attempt i has reached endpoint e: write down its end."""
    row = b.row[i]
    row.ended_s = row.until_s
    row.served_s = row.until_s
    reached = thawed(s, e, at_s)
    if reached >= row.until_s:
        return
    piece = s.pieces[e, piece_at(s, e, reached)]
    if row.luck < piece.error_share:
        fail(s, b, i, e, reached)
        return
    w = soonest(s, e)
    start = thawed(s, e, max(reached, s.free_s[e, w]))
    if start < row.until_s:
        work(s, b, i, e, w, start)


@compiled
def fail(s: Servers, b: Book, i: int, e: int, at_s: float) -> None:
    """Endpoint e answers attempt i without work."""
    piece, row = s.pieces[e, piece_at(s, e, at_s)], b.row[i]
    row.begun = True
    row.served_s = thawed(s, e, at_s + piece.after_s)
    if row.served_s < row.until_s:
        row.ended_s = row.served_s
        row.status = piece.status


@inlined
def work(s: Servers, b: Book, i: int, e: int, w: int, start: float) -> None:
    """Worker w of endpoint e begins with attempt i at that time."""
    piece, row = s.pieces[e, piece_at(s, e, start)], b.row[i]
    row.begun = True
    row.served_s = thawed(s, e, start + row.demand_s / piece.speed)
    s.free_s[e, w] = row.served_s
    if row.served_s + piece.extra_s < row.until_s:
        row.ended_s = row.served_s + piece.extra_s
        row.status = 200
        row.good = True


@inlined
def watch(s: Servers, e: int, at_s: float) -> None:
    """Bring the load that an endpoint reports up to this time. Nothing may have begun or ended since the last call."""
    server = s.server[e]
    if not server.reports:
        return
    kept = exp(server.told_s - at_s)  # over one second
    busy = 0
    if server.sharing:
        busy = min(server.working, server.workers)
    else:
        for w in range(server.workers):
            if s.free_s[e, w] > server.told_s:
                busy += 1
    share = busy / server.workers
    server.busy_share = share + (server.busy_share - share) * kept
    server.answers_per_s *= kept
    server.failures_per_s *= kept
    server.told_s = at_s


@inlined
def leave(s: Servers, b: Book, i: int) -> None:
    """Attempt i leaves its endpoint, which remembers how long it took."""
    row = b.row[i]
    e = row.endpoint
    server = s.server[e]
    watch(s, e, row.served_s)
    server.here -= 1
    if not row.begun:
        return
    if server.reports:
        server.answers_per_s += 1.0
        if row.status >= 500:
            server.failures_per_s += 1.0
    if server.probed:
        q = min(row.met, QUEUES - 1)
        s.recent_s[e, q, s.answered[e, q] % RECENT] = row.served_s - row.sent_s
        s.answered[e, q] += 1


@compiled
def latency_near(s: Servers, e: int) -> float:
    """The median of recent latencies at the present queue length, or the nearest one met; 0 if nothing ever ended."""
    now = min(s.server[e].here, QUEUES - 1)
    for off in range(QUEUES):
        for q in (now - off, now + off):
            if 0 <= q < QUEUES and s.answered[e, q] > 0:
                many = min(s.answered[e, q], RECENT)
                for j in range(many):
                    s.scratch[j] = s.recent_s[e, q, j]
                return middle(s.scratch, many)
    return 0.0


@compiled
def middle(values: Floats, many: int) -> float:
    """The median of the first so many, of two the upper. They come out in order."""
    for i in range(1, many):
        v, j = values[i], i
        while j > 0 and values[j - 1] > v:
            values[j] = values[j - 1]
            j -= 1
        values[j] = v
    return float(values[many // 2])
