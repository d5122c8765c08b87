"""Proxies with Envoy's rules, and endpoints that share their workers, in plain Python: to hold the fast mesh against.

Nothing here is clever: a queue is a deque, an attempt an object, and whatever changes is computed anew.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from math import floor
from typing import Any

import numpy as np

from dataplane.contract import Arm
from dataplane.simulated.fleet import Trace
from dataplane.simulated.fleet_mesh import FleetMesh
from dataplane.simulated.picks import picker, tiered
from dataplane.simulated.rules import NO_LIMIT
from dataplane.simulated.schedule import Schedule
from weirflow.lab.endpoint import Endpoint, Piece, pieces

NEVER = float("inf")
BACK_OFF_MS = (25, 50, 100, 200, 250)


@dataclass(slots=True)
class Count:
    """What a node has of one priority."""

    open: int = 0
    waiting: int = 0
    connections: int = 0
    retries: int = 0


@dataclass(slots=True)
class Pool:
    """Connections to one endpoint, and who waits for one."""

    connections: int = 0
    busy: int = 0
    queue: deque[Attempt] = field(default_factory=deque)


@dataclass(slots=True)
class Request:
    number: int
    node: int
    klass: int
    asked_s: float
    gives_up_s: float
    tries: int


@dataclass(slots=True)
class Attempt:
    of: Request
    nth: int
    at_s: float
    demand_s: float
    luck: float
    budgeted: bool
    endpoint: int = -1
    sent: bool = False
    over: bool = False
    gone: bool = False  # nobody waits for its answer: `Endpoint` and `Sharing` look at it
    until_s: float = NEVER
    done: Callable[[int, bool], None] = lambda _status, _empty: None

    def answer(self, status: int, *, empty: bool = False) -> None:
        self.done(status, empty)


class SlowProxies:
    """Proxies of one static cluster, from a fast mesh that has not run; it takes that one's chance."""

    def __init__(self, fast: FleetMesh, work: Trace) -> None:
        self.rules, self.work, self.schedule = fast.rules, work, Schedule()
        self.rng = deepcopy(fast._rng)
        fleet = fast._fleet
        make = [Sharing if fleet.sharing[e] else Endpoint for e in range(len(fleet))]
        self.endpoints: list[Any] = [
            make[e](int(fleet.workers[e]), pieces(fleet, e), Clock(self.schedule)) for e in range(len(fleet))
        ]
        self.open_at: dict[tuple[int, int], int] = defaultdict(int)
        self.counts: dict[tuple[int, bool], Count] = defaultdict(Count)
        self.pools: dict[tuple[int, int, bool], Pool] = defaultdict(Pool)
        self.ways = [self._picker(fast, v) for v in range(len(fast._nodes.node))]
        self.rows: list[tuple[int, int, int, float, float, int, bool]] = []
        """Number, attempt, endpoint, begin, end, status, last: as they end."""

    def run(self) -> None:
        for i, at_s in enumerate(self.work.at_s.tolist()):
            told = self.rules.of_class(int(self.work.klass[i]))
            who = Request(
                i, int(self.work.node[i]), int(self.work.klass[i]), at_s, at_s + told.timeout_s, told.num_retries
            )
            demand_s, luck = float(self.work.demand_s[i]), float(self.work.luck[i])
            self.schedule.at(at_s, self._begin, Attempt(who, 1, at_s, demand_s, luck, budgeted=False))
        self.schedule.run(NEVER)

    def _high(self, a: Attempt) -> bool:
        return self.rules.of_class(a.of.klass).priority == "critical"

    def _begin(self, a: Attempt) -> None:
        v, high = a.of.node, self._high(a)
        a.at_s = self.schedule.now
        if a.at_s >= a.of.gives_up_s:
            a.nth = 0
            self._over(a, 0)
            return
        a.endpoint = self.ways[v]()
        self.open_at[v, a.endpoint] += 1
        if self.rules.max_connections == NO_LIMIT:
            self._send(a)
            return
        pool, count = self.pools[v, a.endpoint, high], self.counts[v, high]
        if pool.busy < pool.connections:
            self._send(a)
        elif count.waiting >= self.rules.max_pending_requests:
            self._refuse(a)
        elif count.connections < self.rules.max_connections or pool.connections == 0:
            pool.connections += 1
            count.connections += 1
            self._send(a)
        else:
            count.waiting += 1
            pool.queue.append(a)
            self.schedule.at(a.of.gives_up_s, self._late, a, pool, count)

    def _late(self, a: Attempt, pool: Pool, count: Count) -> None:
        if a in pool.queue:
            pool.queue.remove(a)
            count.waiting -= 1
            self._nowhere(a, 0)

    def _send(self, a: Attempt) -> None:
        v, high = a.of.node, self._high(a)
        count = self.counts[v, high]
        most = self.rules.critical_max_requests if high else None
        if count.open >= (most or self.rules.max_requests):
            self._refuse(a)
            return
        count.open += 1
        self.pools[v, a.endpoint, high].busy += 1
        a.until_s = min(a.of.gives_up_s, self.schedule.now + self.rules.of_class(a.of.klass).per_try_timeout_s)
        a.done = lambda status, empty: self._ended(a, status)
        self.schedule.at(a.until_s, self._ended, a, 0)
        self.endpoints[a.endpoint].ask(a)

    def _refuse(self, a: Attempt) -> None:
        self._nowhere(a, 503)

    def _nowhere(self, a: Attempt, status: int) -> None:
        self.open_at[a.of.node, a.endpoint] -= 1
        a.endpoint = -1
        self._over(a, status)

    def _over(self, a: Attempt, status: int) -> None:
        if a.budgeted:
            self.counts[a.of.node, self._high(a)].retries -= 1
        self._log(a, status, last=True)

    def _log(self, a: Attempt, status: int, *, last: bool) -> None:
        self.rows.append((a.of.number, a.nth, a.endpoint, a.at_s, self.schedule.now, status, last))

    def _ended(self, a: Attempt, status: int) -> None:
        if a.over:
            return
        a.over, a.gone = True, status == 0
        v, high = a.of.node, self._high(a)
        count, pool = self.counts[v, high], self.pools[v, a.endpoint, high]
        if a.budgeted:
            count.retries -= 1
        last = True
        if (status == 0 or status >= 500) and a.of.tries > 0 and self.schedule.now < a.of.gives_up_s:
            budget = floor(self.rules.budget_percent / 100 * (count.open + count.waiting))
            if count.retries < max(budget, self.rules.min_retry_concurrency):
                last = False
                count.retries += 1
                self._again(a)
        self._log(a, status, last=last)
        count.open -= 1
        self.open_at[v, a.endpoint] -= 1
        if self.rules.max_connections < NO_LIMIT:
            self._release(pool, count, closed=status == 0)

    def _again(self, a: Attempt) -> None:
        a.of.tries -= 1
        luck = float(self.rng.random())
        wait_s = int(self.rng.random() * BACK_OFF_MS[min(a.nth, len(BACK_OFF_MS)) - 1]) / 1000
        new = Attempt(a.of, a.nth + 1, NEVER, a.demand_s, luck, budgeted=True)
        self.schedule.at(min(self.schedule.now + wait_s, a.of.gives_up_s), self._begin, new)

    def _release(self, pool: Pool, count: Count, *, closed: bool) -> None:
        pool.busy -= 1
        if closed:
            pool.connections -= 1
            count.connections -= 1
        while pool.queue:
            if pool.busy == pool.connections:
                if count.connections >= self.rules.max_connections and pool.connections > 0:
                    return
                pool.connections += 1
                count.connections += 1
            count.waiting -= 1
            self._send(pool.queue.popleft())

    def _picker(self, fast: FleetMesh, v: int) -> Callable[[], int]:
        cluster, lane = fast._nodes.cluster[v, Arm.STATIC], fast._nodes.lane[v, Arm.STATIC]
        weights, active = lane["weight"].tolist(), lambda e: self.open_at[v, e]
        if self.rules.policy == "full_scan":
            return tiered(weights, lane["tier"].tolist(), active, self.rng, int(cluster["skip"]))
        skip = int(cluster["skip" if len(set(weights)) > 1 else "turn"])
        return picker(self.rules.policy.upper(), weights, active, self.rng, skip)


