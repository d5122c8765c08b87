"""Many recordings in one folder: each run's in a folder of its own below it."""

from __future__ import annotations

from pathlib import Path

from weirflow.recording.errors import RecordingError
from weirflow.recording.part import HEADER


def runs(root: Path) -> list[Path]:
    """The recordings right below a folder, oldest first if they are named by their start. Empty when none."""
    try:
        return sorted(f for f in root.iterdir() if not f.is_symlink() and (f / HEADER).is_file())
    except OSError:
        return []


def newest(folder: Path) -> Path:
    """The folder itself when it is a recording, else the newest right below it; else RecordingError."""
    if (folder / HEADER).exists():
        return folder
    below = runs(folder)
    if not below:
        raise RecordingError(str(folder), "is no recording and holds none")
    return below[-1]
