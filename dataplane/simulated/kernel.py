"""The fast mesh's clock, compiled: arrivals in the order of the trace, and a heap of what ends when.

One call of `advance` lives until a moment. What is due at that very moment is left for the next call; an end goes
before an arrival at the same time.
"""

from __future__ import annotations

import numpy as np

from dataplane.simulated.arrays import Book, Nodes, Notes, Servers
from dataplane.simulated.compiled import compiled
from dataplane.simulated.learning import learned, look, peak_ewma, prequal
from dataplane.simulated.picking import (
    CLAIRVOYANT,
    JSED,
    JSED_LOCAL,
    PEAK_EWMA,
    PREQUAL,
    scan,
    stock,
)
from dataplane.simulated.serving import leave, piece_at, serve, watch

BOTH, ENDS, LEAVES = 0, 1, 2
"""What an entry of the heap means: the request ends for its user, leaves its endpoint, or both."""
NO_ENDPOINT_STATUS = 503


@compiled
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
    """Live until then. `mean_s` is the mean demand, which the oracles know."""
    requests = len(b.at_s)
    while b.counts[0] < requests and b.at_s[b.counts[0]] < until_s:
        i = b.counts[0]
        settle(s, b, n, notes, np.nextafter(b.at_s[i], np.inf))
        _arrive(s, b, n, notes, i, timeout_s, mean_s, rng)
        b.counts[0] += 1
    settle(s, b, n, notes, until_s)


@compiled
def settle(s: Servers, b: Book, n: Nodes, notes: Notes, until_s: float) -> None:
    """End what ends before then."""
    while b.counts[2] > 0 and b.heap_s[0] < until_s:
        i, what = b.heap_what[0] // 3, b.heap_what[0] % 3
        _pop(b)
        if what != ENDS:
            leave(s, b, i)
        if what != LEAVES:
            _end(s, b, n, notes, i)


@compiled
def _arrive(
    s: Servers, b: Book, n: Nodes, notes: Notes, i: int, timeout_s: float, mean_s: float, rng: np.random.Generator
) -> None:
    at_s, v = b.at_s[i], b.node[i]
    arm = 1 if at_s < n.lease_until_s[v] and b.coin[i] * 100.0 < n.share_percent[v] else 0
    b.arm[i], b.plan[i] = arm, n.plan[v]
    look(n, notes, v, at_s)
    if n.ups[v] == 0:
        b.ended_s[i], b.status[i] = at_s, NO_ENDPOINT_STATUS
        b.order[b.counts[1]] = i
        b.counts[1] += 1
        return
    e = _pick(s, b, n, notes, i, v, arm, at_s, mean_s, rng)
    b.endpoint[i], b.weight[i] = e, n.weight[v, arm, e]
    b.probability[i] = n.weight[v, arm, e] / n.total[v, arm]
    n.open[v, arm, e] += 1
    n.issued[v, arm, e] += 1
    s.piece[e] = piece_at(s, e, at_s)
    watch(s, e, at_s)
    b.met[i] = s.count[e]
    s.count[e] += 1
    serve(s, b, i, e, timeout_s)
    if b.served_s[i] == b.ended_s[i]:
        _push(b, b.ended_s[i], 3 * i + BOTH)
    else:
        _push(b, b.ended_s[i], 3 * i + ENDS)
        _push(b, b.served_s[i], 3 * i + LEAVES)


@compiled
def _pick(
    s: Servers,
    b: Book,
    n: Nodes,
    notes: Notes,
    i: int,
    v: int,
    arm: int,
    at_s: float,
    mean_s: float,
    rng: np.random.Generator,
) -> int:
    way = n.policy[arm]
    if way == PEAK_EWMA:
        return peak_ewma(n, notes, v, at_s, rng)
    if way == PREQUAL:
        return prequal(n, notes, s, v, at_s, rng)
    if way in (JSED_LOCAL, JSED, CLAIRVOYANT):
        return scan(n, s, way, v, arm, at_s, b.demand_s[i], mean_s, rng)
    return stock(n, s, way, v, arm, rng)


@compiled
def _end(s: Servers, b: Book, n: Nodes, notes: Notes, i: int) -> None:
    """Request i is over for its user and its proxy."""
    v, arm, e = b.node[i], b.arm[i], b.endpoint[i]
    failed = b.status[i] == 0 or b.status[i] >= 500
    n.open[v, arm, e] -= 1
    if failed:
        n.failed[v, arm, e] += 1
    else:
        n.succeeded[v, arm, e] += 1
    b.order[b.counts[1]] = i
    b.counts[1] += 1
    if arm == 0:
        learned(n, notes, s, v, e, b.ended_s[i], b.ended_s[i] - b.at_s[i], b.status[i] != 0, failed)


@compiled
def _push(b: Book, at_s: float, what: int) -> None:
    """Equal times go by request."""
    i = b.counts[2]
    b.counts[2] += 1
    while i > 0:
        up = (i - 1) >> 1
        if b.heap_s[up] < at_s or (b.heap_s[up] == at_s and b.heap_what[up] < what):
            break
        b.heap_s[i], b.heap_what[i] = b.heap_s[up], b.heap_what[up]
        i = up
    b.heap_s[i], b.heap_what[i] = at_s, what


@compiled
def _pop(b: Book) -> None:
    b.counts[2] -= 1
    m = b.counts[2]
    at_s, what = b.heap_s[m], b.heap_what[m]
    i = 0
    while 2 * i + 1 < m:
        c = 2 * i + 1
        if c + 1 < m and (
            b.heap_s[c + 1] < b.heap_s[c] or (b.heap_s[c + 1] == b.heap_s[c] and b.heap_what[c + 1] < b.heap_what[c])
        ):
            c += 1
        if at_s < b.heap_s[c] or (at_s == b.heap_s[c] and what < b.heap_what[c]):
            break
        b.heap_s[i], b.heap_what[i] = b.heap_s[c], b.heap_what[c]
        i = c
    b.heap_s[i], b.heap_what[i] = at_s, what
