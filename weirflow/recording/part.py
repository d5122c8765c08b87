"""One numbered part of a recording while it is being written.

Each stream of the part is a Parquet file under a temporary name, begun when its first row group is due. The part lands
as a whole: every file is made durable and named, and then the manifest, `part-00001.json`, says what belongs to it,
with sizes and checksums. A part without its manifest is not a part, so a crash loses at most the one that was open.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from weirflow.files import Sink, sync_folder, write_whole
from weirflow.recording.calls import to_json
from weirflow.recording.schema import FORMAT, ROW_GROUP, STREAMS, TELEMETRY, encodings, schema

HEADER = "recording.json"
OPEN_SUFFIX = ".open"
COMPRESSION_LEVEL = 1  # zstd: higher levels cost CPU and win nothing on columns that are split already


def file_name(stream: str, number: int) -> str:
    """`attempts-00001.parquet`."""
    return f"{stream}-{number:05d}.parquet"


def manifest_name(number: int) -> str:
    """`part-00001.json`."""
    return f"part-{number:05d}.json"


@dataclass(frozen=True, slots=True)
class Landed:
    """A closed part and what each half of it weighs."""

    number: int
    telemetry_bytes: int
    other_bytes: int


class Part:
    """The open files of one part. Any OSError leaves it to be abandoned by the caller."""

    def __init__(self, folder: Path, number: int) -> None:
        self.number = number
        self._folder = folder
        self._open: dict[str, tuple[Sink, Any]] = {}
        self._rows = dict.fromkeys(STREAMS, 0)
        self._landed = False

    def write(self, stream: str, table: Any) -> None:
        """Write a table as row groups. OSError when the disk refuses."""
        if stream not in self._open:
            sink = Sink(self._folder / (file_name(stream, self.number) + OPEN_SUFFIX))
            self._open[stream] = sink, None  # held at once, so that `abandon` finds it
            form = {"compression": "zstd", "compression_level": COMPRESSION_LEVEL, **encodings(stream)}
            self._open[stream] = sink, pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema(stream), **form)
        self._open[stream][1].write_table(table, row_group_size=ROW_GROUP)
        self._rows[stream] += len(table)

    def land(self, span: Mapping[str, Any]) -> Landed:
        """Make the part whole; returns what it weighs. `span` goes into the manifest as it is.

        OSError when the disk refuses; what was already named has no manifest then, and is removed by `abandon`.
        """
        files = {}
        for stream, (sink, writer) in self._open.items():
            writer.close()
            name = file_name(stream, self.number)
            sink.land(self._folder / name)
            files[stream] = {"file": name, "rows": self._rows[stream], "bytes": sink.size, "sha256": sink.sha256}
        sync_folder(self._folder)
        manifest = seal({"format": FORMAT, "part": self.number, **span, "files": files})
        write_whole(self._folder / manifest_name(self.number), [manifest])
        self._landed = True
        telemetry = sum(sink.size for stream, (sink, _) in self._open.items() if stream in TELEMETRY)
        everything = sum(sink.size for sink, _ in self._open.values()) + len(manifest)
        return Landed(self.number, telemetry, everything - telemetry)

    def abandon(self) -> None:
        """Remove what there is of the part, if that can still be done, and give its space back. A landed part stays."""
        if self._landed:
            return
        with contextlib.suppress(OSError):
            (self._folder / manifest_name(self.number)).unlink()  # first: a manifest never outlives its files
        for stream, (sink, _) in self._open.items():
            sink.abandon()
            with contextlib.suppress(OSError):
                (self._folder / file_name(stream, self.number)).unlink()
        for _, writer in self._open.values():
            if writer is not None and writer.is_open:
                writer.close()  # into the void: else pyarrow would do so whenever it is collected
        self._open.clear()


def seal(content: Mapping[str, Any]) -> bytes:
    """A JSON document that carries its own checksum, as its last key."""
    body = to_json(content)
    return to_json({**content, "sha256": hashlib.sha256(body.encode()).hexdigest()}).encode()


def unseal(document: Any) -> dict[str, Any]:
    """A parsed document without its checksum. ValueError when it is not what was sealed."""
    if not isinstance(document, dict):
        raise ValueError("is not a sealed document")
    content = {k: v for k, v in document.items() if k != "sha256"}
    if document.get("sha256") != hashlib.sha256(to_json(content).encode()).hexdigest():
        raise ValueError("was changed after it was written: its checksum does not match")
    return content
