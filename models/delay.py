"""A delay added to every answer, told apart from slowness: the one shifts a distribution, the other stretches it.

Of a stretch of time in which an endpoint behaved alike there are times z, of work and delay, without waiting. Work
varies as it does elsewhere: gamma distributed with a known shape about its class's mean, at an unknown speed. For a
delay d the likelihood of the rest, z - d, has its best speed in closed form, so d is looked for alone between 0 and the
least z. Slow work has short times among the long ones; late answers have none. One class of requests that all cost the
same says nothing either way, and is taken for slow.

That late answers vary little against how long they take is half of the sign. But how much work varies is a mean over
all endpoints and times, and some vary less than that: without a delay a stretch may have any shape up to `TIGHTER`
times the usual one.
"""

from __future__ import annotations

from math import lgamma, log

import numpy as np
from numpy.typing import NDArray

from models.base import Floats

SURE = 8.0
"""Log likelihood by which a delay must explain more than none."""
LEAST_SHARE = 0.1
"""Of the mean time: a delay of less changes nothing that anybody asks for."""
TIGHTER = 16.0
"""Work may vary by a quarter of what it does elsewhere."""
OWN_SHAPE = 4.0
"""Log likelihood that a shape of its own costs: it assumes less than a delay does, which costs `SURE`."""
ALWAYS_ALIKE = 100.0
"""Work of this shape varies by a tenth: within one class a shift cannot be told from a stretch."""
STRAYS, FEW = 0.02, 2
"""Part of the shortest times, or so many, that may be of another stretch: its begin is known to an attempt or two."""
_LEAST = 0.01
_TRIED = np.linspace(0.0, 0.98, 50)


def delay_of(took_s: Floats, klass: NDArray[np.integer], mean_s: Floats, shape: float, least_s: float = 0.0) -> float:
    """The delay in these times, 0 where none is sure. `mean_s` by class is what work takes elsewhere.

    `least_s`: less than that cannot be told from how the times are written down.

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
    told_s = max(least_s, LEAST_SHARE * float(took_s.mean()))
    if least <= told_s:
        return 0.0
    rest = np.maximum((took_s[None, :] - least * _TRIED[:, None]) / mean, _LEAST)
    logs, means = np.log(rest).mean(axis=1), np.log(rest.mean(axis=1))
    likely = len(took_s) * _likely(np.array(a), logs, means)
    best = int(likely.argmax())
    delay = least * float(_TRIED[best])
    plain = len(took_s) * float(_likely(a * np.geomspace(1.0, TIGHTER, 9), logs[0], means[0]).max())
    sure = likely[best] - max(float(likely[0]), plain - OWN_SHAPE) > SURE and delay > told_s
    return delay if sure else 0.0


def _likely(shape: Floats, logs: Floats, means: Floats) -> Floats:
    """The mean log density of gamma works at their best speed, by the mean of their logs and the log of their mean."""
    count = np.reshape([a * log(a) - lgamma(a) - a for a in np.ravel(shape).tolist()], np.shape(shape))
    return np.asarray(count + (shape - 1.0) * logs - shape * means)
