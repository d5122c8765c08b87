"""The front door of Weirflow, and the only name to import from outside.

Processes, files, ports and people are met here; the decisions are made in `brain`, which this package drives.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from weirflow.opened import Opened

__version__ = "0.1.0"


def open(path: str | Path, *, damaged: Literal["raise", "skip"] = "raise") -> Opened:  # noqa: A001  as `gzip.open`
    """Open a recording, or a checkpoint, as pandas frames and plots.

    `path`: a recording's folder (or a folder of them: then its newest), or the file of a checkpoint. `damaged`: what is
    done about a part of a recording that cannot be read: `raise`, or `skip` and name it in `Opened.faults`.

    RecordingError, naming the file and the reason, for what is neither. ImportError, naming what to install, without
    pandas.

    >>> seen = weirflow.open("weirflow-data/recordings")  # doctest: +SKIP
    >>> seen.attempts.groupby("endpoint", observed=True).duration_s.quantile(0.99)  # doctest: +SKIP
    >>> seen.plot.latency("orders")  # doctest: +SKIP
    """
    from weirflow.opened import opened  # imported when asked for: `import weirflow` needs no pandas and stays fast

    return opened(Path(path), skip=damaged == "skip")
