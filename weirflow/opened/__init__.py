"""What `weirflow.open` gives: a recording or a checkpoint as pandas frames, a row each of what was seen or decided.

    seen = weirflow.open("weirflow-data/recordings")
    seen.service("orders").between("2026-11-27 09:00", "2026-11-27 09:10").endpoints
    seen.plot.weights("orders")

A frame is read when it is first asked for, and kept; a window or a service reads the parts and the rows of its own and
no others. Needs the extra `notebooks`, which nothing else of Weirflow does.
"""

from __future__ import annotations

from pathlib import Path

try:
    import pandas as pd  # noqa: F401  here, so that its absence is told before anything is read
except ModuleNotFoundError as error:  # pragma: no cover  tested in a process without it
    raise ImportError(
        f"weirflow.open gives pandas frames, and {error.name} is not installed: pip install 'weirflow[notebooks]'"
    ) from error

from weirflow.opened.frames import Opened
from weirflow.opened.kept import Kept
from weirflow.opened.plots import Plots
from weirflow.recording import RecordingError, newest, read

__all__ = ["Kept", "Opened", "Plots", "opened"]


def opened(path: Path, *, skip: bool = False) -> Opened:
    """A recording's folder, or a checkpoint's file. RecordingError for what is neither."""
    if path.is_dir():
        faults: list[RecordingError] | None = [] if skip else None
        return Opened(read(newest(path)), faults=faults)
    if not path.exists():
        raise RecordingError(str(path), "is not there: name a recording's folder, or the file of a checkpoint")
    return Kept(path)
