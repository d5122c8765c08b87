"""How long something lasts, where some were not seen to end: of those it is known that they lasted at least so long.

Those that were seen to end are the short ones, so their spread alone says too little. The product limit (Kaplan and
Meier, JASA 1958) counts everyone for as long as he was seen: at each end the share of those still there that do not
end. Where the longest was not seen to end the tail is exponential, of the mean that time over ends gives (Brown,
Hollander and Korwar 1974).
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from models.base import Floats


class Lifetimes(NamedTuple):
    """A spread of times."""

    ends_s: Floats  # (N,) rising: when some were seen to end
    left: Floats  # (N,) the share that lasts longer
    tail_s: float  # the mean of what is left after the last end, where any is

    @classmethod
    def of(cls, lasted_s: Floats, ended: NDArray[np.bool_]) -> Self:
        """From how long each was seen, and whether it ended then. ValueError where none did.

        >>> Lifetimes.of(np.array([1.0, 2.0, 2.0, 4.0]), np.array([True, False, True, True])).left.round(3)
        array([0.75, 0.5 , 0.  ])
        """
        if not ended.any():
            raise ValueError("of what was never seen to end the spread is not known")
        order = np.lexsort((~ended, lasted_s))  # who ends at a time was there until then with who was lost sight of
        lasted, died = lasted_s[order], ended[order]
        there = len(lasted) - np.arange(len(lasted))
        left = np.asarray(np.cumprod(np.where(died, 1.0 - 1.0 / there, 1.0)), dtype=np.float64)
        return cls(lasted[died], left[died], float(lasted.sum() / died.sum()))

    def drawn(self, luck: Floats, at_least_s: Floats) -> Floats:
        """A time for each of these numbers in [0, 1), no less than what is told. Shape of `luck`."""
        many = len(self.ends_s)
        before = np.searchsorted(self.ends_s, at_least_s, side="left")
        share = np.concatenate([[1.0], self.left])[before] * (1.0 - luck)
        place = np.maximum(np.searchsorted(-self.left, -share, side="left"), before)
        out = self.ends_s[np.minimum(place, many - 1)]
        rest = float(self.left[-1])
        if rest > 0.0:
            late = np.maximum(np.log(rest / np.maximum(share, 1e-300)), 0.0)
            out = np.where(place < many, out, np.maximum(self.ends_s[-1], at_least_s) + self.tail_s * late)
        return np.asarray(np.maximum(out, at_least_s))
