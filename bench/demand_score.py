"""The protocol of the forecasts: which steps are foretold, and what the errors are divided by.

The first 60 % of a series is in-sample. 120 origins, evenly spaced over the rest, are foretold 1 and 12 steps ahead.
MASE is the mean absolute error over that of the seasonal naive forecast (a day) in-sample; pinball losses are divided
by the same. Coverage stands beside pinball: rolling errors give coverage even to a model that has run away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HORIZONS = (1, 12)
LEVELS = (0.5, 0.9, 0.99)
ORIGINS = 120
IN_SAMPLE = 0.6


def origins(steps: int) -> Ints:
    """The steps from which is foretold."""
    return np.unique(np.linspace(int(steps * IN_SAMPLE), steps - HORIZONS[-1] - 1, ORIGINS).astype(np.int64))


def day(step_s: float) -> int:
    """Steps in a day."""
    return round(86400 / step_s)


def scale(values: Floats, step_s: float) -> float:
    """In-sample mean absolute error of the seasonal naive forecast; of the last value, where there is no whole day."""
    known, lag = values[: int(len(values) * IN_SAMPLE)], day(step_s)
    moves = known[lag:] - known[:-lag] if lag < len(known) else np.diff(known)
    return float(np.nanmean(np.abs(moves)))


def score(values: Floats, step_s: float, said: Floats) -> dict[str, Any]:
    """Errors of what was said at the origins, shape (levels, horizons, origins); NaN where nothing was."""
    at, divisor = origins(len(values)), scale(values, step_s)
    out: dict[str, Any] = {}
    for k, h in enumerate(HORIZONS):
        truth = values[at + h]
        known = np.isfinite(truth) & np.isfinite(said[:, k]).all(axis=0)
        truth, quantiles = truth[known], said[:, k][:, known]
        row: dict[str, Any] = {"origins": int(known.sum())}
        row["mase"] = float(np.mean(np.abs(truth - quantiles[0])) / divisor) if known.any() else math.nan
        for level, q in zip(LEVELS[1:], quantiles[1:], strict=True):
            missed = truth - q
            loss = np.maximum(level * missed, (level - 1) * missed)
            row[f"pinball_p{round(100 * level)}"] = float(loss.mean() / divisor) if known.any() else math.nan
            row[f"below_p{round(100 * level)}"] = float((missed <= 0).mean()) if known.any() else math.nan
        out[str(h)] = row
    return out


def geometric(ratios: Sequence[float]) -> float:
    """Their geometric mean."""
    return math.exp(math.fsum(map(math.log, ratios)) / len(ratios)) if ratios and min(ratios) > 0 else math.nan
