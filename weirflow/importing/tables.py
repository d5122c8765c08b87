"""CSV and Parquet: columns with the canonical names, or with others that a mapping gives."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataplane.contract import Floats
from weirflow.importing.attempts import Read
from weirflow.importing.errors import ImportingError, WrongUseError
from weirflow.importing.fields import PER_SECOND, column
from weirflow.importing.lines import chunks
from weirflow.importing.opening import Source
from weirflow.importing.rejects import Rejects

BATCH = 1 << 14
MOST_ROWS = 1 << 32
MOST_ROW_BYTES = 1 << 14  # of columns decoded, on average: a page that claims more is a bomb


def chosen(there: Sequence[str], keys: Mapping[str, str], what: str) -> dict[str, str]:
    """Canonical column to the file's, of those that it has. ImportingError when nothing can be made of them."""
    missing = [f"{our}={their}" for our, their in keys.items() if their not in there]
    if missing:
        raise WrongUseError(f"{what}: has no column for --map {' '.join(missing)}; it has {', '.join(there[:40])}")
    out = {name: name for name in there if column(name) is not None} | dict(keys)
    bases = {found[0].name for name in out if (found := column(name)) is not None}
    if not {"started", "ended"} & bases or not ("duration" in bases or {"started", "ended"} <= bases):
        raise ImportingError(
            f"{what}: tells no time or no duration of an attempt; name its columns started and duration_s, or say "
            f"which they are, as --map started=ts --map duration_ms=elapsed. It has {', '.join(there[:40])}"
        )
    return out


class CsvReader:
    """Comma, semicolon or tab between; the first line names the columns."""

    retries_hidden = False

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = keys

    def read(self, source: Source, rejects: Rejects) -> Iterator[Read]:
        """As `text.Reader.read`."""
        header: list[str] = []
        between = ","
        columns: dict[str, int] = {}
        for chunk in chunks(source.blocks(), rejects):
            lines, first = chunk.lines(), chunk.first
            if not header:
                head, *lines = lines
                first += 1
                between = max(",;\t", key=head.count)
                header = [name.strip() for name in next(iter(_split([head], between)), [])]
                columns = {our: header.index(their) for our, their in chosen(header, self._keys, source.path).items()}
            read = self._rows(lines, first, between, len(header), rejects)
            if read:
                numbers, rows = zip(*read, strict=True)
                whole = list(zip(*rows, strict=True))
                yield Read(numbers, {our: whole[i] for our, i in columns.items()})
        if not header:
            raise ImportingError(f"{source.path}: is empty")

    @staticmethod
    def _rows(
        lines: list[str], first: int, between: str, width: int, rejects: Rejects
    ) -> list[tuple[int, Sequence[str]]]:
        out: list[tuple[int, Sequence[str]]] = []
        for number, line in enumerate(lines, first):
            if not line:
                continue
            rejects.records += 1
            row: Sequence[str] = line.split(between) if '"' not in line else next(iter(_split([line], between)), [])
            if len(row) != width:
                rejects.reject(number, "has another number of columns than the first line", f"{len(row)}, not {width}")
                continue
            out.append((number, row))
        return out


def _split(lines: list[str], between: str) -> list[list[str]]:
    try:
        return list(csv.reader(lines, delimiter=between))
    except csv.Error:
        return [[]]


class ParquetReader:
    """Parquet, and with it the attempts of another recording."""

    retries_hidden = False

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = keys

    def read(self, source: Source, rejects: Rejects) -> Iterator[Read]:
        """As `text.Reader.read`. ImportingError when it is damaged: there is no line to go on from."""
        if source.packing:
            raise ImportingError(f"{source.path}: a packed Parquet file cannot be read; unpack it")
        try:
            file = pq.ParquetFile(
                pa.PythonFile(source.file(), mode="r"),
                thrift_string_size_limit=1 << 24,
                thrift_container_size_limit=1 << 20,
            )
            there = file.schema_arrow.names
            columns = chosen(there, self._keys, source.path)
            _check(file, source)
            number = 1
            for batch in file.iter_batches(BATCH, columns=sorted(set(columns.values())), use_threads=False):
                n = batch.num_rows
                rejects.records += n
                yield Read(
                    range(number, number + n), {our: _list(batch.column(their), our) for our, their in columns.items()}
                )
                number += n
        except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError, OverflowError) as error:
            raise ImportingError(f"{source.path}: cannot be read as Parquet: {str(error)[:200]}") from error


def _check(file: Any, source: Source) -> None:
    metadata = file.metadata
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    rows = sum(g.num_rows for g in groups)
    claimed = sum(max(0, g.total_byte_size) for g in groups)
    if not 0 <= rows <= MOST_ROWS or claimed > rows * MOST_ROW_BYTES + (1 << 20):
        raise ImportingError(f"{source.path}: claims {rows} rows in {claimed} bytes, which no table of attempts has")


def _list(given: Any, our: str) -> Sequence[Any]:
    """A column's values; times and spans of Arrow's own types as numbers in the unit of the canonical column."""
    if pa.types.is_dictionary(given.type):
        given = given.dictionary_decode()
    if pa.types.is_timestamp(given.type) or pa.types.is_duration(given.type):
        found = column(our)
        per = PER_SECOND[(found[1] if found else "") or "s"]
        ticks: Floats = given.cast(pa.int64()).to_numpy(zero_copy_only=False).astype(np.float64)
        return list(ticks / PER_SECOND[given.type.unit] * per)
    return list(given.to_pylist())
