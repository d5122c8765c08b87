"""What part of a time at an endpoint was work, if the endpoint shares its workers out among all requests it has.

With n requests in it each is worked on at the rate min(1, c / n). All are worked on alike, so one clock tells of all:
V(t), the integral of that rate, is what somebody who was there all the time would have got done (Kleinrock, Queueing
Systems II, 1976, 4.4). A request that was there from a to e had the work V(e) - V(a): the counterpart of `unqueue` for
processor sharing.

Which of the two an endpoint does is told by likelihood. A small shift of an end e shifts the work by the rate at e, so
the likelihood of the ends is that of the works times the product of those rates; for a queue that factor is 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.base import Floats, Ints
from models.unqueue import NO_WORK, WORKED, Hangs, Unqueued, Visits


class Shared:
    """A walk through the attempts of endpoints that share. What is open at the end of one call is there in the next.

    `workers` of E endpoints; infinitely many share nothing.
    """

    def __init__(self, workers: Ints) -> None:
        self.workers = np.asarray(workers, dtype=np.float64)
        self.busy_s = np.zeros(len(workers))
        self._open: list[Floats] = [np.empty(0)] * len(workers)  # by endpoint: when what was open ends

    def follow(self, other: Shared) -> None:
        """Stand where the other walk does, with the workers of this one."""
        self.busy_s[:] = other.busy_s
        self._open = list(other._open)

    def go(self, visits: Visits, extra_s: Floats, hangs: Hangs | None = None) -> tuple[Unqueued, Floats]:
        """Take the sharing out. Returns work, and the log of the rate at which each was worked on when it ended.

        Begin is arrival, and `waited` is for having met as many others as there are workers.
        """
        many = len(visits.arrival_s)
        work, rate, crowded = np.full(many, np.nan), np.zeros(many), np.zeros(many, np.bool_)
        here = visits.kind != NO_WORK
        served = np.where(here, np.maximum(visits.end_s - extra_s, visits.arrival_s), visits.arrival_s)
        for e in range(len(self.workers)):
            rows = np.arange(visits.offsets[e], visits.offsets[e + 1])[here[visits.offsets[e] : visits.offsets[e + 1]]]
            if not len(rows):
                continue
            stands = _standing(hangs, e)
            came, gone = _active(visits.arrival_s[rows], stands), _active(served[rows], stands)
            before = np.sort(_active(self._open[e], stands))
            order = np.argsort(gone, kind="stable")
            out = np.zeros(len(rows)), np.zeros(len(rows)), np.zeros(len(rows), np.bool_)
            self.busy_s[e] += _share(came, gone, order, before, self.workers[e], *out)
            work[rows], rate[rows], crowded[rows] = out
            last = visits.arrival_s[rows[-1]]
            both = np.concatenate([self._open[e], served[rows]])
            self._open[e] = both[both > last]
        worked = visits.kind == WORKED
        begin = np.where(here, visits.arrival_s, np.nan)
        return Unqueued(begin, np.where(worked, work, np.nan), crowded), np.where(worked, rate, 0.0)


def _standing(hangs: Hangs | None, e: int) -> NDArray[np.float64]:
    if hangs is None:
        return np.empty((0, 2))
    rows = slice(hangs.offsets[e], hangs.offsets[e + 1])
    return np.stack([hangs.from_s[rows], hangs.to_s[rows]], axis=1)


def _active(at_s: Floats, stands: NDArray[np.float64]) -> Floats:
    """The time on a clock that stands still while the endpoint hangs."""
    out = at_s.astype(np.float64)
    for a, b in stands:
        out -= np.clip(at_s - a, 0.0, b - a)
    return out


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _share(came: Any, gone: Any, order: Any, before: Any, workers: float, work: Any, rate: Any, crowded: Any) -> float:
    """Fill in work, log rate and crowded; returns for how long there was anybody. An end goes before an arrival."""
    i, j, k, n = 0, 0, 0, len(before)
    now = min(came[0], before[0]) if n > 0 else came[0]
    done, busy = 0.0, 0.0
    while i < len(came) or j < len(order):
        at = came[i] if i < len(came) else np.inf
        leaves = gone[order[j]] if j < len(order) else np.inf
        left = before[k] if k < len(before) else np.inf
        soonest = min(at, leaves, left)
        if n > 0:
            done += (soonest - now) * min(1.0, workers / n)
            busy += soonest - now
        now = max(now, soonest)
        if left <= at and left <= leaves:
            k += 1
            n -= 1
        elif leaves <= at and (j < len(order)) and not (leaves == at and order[j] == i):
            row = order[j]
            work[row] += done
            rate[row] = np.log(min(1.0, workers / max(n, 1)))
            j += 1
            n -= 1
        else:
            work[i] -= done
            crowded[i] = n >= workers
            i += 1
            n += 1
    return busy
