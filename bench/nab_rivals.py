"""Rivals over the benchmark's files: the rule of five lines, and river's detectors as they come.

Without the rule's row a figure proves nothing: it finds half of what the best do. river's scores are brought to a
common measure by their rank in the file's own past, since one threshold has to serve all files; none of them looks
ahead.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator

import numpy as np
from river import anomaly, drift

from bench.nab_score import Floats, probation

QUIET = 200
"""Rows after an alarm in which nothing more is said, where a rival is given that help."""

MARGIN = 0.05
_TRIGGER = 0.995
_LAGS = 3


def out_of_range(values: Floats) -> Iterator[float]:
    """5 % outside of the range seen so far."""
    low, high = math.inf, -math.inf
    for value in values.tolist():
        margin = MARGIN * (high - low) if high > low else 0.0
        yield float(high >= low and not low - margin <= value <= high + margin)
        low, high = min(low, value), max(high, value)


def gaussian(values: Floats) -> Iterator[float]:
    """river's GaussianScorer over all that was seen."""
    model = anomaly.GaussianScorer(grace_period=min(probation(len(values)), 100))
    for value in values.tolist():
        score = float(model.score_one(None, value))
        model.learn_one(None, value)
        yield score if math.isfinite(score) else 0.0


def half_space_trees(values: Floats) -> Iterator[float]:
    """river's HalfSpaceTrees over the last three values within the range so far, as a rank in its own past."""
    model, past = anomaly.HalfSpaceTrees(n_trees=25, height=8, window_size=250, seed=1), list[float]()
    lags, low, high = [0.5] * _LAGS, math.inf, -math.inf
    for value in values.tolist():
        low, high = min(low, value), max(high, value)
        lags = [*lags[1:], (value - low) / (high - low) if high > low else 0.5]
        x = {str(k): lag for k, lag in enumerate(lags)}
        score = model.score_one(x)
        model.learn_one(x)
        rank = bisect_left(past, score) / (len(past) + 1)
        insort(past, score)
        yield rank


def page_hinkley(values: Floats) -> Iterator[float]:
    """river's PageHinkley on the distance from a slow mean in its own spreads."""
    model, mean, square, seen = drift.PageHinkley(), 0.0, 0.0, 0
    for value in values.tolist():
        rate = max(0.005, 1.0 / (seen + 1))
        z = (value - mean) / math.sqrt(square) if square > 0 else 0.0
        mean, square, seen = (
            mean + rate * (value - mean),
            (1 - rate) * (square + rate * (value - mean) ** 2),
            seen + 1,
        )
        model.update(z)
        yield float(model.drift_detected)


RIVALS: dict[str, Callable[[Floats], Iterator[float]]] = {
    "range novelty, 5 %": out_of_range,
    "river GaussianScorer": gaussian,
    "river HalfSpaceTrees, rank": half_space_trees,
    "river PageHinkley on z": page_hinkley,
}


def said(rival: Callable[[Floats], Iterator[float]], values: Floats) -> Floats:
    """A rival's score of each row."""
    return np.fromiter(rival(values), np.float64, len(values))


def quietly(score: Floats, trigger: float = _TRIGGER) -> Floats:
    """The same, with nothing said for `QUIET` rows after a score of `trigger` or more."""
    out, wait = score.copy(), 0
    for i, value in enumerate(score.tolist()):
        if wait > 0:
            wait -= 1
            out[i] = 0.0
        elif value >= trigger and i >= probation(len(score)):
            wait = QUIET
    return out
