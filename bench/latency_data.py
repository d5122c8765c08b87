"""Requests to be predicted, as columns by start: from CSV files, every mistake with its file and line."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.result import CannotRunError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NUMBERS = ("start", "duration")
NAMES = ("endpoint", "service", "class")
FEWEST = 100


@dataclass(frozen=True, slots=True, eq=False)
class Calls:
    """Requests as columns, by start. Endpoints, services and classes are numbered as they come."""

    name: str
    start_s: Floats
    took_s: Floats
    endpoint: Ints
    service: Ints
    klass: Ints

    def __len__(self) -> int:
        """How many there are."""
        return len(self.start_s)

    @property
    def ids(self) -> dict[str, Ints]:
        """The columns that `LatencyQuantiles` knows a request by."""
        return {"service": self.service, "endpoint": self.endpoint, "class": self.klass}

    @property
    def streams(self) -> set[tuple[int, ...]]:
        """The keys that there are: service, endpoint and class."""
        return set(zip(*(column.tolist() for column in self.ids.values()), strict=True))

    def take(self, rows: slice) -> Calls:
        """Some of them."""
        columns = (self.start_s, self.took_s, self.endpoint, self.service, self.klass)
        return Calls(self.name, *(column[rows] for column in columns))


def by_start(name: str, start: Floats, took: Floats, endpoint: Ints, service: Ints, klass: Ints) -> Calls:
    """The same requests in the order of their starts; those of one moment as they were."""
    order = np.argsort(start, kind="stable")
    return Calls(name, *(column[order] for column in (start, took, endpoint, service, klass)))


def read_folder(folder: Path) -> list[Calls]:
    """Every `*.csv` of a folder, by name. CannotRunError when there is none or one has a mistake."""
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise CannotRunError(f"{folder}: no *.csv there; give a folder of files with columns {_wanted()}")
    return [read(path) for path in paths]


def read(path: Path) -> Calls:
    """One file: start and duration in seconds; endpoint, service and class any text; further columns are ignored."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        header = [name.strip() for name in next(rows, [])]
        missing = [name for name in (*NUMBERS, *NAMES) if name not in header]
        if missing:
            raise CannotRunError(f"{path}:1: no column {', '.join(missing)}; wanted are {_wanted()}")
        place = {name: header.index(name) for name in (*NUMBERS, *NAMES)}
        numbers: dict[str, list[float]] = {name: [] for name in NUMBERS}
        names: dict[str, list[int]] = {name: [] for name in NAMES}
        known: dict[str, dict[str, int]] = {name: {} for name in NAMES}
        for row in rows:
            if not row:
                continue
            where = f"{path}:{rows.line_num}"
            if len(row) != len(header):
                raise CannotRunError(f"{where}: {len(row)} fields where the header names {len(header)}")
            for name in NUMBERS:
                numbers[name].append(_number(row[place[name]], name, where))
            if numbers["duration"][-1] < 0:
                raise CannotRunError(f"{where}: a duration below 0: {row[place['duration']]}; drop the row")
            for name in NAMES:
                names[name].append(known[name].setdefault(row[place[name]].strip(), len(known[name])))
    if len(numbers["start"]) < FEWEST:
        raise CannotRunError(f"{path}: {len(numbers['start'])} rows; a score of the last half needs {FEWEST} or more")
    columns = [np.array(numbers[name]) for name in NUMBERS] + [np.array(names[name], dtype=np.int64) for name in NAMES]
    return by_start(path.stem, *columns)


def _wanted() -> str:
    return ", ".join((*NUMBERS, *NAMES))


def _number(text: str, name: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise CannotRunError(f"{where}: {name} is no number of seconds: {text!r}")
    return value
