"""Which streams are odd alone, and which with all of their group? Whoever shows a common trouble first has not got it.

What befalls a group shows in each of its streams, a little sooner here than there, and is over a little sooner here
than there. So beside a stream's own test (`models.page`) two more run: that it is odd while the others together are as
usual, and that both are odd; each against the likeliest of what else may be, so that neither adds up in calm, nor while
one recovers before another. Whichever has `SURELY` first settles it for as long as the stream is odd, unless it is
proven wrong: by `PROVEN`, for in minutes of trouble chance gets far. Where the others say too little, because they are
few or silent or none, nobody knows, and no stream is odd alone.

Several of a few streams may be odd while the rest is well, and then to each of them the others together are not. So
`Beside` holds a stream against those others that are not odd themselves. These are the ones that have shown nothing
yet, but whoever turns odd leaves with what was shown, so the evidence is a likelihood ratio still, and luck gets far
with it as seldom as ever. That they are well has to be `PROVEN`: they are fewer, and chance has more time.

>>> alone, odd = Alone(1), np.array([True])
>>> for own, others in ((3.0, -1.0), (3.0, np.nan), (3.0, -9.0), (3.0, 2.0), (9.0, 9.0)):
...     print(alone.learn_many(odd, np.array([own]), np.array([others])))
[False]
[False]
[ True]
[ True]
[False]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.base import Floats, Ints, State, check_state
from models.page import Bools

SURELY, PROVEN = 4.0, 10.0
"""Evidence as logarithms: fifty to one, twenty thousand to one. Whether it is odd the stream's own test settles."""
_ALONE, _SHARED = range(2)


class Alone:
    """Of many streams."""

    def __init__(self, streams: int) -> None:
        self._sums = np.zeros((2, streams))
        self._settled: Bools = np.zeros((2, streams), dtype=np.bool_)

    def learn_many(self, odd: Bools, own: Floats, others: Floats) -> Bools:
        """Take a step in: who is odd by its own test, and log likelihood ratios of being odd over being usual.

        `own` are the streams', `others` those of the rest of each one's group; NaN where nothing was seen. Returns who
        is odd alone. Shape (n,).
        """
        steps = np.nan_to_num(np.minimum(own, np.stack([-others, others])))
        self._sums = np.clip(self._sums + steps, 0.0, PROVEN)
        needed = np.where(self._settled.any(axis=0), PROVEN, SURELY)
        now = odd & (self._sums >= needed)
        now[_ALONE] &= ~now[_SHARED]
        self._settled = np.where(now.any(axis=0), now, self._settled & odd)
        return np.asarray(self._settled[_ALONE])

    def state(self) -> State:
        """A row per stream."""
        return {"sums": self._sums.T.copy(), "settled": self._settled.T.copy()}

    def restore(self, state: Mapping[str, Any], now: float) -> None:
        """Take up a state; no time enters. ValueError, and unchanged, when it is of another shape."""
        check_state(state, {"sums": self._sums.T, "settled": self._settled.T})
        self._sums = np.array(state["sums"], dtype=np.float64).T.copy()
        self._settled = np.array(state["settled"], dtype=np.bool_).T.copy()

    def resize(self, streams: int) -> None:
        """Have room for this many."""
        wide = ((0, 0), (0, max(streams - self._sums.shape[1], 0)))
        self._sums, self._settled = np.pad(self._sums, wide), np.pad(self._settled, wide)


class Beside:
    """Which of many streams are odd while those of their group that are not odd are well.

    >>> test, odd = Beside(1), np.array([True])
    >>> [bool(test.learn_many(odd, np.array([9.0]), np.array([well]))[0]) for well in (-6.0, -6.0, 3.0, np.inf)]
    [False, True, True, False]
    """

    def __init__(self, streams: int) -> None:
        self._sum = np.zeros(streams)
        self._settled: Bools = np.zeros(streams, dtype=np.bool_)

    def learn_many(self, odd: Bools, own: Floats, well: Floats) -> Bools:
        """Take a step in, as `Alone` does. `well` is of those others that are not odd; inf: there is none of them."""
        self._sum = np.clip(self._sum + np.nan_to_num(np.minimum(own, -well)), 0.0, PROVEN)
        self._settled = odd & (self._sum > 0.0) & (self._settled | (self._sum >= PROVEN))
        return self._settled

    def state(self) -> State:
        """A row per stream."""
        return {"sum": self._sum.copy(), "settled": self._settled.copy()}

    def restore(self, state: Mapping[str, Any], now: float) -> None:
        """Take up a state; no time enters. ValueError, and unchanged, when it is of another shape."""
        check_state(state, {"sum": self._sum, "settled": self._settled})
        self._sum, self._settled = state["sum"].copy(), state["settled"].astype(np.bool_)

    def resize(self, streams: int) -> None:
        """Have room for this many."""
        more = (0, max(streams - self._sum.size, 0))
        self._sum, self._settled = np.pad(self._sum, more), np.pad(self._settled, more)


def others(values: Floats, group: Ints) -> Floats:
    """Sums over each one's group without itself. `values` has shape (rows, n), `group` (n,)."""
    return np.stack([np.bincount(group, row)[group] - row for row in values])
