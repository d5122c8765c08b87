"""The pick of `dataplane/pick/choose.h` in Python: what the simulated mesh picks by, and what the tests hold C against.

Members are compared by max(open + min(lanes, 1), lanes) / capacity where the proxy's own open requests say something,
and take turns by capacity where they do not; who said in its last answer that it is less busy is taken in place of
either. The reasons stand there. Numbers and their order are the same, down to the draws of luck, so that on the same
state and luck both pick the same member and leave the same state.
"""

from __future__ import annotations

from math import inf

import numpy as np

from dataplane.simulated.arrays import Nodes, Records
from dataplane.simulated.compiled import compiled, inlined

SCANNED, DRAWN = 64, 8
"""A crew up to so many is scanned; of a larger one so many next in turn are."""
TELLING = 0.1
"""Open requests a member from which on they are compared."""
SMOOTHING = 1.0 / 64
LATE = 3.0
"""Times what is open, in picks: over so many what was open at each is smoothed."""
HEARD = 0.01
"""The part of an even share that everybody gets in any case."""
AHEAD = 40.0
"""Turns that one may be early by what it said."""
USUAL = 1.0 / 8
"""How much a word counts in what is usual."""


@compiled
def leased_pick(n: Nodes, v: int, arm: int, at_s: float, rng: np.random.Generator) -> int:
    """Who gets the next request: an endpoint's row. Somebody is up."""
    e = least_busy(n, v, arm, rng)
    if n.cluster[v, arm].reports:
        e = by_report(n, v, arm, e, at_s, rng)
    n.cluster[v, arm].picks += 1
    n.lane[v, arm, e].last = n.cluster[v, arm].picks
    return e


@compiled
def overlooked(n: Nodes, v: int, arm: int, e: int) -> bool:
    """Whether it has gone without for longer than it should."""
    return bool((n.cluster[v, arm].picks - n.lane[v, arm, e].last) * HEARD > n.node[v].ups)


@inlined
def cost(cluster: Records, lane: Records, seen: float) -> float:
    """The time to an answer with so many open that are seen, and a little for them. Lanes of 0 are not known."""
    lanes = cluster.lanes if cluster.lanes > 0.0 else 1.0
    return float((max(seen + min(lanes, 1.0), lanes) + (seen + 1.0) / 64) / lane.pace)


@inlined
def answers(lane: Records, there: float, workers: float) -> float:
    """The time to an answer with so many there, by a capacity that may be told beside its pace."""
    slow, least = 1.0 / (lane.able if lane.able > 0.0 else lane.pace), max(there, lane.queue)
    return float((max(least + 1.0, workers) + (least + 1.0) / 64) * slow)


@compiled
def least_busy(n: Nodes, v: int, arm: int, rng: np.random.Generator) -> int:
    """The endpoint, by a scan or by turns."""
    cluster, ups = n.cluster[v, arm], n.node[v].ups
    if ups > SCANNED:
        cluster.turns = True
        return by_turn(n, v, arm, 1 if cluster.busy < TELLING else DRAWN)
    total = 0.0
    for j in range(ups):
        total += n.lane[v, arm, n.up[v, j]].open
    cluster.busy += (total / ups - cluster.busy) * SMOOTHING
    part = 1.0 / (1.0 + LATE * cluster.busy * ups)
    for j in range(ups if 0.0 < cluster.lanes < 1.0 else 0):
        lane = n.lane[v, arm, n.up[v, j]]
        lane.mean += (lane.open - lane.mean) * part
    turns = cluster.busy < TELLING
    if turns and not cluster.turns:
        for j in range(ups):
            lane = n.lane[v, arm, n.up[v, j]]
            lane.deadline = cluster.clock + rng.random() / lane.pace
    cluster.turns = turns
    return by_turn(n, v, arm, 1) if turns else by_scan(n, v, arm, rng)


@compiled
def by_scan(n: Nodes, v: int, arm: int, rng: np.random.Generator) -> int:
    """Of all that are up the least busy. Where little of its lanes is ours, what was open of late counts as well."""
    cluster = n.cluster[v, arm]
    now = cluster.lanes if 0.0 < cluster.lanes < 1.0 else 1.0
    least, best, ties = inf, 0, 0
    for j in range(n.node[v].ups):
        e = n.up[v, j]
        lane = n.lane[v, arm, e]
        if overlooked(n, v, arm, e):
            return int(e)
        costs = cost(cluster, lane, lane.mean + now * (lane.open - lane.mean) if now < 1.0 else lane.open)
        if costs < least:
            least, best, ties = costs, e, 1
        elif costs == least:
            ties += 1
            if rng.random() * ties < 1.0:
                best = e
    return int(best)


