"""A log format as a list of pieces, compiled to a regular expression that is linear in the length of a line.

A field reaches to the first place where all of the literal text that follows it stands, as a person reads it;
possessive quantifiers keep the engine from trying anything else. Fields that nobody needs are matched and not captured.
A line that does not match is read again piece by piece, to say which field is at fault.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from weirflow.importing.errors import WrongUseError
from weirflow.importing.rejects import quoted

NUMBER = r"-|\d{1,18}(?:\.\d{1,9})?"
LIST = r"-?(?:[^\s,\"]++(?:, | : )?)*+"


@dataclass(frozen=True, slots=True)
class Piece:
    """Literal text (`literal`), or a field: its name in the format, and the canonical column it fills, "" for none.

    `form`: the expression it must match; "" takes anything up to the literal that follows.
    """

    literal: str = ""
    name: str = ""
    column: str = ""
    form: str = ""


class Pattern:
    """Compiled pieces. `columns` are those of the captured groups, in order."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        """WrongUseError when two fields stand side by side, or a column is filled twice."""
        self.pieces = _merged(pieces)
        self.columns = [p.column for p in self.pieces if p.column]
        twice = sorted({c for c in self.columns if self.columns.count(c) > 1})
        if twice:
            raise WrongUseError(f"the format tells {', '.join(twice)} twice; leave one out")
        self._parts = [self._part(i) for i in range(len(self.pieces))]
        self.all = re.compile("^" + "".join(self._parts) + r"\r?$", re.MULTILINE)

    def rows(self, text: str) -> list[tuple[str, ...]]:
        """The captured groups of every line that matches."""
        found = self.all.findall(text)
        return found if len(self.columns) != 1 else [(f,) for f in found]

    def match(self, line: str) -> tuple[str, ...] | None:
        """The captured groups of one line, None when it does not match."""
        found = self.all.fullmatch(line)
        return None if found is None else found.groups()

    @cached_property
    def _prefixes(self) -> list[re.Pattern[str]]:
        """The pattern up to each piece; few logs need them."""
        return [re.compile("".join(self._parts[: i + 1])) for i in range(len(self._parts))]

    def why(self, line: str) -> str:
        """Why a line does not match: the first field, or the literal, that is not as the format has it."""
        at = 0
        for piece, upto in zip(self.pieces, self._prefixes, strict=True):
            found = upto.match(line)
            if found is None:
                if piece.literal:
                    return f"no {piece.literal.strip() or 'blank'} where the format has one"
                return f"{piece.name} is not as the format has it"
            at = found.end()
        return f"more than the format has: {quoted(line[at:])}"

    def _part(self, i: int) -> str:
        piece = self.pieces[i]
        if piece.literal:
            return re.escape(piece.literal).replace(r"\ ", " ")
        after = self.pieces[i + 1].literal if i + 1 < len(self.pieces) else ""
        form = piece.form or _up_to(after)
        return f"({form})" if piece.column else f"(?:{form})"


def _merged(pieces: Sequence[Piece]) -> list[Piece]:
    out: list[Piece] = []
    for piece in pieces:
        if piece.literal and out and out[-1].literal:
            out[-1] = Piece(literal=out[-1].literal + piece.literal)
        elif piece.literal or piece.name:
            if out and piece.name and out[-1].name and not (piece.form and out[-1].form):
                raise WrongUseError(f"{out[-1].name} and {piece.name} have nothing between them that tells them apart")
            out.append(piece)
    if out and out[-1].literal:
        rest = out[-1].literal.rstrip("\r\n")
        out[-1:] = [Piece(literal=rest)] if rest else []
    if not any(p.column for p in out):
        raise WrongUseError("the format tells nothing that can be used")
    return out


def _up_to(literal: str) -> str:
    """Anything up to the first place where all of the literal stands."""
    if not literal:
        return r"[^\n]*"
    first, rest = re.escape(literal[0]), re.escape(literal[1:])
    if not rest:
        return rf"[^{first}\n]*+"
    return rf"[^{first}\n]*+(?:{first}(?!{rest})[^{first}\n]*+)*+"
