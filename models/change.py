"""Has a stream become slower or faster, and since when? Two CUSUMs by stream, told of sums and not of samples.

Page's test (Biometrika 1954): of the log likelihood ratio "the mean is `shift` higher" against "the mean is as it was",
keep the running sum and let it not fall below 0. When it reaches `evidence` the change is believed, and it is
thought to have begun when the sum last was 0. For samples of a normal distribution of variance v that sum grows by
`shift / v * (z - shift / 2)` a sample, so a difference of less than half a shift never adds up, however certain: effect
size and evidence in one number. A second sum looks for a fall.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.base import Floats, Ints, State, check_state

SHIFT = float(np.log(6.0))
"""What is looked for: six times as slow or as fast. Below the square root of it, 2.4, nothing adds up."""

EVIDENCE = 9.0
"""A log likelihood ratio of e**9: seven attempts of an endpoint that became ten times slower."""


class Changes:
    """Evidence of a rise and of a fall by stream."""

    def __init__(self, streams: int, shift: float = SHIFT, evidence: float = EVIDENCE) -> None:
        self.shift, self.evidence = shift, evidence
        self._sums = np.zeros((2, streams))  # of a rise, of a fall

    def learn_many(self, count: Floats, total: Floats, variance: Floats) -> NDArray[np.int8]:
        """Take in, by stream, how many samples came, the sum of how far they lie from the mean, and their variance.

        Returns the verdicts: 1 where a rise is believed, -1 a fall, else 0. They stand until `forget`.
        """
        for row, sign in enumerate((1.0, -1.0)):
            gain = self.shift / variance * (sign * total - count * self.shift / 2)
            self._sums[row] = np.clip(self._sums[row] + gain, 0.0, 2 * self.evidence)
        rise, fall = self._sums
        return np.where(rise >= np.maximum(self.evidence, fall), 1, np.where(fall >= self.evidence, -1, 0)).astype(
            np.int8
        )

    def leaning(self) -> NDArray[np.int8]:
        """Which way the evidence leans by stream: 1, -1, or 0 where there is none."""
        rise, fall = self._sums
        return np.where(rise > fall, 1, np.where(fall > 0, -1, 0)).astype(np.int8)

    def forget(self, streams: Ints | NDArray[np.bool_]) -> None:
        """Start anew with these."""
        self._sums[:, streams] = 0.0

    def resize(self, streams: int) -> None:
        """Have room for this many streams."""
        self._sums = np.pad(self._sums, ((0, 0), (0, max(streams - self._sums.shape[1], 0))))

    def state(self) -> State:
        """A row per stream."""
        return {"shift": self.shift, "evidence": self.evidence, "sums": self._sums.T.copy()}

    def restore(self, state: State) -> None:
        """Take up a state. ValueError, and unchanged, when streams or parameters are not these."""
        check_state(state, {"sums": self._sums.T}, shift=self.shift, evidence=self.evidence)
        self._sums = np.array(state["sums"], dtype=np.float64).T.copy()
