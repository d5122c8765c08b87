"""What a proxy does with one request, compiled: try, wait for a connection, be refused, try again. As Envoy 1.40 does.

* A try picks its endpoint anew; a second one may meet the first one's again (no retry host predicate).
* Where connections are limited, an attempt needs one of its endpoint's own: an idle one, or a new one while the cluster
  has less than it may, or the endpoint has none at all; else it waits, first come first served, until one is free. More
  than `max_pending_requests` do not wait (`conn_pool_base.cc`). Connecting takes no time here.
* At its endpoint it counts among `max_requests`. Who is refused by a limit is not tried again.
* A 5xx or a try that takes too long is tried again while tries are left, after a wait drawn below 25 ms, 50, 100, 200,
  250 (`backoff_strategy.cc`), if less than the budget are being tried again: a part of what is open and waiting, this
  one still included, in whole numbers, or the least that is always allowed (`resource_manager_impl.h`). It counts from
  that decision until the try it led to is over (`retry_state_impl.cc`).
* A try's own time begins when it has its connection, the request's when it came. Time over closes the connection.
"""

from __future__ import annotations

from math import floor
from typing import Any

import numpy as np

from dataplane.simulated.arrays import COMING, OVER, SENT, WAITING, Book, Nodes, Notes, Servers
from dataplane.simulated.compiled import compiled, inlined
from dataplane.simulated.due import BEGINS, BOTH, ENDS, LATE, LEAVES, let_go, push, taken_row
from dataplane.simulated.learning import learned, peak_ewma
from dataplane.simulated.leased_pick import hear
from dataplane.simulated.picking import CLAIRVOYANT, JSED, JSED_LOCAL, LEASED, PEAK_EWMA, PREQUAL, scan, stock
from dataplane.simulated.prequal import prequal
from dataplane.simulated.serving import piece_at, serve, watch
from dataplane.simulated.sharing import share

NO_ENDPOINT_STATUS = 503
REFUSED_STATUS = 503
BACK_OFF_MS, MOST_BACK_OFF_MS = 25.0, 250.0


@inlined
def begin(
    s: Servers, b: Book, n: Nodes, notes: Notes, i: int, at_s: float, mean_s: float, rng: np.random.Generator
) -> None:
    """Attempt i begins: pick, and go there if no limit says no."""
    row = b.row[i]
    v, arm, node = row.node, row.arm, n.node[row.node]
    row.at_s = at_s
    row.plan = node.plan
    if node.ups == 0:
        row.status = NO_ENDPOINT_STATUS
        over(b, n, i, at_s)
        return
    cluster = n.cluster[v, arm]
    way = cluster.way
    if way == PEAK_EWMA:
        e = peak_ewma(n, notes, v, at_s, rng)
    elif way == PREQUAL:
        e = prequal(n, notes, s, v, at_s, rng)
    elif way in (JSED_LOCAL, JSED, CLAIRVOYANT):
        e = scan(n, s, v, arm, at_s, row.demand_s, mean_s, b.told[0].timeout_s, rng)
    else:
        e = stock(n, v, arm, at_s, rng)
    lane = n.lane[v, arm, e]
    row.endpoint = e
    row.weight = int(lane.weight)
    row.probability = lane.weight / cluster.total
    lane.open += 1
    if cluster.pooled:
        connect(s, b, n, i, at_s)
    else:
        send(s, b, n, i, at_s)


@compiled
def connect(s: Servers, b: Book, n: Nodes, i: int, at_s: float) -> None:
    """Attempt i needs a connection to its endpoint."""
    row = b.row[i]
    pool, breaker = n.pool[row.node, row.arm, row.endpoint, row.high], n.breaker[row.node, row.arm, row.high]
    idle = pool.busy < pool.connections
    if not idle and breaker.waiting >= breaker.most_waiting:
        refuse(b, n, i, at_s)
    elif idle or breaker.connections < breaker.most_connections or pool.connections == 0:
        if not idle:
            pool.connections += 1
            breaker.connections += 1
        send(s, b, n, i, at_s)
    else:
        row.state = WAITING
        row.next = -1
        row.held += 2  # by the queue and the heap
        breaker.waiting += 1
        pool.waiting += 1
        push(b, row.gives_up_s, i, LATE)
        if pool.first < 0:
            pool.first = i
        else:
            b.row[pool.last].next = i
        pool.last = i


@inlined
def send(s: Servers, b: Book, n: Nodes, i: int, at_s: float) -> None:
    """Attempt i leaves for its endpoint."""
    row = b.row[i]
    v, arm, e = row.node, row.arm, row.endpoint
    breaker, server = n.breaker[v, arm, row.high], s.server[e]
    if breaker.open >= breaker.most_open:
        refuse(b, n, i, at_s)
        return
    breaker.open += 1
    n.lane[v, arm, e].issued += 1
    if n.cluster[v, arm].pooled:
        n.pool[v, arm, e, row.high].busy += 1
    row.state = SENT
    row.sent_s = at_s
    row.until_s = min(row.gives_up_s, at_s + told_of(b, row.klass).try_s)
    watch(s, e, at_s)
    row.met = server.here
    server.here += 1
    if server.sharing:
        if share(s, b, i, e, at_s):
            return
    else:
        server.piece = piece_at(s, e, at_s)
        serve(s, b, i, e, at_s)
    if row.served_s == row.ended_s:
        push(b, row.ended_s, i, BOTH)
    else:
        row.held += 1
        push(b, row.ended_s, i, ENDS)
        push(b, row.served_s, i, LEAVES)


