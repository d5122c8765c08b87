"""Reads a folder in the layout of the Numenta Anomaly Benchmark: data/*/*.csv and labels/combined_windows.json.

Files that are labelled and not there are left out: a part of the corpus is a corpus. Rows are taken as they stand, as
the benchmark does: a gap in time is no row.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from bench.nab_score import PROFILES, Floats, Profile
from bench.result import CannotRunError

EVEN = 0.9
"""A season is looked for where so many of the rows are one step apart."""


@dataclass(frozen=True, slots=True, eq=False)
class File:
    """One file: its values by row, and its windows by first and last row."""

    name: str
    values: Floats
    windows: list[tuple[int, int]]
    steps_per_day: int | None


def read(folder: Path) -> list[File]:
    """Every file of a folder, by name. CannotRunError when it is no such folder."""
    try:
        labels = json.loads((folder / "labels" / "combined_windows.json").read_text())
        paths = sorted((folder / "data").glob("*/*.csv"))
        files = [_file(path, f"{path.parent.name}/{path.name}", labels) for path in paths]
    except (OSError, ValueError, KeyError) as error:
        raise CannotRunError(f"{folder}: is no folder of the benchmark's layout: {error}") from error
    if not files:
        raise CannotRunError(f"{folder}: has no data/*/*.csv")
    return files


def profiles(folder: Path) -> dict[str, Profile]:
    """The folder's own profiles; the benchmark's where it names none."""
    try:
        told = json.loads((folder / "config" / "profiles.json").read_text())
        costs = {name: profile["CostMatrix"] for name, profile in told.items()}
        return {name: Profile(c["tpWeight"], c["fnWeight"], c["fpWeight"]) for name, c in costs.items()}
    except FileNotFoundError:
        return PROFILES
    except (OSError, ValueError, KeyError) as error:
        raise CannotRunError(f"{folder}: its profiles cannot be read: {error}") from error


def _file(path: Path, name: str, labels: dict[str, list[list[str]]]) -> File:
    with path.open(newline="") as file:
        rows = [(datetime.fromisoformat(row["timestamp"]), float(row["value"])) for row in csv.DictReader(file)]
    place: dict[datetime, int] = {}
    for i, (at, _) in enumerate(rows):
        place.setdefault(at, i)
    windows = [(place[datetime.fromisoformat(a)], place[datetime.fromisoformat(b)]) for a, b in labels.get(name, [])]
    apart = np.diff([at.replace(tzinfo=UTC).timestamp() for at, _ in rows])
    step_s = float(np.median(apart))
    even = step_s > 0 and float(np.mean(np.abs(apart - step_s) < 0.01 * step_s)) >= EVEN
    return File(name, np.array([value for _, value in rows]), sorted(windows), round(86400 / step_s) if even else None)
