"""What commands print: text for people, JSON for programs, and nothing hostile for terminals.

Names come from files and wires. They are printed as text: rich never reads them as markup, and control characters are
escaped, so a name cannot move the cursor or colour a line.
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.text import Text

UNBOUNDED = 100_000
"""Columns when there is no terminal: a pipe has no edge to wrap or cut at."""


LEAST_COLUMNS = 100

ASCII = str.maketrans({"–": "-", "·": "|", "→": ">", "…": "~", "√": "+", "‼": "!", "×": "x", "↑": "^", "↓": "v"})


class Form(StrEnum):
    """How to print."""

    TEXT = "text"
    JSON = "json"


FormOption = Annotated[Form, typer.Option("-o", "--output", help="How to print.", show_choices=True)]


def console(*, stderr: bool = False) -> Console:
    """A console on the standard output (or error) as it is now; plain and unbounded when it is not a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, width=None if stream.isatty() else UNBOUNDED)


def safe(value: Any) -> str:
    """The text of a value with every character that does not print escaped."""
    text = str(value)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def in_ascii(words: str) -> str:
    """The same where the terminal knows nothing but ASCII: our own signs by their likes, all others escaped."""
    return words.translate(ASCII).encode("ascii", "backslashreplace").decode()


def speaks_unicode(stream: Any) -> bool:
    """Whether what is written there may hold any sign: its encoding, which is the locale's, is UTF-8."""
    return str(getattr(stream, "encoding", "") or "").lower().replace("-", "").replace("_", "") == "utf8"


def text(value: Any, style: str = "") -> Text:
    """A value that rich prints as it stands."""
    return Text(safe(value), style=style)


def show(report: RenderableType) -> None:
    """Print a report; into a pipe without colour, wrapping or the blanks that rich fills cells with."""
    out = console()
    if out.is_terminal:
        # Narrower than this, rich would cut figures; a terminal that wraps whole lines loses nothing.
        out.width = max(out.width, LEAST_COLUMNS)
        out.print(report)
        return
    with out.capture() as captured:
        out.print(report)
    sys.stdout.write("".join(line.rstrip() + "\n" for line in captured.get().splitlines()))


def print_json(value: Any) -> None:
    """One JSON document, indented, keys in the order given."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def complain(message: str, mend: str = "") -> None:
    """What went wrong, and the mend, on the standard error."""
    console(stderr=True).print(text(f"{message}; {mend}" if mend else message))
