"""Turns calls into rows and rows into numbered parts. Runs in the recorder's thread, and only there.

A part closes before the first call after its time or its rows are full. Both are told by the calls, so no clock is
read. Every part says what the names and settings were when it began, so that it can be read without those before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brain.decision import Decision
from brain.settings import Settings
from dataplane.contract import Columns, Topology
from weirflow.files import write_whole
from weirflow.recording import calls
from weirflow.recording.part import HEADER, Part, seal
from weirflow.recording.rows import Rows
from weirflow.recording.schema import FORMAT
from weirflow.recording.tables import Names
from weirflow.recording.trim import Kept


class Scribe:
    """Writes one recording. Methods raise OSError when the disk refuses: `abandon` then, and write no more."""

    def __init__(
        self,
        folder: Path,
        start: calls.Start,
        now: float,
        about: Mapping[str, Any],
        *,
        part_s: float,
        part_rows: int,
        keep_bytes: int | None,
        older: Sequence[Path],
    ) -> None:
        """Begin a recording in a new or empty folder, else FileExistsError. `about` goes into the header."""
        self.kept = Kept(keep_bytes, folder, older)
        self.parts = 0  # closed
        self.attempts = 0  # in closed parts
        self._folder = folder
        self._part_s, self._part_rows = part_s, part_rows
        self._names = Names()
        self._names.learn(start.topology)
        self._context = start  # the settings and the topology as they are now
        self._seq = 0
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FileExistsError(0, "the folder is not empty; every run needs a folder of its own", str(folder))
        header = {"format": FORMAT, **about, "started": now, "parts_from": 1, "telemetry_from": 1}
        write_whole(folder / HEADER, [seal(header)])
        self._begin(now)
        self.write(now, "started", start)

    def write(self, now: float, verb: str, argument: Any, note: Any = None) -> None:
        """Take one call. `note`: who gave a command, or the checkpoint's bytes of what was `restored`."""
        full = now - self._span["from"] >= self._part_s or self._rows.telemetry >= self._part_rows
        if full and self._seq >= self._span["first_call"]:
            self.close()
            self._begin(now)
        self._seq += 1
        self._span |= {"last_call": self._seq, "to": now}
        if isinstance(argument, Topology):
            self._moved(argument)
        elif isinstance(argument, Settings):
            self._context = calls.Start(argument, self._context.topology)
        kind, rows, who, state = type(argument).__name__, 0, note or "", None
        if isinstance(argument, Decision):
            self._rows.decided(self._seq, now, argument)
            rows = 1
        elif isinstance(argument, Columns):
            self._rows.told(self._seq, now, argument)
            rows = len(argument)
        elif verb == "restored":
            kind, who, state = "checkpoint", "", note
        said = calls.plain(argument)
        body = "" if said is None else calls.to_json(said)
        self._rows.happened(self._seq, now, verb, kind, rows, who, body, state)

    def close(self) -> None:
        """Land the open part."""
        self._rows.flush()
        landed = self._part.land(self._span)
        self.parts += 1
        self.attempts += self._rows.attempts
        self.kept.landed(landed)

    def abandon(self) -> None:
        """Remove the open part; the closed ones stay."""
        self._part.abandon()

    def _begin(self, now: float) -> None:
        self._part = Part(self._folder, self.parts + 1)
        self._rows = Rows(self._part, self._names)
        self._span = {"first_call": self._seq + 1, "from": now, "context": calls.plain(self._context)}

    def _moved(self, topology: Topology) -> None:
        if self._names.contradicts(topology):
            self._rows.flush()  # what was told before keeps the names of its time
        self._names.learn(topology)
        self._context = calls.Start(self._context.settings, topology)
