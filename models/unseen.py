"""Taking the waiting out where many gave up at work: nobody saw those works end, so they are drawn, many times over.

Who gave up while he was worked on leaves a worker that is busy until nobody knows when. To reckon with the usual time
(`models.unqueue`) is right for one such work in a while. In a storm most works are like that, and then it is wrong: the
first of several workers is free sooner than the least of their usual times, so begins come out late, works too short,
and what was answered sooner than reckoned has the longest work that can be.

So what may have been is followed by `PARTICLES` at once (Gordon, Salmond and Smith, IEE Proc. F 1993). Each has free
times of its own; a work that was given up on goes on for as long as is drawn; what then is seen (an answer so soon, or
none for so long) says how likely each was, and who is unlikely is left for another one. What is told of an attempt is
one of them, drawn as likely as it is: right in the mean, and of the spread that it may have. Where every work was seen
to end they are all the same, and it is `unqueue`.

Work is taken for memoryless here: what is left of it is as the usual work, whatever was done.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from models.base import Floats, Ints
from models.unqueue import _USUAL_OF, GAVE_UP, NO_WORK, Hangs, Unqueued, Visits, _note_busy, _thawed

PARTICLES = 32
_GOLDEN, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_30, _27, _31, _11 = (np.uint64(n) for n in (30, 27, 31, 11))


class Unseen:
    """A walk through the attempts of endpoints with so many workers."""

    def __init__(self, workers: Ints) -> None:
        many, most = len(workers), int(workers.max(initial=1))
        here = np.arange(most) < workers[:, None]
        self._free_s = np.repeat(np.where(here, -np.inf, np.inf)[:, None, :], PARTICLES, axis=1)
        self._hidden_s = np.full((many, PARTICLES), -np.inf)  # until when somebody who was given up on is worked on
        self._weight = np.full((many, PARTICLES), 1.0 / PARTICLES)
        self._apart = np.zeros(many, np.bool_)  # whether they are not all the same
        self._usual = np.full(many, np.nan)  # work over its cost, of late
        self._until_s = np.full(many, -np.inf)
        self.busy_s = np.zeros(many)
        self._chance = np.arange(many, dtype=np.uint64) << np.uint64(
            32
        )  # so what is drawn depends on the attempts alone

    def go(self, visits: Visits, extra_s: Floats, cost_s: Floats, hangs: Hangs | None = None) -> Unqueued:
        """As `unqueue`. `cost_s`: what such an attempt usually takes, against others."""
        many = len(visits.arrival_s)
        out = Unqueued(np.full(many, np.nan), np.full(many, np.nan), np.zeros(many, np.bool_))
        hangs = hangs if hangs is not None else Hangs.none(len(visits.offsets) - 1)
        stands = (self._free_s, self._hidden_s, self._weight, self._apart, self._usual, self._until_s, self.busy_s)
        _go(*visits, extra_s, cost_s, *stands, *hangs, self._chance, *out)
        return out


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _go(
    offsets: Any,
    arrival_s: Any,
    end_s: Any,
    kind: Any,
    extra_s: Any,
    cost_s: Any,
    free_s: Any,
    hidden_s: Any,
    weight: Any,
    apart: Any,
    usual: Any,
    until_s: Any,
    busy_s: Any,
    hang_offsets: Any,
    hang_from_s: Any,
    hang_to_s: Any,
    chance: Any,
    begin_s: Any,
    work_s: Any,
    waited: Any,
) -> None:
    size = free_s.shape[1]
    first, begin, work = np.zeros(size, np.int64), np.zeros(size), np.zeros(size)
    for e in range(len(offsets) - 1):
        free, hidden, likely, h, last = free_s[e], hidden_s[e], weight[e], hang_offsets[e], hang_offsets[e + 1]
        for i in range(offsets[e], offsets[e + 1]):
            if kind[i] == NO_WORK:
                continue
            came, gave_up = arrival_s[i], kind[i] == GAVE_UP
            while h < last and hang_to_s[h] <= came:
                h += 1
            if apart[e] and hidden.max() <= came:  # who is at work now was seen to end: all the same again
                apart[e] = False
                _one(free, hidden, likely, 0)
            many = size if apart[e] else 1
            served = end_s[i] if gave_up else max(end_s[i] - extra_s[i], came)
            for p in range(many):
                first[p] = _soonest(free[p])
                begin[p] = _thawed(max(came, free[p, first[p]]), h, last, hang_from_s, hang_to_s)
                work[p] = served - begin[p] - _stood(begin[p], served, h, last, hang_from_s, hang_to_s)
            mean = cost_s[i] if np.isnan(usual[e]) else usual[e] * cost_s[i]
            if many > 1:
                _judge(work, gave_up, mean, likely)
                told = _drawn(likely, _luck(chance, e))
            else:
                told = 0
            waited[i] = begin[told] > came
            if gave_up and begin[told] >= served:
                begin_s[i] = np.nan
            else:
                begin_s[i] = begin[told]
                if gave_up:
                    usual[e] = _learnt(usual[e], max(work[told], 0.0) / cost_s[i], False)
                else:
                    work_s[i] = work[told]
                    if work[told] >= 0.0:
                        usual[e] = _learnt(usual[e], work[told] / cost_s[i], True)
                _note_busy(e, begin[told], served, until_s, busy_s)
            if gave_up and many == 1 and begin[0] < served:  # from here on it may have been this or that
                apart[e] = True
                _one(free, hidden, likely, 0)
                first[:] = first[0]
                begin[:] = begin[0]
                many = size
            for p in range(many):
                if not gave_up:
                    free[p, first[p]] = served
                elif begin[p] < served:
                    free[p, first[p]] = served - np.log(1.0 - _luck(chance, e)) * mean
                    hidden[p] = max(hidden[p], free[p, first[p]])
            if many > 1 and (likely * likely).sum() * size > 2.0:
                _again(free, hidden, likely, _luck(chance, e))


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _luck(chance: Any, e: int) -> float:
    """The next number in [0, 1) of an endpoint: splitmix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    chance[e] += _GOLDEN
    z = chance[e]
    z = (z ^ (z >> _30)) * _FIRST
    z = (z ^ (z >> _27)) * _SECOND
    return float((z ^ (z >> _31)) >> _11) * 2.0**-53


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _soonest(free: Any) -> int:
    w = 0
    for k in range(1, len(free)):
        if free[k] < free[w]:
            w = k
    return w


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _stood(begin: float, served: float, h: int, last: int, hang_from_s: Any, hang_to_s: Any) -> float:
    stood = 0.0
    for k in range(h, last):
        stood += max(0.0, min(hang_to_s[k], served) - max(hang_from_s[k], begin))
    return stood


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _learnt(usual: float, told: float, ended: bool) -> float:
    """Time at work without an end is time, and no work done (Epstein and Sobel 1953)."""
    if np.isnan(usual):
        return told if ended else np.nan
    return usual + (told - (usual if ended else 0.0)) / _USUAL_OF


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _judge(work: Any, gave_up: bool, mean: float, likely: Any) -> None:
    """How likely each is after this. Where it is impossible for all, those are left who are least wrong.

    An answer has the density of its work, who gave up at work the chance that it takes longer: the same but for a
    factor that all have. Whose work had not begun by then can be given up on, and not be answered.
    """
    total, most = 0.0, work.max()
    for p in range(len(likely)):
        if work[p] >= 0.0:
            likely[p] *= np.exp(-work[p] / mean)
        elif not gave_up:
            likely[p] *= 1e-12 * np.exp((work[p] - most) / mean)
        total += likely[p]
    if total > 0.0:
        likely /= total
    else:
        likely[:] = 1.0 / len(likely)


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _drawn(likely: Any, luck: float) -> int:
    upto = 0.0
    for p in range(len(likely)):
        upto += likely[p]
        if luck < upto:
            return p
    return len(likely) - 1


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _one(free: Any, hidden: Any, likely: Any, told: int) -> None:
    """All are as that one."""
    for p in range(len(likely)):
        free[p] = free[told]
        hidden[p] = hidden[told]
    likely[:] = 1.0 / len(likely)


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _again(free: Any, hidden: Any, likely: Any, luck: float) -> None:
    """Draw as many anew, each as often as it is likely (systematic resampling: Carpenter, Clifford, Fearnhead 1999)."""
    size = len(likely)
    old_free, old_hidden = free.copy(), hidden.copy()
    upto, k = likely[0], 0
    for p in range(size):
        at = (p + luck) / size
        while upto < at and k < size - 1:
            k += 1
            upto += likely[k]
        free[p] = old_free[k]
        hidden[p] = old_hidden[k]
    likely[:] = 1.0 / size
