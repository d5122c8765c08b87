"""How many workers endpoints have, told by every attempt that they served.

For each number c that may be, the waiting is taken out (`models.unqueue`) and the work that is left is judged. Too few
workers cannot have done it: work comes out below nothing. Too many leave waiting in the work, which makes it long when
there was a queue. Work is taken for gamma distributed about a mean of its own in each `WINDOW` attempts of an endpoint
times its class's mean; since work is the end less what is given, the likelihoods of different c are of the same numbers
and compare as they are. A speed that changes within a window would be taken for a queue by whatever number explains
long times away: each number may cut a window where the speed changed, at the usual price of a cut.

Times are not exact, and what that is worth is relative to the work: half a millisecond below nothing is nothing in a
work of a tenth of a second, and refutes in one of a millisecond. The noise is `NOISE` of the mean work, and never less
than what the step in which times are told leaves open (`models.resolution`). Work below `_LEAST` of it counts as so
much, for a price (`_forgiven`), and below nothing by more than it as `IMPOSSIBLE`. Where the step leaves more open than
`BLURRED` the order of what came and ended is not known, and the workers are not either.

A number that is out of the question at every endpoint (`OUT`) is followed no further: of many attempts the first tell
that of most numbers, and each costs as much as the right one.

Endpoints of a service are mostly alike, so one c is taken for all, but for an endpoint whose own attempts speak against
it by more than `OWN`. Where c + 1 and more do as well, no queue was seen and c is not known from above.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma, log

import numpy as np
from numpy.typing import NDArray

from models.base import Floats, Ints
from models.lanes import DEFAULT
from models.sharing import Shared
from models.stretches import usual_price, within
from models.unqueue import WORKED, Busy, Hangs, Unqueued, Visits, unqueue
from models.unseen import Unseen

MANY = np.array([1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 192, 256])
"""The numbers of workers that are told apart."""
OWN = 15.0
"""Log likelihood by which an endpoint must differ from the others to be given workers of its own."""
OUT = 1000.0
"""Log likelihood by which an endpoint's number of workers is worse than the best, and no later attempt will save it."""
REFUTED = 3.0
"""Log likelihood by which a number of workers is worse than the best when it is refuted."""
WINDOW = 200
"""Attempts: long enough that a crowd passes within one, or it would be taken for a slow endpoint."""
BIN = 10
"""Attempts: a window is cut between so many."""
IMPOSSIBLE = 8.0
"""What work below nothing costs in log likelihood. Not infinity: clocks and logs are not perfect."""
NOISE = 0.03
"""By how much of the mean work the times of a recording may be off."""
BLURRED = 0.5
"""Of the mean time of an attempt: where the log's own step leaves more than this open, it does not show who waited."""
ANY_WAITED = 0.005
"""Of attempts: endpoints of which nothing is known have workers enough for all but so many."""
_LEAST = 2.0 / 3.0
"""Of the noise: work below it counts as this much."""
_SHAPES = (0.25, 1e4)


@dataclass(frozen=True, slots=True, eq=False)
class Workers:
    """Of E endpoints."""

    count: Ints  # (E,)
    low: int  # the least number that is not refuted for most of them
    high: float  # the most; infinity: no queue was seen
    log_likelihood: Floats  # (E, len(MANY))

    @property
    def explains(self) -> float:
        """The log likelihood of all attempts with these workers."""
        index = np.searchsorted(MANY, self.count)
        return float(self.log_likelihood[np.arange(len(index)), index].sum())


class Walk:
    """A walk through the attempts of endpoints with so many workers, in one queue or shared out (`models.sharing`).

    `unseen`: works that nobody saw to end are drawn (`models.unseen`), and not reckoned with as the usual ones.
    """

    def __init__(self, workers: Ints, *, sharing: bool = False, unseen: bool = False) -> None:
        self.sharing = sharing
        self.unseen = Unseen(workers) if unseen and not sharing else None
        self.busy = Busy.idle(workers)
        self.shared = Shared(workers)

    def go(
        self, visits: Visits, extra_s: Floats, hangs: Hangs | None = None, cost_s: Floats | None = None
    ) -> tuple[Unqueued, Floats]:
        """Take the waiting out of attempts that came after those before: the works, and the log of their rates.

        `cost_s`: what such an attempt usually takes, where that is known.
        """
        if self.unseen is not None:
            cost_s = np.ones(len(extra_s)) if cost_s is None else cost_s
            return self.unseen.go(visits, extra_s, cost_s, hangs), np.zeros(len(extra_s))
        if self.sharing:
            return self.shared.go(visits, extra_s, hangs)
        return unqueue(visits, extra_s, self.busy, hangs), np.zeros(len(extra_s))

    @property
    def busy_s(self) -> Floats:
        """For how long each endpoint had something to do."""
        if self.unseen is not None:
            return self.unseen.busy_s
        return self.shared.busy_s if self.sharing else self.busy.busy_s


