"""Reads days of a mesh with faults injected into it, in the layout of Nezha's Online Boutique (FSE 2023).

A day is the files `<prefix>_<day>_<what>`: `pod_metrics_1min.csv.gz`, `source_50_1min.csv.gz` and
`destination_50_1min.csv.gz` (the median latency of each edge, as the caller's and as the callee's proxy sees it),
`front_service_1min.csv.gz` and `faults.csv`; `dependency.csv` names who calls whom. The clocks of the files are some
seconds apart, so rows are put together by the nearest minute; what is missing is NaN.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.result import CannotRunError
from models.streams import Kind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

STEP_S = 60.0
CALM_AFTER_S = 900.0
"""After the last fault, from when on the rest of the day is played first."""

_POD = {f"PodServerLatencyP{q}(s)": Kind.SERVED for q in (90, 95, 99)}
_POD |= {f"PodClientLatencyP{q}(s)": Kind.ASKED for q in (90, 95, 99)}
_POD |= {"PodWorkload(Ops)": Kind.RATE}  # PodSuccessRate(%) is 0 throughout: not measured
_HOST = {"CpuUsage(m)": Kind.WORK, "NetworkReceiveBytes": Kind.WORK, "NetworkTransmitBytes": Kind.WORK}
_FRONT = {f"LatencyP{q}(s)": Kind.SERVED for q in (50, 90, 95, 99)} | {"SuccessRate(%)": Kind.FAILS}
_EDGES = {"source_50": Kind.CALLED, "destination_50": Kind.ANSWERED}


@dataclass(frozen=True, slots=True)
class Fault:
    """What was broken, where and when."""

    at_s: float
    service: int
    kind: str


@dataclass(frozen=True, slots=True, eq=False)
class Day:
    """A day of streams, a column each, in the order in which it is played."""

    name: str
    services: tuple[str, ...]
    time_s: Floats  # (t,)
    values: Floats  # (t, n); NaN for unknown
    owner: Ints  # (n,) the service that a stream speaks of
    kind: Ints  # (n,) of `Kind`
    caller: Ints  # (n,) of an edge's stream; -1 else
    calls: Ints  # (e, 2) caller and callee
    faults: tuple[Fault, ...]

    @property
    def requests(self) -> Floats:
        """To each service, by row. Shape (t, services)."""
        out = np.full((self.time_s.size, len(self.services)), np.nan)
        rate = np.flatnonzero(self.kind == Kind.RATE)
        out[:, self.owner[rate]] = self.values[:, rate] * STEP_S
        return out

    def began(self, fault: Fault) -> int:
        """The first row that is of the time after the injection."""
        after = np.where(self.time_s >= fault.at_s, self.time_s, np.inf)
        return int(np.argmin(after))


def read_folder(folder: Path, host: bool = False) -> list[Day]:
    """Every day there, by name. `host`: with CPU and network too, which a mesh does not see."""
    found = sorted(folder.glob("*_faults.csv"))
    if not found:
        raise CannotRunError(f"{folder}: no <prefix>_<day>_faults.csv there")
    return [_day(folder, path.name.removesuffix("_faults.csv"), host) for path in found]


def _day(folder: Path, name: str, host: bool) -> Day:
    columns: dict[tuple[str, str, Kind, str], dict[int, float]] = {}  # owner, what, kind, caller: value by minute
    first_s = float(next(_rows(folder, f"{name}_front_service_1min.csv.gz"))["TimeStamp"])
    wanted = _POD | (_HOST if host else {})
    for row in _rows(folder, f"{name}_pod_metrics_1min.csv.gz"):
        owner = row["PodName"].rsplit("-", 2)[0]
        for what, kind in wanted.items():
            columns.setdefault((owner, what, kind, ""), {})[_minute(row["TimeStamp"], first_s)] = _number(row[what])
    for part, kind in _EDGES.items():
        for row in _rows(folder, f"{name}_{part}_1min.csv.gz"):
            for edge, value in row.items():
                if edge != "timestamp":
                    caller, _, owner = edge.partition("_")
                    columns.setdefault((owner, part, kind, caller), {})[_minute(row["timestamp"], first_s)] = _number(
                        value
                    )
    for row in _rows(folder, f"{name}_front_service_1min.csv.gz"):
        for what, kind in _FRONT.items():
            key = (row["ServiceName"].lower(), f"front {what}", kind, "")
            columns.setdefault(key, {})[_minute(row["TimeStamp"], first_s)] = _number(row[what])
    services = tuple(sorted({key[0] for key in columns} | {key[3] for key in columns if key[3]}))
    place = {s: i for i, s in enumerate(services)}
    minutes = sorted({m for column in columns.values() for m in column})
    faults = tuple(_faults(folder / f"{name}_faults.csv", place))
    last = max((f.at_s for f in faults), default=-np.inf) + CALM_AFTER_S
    minutes.sort(key=lambda m: (first_s + m * STEP_S <= last, m))
    values = np.array([[column.get(m, np.nan) for column in columns.values()] for m in minutes])
    for i, key in enumerate(columns):
        if key[2] == Kind.FAILS:
            values[:, i] = 1.0 - values[:, i] / 100.0
    moves = np.nanmax(values, axis=0) > np.nanmin(values, axis=0)  # what never moves tells nothing
    keys = [key for key, some in zip(columns, moves, strict=True) if some]
    return Day(
        name,
        services,
        first_s + np.array(minutes) * STEP_S,
        values[:, moves],
        np.array([place[key[0]] for key in keys]),
        np.array([key[2] for key in keys]),
        np.array([place.get(key[3], -1) for key in keys]),
        _calls(folder, place),
        faults,
    )


def _minute(text: str, first_s: float) -> int:
    return round((float(text) - first_s) / STEP_S)


def _number(text: str) -> float:
    return float(text) if text else np.nan


def _rows(folder: Path, name: str) -> Iterator[dict[str, str]]:
    path = folder / name
    if not path.exists():
        raise CannotRunError(f"{path}: not there")
    with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _faults(path: Path, place: dict[str, int]) -> Iterator[Fault]:
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            service = row["inject_pod"].rsplit("-", 2)[0]
            if service not in place:
                raise CannotRunError(f"{path}: a fault in {service}, of which nothing was recorded")
            yield Fault(float(row["inject_timestamp"]), place[service], row["inject_type"])


def _calls(folder: Path, place: dict[str, int]) -> Ints:
    path = folder / "dependency.csv"
    if not path.exists():
        return np.zeros((0, 2), dtype=np.int64)
    with path.open(newline="", encoding="utf-8") as file:
        pairs = [(row["Source"], row["Target"]) for row in csv.DictReader(file)]
    known = [(place[a], place[b]) for a, b in pairs if a in place and b in place]
    return np.array(known, dtype=np.int64).reshape(-1, 2)
