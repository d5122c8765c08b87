"""A delay added to every answer, told apart from slowness: the one shifts a distribution, the other stretches it.

Of a stretch of time in which an endpoint behaved alike there are times z, of work and delay, without waiting. Work
varies as it does elsewhere: gamma distributed with a known shape about its class's mean, at an unknown speed. For a
delay d the likelihood of the rest, z - d, has its best speed in closed form, so d is looked for alone between 0 and the
least z. Slow work has short times among the long ones; late answers have none. One class of requests that all cost the
same says nothing either way, and is taken for slow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.base import Floats

SURE = 8.0
"""Log likelihood by which a delay must explain more than none."""
LEAST_SHARE = 0.1
"""Of the mean time: a delay of less changes nothing that anybody asks for."""
LEAST_S = 0.002
ALWAYS_ALIKE = 100.0
"""Work of this shape varies by a tenth: within one class a shift cannot be told from a stretch."""
STRAYS, FEW = 0.02, 2
"""Part of the shortest times, or so many, that may be of another stretch: its begin is known to an attempt or two."""
_LEAST = 0.01
_TRIED = np.linspace(0.0, 0.98, 50)


def delay_of(took_s: Floats, klass: NDArray[np.integer], mean_s: Floats, shape: float) -> float:
    """The delay in these times, 0 where none is sure. `mean_s` by class is what work takes elsewhere.

    >>> rng = np.random.default_rng(1)
    >>> work = rng.gamma(4, 0.0075, 200)
    >>> one = np.zeros(200, int)
    >>> delay_of(10 * work, one, np.array([0.03]), 4.0)
    0.0
    >>> round(delay_of(0.2 + work, one, np.array([0.03]), 4.0), 2)
    0.2
    """
    if len(took_s) < 2 or (shape > ALWAYS_ALIKE and len(np.unique(klass)) < 2):
        return 0.0
    few = min(max(FEW, int(len(took_s) * STRAYS)), len(took_s) // 8)
    a, least, mean = max(shape, 1.0), float(np.partition(took_s, few)[few]), mean_s[klass]
    if least <= max(LEAST_S, LEAST_SHARE * float(took_s.mean())):
        return 0.0
    rest = np.maximum((took_s[None, :] - least * _TRIED[:, None]) / mean, _LEAST)
    likely = (a - 1.0) * np.log(rest).sum(axis=1) - len(took_s) * a * np.log(rest.mean(axis=1))
    best = int(likely.argmax())
    delay = least * float(_TRIED[best])
    sure = likely[best] - likely[0] > SURE and delay > max(LEAST_S, LEAST_SHARE * float(took_s.mean()))
    return delay if sure else 0.0
