"""The weights policy: a pure function from a View to a proposal.

The operator's weights are the prior: an endpoint of weight 2 is believed to bear twice what one of weight 1 bears.
What is learned multiplies that belief. With r = capacity / prior, an endpoint is as good as promised when its r is
that of its peers, so its weight is

    w = prior * exp(trust * log(r / median r))

Logarithms, because capacities compare by ratio: a slip to a tenth is as far from normal as a rise to tenfold. The
median (of the logarithms), because it is unmoved by one endpoint's lie or collapse, and because when all endpoints
slow down alike every ratio stays 1 and nothing is reshuffled.

Trust is 0 to 1 and has two factors. By count, n / (n + prior_samples): few samples are drawn towards the peers. By
interval, the positive-part James-Stein factor max(0, 1 - s^2/d^2) with d = log(r / median r) and s its standard
error: a difference that the interval itself could make is no difference, a large one is taken almost whole (Efron and
Morris, "Stein's Estimation Rule and Its Competitors", JASA 1973). At no trust the proposal is the operator's weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from brain.view import View

Floats = NDArray[np.float64]

Z_90 = 1.645
"""Standard errors from the middle of a 90 % interval to its end."""

FARTHEST = 20.0
"""A log ratio beyond this (five hundred million to one) is past every rail; the cut keeps the arithmetic finite."""
NOTHING = 1e-9
"""Attempts a second below which an endpoint bears nothing. That is knowledge, and the worst of it; unknown is NaN."""


def propose(view: View, prior_samples: float) -> Floats:
    """What each endpoint's weight should be, mean 1 by intent, positive. Shape (n,).

    The operator's weights when the service is not ready; an endpoint whose capacity is unknown gets the operator's
    weight as well, so it is treated as an average peer. Never raises, never NaN for finite or NaN input.
    """
    known = np.isfinite(view.capacity) & (view.capacity >= 0)
    if not view.ready or not known.any():
        return view.prior
    ratio = np.log(np.where(known, np.maximum(view.capacity, NOTHING), 1.0)) - np.log(view.prior)
    distance = np.clip(ratio - middle(ratio[known]), -FARTHEST, FARTHEST)
    return view.prior * np.exp(np.where(known, trust(view, distance, prior_samples) * distance, 0.0))


def trust(view: View, distance: Floats, prior_samples: float) -> Floats:
    """How much of each log ratio to act on, 0 to 1. Shape (n,); 0 where no count is known.

    An interval that is missing or not positive says nothing about the error, so it is not trusted beyond the count.
    """
    count = np.fmax(view.count, 0.0)  # NaN becomes 0
    with np.errstate(all="ignore"):
        by_count = np.where(count < np.inf, count / (count + prior_samples), 1.0)
        error = np.log(view.capacity_high / view.capacity_low) / (2 * Z_90)
        by_interval = np.fmax(1.0 - np.square(error / distance), 0.0)  # 0 / 0: no distance, nothing to trust
        trusted = by_count * np.where(np.isfinite(error), by_interval, 1.0)
    return np.where(np.isfinite(trusted), trusted, 0.0)


def middle(values: Floats) -> float:
    """The median, the lower of two middles averaged as usual. `np.median` costs ten times this on a handful of rows."""
    ordered = np.sort(values)
    half = len(ordered) // 2
    return float(ordered[half]) if len(ordered) % 2 else float((ordered[half - 1] + ordered[half]) / 2)