@compiled
def by_turn(n: Nodes, v: int, arm: int, most: int) -> int:
    """Of the `most` next in turn the least busy. Those before it stay next; it waits for the turn after."""
    cluster, ups = n.cluster[v, arm], n.node[v].ups
    last, last_due, best, best_due, least, total, looked = -1, -inf, -1, inf, inf, 0.0, 0
    for _ in range(min(most, ups)):
        at, due = -1, inf
        for j in range(ups):  # the next after the last one, equal ones in their order
            d = n.lane[v, arm, n.up[v, j]].deadline
            if (d > last_due or (d == last_due and j > last)) and d < due:
                at, due = j, d
        lane = n.lane[v, arm, n.up[v, at]]
        costs = -1.0 if overlooked(n, v, arm, n.up[v, at]) else cost(cluster, lane, lane.open)
        total += lane.open
        looked += 1
        if costs < least:
            least, best, best_due = costs, at, due
        last, last_due = at, due
    if ups > SCANNED:
        cluster.busy += (total / looked - cluster.busy) * SMOOTHING
    for j in range(ups):
        lane = n.lane[v, arm, n.up[v, j]]
        if lane.deadline < best_due or (lane.deadline == best_due and j < best):
            lane.deadline = best_due
    taken = n.lane[v, arm, n.up[v, best]]
    cluster.clock = best_due
    taken.deadline = best_due + 1.0 / taken.pace
    return int(n.up[v, best])


@inlined
def hear(n: Nodes, v: int, arm: int, e: int, in_flight: float, at_s: float) -> None:
    """An endpoint said in an answer how many it has in progress."""
    lane = n.lane[v, arm, e]
    lane.others = max(in_flight - lane.open, 0.0)
    lane.usual += (in_flight - lane.usual) * (USUAL if lane.heard_s > -inf else 1.0)
    lane.heard_s = at_s
    n.cluster[v, arm].reports = True


@compiled
def by_report(n: Nodes, v: int, arm: int, mine: int, at_s: float, rng: np.random.Generator) -> int:
    """In place of `mine` one that by what it said will answer sooner. `mine`, without a word, is as busy as usual.

    Of a large crew SCANNED are asked, from a random one on.
    """
    cluster, m, ups = n.cluster[v, arm], n.lane[v, arm, mine], n.node[v].ups
    if overlooked(n, v, arm, mine):
        return mine
    believed_s, workers = cluster.believed_s, cluster.workers
    there = m.others + m.open if at_s - m.heard_s < believed_s else m.usual
    least, second, best, ties = answers(m, there, workers), inf, mine, 1
    first = int(rng.random() * ups) if ups > SCANNED else 0
    for k in range(min(ups, SCANNED)):
        e = int(n.up[v, (first + k) % ups])
        o = n.lane[v, arm, e]
        if e == mine:
            continue
        second = min(second, o.deadline)
        early = cluster.turns and (o.deadline - cluster.clock) * o.pace > AHEAD
        if not at_s - o.heard_s < believed_s or early:
            continue
        costs = answers(o, o.others + o.open, workers)
        if costs < least:
            least, best, ties = costs, e, 1
        elif costs == least and best != mine:
            ties += 1
            if rng.random() * ties < 1.0:
                best = e
    if best != mine and cluster.turns:  # it stays next in line
        m.deadline = max(m.deadline - 1.0 / m.pace, second)
        n.lane[v, arm, best].deadline += 1.0 / n.lane[v, arm, best].pace
    return best


@compiled
def stretch(n: Nodes, v: int, arm: int) -> None:
    """Take up new members and weights: what is left to a turn is stretched, and nothing begins anew."""
    cluster = n.cluster[v, arm]
    cluster.total = 0.0
    for j in range(n.node[v].ups):
        e = n.up[v, j]
        lane = n.lane[v, arm, e]
        if lane.pace > 0.0:
            lane.deadline = max(lane.deadline - cluster.clock, 0.0) * lane.pace / lane.weight
        else:  # who is new waits a part of its first turn, another one at each node
            phase = (v + 1) * 0.6180339887498949 + e * 0.7548776662466927
            lane.deadline = (phase - np.floor(phase)) / lane.weight
            lane.last, lane.mean = cluster.picks, 0.0
        lane.pace = lane.weight
        cluster.total += lane.weight
    cluster.clock = 0.0
