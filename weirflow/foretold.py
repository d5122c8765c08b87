"""Foretells a file of counts step by step, as it would have been live, and holds the last part against plain ways."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.demand_steps import Ahead, StepDemand
from weirflow.counts import Counts

Floats = NDArray[np.float64]

MOST_HORIZONS = 12
SCORED_SHARE = 0.2
BASELINES = ("last value", "ewma 0.3", "ewma 0.1", "same time yesterday")
OURS = "weirflow"


@dataclass(frozen=True, slots=True, eq=False)
class Foretold:
    """What comes after the last step, and how far off it was on the last part of the file."""

    horizons: NDArray[np.int64]  # steps ahead
    ahead: Ahead  # counts a step, shape (1, horizons)
    errors: dict[str, Floats]  # mean absolute error of each way by horizon; NaN where it could not be told
    covered: Floats  # share of the scored steps within the 90 % interval, by horizon
    scored: Floats  # steps that were scored, by horizon


def horizons(step_s: float, ahead_s: float) -> NDArray[np.int64]:
    """Steps ahead to foretell: every one, or evenly spaced ones up to `MOST_HORIZONS`."""
    last = max(1, round(ahead_s / step_s))
    return np.unique(np.linspace(1, last, min(last, MOST_HORIZONS)).round().astype(np.int64))


def foretell(counts: Counts, ahead_s: float) -> Foretold:
    """Learn the whole file in order; what is scored was foretold from what came before it alone."""
    steps = horizons(counts.step_s, ahead_s)
    model = StepDemand(1, counts.step_s, steps.tolist())
    values, n = counts.values, len(counts.values)
    said = np.full((3, n, len(steps)), np.nan)
    first = round(counts.start_s / counts.step_s)
    scored_from = int(n * (1 - SCORED_SHARE))
    for i, value in enumerate(values.tolist()):
        model.learn(np.array([value]), first + i)
        if i + steps[-1] >= scored_from:
            now = model.predict()
            said[:, i] = now.value[0], now.low[0], now.high[0]
    plain = _baselines(values, counts.step_s, steps)
    errors = {name: np.full(len(steps), np.nan) for name in (OURS, *BASELINES)}
    covered, scored = np.full(len(steps), np.nan), np.zeros(len(steps))
    for k, h in enumerate(steps.tolist()):
        start = max(scored_from - h, 0)
        truth = values[start + h :]
        span = slice(start, start + len(truth))
        if not len(truth):
            continue
        ways = {OURS: said[0, span, k]} | {name: column[span, k] for name, column in plain.items()}
        # All over the same steps, or the errors could not be set beside each other.
        known = np.isfinite(truth) & np.isfinite(ways[OURS])
        scored[k] = known.sum()
        if not known.any():
            continue
        for name, column in ways.items():
            errors[name][k] = np.abs(column - truth)[known].mean()
        covered[k] = ((said[1, span, k] <= truth) & (truth <= said[2, span, k]))[known].mean()
    return Foretold(steps, model.predict(), errors, covered, scored)


def _baselines(values: Floats, step_s: float, steps: NDArray[np.int64]) -> dict[str, Floats]:
    """What each plain way would have said at each step, shape (steps of the file, horizons)."""
    n = len(values)
    filled = np.full((n, 3), np.nan)
    state = np.full(3, np.nan)
    rates = np.array([1.0, 0.3, 0.1])
    for i, value in enumerate(values.tolist()):
        if value == value:  # what is missing teaches nothing
            state = np.where(np.isnan(state), value, state + rates * (value - state))
        filled[i] = state
    out = {name: np.repeat(filled[:, k : k + 1], len(steps), axis=1) for k, name in enumerate(BASELINES[:3])}
    day = round(86400 / step_s)
    yesterday = np.full((n, len(steps)), np.nan)
    for k, h in enumerate(steps.tolist()):
        if 0 < day - h < n:
            yesterday[day - h :, k] = values[: n - day + h]
    # Not seen yesterday: the last value is what is left to say.
    out[BASELINES[3]] = np.where(np.isnan(yesterday), out[BASELINES[0]], yesterday)
    return out
