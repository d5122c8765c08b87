"""The scorer of the Numenta Anomaly Benchmark, written anew from its rules (Lavin and Ahmad, ICMLA 2015).

Rows of the probation are not scored. In a window only the earliest detection counts, and is worth the more the earlier
it is; a window without one costs. Every detection outside of windows costs: little right behind a window, all of it far
behind one or where none precedes. What no threshold would detect is 0, what a perfect detector earns is 100.

A threshold that was chosen on the rows it is judged by is a peek. `honest` takes it from the other half of the files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PROBATION_SHARE, PROBATION_MOST = 0.15, 750
FAR = 3.0
"""So many widths of the last window behind it, a false alarm costs all."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a window found, a window missed and a false alarm are worth."""

    found: float
    missed: float
    false: float


PROFILES = {
    "standard": Profile(1.0, 1.0, 0.11),
    "reward_low_FP_rate": Profile(1.0, 1.0, 0.22),
    "reward_low_FN_rate": Profile(1.0, 2.0, 0.11),
}


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """What each row of a file adds to the score once the threshold is down to it; rows fall in score."""

    score: Floats
    gain: Floats
    windows: int

    def at(self, threshold: float) -> float:
        """Gain over a detector that says nothing."""
        return float(self.gain[self.score >= threshold].sum())


def probation(rows: int) -> int:
    """Rows at the start of a file that are not scored."""
    return min(math.floor(PROBATION_SHARE * rows), PROBATION_MOST)


def sigmoid(place: Floats) -> Floats:
    """Worth of a place: -1 is a window's left edge, 0 its right one."""
    return np.asarray(np.where(place > FAR, -1.0, 2.0 / (1.0 + np.exp(5.0 * np.minimum(place, FAR))) - 1.0))


def worth(rows: int, windows: Sequence[tuple[int, int]]) -> tuple[Floats, Ints]:
    """What a detection in each row is worth before weights, and the window it is in (-1 for none).

    `windows` are first and last rows, in order.
    """
    at, out, inside = np.arange(rows), np.full(rows, -1.0), np.full(rows, -1)
    top = float(sigmoid(np.array(-1.0)))
    for k, (first, last) in enumerate(windows):
        width = last - first + 1
        behind = at > last
        out[behind] = sigmoid((at[behind] - last) / max(width - 1.0, 1.0))
        within = (at >= first) & (at <= last)
        out[within] = sigmoid(-(last - at[within] + 1) / width) / top
        inside[within] = k
    return out, inside


def curve(score: Floats, windows: Sequence[tuple[int, int]], profile: Profile) -> Curve:
    """The score of one file by threshold."""
    rows = len(score)
    value, inside = worth(rows, windows)
    judged = np.arange(rows) >= probation(rows)
    gain, counted = np.where(inside < 0, value * profile.false, 0.0), 0
    for k in range(len(windows)):
        own = np.flatnonzero((inside == k) & judged)
        if not len(own):
            continue
        counted += 1
        # Down the scores, the earliest so far is what counts: only who is earlier than all above adds to it.
        own = own[np.argsort(-score[own], kind="stable")]
        best = np.maximum.accumulate(value[own]) * profile.found
        gain[own] = np.diff(best, prepend=-profile.missed)
    down = np.argsort(-score[judged], kind="stable")
    return Curve(score[judged][down], gain[judged][down], counted)


def best(curves: Sequence[Curve]) -> tuple[float, float]:
    """The threshold that gains most over all of these, and the gain; infinity and 0 where silence is best."""
    score = np.concatenate([c.score for c in curves])
    down = np.argsort(-score, kind="stable")
    score, total = score[down], np.cumsum(np.concatenate([c.gain for c in curves])[down])
    ends = np.flatnonzero(np.append(score[1:] != score[:-1], True))  # alike scores are above or below together
    top = ends[np.argmax(total[ends])]
    return (float(score[top]), float(total[top])) if total[top] > 0 else (math.inf, 0.0)


def normalised(gain: float, curves: Sequence[Curve], profile: Profile) -> float:
    """0 for silence, 100 for perfect."""
    return 100.0 * gain / ((profile.found + profile.missed) * max(sum(c.windows for c in curves), 1))


def peeked(curves: Sequence[Curve], profile: Profile) -> float:
    """With the threshold that is best for these very files."""
    return normalised(best(curves)[1], curves, profile)


def honest(curves: Sequence[Curve], profile: Profile, first_half: Sequence[bool]) -> float:
    """With the threshold of each half of the files taken from the other half."""
    halves = [[c for c, first in zip(curves, first_half, strict=True) if first is half] for half in (True, False)]
    gain = 0.0
    for mine, other in (halves, halves[::-1]):
        threshold = best(other)[0]
        gain += sum(c.at(threshold) for c in mine)
    return normalised(gain, curves, profile)


def in_turn(files: int) -> list[bool]:
    """The split that is told: every other file."""
    return [k % 2 == 0 for k in range(files)]


def splits(files: int, count: int, rng: np.random.Generator) -> list[list[bool]]:
    """Random halves, to see how much hangs on the split."""
    return [(rng.permutation(files) < files // 2).tolist() for _ in range(count)]
