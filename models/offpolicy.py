"""What would have been measured had other picks been made, from picks whose chances are known.

Each row was picked with a known chance p, and would be picked with chance q. Weighed by q / p the rows look as if they
had been picked the other way (Horvitz and Thompson 1952). Dividing by the summed weights instead of the count makes the
estimate far steadier (self-normalised: Hajek 1971; Swaminathan and Joachims, NIPS 2015). Doubly robust adds a direct
model and corrects it by the weighed residuals: right when either the chances or the model are (Dudik, Langford and Li,
ICML 2011).

Rows of one block of time share their luck, so an interval comes from the blocks' sums (the delta method for a ratio:
Cochran, "Sampling Techniques", 1977, section 6), with Student's quantile for their number; that of a quantile by
inverting the weighed distribution at the ends of its interval (Woodruff, JASA 1952). All of it holds while one pick
does not change what another meets: who moves much traffic moves queues, and no weighing can see that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

Z_95 = 1.959964
LEAST_BLOCKS = 6
"""Below this many no interval is told."""
PRIOR = 10.0
"""A cell of the direct model is drawn towards its action's mean as if it had so many rows of it."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval; NaN where it cannot be told."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """Rows weighed for the other picks. n rows."""

    weight: Floats  # (n,)
    effective: float  # rows that an even weighing would need for the same variance (Kish 1965)
    clipped_share: float  # of all weight, that was cut off

    @property
    def effective_share(self) -> float:
        """Of the rows."""
        return self.effective / len(self.weight) if len(self.weight) else 0.0


def weighed(chance: Floats, wanted: Floats, most: float) -> Weighed:
    """Weights q / p, none above `most`. ValueError unless every chance is within (0, 1] and every wanted one in [0, 1].

    What is cut off is bias that no interval shows: its share is told.
    """
    if not (np.all(chance > 0.0) and np.all(chance <= 1.0) and np.all(wanted >= 0.0) and np.all(wanted <= 1.0)):
        raise ValueError("chances must lie in (0, 1], and wanted ones in [0, 1]")
    raw = wanted / chance
    weight = np.minimum(raw, most)
    total, squares = float(weight.sum()), float((weight**2).sum())
    cut = float((raw - weight).sum()) / max(float(raw.sum()), 1e-300)
    return Weighed(weight, total**2 / squares if squares else 0.0, cut)


def self_normalised(y: Floats, weight: Floats, block: Ints) -> Estimate:
    """The mean of y under the other picks. `block` numbers each row's block of time from 0."""
    total = float(weight.sum())
    if total <= 0.0:
        return Estimate(np.nan, np.nan, np.nan)
    value = float(weight @ y) / total
    return _around(value, weight * (y - value) / total, block)


def difference(y: Floats, weight: Floats, other: Floats, block: Ints) -> Estimate:
    """The mean of y under one weighing less that under another, of the very same rows: what both suffer cancels."""
    one, two = float(weight.sum()), float(other.sum())
    if one <= 0.0 or two <= 0.0:
        return Estimate(np.nan, np.nan, np.nan)
    a, b = float(weight @ y) / one, float(other @ y) / two
    return _around(a - b, weight * (y - a) / one - other * (y - b) / two, block)


def doubly_robust(y: Floats, weight: Floats, fitted: Floats, expected: Floats, block: Ints) -> Estimate:
    """The same with a direct model: what it says of each row's own pick, and of the other picks in the mean."""
    total = float(weight.sum())
    if total <= 0.0:
        return Estimate(np.nan, np.nan, np.nan)
    off = y - fitted
    wrong = float(weight @ off) / total
    base = float(expected.mean())
    return _around(base + wrong, (expected - base) / len(y) + weight * (off - wrong) / total, block)


def quantile(y: Floats, weight: Floats, q: float, block: Ints) -> Estimate:
    """A quantile of y under the other picks; NaN where fewer than 1 / (1 - q) rows' worth of weight is there."""
    total, squares = float(weight.sum()), float((weight**2).sum())
    if total <= 0.0 or total**2 / squares * (1.0 - q) < 1.0:
        return Estimate(np.nan, np.nan, np.nan)
    order = np.argsort(y, kind="stable")
    upto = np.cumsum(weight[order]) / total

    def at(level: float) -> float:
        return float(y[order[min(int(np.searchsorted(upto, level)), len(y) - 1)]])

    value = at(q)
    reach = _around(q, weight * ((y <= value) - q) / total, block)
    if not np.isfinite(reach.low):
        return Estimate(value, np.nan, np.nan)
    return Estimate(value, at(max(reach.low, 0.0)), at(min(reach.high, 1.0)))


def direct(y: Floats, action: Ints, klass: Ints, fold: Ints, actions: int, classes: int) -> Floats:
    """The direct model: the mean of y by action and class, for each of two folds from the rows of the other one.

    Shape (2, actions, classes). Cells with few rows are drawn to their action's mean, and that to the mean of all.
    """
    out = np.empty((2, actions, classes))
    for f in (0, 1):
        rows = fold != f
        cell = action[rows] * classes + klass[rows]
        count = np.bincount(cell, minlength=actions * classes).reshape(actions, classes).astype(np.float64)
        total = np.bincount(cell, y[rows], minlength=actions * classes).reshape(actions, classes)
        all_ = float(total.sum()) / max(float(count.sum()), 1.0)
        own = (total.sum(axis=1) + PRIOR * all_) / (count.sum(axis=1) + PRIOR)
        out[f] = (total + PRIOR * own[:, None]) / (count + PRIOR)
    return out


def student(freedom: int) -> float:
    """Two-sided 95 % quantile of Student's t, by its expansion (Abramowitz and Stegun 26.7.5); good from five on."""
    z, v = Z_95, float(freedom)
    first = (z**3 + z) / 4.0
    second = (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0
    third = (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / 384.0
    return z + first / v + second / v**2 + third / v**3


def _around(value: float, influence: Floats, block: Ints) -> Estimate:
    """The interval from what each row moves the estimate by, summed by block."""
    sums = np.bincount(block, influence)
    there = np.bincount(block) > 0
    blocks = int(there.sum())
    if blocks < LEAST_BLOCKS:
        return Estimate(value, np.nan, np.nan)
    reach = student(blocks - 1) * float(np.sqrt(blocks / (blocks - 1) * (sums[there] ** 2).sum()))
    return Estimate(value, value - reach, value + reach)
