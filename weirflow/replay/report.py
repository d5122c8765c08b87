"""A report: what one version of Weirflow decides over one recording, kept to hold another version against it.

JSON lines or Parquet, by the file's name. The head says which version, which recording (by the checksums of its parts)
and with which settings; then come the rows, tick by tick; the end says how many, so that a file cut short is found out.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from weirflow.files import Sink, sync_folder
from weirflow.recording import Recording
from weirflow.replay.row import Row

FORMAT = 1
BATCH = 4_000
"""Rows that are held before they are written."""
BATCH_WEIGHTS = 100_000
"""The same by the weights in them."""
MAX_LINE = 1 << 26
_KEY = b"weirflow.replay"

_MAP = pa.map_(pa.string(), pa.int64())
_WORDS = pa.map_(pa.string(), pa.string())
SCHEMA = pa.schema(
    [
        ("tick", pa.int64()),
        ("now", pa.float64()),
        ("service", pa.string()),
        ("digest", pa.string()),
        ("leased", pa.bool_()),
        ("error", pa.string()),
        ("state", pa.string()),
        ("share_percent", pa.float64()),
        ("shed_percent", pa.float64()),
        ("pushed", pa.bool_()),
        ("weights", _MAP),
        ("tiers", _MAP),
        ("limits", _MAP),
        ("guards", _WORDS),
        (
            "incidents",
            pa.list_(
                pa.struct(
                    [
                        ("id", pa.string()),
                        ("kind", pa.string()),
                        ("labels", _WORDS),
                        ("since_s", pa.float64()),
                        ("causes", pa.list_(pa.string())),
                    ]
                )
            ),
        ),
    ]
)
"""Of a report in Parquet; in JSON lines the same keys, and maps are objects."""


class ReportError(Exception):
    """A report that cannot be used: which file, where in it, why."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a report says of itself."""

    weirflow: str  # version that decided
    recording: str  # identity of the recording, as `identity` has it
    parts: int  # that the recording had then
    started: float
    until: float  # the brain's time of the last call that was looked at
    settings: dict[str, Any]  # at the start, with this version's defaults
    format: int = FORMAT


_HEAD, _ROW = TypeAdapter(Head), TypeAdapter(Row)


def identity(recording: Recording, parts: int | None = None) -> str:
    """SHA-256 over the checksums of a recording's files, of the first so many parts: one that grew is still known."""
    seen = hashlib.sha256()
    for part in recording.parts[:parts]:
        files = sorted((f.file, f.rows, f.bytes, f.sha256) for f in part.files.values())
        seen.update(json.dumps([part.number, part.first_call, part.last_call, files]).encode())
    return seen.hexdigest()


class Writer:
    """Writes a report, whole or not at all: `with` it, and whatever is raised within leaves no file."""

    def __init__(self, path: Path, head: Head) -> None:
        """OSError when the folder refuses."""
        self._path = path
        self._rows: list[Row] = []
        self._count, self._weights = 0, 0
        self._sink = Sink(path.with_name(f".{path.name}.{os.getpid()}.new"))
        self._parquet: Any = None
        said = json.dumps(asdict(head))
        if path.suffix == ".parquet":
            schema = SCHEMA.with_metadata({_KEY: said})
            self._parquet = pq.ParquetWriter(pa.PythonFile(self._sink, mode="w"), schema, compression="zstd")
        else:
            self._sink.write(said.encode() + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._flush()
                if self._parquet is not None:
                    self._parquet.close()
                else:
                    self._sink.write(json.dumps({"rows": self._count}).encode() + b"\n")
                self._sink.land(self._path)
                sync_folder(self._path.parent)
                return
        finally:
            self._sink.abandon()  # nothing when it landed
            if self._parquet is not None and self._parquet.is_open:
                self._parquet.close()

    def add(self, row: Row) -> None:
        """Take the next row. OSError when the disk refuses."""
        self._rows.append(row)
        self._count += 1
        self._weights += len(row.weights)
        if len(self._rows) >= BATCH or self._weights >= BATCH_WEIGHTS:
            self._flush()

    def _flush(self) -> None:
        rows, self._rows, self._weights = [asdict(r) for r in self._rows], [], 0
        if self._parquet is None:
            self._sink.write("".join(json.dumps(r, separators=(",", ":")) + "\n" for r in rows).encode())
        elif rows:
            self._parquet.write_table(pa.Table.from_pylist(rows, SCHEMA))


@dataclass(frozen=True, slots=True)
class Report:
    """A report on the disk."""

    path: Path
    head: Head

    def rows(self) -> Iterator[Row]:
        """Every row in order, a few of them held at a time. ReportError where one makes no sense."""
        yield from _parquet_rows(self.path) if self.path.suffix == ".parquet" else _json_rows(self.path)


def read_report(path: Path) -> Report:
    """Look at a report. ReportError when it is none, or of a newer format."""
    if path.suffix == ".parquet":
        said = _parquet(path).schema_arrow.metadata or {}
        text = said.get(_KEY, b"")
    else:
        with _lines(path) as lines:
            text = lines.readline(MAX_LINE)
    try:
        head = json.loads(text)
        version = head.get("format")
        if isinstance(version, int) and version > FORMAT:
            raise ReportError(f"{path}: is of format {version}; this Weirflow reads formats up to {FORMAT}")
        return Report(path, _HEAD.validate_python(head))
    except (ValueError, AttributeError, RecursionError) as error:
        raise ReportError(f"{path}: is no report of a replay: its head makes no sense") from error


def _json_rows(path: Path) -> Iterator[Row]:
    count = 0
    with _lines(path) as lines:
        lines.readline(MAX_LINE)
        for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE), b""), 2):
            try:
                if line.startswith(b'{"rows"'):
                    if json.loads(line)["rows"] != count or lines.read(1):
                        raise ReportError(f"{path}:{number}: the end tells of other rows than there are")
                    return
                yield _ROW.validate_json(line)
            except ValidationError as error:
                raise ReportError(f"{path}:{number}: {_first(error)}") from error
            except (ValueError, RecursionError) as error:
                raise ReportError(f"{path}:{number}: {error}") from error
            count += 1
    raise ReportError(f"{path}: is cut short after {count} rows; write it again")


def _parquet_rows(path: Path) -> Iterator[Row]:
    file = _parquet(path)
    if not file.schema_arrow.equals(SCHEMA):
        raise ReportError(f"{path}: has other columns than a report of format {FORMAT}")
    number = 0
    try:
        for batch in file.iter_batches(batch_size=100):
            for row in batch.to_pylist(maps_as_pydicts="strict"):
                number += 1
                yield _ROW.validate_python(row)
    except ValidationError as error:
        raise ReportError(f"{path}, row {number}: {_first(error)}") from error
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise ReportError(f"{path}, after row {number}: {error}") from error


def _parquet(path: Path) -> Any:
    try:
        return pq.ParquetFile(_lines(path))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ReportError(f"{path}: is not Parquet: {error}") from error


def _lines(path: Path) -> Any:
    """The open file; a pipe or a device would never end. ReportError when it cannot be read."""
    try:
        file = open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")  # noqa: SIM115  the caller closes
    except OSError as error:
        raise ReportError(f"{path}: {error.strerror or error}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ReportError(f"{path}: is not a regular file")
    return file


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
