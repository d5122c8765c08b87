"""Stretches of time in which a stream behaved alike, found all at once and after the fact.

What is told of a stream is a row per bin: how many works, their sum, how many answers failed. Within a stretch work has
one mean and an answer one chance to fail. Optimal partitioning (Jackson et al., IEEE Signal Processing Letters 2005),
pruned as in PELT (Killick, Fearnhead, Eckley, JASA 2012), finds the cuts whose sum of

    shape * n * log(mean work)  -  log likelihood of the failures  +  a price for each cut

is least: work is taken for gamma distributed with this shape (its mean squared over its variance), of which only the
mean changes. The usual price is the log of how many cuts were possible and a little, so a cut that chance made is rare.
Where speeds change all the time that is too dear: `price_of` asks the streams themselves, by cutting every second bin
and judging by the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from models.base import Floats, Ints

SURE = 5.0
"""A cut must be worth e**5 over what chance makes of so many bins."""

LEAST_WORK = 0.5
"""Of the usual work, in a whole stretch: one quick attempt makes no fast endpoint."""

MOST_BINS = 500
"""Cut at once: what the search costs grows with the square of it. Longer streams are taken in turns of so many."""

MOST_SHAPE = 25.0
"""Work that varies less is taken for as if it varied by a fifth: speeds that move by a hundredth are of no interest."""


LOOK_AGAIN = 20
"""Bins after which every begin that is still open is looked at."""
ROUNDING = 1e-6
"""Of a cost: what is nearly as good is looked at."""

CHEAPER = (1.0, 0.7, 0.5, 0.35, 0.25)
"""Parts of the usual price that are tried."""
WORTH = 10.0
"""Log likelihood by which a lower price must foretell the bins left out better."""


def usual_price(bins: int) -> float:
    """Of a cut, where changes are rare."""
    return float(SURE + np.log(max(bins, 2)))


def stretches(works: Floats, work: Floats, failed: Floats, shape: float = 1.0, price: float | None = None) -> Ints:
    """The first bin of every stretch, 0 first. All of shape (B,); `works` and `failed` count. Empty for no bins.

    `price` of a cut: the usual one unless it is given.

    >>> stretches(np.ones(60), np.repeat([1.0, 5.0, 1.0], 20), np.zeros(60), 4.0)
    array([ 0, 20, 40])
    """
    out: list[int] = []
    price = usual_price(len(works)) if price is None else price
    for at in range(0, len(works), MOST_BINS):
        begin = max(out[-1] if out else 0, at - MOST_BINS)  # the last stretch may go on: its bins are looked at again
        rows = slice(begin, at + MOST_BINS)
        cuts = _cut(works[rows], work[rows], failed[rows], min(shape, MOST_SHAPE), price)
        first = begin == 0 or begin == out[-1]
        out = [c for c in out if c < begin] + [c + begin for c in cuts.tolist() if c > 0 or first]
    return np.array(out, dtype=np.int64)


def within(windows: Ints, works: Floats, work: Floats, shape: float, price: float) -> Ints:
    """The first bin of every stretch, where each window, that begins at one of these bins, is cut for itself.

    `works` and `work` as in `stretches`, (B,); `windows` begin with 0.
    """
    edges = np.append(windows, len(works)).astype(np.int64)
    first = np.zeros(len(works), np.bool_)
    _cut_each(edges, works, work, np.zeros(len(works)), min(shape, MOST_SHAPE), price, first)
    return np.flatnonzero(first)


def price_of(streams: Sequence[tuple[Floats, Floats, Floats]], shape: float) -> float:
    """The price that foretells best: of `works`, `work` and `failed` by stream, as in `stretches`."""
    usual = usual_price(max((len(s[0]) for s in streams), default=2))
    best, at = -np.inf, usual
    for part in CHEAPER:
        likely = sum(_foretold(works, work, failed, shape, part * usual) for works, work, failed in streams)
        if likely > best + (WORTH if part < 1.0 else 0.0):
            best, at = likely, part * usual
    return at


def _foretold(works: Floats, work: Floats, failed: Floats, shape: float, price: float) -> float:
    """The log likelihood of every second bin by the stretches of the others."""
    shape = min(shape, MOST_SHAPE)
    half = min(len(works), 2 * MOST_BINS) // 2  # of a long stream its begin tells enough
    if half < 2:
        return 0.0
    even, odd = slice(0, 2 * half, 2), slice(1, 2 * half, 2)
    cuts = stretches(works[even], work[even], failed[even], shape, price)
    of = np.searchsorted(cuts, np.arange(half), side="right") - 1
    n, s = np.bincount(of, works[even]), np.bincount(of, work[even])
    usual = s.sum() / max(n.sum(), 1.0)
    mean = (s + usual) / (n + 1.0)  # as if it had seen the usual once: few attempts tell little
    mean = np.maximum(mean, 1e-9)[of]
    return float(-shape * (works[odd] * np.log(mean) + work[odd] / mean).sum())


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _cut(works: Any, work: Any, failed: Any, shape: float, price: float) -> Any:
    bins = len(works)
    n, s, f = np.zeros(bins + 1), np.zeros(bins + 1), np.zeros(bins + 1)
    for i in range(bins):
        n[i + 1], s[i + 1], f[i + 1] = n[i] + works[i], s[i] + work[i], f[i] + failed[i]
    best, since = np.empty(bins + 1), np.zeros(bins + 1, np.int64)
    best[0] = -price
    open_, many = np.empty(bins + 1, np.int64), 0
    cost = np.empty(bins + 1)  # of what begins at each of these, as of bin `told`
    told, old = 0, 0
    # A stretch costs no less than its two parts do, but where so little work is in one that it counts for more.
    every = LOOK_AGAIN if bins > 1 and work[:-1].min() >= LEAST_WORK else 1
    for i in range(1, bins + 1):
        open_[many] = i - 1
        many += 1
        best[i] = np.inf
        if i - told < every and i < bins:
            for k in range(old, many):
                j = open_[k]
                here = best[j] + _cost(n[i] - n[j], s[i] - s[j], f[i] - f[j], shape)
                if here + price < best[i]:
                    best[i], since[i] = here + price, j
            rest = _cost(n[i] - n[told], s[i] - s[told], f[i] - f[told], shape) + price
            for k in range(old - 1, -1, -1):
                if cost[k] + rest <= best[i] + ROUNDING:  # else it is ruled out without being looked at
                    j = open_[k]
                    here = best[j] + _cost(n[i] - n[j], s[i] - s[j], f[i] - f[j], shape)
                    if here + price <= best[i]:  # of equal ones the first
                        best[i], since[i] = here + price, j
            continue
        for k in range(many):
            j = open_[k]
            cost[k] = best[j] + _cost(n[i] - n[j], s[i] - s[j], f[i] - f[j], shape)
            if cost[k] + price < best[i]:
                best[i], since[i] = cost[k] + price, j
        told, old = i, 0
        for k in range(many):  # who is worse by a cut's price now can never be the best again
            if cost[k] <= best[i]:
                open_[old], cost[old] = open_[k], cost[k]
                old += 1
        many = old
    count, i = 0, bins
    while i > 0:
        i = since[i]
        count += 1
    out, i = np.empty(count, np.int64), bins
    while i > 0:
        i = since[i]
        count -= 1
        out[count] = i
    return out


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _cut_each(edges: Any, works: Any, work: Any, failed: Any, shape: float, price: float, first: Any) -> None:
    for i in range(len(edges) - 1):
        a, b = edges[i], edges[i + 1]
        for cut in _cut(works[a:b], work[a:b], failed[a:b], shape, price):
            first[a + cut] = True


@njit(cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _cost(n: float, s: float, f: float, shape: float) -> float:
    out = 0.0
    if n > 0.0:
        out += shape * n * np.log(max(s, LEAST_WORK) / n)
        if f > 0.0:
            out -= n * np.log(n / (n + f)) + f * np.log(f / (n + f))
    return out
