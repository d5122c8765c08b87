"""A direct regression for each horizon: from what is known now to the square root of what will be counted then.

It keeps the sums of least squares and solves them now and then, so a stretch without news cannot wind anything up: sums
that fade leave the ridge, and the ridge says "as it is now". Rows that were far off count for less (their weight is one
over how far), so that it aims at the median and a burst teaches little. Two speeds of forgetting are kept.
"""

from __future__ import annotations

import numpy as np

from models.base import Floats, Ints
from models.columns import Columns

HALF_LIVES = (8000.0, 1000.0)
"""Steps: long enough for weeks at steps of minutes, and for a change of yesterday."""

_RIDGE = 1e-4
_RIDGE_OF_MEAN = 1e-3


class Regression(Columns):
    """Coefficients by service, half-life and horizon, over `features` columns."""

    gram: Floats
    moment: Floats
    weights: Floats

    def __init__(self, services: int, horizons: int, features: int) -> None:
        shape = (len(HALF_LIVES), horizons, features)
        self._decay = 0.5 ** (1 / np.array(HALF_LIVES))[:, None]
        super().__init__(services, gram=(*shape, features), moment=shape, weights=shape)

    def predict(self, x: Floats) -> Floats:
        """What to add to the value now, (services, horizons, half-lives). `x` is (services, horizons, features)."""
        return np.asarray(np.einsum("skhf,shf->shk", self.weights, x))

    def learn(self, x: Floats, y: Floats, error: Floats, usual: Floats) -> None:
        """What became of earlier rows.

        `y`: what had to be added, (services, horizons), NaN where that is unknown; `error`: of each half-life at the
        time, (services, horizons, half-lives); `usual`: how large such an error is, (services, horizons).
        """
        known = np.isfinite(y)
        came = np.where(known, y, 0.0)
        far = np.abs(error) / np.maximum(usual, 1e-3)[..., None]
        weight = np.where(known[..., None], 1 / np.maximum(far, 1.0), 0.0).transpose(0, 2, 1)
        keep = np.where(known[:, None, :], self._decay, 1.0)
        self.gram *= keep[..., None, None]
        self.gram += (weight[..., None] * x[:, None])[..., None] * x[:, None, :, None, :]
        self.moment *= keep[..., None]
        self.moment += (weight * came[:, None])[..., None] * x[:, None]

    def solve(self, rows: Ints) -> None:
        """Take the coefficients of these services anew from their sums."""
        gram = self.gram[rows]
        diagonal = np.einsum("skhff->skhf", gram)
        mean = diagonal.mean(axis=-1, keepdims=True)
        ridge = _RIDGE * diagonal + _RIDGE_OF_MEAN * mean + 1e-9
        gram = gram + ridge[..., None] * np.eye(gram.shape[-1])
        self.weights[rows] = np.linalg.solve(gram, self.moment[rows][..., None])[..., 0]
