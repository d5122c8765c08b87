"""Reads PetShop (Hardt et al., CLeaR 2024): issues made in a shop of microservices, each with its root cause.

`<scenario>_noissue_metrics_5min.csv.gz` is two days without an issue, months from those with one;
`<split>/<scenario>/<issue>/metrics.csv` holds five rows around an issue, `target.json` whose trouble was seen, when,
and what caused it. Columns have three header rows: node, metric, statistic. One that the base lacks is left out. A
row's time is the start of its five minutes: the issue begins within the row that its time falls into.
"""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.result import CannotRunError
from models.streams import Kind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Column = tuple[str, str, str]

_KINDS = {"latency": Kind.SERVED, "requests": Kind.RATE, "availability": Kind.FAILS}
_HEAD = 4  # rows before the first one of numbers


@dataclass(frozen=True, slots=True, eq=False)
class Issue:
    """One issue, played after the days without any."""

    name: str
    scenario: str
    kind: str  # the metric whose trouble was seen
    nodes: tuple[str, ...]
    values: Floats  # (t, n)
    base: int  # how many rows of `values` come before the issue's own file
    began: int  # the first row of the trouble
    owner: Ints  # (n,) into `nodes`
    streams: Ints  # (n,) of `Kind`
    seen_at: int  # the node whose trouble was seen; -1 when nothing is recorded of it
    cause: str


def read_folder(folder: Path) -> list[Issue]:
    """Every issue below, by path."""
    targets = sorted(folder.glob("*/*/*/target.json"))
    if not targets:
        raise CannotRunError(f"{folder}: no <split>/<scenario>/<issue>/target.json there")
    bases: dict[str, tuple[list[Column], Floats, Floats]] = {}
    out = []
    for path in targets:
        scenario = path.parent.parent.name
        if scenario not in bases:
            bases[scenario] = _table(folder / f"{scenario}_noissue_metrics_5min.csv.gz")
        out.append(_issue(path, scenario, bases[scenario]))
    return out


def _issue(path: Path, scenario: str, base: tuple[list[Column], Floats, Floats]) -> Issue:
    target = json.loads(path.read_text(encoding="utf-8"))
    columns, time_s, values = _table(path.parent / "metrics.csv")
    place = {column: i for i, column in enumerate(base[0])}
    shared = [column for column in columns if column in place and column[1] in _KINDS]
    mine = values[:, [columns.index(column) for column in shared]]
    before = base[2][:, [place[column] for column in shared]]
    nodes = tuple(sorted({column[0] for column in shared}))
    streams = np.array([int(_KINDS[column[1]]) for column in shared])
    whole = np.concatenate([before, mine])
    whole[:, streams == Kind.FAILS] = 1.0 - whole[:, streams == Kind.FAILS] / 100.0
    began = int(np.searchsorted(time_s, float(target["target"]["timestamp"]), side="right")) - 1
    seen = target["target"]["node"]
    return Issue(
        f"{scenario}/{path.parent.name}",
        scenario,
        target["target"]["metric"],
        nodes,
        whole,
        len(before),
        len(before) + max(began, 0),
        np.array([nodes.index(column[0]) for column in shared]),
        streams,
        nodes.index(seen) if seen in nodes else -1,
        target["root_cause"]["node"],
    )


def _table(path: Path) -> tuple[list[Column], Floats, Floats]:
    """Columns, times and values of a file."""
    if not path.exists():
        raise CannotRunError(f"{path}: not there")
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
    rows = list(csv.reader(text.splitlines()))
    names, metrics, statistics = (row[1:] for row in rows[: _HEAD - 1])
    numbers = np.array([[float(x) if x else np.nan for x in row] for row in rows[_HEAD:] if row])
    return list(zip(names, metrics, statistics, strict=True)), numbers[:, 0], numbers[:, 1:]
