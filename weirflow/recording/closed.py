"""One part of a recording as it lies on the disk, read without trust.

A file is taken only when it is the very file that was written: regular, of the size and the SHA-256 that the manifest
gives. A checksum proves no good will, so what the Parquet footer claims is held against what a part may be before
anything is decoded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from brain.settings import Settings
from dataplane.contract import Topology
from weirflow.files import read_bounded
from weirflow.recording import calls
from weirflow.recording.errors import RecordingError
from weirflow.recording.part import manifest_name, unseal
from weirflow.recording.schema import FORMAT, ROW_GROUP, STREAMS, completed, row_bytes, schema

MAX_DOCUMENT_BYTES = 1 << 26
MAX_FILE_BYTES = 1 << 31
MAX_ROWS = 1 << 26
MAX_TEXT_BYTES = 1 << 30
MAX_TEXT_RATIO = 1_000  # decoded over encoded; our JSON presses 5 to 100 times


@dataclass(frozen=True, slots=True)
class StreamFile:
    """What the manifest says of one file."""

    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ClosedPart:
    """A part that landed. `started` and `ended` are the brain's time of its first and last call."""

    folder: Path
    number: int
    first_call: int
    last_call: int
    started: float
    ended: float
    settings: Settings
    topology: Topology
    files: dict[str, StreamFile]

    def table(self, stream: str, columns: Sequence[str] | None = None) -> Any:
        """The rows of a stream as a pyarrow Table, empty when it has none. RecordingError when its file is no good."""
        if stream not in self.files:
            table = schema(stream).empty_table()
            return table if columns is None else table.select(list(columns))
        entry = self.files[stream]
        try:
            data = read_bounded(self.folder / entry.file, min(entry.bytes, MAX_FILE_BYTES))
        except FileNotFoundError:
            raise self._fault(entry, "is missing") from None
        except OSError as error:
            raise self._fault(entry, error.strerror or str(error)) from error
        if len(data) != entry.bytes:
            raise self._fault(entry, f"is cut short: {len(data)} bytes of {entry.bytes}")
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise self._fault(entry, "was changed after it was written: its checksum does not match")
        try:
            return _decode(data, stream, entry.rows, columns)
        except (ValueError, OSError, MemoryError, pa.ArrowException) as error:
            raise self._fault(entry, str(error)) from error

    def _fault(self, entry: StreamFile, reason: str) -> RecordingError:
        return RecordingError(entry.file, reason, part=self.number)


def read_document(path: Path, what: str, part: int | None = None) -> dict[str, Any]:
    """A sealed JSON document of a format that is known here. RecordingError with the reason for anything else."""
    try:
        parsed = json.loads(read_bounded(path, MAX_DOCUMENT_BYTES))
        version = parsed.get("format") if isinstance(parsed, dict) else None
        if isinstance(version, int) and version > FORMAT:
            reason = f"is of format {version}; this Weirflow reads formats up to {FORMAT}: read it with a newer one"
            raise RecordingError(path.name, reason, part=part)
        return unseal(parsed)
    except FileNotFoundError:
        raise RecordingError(path.name, f"is missing: {path.parent} holds no {what}", part=part) from None
    except OSError as error:
        raise RecordingError(path.name, error.strerror or str(error), part=part) from error
    except json.JSONDecodeError as error:
        raise RecordingError(path.name, f"is not JSON: {error}", part=part) from error
    except (ValueError, RecursionError) as error:
        raise RecordingError(path.name, str(error), part=part) from error


def read_part(folder: Path, number: int) -> ClosedPart:
    """What the manifest of a part says. RecordingError when it says nothing that can be used."""
    name = manifest_name(number)
    document = read_document(folder / name, "whole part of that number", number)
    try:
        start = calls.revive("Start", document["context"])
        files = {str(stream): StreamFile(**entry) for stream, entry in document["files"].items()}
        if not set(files) <= set(STREAMS) or "events" not in files:
            raise ValueError(f"it cannot hold {sorted(files)}")
        for stream, entry in files.items():
            if entry.file != f"{stream}-{number:05d}.parquet":  # never a path that leads out of the folder
                raise ValueError(f"{entry.file!r} is not a file of this part")
        return ClosedPart(
            folder,
            number,
            int(document["first_call"]),
            int(document["last_call"]),
            float(document["from"]),
            float(document["to"]),
            start.settings,
            start.topology,
            files,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordingError(name, f"makes no sense: {error}", part=number) from error


def _decode(data: bytes, stream: str, rows: int, columns: Sequence[str] | None) -> Any:
    """The table in a Parquet file's bytes. ValueError when it claims to be what no part of ours is."""
    file = pq.ParquetFile(pa.BufferReader(data), thrift_string_size_limit=1 << 24, thrift_container_size_limit=1 << 20)
    metadata = file.metadata
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    if not 0 <= rows <= MAX_ROWS or sum(g.num_rows for g in groups) != rows:
        raise ValueError(f"claims {sum(g.num_rows for g in groups)} rows where {rows} were written")
    allowed = rows * row_bytes(stream) + min(MAX_TEXT_BYTES, MAX_TEXT_RATIO * len(data)) + (1 << 20)
    claimed = sum(max(0, g.total_byte_size) for g in groups)
    if claimed > allowed or any(g.num_rows > ROW_GROUP for g in groups):
        raise ValueError(f"claims {claimed} bytes of columns, more than its {rows} rows can have ({allowed})")
    known = [v for v in range(FORMAT, 0, -1) if file.schema_arrow.equals(schema(stream, v))]
    if not known:
        raise ValueError(f"has other columns than a {stream} file of format {FORMAT}")
    if schema(stream, known[0]).equals(schema(stream)):
        return file.read(columns=None if columns is None else list(columns))
    table = completed(stream, file.read())
    return table if columns is None else table.select(list(columns))
