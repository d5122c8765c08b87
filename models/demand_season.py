"""What a service saw at this time of the day and of the week.

A history is read a day and a week back, and a profile of the day moves slowly towards what is seen: by a bounded
amount, so that neither a holiday nor an outage becomes the season. Missing steps stay missing.

Nor is a holiday what the same day of the next week will be like. Once nobody reads a day as yesterday any more, it is
held against the same day a week before. The farther apart they are beyond what is usual, the more of the week before is
put in its place: of a day twice as far off as is still usual, half.

All values are square roots of counts, in which the noise of counting is the same for few and for many.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from models.base import Floats, Ints
from models.columns import Columns

_DAY_S = 86400.0
_DAYS_KEPT = 9
"""A day more than is read: when one is settled, the same day a week before must be there still."""

_PROFILE_RATE = 0.3
_BOUND = 4.5
"""How many usual errors a step may move the profile, before the rate."""
_ERROR_RATE = 0.01

_USUAL_DAYS = 1.5
"""Times the usual distance from the week before: up to there a day is kept as it was."""
_DAYS_NEEDED = 3
_DAY_RATE = 0.2

_WINDOW = np.arange(-2, 3)


class Season(Columns):
    """Nine days of history by step. ValueError when `step_s` does not go into a day."""

    history: Floats  # plus one, so that 0 is missing
    profile: Floats  # by time of day, plus one likewise
    usual_error: Floats
    usual_distance: Floats  # of a day from the same one a week before, a step's mean
    days: Floats  # behind it

    def __init__(self, services: int, step_s: float) -> None:
        self.day = round(_DAY_S / step_s)
        if self.day < 2 or abs(self.day * step_s - _DAY_S) > 1e-6:
            raise ValueError(f"a season needs steps that go into a day, not {step_s:g} s")
        self.kept = _DAYS_KEPT * self.day
        super().__init__(
            services,
            history=(self.kept,),
            profile=(self.day,),
            usual_error=(),
            usual_distance=(),
            days=(),
        )

    def dtype(self, name: str) -> DTypeLike:
        """Histories in single precision: they are most of the memory."""
        return np.float32 if name in ("history", "profile") else np.float64

    def learn(self, root: Floats, step: int) -> None:
        """The square root of what was counted in this step, NaN where it was not seen. Shape (services,)."""
        seen = np.isfinite(root)
        self.history[:, step % self.kept] = np.where(seen, root + 1, 0.0)
        slot = step % self.day
        known = self.profile[:, slot].astype(np.float64) - 1
        error = np.where(seen, root - known, 0.0)
        bound = _BOUND * self.usual_error
        moved = known + _PROFILE_RATE * np.clip(error, -bound, bound)
        first = known < 0
        self.profile[:, slot] = np.where(seen, np.where(first, root, moved) + 1, known + 1)
        # In the first days nothing is usual yet; and an outage must not widen the bound that it is held by.
        fresh = self.usual_error == 0
        missed = np.where(fresh, np.abs(error), np.minimum(np.abs(error), 3 * bound))
        rate = np.where(seen & ~first, np.where(fresh, 1.0, _ERROR_RATE), 0.0)
        self.usual_error += rate * (missed - self.usual_error)
        if (step + 1) % self.day == 0:
            self._settle(step // self.day - 1)

    def skip(self, first: int, last: int) -> None:
        """Forget what the steps from `first` to `last` held nine days before: they were not seen."""
        while first <= last:
            end = min(last, first - first % self.day + self.day - 1)  # of the day
            self.history[:, np.arange(first, end + 1) % self.kept] = 0.0
            if (end + 1) % self.day == 0:
                self._settle(end // self.day - 1)
            first = max(end + 1, last - self.kept + 1)

    def _settle(self, day: int) -> None:
        """Keep of a day, for a week hence, what was not too odd."""
        then = np.arange(day * self.day, (day + 1) * self.day)
        this, before = then % self.kept, (then - 7 * self.day) % self.kept
        kept, other = self.history[:, this].astype(np.float64), self.history[:, before].astype(np.float64)
        both = (kept > 0) & (other > 0)
        count = both.sum(axis=1)
        known = count > self.day / 2
        apart = (np.abs(kept - other) * both).sum(axis=1) / np.maximum(count, 1)
        most = np.where(self.days >= _DAYS_NEEDED, _USUAL_DAYS * self.usual_distance, np.inf)
        share = np.where(known, np.minimum(most / np.maximum(apart, 1e-9), 1.0), 1.0)[:, None]
        self.history[:, this] = np.where(both, share * kept + (1 - share) * other, kept)
        rate = np.where(known, np.maximum(_DAY_RATE, 1 / (1 + self.days)), 0.0)
        self.usual_distance += rate * (np.minimum(apart, most) - self.usual_distance)
        self.days += known

    def read(self, step: int, ahead: Ints, otherwise: Floats) -> tuple[Floats, Floats]:
        """Features for each number of steps ahead, (services, horizons, 8), and the moves of a day and a week ago.

        Moves, (services, horizons, 2), are how the mean of five steps went then, from this time to that far ahead; 0
        where that was not seen. What was not seen a week ago is taken from a day ago, and that from `otherwise`.
        """
        at = np.concatenate([ahead, [0]])  # the last is now
        day, around_day = self._around(step, at - self.day)
        _, around_week = self._around(step, at - 7 * self.day)
        usual = self.profile[:, (step + at) % self.day].astype(np.float64) - 1
        level = otherwise[:, None]
        moves = [around[:, :-1] - around[:, -1:] for around in (around_day, around_week)]
        moves[1] = np.where(np.isfinite(moves[1]), moves[1], moves[0])
        around_day = np.where(np.isfinite(around_day), around_day, level)
        day = np.where(np.isfinite(day), day, around_day)
        around_week = np.where(np.isfinite(around_week), around_week, around_day)
        usual = np.where(usual < 0, level, usual)
        then, now = [], []
        for column in (day, around_day, around_week, usual):
            then.append(column[:, :-1])
            now.append(np.broadcast_to(column[:, -1:], then[-1].shape))
        return np.stack(then + now, axis=-1), np.nan_to_num(np.stack(moves, axis=-1))

    def _around(self, step: int, distance: Ints) -> tuple[Floats, Floats]:
        """What was seen at each distance, and the mean of the five steps around; NaN where none was seen."""
        held = self.history[:, (step + distance[:, None] + _WINDOW) % self.kept].astype(np.float64)
        seen = held > 0
        count = seen.sum(axis=-1)
        mean = np.where(count > 0, (held.sum(axis=-1) - count) / np.maximum(count, 1), np.nan)
        return np.where(seen[..., 2], held[..., 2] - 1, np.nan), mean
