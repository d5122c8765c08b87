"""Keeps a recording's closed parts within a number of bytes.

Telemetry goes first, oldest part first: it is nearly all of the bytes. Only when no telemetry is left but the newest
part's do whole parts go, decisions with them: what was decided and why outlives what it was decided from. What is to be
deleted is said in `recording.json` first, so that a reader can tell it from what was lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from weirflow.recording.part import Landed, file_name, manifest_name
from weirflow.recording.schema import STREAMS, TELEMETRY


@dataclass(slots=True)
class Kept:
    """What is still there of the closed parts."""

    keep_bytes: int | None
    parts_from: int = 1  # the first part that is there
    telemetry_from: int = 1  # the first part that still has its telemetry
    bytes: int = 0
    parts: list[Landed] = field(default_factory=list)

    def landed(self, part: Landed, folder: Path, announce: Callable[[], None]) -> None:
        """Count a part that has just closed, and delete what is too much; `announce` writes `recording.json`.

        The newest part is never touched. OSError when the announcement cannot be written; nothing is deleted then.
        """
        self.parts.append(part)
        self.bytes += part.telemetry_bytes + part.other_bytes
        if self.keep_bytes is None or self.bytes <= self.keep_bytes:
            return
        doomed = self._choose(self.keep_bytes)
        announce()
        for name in doomed:
            with contextlib.suppress(OSError):
                (folder / name).unlink()

    def _choose(self, keep_bytes: int) -> list[str]:
        """Names of the files to delete; this object is already as it will be without them."""
        doomed: list[str] = []
        for part in self.parts[:-1]:
            if self.bytes <= keep_bytes:
                return doomed
            if part.number >= self.telemetry_from:
                doomed += [file_name(stream, part.number) for stream in TELEMETRY]
                self.bytes -= part.telemetry_bytes
                self.telemetry_from = part.number + 1
        while self.bytes > keep_bytes and len(self.parts) > 1:
            part = self.parts.pop(0)
            # The manifest first: a part without one is no part.
            doomed += [manifest_name(part.number)]
            doomed += [file_name(stream, part.number) for stream in STREAMS if stream not in TELEMETRY]
            self.bytes -= part.other_bytes
            self.parts_from = part.number + 1
        return doomed
