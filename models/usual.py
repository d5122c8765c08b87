"""What is usual of a stream: a mean and a spread that follow it over minutes, and stay where they are meanwhile.

In a stream's first `first_s` the usual is the plain mean of what was seen; after that it follows with a half-life.
While a stream is odd its usual stands still, for what is odd must not become what it is held against. But not for ever:
what has lasted `most_s` is the new usual.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.base import Floats, Ints, State, check_state

Bools = NDArray[np.bool_]

FOLLOWS_S = 300.0
FIRST_S = 60.0
MOST_S = 1800.0
LEAST_SEEN = 5.0
"""Values before there is a usual."""


class Usual:
    """Of many streams. `least_spread`: none is taken to be more even than this."""

    def __init__(
        self,
        streams: int,
        least_spread: float,
        follows_s: float = FOLLOWS_S,
        *,
        first_s: float = FIRST_S,
        most_s: float = MOST_S,
    ) -> None:
        self._least, self._follows_s = least_spread, follows_s
        self._first_s, self._most_s = first_s, most_s
        self._seen = np.zeros(streams)
        self._mean = np.zeros(streams)
        self._square = np.zeros(streams)  # mean squared distance from the mean
        self._first = np.full(streams, np.inf)
        self._odd_since = np.full(streams, np.inf)
        self._at = -np.inf

    @property
    def mean(self) -> Floats:
        """NaN before `LEAST_SEEN` values. Shape (n,)."""
        return np.where(self._seen >= LEAST_SEEN, self._mean, np.nan)

    @property
    def spread(self) -> Floats:
        """Standard deviation about the mean. Shape (n,)."""
        return np.maximum(np.sqrt(self._square), self._least)

    def known_s(self, now: float) -> Floats:
        """Since the first value; below 0 where there was none. Shape (n,)."""
        return now - self._first

    def learn_many(self, values: Floats, odd: Bools, now: float) -> Bools:
        """Take values in, NaN for not seen; of those that are `odd` nothing is learned.

        Returns who has been odd for `MOST_S`: their usual is what they show now, and they are odd no more.
        """
        since_s, self._at = max(0.0, now - self._at), now
        self._odd_since = np.where(odd, np.minimum(self._odd_since, now), np.inf)
        lasting = now - self._odd_since >= self._most_s
        if lasting.any():
            self.forget(lasting)
        seen = np.isfinite(values) & (~odd | lasting)
        self._first = np.where(seen, np.minimum(self._first, now), self._first)
        self._seen += seen
        young = now - self._first < self._first_s
        part = np.where(young, 1.0 / np.maximum(self._seen, 1.0), 1.0 - 0.5 ** (since_s / self._follows_s))
        apart = np.where(seen, values - self._mean, 0.0)
        self._mean = self._mean + part * apart
        self._square = np.where(seen, self._square + part * (apart * apart * (1.0 - part) - self._square), self._square)
        return lasting

    def forget(self, streams: Ints | Bools) -> None:
        """These are new."""
        self._seen[streams] = self._mean[streams] = self._square[streams] = 0.0
        self._first[streams] = self._odd_since[streams] = np.inf

    def state(self) -> State:
        """A row per stream."""
        names = ("seen", "mean", "square", "first", "odd_since")
        return {name: getattr(self, f"_{name}").copy() for name in names}

    def restore(self, state: Mapping[str, Any], now: float) -> None:
        """Take up a state: the time away teaches nothing. ValueError, and unchanged, when it is of another shape."""
        names = ("seen", "mean", "square", "first", "odd_since")
        check_state(state, dict.fromkeys(names, self._seen))
        self._seen, self._mean, self._square = (np.array(state[name], dtype=np.float64) for name in names[:3])
        self._first, self._odd_since = (np.array(state[name], dtype=np.float64) for name in names[3:])
        self._at = now

    def resize(self, streams: int) -> None:
        """Have room for this many."""
        more = max(streams - self._seen.size, 0)
        self._seen, self._mean, self._square = (np.pad(a, (0, more)) for a in (self._seen, self._mean, self._square))
        self._first, self._odd_since = (
            np.pad(a, (0, more), constant_values=np.inf) for a in (self._first, self._odd_since)
        )
