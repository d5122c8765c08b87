"""How far a long pass over a recording is, for whoever waits at a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from weirflow.commands.output import console


@contextlib.contextmanager
def progress(what: str, started: float, ended: float) -> Iterator[Callable[[float], None]]:
    """Shows it, on a terminal alone; what is yielded is told the recording's time of each call."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    err = console(stderr=True)
    columns = TextColumn(what), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(what, total=max(ended - started, 1e-9))
        yield lambda now: bar.update(task, completed=now - started)
