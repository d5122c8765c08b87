"""The best split of a service's load over its endpoints, by what a request is predicted to take at each.

An endpoint that works on W requests at once, each for S seconds, at load rho = rate * S / W, keeps a request for

    T(rho) = S + wait(rho),    wait(rho) = S / W * rho^a / (1 - rho),    a = sqrt(2 (W + 1)) - 1

(Sakasegawa, "An approximation formula for the M/M/c queue", 1977). What is to be small is not the mean but a high
quantile, and to that the two parts do not add alike: the spread of the work itself stretches S by `ln(1 / (1 - q))`,
while a wait is the sum of many short ones, and a pick that sees open requests evens it out further. So the cost is

    cost(rho) = S + k * wait(rho) + price,    k = 1 / ln(1 / (1 - q))

with k = 0.22 for the 99th percentile; at k = 1 it is the mean. The sum of rate * cost over endpoints is convex, and at
its least every endpoint that is used has the same marginal cost (Kuhn and Tucker)

    m = price + S (1 + k / W * h(rho)),    h(rho) = d/drho [rho^(a+1) / (1 - rho)]

h rises from 0 to infinity, so m gives every rho, and one search finds the m at which the rates sum to the load. At
low load the slow get little; towards saturation the split tends to that of the capacities.

What is cheapest while all is well may be dear when it is not: at 40 % load the strongest two of four would bear nine
tenths, and one of them cannot. Until the loss of an endpoint is seen, some seconds go by in which the others of its
tier take what it cannot, as far as they can. So each endpoint has a load `safe` up to which the rest of its tier could
do without one (`brain.tiers.without_one`), and a request planned beyond it costs `overhang_price_s` more. That is a
kink in each endpoint's cost and leaves the sum convex. The marginal cost jumps there, so an endpoint stays at `safe`
while m passes through the jump:

    rho(m) = max(min(rho_0(m), safe), rho_0(m - overhang_price_s))

with rho_0 the load from above. Where there is room elsewhere, it is used first; where there is none, all are beyond
alike, and the split is the one without the price.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FULL = 0.98
"""No endpoint is planned to be busier. Beyond it the load is split by capacity: the queue is everybody's."""
CLOSE = 1e-3
"""The search ends when what is left of it changes the sum of the rates by this part of the load at most."""
_SECTIONS = {n: np.linspace(0.0, 1.0, n + 1) for n in (16, 32)}
_FEW = 32
"""Up to so many endpoints it is cheaper to look at more sections in a round."""
_ROUNDS = 8
_RHO = 1.0 - np.geomspace(1.0, 1.0 - FULL, 200)
"""Loads from 0 to FULL, finer towards the end."""
_IDLE = 1.0 - _RHO
_LOG_RHO = np.log(np.maximum(_RHO, 1e-300))


def best_split(
    service_s: Floats,
    lanes: float,
    load_per_s: float,
    quantile: float,
    price_s: Floats,
    safe: Floats | float = 1.0,
    overhang_price_s: float = 0.0,
) -> Floats:
    """The share of each endpoint, summing to 1. Shape (n,).

    `service_s`: above 0, what a request takes at an idle endpoint; `lanes`: how many are worked on at once, at least 1;
    `load_per_s`: of all endpoints together; `price_s`: added to each request there, in seconds. `safe`: the part of its
    capacity, 0 to 1, up to which an endpoint's load could be borne without it; `overhang_price_s`: added to each
    request beyond, at least 0. All finite.
    """
    capacity = lanes / service_s
    if load_per_s >= FULL * capacity.sum():
        return np.asarray(capacity / capacity.sum())
    power = np.sqrt(2.0 * (lanes + 1.0)) - 1.0
    k = 1.0 / np.log(1.0 / (1.0 - quantile))
    rising = np.exp(power * _LOG_RHO) * ((power + 1.0) * _IDLE + _RHO) / _IDLE**2
    cheapest, steep = service_s + price_s, lanes / k / service_s
    # No search beyond where those that fill first bear it all: one nearly dead would make every step a huge one.
    full = cheapest + service_s * k / lanes * rising[-1]
    order = np.argsort(full)
    enough = int(np.searchsorted(np.cumsum(FULL * capacity[order]), load_per_s))
    low, high = float(cheapest.min()), float(full[order[min(enough, len(order) - 1)]]) + overhang_price_s

    def rates(marginal: Floats) -> Floats:
        marginal = marginal[:, None]
        rho = np.interp((marginal - cheapest) * steep, rising, _RHO)
        if (rho > safe).any():
            beyond = np.interp((marginal - overhang_price_s - cheapest) * steep, rising, _RHO)
            rho = np.maximum(np.minimum(rho, safe), beyond)
        return np.asarray(capacity * rho)

    rate = _meet(rates, load_per_s, low, high, float(steep[cheapest.argmin()]), few=len(service_s) <= _FEW)
    total = rate.sum()
    # With next to no load the search ends at nothing: all of it goes where it is cheapest.
    return np.asarray(rate / total if total > 0 else (cheapest == cheapest.min()) / (cheapest == cheapest.min()).sum())


def _meet(
    rates: Callable[[Floats], Floats], load: float, low: float, high: float, steep: float, *, few: bool
) -> Floats:
    """The rates at the marginal cost between `low` and `high` at which they sum to the load.

    Each round looks at all ends of equal sections at once and goes on with the one in which the load is reached; in
    the last, rates are taken to be straight. Sections are of t with m = low + ((1 - t)^-2 - 1) / steep, for over t the
    rates are nearly straight all along, where over m they bend sharply.
    """
    left, right = 0.0, 1.0 - 1.0 / np.sqrt(1.0 + (high - low) * steep)
    sections = _SECTIONS[32 if few else 16]
    for _ in range(_ROUNDS):
        t = left + (right - left) * sections
        rate = rates(low + ((1.0 - t) ** -2 - 1.0) / steep)
        total = rate.sum(axis=1)
        end = min(max(int(total.searchsorted(load)), 1), len(t) - 1)
        left, right = t[end - 1], t[end]
        if total[end] - total[end - 1] <= CLOSE * load:
            break
    grown = total[end] - total[end - 1]
    part = min(max((load - total[end - 1]) / grown, 0.0), 1.0) if grown > 0 else 1.0
    return np.asarray(rate[end - 1] + part * (rate[end] - rate[end - 1]))
