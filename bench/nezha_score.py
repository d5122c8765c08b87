"""The protocol of alarms over injected faults: what is found, and what is a false alarm.

A fault is found when an alarm comes within `FOUND_S` of its injection. All other time after the first `WARM` rows, gaps
between faults too, is clean; it is cut into blocks of `BLOCK` minutes, and a block with any alarm in it is one false
alarm. So who always cries is charged twelve an hour. (To merge alarms into episodes instead gives an alarm that never
ends an F1 of 0.98 on such days: it proves nothing.)

Folds are stretches of time: as many neighbouring faults to each, with what lies between them, and as much of the calm.
What is chosen for a fold is chosen by what the others say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from bench.nezha_data import Bools, Day, Ints

FOUND_S = 300.0
WARM = 120
BLOCK = 5
FOLDS = 4


@dataclass(slots=True)
class Told:
    """What came of alarms."""

    found_min: list[tuple[str, float | None]] = field(default_factory=list)  # by fault its kind, and when it was found
    false_blocks: int = 0
    blocks: float = 0.0

    def __add__(self, other: Told) -> Told:
        return Told(
            self.found_min + other.found_min, self.false_blocks + other.false_blocks, self.blocks + other.blocks
        )

    @property
    def found(self) -> int:
        """How many faults."""
        return sum(at is not None for _, at in self.found_min)

    @property
    def precision(self) -> float:
        """Of found faults and false blocks, the share of the former."""
        return self.found / max(self.found + self.false_blocks, 1)

    @property
    def recall(self) -> float:
        """Share of the faults."""
        return self.found / max(len(self.found_min), 1)

    @property
    def f1(self) -> float:
        """Of precision and recall."""
        return 2 * self.found / max(self.found + self.false_blocks + len(self.found_min), 1)

    @property
    def an_hour(self) -> float:
        """False blocks."""
        return self.false_blocks / max(self.blocks * BLOCK / 60.0, 1e-9)

    @property
    def minutes(self) -> float:
        """The median time to find, of those found."""
        took = [at for _, at in self.found_min if at is not None]
        return median(took) if took else math.nan

    def by_kind(self) -> dict[str, str]:
        """Of each kind of fault, how many were found."""
        kinds = sorted({kind for kind, _ in self.found_min})
        mine = {k: [at for kind, at in self.found_min if kind == k] for k in kinds}
        return {k: f"{sum(at is not None for at in some)}/{len(some)}" for k, some in mine.items()}


def folds(day: Day, count: int = FOLDS) -> tuple[Ints, Ints]:
    """By row and by fault, the fold that it belongs to."""
    faults = np.arange(len(day.faults)) * count // max(len(day.faults), 1)
    at = np.array([f.at_s for f in day.faults])
    first = [at[faults == k].min() if (faults == k).any() else math.inf for k in range(1, count)]
    rows = np.searchsorted(np.array(first), day.time_s, side="right")
    calm = np.flatnonzero(played_first(day))
    rows[calm] = np.arange(calm.size) * count // max(calm.size, 1)
    return rows, faults


def played_first(day: Day) -> Bools:
    """The calm rows that were recorded last."""
    back = np.flatnonzero(np.diff(day.time_s) < 0)
    out = np.zeros(day.time_s.size, dtype=np.bool_)
    out[: back[0] + 1 if back.size else 0] = True
    return out


def told(day: Day, alarms: Bools, fold: int | None = None, count: int = FOLDS) -> Told:
    """The score of alarms by row; of one fold only, if it is given."""
    rows, faults = folds(day, count)
    out, clean = Told(), np.arange(day.time_s.size) >= WARM
    for k, fault in enumerate(day.faults):
        since = day.time_s - fault.at_s
        during = (since >= 0) & (since <= FOUND_S)
        clean &= ~during
        if fold is None or faults[k] == fold:
            hits = since[during & alarms]
            out.found_min.append((fault.kind, float(hits.min()) / 60.0 if hits.size else None))
    mine = np.flatnonzero(clean & (rows == fold) if fold is not None else clean)
    out.blocks = mine.size / BLOCK
    out.false_blocks = len(set((np.flatnonzero(alarms[mine]) // BLOCK).tolist()))
    return out


def crossed(days: Sequence[Day], runs: Sequence[Sequence[Bools]], count: int = FOLDS) -> tuple[Told, list[int]]:
    """Cross-validated: each fold of each day by the run that does best on all the others.

    `runs`: by setting, the alarms of each day. Returns the score, and the settings that were chosen.
    """
    table = [[[told(d, a, k, count) for k in range(count)] for d, a in zip(days, run, strict=True)] for run in runs]
    out, chosen = Told(), []
    for i in range(len(days)):
        for k in range(count):
            others = [
                _sum(t for j, day in enumerate(run) for m, t in enumerate(day) if (j, m) != (i, k)) for run in table
            ]
            chosen.append(best(others))
            out = out + table[chosen[-1]][i][k]
    return out, chosen


def best(scores: Sequence[Told]) -> int:
    """The setting with the highest F1; of equals the one with fewer false alarms, then the first."""
    return max(range(len(scores)), key=lambda i: (scores[i].f1, -scores[i].false_blocks, -i))


def _sum(some: Iterable[Told]) -> Told:
    out = Told()
    for one in some:
        out = out + one
    return out
