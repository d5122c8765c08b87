"""A node's clock against ours, seen only through its log entries.

An entry arrives some time after it ended: the node's buffer, the wire, our loop. So `arrival - end` is the offset of
the clocks plus a delay that is never negative, and the lowest of many is the best estimate (the minimum filter of NTP,
RFC 5905 section 10). It is taken over a short window, because clocks step. Entries far off the others say more about
themselves than about the clock: they are counted as skewed and keep out of the estimate, and are learned all the same,
since only their durations matter.

After a long silence of ours (the process was stopped, or its loop hung) what arrives is old: entries that ended
`STALE_S` earlier than the offset allows are stale, and nobody learns from them as if they were fresh.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WINDOW_S = 10.0
NEAR_S = 5.0
PAUSE_S = 10.0
STALE_S = 10.0
_SAMPLE = 255


class Offset:
    """The estimate of one node. `seconds` is what to add to its times to get ours; NaN until something arrived."""

    def __init__(self) -> None:
        self.seconds = float("nan")
        self.skewed = 0
        self._since = -np.inf
        self._low = self._low_before = np.inf
        self._last_flush = np.inf
        self._catching_up_until = -np.inf

    def flushed(self, now: float) -> None:
        """Every flush says when it was, so that a long pause of ours is noticed."""
        if now - self._last_flush > PAUSE_S:
            self._catching_up_until = now + PAUSE_S
        self._last_flush = now

    def fresh(self, delay_s: NDArray[np.float64], now: float) -> NDArray[np.bool_] | None:
        """Which entries are not stale; None means all of them. `delay_s` is arrival (our clock) less end (theirs)."""
        if now > self._catching_up_until or np.isnan(self.seconds):
            return None
        return delay_s - self.seconds <= STALE_S

    def observe(self, delay_s: NDArray[np.float64], now: float) -> None:
        """Take the lowest delay of those near the median; count the rest as skewed."""
        if not len(delay_s):
            return
        sample = delay_s[:: len(delay_s) // _SAMPLE + 1]
        middle = np.partition(sample, (len(sample) - 1) // 2)[(len(sample) - 1) // 2]
        near = np.abs(delay_s - middle) <= NEAR_S
        self.skewed += len(delay_s) - int(np.count_nonzero(near))
        if now - self._since >= WINDOW_S / 2:
            self._low_before = self._low if now - self._since < WINDOW_S else np.inf
            self._low, self._since = np.inf, now
        self._low = min(self._low, float(delay_s[near].min()))
        self.seconds = min(self._low, self._low_before)
