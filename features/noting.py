"""Changes of an endpoint's latency that people are told of: later than weights hear of one, and surely.

Weights bear with luck once an hour, people do not, so evidence is gathered on its own, against the level that the
endpoint had before (`stood`): where the level started again lately, because of a change that may have been luck, that
is the level before. So what was gathered up to such a start is kept, and a level that started again by luck from a
handful of quick answers makes no slowness of what follows.

Two sizes are looked for at once, twice and six times (`models.change`): by the smaller alone a great change needs as
many attempts as a doubling, and of an endpoint whose traffic was cut few come.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.base import Floats, Ints
from models.change import SHIFT, Changes

SHIFTS = (float(np.log(2.0)), SHIFT)
"""Of changes that people are told of: a smaller one than weights need to hear of at once, and the same."""
EVIDENCE = 22.0
"""For that: by luck alone once in some thousands of millions of attempts."""
AGAINST_S = 15.0
"""After a level started again from a change, how long the one before is what a change is noted against."""

Bools = NDArray[np.bool_]


class Noting:
    """Of all endpoint slots."""

    def __init__(self, slots: int) -> None:
        self._tests = [Changes(slots, shift, EVIDENCE) for shift in SHIFTS]
        self._stood = np.full(slots, np.nan)  # the level before, a mean logarithm
        self._stood_at = np.full(slots, -np.inf)  # when another began
        self._noted = np.zeros(slots, dtype=np.int8)

    def learn_many(self, count: Floats, total: Floats, base: Floats, most: Floats, variance: Floats, now: float) -> None:
        """Take in, by endpoint, how many attempts came and the sum of how far their logarithms lie from `base`.

        None counts as further than `most` from the level that it is held against.
        """
        recent = now - self._stood_at < AGAINST_S
        if recent.any():
            moved = np.where(recent, np.clip(total + count * (base - self._stood), -most * count, most * count), total)
            total = np.where(count > 0, moved, total)
        for test in self._tests:
            verdict = test.learn_many(count, total, variance)
            found = verdict != 0
            if found.any():
                self._noted[found] = verdict[found]
                self.passed(found)

    def began(self, endpoint: int, before: float, now: float) -> None:
        """The level of this endpoint starts again. `before`: where it was."""
        if now - self._stood_at[endpoint] >= AGAINST_S:
            self._stood[endpoint] = before
        self._stood_at[endpoint] = now

    def take(self) -> NDArray[np.int8]:
        """Whose change was noted since the last time: 1 slower, -1 faster."""
        noted, self._noted = self._noted, np.zeros_like(self._noted)
        return noted

    def passed(self, endpoints: Ints | Bools) -> None:
        """Gather evidence anew, against what it was gathered against."""
        for test in self._tests:
            test.forget(endpoints)

    def forget(self, endpoints: Ints | Bools) -> None:
        """What was said of these was not true: nothing is noted of them."""
        self.passed(endpoints)
        self._noted[endpoints] = 0

    def begin(self, endpoints: Ints) -> None:
        """These endpoints are new."""
        self.forget(endpoints)
        self._stood_at[endpoints] = -np.inf

    def resize(self, slots: int) -> None:
        """Have room for this many."""
        more = max(slots - self._noted.size, 0)
        for test in self._tests:
            test.resize(slots)
        self._stood = np.pad(self._stood, (0, more), constant_values=np.nan)
        self._stood_at = np.pad(self._stood_at, (0, more), constant_values=-np.inf)
        self._noted = np.pad(self._noted, (0, more))
