"""In what step times are told: a log in whole milliseconds knows nothing below one.

A step is one of a power of ten of which every value is a whole multiple. Values that fall anywhere are multiples of a
step by chance in one case of twenty-five each, so a few dozen say it for sure. Values that hardly differ say nothing,
for the same work each time is told the same in any step; but where some took no time at all the step was too long.
"""

from __future__ import annotations

import numpy as np

from models.base import Floats

STEPS_S = (1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5)
"""From the coarsest. A finer one is as good as none."""
FEWEST, UNLIKE = 30, 3
"""Values, and how many of them must differ."""
_NEAR = 0.02  # of a step
_LOOK = 1000


def step_of(values_s: Floats) -> float:
    """The coarsest step of which all are multiples, 0 where none is or too few values tell.

    `values_s` may be of single precision.

    >>> rng = np.random.default_rng(1)
    >>> took_s = rng.exponential(0.02, 100)
    >>> step_of(took_s), step_of(np.floor(took_s / 0.001) * 0.001)
    (0.0, 0.001)
    """
    if len(values_s) < FEWEST:
        return 0.0
    told_to = np.spacing(np.abs(values_s)).astype(np.float64)
    values = values_s.astype(np.float64)
    for step in STEPS_S:
        if all(_multiples(values[rows], told_to[rows], step) for rows in (slice(_LOOK), slice(_LOOK, None))):
            unlike = np.unique(np.rint(values / step))
            return step if len(unlike) >= UNLIKE or (unlike[0] == 0.0 and len(unlike) > 1) else 0.0
    return 0.0


def _multiples(values: Floats, told_to: Floats, step: float) -> bool:
    times = np.rint(values / step)
    near = np.where(times == 0.0, 0.0, _NEAR * step)  # what is told to take time and is far shorter is no multiple
    return bool((np.abs(values - times * step) <= np.maximum(near, 2.0 * told_to)).all())
