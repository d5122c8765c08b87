"""Several forecasts made one, and what it was off by made an interval: per service and horizon.

Each expert weighs by its recent pinball loss at the median, beside that of the best: an expert that loses a tenth more
than the best has a twentieth of its weight.

The interval is a spread (the decayed root mean square of the mixture's own errors), and where the quantiles lie in
units of it: from where a normal distribution has them, moved by each error as adaptive conformal intervals are (Gibbs
and Candes, NeurIPS 2021). They hold whatever the errors are like. Errors at a far horizon hang together, for each was
made of much the same future: a hundred of them half an hour ahead are a few. So a horizon remembers the longer the
farther it is, and of one that nobody has lived through yet, the spread is that of the one before, wider by the square
root of how much farther it is, as that of a random walk.
"""

from __future__ import annotations

import numpy as np

from models.base import Floats, Ints, State
from models.columns import Columns

LEVELS = np.array([0.05, 0.9, 0.95, 0.99])
NORMAL = np.array([-1.645, 1.282, 1.645, 2.326])

_COUNT_VARIANCE = 0.25
"""Of the square root of a Poisson count, whatever its mean: what is expected of the nearest horizon."""
_PRIOR = 5.0
"""Errors that what is expected of a spread is worth."""
_STEP = 0.01
"""How far one error moves a quantile, in spreads: a thousand errors are its memory."""
_MEMORY, _MEMORY_OF_HORIZON = 60.0, 6.0
"""Errors that a spread remembers, and how many more for each step ahead."""

_SHARPNESS = 30.0
_LOSS_HALF_LIFE = 200.0  # steps
_USUAL_RATE = 0.02


class Mixture(Columns):
    """Weights of experts, and quantiles of errors at `LEVELS`. All values are square roots of counts."""

    loss: Floats
    usual: Floats  # mean absolute error of late
    square: Floats  # decayed sum of squared errors, and the weight in it
    weight: Floats
    moved: Floats  # quantiles, in spreads, from where a normal distribution has them

    def __init__(self, services: int, horizons: Ints, experts: int) -> None:
        count = len(horizons)
        super().__init__(
            services,
            loss=(count, experts),
            usual=(count,),
            square=(count,),
            weight=(count,),
            moved=(count, len(LEVELS)),
        )
        self._fade = 0.5 ** (1 / _LOSS_HALF_LIFE)
        self._keep = 1 - 1 / (_MEMORY + _MEMORY_OF_HORIZON * horizons)
        self._told: Floats | None = None
        self._wider = horizons[1:] / horizons[:-1]

    def mix(self, said: Floats) -> Floats:
        """One forecast of each, (services, horizons), from (services, horizons, experts)."""
        least = self.loss.min(axis=-1, keepdims=True) + 1e-9
        weight = np.exp(-_SHARPNESS * (self.loss / least - 1 + 1e-9 / least))
        return np.asarray((weight * said).sum(axis=-1) / weight.sum(axis=-1))

    def learn(self, said: Floats, mixed: Floats, truth: Floats) -> None:
        """What became of forecasts made earlier; `truth` is (services, horizons), NaN where it is not known."""
        known = np.isfinite(truth)
        came = np.where(known, truth, 0.0)
        missed = np.where(known[..., None], np.abs(said - came[..., None]) / 2, 0.0)
        self.loss *= np.where(known, self._fade, 1.0)[..., None]
        self.loss += missed
        error = np.where(known, came - mixed, 0.0)
        below = error[..., None] < self._ends()
        self.moved += np.where(known[..., None], _STEP * (LEVELS - below), 0.0)
        keep = np.where(known, self._keep, 1.0)
        self.square = self.square * keep + error**2
        self.weight = self.weight * keep + known
        rate = np.where(known, np.maximum(_USUAL_RATE, 1 / np.maximum(self.weight, 1)), 0.0)
        self.usual += rate * (np.abs(error) - self.usual)
        self._told = None

    def spread(self, mixed: Floats) -> Floats:
        """The forecast at each of `LEVELS`, (services, horizons, levels)."""
        return np.maximum(mixed[..., None] + self._ends(), 0.0)

    def resize(self, rows: int) -> None:
        """Have room for this many rows; none is ever taken away."""
        super().resize(rows)
        self._told = None

    def restore(self, state: State, prefix: str) -> None:
        """Take up columns that were checked."""
        super().restore(state, prefix)
        self._told = None

    def _ends(self) -> Floats:
        """How far each of `LEVELS` is from the forecast; kept until something is learned."""
        if self._told is None:
            self._told = np.sqrt(self._variance())[..., None] * (NORMAL + self.moved)
        return self._told

    def _variance(self) -> Floats:
        """The squared spread, (services, horizons)."""
        out, expected = np.empty_like(self.square), np.full(self.rows, _COUNT_VARIANCE)
        for k, wider in enumerate((*self._wider, 1.0)):
            out[:, k] = (self.square[:, k] + _PRIOR * expected) / (self.weight[:, k] + _PRIOR)
            expected = out[:, k] * wider
        return out
