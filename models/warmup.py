"""By how much slower an endpoint is while it is young: learned from those that joined its service before it.

Whoever joins compiles, fills caches and opens connections, and by itself it tells of that too late: its slow answers
are those that come last. What is alike from one start to the next is how long it goes on and how bad it is. So the work
of an attempt (its latency freed of waiting) at an endpoint of a certain age is held against that at grown ones of the
same service in the same tick, both beside what their operator's weights promise, and the mean logarithm is kept by
service and age.

Newcomers may be of another kind for good. What is left between `SETTLED_S` and `GROWN_S` is no warm-up and is taken off
the rest; from there on an endpoint's own figures say all. Of a service of which nothing is known yet a newcomer is
believed to be slower by `UNKNOWN` at first and no more after `UNKNOWN_S`, as if `WORTH` attempts had said so: a slow
start as proxies have it, until starts were seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.base import Floats, Ints, State, check_state

AGES_S = np.array([0.0, 2.5, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 50.0, 60.0, 120.0])
"""Edges between which ages are taken together. The last part is not young any more."""
SETTLED_S, GROWN_S = 60.0, 120.0
UNKNOWN, UNKNOWN_S = float(np.log(2.0)), 15.0
WORTH = 5.0
MOST_A_TICK = 5.0
"""Attempts as which those of one endpoint count at most: they are of one start."""
FEWEST = 3.0
"""Attempts at grown endpoints in a tick, to hold others against."""
MOST = float(np.log(10.0))
"""Slower than this nobody is believed to be for being young."""
FARTHEST, MANY = 20.0, 1e9
"""No mean logarithm of seconds is beyond it, and no tick has more attempts."""
HALF_LIFE_S = 86400.0
"""Programs change with the days."""

_MIDDLES = 0.5 * (AGES_S[:-2] + AGES_S[1:-1])
_POINTS = np.append(_MIDDLES, SETTLED_S)
"""Between which a curve is straight. It ends at nothing."""
_YOUNG = len(_MIDDLES)


class WarmUp:
    """Of all service slots."""

    def __init__(self, services: int) -> None:
        self._count = np.zeros((services, _YOUNG + 1))
        self._sum = np.zeros((services, _YOUNG + 1))

    def learn_many(
        self, age_s: Floats, count: Floats, log_work: Floats, promised: Floats, service_of: Ints, since_s: float
    ) -> None:
        """Take a tick in, a row per endpoint slot; `service_of` is -1 for retired ones.

        `count` attempts ended well there since the last tick, `since_s` ago, and `log_work` is the sum of the
        logarithms of the seconds that they worked. `promised`: the operator's weights.
        """
        fade = 0.5 ** (since_s / HALF_LIFE_S)
        self._count *= fade
        self._sum *= fade
        here = (service_of >= 0) & (count > 0.0) & np.isfinite(count + log_work) & (age_s >= 0.0)
        count = np.clip(count, 0.0, MANY)
        log_work = np.clip(log_work, -FARTHEST * count, FARTHEST * count)
        young = np.flatnonzero(here & (age_s < GROWN_S))
        if not young.size:
            return
        with np.errstate(divide="ignore", invalid="ignore"):
            own = log_work / count + np.log(promised)
        grown = here & (age_s >= GROWN_S)
        services = len(self._count)
        seen = np.bincount(service_of[grown], count[grown], services)
        total = np.bincount(service_of[grown], count[grown] * own[grown], services)
        young = young[seen[service_of[young]] >= FEWEST]
        service = service_of[young]
        slower = own[young] - total[service] / np.maximum(seen[service], FEWEST)
        at = np.searchsorted(AGES_S, age_s[young], side="right") - 1
        worth = np.minimum(count[young], MOST_A_TICK)
        np.add.at(self._count, (service, at), worth)
        np.add.at(self._sum, (service, at), worth * slower)

    def slower(self, *, seen: bool = False) -> Floats:
        """By service and age, the logarithm of how many times slower. Shape (services, ages); at least 0.

        `seen`: by the starts that were seen alone; where none was, 0.
        """
        unknown = np.maximum(0.0, UNKNOWN * (1.0 - _MIDDLES / UNKNOWN_S)) * (not seen)
        count, total = self._count[:, :-1], self._sum[:, :-1]
        for_good = self._sum[:, -1:] / (self._count[:, -1:] + WORTH)
        out = (WORTH * unknown + total - count * for_good) / (WORTH + count)
        out[:, 0] = np.maximum(out[:, 0], out[:, 1])  # of the first seconds the slow answers are still to come
        return np.asarray(np.clip(out, 0.0, MOST))

    def at_first(self) -> Floats:
        """The same of who joins now, by service."""
        return self.slower()[:, 0]

    def slower_many(self, age_s: Floats, service_of: Ints, *, seen: bool = False) -> Floats:
        """The same of endpoints of that age; 0 for those that are not young, and for retired ones. Shape (n,)."""
        out = np.zeros(age_s.size)
        rows = np.flatnonzero((service_of >= 0) & (age_s < SETTLED_S))
        if not rows.size:
            return out
        age, curves = age_s[rows], np.pad(self.slower(seen=seen), ((0, 0), (0, 1)))[service_of[rows]]
        after = np.searchsorted(_POINTS[1:-1], age, side="right") + 1  # the point that ends the piece it is in
        share = np.clip((age - _POINTS[after - 1]) / (_POINTS[after] - _POINTS[after - 1]), 0.0, 1.0)
        row = np.arange(rows.size)
        out[rows] = (1.0 - share) * curves[row, after - 1] + share * curves[row, after]
        return out

    def resize(self, services: int) -> None:
        """Have room for this many."""
        more = ((0, max(services - len(self._count), 0)), (0, 0))
        self._count, self._sum = np.pad(self._count, more), np.pad(self._sum, more)

    def state(self) -> State:
        """A row per service."""
        return {"count": self._count.copy(), "sum": self._sum.copy()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state. ValueError, and unchanged, when it is of another shape."""
        check_state(state, {"count": self._count, "sum": self._sum})
        self._count, self._sum = (np.array(state[name], dtype=np.float64) for name in ("count", "sum"))