class Evidence:
    """Adds up over calls what attempts say, and where the walk through them stands for each number of workers.

    `sharing`: if endpoints shared their workers out among all they have. `open_s`: what the log's step leaves open.
    """

    def __init__(self, endpoints: int, classes: int, *, sharing: bool = False, open_s: float = 0.0) -> None:
        self.endpoints, self.classes, self.sharing, self.open_s = endpoints, classes, sharing, open_s
        self.log_likelihood = np.zeros((endpoints, len(MANY)))
        self._waited = np.zeros(len(MANY))
        self._out = np.zeros(len(MANY), np.bool_)
        self._took_s = 0.0  # with the most workers that are followed
        self.work_s = np.zeros((len(MANY), endpoints, classes))
        self.works = np.zeros((endpoints, classes))
        self._walks = [Walk(np.full(endpoints, c), sharing=sharing) for c in MANY.tolist()]

    def learn(self, visits: Visits, klass: NDArray[np.integer], extra_s: Floats, hangs: Hangs | None = None) -> None:
        """Take in attempts that came after those before."""
        endpoint = np.repeat(np.arange(self.endpoints), np.diff(visits.offsets))
        worked = visits.kind == WORKED
        cell = endpoint[worked] * self.classes + klass[worked]
        size = self.endpoints * self.classes
        self.works += np.bincount(cell, minlength=size).reshape(self.works.shape)
        kind, group = klass[worked], _windows(endpoint[worked], self.endpoints)
        work = np.empty(0)
        for i, c in enumerate(MANY.tolist()):
            if self._out[i]:
                continue
            found, rate = self._walks[i].go(visits, extra_s, hangs)
            work = found.work_s[worked]
            sums = np.bincount(cell, np.maximum(work, 0.0), minlength=size).reshape(self.works.shape)
            alike = slice(i, None if not found.waited.any() else i + 1)  # where nobody waits, more change nothing
            self.work_s[alike] += sums
            self._waited[alike] += np.count_nonzero(found.waited)
            mean = class_means(self.work_s[i], self.works)
            judged = _judged(work, mean[kind], endpoint[worked], group, self.endpoints, self.open_s)
            judged += np.bincount(endpoint, rate, minlength=self.endpoints)
            self.log_likelihood[:, alike] += judged[:, None]
            if alike.stop is None:
                self._follow(i, c)
                break
        self._took_s += float(np.maximum(work, 0.0).sum())
        behind = self.log_likelihood.max(axis=1, keepdims=True) - self.log_likelihood
        self._out |= (behind > OUT).all(axis=0)
        self.log_likelihood[:, self._out] = -np.inf

    def _follow(self, i: int, c: int) -> None:
        """More workers than `MANY[i]` stand where these do, the rest of them idle."""
        for more in self._walks[i + 1 :]:
            more.shared.follow(self._walks[i].shared)
            for one, other in zip(more.busy, self._walks[i].busy, strict=True):
                if one.ndim == 2:
                    one[:, :c], one[:, c:] = other, -np.inf
                else:
                    one[:] = other

    @property
    def blurred(self) -> bool:
        """Whether the log's step leaves too much open: nothing is known of workers."""
        return self.open_s > BLURRED * self._took_s / max(float(self.works.sum()), 1.0)

    def told(self) -> Workers:
        """What it comes to."""
        return self.enough() if self.blurred else chosen(self.log_likelihood)

    def enough(self) -> Workers:
        """As many that hardly anybody waits, and nothing known."""
        few = self._waited <= ANY_WAITED * max(self.works.sum(), 1.0)
        count = MANY[few & (MANY >= DEFAULT)].min(initial=MANY[-1])
        return Workers(np.full(self.endpoints, count), int(MANY[0]), np.inf, np.zeros_like(self.log_likelihood))


def chosen(log_likelihood: Floats) -> Workers:
    """One number for all, or an endpoint's own."""
    pooled = log_likelihood.sum(axis=0)
    best = int(pooled.argmax())
    inside = np.flatnonzero(pooled >= pooled[best] - REFUTED)
    unseen = inside[-1] == len(MANY) - 1
    if unseen:  # nothing speaks against more
        best = int(np.searchsorted(MANY, max(MANY[inside[0]], DEFAULT)))
    own = log_likelihood.argmax(axis=1)
    rows = np.arange(len(own))
    differs = log_likelihood[rows, own] - log_likelihood[:, best] > OWN
    return Workers(
        MANY[np.where(differs, own, best)].astype(np.int64),
        int(MANY[inside[0]]),
        np.inf if unseen else float(MANY[inside[-1]]),
        log_likelihood,
    )


