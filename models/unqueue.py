"""What part of a time at an endpoint was work: waiting taken out again, exactly, where every attempt is known.

An endpoint of c workers serves one queue in the order of arrival. Who began and ended when is then told by arrivals and
ends alone: attempt i begins when it has come and the first of the c workers is free, and that worker is free again when
i ends. So, in the order of arrival,

    begin_i = max(arrival_i, least of the workers' free times),    work_i = end_i - begin_i,

which is Lindley's recursion (Proc. Cambridge Phil. Soc. 1952; Kiefer and Wolfowitz 1955 for c workers) read backwards.

Two things hold no worker: an answer without work (an error at once), and a delay after the work, `extra_s`. While an
endpoint hangs nothing begins, and the hang is no work. Who gave up has no end of work: if a worker was free before
that, the work was begun and holds its worker for an unknown while, which is reckoned as the usual one and taken back
when an answer that came sooner proves it wrong; else it never began, and held nobody up.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.base import Floats, Ints

WORKED, GAVE_UP, NO_WORK = 0, 1, 2
"""Kinds of attempt: answered after work, left before its answer, answered or ended without work."""

_USUAL_OF = 20.0
"""The usual work is a mean over about this many."""


class Visits(NamedTuple):
    """Attempts at E endpoints: those of endpoint e are rows `offsets[e]` to `offsets[e + 1]`, in order of arrival."""

    offsets: Ints  # (E + 1,)
    arrival_s: Floats  # (N,)
    end_s: Floats  # (N,) answer, or giving up
    kind: NDArray[np.int8]  # (N,)


class Hangs(NamedTuple):
    """When endpoints hung: rows `offsets[e]` to `offsets[e + 1]` are endpoint e's, in order, and do not overlap."""

    offsets: Ints  # (E + 1,)
    from_s: Floats
    to_s: Floats

    @classmethod
    def none(cls, endpoints: int) -> Hangs:
        """Nobody ever hung."""
        return cls(np.zeros(endpoints + 1, np.int64), np.empty(0), np.empty(0))


class Busy(NamedTuple):
    """Where a walk through the attempts stands; unqueueing goes on from it, and moves it. E endpoints, W workers."""

    free_s: Floats  # (E, W) when each worker is free again
    least_s: Floats  # (E, W) the least that may be: below `free_s` where that is reckoned
    usual_s: Floats  # (E,) the mean of recent work; NaN: none yet
    until_s: Floats  # (E,) up to when it is known to have had something to do
    busy_s: Floats  # (E,) for how long it had

    @classmethod
    def idle(cls, workers: Ints) -> Busy:
        """Nothing has come yet. Workers that an endpoint has not are never free."""
        free = np.where(np.arange(int(workers.max(initial=1))) < workers[:, None], -np.inf, np.inf)
        zero = np.zeros(len(workers))
        return cls(free, free.copy(), zero + np.nan, zero - np.inf, zero.copy())


class Unqueued(NamedTuple):
    """Of each attempt, in the order of `Visits`."""

    begin_s: Floats  # when its work began; NaN: never
    work_s: Floats  # NaN where it is not known; below 0 where so few workers cannot have done it
    waited: NDArray[np.bool_]  # for a worker


def unqueue(visits: Visits, extra_s: Floats, busy: Busy, hangs: Hangs | None = None) -> Unqueued:
    """Take the waiting out. `extra_s` is of each attempt; `busy` says how many workers there are, and is moved on.

    >>> visits = Visits(np.array([0, 3]), np.array([0.0, 1.0, 2.0]), np.array([4.0, 6.0, 7.0]), np.zeros(3, np.int8))
    >>> unqueue(visits, np.zeros(3), Busy.idle(np.array([1]))).work_s
    array([4., 2., 1.])
    >>> unqueue(visits, np.zeros(3), Busy.idle(np.array([2]))).work_s
    array([4., 5., 3.])
    """
    many = len(visits.arrival_s)
    out = Unqueued(np.full(many, np.nan), np.full(many, np.nan), np.zeros(many, np.bool_))
    hangs = hangs if hangs is not None else Hangs.none(len(visits.offsets) - 1)
    _unqueue(*visits, extra_s, *busy, *hangs, *out)
    return out


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _unqueue(
    offsets: Any,
    arrival_s: Any,
    end_s: Any,
    kind: Any,
    extra_s: Any,
    free_s: Any,
    least_s: Any,
    usual_s: Any,
    until_s: Any,
    busy_s: Any,
    hang_offsets: Any,
    hang_from_s: Any,
    hang_to_s: Any,
    begin_s: Any,
    work_s: Any,
    waited: Any,
) -> None:
    for e in range(len(offsets) - 1):
        free, least, h, last = free_s[e], least_s[e], hang_offsets[e], hang_offsets[e + 1]
        for i in range(offsets[e], offsets[e + 1]):
            if kind[i] == NO_WORK:
                continue
            w = 0
            for k in range(1, len(free)):
                if free[k] < free[w]:
                    w = k
            came = arrival_s[i]
            while h < last and hang_to_s[h] <= came:
                h += 1
            begin = _thawed(max(came, free[w]), h, last, hang_from_s, hang_to_s)
            if kind[i] == GAVE_UP:
                waited[i] = begin > came
                if begin < end_s[i]:
                    begin_s[i] = begin
                    # Time at work without an end counts as time, and not as work done (Epstein and Sobel 1953): the
                    # works that were answered before anybody gave up are the short ones.
                    usual_s[e] += (end_s[i] - begin) / _USUAL_OF
                    usual = 0.0 if np.isnan(usual_s[e]) else usual_s[e]
                    least[w] = end_s[i]
                    free[w] = end_s[i] + usual  # who works for long has as much before him as ever
                    _note_busy(e, begin, free[w], until_s, busy_s)
                continue
            served = max(end_s[i] - extra_s[i], came)
            if begin > served:  # perhaps a worker was done sooner than reckoned
                for k in range(len(free)):
                    if least[k] < free[k] and least[k] < served and (least[w] == free[w] or least[k] < least[w]):
                        w = k
                if least[w] < free[w]:
                    begin = max(came, least[w])
            stood = 0.0
            for k in range(h, last):
                stood += max(0.0, min(hang_to_s[k], served) - max(hang_from_s[k], begin))
            work = served - begin - stood
            begin_s[i], work_s[i], waited[i] = begin, work, begin > came
            free[w] = least[w] = served
            _note_busy(e, begin, served, until_s, busy_s)
            if work >= 0.0:
                usual_s[e] = work if np.isnan(usual_s[e]) else usual_s[e] + (work - usual_s[e]) / _USUAL_OF


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _thawed(at_s: float, h: int, last: int, hang_from_s: Any, hang_to_s: Any) -> float:
    for k in range(h, last):
        if hang_from_s[k] <= at_s < hang_to_s[k]:
            return float(hang_to_s[k])
    return at_s


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _note_busy(e: int, begin: float, end: float, until_s: Any, busy_s: Any) -> None:
    if end > until_s[e]:
        busy_s[e] += end - max(begin, until_s[e])
        until_s[e] = end
