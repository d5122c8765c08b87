"""Whatever a policy says passes here, and there is no way around it.

Weights leave as integers with a fixed sum, `n * weight_mean` (give or take the rounding of tiers, `brain.tiers`), so a
share is a weight over a constant and a bound on a share is a bound on a weight. For every endpoint the guard makes one
box [low, high] of integers:

* floor and cap: `floor_share_of_mean` and `cap_share_of_mean` times the mean, but never on the wrong side of the
  operator's own weight: a canary to which the operator gives one percent keeps its one percent;
* step: from `ceil(step_down * w)` to `floor(step_up * w)` of the weight w in force. One unit either way is always
  allowed, or a small weight could never move. This is the only tolerance there is.

The weights in force lie in every box and have the same sum, so a solution always exists. The proposal is scaled by the
one factor at which, clipped to the boxes, it has the right sum ("water filling": the ratios of all endpoints that no
rail holds are kept), and rounded by largest remainder, which leaves neither a box nor the sum.

The trouble rule comes before all: when more than `trouble_share` of the endpoints are believed to bear less than the
floor, or fail more than half of their attempts, the trouble is the service's and not an endpoint's. Then the weights in
force are held, for moving traffic among the sick only picks who falls first (Envoy's panic threshold has the same
reason).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from brain.settings import Guard

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SUM_LIMIT = 2**31 - 1
"""The proto bounds the sum by 2^32 - 1 and Envoy does not check it; the column `Requests.weight` is signed."""
LEAST_RATIO = 1e-6
"""Proposals are taken as at least this share of the largest: below any floor, and it keeps the scaling sound."""
SICK = 0.05
"""An endpoint believed to bear less than this share of the mean counts as sick for the trouble rule."""
FAILING = 0.5
"""An endpoint that fails more than this share of its attempts counts as sick for the trouble rule."""


@dataclass(frozen=True, slots=True, eq=False)
class Guarded:
    """What the guard lets through. Arrays have shape (n,) and sum to n * weight_mean."""

    weights: Ints  # the next step, all rails kept
    goal: Ints  # where the steps lead: floor and cap kept, steps ignored
    unguarded: Ints  # what the policy would have had alone, for the explanation; may be 0 or absurd
    rails: tuple[str, ...]  # per endpoint "", "cleaned", "floor", "cap", "step_up", "step_down" or "trouble"
    trouble: str = ""  # why the service as a whole is held, in an operator's words


@dataclass(frozen=True, slots=True, eq=False)
class Rails:
    """What holds for one service whatever is proposed. Made once a membership. Arrays of shape (n,)."""

    prior: Floats  # the operator's weights, mean 1
    own: Ints  # the same on the guard's scale: where every service starts and re-enters
    low: Ints
    high: Ints
    total: int

    @classmethod
    def of(cls, prior: Floats, guard: Guard) -> Rails:
        """The rails of a service with these operator's weights. [low, high] holds the operator's own, at least 1."""
        n = len(prior)
        mean = mean_weight(n, guard)
        one, total = np.ones(n, dtype=np.int64), np.full(n, n * mean)
        own = whole(fill(prior, one, total, n * mean), one, total, n * mean) if n else one
        low = np.maximum(1, np.minimum(own, int(np.ceil(guard.floor_share_of_mean * mean - 1e-9))))
        high = np.maximum(own, int(np.floor(guard.cap_share_of_mean * mean + 1e-9)))
        return cls(prior, own, low, high, n * mean)

    def settle(self, weights: Ints) -> Ints:
        """Weights as they are when they keep floor, cap and sum; else the nearest by ratio that do."""
        if abs(int(weights.sum()) - self.total) <= len(weights) and bool(
            ((weights >= self.low) & (weights <= self.high)).all()
        ):
            return weights
        ratio = np.maximum(weights, 1).astype(np.float64)
        return whole(fill(ratio / ratio.max(), self.low, self.high, self.total), self.low, self.high, self.total)


def mean_weight(n: int, guard: Guard) -> int:
    """The mean to scale to: `weight_mean`, or less for a service so large that the sum would not fit Envoy's field."""
    return max(1, min(int(guard.weight_mean), SUM_LIMIT // max(n, 1)))


def dispose(
    wanted: Floats,
    in_force: Ints,
    error_share: Floats,
    rails: Rails,
    guard: Guard,
    strength: Floats | None = None,
    floor: float | None = None,
) -> Guarded:
    """Turn any proposal into weights that may be applied.

    `wanted`: any floats at all, only ratios matter; NaN means "no opinion" and becomes the operator's weight, an
    infinity the largest, anything not positive the smallest. `in_force`: the weights now, as an earlier call made them
    or `rails.own` (others are settled into the rails first). `error_share`: NaN for unknown. `strength`: what each is
    believed to bear, for the trouble rule, where that is not what is wanted of it; only ratios matter. All of shape
    (n,). `floor`: a share of the mean above the rails' own, where the traffic is thin. Never raises, on
    any value.
    """
    n, total = len(in_force), rails.total
    if n == 0:
        return Guarded(in_force, in_force, in_force, ())
    if floor is not None:
        rails = replace(rails, low=np.maximum(rails.low, np.minimum(rails.own, int(np.ceil(floor * total / n - 1e-9)))))
    base = rails.settle(in_force)
    ratio, cleaned = clean(wanted, rails.prior)
    unguarded = np.rint(ratio * (total / ratio.sum())).astype(np.int64)
    trouble = in_trouble(ratio if strength is None else clean(strength, rails.prior)[0], error_share, guard)
    if trouble:
        return Guarded(base, base, unguarded, ("trouble",) * n, trouble)
    goal = whole(fill(ratio, rails.low, rails.high, total), rails.low, rails.high, total)
    low = np.maximum(rails.low, np.minimum(base - 1, np.ceil(guard.step_down * base - 1e-9).astype(np.int64)))
    high = np.minimum(rails.high, np.maximum(base + 1, np.floor(guard.step_up * base + 1e-9).astype(np.int64)))
    one_step = bool(((goal >= low) & (goal <= high)).all())
    weights = goal if one_step else whole(fill(ratio, low, high, total), low, high, total)
    return Guarded(weights, goal, unguarded, name_rails(weights, goal, rails, (low, high), unguarded, cleaned))


def clean(wanted: Floats, prior: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Make any floats positive and finite, the largest 1. Returns them and which ones were not usable as they came."""
    usable = np.isfinite(wanted) & (wanted > 0)
    if usable.all():
        return np.maximum(wanted / wanted.max(), LEAST_RATIO), ~usable
    ratio = np.where(usable, wanted, 0.0)
    top = float(ratio.max())
    ratio = ratio / top if top > 0 else prior / prior.max()
    # No opinion: the operator's weight, on the scale of those that have one. All else that is odd sits at an end.
    scale = float(ratio[usable].sum() / prior[usable].sum()) if top > 0 else 1.0 / float(prior.max())
    ratio = np.where(np.isnan(wanted), prior * scale, ratio)
    ratio = np.where(wanted == np.inf, np.maximum(1.0, ratio.max()), ratio)
    return np.maximum(ratio / ratio.max(), LEAST_RATIO), ~usable


def in_trouble(ratio: Floats, error_share: Floats, guard: Guard) -> str:
    """Why the whole service is sick, or "" when it is not."""
    n = len(ratio)
    failing = int((error_share > FAILING).sum())  # an unknown share compares as False
    if failing > guard.trouble_share * n:
        return f"{failing} of {n} endpoints fail more than {FAILING:.0%} of their attempts: weights held"
    cut = int((ratio < SICK * ratio.sum() / n).sum())
    if cut > guard.trouble_share * n:
        return f"{cut} of {n} endpoints would be cut to the floor: weights held"
    return ""


def fill(ratio: Floats, low: Ints, high: Ints, total: int) -> Floats:
    """Scale positive ratios by the one factor at which, clipped to [low, high], they sum to the total. Shape (n,).

    The clipped sum grows with the factor in straight pieces that meet where an endpoint leaves its low or reaches its
    high end, so the factor is found by walking those 2 n edges in order. Needs sum(low) <= total <= sum(high).
    """
    scaled: Floats = ratio * (total / ratio.sum())
    if ((scaled >= low) & (scaled <= high)).all():
        return scaled  # the usual case: nothing to clip
    edges = np.concatenate([low / ratio, high / ratio])
    order = np.argsort(edges, kind="stable")
    at = edges[order]
    slope = np.cumsum(np.concatenate([ratio, -ratio])[order])[:-1]
    level = np.concatenate([[float(low.sum())], float(low.sum()) + np.cumsum(slope * np.diff(at))])
    k = int(np.searchsorted(level, total))
    if k == 0:
        factor = at[0]
    elif k == len(level) or slope[k - 1] <= 0:
        factor = at[min(k, len(at) - 1)]
    else:
        factor = at[k - 1] + (total - level[k - 1]) / slope[k - 1]
    filled: Floats = np.clip(factor * ratio, low, high)
    return filled


def whole(filled: Floats, low: Ints, high: Ints, total: int) -> Ints:
    """Round to integers in [low, high] that sum to the total exactly, the largest remainders up first."""
    out = np.clip(np.floor(filled + 1e-9).astype(np.int64), low, high)
    missing = total - int(out.sum())
    while missing:
        sign = 1 if missing > 0 else -1
        order = np.argsort(sign * (out - filled), kind="stable")
        room = order[(out < high)[order]] if sign > 0 else order[(out > low)[order]]
        if not len(room):  # only when sum(low) > total or sum(high) < total: rails that cannot be kept at once
            return out
        chosen = room[: abs(missing)]
        out[chosen] += sign
        missing -= sign * len(chosen)
    return out


def name_rails(
    weights: Ints,
    goal: Ints,
    rails: Rails,
    steps: tuple[Ints, Ints],
    unguarded: Ints,
    cleaned: NDArray[np.bool_],
) -> tuple[str, ...]:
    """Which rail each endpoint's weight leans on, "" for none. Floor and cap outrank a step that leads to them."""
    names = []
    low, high = rails.low.tolist(), rails.high.tolist()
    step_low, step_high = steps[0].tolist(), steps[1].tolist()
    rows = zip(weights.tolist(), goal.tolist(), unguarded.tolist(), cleaned.tolist(), strict=True)
    for i, (weight, aim, alone, odd) in enumerate(rows):
        if odd:
            names.append("cleaned")
        elif weight == low[i] and alone < low[i]:
            names.append("floor")
        elif weight == high[i] and alone > high[i]:
            names.append("cap")
        elif weight == step_high[i] and aim > weight:
            names.append("step_up")
        elif weight == step_low[i] and aim < weight:
            names.append("step_down")
        else:
            names.append("")
    return tuple(names)
