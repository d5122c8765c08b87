"""Recorded attempts as requests that can be sent anywhere: each with its own demand, and its own luck.

A request is its first attempt; later ones are what a policy did. Its demand is its work at the speed that was in force,
so one that took long at a slow endpoint is light at a fast one. Where no work was measured (it failed, was refused,
gave up) the demand is drawn from those of its class, by the request's number, so that it is the same each time; one
that gave up while it was worked on is drawn from those that would have taken so long. The works that were answered
before anybody gave up are the short ones, so what gave up at work counts in a class's spread (`models.lifetimes`).

Luck decides who meets an error where only some do. Whoever met one has luck below the share of errors there and then,
whoever did not has luck above it: sent to the same place the same requests fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Floats, Ints, Outcome
from dataplane.simulated.fleet import Fleet, Trace
from models.lifetimes import Lifetimes
from models.unqueue import WORKED
from models.workers import Walk
from weirflow.whatif.calibrate_fit import Block, Fit, Scope
from weirflow.whatif.calibrate_read import Rows

LEAST_S = 1e-6
"""Of any demand: clocks may make work nothing."""
KEPT = 4096
"""Demands of a class to draw from: every one, then every second, and so on."""


@dataclass(slots=True, eq=False)
class Known:
    """Demands by class, thinned evenly: those that were measured, and what those were worth at least that gave up."""

    _told: list[Floats] = field(default_factory=list)  # (N, 2): demand, and whether it was seen to end
    _step: list[int] = field(default_factory=list)
    _next: list[int] = field(default_factory=list)
    _spread: list[Lifetimes] = field(default_factory=list)

    def learn(self, found: Measured) -> None:
        """Take in requests."""
        seen = np.isfinite(found.demand_s)
        some = seen | (found.at_least_s > 0.0)
        told = np.stack([np.where(seen, found.demand_s, found.at_least_s), seen], axis=1)
        more = max(int(found.klass.max(initial=-1)) + 1 - len(self._told), 0)
        self._told += [np.empty((0, 2))] * more
        self._step += [1] * more
        self._next += [0] * more
        for k in np.unique(found.klass[some]).tolist():
            mine = told[some & (found.klass == k)]
            self._told[k] = np.concatenate([self._told[k], mine[self._next[k] :: self._step[k]]])
            self._next[k] = (self._next[k] - len(mine)) % self._step[k]
            while len(self._told[k]) > KEPT:
                self._told[k] = self._told[k][::2]
                self._step[k] *= 2

    def settle(self, classes: int) -> None:
        """Count what there is; a class of which nothing is known has those of all the others, or a millisecond."""
        every = np.concatenate([*self._told, np.empty((0, 2))])
        if not every[:, 1].any():
            every = np.array([[0.001, 1.0]])
        some = self._told + [np.empty((0, 2))] * (classes - len(self._told))
        told = [t if t[:, 1].any() else every for t in some]
        self._spread = [Lifetimes.of(t[:, 0], t[:, 1] > 0.0) for t in told]

    def drawn(self, klass: Ints, luck: Floats, at_least_s: Floats) -> Floats:
        """A demand for each, as those of its class are that are no less."""
        out = np.empty(len(klass))
        for k in np.unique(klass).tolist():
            mine = klass == k
            out[mine] = self._spread[k].drawn(luck[mine], at_least_s[mine])
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The requests of a block, a row each. `demand_s` is NaN where it was not measured."""

    at_s: Floats
    node: Ints
    klass: Ints
    demand_s: Floats
    at_least_s: Floats  # of demand, where it gave up at work
    low: Floats  # luck is between these
    high: Floats


def measured(rows: Rows, block: Block, fleet: Fleet, scope: Scope, walk: Walk, mean_s: Floats) -> Measured:
    """What is known of each request of a block. `walk` goes on; `mean_s` by class is what work takes."""
    came, kind, e = block.visits.arrival_s, block.visits.kind, block.endpoint
    met = _pieces(fleet, e, came)
    seen, _ = walk.go(block.visits, fleet.extra_s[e, met], block.hangs, mean_s[block.klass])
    begun = np.isfinite(seen.begin_s)
    speed = fleet.speed[e, _pieces(fleet, e, np.where(begun, seen.begin_s, came))]
    demand, at_least = np.full(len(rows), np.nan), np.zeros(len(rows))
    low, high = np.zeros(len(rows)), np.ones(len(rows))
    worked = (kind == WORKED) & begun
    demand[block.place[worked]] = np.maximum(seen.work_s[worked] * speed[worked], LEAST_S)
    left = begun & ~worked
    stood = block.stood(np.where(begun, seen.begin_s, came))
    at_least[block.place[left]] = np.maximum(block.visits.end_s - seen.begin_s - stood, 0.0)[left] * speed[left]
    share = fleet.error_share[e, met]
    failed = block.outcome == Outcome.ERROR
    low[block.place[worked]] = share[worked]
    high[block.place[failed]] = np.maximum(share[failed], 1e-9)
    first = rows.attempt == 1
    klass = scope.class_of[rows.route + 1]
    return Measured(*(v[first] for v in (rows.at_s, rows.node, klass, demand, at_least, low, high)))


def traced(found: Measured, known: Known, number: int, node_of: Ints) -> Trace:
    """Requests to send, of which the first is the recording's `number`th. Those from before its begin come at 0."""
    count = number + np.arange(len(found.at_s))
    luck = uniform(count, 1)
    drawn = ~np.isfinite(found.demand_s)
    demand = found.demand_s.copy()
    demand[drawn] = known.drawn(found.klass[drawn], uniform(count[drawn], 2), found.at_least_s[drawn])
    return Trace.of(
        at_s=np.maximum(found.at_s, 0.0),
        node=node_of[found.node],
        klass=found.klass,
        demand_s=np.maximum(demand, LEAST_S),
        luck=np.minimum(found.low + luck * (found.high - found.low), 1.0 - 1e-12),
    )


def every(blocks: Iterator[tuple[Rows, Block]], fleet: Fleet, scope: Scope, fit: Fit) -> Iterator[Measured]:
    """The requests of all blocks, in order."""
    walk = Walk(fleet.workers, sharing=fit.sharing, unseen=True)
    for rows, block in blocks:
        yield measured(rows, block, fleet, scope, walk, fit.mean_s)


def uniform(number: Ints, stream: int) -> Floats:
    """A number in [0, 1) for each number, always the same: splitmix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    golden = 0x9E3779B97F4A7C15
    z = np.asarray(number).astype(np.uint64) * np.uint64(golden) + np.uint64(stream * golden >> 1 & (1 << 64) - 1)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


def _pieces(fleet: Fleet, endpoint: Ints, at_s: Floats) -> NDArray[np.int64]:
    """The piece of each endpoint that holds at each time."""
    out = np.zeros(len(at_s), np.int64)
    for e in range(len(fleet)):
        mine = endpoint == e
        out[mine] = np.maximum(np.searchsorted(fleet.since_s[e], at_s[mine], side="right") - 1, 0)
    return out
