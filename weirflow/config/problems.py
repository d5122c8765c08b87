"""What is wrong with a mesh file, in words that lead to the mend.

Every mistake of a file is found and told at once, so nobody has to run `validate` ten times. A problem names its file,
line, column and key, says what is wrong, and where it can, what to write instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

MOST_PROBLEMS = 100
"""More than this many are counted and not printed: nobody reads further, and a hostile file must not flood a log."""

Path = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top of the document."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `line` and `column` count from 1, 0 for the file as a whole; `mend` says what to do, or is empty."""

    file: str
    line: int
    column: int
    key: str
    message: str
    mend: str = ""
    severity: str = "error"  # or "warning": the file is accepted, and probably not what was meant

    def __str__(self) -> str:
        """`mesh.yaml:12:5: services[0].polcy: unknown key; did you mean 'policy'?`"""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        parts = [place]
        if self.severity != "error":
            parts.append(self.severity)
        if self.key:
            parts.append(self.key)
        parts.append(f"{self.message}; {self.mend}" if self.mend else self.message)
        return ": ".join(parts)


class ConfigError(Exception):
    """A mesh file that is not accepted. Carries every problem found; nothing of the file is in force."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = tuple(problems)


def ordered(problems: Iterable[Problem]) -> list[Problem]:
    """Sort by place, drop repeats, and cut at `MOST_PROBLEMS`, with a last one that counts the rest."""
    found = sorted(set(problems), key=lambda p: (p.line, p.column, p.key, p.message))
    if len(found) <= MOST_PROBLEMS:
        return found
    rest = len(found) - MOST_PROBLEMS
    errors = any(p.severity == "error" for p in found)
    last = Problem(found[0].file, 0, 0, "", f"and at least {rest} more", severity="error" if errors else "warning")
    return [*found[:MOST_PROBLEMS], last]


def nearest(word: Any, known: Iterable[str]) -> str | None:
    """The known word that this one was probably meant to be, None when none is near. Case does not count."""
    folded = {k.casefold(): k for k in islice(known, 2000)}
    found = difflib.get_close_matches(str(word)[:200].casefold(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def mend_of(word: Any, known: Iterable[str], *, kind: str = "known") -> str:
    """`did you mean 'policy'?`, or the list of what there is."""
    names = list(known)
    near = nearest(word, names)
    if near is not None:
        return f"did you mean {near!r}?"
    if not names:
        return f"there are no {kind}"
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"{kind}: {shown}"


def key_text(path: Path) -> str:
    """`services[0].endpoints[1]`; a key that is not a plain word is quoted and escaped."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        elif part.replace("_", "").replace("-", "").isalnum() and part.isascii() and len(part) <= 64:
            out += f".{part}" if out else part
        else:
            out += f"[{shown(part)}]"
    return out


def shown(value: Any) -> str:
    """A value as a message shows it: quoted, escaped, and cut at 60 characters."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
