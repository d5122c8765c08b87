"""How far a number is beyond what it commonly reaches: the largest of each block of values, and how those are spread.

Whatever values are distributed like, the largest of a block of many tend to Gumbel's distribution (Gumbel, "Statistics
of Extremes", 1958): its place and width, from the mean and the spread of the blocks so far, are all that is kept. What
is told is the distance from the place in widths, so one threshold serves numbers of any unit: a value that a block
reaches once in a hundred blocks is at 4.6, and each 2.3 more are ten times as rare.

Only blocks count, so a burst is one event however long it is; and a block is held to what was likely before, so that an
outage does not become the measure of the next one at once, and what lasts does in the end.
"""

from __future__ import annotations

import numpy as np

from models.base import Floats
from models.columns import Columns

BLOCK = 16
LEAST_BLOCKS = 8
MOST_BLOCKS = 400
"""The mean and spread are plain ones up to so many blocks, and follow with that memory from then on."""

_HELD = 3.0
"""Spreads above the mean that one block counts as at most."""
_UNSURE = 4.0
"""Few blocks tell the spread badly: with so many it is taken for twice as wide."""

_WIDTH = 6.0**0.5 / np.pi  # of Gumbel's distribution, in standard deviations
_PLACE = 0.5772156649 * _WIDTH


class Extremes(Columns):
    """Of `kinds` numbers of each stream."""

    rows: int
    seen: Floats
    top: Floats  # of the block that is not full yet
    mean: Floats
    square: Floats  # mean squared distance from the mean

    def __init__(self, streams: int, kinds: int) -> None:
        super().__init__(streams, **dict.fromkeys(("seen", "top", "mean", "square"), (kinds,)))

    @property
    def blocks(self) -> Floats:
        """Full blocks seen."""
        return np.floor(self.seen / BLOCK)

    def limits(self, beyond: float, least: Floats) -> Floats:
        """The value at which each would be so far beyond; NaN before enough was seen."""
        place, width = self._fit(least)
        return np.where(self.blocks >= LEAST_BLOCKS, place + beyond * width, np.nan)

    def judge(self, values: Floats, least: Floats) -> Floats:
        """How far beyond each is; NaN where it is not seen or too little was. `least`: the least width, (n, kinds)."""
        place, width = self._fit(least)
        return np.where(self.blocks >= LEAST_BLOCKS, (values - place) / width, np.nan)

    def learn(self, values: Floats) -> None:
        """Take values in, NaN for not seen. Shape (n, kinds)."""
        seen, begins = np.isfinite(values), self.seen % BLOCK == 0
        top = np.where(begins, values, np.maximum(self.top, values))
        self.top = np.where(seen, top, self.top)
        self.seen += seen
        full = seen & (self.seen % BLOCK == 0)
        if not full.any():
            return
        blocks = self.blocks
        held = np.where(blocks > LEAST_BLOCKS, self.mean + _HELD * np.sqrt(self.square), np.inf)
        rate = np.where(full, 1.0 / np.clip(blocks, 1.0, MOST_BLOCKS), 0.0)
        apart = np.where(full, np.minimum(self.top, held) - self.mean, 0.0)
        self.mean += rate * apart
        self.square = np.where(full, (1.0 - rate) * (self.square + rate * apart * apart), self.square)

    def _fit(self, least: Floats) -> tuple[Floats, Floats]:
        spread = np.sqrt(self.square)
        sure = 1.0 + _UNSURE / np.maximum(self.blocks, 1.0)
        return self.mean - _PLACE * spread, np.maximum(_WIDTH * spread * sure, least)
