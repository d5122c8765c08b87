"""A recording as pandas frames.

Time is the brain's: the index of every frame is the moment at which the brain was told, or decided, as UTC. It never
runs back, and it is the same clock for all nodes, so windows of different frames fit. Durations are seconds as floats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from weirflow.config.problems import mend_of, shown
from weirflow.flat import Row
from weirflow.opened import rows
from weirflow.recording import Recording, RecordingError

if TYPE_CHECKING:
    from weirflow.opened.plots import Plots

Time = Any
"""Text, seconds since 1970, or a Timestamp."""

ATTEMPTS = (
    *("service", "endpoint", "zone", "node", "route", "outcome", "arm", "method", "status", "attempt"),
    *("duration_s", "ttfb_s", "felt_s", "bytes_in", "bytes_out", "plan", "weight", "probability", "started_s"),
)
DIGITS = 6
"""Time is told to the microsecond: of a moment since 1970, a float holds no more."""
_NAMES = ("service", "endpoint", "zone", "node", "route", "outcome", "arm", "kind", "severity", "mode", "state")
"""Columns that are categories wherever they occur: few values, many rows."""
_WHOLE = ("plan", "limit")
"""Whole numbers that may be missing."""


class Opened:
    """A recording: its frames, its plots, and smaller windows of it.

    What is promised of version 0.x: the names below, their columns, units and index stay as they are, and columns may
    be added. Frames are made when first asked for and kept; what is handed out is a copy that may be changed at will.
    RecordingError from any of them when a part cannot be read, unless `weirflow.open` was told to skip such parts.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        faults: list[RecordingError] | None = None,
        start_s: float | None = None,
        end_s: float | None = None,
        service: str | None = None,
    ) -> None:
        self._held = recording
        self._faults = faults
        self._start_s, self._end_s, self._service = start_s, end_s, service
        self._frames: dict[str, Any] = {}

    def __repr__(self) -> str:
        names, parts = ", ".join(self.services.index), len(self._parts.parts)
        return (
            f"<recording {self._whole().folder.name}: {names}; {self.start:%F %T} to {self.end:%F %T}, {parts} parts>"
        )

    # What it is.

    @property
    def recording(self) -> Recording:
        """The recording itself, for `weirflow replay` and its likes; the window does not hold there."""
        return self._whole()

    @property
    def faults(self) -> list[str]:
        """What could not be read of the frames asked for so far, in words; empty unless such parts are skipped."""
        return [str(fault) for fault in self._faults or ()]

    @property
    def start(self) -> pd.Timestamp:
        """Of the window, else of the recording."""
        return _moment(self._whole().started if self._start_s is None else self._start_s)

    @property
    def end(self) -> pd.Timestamp:
        """Of the window, else of the last whole part."""
        ended = max((p.ended for p in self._whole().parts), default=self._whole().started)
        return _moment(ended if self._end_s is None else self._end_s)

    @property
    def services(self) -> pd.DataFrame:
        """A row a service, by name: `endpoints` and `zones`, how many it ever had."""
        seen: dict[str, dict[str, str]] = {}
        for part in self._whole().parts:
            for s in part.topology.services:
                if self._service in (None, s.name):
                    seen.setdefault(s.name, {}).update({e.address: e.zone for e in s.endpoints})
        counts = [{"endpoints": len(z), "zones": len({*z.values()})} for z in seen.values()]
        return pd.DataFrame(counts, index=pd.Index(list(seen), name="service"), columns=["endpoints", "zones"])

    # Less of it.

    def between(self, start: Time | None = None, end: Time | None = None) -> Opened:
        """What was told or decided from `start` up to and without `end`. Parts that lie outside are not opened.

        A moment is text ("2026-11-27 09:30", UTC unless it says otherwise), a Timestamp, or seconds since 1970; None is
        the recording's own end. ValueError when it is no moment, or when the window ends before it begins.
        """
        start_s, end_s = self._start_s, self._end_s
        if start is not None:
            start_s = max(_seconds(start), float("-inf") if start_s is None else start_s)
        if end is not None:
            end_s = min(_seconds(end), float("inf") if end_s is None else end_s)
        if start_s is not None and end_s is not None and end_s < start_s:
            raise ValueError(f"the window ends before it begins: {start} to {end}")
        return self._of(start_s, end_s, self._service)

    def service(self, name: str) -> Opened:
        """What is of this service alone. KeyError, naming the nearest, for one that the recording does not have."""
        known = list(self.services.index)
        if name not in known:
            mend = mend_of(name, known, kind="services")
            raise KeyError(f"the recording has no service {shown(name)}" + (f"; {mend}" if mend else ""))
        return self._of(self._start_s, self._end_s, name)

    def _of(self, start_s: float | None, end_s: float | None, service: str | None) -> Opened:
        return type(self)(self._whole(), faults=self._faults, start_s=start_s, end_s=end_s, service=service)

    # The frames.

    @property
    def attempts(self) -> pd.DataFrame:
        """A row a finished attempt. Columns as in docs/reference/recording.md, without the integers beside names;
        `started` is when it began by the node's own clock. Names are categories."""
        return self._frame("attempts", lambda: self.read("attempts", ATTEMPTS))

    @property
    def decisions(self) -> pd.DataFrame:
        """A row a service and tick: `mode`, `state`, `share_percent`, `plan` (NA: no lease was renewed), what each arm
        felt (`static_p99_s`, `adaptive_p99_s`, ...), `gain` with `gain_low` and `gain_high`, `capacity_per_s`,
        `asked_per_s`, limits, and the `reason`."""
        return self._frame("decisions", lambda: self._told(rows.of_services))

    @property
    def endpoints(self) -> pd.DataFrame:
        """A row an endpoint and tick: `weight` in force, `proposed`, `share` of the adaptive arm (0 to 1),
        `capacity_per_s` with its 90 % interval, `rate_per_s`, `error_share`, `latency_s`, `p50_s` and `p99_s` as seen
        lately, `p50_predicted_s`, `p95_predicted_s` and `p99_predicted_s` (NaN unless `adaptive.models.quantiles` is
        on), `guard` and `reason`."""
        return self._frame("endpoints", lambda: self._told(rows.of_endpoints))

    @property
    def forecasts(self) -> pd.DataFrame:
        """A row a service, tick and horizon (`ahead_s`): `value_per_s` with its 90 % interval `low_per_s` to
        `high_per_s`, `p99_per_s`, `spare`, what was `asked_per_s` then, and `at`: the moment it is foretold for."""
        return self._frame("forecasts", self._forecasts)

    @property
    def alerts(self) -> pd.DataFrame:
        """A row an alert that opened (`opened`) or closed, with its labels' `service` and `endpoint`."""
        return self._frame("alerts", lambda: _with_since(self._told(rows.of_alerts)))

    @property
    def incidents(self) -> pd.DataFrame:
        """A row an incident, by `incident` (its id): `since`, `found` and `until` (NaT: open at the end), what it was
        at its worst (`harm`), and its last words. The one frame whose index is no time."""
        return self._frame("incidents", self._incidents)

    @property
    def commands(self) -> pd.DataFrame:
        """A row an operator's word: `command`, `who`, and what was `told`, as a dict."""
        return self._frame("commands", self._commands)

    @property
    def models(self) -> pd.DataFrame:
        """How well each model of latency and of demand foresaw this recording: `weirflow models list`, as a frame.

        The whole recording is told to the models in order, whatever the window: it takes a second a minute of mesh.
        """
        from weirflow.scored import rows_of, score

        return self._frame("models", lambda: _of_service(pd.DataFrame(rows_of(score(self._whole()))), self._service))

    @property
    def plot(self) -> Plots:
        """Plots of a line each; they return matplotlib's Axes."""
        from weirflow.opened.plots import Plots

        return Plots(self)

    def read(self, stream: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The rows of a stream (`attempts`, `felt`, `in_flight`) with these columns of docs/reference/recording.md.

        Less than a property reads, for recordings that are large. ValueError for a column that there is not.
        """
        from weirflow.recording.schema import STREAMS

        if stream not in STREAMS:
            raise ValueError(f"there is no stream {shown(stream)}; {mend_of(stream, STREAMS, kind='streams')}")
        known = [c.name for c in STREAMS[stream]]
        wanted = list(columns if columns is not None else known)
        for name in wanted:
            if name not in known:
                raise ValueError(f"{stream} have no column {shown(name)}; {mend_of(name, known, kind='columns')}")
        asked = list(dict.fromkeys(["now", *wanted, *(["service"] if "service" in known else [])]))
        tables = [self._cut(table) for _, table in self._parts.tables(stream, asked, faults=self._faults)]
        empty = pa.schema([pa.field(c.name, c.type) for c in STREAMS[stream] if c.name in asked]).empty_table()
        whole = pa.concat_tables(tables).unify_dictionaries() if tables else empty
        frame = whole.to_pandas()
        if "started_s" in wanted and stream != "in_flight":
            # By a clock that is not ours: what it cannot mean is NaT.
            frame["started"] = pd.to_datetime(frame.pop("started_s"), unit="s", utc=True, errors="coerce")
            wanted[wanted.index("started_s")] = "started"
        return _indexed(frame)[[c for c in wanted if c != "now"]]

    def latency(self, found: Sequence[float]) -> pd.DataFrame:
        """Of a checkpoint: the latency curve of the model that decides. Mean seconds of an attempt that finds so many
        requests open, a row for each of `found`, a column an endpoint, by service and address; NaN: not known."""
        reason = "is a recording: a curve is what a brain knows at one moment, and that is in a checkpoint"
        raise RecordingError(self._whole().folder.name, reason)

    # How they are made.

    def _whole(self) -> Recording:
        """All of the recording. RecordingError when this is a checkpoint."""
        return self._held

    @cached_property
    def _parts(self) -> Recording:
        """The recording with the parts alone that reach into the window."""
        low = float("-inf") if self._start_s is None else self._start_s
        high = float("inf") if self._end_s is None else self._end_s
        inside = tuple(p for p in self._whole().parts if p.ended >= low and p.started < high)
        return replace(self._whole(), parts=inside)

    def _frame(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._frames:
            self._frames[name] = make()
        return self._frames[name].copy()

    def _cut(self, table: Any) -> Any:
        """The rows of a table that are in the window and of the service."""
        keep, now = [], pc.round(table["now"], DIGITS)  # as the index has it
        if self._start_s is not None:
            keep.append(pc.greater_equal(now, self._start_s))
        if self._end_s is not None:
            keep.append(pc.less(now, self._end_s))
        if self._service is not None and "service" in table.column_names:
            keep.append(pc.fill_null(pc.equal(table["service"].cast(pa.string()), self._service), False))
        for one in keep[1:]:
            keep[0] = pc.and_(keep[0], one)
        return table.filter(keep[0]) if keep else table

    def _documents(self) -> Iterator[tuple[float, int, dict[str, Any]]]:
        """Time, tick and whole Decision of each tick in the window."""
        for _, table in self._parts.tables("decisions", ["now", "tick", "decision"], faults=self._faults):
            for now, tick, text in zip(*self._cut(table).to_pydict().values(), strict=True):
                yield now, tick, json.loads(text)

    def _told(self, cut: Callable[[Row, str | None], Iterable[Row]]) -> pd.DataFrame:
        found = [
            {"now": now, "tick": tick} | row
            for now, tick, document in self._documents()
            for row in cut(document, self._service)
        ]
        columns = ["now", "tick", *next(iter(cut(rows.BLANK, None)))]
        return _indexed(pd.DataFrame(found, columns=columns))

    def _forecasts(self) -> pd.DataFrame:
        frame = self._told(rows.of_forecasts)
        frame["at"] = frame.index + pd.TimedeltaIndex(pd.to_timedelta(frame["ahead_s"], unit="s"))
        return frame

    def _incidents(self) -> pd.DataFrame:
        seen: dict[str, dict[str, Any]] = {}
        last_s = float("nan")
        for now, _, document in self._documents():
            last_s = now
            for row in rows.of_incidents(document, self._service):
                name = str(row.pop("incident"))
                before = seen.get(name, {"found": _moment(now), "harm": 0.0})
                seen[name] = before | row | {"harm": max(before["harm"], row["harm"]), "seen_s": now}
        columns = ["kind", "service", "endpoint", "severity", "since", "found", "until", "harm", "summary", "causes"]
        out = []
        for row in seen.values():
            since_s, seen_s = row.pop("since_s"), row.pop("seen_s")
            out.append(row | {"since": _moment(since_s), "until": pd.NaT if seen_s == last_s else _moment(seen_s)})
        frame = pd.DataFrame(out, index=pd.Index(list(seen), name="incident"))
        return frame.reindex(columns=[*columns, "done", "advice", "evidence"])

    def _commands(self) -> pd.DataFrame:
        out = []
        asked = ["now", "verb", "kind", "who", "body"]
        for _, table in self._parts.tables("events", asked, faults=self._faults):
            of = self._cut(table.filter(pc.equal(table["verb"].cast(pa.string()), "commanded"))).to_pydict()
            for now, kind, who, body in zip(of["now"], of["kind"], of["who"], of["body"], strict=True):
                told = json.loads(body)
                if self._service in (None, told.get("service", self._service)):
                    out.append({"now": now, "command": kind, "who": who, "told": told})
        return _indexed(pd.DataFrame(out, columns=["now", "command", "who", "told"]))


def _indexed(frame: pd.DataFrame) -> pd.DataFrame:
    """By time, in UTC; names as categories."""
    for name in _NAMES:
        if name in frame:
            frame[name] = frame[name].astype("category").cat.remove_unused_categories()
    for name in _WHOLE:
        if name in frame:
            frame[name] = frame[name].astype("Int64")
    # What was never known in the whole frame is no number to pandas: it is NaN all the same.
    for name in frame.columns:
        if name.endswith(("_s", "_per_s", "_share")) or name in ("gain", "gain_low", "gain_high", "spare"):
            frame[name] = frame[name].astype("float64")
    now = frame.pop("now").astype("float64").round(DIGITS)
    frame.index = pd.DatetimeIndex(pd.to_datetime(now, unit="s", utc=True), name="time")
    return frame


def _with_since(frame: pd.DataFrame) -> pd.DataFrame:
    frame["since"] = pd.to_datetime(frame.pop("since_s"), unit="s", utc=True)
    return frame


def _of_service(frame: pd.DataFrame, service: str | None) -> pd.DataFrame:
    return frame if service is None or frame.empty else frame[frame.service == service].reset_index(drop=True)


def _moment(seconds: float) -> pd.Timestamp:
    return pd.Timestamp(seconds, unit="s", tz="UTC")


def _seconds(moment: Any) -> float:
    if isinstance(moment, int | float):
        return round(float(moment), DIGITS)
    try:
        at = pd.Timestamp(moment)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{shown(str(moment))} is no moment: write it as in '2026-11-27 09:30:00'") from error
    if at is pd.NaT:
        raise ValueError("NaT is no moment")
    return round(float((at.tz_localize("UTC") if at.tz is None else at).timestamp()), DIGITS)
