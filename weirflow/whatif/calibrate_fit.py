"""From attempts in order to how each endpoint behaved when: workers, stretches of speed, delays, errors and hangs.

Two passes over the blocks of a recording. First the workers: for each number that may be, the waiting is taken out and
what is left is judged (`models.workers`). Then stretches: with the workers known, each endpoint's work against its
class's mean is cut into stretches of one speed and one share of errors (`models.stretches`), and what is added to each
answer is told from slowness (`models.delay`). Hangs are found first of all (`models.hangs`): they are no work.

What is routed does not know what a request will cost, so endpoints get like mixes of a class, and the mean of an
endpoint's work over the class's is its slowness and not its luck.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Floats, Ints, Outcome
from models import hangs as hanging
from models.delay import delay_of
from models.stretches import price_of, stretches
from models.unqueue import GAVE_UP, NO_WORK, WORKED, Unqueued, Visits
from models.workers import MANY, OWN, Evidence, Walk, Workers, chosen, class_means, shape_of
from weirflow.whatif.calibrate_read import Rows, Survey

WAY_SHARE = 0.05
"""What proxies and wires take beside an endpoint is the least time of any answer, and at most this part of a mean."""
BIN_TARGET = 2000
"""Bins by endpoint and block: each holds as few attempts as that allows."""
ENOUGH = 5_000
"""Attempts an endpoint that tell sharing from a queue: that question is asked of no more, for it is dear."""
FEW = 5
"""Attempts without waiting: with fewer nothing is said of a delay."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What of the recording is meant: endpoint ids to rows of the fleet, routes to classes."""

    row_of: Ints  # by endpoint id, -1: of no endpoint of this service
    class_of: Ints  # by route id + 1
    classes: int
    usual_s: Floats  # by class: what an attempt takes
    way_s: float  # that proxies and wires take
    until_s: float  # end of the recording
    open_s: float = 0.0  # what the step in which times are told leaves open of any time

    @property
    def endpoints(self) -> int:
        """How many rows."""
        return int(self.row_of.max(initial=-1)) + 1


@dataclass(slots=True, eq=False)
class Piece:
    """A stretch of one endpoint's time."""

    since_s: float
    works: float = 0.0
    work: float = 0.0  # over the class's mean: the sum
    failed: float = 0.0
    extra_s: float = 0.0
    status: int = 503
    after_s: float = 0.001


@dataclass(eq=False)
class Fit:
    """What the passes came to."""

    workers: Workers
    delayed: NDArray[np.bool_]  # (E,) whether its delays explain more than none
    mean_s: Floats  # by class: work at an endpoint of middling speed
    sharing: bool = False  # endpoints share their workers out among all they have
    shape: float = 1.0  # of work about its mean
    blurred: bool = False  # times are told in too long steps for workers to show

    def __post_init__(self) -> None:
        """What the second pass fills in, by endpoint."""
        many = len(self.delayed)
        self.pieces: list[list[Piece]] = [[] for _ in range(many)]
        self.hangs: list[list[tuple[float, float]]] = [[] for _ in range(many)]
        self.walk = Walk(self.workers.count, sharing=self.sharing, unseen=True)
        self.attempts, self.waited, self.failed = (np.zeros(many, np.int64) for _ in range(3))


def way_of(about: Survey) -> float:
    """What proxies and wires take, beside any endpoint."""
    some = about.answers > 0
    if not some.any():
        return 0.0
    return float(min(about.least_s, WAY_SHARE * (about.took_s[some] / about.answers[some]).min()))


@dataclass(frozen=True, slots=True)
class Bins:
    """Attempts of one endpoint in order, `size` to a bin, and by bin: works, work over the class's mean, failures."""

    rows: NDArray[np.intp]
    size: int
    sums: tuple[Floats, Floats, Floats]

    def cut(self, shape: float, price: float | None = None) -> list[NDArray[np.intp]]:
        """The rows of every stretch."""
        cuts = (stretches(*self.sums, shape, price) * self.size).tolist()
        return [self.rows[a:b] for a, b in pairwise([*cuts, len(self.rows)])]


