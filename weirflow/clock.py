"""The one place that reads a clock.

`Clock.now()` is what the brain is told: seconds, monotonic, with an origin that a recording can name. A clock may run
faster than the wall, so that a test lives through ten minutes of a slow service in half a minute.
"""

from __future__ import annotations

import time


class Clock:
    """Seconds since 1970 at the start of the process, then monotonic: steps of the system clock do not reach the brain.

    `rate` is virtual seconds per real second.
    """

    def __init__(self, rate: float = 1.0) -> None:
        if not rate > 0:
            raise ValueError(f"a clock's rate must be above 0, not {rate}")
        self.rate = rate
        self._wall = time.time()
        self._monotonic = time.monotonic()

    def now(self) -> float:
        """Seconds since 1970, never stepping back."""
        return self._wall + (time.monotonic() - self._monotonic) * self.rate

    def real(self, virtual_s: float) -> float:
        """How many real seconds this many virtual ones last."""
        return virtual_s / self.rate

    def wall(self, at: float) -> float:
        """A moment of ours by the system's clock as it is set now: what other machines' clocks compare with."""
        return time.time() - self.real(self.now() - at)
