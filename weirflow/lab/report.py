"""The cases as files: one JSON document with every figure, those of each run included, or one page with plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from weirflow.lab.analysis import Case, Row
from weirflow.lab.page import page
from weirflow.lab.run import BOUNDS

FORMAT = 1


def write_json(cases: Sequence[Case], file: Path) -> None:
    """Write the document. OSError as the file system says."""
    file.write_text(json.dumps(document(cases), indent=1, allow_nan=False) + "\n")


def write_html(cases: Sequence[Case], file: Path) -> None:
    """Write the page. OSError as the file system says."""
    file.write_text(page(cases), encoding="utf-8")


def document(cases: Sequence[Case]) -> dict[str, Any]:
    """Everything, as JSON has it: seconds, requests a second, shares; null for what could not be told."""
    return {"format": FORMAT, "cases": [_case(c) for c in cases]}


def _case(case: Case) -> dict[str, Any]:
    example = case.example
    return {
        "scenario": _plain(case.scenario),
        "engine": case.engine,
        "nodes": case.nodes,
        "seeds": list(case.seeds),
        "endpoints": list(example.fleet.names),
        "true_share": _plain(case.true_share),
        "rows": [_row(r) for r in case.rows],
        "weights": _plain(example.weights) if example.weights else None,
        "weights_of": {"policy": example.policy, "seed": example.seed} if example.weights else None,
        "refused": [
            {"policy": r.policy, "seed": r.seed, "place": r.place, "why": r.refused, "overhead": _plain(r.overhead)}
            for r in case.refused
        ],
    }


def _row(row: Row) -> dict[str, Any]:
    return {"bound": row.policy in BOUNDS, **_plain(row)}


def _plain(value: Any) -> Any:
    """Dataclasses, arrays and numbers as JSON has them; what is not finite is null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {key: _plain(v) for key, v in asdict(value).items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.9g}") if isfinite(value) else None
    return value