class Block:
    """The attempts of a block that reached an endpoint, endpoint by endpoint, and what is seen without any queue."""

    def __init__(self, rows: Rows, scope: Scope) -> None:
        known = (rows.endpoint >= 0) & (rows.endpoint < len(scope.row_of))
        row = np.where(known, scope.row_of[np.where(known, rows.endpoint, 0)], -1)
        reached = (
            (row >= 0) & (rows.attempt > 0) & (rows.outcome != Outcome.UNREACHED) & (rows.outcome != Outcome.REJECTED)
        )
        self.place = np.flatnonzero(reached)  # in `rows`
        order = np.argsort(row[self.place], kind="stable")
        self.place = self.place[order]
        mine = rows.take(self.place)
        self.endpoint, self.outcome, self.status = row[self.place], mine.outcome, mine.status
        self.klass = scope.class_of[mine.route + 1]
        kind = np.full(len(mine), GAVE_UP, np.int8)
        kind[mine.outcome == Outcome.OK] = WORKED
        kind[mine.outcome == Outcome.ERROR] = NO_WORK
        offsets = np.searchsorted(self.endpoint, np.arange(scope.endpoints + 1))
        self.visits = Visits(offsets.astype(np.int64), mine.at_s, np.maximum(mine.end_s, mine.at_s), kind)
        self.hangs = hanging.hangs(self.visits, self.klass, scope.usual_s, scope.until_s)

    def delays(self, scope: Scope) -> Floats:
        """What is added to each attempt's answer, as far as it shows without knowing the workers."""
        worked = self.visits.kind == WORKED
        extra_s = np.full(len(self.klass), scope.way_s)
        if not worked.any():
            return extra_s
        came = self.visits.arrival_s
        took = np.maximum(self.visits.end_s - came - self.stood(came) - scope.way_s, 0.0)
        mean_s = np.maximum(np.bincount(self.klass[worked], took[worked], minlength=scope.classes), 1e-9)
        mean_s /= np.maximum(np.bincount(self.klass[worked], minlength=scope.classes), 1)
        shape = shape_of(took[worked] / mean_s[self.klass[worked]], self.windows(worked))
        for e in range(scope.endpoints):
            for rows in self.bins(e, took, mean_s).cut(shape):
                use = rows[worked[rows]]
                extra_s[rows] += delay_of(took[use], self.klass[use], mean_s, shape, scope.open_s)
        return extra_s

    def stood(self, since_s: Floats) -> Floats:
        """For how long each attempt's endpoint hung between that time and its end."""
        end = self.visits.end_s
        out = np.zeros(len(end))
        for e in range(len(self.visits.offsets) - 1):
            rows = slice(self.visits.offsets[e], self.visits.offsets[e + 1])
            for h in range(self.hangs.offsets[e], self.hangs.offsets[e + 1]):
                a, b = self.hangs.from_s[h], self.hangs.to_s[h]
                out[rows] += np.maximum(np.minimum(end[rows], b) - np.maximum(since_s[rows], a), 0.0)
        return out

    def windows(self, worked: NDArray[np.bool_]) -> Ints:
        """Groups of fifty of an endpoint in a row, for `shape_of`."""
        place = np.cumsum(worked)[worked]
        return np.asarray(np.unique(self.endpoint[worked] * (len(worked) + 50) + place // 50, return_inverse=True)[1])

    def bins(self, e: int, work: Floats, mean_s: Floats, unended_s: Floats | None = None) -> Bins:
        """The answered attempts of an endpoint, in bins, by what each of them worked.

        `unended_s`: time at work of those that were given up on. It is time, and no work done.
        """
        kind = self.visits.kind
        span = np.arange(self.visits.offsets[e], self.visits.offsets[e + 1])
        rows = span[(kind[span] == NO_WORK) | ((kind[span] == WORKED) & np.isfinite(work[span]))]
        size = max(1, len(rows) // BIN_TARGET)
        if not len(rows):
            return Bins(rows, size, (np.empty(0),) * 3)
        worked = kind[rows] == WORKED
        relative = np.where(worked, np.maximum(np.nan_to_num(work[rows]), 0.0) / mean_s[self.klass[rows]], 0.0)
        if unended_s is not None:
            left = span[unended_s[span] > 0.0]
            to = np.minimum(np.searchsorted(rows, left), len(rows) - 1)
            np.add.at(relative, to, unended_s[left] / mean_s[self.klass[left]])
        at = np.arange(0, len(rows), size)
        works, spent, failed = (np.add.reduceat(v.astype(np.float64), at) for v in (worked, relative, ~worked))
        return Bins(rows, size, (works, spent, failed))


class Finder:
    """The first pass: workers, and whose delays are believed."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._plain = Evidence(scope.endpoints, scope.classes, open_s=scope.open_s)
        self._shared = Evidence(scope.endpoints, scope.classes, sharing=True, open_s=scope.open_s)
        self._late: Evidence | None = None  # with the delays that seem to be there, once there are any
        self._queued = self._plain.log_likelihood  # of the attempts that sharing was tried on

    def learn(self, block: Block) -> None:
        """Take in a block."""
        scope, extra_s = self._scope, block.delays(self._scope)
        if self._late is None and (extra_s > scope.way_s).any():
            self._late = deepcopy(self._plain)
        way_s = np.full(len(extra_s), scope.way_s)
        self._plain.learn(block.visits, block.klass, way_s, block.hangs)
        if self._late is not None:
            self._late.learn(block.visits, block.klass, extra_s, block.hangs)
        if self._shared.works.sum() < ENOUGH * scope.endpoints:
            self._shared.learn(block.visits, block.klass, way_s, block.hangs)
            self._queued = self._delayed()[1].copy()

    def _delayed(self) -> tuple[NDArray[np.bool_], Floats]:
        """Whose delays explain more than none, and what a queue then explains, by endpoint and workers."""
        plain, late = self._plain.log_likelihood, (self._late or self._plain).log_likelihood
        delayed = late.max(axis=1) > plain.max(axis=1) + OWN
        return delayed, np.where(delayed[:, None], late, plain)

    def told(self) -> Fit:
        """What it comes to."""
        plain, late = self._plain, self._late or self._plain
        delayed, queued = self._delayed()
        rows = np.arange(len(delayed))
        if plain.blurred:
            workers = plain.enough()
            work_s = plain.work_s[np.searchsorted(MANY, workers.count), rows]
            return Fit(workers, np.zeros_like(delayed), class_means(work_s, plain.works), blurred=True)
        shared = chosen(self._shared.log_likelihood)
        if shared.explains > chosen(self._queued).explains + OWN:
            work_s = self._shared.work_s[np.searchsorted(MANY, shared.count), rows]
            return Fit(shared, np.zeros_like(delayed), class_means(work_s, self._shared.works), sharing=True)
        workers = chosen(queued)
        index = np.searchsorted(MANY, workers.count)
        work_s = np.where(delayed[:, None], late.work_s[index, rows], plain.work_s[index, rows])
        return Fit(workers, delayed, class_means(work_s, plain.works))


class Cutter:
    """The second pass: stretches."""

    def __init__(self, scope: Scope, fit: Fit) -> None:
        self._scope, self.fit = scope, fit

    def learn(self, block: Block) -> None:
        """Take in a block, in order."""
        scope, fit = self._scope, self.fit
        extra_s = np.full(len(block.klass), scope.way_s)
        if fit.delayed.any():
            extra_s = np.where(fit.delayed[block.endpoint], block.delays(scope), scope.way_s)
        cost_s = fit.mean_s[block.klass]
        seen, _ = deepcopy(fit.walk).go(block.visits, extra_s, block.hangs, cost_s)
        worked = (block.visits.kind == WORKED) & np.isfinite(seen.work_s)
        if worked.any():
            relative = np.maximum(seen.work_s[worked], 0.0) / fit.mean_s[block.klass[worked]]
            fit.shape = shape_of(relative, block.windows(worked))
        self._count(block, seen)
        # With the delays in it: a stretch is one of delay as well.
        took = seen.work_s + extra_s - scope.way_s
        begun = (block.visits.kind == GAVE_UP) & np.isfinite(seen.begin_s)
        stood_s = block.stood(np.where(begun, seen.begin_s, block.visits.end_s))
        unended_s = np.where(begun, np.maximum(block.visits.end_s - seen.begin_s - stood_s, 0.0), 0.0)
        bins = [block.bins(e, took, fit.mean_s, unended_s) for e in range(scope.endpoints)]
        price = price_of([b.sums for b in bins], fit.shape)
        for e in range(scope.endpoints):
            self._pieces(block, seen, took, unended_s, bins[e].cut(fit.shape, price), e)
            span = range(block.hangs.offsets[e], block.hangs.offsets[e + 1])
            fit.hangs[e] += [(float(block.hangs.from_s[h]), float(block.hangs.to_s[h])) for h in span]
        fit.walk.go(block.visits, self._extra_of(block), block.hangs, cost_s)

    def _count(self, block: Block, seen: Unqueued) -> None:
        fit, many = self.fit, self._scope.endpoints
        fit.attempts += np.bincount(block.endpoint[block.visits.kind != GAVE_UP], minlength=many)
        fit.waited += np.bincount(block.endpoint[seen.waited], minlength=many)
        fit.failed += np.bincount(block.endpoint[block.visits.kind == NO_WORK], minlength=many)

    def _pieces(
        self, block: Block, seen: Unqueued, took: Floats, unended_s: Floats, cut: list[NDArray[np.intp]], e: int
    ) -> None:
        """This block's stretches of one endpoint, which go on from the pieces before."""
        fit, kind = self.fit, block.visits.kind
        when = np.where(kind == WORKED, seen.begin_s, block.visits.arrival_s)
        last: float | None = None
        edges = [rows[0] for rows in cut[1:]] + [block.visits.offsets[e + 1]] if cut else []
        since = block.visits.offsets[e]
        for rows, upto in zip(cut, edges, strict=True):
            mine, bad = rows[kind[rows] == WORKED], rows[kind[rows] == NO_WORK]
            first = float(when[rows[0]])
            piece = Piece(first if last is None else (last + first) / 2, float(len(mine)), failed=float(len(bad)))
            last = float(when[rows[-1]])
            free, delay = mine[~seen.waited[mine]], 0.0
            if fit.delayed[e] and len(free) >= FEW:
                delay = delay_of(took[free], block.klass[free], fit.mean_s, fit.shape, self._scope.open_s)
            piece.extra_s = self._scope.way_s + delay
            piece.work = float((np.maximum(took[mine] - delay, 0.0) / fit.mean_s[block.klass[mine]]).sum())
            piece.work += float((unended_s[since:upto] / fit.mean_s[block.klass[since:upto]]).sum())
            since = upto
            if len(bad):
                piece.status = int(np.bincount(block.status[bad]).argmax())
                piece.after_s = float(np.median(block.visits.end_s[bad] - block.visits.arrival_s[bad]))
            _go_on(fit.pieces[e], piece, fit.shape, new_block=rows is cut[0])

    def _extra_of(self, block: Block) -> Floats:
        """What is added to each answer, by the pieces found."""
        out = np.full(len(block.klass), self._scope.way_s)
        for e, pieces in enumerate(self.fit.pieces):
            rows = slice(block.visits.offsets[e], block.visits.offsets[e + 1])
            if pieces and self.fit.delayed[e]:
                since = np.array([p.since_s for p in pieces])
                at = np.maximum(np.searchsorted(since, block.visits.arrival_s[rows], side="right") - 1, 0)
                out[rows] = np.array([p.extra_s for p in pieces])[at]
        return out


def _go_on(pieces: list[Piece], new: Piece, shape: float, *, new_block: bool) -> None:
    """Append a piece; the first of a block makes the last one longer if there is no telling them apart."""
    if new_block and pieces and abs(pieces[-1].extra_s - new.extra_s) < 1e-3:
        last = pieces[-1]
        works, work, failed = (np.array([getattr(p, n) for p in (last, new)]) for n in ("works", "work", "failed"))
        if len(stretches(works, work, failed, shape)) == 1:
            if new.failed > last.failed:
                last.status, last.after_s = new.status, new.after_s
            last.works, last.work, last.failed = float(works.sum()), float(work.sum()), float(failed.sum())
            return
    pieces.append(new)
