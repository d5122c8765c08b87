"""How much is asked of each service now: what was sent to endpoints, and what a limit refused.

Load reports tell of a request when it starts, so this is what comes and not what was got done. Retries count: they are
work like any other. Both arms count as well. It fades fast, for a crowd gathers in a second, and what that costs in
certainty is told with it: the luck of a Poisson number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from models.base import Floats

HALF_LIFE_S = 2.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of one service lately."""

    per_s: float
    error: float  # standard error of that, by its own luck alone
    refused: bool  # some were, since the tick before


class Asking:
    """Of every service slot."""

    def __init__(self, services: int) -> None:
        self._per_s: Floats = np.zeros(services)
        self._refused: Floats = np.zeros(services)
        self._seen_s = 0.0
        self._at = math.nan

    def told(self, came: Floats, refused: Floats, now: float) -> None:
        """What was sent to endpoints, and what was refused, since the last call. Shape (services,) each.

        Of the first call nobody knows in how much time it came, and it is passed over.
        """
        self._per_s = np.pad(self._per_s, (0, max(0, came.size - self._per_s.size)))
        since_s = 0.0 if math.isnan(self._at) else now - self._at
        if since_s > 0:
            self._seen_s += since_s
            fade = 0.5 ** (since_s / HALF_LIFE_S)
            self._per_s = fade * self._per_s + (1.0 - fade) * (came + refused) / since_s
        self._refused, self._at = refused, now

    def of(self, service: int) -> Asked:
        """Of one service slot; nothing of one that is not there yet."""
        if service >= self._per_s.size:
            return Asked(0.0, 0.0, refused=False)
        window_s = 2.0 * HALF_LIFE_S / math.log(2.0)  # of an even mean as uncertain as this fading one
        # What is missing of the first seconds would read as calm.
        per_s = float(self._per_s[service]) / max(1.0 - 0.5 ** (self._seen_s / HALF_LIFE_S), 1e-9)
        return Asked(per_s, math.sqrt(max(per_s, 0.0) / window_s), bool(self._refused[service] > 0))
