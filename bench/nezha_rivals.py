"""The plain ways beside our alarm and our ranking, and the controls that any table of alarms needs.

The rivals are what is usually tried first: three sigma of the trailing two hours, the largest of all streams; and the
largest shift of a mean, in standard deviations of the four hours before. Their streams are the same as ours.
"""

from __future__ import annotations

import numpy as np

from bench.nezha_data import Bools, Day, Fault, Floats

TRAILING = 120
SIGMAS = (3.0, *np.geomspace(4.0, 400.0, 40).round(1).tolist())
RANDOM_SEEDS = 100
WINDOW, BASELINE = 4, 240


def largest_sigma(day: Day) -> Floats:
    """By row, by how many standard deviations of the rows before the oddest stream is off."""
    out = np.zeros(day.time_s.size)
    for t in range(TRAILING // 4, out.size):
        past = day.values[max(0, t - TRAILING) : t]
        out[t] = np.nanmax(np.append(np.abs(_sigmas(day.values[t], past)), 0.0))
    return out


def at_random(day: Day, share: float) -> list[Bools]:
    """Alarms that know nothing, one for each seed."""
    rng = np.random.default_rng(7)
    return [rng.random(day.time_s.size) < share for _ in range(RANDOM_SEEDS)]


def by_mean_shift(day: Day, fault: Fault) -> list[int]:
    """Services by the largest shift upwards of any of their streams, an edge's being its callee's."""
    began = day.began(fault)
    past = day.values[max(0, began - BASELINE) : began]
    with np.errstate(invalid="ignore"):
        now = _mean(day.values[began : began + WINDOW])
    moved = np.nan_to_num(_sigmas(now, past))
    score = np.zeros(len(day.services))
    np.maximum.at(score, day.owner, moved)
    return sorted(range(score.size), key=lambda s: (-score[s], s))


def _mean(rows: Floats) -> Floats:
    known = np.isfinite(rows)
    return np.asarray(np.where(known, rows, 0.0).sum(axis=0) / known.sum(axis=0))


def _sigmas(value: Floats, past: Floats) -> Floats:
    """NaN where the past never moved."""
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = _mean(past)
        spread = np.sqrt(_mean(np.square(past - middle)))
        return np.asarray(np.where(spread > 0, (value - middle) / spread, np.nan))
