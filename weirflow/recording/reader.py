"""Reading a recording back: as calls in their order, for replay, or as tables, for people.

Every part stands alone. One that is damaged is named and passed over by the tables, if the caller agrees; the calls
stop at it, for what came after it cannot be understood without it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dataplane.contract import Columns, InFlight
from dataplane.mesh import Mesh
from weirflow import checkpoint
from weirflow.recording import calls
from weirflow.recording.calls import Call
from weirflow.recording.closed import ClosedPart, read_document, read_part
from weirflow.recording.errors import RecordingError
from weirflow.recording.part import HEADER, OPEN_SUFFIX
from weirflow.recording.schema import STREAM_OF, TELEMETRY, schema
from weirflow.recording.tables import batches_of


@dataclass(frozen=True)
class Recording:
    """A recording's folder as it was when it was looked at. Only manifests are held; rows are read when asked for.

    `faults` are the parts that are there no more or were never readable; files that turn out bad are found on reading.
    """

    folder: Path
    weirflow: str  # version that wrote it
    run: str
    started: float
    parts: tuple[ClosedPart, ...]
    faults: tuple[RecordingError, ...]
    unfinished: tuple[str, ...]  # files of a part that was open: a recorder is at work, or was killed
    parts_from: int  # parts before this one were deleted to save space
    telemetry_from: int  # so was the telemetry of parts before this one
    mesh: Mesh | None = None  # the static rules at the start; None: the recording does not tell

    def calls(self) -> Iterator[Call]:
        """Every call that the brain heard, as `(now, verb, argument)`, in order, batches bit for bit.

        RecordingError where the order breaks: a part that is missing or damaged, or deleted to save space.
        """
        if self.telemetry_from > 1:
            reason = f"telemetry before part {self.telemetry_from} was deleted to save space (keep_bytes)"
            raise RecordingError(self.folder.name, f"{reason}; the calls cannot be told from the start")
        expected = 1
        for part in self.parts:
            if part.first_call != expected:
                self._broken(part.number)
            yield from _calls_of(part)
            expected = part.last_call + 1
        if self.faults:
            raise self.faults[0]

    def attempts(self, columns: Sequence[str] | None = None, *, faults: list[RecordingError] | None = None) -> Any:
        """All attempts as a pyarrow Table, or only these columns.

        RecordingError at the first part that is no good; given a list, such parts are put there and passed over.
        """
        return self.table("attempts", columns, faults=faults)

    def table(
        self, stream: str, columns: Sequence[str] | None = None, *, faults: list[RecordingError] | None = None
    ) -> Any:
        """All rows of a stream ("attempts", "felt", "in_flight", "decisions", "events"). Odd path as in `attempts`."""
        tables = [
            schema(stream).empty_table() if columns is None else schema(stream).empty_table().select(list(columns))
        ]
        for _, table in self.tables(stream, columns, faults=faults):
            tables.append(table)
        return pa.concat_tables(tables).unify_dictionaries()

    def tables(
        self, stream: str, columns: Sequence[str] | None = None, *, faults: list[RecordingError] | None = None
    ) -> Iterator[tuple[ClosedPart, Any]]:
        """The same part by part, so that memory holds one part at a time."""
        if self.faults and faults is None:
            raise self.faults[0]
        if faults is not None:
            faults.extend(f for f in self.faults if f not in faults)
        for part in self.parts:
            if stream in TELEMETRY and part.number < self.telemetry_from:
                continue
            try:
                yield part, part.table(stream, columns)
            except RecordingError as error:
                if faults is None:
                    raise
                faults.append(error)

    def _broken(self, number: int) -> None:
        for fault in self.faults:
            if fault.part is not None and fault.part < number:
                raise fault
        raise RecordingError(self.folder.name, f"the calls before part {number} are missing", part=number)


def read(folder: Path) -> Recording:
    """Look at a recording. RecordingError when it is none, or of a newer format; damaged parts are in `faults`."""
    header = read_document(folder / HEADER, "recording")
    parts_from, faults, parts = int(header.get("parts_from", 1)), [], []
    try:
        names = sorted(p.name for p in folder.iterdir())
    except OSError as error:
        raise RecordingError(folder.name, error.strerror or str(error)) from error
    numbers = {int(n[5:-5]) for n in names if n.startswith("part-") and n.endswith(".json") and n[5:-5].isdecimal()}
    for number in range(parts_from, max(numbers, default=0) + 1):
        try:
            parts.append(read_part(folder, number))
        except RecordingError as error:
            faults.append(error)
    return Recording(
        folder=folder,
        weirflow=str(header.get("weirflow", "")),
        run=str(header.get("run", "")),
        started=float(header.get("started", 0.0)),
        parts=tuple(parts),
        faults=tuple(faults),
        unfinished=tuple(n for n in names if n.endswith(OPEN_SUFFIX)),
        parts_from=parts_from,
        telemetry_from=int(header.get("telemetry_from", 1)),
        mesh=_mesh(folder, header.get("mesh")),
    )


def _mesh(folder: Path, said: Any) -> Mesh | None:
    if said is None:
        return None
    try:
        mesh: Mesh = calls.revive("Mesh", said)
    except ValueError as error:
        raise RecordingError(folder.name, f"{HEADER} holds static rules that make no sense: {error}") from error
    return mesh


def _calls_of(part: ClosedPart) -> Iterator[Call]:
    """The calls of one part. RecordingError when its files do not fit together."""
    events = part.table("events").to_pydict()
    batches = {stream: _batches(part, stream, events) for stream in TELEMETRY}
    decisions = iter(part.table("decisions", ["decision"]).column(0).to_pylist())
    for seq, now, verb, kind, body, state in zip(
        *(events[c] for c in ("seq", "now", "verb", "kind", "body", "state")), strict=True
    ):
        try:
            if verb == "decided":
                argument = json.loads(next(decisions))
            elif verb == "restored":
                argument = checkpoint.decode(state)
            elif kind in STREAM_OF:
                argument = next(batches[STREAM_OF[kind]])
                if isinstance(argument, InFlight):
                    head = calls.revive(kind, json.loads(body))
                    argument = replace(argument, node_id=head.node_id, interval_s=head.interval_s)
            else:
                argument = calls.revive(kind, json.loads(body))
        except (ValueError, TypeError, StopIteration) as error:
            reason = f"call {seq} ({verb} {kind}) makes no sense: {error}"
            raise RecordingError(part.files["events"].file, reason, part=part.number) from error
        yield Call(now, verb, argument)


def _batches(part: ClosedPart, stream: str, events: dict[str, list[Any]]) -> Iterator[Columns]:
    """The batches of a telemetry stream, cut where the events say."""
    kind = TELEMETRY[stream].__name__
    said = [(s, r) for s, k, r in zip(events["seq"], events["kind"], events["rows"], strict=True) if k == kind]
    table = part.table(stream)
    told = np.repeat(np.array([s for s, _ in said], np.int64), [r for _, r in said])
    if not np.array_equal(table.column("seq").to_numpy(), told):
        raise RecordingError(part.files["events"].file, f"tells of other {stream} than there are", part=part.number)
    return batches_of(stream, table, [r for _, r in said])
