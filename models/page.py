"""Is a stream in its usual state or in an odd one? Page's test, both ways, for many streams at once.

Each step brings, by stream, the log likelihood ratio of the odd state over the usual one, given what was seen. Its sum,
never let fall below 0, is evidence that the state has changed since the sum last was 0 (Page, "Continuous inspection
schemes", Biometrika 1954). At `evidence` it is believed, and from then on the sum is of the reverse ratio, so that the
way back is as certain as the way there. One step counts as at most `most`: whatever it shows, it may be a slip of the
wires. A stream of which nothing was seen (NaN) is as it was: unknown is neither usual nor odd.

>>> page = Page(1, evidence=3.0, most=2.0)
>>> [bool(page.learn_many(np.array([gain]))[0]) for gain in (9.0, 9.0, np.nan, -1.0, -1.0, -1.0)]
[False, True, True, True, True, False]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.base import Floats, Ints, State, check_state, known_or

Bools = NDArray[np.bool_]


class Page:
    """The state of each stream."""

    def __init__(self, streams: int, evidence: float, most: float) -> None:
        self._evidence, self._most = evidence, most
        self._sum = np.zeros(streams)
        self.odd: Bools = np.zeros(streams, dtype=np.bool_)

    def learn_many(self, gain: Floats) -> Bools:
        """Take a step in: log likelihood ratios of odd over usual, NaN for not seen. Returns who is odd. Shape (n,)."""
        step = known_or(gain, 0.0).clip(-self._most, self._most)
        self._sum = np.maximum(self._sum + np.where(self.odd, -step, step), 0.0)
        turned = self._sum >= self._evidence
        self.odd = self.odd ^ turned
        self._sum[turned] = 0.0
        return self.odd

    def forget(self, streams: Ints | Bools) -> None:
        """These are usual, and nothing speaks against it."""
        self._sum[streams] = 0.0
        self.odd[streams] = False

    def state(self) -> State:
        """A row per stream."""
        return {"sum": self._sum.copy(), "odd": self.odd.copy()}

    def restore(self, state: Mapping[str, Any], now: float) -> None:
        """Take up a state; no time enters. ValueError, and unchanged, when it is of another shape."""
        check_state(state, {"sum": self._sum, "odd": self.odd})
        self._sum, self.odd = np.array(state["sum"], dtype=np.float64), np.array(state["odd"], dtype=np.bool_)

    def resize(self, streams: int) -> None:
        """Have room for this many."""
        more = max(streams - self._sum.size, 0)
        self._sum, self.odd = np.pad(self._sum, (0, more)), np.pad(self.odd, (0, more))


def more_fail(count: Floats, failed: Floats, usual: Floats, odd: Floats) -> Floats:
    """Log likelihood ratio of a share `odd` of failures over a share `usual`, both within (0, 1)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(failed * np.log(odd / usual) + (count - failed) * np.log((1.0 - odd) / (1.0 - usual)))


def other_mean(value: Floats, usual: Floats, spread: Floats, shift: Floats | float) -> Floats:
    """Log likelihood ratio of a mean that lies `shift` higher over the `usual` one, of a normal distribution."""
    return np.asarray(shift / np.square(spread) * (value - usual - shift / 2.0))
