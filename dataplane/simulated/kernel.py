"""The fast mesh's clock, compiled: arrivals in the order of the trace, and a heap of what ends when.

One call of `advance` lives until a moment. What is due at that very moment is left for the next call; an end goes
before an arrival at the same time. Who finds as many open at its node and cluster as its limit allows is refused.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dataplane.simulated import arrays, learning, picking, serving
from dataplane.simulated import prequal as prequals
from dataplane.simulated.arrays import Book, Nodes, Notes, Servers
from dataplane.simulated.compiled import compiled, kept, mark_of
from dataplane.simulated.learning import learned, look, peak_ewma
from dataplane.simulated.picking import CLAIRVOYANT, JSED, JSED_LOCAL, PEAK_EWMA, PREQUAL, line_up, rebuild, scan, stock
from dataplane.simulated.prequal import prequal
from dataplane.simulated.serving import leave, piece_at, serve, watch

BOTH, ENDS, LEAVES = 0, 1, 2
"""What an entry of the heap means: the request ends for its user, leaves its endpoint, or both."""
NO_ENDPOINT_STATUS = 503
REFUSED_STATUS = 503


@compiled
def _advance(
    s: Servers,
    b: Book,
    n: Nodes,
    notes: Notes,
    until_s: float,
    timeout_s: float,
    mean_s: float,
    rng: np.random.Generator,
) -> None:
    while b.counts[0] < len(b.request) and b.request[b.counts[0]].at_s < until_s:
        i = b.counts[0]
        _settle(s, b, n, notes, np.nextafter(b.request[i].at_s, np.inf))
        _arrive(s, b, n, notes, i, timeout_s, mean_s, rng)
        b.counts[0] += 1
    _settle(s, b, n, notes, until_s)


@compiled
def _settle(s: Servers, b: Book, n: Nodes, notes: Notes, until_s: float) -> None:
    """End what ends before then."""
    while b.counts[2] > 0 and b.heap[0].at_s < until_s:
        i, what = b.heap[0].what // 3, b.heap[0].what % 3
        _pop(b)
        if what != ENDS:
            leave(s, b, i)
        if what != LEAVES:
            _end(s, b, n, notes, i)


@compiled
def _arrive(
    s: Servers, b: Book, n: Nodes, notes: Notes, i: int, timeout_s: float, mean_s: float, rng: np.random.Generator
) -> None:
    request, node = b.request[i], n.node[b.request[i].node]
    v, at_s = request.node, request.at_s
    arm = 1 if at_s < node.lease_until_s and request.coin * 100.0 < node.share_percent else 0
    request.arm = arm
    request.plan = node.plan
    look(n, notes, v, at_s)
    if node.ups == 0:
        request.ended_s = at_s
        request.status = NO_ENDPOINT_STATUS
        b.order[b.counts[1]] = i
        b.counts[1] += 1
        return
    if n.cluster[v, arm].open >= n.cluster[v, arm].limit:
        request.ended_s = at_s
        request.status = REFUSED_STATUS
        request.refused = True
        b.order[b.counts[1]] = i
        b.counts[1] += 1
        return
    way = n.cluster[v, arm].way
    if way == PEAK_EWMA:
        e = peak_ewma(n, notes, v, at_s, rng)
    elif way == PREQUAL:
        e = prequal(n, notes, s, v, at_s, rng)
    elif way in (JSED_LOCAL, JSED, CLAIRVOYANT):
        e = scan(n, s, v, arm, at_s, request.demand_s, mean_s, timeout_s, rng)
    else:
        e = stock(n, v, arm, rng)
    _send(s, b, n, i, e, timeout_s)


@compiled
def _send(s: Servers, b: Book, n: Nodes, i: int, e: int, timeout_s: float) -> None:
    """Request i goes to endpoint e."""
    request, server = b.request[i], s.server[e]
    lane, total = n.lane[request.node, request.arm, e], n.cluster[request.node, request.arm].total
    request.endpoint = e
    request.weight = int(lane.weight)
    request.probability = lane.weight / total
    lane.open += 1
    lane.issued += 1
    n.cluster[request.node, request.arm].open += 1
    server.piece = piece_at(s, e, request.at_s)
    watch(s, e, request.at_s)
    request.met = server.here
    server.here += 1
    serve(s, b, i, e, timeout_s)
    if request.served_s == request.ended_s:
        _push(b, request.ended_s, 3 * i + BOTH)
    else:
        _push(b, request.ended_s, 3 * i + ENDS)
        _push(b, request.served_s, 3 * i + LEAVES)


@compiled
def _end(s: Servers, b: Book, n: Nodes, notes: Notes, i: int) -> None:
    """Request i is over for its user and its proxy."""
    request = b.request[i]
    lane = n.lane[request.node, request.arm, request.endpoint]
    n.cluster[request.node, request.arm].open -= 1
    answered = request.status != 0
    failed = not answered or request.status >= 500
    if request.at_s >= lane.since_s:
        lane.open -= 1
        if failed:
            lane.failed += 1
        else:
            lane.succeeded += 1
    b.order[b.counts[1]] = i
    b.counts[1] += 1
    if request.arm == 0:
        took_s = request.ended_s - request.at_s
        learned(n, notes, s, request.node, request.endpoint, request.ended_s, took_s, answered, failed)


@compiled
def _push(b: Book, at_s: float, what: int) -> None:
    """Equal times go by request."""
    i = b.counts[2]
    b.counts[2] += 1
    while i > 0:
        up = b.heap[(i - 1) >> 1]
        if up.at_s < at_s or (up.at_s == at_s and up.what < what):
            break
        b.heap[i] = up
        i = (i - 1) >> 1
    b.heap[i].at_s = at_s
    b.heap[i].what = what


@compiled
def _pop(b: Book) -> None:
    b.counts[2] -= 1
    m, i = b.counts[2], 0
    last = b.heap[m]
    while 2 * i + 1 < m:
        c = 2 * i + 1
        if c + 1 < m and _before(b, c + 1, c):
            c += 1
        if _before(b, m, c):
            break
        b.heap[i] = b.heap[c]
        i = c
    b.heap[i] = last


@compiled
def _before(b: Book, one: int, two: int) -> bool:
    a, c = b.heap[one], b.heap[two]
    return bool(a.at_s < c.at_s or (a.at_s == c.at_s and a.what < c.what))


def _kept(mark: int) -> tuple[Callable[..., None], Callable[..., None], Callable[..., None]]:
    """What is called from outside. The mark is asked for so that numba sees it; it is never below 0."""

    @kept
    def advance(
        s: Servers,
        b: Book,
        n: Nodes,
        notes: Notes,
        until_s: float,
        timeout_s: float,
        mean_s: float,
        rng: np.random.Generator,
    ) -> None:
        if mark >= 0:
            _advance(s, b, n, notes, until_s, timeout_s, mean_s, rng)

    @kept
    def line_all_up(n: Nodes, notes: Notes) -> None:
        if mark >= 0:
            for v in range(len(n.node)):
                line_up(n, notes, v)

    @kept
    def restart(n: Nodes, v: int, arm: int) -> None:
        if mark >= 0:
            rebuild(n, v, arm)

    return advance, line_all_up, restart


advance, line_all_up, restart = _kept(mark_of(arrays, learning, picking, prequals, serving))
"""`advance`: live until a time; the mean demand is what the oracles know. `line_all_up`: take up the members at every
node. `restart`: build one cluster's schedule anew."""
