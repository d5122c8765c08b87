"""The weights policy: a pure function from a View to a proposal.

What is believed. The operator's weights are the prior: an endpoint of weight 2 is believed to bear twice what one of
weight 1 bears. What is learned multiplies that belief. With r = capacity / prior, an endpoint is as good as promised
when its r is that of its peers, so its strength is

    c = prior * exp(trust * log(r / median r))

Of who has just joined the prior is less: what others bore of it at that age (`brain.warm`).

Logarithms, because capacities compare by ratio: a slip to a tenth is as far from normal as a rise to tenfold. The
median (of the logarithms), because it is unmoved by one endpoint's lie or collapse, and because when all endpoints
slow down alike every ratio stays 1 and nothing is reshuffled.

Trust is 0 to 1 and has two factors. By count, n / (n + prior_samples): few samples are drawn towards the peers. By
interval, the positive-part James-Stein factor max(0, 1 - s^2/d^2) with d = log(r / median r) and s its standard
error: a difference that the interval itself could make is no difference, a large one is taken almost whole (Efron and
Morris, "Stein's Estimation Rule and Its Competitors", JASA 1973). At no trust the proposal is the operator's weights.

What is done about it. Endpoints alike are put into one tier (`brain.tiers`), and the service's load is split over them
by the cost that is predicted of each (`brain.split`), with a price on what a tier could not bear if it lost one. How
many requests an endpoint works on at once must have been learned for that; until then the load is split by strength
alone. Who has a long queue to work off gets less until it has (`brain.drain`).

Where our module picks (`dataplane.pick`), it weighs each queue by capacity itself, so capacities are what it is told:
what each endpoint could bear of such requests as it is now asked for, its price included, in one tier. Where nodes see
too little of the queues it deals out turns, and is told the split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from brain import tiers
from brain.drain import drained, overdue
from brain.split import best_split
from brain.view import known_sum, middle

if TYPE_CHECKING:
    from brain.settings import Cost
    from brain.view import View

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

Z_90 = 1.645
"""Standard errors from the middle of a 90 % interval to its end."""

FARTHEST = 20.0
"""A log ratio beyond this (five hundred million to one) is past every rail; the cut keeps the arithmetic finite."""
NOTHING = 1e-9
"""Attempts a second below which an endpoint bears nothing. That is knowledge, and the worst of it; unknown is NaN."""
LAME = 0.2
"""Below this part of its peers' strength an endpoint is not sound: no reserve is planned for it."""


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """What the policy wants for one service, in the order of its members. Shapes (n,)."""

    wanted: Floats  # shares of the load; only their ratios matter
    strength: Floats  # what each is believed to bear, relative to what the operator promised and to its peers
    tiers: Ints
    overdue_s: Floats  # how much longer than usual each has to work off what is open, beyond what is let be
    alike: Ints | None = None  # who must not differ by rounding alone; None: who shares a tier
    by_queue: bool = False  # these are capacities, for our module to weigh queues by; else turns are dealt out
    bears: Floats | None = None  # where our module deals out turns: capacities, to weigh by what endpoints say


def propose(
    view: View,
    prior_samples: float,
    cost: Cost,
    nodes: float = 1.0,
    holdout: float = 0.0,
    lasting: float = 1.0,
    by_module: bool = False,
) -> Proposal:
    """What each endpoint's share and tier should be; shares are positive.

    `nodes`: how many share the load, in effect; `holdout`: the part of it that the static rules split, as by the
    operator's weights; `lasting`: what part of a difference is there still when it can be acted on; `by_module`: our
    module picks.

    The operator's weights in one tier when the service is not ready; an endpoint whose capacity is unknown gets the
    operator's weight as well, so it is treated as an average peer. Never raises, never NaN for finite or NaN input.
    """
    n = len(view.prior)
    known = np.isfinite(view.capacity) & (view.capacity >= 0)
    if not view.ready or not known.any():
        return Proposal(view.prior, np.ones(n), np.zeros(n, dtype=np.int64), np.zeros(n))
    ratio = np.log(np.where(known, np.maximum(view.capacity, NOTHING), 1.0)) - np.log(view.promised)
    level = middle(ratio[known])
    distance = np.clip(ratio - level, -FARTHEST, FARTHEST)
    scanned = scans(view, nodes)
    # What of a difference will have passed.
    passing = np.clip((1.0 - lasting) * by_latency(view), -FARTHEST, FARTHEST) if lasting < 1.0 else 0.0
    unsure = error(view)
    trusted = np.where(known, trust(view.count, distance, unsure, prior_samples), 0.0)
    believed = trusted * (distance - passing)
    log_c = np.log(view.promised) + believed
    sound = believed > np.log(LAME)
    alike = tiers.alike(log_c, np.where(known, unsure, 0.0))
    joined, log_c = tiers.joined(alike, log_c, sound), tiers.middles(log_c, alike)
    late = overdue(view)
    # Where nodes see no queues, nobody takes over by itself for who is lost.
    safe = tiers.without_one(joined, log_c) if scanned else np.ones(n)
    bears, one = None, np.zeros_like(joined)
    if by_module:
        own = np.log(view.promised) + believed
        same = tiers.alike(own, np.zeros(n))
        bears = borne(view, tiers.middles(own, same), level, cost)
    if bears is not None and scanned and sound.all():
        return Proposal(drained(bears, view, late), np.exp(believed), one, late, same, by_queue=True)
    whole = shares(view, log_c, level, sound, cost, safe)
    if bears is not None and scanned:
        bears = safely(bears, whole, sound)
        return Proposal(drained(bears, view, late), np.exp(believed), one, late, same, by_queue=True)
    whole = drained(whole, view, late)
    tiered = scanned and not by_module
    in_tiers = joined if tiered else one
    return Proposal(beside(whole, view.prior, holdout), np.exp(believed), in_tiers, late, bears=bears)


