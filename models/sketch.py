"""Quantiles of many streams at once, in fixed memory, wrong by at most 2 %.

A DDSketch (Masson, Rim and Lee, PVLDB 2019): values are counted in bins whose edges grow by a constant factor
`gamma = (1 + accuracy) / (1 - accuracy)`, so the middle of the bin in which a quantile falls is within `accuracy` of
it, relative to its size. Two sketches merge by adding their counts. Ours keeps the counts of all streams in one matrix
(streams, bins) over a fixed range, so that adding, merging and asking are each a few NumPy calls whatever the number
of streams, and lets counts decay forward (`models.decay`), so that a quantile is one of the recent past.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.base import Floats, Ints, State, check_state
from models.decay import ForwardDecay, When

_FORGOTTEN = 2.0**-20
"""A count below this part of one fresh value is nothing. Without it, counts would sink into slow denormal floats."""


class QuantileSketch:
    """Decayed quantiles of `streams` streams of positive values.

    Values at or below `lowest` count as `lowest`, those above `highest` as `highest`: beyond them only the order is
    right, not the 2 %. NaN and negative values are not added. Times are optional: without a half-life nothing decays.

    >>> sketch = QuantileSketch(streams=2, half_life_s=3.0)
    >>> rng = np.random.default_rng(7)
    >>> sketch.add(np.zeros(10_000, int), rng.exponential(0.1, 10_000), now=0.0)
    >>> sketch.quantiles([0.5, 0.99]).round(3)  # true: 0.069 and 0.461
    array([[0.069,   nan],
           [0.473,   nan]])
    """

    def __init__(
        self,
        streams: int,
        half_life_s: float = math.inf,
        *,
        accuracy: float = 0.02,
        lowest: float = 1e-4,
        highest: float = 600.0,
    ) -> None:
        if not 0 < accuracy < 1:
            raise ValueError(f"accuracy must lie between 0 and 1, not {accuracy}")
        if not 0 < lowest < highest < math.inf:
            raise ValueError(f"the range must be positive and rising, not {lowest} to {highest}")
        self.accuracy = accuracy
        self.lowest = lowest
        self.highest = highest
        self._decay = ForwardDecay(half_life_s)
        gamma = (1 + accuracy) / (1 - accuracy)
        self._per_log = 1.0 / math.log(gamma)
        bins = math.ceil(math.log(highest / lowest) * self._per_log) + 1
        # Bin i holds (lowest * gamma**(i-1), lowest * gamma**i]; its middle is off by the same share at either edge.
        self._middle = np.clip(lowest * gamma ** np.arange(bins) * 2 / (1 + gamma), lowest, highest)
        self._counts = np.zeros((streams, bins))

    @property
    def streams(self) -> int:
        """How many streams there are."""
        return len(self._counts)

    @property
    def decay(self) -> ForwardDecay:
        """How counts decay."""
        return self._decay

    def add(self, streams: NDArray[np.integer], values: NDArray[np.floating], now: float | When = 0.0) -> None:
        """Count each value in its stream; every stream must be one of ours."""
        factor = self._decay.admit(now.at[0] if isinstance(now, When) else now)
        if factor != 1.0:
            self._counts *= factor
            self._counts[self._counts < _FORGOTTEN] = 0.0
        usable = values >= 0  # False for NaN
        if not usable.all():
            streams, values = streams[usable], values[usable]
            now = now.take(usable) if isinstance(now, When) else now
        weight = self._decay.weights(now) if isinstance(now, When) else self._decay.weight(now)
        clamped = np.minimum(np.maximum(values, self.lowest, dtype=np.float64), self.highest)
        bins = np.ceil(np.log(clamped / self.lowest) * self._per_log).astype(np.int64)
        # One flat index: five times as fast as a pair of them.
        np.add.at(self._counts.reshape(-1), streams * self._counts.shape[1] + bins, weight)

    def quantiles(self, shares: Sequence[float], pool: int = 1) -> Floats:
        """The least value that at least this share of the counted values does not exceed. Shape (shares, streams).

        Within `accuracy` of numpy's "inverted_cdf" quantile of the same values, each with its decayed weight. NaN for
        a stream without values. Needs no time: decay changes all counts of a stream alike. With `pool`, each `pool`
        neighbouring streams are taken as one; ValueError when they do not divide.
        """
        used = np.flatnonzero(self._counts.any(axis=0))  # latencies of one mesh fill a third of the bins
        low, high = (used[0], used[-1] + 1) if used.size else (0, 1)
        counts, middle = self._counts[:, low:high], self._middle[low:high]
        if pool > 1:
            counts = counts.reshape(self.streams // pool, pool, -1).sum(axis=1)
        running = np.cumsum(counts, axis=1)
        total = running[:, -1]
        out = np.full((len(shares), total.size), np.nan)
        known = total > 0
        for row, share in enumerate(shares):
            reach = np.maximum(share * total, np.nextafter(0.0, 1.0))  # share 0 is the least value, not the least bin
            first = (running >= reach[:, None]).argmax(axis=1)
            out[row, known] = middle[first[known]]
        return out

    def count(self, now: float = 0.0) -> Floats:
        """The decayed number of values in each stream at `now`."""
        return np.asarray(self._counts.sum(axis=1) / self._decay.weight(now))

    def merge(self, other: QuantileSketch) -> None:
        """Add another's counts, stream by stream, each decayed as if it had been added here. ValueError when unlike."""
        if other._counts.shape != self._counts.shape or other._parameters() != self._parameters():
            raise ValueError("only sketches of the same streams, range, accuracy and half-life merge")
        if math.isnan(other._decay.landmark):
            return
        self._counts *= self._decay.admit(other._decay.landmark)
        self._counts += other._counts * (self._decay.weight(other._decay.landmark))

    def clear(self, streams: Ints) -> None:
        """Forget what these streams held."""
        self._counts[streams] = 0.0

    def resize(self, streams: int) -> None:
        """Have room for this many streams; new ones are empty, and none is ever taken away."""
        if streams > self.streams:
            self._counts = np.pad(self._counts, ((0, streams - self.streams), (0, 0)))

    def resume(self, left: float, now: float) -> None:
        """Go on at `now` with what was restored from `left`; a clock that is behind counts as no time gone by."""
        self._decay.landmark += min(now - left, 0.0)

    def state(self) -> State:
        """Counts, their landmark, and what the bins mean."""
        half_life_s, accuracy, lowest, highest = self._parameters()
        return {
            "half_life_s": half_life_s,
            "accuracy": accuracy,
            "lowest": lowest,
            "highest": highest,
            "landmark": self._decay.landmark,
            "counts": self._counts.copy(),
        }

    def restore(self, state: State) -> None:
        """Take up a state. ValueError, and unchanged, when streams, bins or half-life are not these."""
        half_life_s, accuracy, lowest, highest = self._parameters()
        check_state(
            state,
            {"counts": self._counts},
            "landmark",
            half_life_s=half_life_s,
            accuracy=accuracy,
            lowest=lowest,
            highest=highest,
        )
        self._decay.landmark = float(state["landmark"])
        self._counts = np.array(state["counts"], dtype=np.float64, order="C")

    def _parameters(self) -> tuple[float, float, float, float]:
        return self._decay.half_life_s, self.accuracy, self.lowest, self.highest
