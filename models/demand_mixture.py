"""Several forecasts made one, and what it was off by made an interval: per service and horizon.

Each expert weighs by its recent pinball loss at the median, beside that of the best: an expert that loses a tenth more
than the best has a twentieth of its weight. Intervals are the quantiles of the mixture's own last errors, as shares
of how large errors are at the moment (conformal, rolling): they hold whatever the errors are like.
"""

from __future__ import annotations

import numpy as np

from models.base import Floats, Ints
from models.columns import Columns

LEVELS = np.array([0.05, 0.5, 0.9, 0.95, 0.99])
ERRORS_KEPT = 512
ERRORS_NEEDED = 8
"""Fewer make no interval."""

_SHARPNESS = 30.0
_LOSS_HALF_LIFE = 200.0  # steps
_USUAL_RATE = 0.02

_LEAST_USUAL = 0.1
"""Of a square root of counts, where one request more is about one: after a long silence nothing is sure."""
_ODDEST = 20.0
"""Times what is usual: an error beyond counts as this, or a burst after silence would widen everything for long."""


class Mixture(Columns):
    """Weights of experts, and quantiles of errors at `LEVELS`. All values are square roots of counts."""

    loss: Floats
    usual: Floats  # mean absolute error of late
    errors: Floats  # a ring, over `usual` at the time of the forecast
    errors_seen: Floats
    quantiles: Floats

    def __init__(self, services: int, horizons: int, experts: int) -> None:
        super().__init__(
            services,
            loss=(horizons, experts),
            usual=(horizons,),
            errors=(horizons, ERRORS_KEPT),
            errors_seen=(horizons,),
            quantiles=(horizons, len(LEVELS)),
        )
        self._fade = 0.5 ** (1 / _LOSS_HALF_LIFE)

    def mix(self, said: Floats) -> Floats:
        """One forecast of each, (services, horizons), from (services, horizons, experts)."""
        least = self.loss.min(axis=-1, keepdims=True) + 1e-9
        weight = np.exp(-_SHARPNESS * (self.loss / least - 1 + 1e-9 / least))
        return np.asarray((weight * said).sum(axis=-1) / weight.sum(axis=-1))

    def learn(self, said: Floats, mixed: Floats, usual_then: Floats, truth: Floats) -> None:
        """What became of forecasts made earlier; `truth` is (services, horizons), NaN where it is not known."""
        known = np.isfinite(truth)
        missed = np.where(known[..., None], np.abs(said - np.nan_to_num(truth)[..., None]) / 2, 0.0)
        self.loss *= np.where(known, self._fade, 1.0)[..., None]
        self.loss += missed
        error = np.where(known, np.nan_to_num(truth) - mixed, 0.0)
        rows, horizons = np.nonzero(known)
        slot = self.errors_seen[rows, horizons].astype(np.int64) % ERRORS_KEPT
        # The first errors have nothing to be measured by but themselves.
        scale = np.where(usual_then > 0, np.maximum(usual_then, _LEAST_USUAL), np.maximum(np.abs(error), _LEAST_USUAL))
        self.errors[rows, horizons, slot] = np.clip(error / scale, -_ODDEST, _ODDEST)[rows, horizons]
        self.errors_seen += known
        rate = np.where(known, np.maximum(_USUAL_RATE, 1 / np.maximum(self.errors_seen, 1)), 0.0)
        self.usual += rate * (np.abs(error) - self.usual)

    def refresh(self, rows: Ints) -> None:
        """Take the quantiles of these services anew from their errors."""
        kept = np.minimum(self.errors_seen[rows], ERRORS_KEPT)
        held = np.where(np.arange(ERRORS_KEPT) < kept[..., None], self.errors[rows], np.inf)
        held.sort(axis=-1)
        # The conformal rank: of n errors the ceil(level x (n + 1))-th, or the largest.
        rank = np.clip(np.ceil(LEVELS * (kept[..., None] + 1)) - 1, 0, np.maximum(kept - 1, 0)[..., None])
        taken = np.take_along_axis(held, rank.astype(np.int64), axis=-1)
        self.quantiles[rows] = np.where(kept[..., None] > 0, taken, 0.0)

    def spread(self, mixed: Floats) -> Floats:
        """The forecast at each of `LEVELS`, (services, horizons, levels); NaN where too few errors are known."""
        out = np.maximum(mixed[..., None] + self.quantiles * np.maximum(self.usual, _LEAST_USUAL)[..., None], 0.0)
        out[self.errors_seen < ERRORS_NEEDED] = np.nan
        return out
