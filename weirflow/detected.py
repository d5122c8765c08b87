"""Goes over a file step by step, as it would have been live, and tells where it was surprising."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.surprise import ALARM, Surprise
from weirflow.counts import Counts

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DAY_S = 86400.0
LEAST_STEPS_PER_DAY = 12
"""Of longer steps too few make a day for its course to be learned."""


@dataclass(frozen=True, slots=True, eq=False)
class Detected:
    """What was said of each step before it was seen, and how surprising it was then. NaN where nothing was."""

    score: Floats
    low: Floats
    high: Floats
    alarms: Ints  # steps


def steps_per_day(step_s: float) -> int | None:
    """Steps in a day; None where they do not go into one."""
    steps = round(DAY_S / step_s)
    return steps if steps >= LEAST_STEPS_PER_DAY and abs(steps * step_s - DAY_S) < 1e-6 * DAY_S else None


def detect(counts: Counts, heard: Callable[[int], None] = lambda _: None) -> Detected:
    """Learn the whole file in order; each step is judged by what came before it alone.

    `heard` is told how many steps are done.
    """
    model = Surprise(1, steps_per_day(counts.step_s))
    rows = np.full((3, len(counts.values)), np.nan)
    for i, value in enumerate(counts.values.tolist()):
        said = model.learn_many(np.array([value]))
        rows[:, i] = said.score[0], said.low[0], said.high[0]
        heard(i + 1)
    return Detected(rows[0], rows[1], rows[2], np.flatnonzero(rows[0] >= ALARM))
