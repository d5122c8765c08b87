"""Fleets, traces and fates as files, for the processes of one run. NumPy's npz, which names each array."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from dataplane.contract import Columns
from dataplane.simulated.fleet import Fate, Fleet, Trace


def write_fleet(fleet: Fleet, file: Path) -> None:
    """Write a fleet."""
    np.savez(file, allow_pickle=False, **{f.name: np.asarray(getattr(fleet, f.name)) for f in fields(fleet)})


def read_fleet(file: Path) -> Fleet:
    """Read a fleet."""
    with np.load(file, allow_pickle=False) as found:
        told: dict[str, Any] = {f.name: found[f.name] for f in fields(Fleet)}
    return Fleet(**told | {name: tuple(told[name].tolist()) for name in ("names", "zones")})


def write_columns(columns: Columns, file: Path) -> None:
    """Write a trace or a fate."""
    np.savez(file, allow_pickle=False, **{name: getattr(columns, name) for name in columns.dtypes()})


def read_trace(file: Path) -> Trace:
    """Read a trace."""
    with np.load(file, allow_pickle=False) as found:
        return Trace.of(**found)


def read_fate(file: Path) -> Fate:
    """Read a fate."""
    with np.load(file, allow_pickle=False) as found:
        return Fate.of(**found)
