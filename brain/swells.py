"""What a service may be asked in a second soon: a split that is right for its mean is wrong when traffic swells.

Weights meet the traffic of the next seconds, some ticks after the load that they were planned for. Where seconds come
as luck has it, one after another like Poisson's, there is nothing to add: the cost that the split makes small
(`brain.split`) is that of such traffic. But users come in bursts. A split planned in a lull leaves the weak nearly
idle, and the next burst finds the strong without room, when the weights that would have borne it are still steps away.
A split for more than comes costs a little more than the best for what comes; one for less costs queues.

So each service's seconds are held against their mean. What they stray by beyond the luck of their own number, and
beyond what that itself strays by in so few seconds, is a swell, and the split is planned for `AHEAD` such deviations
above the mean, or for the load there is where that is more.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from models.base import Floats

HALF_LIFE_S = 60.0
STEP_S = 1.0
"""What is looked at in one go: faster ticks wait for it, as demand does."""
LEAST_SEEN = 10.0
"""Steps before anything is said."""
AHEAD = 2.0
DOUBT = 2.0
"""Standard errors that a variance must lie above Poisson's, before it is no luck."""


class Swells:
    """Of every service slot."""

    def __init__(self, services: int) -> None:
        self._seen = np.zeros(services)  # fading counts of steps
        self._mean = np.zeros(services)
        self._squares = np.zeros(services)  # fading sums of squared distances from it
        self._step_s = STEP_S
        self._at = math.nan

    def told(self, asked_per_s: Floats, now: float) -> None:
        """What was asked since the last step, requests a second by service slot; NaN for unknown, which is passed over.

        Nothing happens until a step has passed.
        """
        since_s = STEP_S if math.isnan(self._at) else now - self._at
        if since_s < 0.95 * STEP_S:
            return
        self._at, self._step_s = now, since_s
        more = max(asked_per_s.size - self._seen.size, 0)
        if more:
            self._seen, self._mean, self._squares = (
                np.pad(a, (0, more)) for a in (self._seen, self._mean, self._squares)
            )
        known, fade = np.isfinite(asked_per_s), 0.5 ** (since_s / HALF_LIFE_S)
        self._seen = np.where(known, fade * self._seen + 1.0, self._seen)
        apart = np.where(known, asked_per_s - self._mean, 0.0)
        self._mean = self._mean + apart / np.maximum(self._seen, 1.0)
        squares = fade * self._squares + apart * (asked_per_s - self._mean)
        self._squares = np.where(known, squares, self._squares)

    def most_per_s(self, service: int) -> float:
        """Of one service slot; 0 while too little was seen, and where nothing but luck was."""
        if service >= self._seen.size or self._seen[service] < LEAST_SEEN:
            return 0.0
        seen, mean, squares = (float(a[service]) for a in (self._seen, self._mean, self._squares))
        count = max(mean * self._step_s, 1e-9)
        luck = mean / self._step_s * (1.0 + DOUBT * math.sqrt((2.0 + 1.0 / count) / seen))
        beyond = squares / seen - luck
        return mean + AHEAD * math.sqrt(beyond) if beyond > 0.0 else 0.0
