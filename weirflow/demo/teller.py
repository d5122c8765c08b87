"""How the story is told as it goes: a line when something happened, a spinner while something is waited for.

Rich on a terminal, plain lines when piped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.rule import Rule
from rich.text import Text

from weirflow.demo.report import Claim


class Teller:
    """Writes to one console, each line with the seconds since the story began."""

    def __init__(self, console: Console, now: Callable[[], float]) -> None:
        self._console, self._now, self._start = console, now, now()

    @property
    def took_s(self) -> float:
        """Since the story began."""
        return self._now() - self._start

    def heading(self, number: int, text: str) -> None:
        """A new phase."""
        self._console.print()
        self._console.print(Rule(Text(f"{number}. {text}", style="bold"), align="left"))

    def line(self, text: str, style: str = "") -> None:
        """Something happened."""
        self._console.print(Text.assemble((f"{self.took_s:5.1f} s  ", "dim"), (text, style)))

    def claim(self, claim: Claim) -> None:
        """Something was to be so, and was or was not."""
        style = "green" if claim.held else "bold red"
        self.line(f"{'held' if claim.held else 'FAILED'}: {claim.sentence} ({claim.figure})", style)

    def show(self, what: RenderableType) -> None:
        """A table."""
        self._console.print(what)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """A spinner on a terminal; nothing when piped."""
        with self._console.status(what):
            yield
