"""How surprising is this value, given all before? For many streams at once, with nothing to train and nothing to set.

A stream is looked at in several ways (`PARTS`): its last value, a stretch of its last values, its unrest, and how far
it is from what is usual at this time of the day. Each is held against a memory of what it was like before
(`models.recall`), and how new it is against how new it commonly gets (`models.extremes`). That is a distance in the
same measure for all, which is added up; at `ALARM` it is an alarm.

After an alarm nothing is told for `QUIET` steps, since the same trouble told twice is noise. And who cries often is
believed less: each alarm of late raises the bar for the next one, so that a stream whose nature it is to leap does not
drown the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.base import Floats, State, check_state
from models.columns import Columns
from models.course import Course, Stand
from models.extremes import Extremes
from models.recall import Recall

Bools = NDArray[np.bool_]

LAGS = {"value": (0,), "stretch": (0, 1, 3)}
"""Which of the last values are looked at together."""
WEIGHTS = {"unrest": 0.4, "day": 0.2}
"""Of the others, where the mean of those above counts 1."""
MANNERS = ("quiet", "doubt")
PARTS = (*LAGS, *WEIGHTS, *MANNERS)

ALARM = 0.5
QUIET = 200

_FAR = 3.5
"""What is so far beyond the common is an alarm: a part that reaches it does so in one of 33 blocks of `BLOCK` steps."""
_DOUBT = 0.4
"""So much higher is the bar for each alarm of late."""
_DOUBT_FADES = 0.5 ** (1.0 / 3000.0)
_LEAST_WIDTH = 0.01
"""In usual steps: nothing is taken to be more even than this."""
_MOST = 1e30
_FARTHEST = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """Of one step, each (n,)."""

    score: Floats  # 0 to 1; `ALARM` or more is one
    low: Floats  # between these it was expected; NaN while nothing was
    high: Floats
    known: Bools  # whether enough was seen before to tell


class _Alarms(Columns):
    first: Floats  # value: all is told from it, so that single precision is enough
    started: Floats
    wait: Floats  # steps of quiet left
    heard: Floats  # alarms of late
    below: Floats  # 1 where a value was ever negative


class Surprise:
    """Of many streams. `steps_per_day` where days are to be learned. ValueError for parts that are unknown or none."""

    def __init__(self, streams: int, steps_per_day: int | None = None, *, parts: Sequence[str] = PARTS) -> None:
        if not set(parts) <= set(PARTS):
            raise ValueError(f"parts are {PARTS}, not {tuple(parts)}")
        if steps_per_day is not None and steps_per_day < 2:
            raise ValueError(f"a day has at least two steps, not {steps_per_day}")
        self._parts = [p for p in (*LAGS, *WEIGHTS) if p in parts and (p != "day" or steps_per_day)]
        self._quiet = QUIET if "quiet" in parts else 0
        self._doubt = _DOUBT if "doubt" in parts else 0.0
        if not self._parts:
            raise ValueError(f"parts {tuple(parts)} look at nothing")
        several = sum(p in LAGS for p in self._parts)
        self._weights = np.array([WEIGHTS.get(p, 1.0 / max(several, 1)) for p in self._parts])
        self._course = Course(streams, steps_per_day)
        self._recalls = {p: Recall(streams, LAGS.get(p, (0,))) for p in self._parts}
        self._news = Extremes(streams, len(self._parts))
        self._off = Extremes(streams, 2)  # above what was expected, and below
        self._alarms = _Alarms(streams, first=(), started=(), wait=(), heard=(), below=())
        self._step = 0

    @property
    def streams(self) -> int:
        """Rows there are."""
        return self._alarms.rows

    def learn_many(self, values: Floats) -> Said:
        """Judge a step by what came before it, then take it in. NaN and infinity are not seen. Shape (n,)."""
        alarms, seen = self._alarms, np.isfinite(values)
        held = np.clip(np.where(seen, values, np.nan), -_MOST, _MOST)
        new = seen & (alarms.started == 0)
        alarms.first[new], alarms.started[new] = held[new], 1.0
        stand = self._course.learn_many(held - alarms.first, self._step)
        self._step += 1
        low, high = self._band(stand)
        self._off.learn(np.stack([held - alarms.first - stand.expected, alarms.first + stand.expected - held], axis=1))
        far = self._far(held - alarms.first, stand)
        known: Bools = np.asarray(np.isfinite(far).any(axis=1))
        total = np.nan_to_num(np.clip(far, 0.0, _FARTHEST)) @ self._weights
        told = seen & known & (alarms.wait <= 0)
        bar = _FAR * (1.0 + self._doubt * alarms.heard)
        score = np.where(told, 1.0 - 0.5 ** (total / bar), 0.0)
        alarm = score >= ALARM
        alarms.wait = np.where(alarm, self._quiet, np.maximum(alarms.wait - seen, 0.0))
        alarms.heard = alarms.heard * np.where(seen, _DOUBT_FADES, 1.0) + alarm
        # What was never negative, as counts are not, is not expected to be.
        floor = np.where(alarms.below > 0, -np.inf, 0.0)
        alarms.below = np.maximum(alarms.below, held < 0)
        low, high = np.maximum(low + alarms.first, floor), np.maximum(high + alarms.first, floor)
        return Said(score, low, high, known)

    def _far(self, values: Floats, stand: Stand) -> Floats:
        """How far beyond the common each part is, (n, parts)."""
        looked_at = {"unrest": stand.unrest, "day": stand.from_day}
        news = np.stack([self._recalls[p].learn_many(looked_at.get(p, values)) for p in self._parts], axis=1)
        least = self._least(stand, len(self._parts))
        if "unrest" in self._parts:
            least[:, self._parts.index("unrest")] = _LEAST_WIDTH
        far = self._news.judge(news, least)
        self._news.learn(news)
        return far

    def _band(self, stand: Stand) -> tuple[Floats, Floats]:
        """Where the value was expected, by how far others were off."""
        above, below = np.maximum(self._off.limits(_FAR, self._least(stand, 2)), 0.0).T
        return stand.expected - below, stand.expected + above

    def _least(self, stand: Stand, kinds: int) -> Floats:
        return np.repeat(np.maximum(_LEAST_WIDTH * stand.change, 1e-300)[:, None], kinds, axis=1)

    def resize(self, streams: int) -> None:
        """Have room for this many streams; none is ever taken away."""
        for part in self._columns().values():
            part.resize(streams)

    def state(self) -> State:
        """Plain arrays and numbers, a row per stream; zero rows know nothing."""
        out: State = {"step": self._step}
        for prefix, part in self._columns().items():
            out |= part.state(prefix)
        return out

    def restore(self, state: State) -> None:
        """Take up a state. ValueError, and unchanged, when it is not of this model."""
        check_state(state, {}, "step")
        for prefix, part in self._columns().items():
            part.check(state, prefix)
        for prefix, part in self._columns().items():
            part.restore(state, prefix)
        self._step = int(state["step"])

    def _columns(self) -> dict[str, Columns]:
        own = {"course_": self._course, "news_": self._news, "off_": self._off, "alarms_": self._alarms}
        return own | {f"{name}_": recall for name, recall in self._recalls.items()}
