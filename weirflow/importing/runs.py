"""Rows in the order of their ends, however many there are: sorted runs on the disk, merged block by block.

Memory holds one run while it is gathered (`RUN` rows) and, while merging, blocks of all runs that are together no more
than that. Disk holds every row once, in a folder that goes when the work is done. An import that fits in one run never
touches the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from weirflow.importing.attempts import ROW, Rows
from weirflow.importing.hashes import Hashes, mixed

RUN = 1 << 18  # rows of some 80 bytes
LEAST_BLOCK = 256
SAME = ("request", "started", "duration", "endpoint", "service", "node", "status", "outcome", "bytes_in", "bytes_out")


class Runs:
    """Takes rows in any order (`add`), gives them back sorted (`merged`). OSError when the disk refuses."""

    def __init__(self, folder: Path, size: int = RUN) -> None:
        """`folder`: an existing one, for the runs alone; the caller removes it."""
        self.rows = 0
        self._folder, self._size = folder, size
        self._held: list[Rows] = []
        self._waiting = 0
        self._files: list[Path] = []

    def add(self, rows: Rows) -> None:
        """Take rows."""
        self.rows += len(rows)
        self._held.append(rows)
        self._waiting += len(rows)
        if self._waiting >= self._size:
            self._spill()

    def merged(self) -> Iterator[Rows]:
        """All rows by their end, in blocks. Rows of one moment are never in two blocks."""
        if not self._files:
            yield _sorted(self._held)
            return
        if self._waiting:
            self._spill()
        block = max(LEAST_BLOCK, self._size // len(self._files))
        runs = [_Run(file, block) for file in self._files]
        while ends := [end for run in runs if (end := run.known_to()) is not None]:
            # Up to the least of the ends of what is held of each run, everything is known.
            yield _sorted([rows for run in runs if len(rows := run.upto(min(ends)))])

    def _spill(self) -> None:
        file = self._folder / f"run-{len(self._files):06d}"
        _sorted(self._held).tofile(file)
        self._files.append(file)
        self._held, self._waiting = [], 0


class _Run:
    """A sorted run on the disk, read block by block. Not mapped: what is mapped counts as memory, and grows with it."""

    def __init__(self, file: Path, block: int) -> None:
        self._file, self._block = file, block
        self._at, self._rows = 0, file.stat().st_size // ROW.itemsize
        self._held: Rows = np.empty(0, ROW)

    def known_to(self) -> float | None:
        """The end of the last row that is held, None when the run is at its end."""
        if not len(self._held):
            self._read()
        return float(self._held["ended"][-1]) if len(self._held) else None

    def upto(self, cut: float) -> Rows:
        """Take the rows that end by then, all of them."""
        while len(self._held) and self._held["ended"][-1] <= cut and self._at < self._rows:
            self._read()
        many = int(np.searchsorted(self._held["ended"], cut, side="right"))
        taken, self._held = self._held[:many], self._held[many:]
        return taken

    def _read(self) -> None:
        more = np.fromfile(self._file, ROW, self._block, offset=self._at * ROW.itemsize)
        self._at += len(more)
        self._held = np.concatenate([self._held, more]) if len(self._held) else more


def _sorted(pieces: list[Rows]) -> Rows:
    """By end; rows of one moment by what is in them, so that their order does not hang on how they came."""
    if not pieces:
        return np.empty(0, ROW)
    rows = np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
    return rows[np.lexsort((fingerprints(rows), rows["ended"]))]


def fingerprints(rows: Rows) -> Hashes:
    """A hash of what makes a row the same as another. Shape (n,)."""
    return mixed([rows[name] for name in SAME])
