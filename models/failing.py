"""Does more fail than is usual? Page's test of counts and failures, for many streams at once.

What is usual is the share of failures over minutes, drawn to `LEAST_SHARE` as if `PRIOR` more had failed at that share,
and learned only while a stream is not odd: failures are never taken for usual while they stand out, however long. What
is looked for is `FAILING`, or `TIMES` times the usual where that is more; and `MORE` times that, of which fewer are
proof. When a stream that failed by that much surely does no more, its trouble is over, also if less of it may be left:
that is looked for anew. To be sure of the less takes seven times as many attempts, and who failed has few.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.base import Floats, Ints, State, check_state
from models.page import Page, more_fail

FAILING, TIMES, MORE = 0.02, 3.0, 6.0
LOOKED_FOR = (1.0, MORE)
"""A page for each: times the `limit`."""
LEAST_SHARE, PRIOR = 0.002, 100.0
FOLLOWS_S = 300.0
_MOST_USUAL, _MOST_ODD = 0.5, 0.9


class Failing:
    """Of many streams. One step may bring all of the `evidence` that is asked for."""

    def __init__(self, streams: int, evidence: float) -> None:
        self.pages = tuple(Page(streams, evidence, evidence) for _ in LOOKED_FOR)
        self.sums = np.zeros((2, streams))  # what ended and what failed, fading

    @property
    def odd(self) -> NDArray[np.bool_]:
        """Of whom more fails than is usual."""
        return self.pages[0].odd | self.pages[1].odd

    def learn_many(self, count: Floats, failed: Floats, since_s: float) -> Floats:
        """Take in what ended in the last `since_s`, and what of it failed. Returns the shares that were usual."""
        usual = usual_share(self.sums)
        less, more = self.pages
        much = more.odd
        for page, gain in zip(self.pages, gains(count, failed, usual), strict=True):
            page.learn_many(gain)
        less.forget(much & ~more.odd)
        keeps = 0.5 ** (since_s / FOLLOWS_S)
        self.sums = self.sums * keeps + np.where(self.odd, 0.0, np.stack([count, failed]))
        return np.asarray(usual)

    def forget(self, streams: Ints | NDArray[np.bool_]) -> None:
        """These are new."""
        for page in self.pages:
            page.forget(streams)
        self.sums[:, streams] = 0.0

    def state(self) -> State:
        """A row per stream."""
        kept = {f"{name}_{i}": array for i, page in enumerate(self.pages) for name, array in page.state().items()}
        return kept | {"sums": self.sums.T.copy()}

    def restore(self, state: Mapping[str, Any], now: float) -> None:
        """Take up a state: the time away fades nothing. ValueError, and unchanged, when it is of another shape."""
        check_state(state, {"sums": self.sums.T})
        for i, page in enumerate(self.pages):
            page.restore({name: state[f"{name}_{i}"] for name in ("sum", "odd")}, now)
        self.sums = np.array(state["sums"], dtype=np.float64).T.copy()

    def resize(self, streams: int) -> None:
        """Have room for this many."""
        for page in self.pages:
            page.resize(streams)
        self.sums = np.pad(self.sums, ((0, 0), (0, max(streams - self.sums.shape[1], 0))))


def limit(usual: Floats) -> Floats:
    """The share that is looked for where this one is usual."""
    return np.asarray(np.maximum(FAILING, TIMES * usual))


def usual_share(sums: Floats) -> Floats:
    """The share that is usual where so many ended and failed of late. `sums` has shape (2, n)."""
    total, bad = sums
    return np.asarray(np.clip((bad + LEAST_SHARE * PRIOR) / (total + PRIOR), LEAST_SHARE, _MOST_USUAL))


def gains(count: Floats, failed: Floats, usual: Floats) -> list[Floats]:
    """For each of `LOOKED_FOR`, by how much this speaks for it and against the usual; NaN where nothing ended."""
    odd = (np.minimum(times * limit(usual), _MOST_ODD) for times in LOOKED_FOR)
    return [np.where(count > 0, more_fail(count, failed, usual, share), np.nan) for share in odd]