def scans(view: View, nodes: float) -> bool:
    """Do so many nodes see enough of the queues to pick by them: by our module, or by tiers."""
    return tiers.telling(open_requests(view), len(view.prior), nodes)


def by_latency(view: View) -> Floats:
    """The part of each endpoint's log ratio to its peers that is latency's, not failures' or a hang's. Shape (n,).

    0 where it is unknown.
    """
    with np.errstate(all="ignore"):
        ratio = -np.log(view.service_s) - np.log(view.promised)
    known = np.isfinite(ratio)
    return np.where(known, ratio - (middle(ratio[known]) if known.any() else 0.0), 0.0)


def shares(view: View, log_c: Floats, level: float, sound: Bools, cost: Cost, safe: Floats) -> Floats:
    """The load, or what it may swell to, split by predicted cost; by capacity alone while lanes are not known.

    A sound endpoint gets no less than `reserve` of its share by capacity: the strong may be given more only as far as
    the weak stay warm enough to take over. `safe`: how busy each may be at no `overhang_price_s`, see `brain.split`.
    """
    by_capacity = np.exp(log_c - log_c.max())
    by_capacity /= by_capacity.sum()
    load = max(known_sum(view.rate_per_s), view.most_per_s)
    if not np.isfinite(view.lanes) or view.lanes < 1.0 or load <= 0.0:
        return np.asarray(by_capacity)
    price, service_s = price_s(view, cost), view.lanes / np.exp(np.clip(log_c + level, -FARTHEST, FARTHEST))
    best = best_split(service_s, view.lanes, load, cost.quantile, price, safe, cost.overhang_price_s)
    return np.asarray(np.maximum(best, np.where(sound, cost.reserve * by_capacity, 0.0)))


def price_s(view: View, cost: Cost) -> Floats:
    """What is added to each request at an endpoint, beside what it takes. Shape (n,)."""
    failing = np.where(np.isfinite(view.error_share), view.error_share, 0.0)
    return np.asarray(cost.error_price_s * failing + view.crossing_share * cost.zone_crossing_s)


def borne(view: View, log_c: Floats, level: float, cost: Cost) -> Floats:
    """Capacities, each as if a request took its price longer there. Shape (n,), the largest about 1."""
    capacity = np.exp(log_c - log_c.max())
    if not np.isfinite(view.lanes) or view.lanes < 1.0:
        return np.asarray(capacity)
    service_s = view.lanes / np.exp(np.clip(log_c + level, -FARTHEST, FARTHEST))
    return np.asarray(capacity * service_s / (service_s + price_s(view, cost)))


def safely(bears: Floats, whole: Floats, sound: Bools) -> Floats:
    """Capacities that do no harm as turns: who is not sound gets no more by them than by the split. Shapes (n,).

    Whether proxies weigh queues or deal out turns is theirs to say, by what they have open at each moment.
    """
    if not sound.any():
        return bears
    scale = bears[sound].sum() / whole[sound].sum()
    return np.asarray(np.where(sound, bears, np.minimum(bears, whole * scale)))


def beside(whole: Floats, prior: Floats, holdout: float) -> Floats:
    """What the adaptive arm should send so that, with what the holdout sends, each endpoint gets its share of all.

    The holdout is believed to split as the operator's weights do. At least a hundredth of the share is left, and
    something of nothing: 0 is no proposal.
    """
    whole = whole / whole.sum()
    holdout = min(max(holdout, 0.0), 0.5)  # beyond, the static rules rule, and making up for them would be a tug of war
    return np.asarray(np.maximum(whole - holdout * prior / prior.sum(), np.maximum(0.01 * whole, 1e-9)))


def open_requests(view: View) -> float:
    """How many are open at the whole service: by Little's law from what finished, or by the reports if that is more."""
    finished = known_sum(view.rate_per_s * view.latency_s)
    return max(finished, known_sum(view.in_flight))


def error(view: View) -> Floats:
    """Standard error of the logarithm of capacity. Shape (n,); 0 where no interval is known."""
    with np.errstate(all="ignore"):
        out = np.log(view.capacity_high / view.capacity_low) / (2 * Z_90)
    return np.where(np.isfinite(out) & (out > 0), out, 0.0)


def trust(count: Floats, distance: Floats, unsure: Floats, prior_samples: float) -> Floats:
    """How much of each log ratio to act on, 0 to 1. Shape (n,); 0 where no count is known.

    `unsure`: standard errors of the log ratios. An interval that is missing or not positive says nothing
    about the error, so it is not trusted beyond the count.
    """
    count = np.fmax(count, 0.0)  # NaN becomes 0
    with np.errstate(all="ignore"):
        by_count = np.where(count < np.inf, count / (count + prior_samples), 1.0)
        by_interval = np.fmax(1.0 - np.square(unsure / distance), 0.0)  # 0 / 0: no distance, nothing to trust
        trusted = by_count * by_interval
    return np.where(np.isfinite(trusted), trusted, 0.0)
