"""Reads series of request counts: CSV files of `timestamp,value`, and archives of one number a second (`.tbz2`)."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.result import CannotRunError
from weirflow.config.units import format_duration
from weirflow.counts import Counts, CountsError, read_counts


def read(paths: Sequence[Path], steps_s: Sequence[float]) -> dict[str, Counts]:
    """Every series by name; an archive once for each step. CannotRunError when a file cannot be read."""
    out: dict[str, Counts] = {}
    for path in paths:
        if path.name.endswith((".tbz2", ".tar.bz2")):
            whole = _seconds(path)
            out |= {f"{path.name.split('.')[0]} {format_duration(s)}": whole.by(s) for s in steps_s}
            continue
        try:
            out[path.stem] = read_counts(path, counter=False)
        except CountsError as error:
            raise CannotRunError(str(error)) from error
    return out


def _seconds(path: Path) -> Counts:
    try:
        with tarfile.open(path) as archive:
            member = next(m for m in archive if m.isfile())
            inner = archive.extractfile(member)
            words = inner.read().split() if inner else []
        return Counts(0.0, 1.0, np.array(words, dtype=np.float64))
    except (OSError, tarfile.TarError, StopIteration, ValueError) as error:
        raise CannotRunError(f"{path}: is no archive of one file of counts a second: {error}") from error
