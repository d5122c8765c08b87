"""How far long work has come: a line on the standard error of a terminal, gone when the work is done, and nothing else
anywhere.

    with progress("reading", total=size) as far:
        far.at(done)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from weirflow.commands.output import complain, console, safe, text

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

PER_SECOND = 4.0
"""Redraws: the work is timed in places, and drawing takes a core from it."""
STEPS = 1000
"""Of the whole; what is told in smaller ones is not drawn."""


class Progress:
    """Told how far it is. Where nobody looks, it is told and that is all."""

    def __init__(self, bar: Bar | None = None, task: TaskID | None = None, total: float | None = None) -> None:
        self._bar, self._task, self._total = bar, task, total
        self._what, self._drawn = "", 0.0

    def at(self, done: float, total: float | None = None, what: str = "") -> None:
        """So much is done, of `total` (None: as before, or not known), of the part of the work that `what` names."""
        if self._bar is None or self._task is None:
            return
        if what and what != self._what:
            self._what, self._drawn, self._total = what, 0.0, None
            self._bar.reset(self._task, total=None, description=safe(what))
        if total is not None and total != self._total:
            self._total = total
            self._bar.update(self._task, total=total)
        if self._total is not None and done < self._total and abs(done - self._drawn) * STEPS < self._total:
            return
        self._drawn = done
        self._bar.update(self._task, completed=done)

    def say(self, line: str) -> None:
        """A line that stays, on the standard error: above the progress where that is shown."""
        if self._bar is None:
            complain(line)
        else:
            self._bar.console.print(text(line))


@contextlib.contextmanager
def progress(what: str, total: float | None = None) -> Iterator[Progress]:
    """While this lasts, shows how far it is. `total` None: not known yet, or never."""
    err = console(stderr=True)
    if not err.is_terminal:
        yield Progress()
        return
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    words = TextColumn("{task.description}", markup=False)
    columns = words, BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with Bar(*columns, console=err, transient=True, refresh_per_second=PER_SECOND, redirect_stdout=False) as bar:
        yield Progress(bar, bar.add_task(safe(what), total=total), total)
