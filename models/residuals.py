"""How values lie about their mean, learned as a histogram by stream, and what a value says for a shifted mean.

The log likelihood ratio of "all is shifted by so much" over "all is as ever" is a difference of two logarithms of the
histogram, and needs no family of distributions: a value that is twice the mean says much where work is even and little
where it is exponential. The expectation of the exponential of that ratio is 1 while nothing is shifted, so in Page's
test luck of e**-h a start is what `h` of evidence means.

The histogram is smoothed by `SMOOTH` (so no shift is told of more finely than that), rests on a wide normal one as if
`PRIOR` values of it had been seen, and never calls a value impossible: `SURPRISES` of all may lie anywhere.
"""

from __future__ import annotations

import math

import numpy as np

from models.base import Floats, Ints, State, check_state
from models.decay import ForwardDecay

BIN, FAR = 0.1, 6.0
"""Width of a bin, and from where on to either side all values are alike."""
SMOOTH, WIDE = 0.2, 1.0
PRIOR = 200.0
SURPRISES = 1e-3
HALF_LIFE_S = 600.0
LASTS_S = 5.0
"""For so long the ratios stand before they are reckoned anew."""

_MIDDLES = np.arange(-FAR + BIN / 2, FAR, BIN)
_BINS = _MIDDLES.size


def _normal(apart: Floats, deviation: float) -> Floats:
    density = np.exp(-0.5 * np.square(apart / deviation))
    return np.asarray(density / density.sum(axis=-1, keepdims=True))


_SPREADS = _normal(_MIDDLES[:, None] - _MIDDLES[None, :], SMOOTH)
_BEFORE = PRIOR * _normal(_MIDDLES, WIDE)


class Residuals:
    """Of many streams. `shifts`: those that are asked for, in bins."""

    def __init__(self, streams: int, shifts: tuple[int, ...]) -> None:
        self._shifts = shifts
        self._decay = ForwardDecay(HALF_LIFE_S)
        self._seen = np.zeros((streams, _BINS))
        self._ratios = np.zeros((len(shifts), streams, _BINS))
        self._reckoned_at = -math.inf

    def learn_many(self, stream: Ints, apart: Floats, now: float) -> None:
        """Take in how far values lie from their means, a row each."""
        self._seen *= self._decay.admit(now)
        cell = stream * _BINS + _bins(apart)
        self._seen += self._decay.weight(now) * np.bincount(cell, minlength=self._seen.size).reshape(self._seen.shape)

    def gains(self, stream: Ints, apart: Floats, now: float) -> Floats:
        """Log likelihood ratios of each shift over none, by value. Shape (shifts, n)."""
        if now - self._reckoned_at >= LASTS_S:
            self._reckon(now)
        return np.asarray(self._ratios[:, stream, _bins(apart)])

    def _reckon(self, now: float) -> None:
        density = (self._seen / self._decay.weight(now) + _BEFORE) @ _SPREADS
        density /= density.sum(axis=1, keepdims=True)
        density = np.log((1.0 - SURPRISES) * density + SURPRISES / _BINS)
        for row, shift in enumerate(self._shifts):
            index = np.clip(np.arange(_BINS) - shift, 0, _BINS - 1)
            self._ratios[row] = density[:, index] - density
        self._reckoned_at = now

    def state(self) -> State:
        """A row per stream: the histograms, of which the ratios follow."""
        decay = self._decay
        return {
            "half_life_s": decay.half_life_s,
            "landmark": decay.landmark,
            "bin": BIN,
            "seen": self._seen.copy(),
        }

    def restore(self, state: State, left: float, now: float) -> None:
        """Take up a state kept at `left`. ValueError, and unchanged, when it is of another shape."""
        check_state(state, {"seen": self._seen}, "landmark", half_life_s=self._decay.half_life_s, bin=BIN)
        self._seen = np.array(state["seen"], dtype=np.float64)
        self._decay.landmark = float(state["landmark"]) + min(now - left, 0.0)
        self._reckoned_at = -math.inf

    def resize(self, streams: int) -> None:
        """Have room for this many."""
        more = max(streams - len(self._seen), 0)
        self._seen = np.pad(self._seen, ((0, more), (0, 0)))
        self._ratios = np.pad(self._ratios, ((0, 0), (0, more), (0, 0)))
        if more:
            self._reckoned_at = -math.inf


def _bins(apart: Floats) -> Ints:
    return np.clip((apart + FAR) / BIN, 0, _BINS - 1).astype(np.int64)
