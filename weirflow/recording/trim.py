"""Keeps closed parts, of this run and of older ones, within a number of bytes.

Telemetry goes first, oldest run and oldest part first: it is nearly all of the bytes. Only when no telemetry is left
but the newest part's do whole parts go, decisions with them: what was decided and why outlives what it was decided
from. What is to be deleted is said in `recording.json` first, so that a reader can tell it from what was lost. Nothing
but our own files is ever deleted, and a folder only when that leaves it empty.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weirflow.files import write_whole
from weirflow.recording.closed import read_document
from weirflow.recording.errors import RecordingError
from weirflow.recording.part import HEADER, Landed, file_name, manifest_name, seal
from weirflow.recording.schema import STREAMS, TELEMETRY

_FILE = re.compile(r"([a-z_]+)-(\d{5,9})\.(?:parquet|json)")


@dataclass(slots=True)
class Shelf:
    """One run's closed parts, oldest first."""

    folder: Path
    parts_from: int = 1  # the first part that is there
    telemetry_from: int = 1  # the first part that still has its telemetry
    parts: list[Landed] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """What its parts weigh, without what was deleted."""
        return sum(p.other_bytes + (p.telemetry_bytes if p.number >= self.telemetry_from else 0) for p in self.parts)

    def announce(self) -> None:
        """Say in the run's `recording.json` what is there no more. OSError or RecordingError when it refuses."""
        header = read_document(self.folder / HEADER, "recording")
        content = {**header, "parts_from": self.parts_from, "telemetry_from": self.telemetry_from}
        write_whole(self.folder / HEADER, [seal(content)])


class Kept:
    """What is kept of this run, the last of the shelves, and of those before it."""

    def __init__(self, keep_bytes: int | None, folder: Path, older: Sequence[Path]) -> None:
        self.own = Shelf(folder)
        self._keep_bytes = keep_bytes
        self._older = list(older)
        self._shelves: list[Shelf] | None = None  # looked for when first needed, in the recorder's thread

    def landed(self, part: Landed) -> None:
        """Count a part that has just closed, and delete what is too much; never the newest part.

        OSError or RecordingError when this run's deletions cannot be announced; nothing of it is deleted then. An
        older run that cannot be changed is left as it is.
        """
        self.own.parts.append(part)
        if self._keep_bytes is None:
            return
        if self._shelves is None:
            self._shelves = [*(s for f in self._older if (s := _look(f)) is not None), self.own]
        excess = sum(s.bytes for s in self._shelves) - self._keep_bytes
        doomed: dict[Path, list[str]] = {}
        for take in (_take_telemetry, _take_rest):
            for shelf in self._shelves:
                for old in [p for p in shelf.parts if p is not part]:
                    if excess > 0:
                        excess -= take(shelf, old, doomed.setdefault(shelf.folder, []))
        for shelf in self._shelves:
            try:
                if doomed.get(shelf.folder):
                    _delete(shelf, doomed[shelf.folder])
            except (OSError, RecordingError):
                if shelf is self.own:
                    raise
        self._shelves = [s for s in self._shelves if s.parts or s is self.own]


def _take_telemetry(shelf: Shelf, part: Landed, doomed: list[str]) -> int:
    """Doom a part's telemetry; returns the bytes that this frees."""
    if part.number < shelf.telemetry_from:
        return 0
    doomed += [file_name(stream, part.number) for stream in TELEMETRY]
    shelf.telemetry_from = part.number + 1
    return part.telemetry_bytes


def _take_rest(shelf: Shelf, part: Landed, doomed: list[str]) -> int:
    """Doom what is left of a part, whose telemetry is gone; returns the bytes that this frees."""
    # The manifest first: a part without one is no part.
    doomed += [manifest_name(part.number), *(file_name(s, part.number) for s in STREAMS if s not in TELEMETRY)]
    shelf.parts_from = part.number + 1
    shelf.parts.remove(part)
    return part.other_bytes


def _delete(shelf: Shelf, names: list[str]) -> None:
    """Announce, then delete; a run of which nothing is left goes with its header and its folder."""
    shelf.announce()
    if not shelf.parts:
        names = [*names, HEADER]
    for name in names:
        with contextlib.suppress(OSError):
            (shelf.folder / name).unlink()
    if not shelf.parts:
        with contextlib.suppress(OSError):
            shelf.folder.rmdir()


def _look(folder: Path) -> Shelf | None:
    """An older run's closed parts, by the names and sizes of its files; None for what is no recording that we know."""
    telemetry: dict[int, int] = {}
    other: dict[int, int] = {}
    closed = set()
    try:
        header = read_document(folder / HEADER, "recording")
        for entry in os.scandir(folder):
            found = _FILE.fullmatch(entry.name)
            if found is None or not entry.is_file(follow_symlinks=False):
                continue
            stream, number = found[1], int(found[2])
            if stream == "part":
                closed.add(number)
            size = telemetry if stream in TELEMETRY else other
            size[number] = size.get(number, 0) + entry.stat(follow_symlinks=False).st_size
        parts = [Landed(n, telemetry.get(n, 0), other.get(n, 0)) for n in sorted(closed)]
        return Shelf(folder, int(header.get("parts_from", 1)), int(header.get("telemetry_from", 1)), parts)
    except (OSError, RecordingError, TypeError, ValueError):
        return None
