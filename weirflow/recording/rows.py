"""What waits to be written to the open part, in the shape it came in: batches by reference, events as tuples.

A stream is written out whenever it has a row group's worth, so memory does not grow with the length of a part.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from brain.decision import Decision
from dataplane.contract import Columns
from weirflow.recording.calls import to_json
from weirflow.recording.part import Part
from weirflow.recording.schema import ROW_GROUP, STREAM_OF, TELEMETRY, schema
from weirflow.recording.tables import Names, Told, telemetry_table

TEXT_GROUP = 1 << 23  # characters of JSON held before they are written


class Rows:
    """The rows of one part that are not yet in its files. Methods raise OSError when the disk refuses."""

    def __init__(self, part: Part, names: Names) -> None:
        self.telemetry = 0  # rows taken, written out or not
        self.attempts = 0  # of them, attempts
        self._part, self._names = part, names
        self._told: dict[str, list[Told]] = {stream: [] for stream in TELEMETRY}
        self._waiting = dict.fromkeys(TELEMETRY, 0)
        self._decisions: list[tuple[Any, ...]] = []
        self._events: list[tuple[Any, ...]] = []
        self._text = 0

    def told(self, seq: int, now: float, batch: Columns) -> None:
        """Take a batch; its arrays must not change any more."""
        stream = STREAM_OF[type(batch).__name__]
        self.telemetry += len(batch)
        self.attempts += len(batch) if stream == "attempts" else 0
        self._told[stream].append((seq, now, batch))
        self._waiting[stream] += len(batch)
        if self._waiting[stream] >= ROW_GROUP:
            self._flush_telemetry(stream)

    def decided(self, seq: int, now: float, decision: Decision) -> None:
        """Take a decision."""
        body = to_json(decision.to_dict())
        plan = None if decision.plan is None else decision.plan.version
        self._decisions.append((seq, now, decision.tick, plan, decision.frozen, body))
        self._grow(len(body))

    def happened(self, seq: int, now: float, verb: str, kind: str, rows: int, who: str, body: str, state: Any) -> None:
        """Take a call's row in the list of calls."""
        self._events.append((seq, now, verb, kind, rows, who, body, state))
        self._grow(len(body) + len(state or b"") + 64)

    def flush(self) -> None:
        """Write everything that waits."""
        for stream in TELEMETRY:
            self._flush_telemetry(stream)
        self._flush_text()

    def _grow(self, size: int) -> None:
        self._text += size
        if self._text >= TEXT_GROUP:
            self._flush_text()

    def _flush_telemetry(self, stream: str) -> None:
        if self._waiting[stream]:
            self._part.write(stream, telemetry_table(stream, self._told[stream], self._names))
        self._told[stream], self._waiting[stream] = [], 0

    def _flush_text(self) -> None:
        for stream, rows in (("decisions", self._decisions), ("events", self._events)):
            if rows:
                form = schema(stream)
                columns = [
                    pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), form, strict=True)
                ]
                self._part.write(stream, pa.Table.from_arrays(columns, schema=form))
                rows.clear()
        self._text = 0