@dataclass(slots=True)
class Job:
    who: Attempt
    wants_s: float


class Sharing:
    """All requests in work at once, at the same part of the workers' speed."""

    def __init__(self, workers: int, life: tuple[Piece, ...], clock: Clock) -> None:
        self.workers, self.life, self.clock = workers, life, clock
        self.jobs: list[Job] = []
        self.at_s, self.version = 0.0, 0
        for piece in life[1:]:
            clock.at(piece.since_s, self._look)

    def _piece(self, at_s: float) -> Piece:
        return [p for p in self.life if p.since_s <= at_s][-1]

    def ask(self, who: Attempt) -> None:
        piece = self._piece(self.clock.now())
        if piece.hang:  # here for as long as there is a test: it never answers
            return
        if who.luck < piece.error_share:
            self.clock.at(self.clock.now() + piece.after_s, self._fail, who, piece.status)
            return
        self._work()
        self.jobs.append(Job(who, who.demand_s))
        self._plan()

    def _fail(self, who: Attempt, status: int) -> None:
        if not self._piece(self.clock.now()).hang:
            who.answer(status)

    def _work(self) -> None:
        """Up to now, in the piece that was in force."""
        now, rate = self.clock.now(), self._rate(self.at_s)
        for job in self.jobs:
            job.wants_s -= rate * (now - self.at_s)
        self.at_s = now

    def _rate(self, at_s: float) -> float:
        piece = self._piece(at_s)
        return 0.0 if piece.hang else piece.speed * min(1.0, self.workers / max(1, len(self.jobs)))

    def _look(self, version: int | None = None) -> None:
        if version not in (None, self.version):
            return
        self._work()
        for job in [j for j in self.jobs if j.wants_s <= 1e-12]:
            self.jobs.remove(job)
            self.clock.at(self.clock.now() + self._piece(self.clock.now()).extra_s, job.who.answer, 200)
        self._plan()

    def _plan(self) -> None:
        self.version += 1
        rate = self._rate(self.clock.now())
        if self.jobs and rate > 0:
            least = min(j.wants_s for j in self.jobs)
            self.clock.at(self.clock.now() + max(least, 0.0) / rate, self._look, self.version)


class Clock:
    """As `Endpoint` wants it."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def now(self) -> float:
        return self._schedule.now

    def at(self, when_s: float, call: Callable[..., None], *told: Any) -> None:
        self._schedule.at(when_s, call, *told)


def rows_of(fast: FleetMesh) -> list[tuple[int, int, int, float, float, int, bool]]:
    """What a fast mesh that is fed in pieces tells, in the same shape."""
    fast.finish()
    found = fast.take()
    ends_s = found.at_s + found.duration_s
    columns = (found.number, found.attempt, found.endpoint, found.at_s, ends_s, found.status, found.last)
    return list(zip(*(np.asarray(c).tolist() for c in columns), strict=True))
