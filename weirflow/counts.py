"""Reads a file of request counts: columns `timestamp` and `value`, a row per step of time.

What is missing stays missing: a gap in the rows, an empty value and NaN are NaN and never 0. A counter that only rises
(as monitoring systems keep them) is told from counts, and its differences are taken; where it falls it was reset, and
what it shows after that was counted since. Every mistake names the file, the line and the mend.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_STEPS = 20_000_000
_MILLISECONDS_FROM = 1e11
"""As seconds that would be the year 5138."""

_COUNTER_ROWS = 20
_RESETS_SHARE = 0.02


class CountsError(Exception):
    """What is wrong with a file of counts: where, what, and the mend."""


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Requests by step. `values` is NaN where a step was not seen."""

    start_s: float  # of the first step, since 1970
    step_s: float
    values: Floats
    counter: bool = False  # the file held a counter, and these are its differences
    resets: int = 0

    @property
    def missing(self) -> int:
        """Steps that were not seen."""
        return int(np.isnan(self.values).sum())

    def by(self, step_s: float) -> Counts:
        """The same by longer steps, aligned to multiples of them.

        A step of which half or more was seen is told from that. ValueError when the step is no multiple of ours.
        """
        ratio = round(step_s / self.step_s)
        if ratio < 1 or abs(ratio * self.step_s - step_s) > 1e-6 * step_s:
            raise ValueError(f"rows are {self.step_s:g} s apart")
        if ratio == 1:
            return self
        lead = round((self.start_s % step_s) / self.step_s)
        tail = -(lead + len(self.values)) % ratio
        padded = np.concatenate([np.full(lead, np.nan), self.values, np.full(tail, np.nan)]).reshape(-1, ratio)
        seen = np.isfinite(padded).sum(axis=1)
        total = np.nansum(padded, axis=1) / np.maximum(seen, 1) * ratio
        values = np.where(seen * 2 >= ratio, total, np.nan)
        return Counts(self.start_s - lead * self.step_s, step_s, values, self.counter, self.resets)


def read_counts(path: Path, *, counter: bool | None = None, negative: bool = False) -> Counts:
    """Read a file. `counter` says whether it holds a counter; None finds out. CountsError for what cannot be read.

    `negative`: values are any numbers, where what is read is no count.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(_rows(path, file, negative))
    except OSError as error:
        raise CountsError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CountsError(f"{path}: is not UTF-8 text; save it as CSV in UTF-8") from error
    if len(rows) < 2:
        raise CountsError(f"{path}: has {len(rows)} rows of counts; two are the least that tell a step")
    times = np.array([time for time, _ in rows])
    step_s = float(np.median(np.diff(times)))
    # A row may come late by a little; half a step late, it would be taken for the next one.
    place = np.round((times - times[0]) / step_s).astype(np.int64)
    if place[-1] >= MOST_STEPS:
        raise CountsError(f"{path}: covers {place[-1]} steps of {step_s:g} s; the most is {MOST_STEPS}: cut it")
    clash = np.flatnonzero(np.diff(place) == 0)
    values = np.full(place[-1] + 1, np.nan)
    read = np.array([value for _, value in rows])
    if counter or (counter is None and _is_counter(read)):
        return _differences(Counts(float(times[0]), step_s, values, counter=True), place, read)
    values[place] = read
    for i in clash.tolist():  # two rows within one step: both were counted
        values[place[i]] = np.nansum(read[place == place[i]])
    return Counts(float(times[0]), step_s, values)


def _rows(path: Path, file: Iterator[str], negative: bool) -> Iterator[tuple[float, float]]:
    reader = csv.DictReader(file)
    missing = [name for name in ("timestamp", "value") if name not in (reader.fieldnames or ())]
    if missing:
        raise CountsError(f"{path}:1: no column {' and '.join(missing)}; the first line must be timestamp,value")
    before = -math.inf
    try:
        for row in reader:
            where = f"{path}:{reader.line_num}"
            time = _time(where, row["timestamp"] or "")
            if time <= before:
                raise CountsError(
                    f"{where}: {row['timestamp']} is not after the row before; sort the rows, and write local times "
                    "with their offset (+02:00) where the clock was put back"
                )
            before = time
            yield time, _value(where, row["value"] or "", negative)
    except csv.Error as error:
        raise CountsError(f"{path}:{reader.line_num}: {error}; save it as plain CSV") from error


def _time(where: str, text: str) -> float:
    """Seconds since 1970. A time without an offset is taken as UTC."""
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        if not 0 <= number < 1e14:
            raise CountsError(f"{where}: {text} is no time; write seconds or milliseconds since 1970")
        return number / 1000 if number >= _MILLISECONDS_FROM else number
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise CountsError(
            f"{where}: {text!r} is no time; write 2026-03-29T02:00:00+01:00 or seconds since 1970"
        ) from error
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _value(where: str, text: str, negative: bool) -> float:
    if text.strip().lower() in ("", "nan", "null", "none"):
        return math.nan
    try:
        value = float(text)
    except ValueError as error:
        raise CountsError(f"{where}: {text!r} is no count; write a number, or nothing where it is not known") from error
    if negative and math.isfinite(value):
        return value
    if not 0 <= value < math.inf:
        raise CountsError(f"{where}: {text} is no count; counts are 0 or more, and nothing where it is not known")
    return value


def _is_counter(values: Floats) -> bool:
    """Whether it only rises but for a few falls to near nothing, and rises far beyond what it rises by in a step."""
    values = values[np.isfinite(values)]
    if len(values) < _COUNTER_ROWS:
        return False
    moves = np.diff(values)
    falls = np.flatnonzero(moves < 0)
    to_nothing = bool((values[falls + 1] < 0.1 * values[falls]).all())
    return bool(
        to_nothing
        and len(falls) <= _RESETS_SHARE * len(moves)
        and values.max() > _COUNTER_ROWS / 2 * np.median(moves) > 0
    )


def _differences(empty: Counts, place: NDArray[np.int64], read: Floats) -> Counts:
    """What a counter counted in each step; over a gap nobody knows when it was counted, so it is missing."""
    known = np.isfinite(read)
    place, read = place[known], read[known]
    moves, steps = np.diff(read), np.diff(place)
    reset = moves < 0
    moves = np.where(reset, read[1:], moves)
    empty.values[place[1:][steps == 1]] = moves[steps == 1]
    # The first row has nothing before it.
    values = empty.values[1:]
    return Counts(empty.start_s + empty.step_s, empty.step_s, values, counter=True, resets=int(reset.sum()))
