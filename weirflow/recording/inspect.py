"""Looks through a recording before work starts on it: what it covers, what is missing, and what it cannot answer.

Part by part, so that memory holds one. Damaged parts are reported and passed over.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from weirflow.recording.closed import ClosedPart
from weirflow.recording.errors import RecordingError
from weirflow.recording.reader import Recording, read
from weirflow.recording.report import Gap, HardlyTried, NodeClock, Report, render, to_dict
from weirflow.recording.schema import STREAMS

__all__ = ["Report", "inspect", "render", "to_dict"]

FEW_ATTEMPTS = 30
SMALL_SHARE_OF_EVEN = 0.01
"""An endpoint with fewer attempts than either is hardly tried: its reaction to more load was never seen."""

LOGGED = ("Requests", "Felt")
"""What a log tells: an import has nothing else."""

_BY = ("outcome", "arm", "service", "node")
_SAME = ("started_s", "duration_s", "felt_s", "endpoint_id", "node_id", "route_id", "attempt", "bytes_out", "status")
_COLUMNS = (*_BY, *_SAME, "now", "probability")


def inspect(folder: Path, heard: Callable[[int, int], None] = lambda *_: None) -> Report:
    """Look through a recording. RecordingError when it is none, or of a newer format.

    `heard` is told how many parts are done, and of how many.
    """
    recording = read(folder)
    faults = {(f.part, f.file): f for f in recording.faults}
    attempts, events = _Attempts(), _Events()
    for done, part in enumerate(recording.parts):
        heard(done, len(recording.parts))
        for look, stream in ((events.look, "events"), (attempts.look, "attempts")):
            try:
                if stream == "events" or part.number >= recording.telemetry_from:
                    look(part)
            except RecordingError as error:
                faults[error.part, error.file] = error
        faults |= {(f.part, f.file): f for f in _other_faults(recording, part)}
    events.end()
    return _report(recording, attempts, events, [faults[k] for k in sorted(faults, key=str)])


class _Attempts:
    """Counts attempts."""

    def __init__(self) -> None:
        self.by: dict[str, Counter[str]] = {column: Counter() for column in _BY}
        self.likely = 0
        self.duplicates = 0
        self.offsets: defaultdict[str, list[float]] = defaultdict(list)  # by node, the lowest of each part
        self.by_endpoint: Counter[int] = Counter()
        self._before: NDArray[np.uint64] = np.empty(0, np.uint64)

    def look(self, part: ClosedPart) -> None:
        """Count one part. RecordingError, and nothing counted, when it is no good."""
        table = part.table("attempts", _COLUMNS)
        columns = {name: table.column(name).to_numpy() for name in (*_SAME, "now", "probability")}
        for column, counter in self.by.items():
            for entry in pc.value_counts(table.column(column)).to_pylist():
                counter[entry["values"] or "(unknown)"] += entry["counts"]
        self.likely += int(np.count_nonzero(columns["probability"] > 0))
        ids, counts = np.unique(columns["endpoint_id"], return_counts=True)
        self.by_endpoint.update(dict(zip(ids.tolist(), counts.tolist(), strict=True)))
        self._clocks(part, columns)
        # A row that is told twice in a row of parts; each row's bytes as one hash.
        rows = np.unique(_hashes([columns[name] for name in _SAME]))
        self.duplicates += len(table) - len(rows) + len(np.intersect1d(rows, self._before, assume_unique=True))
        self._before = rows

    def _clocks(self, part: ClosedPart, columns: dict[str, NDArray[Any]]) -> None:
        with np.errstate(invalid="ignore", over="ignore"):  # what is no time is left out below
            offset = columns["now"] - (columns["started_s"] + columns["duration_s"])
        for node in part.topology.nodes:
            of = offset[(columns["node_id"] == node.id) & np.isfinite(offset)]
            if len(of):
                self.offsets[node.name].append(float(of.min()))


class _Events:
    """Follows the calls: what came when, and what did not."""

    def __init__(self) -> None:
        self.calls = 0
        self._lived = False  # somebody was there: something else came than what a log tells
        self.gaps: list[Gap] = []
        self.dropped: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.refused: Counter[str] = Counter()
        self.commands: list[dict[str, Any]] = []
        self._last: dict[str, float] = {}  # when each thing that ought to come regularly last came
        self._limit: dict[str, float] = {}
        self._seq, self._ended = 0, 0.0

    def look(self, part: ClosedPart) -> None:
        """Follow one part. RecordingError when it is no good."""
        rows = part.table("events", ("seq", "now", "verb", "kind", "who", "body")).to_pylist()
        if part.first_call != self._seq + 1 and self._seq:
            self.gaps.append(Gap(self._ended, part.started, "calls are missing: a part is damaged, lost or deleted"))
            self._last = dict.fromkeys(self._last, part.started)
        names = {n.id: n.name for n in part.topology.nodes}
        patience_s, tick_s = part.settings.learning.stale_after_s, part.settings.tick_s
        self._expect("no decision", 2.5 * tick_s, part.started)
        for name in names.values():
            self._expect(f"no load report from {name}", patience_s, part.started)
        for row in rows:
            try:
                self._follow(row, names)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                reason = f"call {row['seq']} makes no sense: {error!r}"
                raise RecordingError(part.files["events"].file, reason, part=part.number) from error
        self.calls += len(rows)
        self._seq, self._ended = part.last_call, part.ended

    @property
    def imported(self) -> bool:
        """Whether it was made of logs: a brain that is recorded hears of nodes and load reports, even if it hangs."""
        return self.calls > 0 and not self._lived

    def end(self) -> None:
        """Nothing came after the last call: whoever was silent then was silent to the end."""
        if self.imported:
            self._last.clear()  # a log has neither decisions nor load reports: nothing is missing
        for what in list(self._last):
            self._came(what, self._ended)
        self.gaps.sort(key=lambda g: (g.start, g.what))

    def _follow(self, row: dict[str, Any], names: dict[int, str]) -> None:
        now, kind = row["now"], row["kind"]
        self._lived |= row["verb"] != "started" and kind not in LOGGED
        if row["verb"] == "decided":
            self._came("no decision", now)
        elif kind == "InFlight":
            node = json.loads(row["body"])["node_id"]
            self._came(f"no load report from {names.get(node, node)}", now)
        elif kind == "Dropped":
            said = json.loads(row["body"])
            self.dropped[str(names.get(said["node"], said["node"]))].update(said["reasons"])
        elif kind == "Verdict":
            said = json.loads(row["body"])
            if not said["accepted"]:
                self.refused[str(names.get(said["node"], said["node"]))] += 1
        elif row["verb"] == "commanded":
            self.commands.append({"now": now, "who": row["who"], "command": f"{kind} {row['body']}"})

    def _expect(self, what: str, limit_s: float, now: float) -> None:
        self._limit[what] = limit_s
        self._last.setdefault(what, now)

    def _came(self, what: str, now: float) -> None:
        last = self._last.get(what, now)
        if now - last > self._limit.get(what, float("inf")):
            self.gaps.append(Gap(last, now, what))
        self._last[what] = now


def _other_faults(recording: Recording, part: ClosedPart) -> list[RecordingError]:
    """Whatever is wrong with the files that are not counted here."""
    faults = []
    for stream in ("felt", "in_flight", "decisions"):
        try:
            if stream == "decisions" or part.number >= recording.telemetry_from:
                part.table(stream, ["seq"])
        except RecordingError as error:
            faults.append(error)
    return faults


def _report(recording: Recording, attempts: _Attempts, events: _Events, faults: list[RecordingError]) -> Report:
    parts = recording.parts
    there = {p.number: p.files for p in parts}
    rows = dict.fromkeys(STREAMS, 0)
    sizes = dict.fromkeys(STREAMS, 0)
    for number, files in there.items():
        for stream, entry in files.items():
            if stream in ("events", "decisions") or number >= recording.telemetry_from:
                rows[stream] += entry.rows
                sizes[stream] += entry.bytes
    counted = sum(attempts.by["outcome"].values())
    plans: list[Any] = recording.table("decisions", ["plan"], faults=[]).column(0).to_pylist()
    nodes = sorted({n.name for p in parts for n in p.topology.nodes})
    return Report(
        folder=str(recording.folder),
        weirflow=recording.weirflow,
        run=recording.run,
        started=recording.started,
        ended=parts[-1].ended if parts else None,
        imported=events.imported,
        calls=events.calls,
        parts=len(parts),
        bytes=sum(sizes.values()),
        bytes_per_attempt=sizes["attempts"] / rows["attempts"] if rows["attempts"] else None,
        damaged=tuple({"part": f.part, "file": f.file, "reason": f.reason} for f in faults),
        unfinished=recording.unfinished,
        telemetry_deleted_before_part=recording.telemetry_from,
        parts_deleted_before_part=recording.parts_from,
        rows=rows,
        attempts_by={column: dict(counter.most_common()) for column, counter in attempts.by.items()},
        with_probability=attempts.likely / counted if counted else None,
        duplicates=attempts.duplicates,
        gaps=tuple(events.gaps),
        clocks=tuple(_clock(n, attempts) for n in nodes),
        dropped={node: dict(reasons) for node, reasons in sorted(events.dropped.items())},
        plans=len({p for p in plans if p is not None}),
        without_plan=plans.count(None),
        refused=dict(events.refused),
        commands=tuple(events.commands),
        hardly_tried=tuple(_hardly_tried(parts[-1], attempts.by_endpoint)) if parts else (),
    )


def _clock(node: str, attempts: _Attempts) -> NodeClock:
    lowest = attempts.offsets.get(node, [])
    count = attempts.by["node"][node]
    if not lowest:
        return NodeClock(node, count, None, None)
    return NodeClock(node, count, min(lowest), max(lowest) - min(lowest))


def _hardly_tried(last: ClosedPart, by_endpoint: Counter[int]) -> list[HardlyTried]:
    """Members at the end of the recording that had too few attempts."""
    rare = []
    for service in last.topology.services:
        counts = [by_endpoint[e.id] for e in service.endpoints]
        even = sum(counts) / max(1, len(counts))
        for endpoint, count in zip(service.endpoints, counts, strict=True):
            if count < max(FEW_ATTEMPTS, SMALL_SHARE_OF_EVEN * even):
                rare.append(HardlyTried(service.name, endpoint.address, count, count / even if even else None))
    return rare


def _hashes(columns: list[NDArray[Any]]) -> NDArray[np.uint64]:
    """One number a row, the same for rows of the same bits and, but for one chance in 10^7, for no others.

    A multiplicative mix in the manner of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
    generators, 2014).
    """
    out = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        bits = np.ascontiguousarray(column).view(f"u{column.dtype.itemsize}").astype(np.uint64)
        out = (out ^ bits) * np.uint64(0x9E3779B97F4A7C15)
        out ^= out >> np.uint64(29)
    return out
