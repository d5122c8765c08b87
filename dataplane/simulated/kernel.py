"""The fast mesh's clock, compiled: arrivals in the order of the trace, and a heap of what is due when.

One call of `advance` lives until a moment, or until rows are short. What is due at that very moment is left for the
next call; what is due goes before an arrival at the same time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dataplane.simulated import arrays, due, learning, leased_pick, picking, serving, sharing, trying
from dataplane.simulated import prequal as prequals
from dataplane.simulated.arrays import OVER, Book, Nodes, Notes, Servers
from dataplane.simulated.compiled import compiled, inlined, kept, mark_of
from dataplane.simulated.due import (
    BEGINS,
    BOTH,
    ENDS,
    LATE,
    LEAVES,
    WAKES,
    WHAT_BITS,
    first_s,
    let_go,
    pop,
    push,
    taken_row,
)
from dataplane.simulated.learning import look
from dataplane.simulated.picking import line_up, rebuild
from dataplane.simulated.serving import leave, watch
from dataplane.simulated.sharing import progress, through, wake
from dataplane.simulated.trying import REFUSED_STATUS, begin, clear, end, late, over, told_of

ROWS, ENTRIES = 2, 8
"""So many of a book are taken at most by whatever happens next."""


@inlined
def _advance(
    s: Servers, b: Book, n: Nodes, notes: Notes, until_s: float, mean_s: float, rng: np.random.Generator
) -> bool:
    clock = b.clock[0]
    while clock.free >= ROWS and clock.due + ENTRIES <= len(b.due):
        arrives_s = b.asked[clock.next].at_s if clock.next < len(b.asked) else np.inf
        due_s = first_s(b)
        if due_s <= arrives_s:
            if due_s >= until_s:
                return True
            _happen(s, b, n, notes, due_s, mean_s, rng)
        elif arrives_s < until_s:
            _arrive(s, b, n, notes, mean_s, rng)
        else:
            return True
    return False


@inlined
def _happen(s: Servers, b: Book, n: Nodes, notes: Notes, at_s: float, mean_s: float, rng: np.random.Generator) -> None:
    """The first of the heap."""
    entry = pop(b)
    i, what = entry >> WHAT_BITS, entry & ((1 << WHAT_BITS) - 1)
    if what == LATE:
        late(b, n, i, at_s)
    elif what == BEGINS:
        if at_s < b.row[i].gives_up_s:
            _begin_again(s, b, n, notes, i, at_s, mean_s, rng)
        else:
            b.row[i].at_s = at_s
            b.row[i].attempt = 0  # none was made
            over(b, n, i, at_s)
    elif what == LEAVES:
        leave(s, b, i)
        let_go(b, i)
    elif what != WAKES or s.server[i].wake_s == at_s:  # else it was to look earlier, and did
        j, through = i, -1
        if what == BOTH:
            leave(s, b, i)
        elif what == WAKES:
            j, through = _whose(s, b, i, at_s)
        if j >= 0:
            end(s, b, n, notes, j, rng)
        if through >= 0:
            let_go(b, through)
        if what == WAKES:
            wake(s, b, i)


@inlined
def _whose(s: Servers, b: Book, e: int, at_s: float) -> tuple[int, int]:
    """An endpoint that shares looks: whose time is over or answer is there, and who is out of the work; -1 for none."""
    server = s.server[e]
    server.wake_s = np.inf
    watch(s, e, at_s)
    progress(s, e, at_s)
    first = int(server.soonest)
    if first >= 0 and b.row[first].until_s <= at_s and b.row[first].state != OVER:
        return first, -1
    i = through(s, b, e, at_s)
    if i < 0:
        return -1, -1
    row = b.row[i]
    leave(s, b, i)
    answered_s = at_s + s.pieces[e, server.piece].extra_s
    if row.state == OVER or answered_s >= row.until_s:
        return -1, i
    row.ended_s = answered_s
    row.status = 200
    row.good = True
    if answered_s > at_s:
        push(b, answered_s, i, ENDS)
        return -1, i
    return i, i


@inlined
def _arrive(s: Servers, b: Book, n: Nodes, notes: Notes, mean_s: float, rng: np.random.Generator) -> None:
    """The next request comes."""
    clock, i = b.clock[0], taken_row(b)
    asked, row = b.asked[clock.next], b.row[i]
    told, node, at_s = told_of(b, asked.klass), n.node[asked.node], asked.at_s
    clear(b, i)
    row.number = clock.number
    row.asked_s = at_s
    row.at_s = at_s
    row.gives_up_s = at_s + told.timeout_s
    row.demand_s = asked.demand_s
    row.luck = asked.luck
    row.node = asked.node
    row.klass = asked.klass
    row.attempt = 1
    row.tries = told.tries
    row.high = told.high
    clock.next += 1
    clock.number += 1
    row.arm = 1 if at_s < node.lease_until_s and asked.coin * 100.0 < node.share_percent else 0
    look(n, notes, asked.node, at_s)
    if told.sheddable and row.arm == 1 and asked.coin * 100.0 < node.shed_percent:
        row.plan = node.plan
        row.attempt = 0
        row.refused = True
        row.status = REFUSED_STATUS
        over(b, n, i, at_s)
    else:
        begin(s, b, n, notes, i, at_s, mean_s, rng)


@compiled
def _begin_again(
    s: Servers, b: Book, n: Nodes, notes: Notes, i: int, at_s: float, mean_s: float, rng: np.random.Generator
) -> None:
    """A second try begins: seldom enough not to be inlined."""
    begin(s, b, n, notes, i, at_s, mean_s, rng)


def _kept(mark: int) -> tuple[Callable[..., bool], Callable[..., None], Callable[..., None]]:
    """What is called from outside. The mark is asked for so that numba sees it; it is never below 0."""

    @kept
    def advance(
        s: Servers, b: Book, n: Nodes, notes: Notes, until_s: float, mean_s: float, rng: np.random.Generator
    ) -> bool:
        return mark >= 0 and _advance(s, b, n, notes, until_s, mean_s, rng)

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


advance, line_all_up, restart = _kept(
    mark_of(arrays, due, leased_pick, learning, picking, prequals, serving, sharing, trying)
)
"""`advance`: live until a time; the mean demand is what the oracles know. False: it stopped earlier, for want of room.
`line_all_up`: take up the members at every node. `restart`: build one cluster's schedule anew."""
