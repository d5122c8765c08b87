"""When endpoints hung: nothing ended though requests were open, for longer than chance and slowness explain.

Between two answers of an endpoint in a row there is a gap. While requests are open in it, each that is worked on would
have ended at some rate: one over what its class usually takes, times as much as this endpoint took longer shortly
before or after. Which ones are worked on is not known yet: those of the slowest class that is open are, for all we
know, and the others wait behind them. The integral of that rate over the gap is how many answers were due, and none
came: with work that is exponential the chance of that is e to the minus it. Where more than `DUE` were, it hung.

The gap ends with the first answer, which is when the hang was over; it began when the first answer was due that did not
come. One that lasts to the end of what is known has no end: infinity.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.base import Floats
from models.unqueue import NO_WORK, WORKED, Hangs, Visits

DUE = 15.0
SHORTEST_S = 0.25
"""A pause of a collector or a scheduler is slowness."""
AT_ONCE = 4.0
"""Open requests that are reckoned to be worked on: the rest may wait in a queue."""
NEAR = 10
"""Answers before and after a gap that say how slow the endpoint was."""


def hangs(visits: Visits, klass: NDArray[np.integer], usual_s: Floats, until_s: float) -> Hangs:
    """Find them. `usual_s` by class is what an attempt takes; infinity for a class of which nothing is known.

    `until_s` is the end of what is known.
    """
    offsets = visits.offsets
    found = [_of_one(visits, slice(a, b), klass, usual_s, until_s) for a, b in pairwise(offsets)]
    counts = np.concatenate([[0], np.cumsum([len(f) for f in found])]).astype(np.int64)
    both = np.concatenate([*found, np.empty((0, 2))])
    return Hangs(counts, both[:, 0].copy(), both[:, 1].copy())


def usual_of(n: Floats, total_s: Floats, squares: Floats) -> Floats:
    """What an attempt takes, for `hangs`, from count, sum and sum of squares: its mean, or the mean rest if more.

    The mean rest of something under way is half its mean square over its mean; infinity where nothing is known.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        usual = np.maximum(total_s / n, squares / (2 * total_s))
    return np.where(n > 0, usual, np.inf)


def _of_one(visits: Visits, rows: slice, klass: NDArray[np.integer], usual_s: Floats, until_s: float) -> Floats:
    """Begin and end of each hang of one endpoint. Shape (H, 2)."""
    came, end, kind = visits.arrival_s[rows], visits.end_s[rows], visits.kind[rows]
    answered = (kind == WORKED) | ((kind == NO_WORK) & (end > came))
    if len(came) == 0:
        return np.empty((0, 2))
    rate = 1.0 / usual_s[klass[rows]]
    ends = np.sort(end[answered])
    edges = np.concatenate([[came[0]], ends, [max(until_s, ends[-1] if len(ends) else came[0])]])
    before, after = edges[:-1], edges[1:]
    due = _Due(came, end, klass[rows], 1.0 / usual_s)
    long = np.flatnonzero((after - before > SHORTEST_S) & (due.upto(after) - due.upto(before) > DUE))
    worked = kind == WORKED
    slow = (end - came)[worked] * rate[worked]
    by_end = np.argsort(end[worked], kind="stable")
    sorted_ends, slow_by_end, came_worked = end[worked][by_end], slow[by_end], came[worked]
    out = []
    for g in long.tolist():
        k = int(np.searchsorted(sorted_ends, before[g], side="right"))
        j = int(np.searchsorted(came_worked, after[g]))
        near = [float(s.mean()) if len(s) else np.nan for s in (slow_by_end[max(0, k - NEAR) : k], slow[j : j + NEAR])]
        slower = float(np.nanmax([1.0, *near]))
        since = float(due.upto(before[g : g + 1])[0])
        if (float(due.upto(after[g : g + 1])[0]) - since) / slower > DUE:
            missed = due.when(since + (near[0] if np.isfinite(near[0]) else 1.0))
            lasts = g == len(after) - 1  # no answer ends the last gap
            out.append((min(missed, float(after[g])), np.inf if lasts else float(after[g])))
    return np.array(out, dtype=np.float64).reshape(-1, 2)


class _Due:
    """How many answers were due up to a time, at the usual rates."""

    def __init__(self, came: Floats, end: Floats, klass: NDArray[np.integer], rate_of: Floats) -> None:
        at = np.concatenate([came, end])
        order = np.argsort(at, kind="stable")
        self._at = at[order]
        step = np.concatenate([np.ones(len(came)), -np.ones(len(end))])[order]
        both = np.concatenate([klass, klass])[order]
        rates, told = np.zeros(len(at)), np.zeros(len(at), np.bool_)
        for k in np.argsort(rate_of, kind="stable").tolist():  # the slowest first
            here = np.cumsum(np.where(both == k, step, 0.0)) > 0.5
            rates[here & ~told] = rate_of[k]
            told |= here
        rates *= np.clip(np.cumsum(step), 0.0, AT_ONCE)
        self._upto = np.concatenate([[0.0], np.cumsum(rates[:-1] * np.diff(self._at))])

    def upto(self, at_s: Floats) -> Floats:
        """By then, since the first arrival."""
        return np.asarray(np.interp(at_s, self._at, self._upto))

    def when(self, due: float) -> float:
        """When so many were."""
        return float(np.interp(due, self._upto, self._at))
