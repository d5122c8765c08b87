"""Lines that a pattern describes, a piece of a chunk in one go, and line by line only where one is bad."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from weirflow.importing.attempts import Read
from weirflow.importing.lines import Chunk, chunks
from weirflow.importing.opening import Source
from weirflow.importing.pattern import Pattern
from weirflow.importing.rejects import Rejects

Columns = dict[str, Sequence[Any]]


class Reader(Protocol):
    """What reads one format. It raises nothing but ImportingError, for what makes all of a file useless."""

    retries_hidden: bool
    """Whether a row may stand for several attempts: its duration is that of them all, and only the last is told."""

    def read(self, source: Source, rejects: Rejects) -> Iterator[Read]:
        """The canonical columns of a file, piece by piece."""


class PatternReader:
    """Lines by a pattern. `shaped` turns the captured columns into canonical ones, and may make more rows of one."""

    def __init__(
        self,
        pattern: Pattern,
        *,
        normal: Mapping[str, Callable[[str], str]] | None = None,
        shaped: Callable[[Sequence[int], Columns], Read] | None = None,
        retries_hidden: bool = True,
    ) -> None:
        self.retries_hidden = retries_hidden
        self._pattern, self._normal, self._shaped = pattern, normal or {}, shaped

    def read(self, source: Source, rejects: Rejects) -> Iterator[Read]:
        """As `Reader.read`."""
        for chunk in chunks(source.blocks(), rejects):
            lines: list[int] = []
            columns: list[list[str]] = [[] for _ in self._pattern.columns]
            for piece in chunk.pieces():
                numbers, rows = self._rows(piece, rejects)
                lines += numbers
                for column, values in zip(columns, zip(*rows, strict=True), strict=bool(rows)):
                    column += values
            if lines:
                yield self._columns(lines, columns)

    def _rows(self, chunk: Chunk, rejects: Rejects) -> tuple[Sequence[int], list[tuple[str, ...]]]:
        """The captured groups of the lines that match, and the numbers of these lines."""
        many = chunk.text.count("\n") + 1
        rows = self._pattern.rows(chunk.text)
        if len(rows) == many:
            rejects.records += many
            return range(chunk.first, chunk.first + many), rows
        rows, numbers = [], []
        for number, line in enumerate(chunk.text.split("\n"), chunk.first):
            if not line or line.isspace():
                continue
            rejects.records += 1
            found = self._pattern.match(line)
            if found is None:
                rejects.reject(number, self._pattern.why(line.removesuffix("\r")))
                continue
            rows.append(found)
            numbers.append(number)
        return numbers, rows

    def _columns(self, lines: Sequence[int], found: list[list[str]]) -> Read:
        columns: Columns = dict(zip(self._pattern.columns, found, strict=True))
        for name, normal in self._normal.items():
            if name in columns:
                known = {text: normal(text) for text in set(columns[name])}
                columns[name] = [known[text] for text in columns[name]]
        return self._shaped(lines, columns) if self._shaped else Read(lines, columns)