@inlined
def told_of(b: Book, klass: int) -> Any:
    """What holds for a class."""
    return b.told[klass if len(b.told) > 1 else 0]


@compiled
def refuse(b: Book, n: Nodes, i: int, at_s: float) -> None:
    """A limit says no to attempt i."""
    row = b.row[i]
    row.refused = True
    row.status = REFUSED_STATUS
    stay(b, n, i, at_s)


@compiled
def stay(b: Book, n: Nodes, i: int, at_s: float) -> None:
    """Attempt i was to go to an endpoint and does not."""
    row = b.row[i]
    lane = n.lane[row.node, row.arm, row.endpoint]
    if row.at_s >= lane.since_s:
        lane.open -= 1
    row.endpoint = -1
    row.met = 0
    row.weight = 0
    row.probability = 0.0
    over(b, n, i, at_s)


@inlined
def over(b: Book, n: Nodes, i: int, at_s: float) -> None:
    """Attempt i and its request are over."""
    row, clock = b.row[i], b.clock[0]
    row.state = OVER
    row.ended_s = at_s
    row.last = True
    if row.budgeted:
        n.breaker[row.node, row.arm, row.high].retries -= 1
    b.ended[clock.ended] = i
    clock.ended += 1


@inlined
def end(s: Servers, b: Book, n: Nodes, notes: Notes, i: int, rng: np.random.Generator) -> None:
    """Attempt i, at its endpoint, is over for its proxy, which may try again."""
    row, clock = b.row[i], b.clock[0]
    v, arm, e, at_s = row.node, row.arm, row.endpoint, row.ended_s
    breaker, lane = n.breaker[v, arm, row.high], n.lane[v, arm, e]
    answered = row.status != 0
    failed = not answered or row.status >= 500
    row.state = OVER
    b.ended[clock.ended] = i
    clock.ended += 1
    if row.budgeted:
        breaker.retries -= 1
    row.last = True
    if failed and row.tries > 0 and at_s < row.gives_up_s:
        may = max(floor(breaker.budget_percent / 100.0 * (breaker.open + breaker.waiting)), breaker.least_retries)
        if breaker.retries < may:
            row.last = False
            breaker.retries += 1
            again(b, i, at_s, rng)
    breaker.open -= 1
    if row.at_s >= lane.since_s:
        lane.open -= 1
        if failed:
            lane.failed += 1
        else:
            lane.succeeded += 1
        if answered and s.server[e].says and n.cluster[v, arm].way == LEASED:
            hear(n, v, arm, e, s.server[e].here, at_s)
    if arm == 0:
        learned(n, notes, s, v, e, at_s, at_s - row.sent_s, answered, failed)
    if n.cluster[v, arm].pooled:
        release(s, b, n, i, not answered)


@compiled
def again(b: Book, i: int, at_s: float, rng: np.random.Generator) -> None:
    """After attempt i there is to be another one, in a row of its own."""
    j = taken_row(b)
    old, row = b.row[i], b.row[j]
    clear(b, j)
    row.number = old.number
    row.asked_s = old.asked_s
    row.gives_up_s = old.gives_up_s
    row.demand_s = old.demand_s
    row.luck = old.luck if told_of(b, old.klass).same_luck else rng.random()
    row.node = old.node
    row.klass = old.klass
    row.arm = old.arm
    row.high = old.high
    row.tries = old.tries - 1
    row.attempt = old.attempt + 1
    row.budgeted = True
    most_ms = min(MOST_BACK_OFF_MS, BACK_OFF_MS * 2.0 ** (old.attempt - 1))
    begins_s = at_s + floor(rng.random() * most_ms) / 1000.0
    push(b, min(begins_s, row.gives_up_s), j, BEGINS)


@inlined
def clear(b: Book, i: int) -> None:
    """A row that is used again: nothing of its last attempt is left."""
    row = b.row[i]
    row.state = COMING
    row.endpoint = -1
    row.met = 0
    row.weight = 0
    row.probability = 0.0
    row.status = 0
    row.held = 0
    row.good = False
    row.refused = False
    row.begun = False
    row.budgeted = False
    row.last = False
    row.taken = False


@compiled
def release(s: Servers, b: Book, n: Nodes, i: int, closed: bool) -> None:
    """Attempt i gives its connection back, or closes it: who waits for one is next."""
    row = b.row[i]
    v, arm, e, high, at_s = row.node, row.arm, row.endpoint, row.high, row.ended_s
    pool, breaker = n.pool[v, arm, e, high], n.breaker[v, arm, high]
    pool.busy -= 1
    if closed or not n.members[e]:
        pool.connections -= 1
        breaker.connections -= 1
    while pool.first >= 0:
        j = pool.first
        if b.row[j].state == WAITING:
            if pool.busy >= pool.connections:
                if breaker.connections >= breaker.most_connections and pool.connections > 0:
                    return
                pool.connections += 1
                breaker.connections += 1
            pool.first = b.row[j].next
            breaker.waiting -= 1
            pool.waiting -= 1
            send(s, b, n, j, at_s)
        else:
            pool.first = b.row[j].next  # its time was over as it waited
        let_go(b, j)


@compiled
def late(b: Book, n: Nodes, i: int, at_s: float) -> None:
    """Attempt i may have waited too long for a connection."""
    row = b.row[i]
    if row.state == WAITING:
        n.breaker[row.node, row.arm, row.high].waiting -= 1
        n.pool[row.node, row.arm, row.endpoint, row.high].waiting -= 1
        stay(b, n, i, at_s)
    let_go(b, i)
