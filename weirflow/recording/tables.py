"""Batches of columns to Arrow tables and back, with the names that people read.

`Names` remembers what every integer of the run was called, the departed ones too: an attempt may be told after its
endpoint has left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataplane.contract import Arm, Columns, InFlight, Outcome, Topology
from weirflow.recording.schema import STREAMS, TELEMETRY, schema

Told = tuple[int, float, Columns]  # a call's number, its time, its batch


class Names:
    """Integer to name, by column. Integers are never used again within a run, so the tables only grow."""

    def __init__(self) -> None:
        self._by_column: dict[str, list[str | None]] = {
            c: [] for c in ("service", "endpoint", "zone", "node", "route")
        } | {
            "outcome": [o.name for o in Outcome],
            "arm": [a.name.lower() for a in Arm],
        }

    def learn(self, topology: Topology) -> None:
        """Take in the names of a topology."""
        for column, i, name in _named(topology):
            known = self._by_column[column]
            known.extend([None] * (i + 1 - len(known)))
            known[i] = name

    def contradicts(self, topology: Topology) -> bool:
        """Whether it gives a known integer another name, as when an endpoint's zone is corrected."""
        for column, i, name in _named(topology):
            known = self._by_column[column]
            if i < len(known) and known[i] not in (None, name):
                return True
        return False

    def column(self, name: str, ids: NDArray[Any]) -> Any:
        """The names of these integers as an Arrow dictionary of those in use; null where an integer has none."""
        names = self._by_column[name]
        slots = ids.astype(np.intp)
        slots[(slots < 0) | (slots >= len(names))] = len(names)  # one slot for all that have no name
        seen = np.zeros(len(names) + 1, np.bool_)
        seen[slots] = True
        used = np.flatnonzero(seen)
        index = np.zeros(len(names) + 1, np.int32)
        index[used] = np.arange(len(used), dtype=np.int32)
        called = [names[i] if i < len(names) else None for i in used.tolist()]
        indices = index.take(slots)
        # A null belongs to the indices, not to the dictionary: readers disagree about the latter.
        mask = None
        if None in called:
            mask = np.array([c is None for c in called], np.bool_).take(indices)
        dictionary = pa.array([c or "" for c in called], pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(indices, mask=mask), dictionary)


def _named(topology: Topology) -> Iterator[tuple[str, int, str]]:
    """(column, integer, name) of everything in a topology."""
    for s in topology.services:
        yield "service", s.id, s.name
        for e in s.endpoints:
            yield "endpoint", e.id, e.address
            yield "zone", e.id, e.zone
    for n in topology.nodes:
        yield "node", n.id, n.name
    for i, route in enumerate(topology.routes):
        yield "route", i, route


def telemetry_table(stream: str, told: Sequence[Told], names: Names) -> Any:
    """The rows of these calls as one Arrow table of a telemetry stream."""
    lengths = [len(batch) for _, _, batch in told]
    batches = [batch for _, _, batch in told]
    body = {c: np.concatenate([getattr(b, c) for b in batches]) for c in TELEMETRY[stream].dtypes()}
    extra: dict[str, NDArray[Any]] = {
        "seq": np.repeat(np.array([seq for seq, _, _ in told], np.int64), lengths),
        "now": np.repeat(np.array([now for _, now, _ in told], np.float64), lengths),
    }
    if stream == "in_flight":
        reports = [b for b in batches if isinstance(b, InFlight)]
        body["node"] = extra["node_id"] = np.repeat(np.array([b.node_id for b in reports], np.int32), lengths)
        extra["interval_s"] = np.repeat(np.array([b.interval_s for b in reports], np.float64), lengths)
    columns = []
    for c in STREAMS[stream]:
        if c.holds:
            columns.append(pa.array(body[c.holds], c.type))
        elif pa.types.is_dictionary(c.type):
            columns.append(names.column(c.name, body["endpoint" if c.name == "zone" else c.name]))
        else:
            columns.append(pa.array(extra[c.name], c.type))
    return pa.Table.from_arrays(columns, schema=schema(stream))


def batches_of(stream: str, table: Any, lengths: Sequence[int]) -> Iterator[Columns]:
    """The batches that a table was made of, bit for bit; their arrays are read-only. `lengths` must sum to its rows.

    The node and interval of an `InFlight` are not in its rows, which may be none: the caller puts them in.
    """
    batch = TELEMETRY[stream]
    columns = {
        c.holds: np.ascontiguousarray(table.column(c.name).combine_chunks().to_numpy(zero_copy_only=False))
        for c in STREAMS[stream]
        if c.holds
    }
    start = 0
    for length in lengths:
        yield batch.of(**{name: values[start : start + length] for name, values in columns.items()})
        start += length
