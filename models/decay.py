"""Sums that forget: each thing seen counts half as much after every half-life.

Forward decay (Cormode, Shkapenyuk, Srivastava and Xu, ICDE 2009): instead of shrinking everything old at every tick,
weigh everything new by `2 ** ((now - landmark) / half_life)`, and divide by the present weight when reading. An
addition costs one multiplication whatever the number of streams, reading changes nothing, and the result does not
depend on how often anybody looks. Weights grow without bound, so now and then the landmark moves up and what is stored
is scaled down with it.

A rate is a decayed sum over the decayed time in which it was gathered, so it is right from the first second on:
dividing by the whole half-life's window would report a new endpoint's traffic as a fraction of what it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.base import Floats, Ints, State, check_state

_REBASE_LOG2 = 32.0
"""A landmark older than this many half-lives moves: 2**32 leaves float64 another 2**991 of room in one silent jump."""

SHORTEST_WINDOW_S = 0.5
"""A rate is never told from less time than this: one early attempt is not a flood."""


def window_s(age_s: Floats, half_life_s: float) -> Floats:
    """The decayed length of the last `age_s` seconds: the integral of the decay over them. Infinite half-life: `age_s`.

    >>> window_s(np.array([0.0, 3.0, 1e9]), 3.0).round(3)
    array([0.   , 2.164, 4.328])
    """
    age = np.maximum(age_s, 0.0)
    if math.isinf(half_life_s):
        return age
    tau = half_life_s / math.log(2.0)
    return np.asarray(-tau * np.expm1(-age / tau))


def age_s(window: Floats, half_life_s: float) -> Floats:
    """The inverse of `window_s`, for windows that can be."""
    if math.isinf(half_life_s):
        return window
    tau = half_life_s / math.log(2.0)
    return np.asarray(-tau * np.log1p(-np.minimum(window / tau, 1.0 - 1e-12)))


class When(NamedTuple):
    """When each of some rows was told, where several batches are taken in at once. Both rise.

    >>> when = When((1.0, 1.1, 1.3), np.array([0, 0, 1, 2]))
    >>> when.take(np.array([False, True, False, True])).s
    array([1. , 1.3])
    >>> list(when.runs(0.25))
    [(slice(0, 3, None), 1.0), (slice(3, 4, None), 1.3)]
    """

    at: tuple[float, ...]  # the times of the batches
    of: Ints  # by row: which of them is its own

    @classmethod
    def once(cls, now: float, rows: int) -> When:
        """So many rows, told at once."""
        return cls((now,), np.zeros(rows, np.int64))

    @property
    def s(self) -> Floats | float:
        """The time of each row; of one batch alone its time."""
        return np.array(self.at)[self.of] if len(self.at) > 1 else self.at[0]

    def take(self, rows: Any) -> When:
        """The rows that a mask or slice names. Batches without a row count as told as well."""
        if len(self.at) == 1 and not isinstance(rows, slice):  # all alike: only how many matters
            return When(self.at, self.of[: np.count_nonzero(rows)])
        return When(self.at, self.of[rows])

    def between(self, first: int, last: int) -> slice:
        """The rows of the batches from one number up to another one."""
        return slice(*np.searchsorted(self.of, (first, last)).tolist())

    def since_first(self) -> When:
        """Without the batches before the first row."""
        first = int(self.of[0])
        return When(self.at[first:], self.of - first)

    def runs(self, period_s: float) -> Iterator[tuple[slice, float]]:
        """Rows that fall into the same period, and the first time of each period that has rows."""
        if not len(self.of):
            return
        first, last = self.at[self.of[0]], self.at[self.of[-1]]
        if first // period_s == last // period_s:
            yield slice(0, len(self.of)), first
            return
        own = [i for i, many in enumerate(np.bincount(self.of, minlength=len(self.at)).tolist()) if many]
        firsts = [i for k, i in enumerate(own) if not k or self.at[i] // period_s != self.at[own[k - 1]] // period_s]
        edges = [*np.searchsorted(self.of, firsts).tolist(), len(self.of)]
        for i, begin, end in zip(firsts, edges, edges[1:], strict=False):
            yield slice(begin, end), self.at[i]


class ForwardDecay:
    """The weight that something seen at `now` has against something seen at the landmark.

    The landmark is the first time that the object is told. Times before it are welcome: they weigh less than 1.

    ValueError when the half-life is not above 0; infinity is fine and forgets nothing.
    """

    def __init__(self, half_life_s: float) -> None:
        if not half_life_s > 0:
            raise ValueError(f"a half-life must be above 0 s, not {half_life_s}")
        self.half_life_s = float(half_life_s)
        self.landmark = math.nan

    def weight(self, now: float) -> float:
        """`2 ** ((now - landmark) / half_life)`; 1 before anything was seen."""
        if math.isnan(self.landmark):
            return 1.0
        return math.exp2(min((now - self.landmark) / self.half_life_s, 1000.0))

    def admit(self, now: float) -> float:
        """Get ready to weigh something seen at `now`: the factor that everything stored must be multiplied by first.

        It is 1.0 except once in 32 half-lives.
        """
        if math.isnan(self.landmark):
            self.landmark = now
            return 1.0
        if not self.moves(now):
            return 1.0
        elapsed = (now - self.landmark) / self.half_life_s
        self.landmark = now
        return math.exp2(-elapsed)

    def moves(self, now: float) -> bool:
        """Whether the landmark would move for something seen at `now`: then what comes before it has to go first."""
        return (now - self.landmark) / self.half_life_s > _REBASE_LOG2

    def weights(self, when: When) -> Floats | float:
        """The weight of each row; of one batch alone that of all."""
        weights = [self.weight(at) for at in when.at]
        return np.array(weights)[when.of] if len(weights) > 1 else weights[0]


class DecayedSums:
    """`fields` decayed sums for each of `streams` streams, and the decayed time over which each was gathered.

    >>> sums = DecayedSums(1, streams=2, half_life_s=3.0)
    >>> sums.begin(np.array([0, 1]), now=100.0)
    >>> for second in range(101, 111):
    ...     sums.add(0, np.array([0]), 50.0, now=second)
    >>> float(sums.at(113.0)[0, 0] / sums.at(110.0)[0, 0])  # three seconds later: half
    0.5
    """

    def __init__(self, fields: int, streams: int, half_life_s: float) -> None:
        self.decay = ForwardDecay(half_life_s)
        self._sums = np.zeros((fields, streams))
        self._since = np.full(streams, np.nan)

    def begin(self, streams: Ints, now: float) -> None:
        """Watch these streams from `now` on, with nothing in them."""
        self._sums[:, streams] = 0.0
        self._since[streams] = now

    def add(self, field: int, streams: NDArray[np.integer], amounts: Floats | float, now: float | When) -> None:
        """Add each amount to its stream's sum. Amounts must be finite: one NaN would be remembered for ever."""
        self.add_each((field,), streams, (amounts,), now)

    def add_each(
        self,
        fields: Sequence[int],
        streams: NDArray[np.integer],
        amounts: Sequence[Floats | float],
        now: float | When,
    ) -> None:
        """The same for several sums of the same streams."""
        factor = self.decay.admit(now.at[0] if isinstance(now, When) else now)
        if factor != 1.0:
            self._sums *= factor
        weight = self.decay.weights(now) if isinstance(now, When) else self.decay.weight(now)
        for field, some in zip(fields, amounts, strict=True):
            np.add.at(self._sums[field], streams, some * weight)

    def scale(self, streams: Ints, factor: float) -> None:
        """Let what these streams hold count for only so much; 0 forgets it. They stay watched as they were."""
        self._sums[:, streams] *= factor

    def put(self, field: int, streams: Ints, like: int, times: Floats) -> None:
        """Let a sum of these streams be so many times another one of theirs."""
        self._sums[field, streams] = self._sums[like, streams] * times

    def at(self, now: float) -> Floats:
        """The sums as decayed to `now`. Shape (fields, streams); changes nothing."""
        return np.asarray(self._sums / self.decay.weight(now))

    def window_s(self, now: float) -> Floats:
        """The decayed time each stream was watched for, at least the window of `SHORTEST_WINDOW_S`; NaN when not begun.

        `at(now)[field] / window_s(now)` is an unbiased rate per second, at any age.
        """
        return window_s(np.maximum(now - self._since, SHORTEST_WINDOW_S), self.decay.half_life_s)

    def resize(self, streams: int) -> None:
        """Have room for this many streams. New ones are empty and not begun; streams are never taken away."""
        more = streams - self._since.size
        if more > 0:
            self._sums = np.pad(self._sums, ((0, 0), (0, more)))
            self._since = np.pad(self._since, (0, more), constant_values=np.nan)

    def state(self) -> State:
        """Sums (streams, fields), their landmark, and since when each stream is watched."""
        return {
            "half_life_s": self.decay.half_life_s,
            "landmark": self.decay.landmark,
            "sums": self._sums.T.copy(),
            "since": self._since.copy(),
        }

    def restore(self, state: State) -> None:
        """Take up a state. ValueError, and unchanged, when fields, streams or half-life are not these."""
        check_state(state, {"sums": self._sums.T, "since": self._since}, "landmark", half_life_s=self.decay.half_life_s)
        self.decay.landmark = float(state["landmark"])
        self._sums = np.array(np.transpose(state["sums"]), dtype=np.float64, order="C")
        self._since = np.array(state["since"], dtype=np.float64)

    def resume(self, left: float, now: float) -> None:
        """Go on at `now` with what was restored from `left`: nobody watched in between.

        That time decays what is known, as always, and counts in no stream's window. Where it is negative, because the
        next run's clock is behind, it counts as none.
        """
        if now < left:
            self.decay.landmark += now - left
            self._since += now - left
        elif now > left:
            half_life_s = self.decay.half_life_s
            watched = window_s(left - self._since, half_life_s) * math.exp2(-(now - left) / half_life_s)
            self._since = now - age_s(watched, half_life_s)