def class_means(work_s: Floats, works: Floats) -> Floats:
    """The mean work of each class at an endpoint of middling speed, from sums and counts by endpoint and class (E, K).

    Endpoints differ in speed and may have had other mixes: means of classes and speeds are fitted in turn. A class
    that nobody worked for has the mean of all.
    """
    known = works.sum(axis=0) > 0
    mean = work_s.sum(axis=0) / np.maximum(works.sum(axis=0), 1.0)
    for _ in range(10):
        done = work_s.sum(axis=1)
        speed = np.where(done > 0, (works * mean).sum(axis=1) / np.maximum(done, 1e-12), 1.0)
        mean = (work_s * speed[:, None]).sum(axis=0) / np.maximum(works.sum(axis=0), 1.0)
    total = work_s.sum() / max(works.sum(), 1.0)
    return np.asarray(np.where(known, np.maximum(mean, 1e-9), max(total, 1e-9)))


def shape_of(relative: Floats, group: Ints) -> float:
    """The mean squared over the variance of work within groups: the shape of a gamma distribution.

    Each group is held against its own mean: a slow one tells no more than the others.
    """
    n = np.bincount(group)
    total = np.bincount(group, relative)
    squares = np.bincount(group, relative * relative)
    some = (n > 1) & (total > 0.0)
    mean = total[some] / n[some]
    spread = np.maximum(squares[some] / (mean * mean) - n[some], 0.0)  # n - 1 times the variance
    top, bottom = float((n[some] - 1).sum()), float(spread.sum())
    return float(np.clip(top / max(bottom, 1e-12), *_SHAPES)) if top > 0 else 1.0


def _windows(endpoint: Ints, endpoints: int) -> Ints:
    """Groups of `WINDOW` of an endpoint in a row. Rows of an endpoint stand together, in order."""
    if not len(endpoint):
        return np.zeros(0, np.int64)
    begins = np.searchsorted(endpoint, np.arange(endpoints))
    place = np.arange(len(endpoint)) - begins[endpoint]
    first = (place % WINDOW == 0).astype(np.int64)
    return np.asarray(np.cumsum(first) - 1)


def _judged(work: Floats, mean_s: Floats, endpoint: Ints, group: Ints, endpoints: int, open_s: float) -> Floats:
    """The log likelihood of these works, by endpoint. Shape (endpoints,). `mean_s` is of each one's class."""
    if not len(work):
        return np.zeros(endpoints)
    relative = np.maximum(work, 0.0) / mean_s
    group, paid = _cut(relative, group)
    n = np.bincount(group)
    centre = np.maximum(np.bincount(group, relative) / n, 1e-9)
    a = shape_of(relative, group)
    noise_s = np.maximum(NOISE * mean_s, open_s)
    logs = np.log(np.maximum(relative, _LEAST * noise_s / mean_s) / centre[group])
    each = a * log(a) - lgamma(a) + (a - 1.0) * logs - a * relative / centre[group]
    each -= np.log(centre)[group] + np.log(mean_s) + IMPOSSIBLE * (work < -noise_s)
    each -= paid + _forgiven(a, float((noise_s / mean_s).mean()))
    return np.asarray(np.bincount(endpoint, each, minlength=endpoints), dtype=np.float64)


def _forgiven(a: float, noise: float) -> float:
    """The log of what a gamma density comes to in sum that is level from `-noise` to `_LEAST * noise`, at mean 1.

    A noise that is much against the works that so few workers leave must not explain them for nothing.
    """
    least = _LEAST * noise
    level = float(np.exp(a * log(a) - lgamma(a) + (a - 1.0) * log(least) - a * least))
    more = level * (noise + least - least / a)  # below `least` there was about least / a of the level
    return float(np.log1p(max(more, -0.9)))


def _cut(relative: Floats, group: Ints) -> tuple[Ints, Floats]:
    """Windows, each cut where the speed changed within it, and the price of a cut for who is the first after it."""
    begins = np.flatnonzero(np.diff(group, prepend=-1))
    place = np.arange(len(group)) - begins[group]
    at = np.flatnonzero(place % BIN == 0)  # of each bin
    many, spent = np.diff(at, append=len(group)), np.add.reduceat(relative, at)
    windows = np.searchsorted(at, begins)
    first = np.zeros(len(group), np.int64)
    price = usual_price(len(at))
    first[at[within(windows, many.astype(np.float64), spent, shape_of(relative, group), price)]] = 1
    return np.cumsum(first) - 1, np.where((first == 1) & (place > 0), price, 0.0)
