"""Whether the recording that is being written is whole so far: its parts follow each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from weirflow.checkup.found import Check, failure, not_made, ok

_STOPPED = "how-to.md#the-recording-stopped"


def gaps(folder: Path) -> Iterator[Check]:
    """Reads the manifests of its parts, and no rows, which could take minutes."""
    if not folder.is_dir():
        yield not_made("gaps", f"{folder} cannot be seen from here")
        return
    from weirflow.recording import RecordingError, read

    hint = f"weirflow record inspect {folder}"
    try:
        held = read(folder)
    except RecordingError as error:
        yield failure("gaps", str(error), hint, _STOPPED)
        return
    for fault in held.faults:
        yield failure("gaps", str(fault), hint, _STOPPED)
        return
    for before, after in zip(held.parts, held.parts[1:], strict=False):
        if after.first_call != before.last_call + 1:
            words = f"calls {before.last_call + 1} to {after.first_call - 1} are missing, before part {after.number}"
            yield failure("gaps", words, hint, _STOPPED)
            return
    calls = f"{held.parts[0].first_call} to {held.parts[-1].last_call}" if held.parts else "none"
    yield ok("gaps", f"none in {len(held.parts)} parts (calls {calls}; the open one is not looked at)")
