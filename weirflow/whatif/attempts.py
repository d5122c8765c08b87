"""The simulated attempts as Parquet: one file for all runs, streamed, so that memory holds a row group of one.

Each task writes a file of its own, wherever it runs; they are put together in the order of the tasks.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataplane.contract import Arm, Outcome
from dataplane.simulated.tried import Tried
from weirflow.files import Sink, sync_folder
from weirflow.recording.schema import ROW_GROUP
from weirflow.whatif.world import World

_NAME = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        pa.field("question", _NAME, metadata={"meaning": "what was changed"}),
        pa.field("policy", _NAME, metadata={"meaning": "who picked"}),
        pa.field("seed", pa.int32(), metadata={"meaning": "of the run"}),
        pa.field("started_s", pa.float64(), metadata={"unit": "s since 1970", "meaning": "when it was sent"}),
        pa.field("duration_s", pa.float32(), metadata={"unit": "s", "meaning": "from start to end"}),
        pa.field("felt_s", pa.float32(), metadata={"unit": "s", "meaning": "since the request's first attempt began"}),
        pa.field("endpoint", _NAME, metadata={"meaning": "null when nobody was picked"}),
        pa.field("node", _NAME, metadata={"meaning": "the proxy"}),
        pa.field("route", _NAME, metadata={"meaning": "the class of request"}),
        pa.field("outcome", _NAME, metadata={"meaning": "OK, ERROR, TIMEOUT, REJECTED, CANCELLED or UNREACHED"}),
        pa.field("status", pa.int16(), metadata={"meaning": "HTTP status; 0 when none came"}),
        pa.field("attempt", pa.int16(), metadata={"meaning": "1 for the first try"}),
        pa.field("arm", _NAME, metadata={"meaning": "static or adaptive"}),
        pa.field("weight", pa.int32(), metadata={"meaning": "of the endpoint when picked"}),
    ],
    metadata={"weirflow.stream": "simulated attempts"},
)


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where tasks put their attempts until all are there."""

    folder: Path

    def bind(self, file: Path) -> None:
        """All of them into one file, whole or not at all. OSError when the disk refuses."""
        sink = Sink(file.with_name(f".{file.name}.new"))
        try:
            with pq.ParquetWriter(sink, SCHEMA, compression="zstd") as out:
                for part in sorted(self.folder.glob("*.parquet")):
                    read = pq.ParquetFile(part)
                    for group in range(read.num_row_groups):
                        out.write_table(read.read_row_group(group).cast(SCHEMA))
            sink.land(file)
        except BaseException:
            sink.abandon()
            raise
        sync_folder(file.parent)


@contextmanager
def shelf() -> Iterator[Shelf]:
    """An empty one, gone in the end."""
    folder = Path(tempfile.mkdtemp(prefix="weirflow-whatif-"))
    try:
        yield Shelf(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def book(file: Path, world: World, question: str, policy: str, seed: int) -> Iterator[Callable[[Tried], None]]:
    """What takes a run's attempts and writes them, a row group at a time."""
    with pq.ParquetWriter(file, SCHEMA, compression="zstd") as out:
        waiting: list[Tried] = []

        def hear(batch: Tried) -> None:
            waiting.append(batch.take(batch.attempt > 0))
            if sum(map(len, waiting)) >= ROW_GROUP:
                write()

        def write() -> None:
            rows = Tried.concat(waiting)
            waiting.clear()
            if len(rows):
                out.write_table(_table(rows, world, question, policy, seed))

        yield hear
        write()


def _table(rows: Tried, world: World, question: str, policy: str, seed: int) -> Any:
    many = len(rows)
    zeros = np.zeros(many, np.int32)
    columns = [
        _named(zeros, (question,)),
        _named(zeros, (policy,)),
        np.full(many, seed, np.int32),
        rows.at_s + world.started,
        rows.duration_s.astype(np.float32),
        rows.felt_s.astype(np.float32),
        _named(rows.endpoint, world.fleet.names),
        _named(rows.node, world.nodes),
        _named(rows.klass, world.classes),
        _named(rows.outcome, tuple(o.name for o in Outcome)),
        rows.status,
        rows.attempt,
        _named(rows.arm, tuple(a.name.lower() for a in Arm)),
        rows.weight,
    ]
    return pa.Table.from_arrays([pa.array(c) if isinstance(c, np.ndarray) else c for c in columns], schema=SCHEMA)


def _named(index: Any, names: tuple[str, ...]) -> Any:
    place = np.asarray(index, np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(place, mask=place < 0), pa.array(names, pa.string()))
