"""Canonical columns to rows of numbers and codes: what is no attempt is counted by its reason and goes no further.

A row is one fixed-width record, so that a run of them is an array on the disk (`runs`). Names are codes of `Names` and
`Routes`; nothing of a request's path, header, client or id is in it but a 64-bit hash of its id, which the recording
does not keep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Arm, Floats, Ints, Method, Outcome
from weirflow.importing import meaning, times, values
from weirflow.importing.fields import PER_SECOND, column
from weirflow.importing.hashes import of_texts
from weirflow.importing.names import FULL, NO, Names, plain_address
from weirflow.importing.rejects import Rejects, quoted
from weirflow.importing.routes import Routes
from weirflow.importing.services import Services

Mask = NDArray[np.bool_]
LONGEST_S = 3600.0
"""Beyond an hour a request is a stream or a mistake (dataplane.als.checks has the same)."""

ROW: Final = np.dtype(
    [
        ("ended", "f8"),
        ("started", "f8"),
        ("request", "u8"),
        ("bytes_in", "i8"),
        ("bytes_out", "i8"),
        ("duration", "f4"),
        ("ttfb", "f4"),
        ("felt", "f4"),
        ("probability", "f4"),
        ("service", "i4"),
        ("endpoint", "i4"),
        ("node", "i4"),
        ("route", "i4"),
        ("weight", "i4"),
        ("status", "i2"),
        ("attempt", "i2"),  # 0: not told
        ("outcome", "i1"),
        ("arm", "i1"),
        ("method", "i1"),
    ]
)
Rows = NDArray[np.void]
METHODS: Final = {m.name: int(m) for m in Method}


@dataclass(frozen=True, slots=True)
class Read:
    """What a reader made of a piece of a file: canonical columns of one length, and the line of each row."""

    lines: Sequence[int]
    columns: Mapping[str, Sequence[Any]]


@dataclass(slots=True)
class Understanding:
    """What all files of an import share."""

    names: Names
    routes: Routes
    services: Services
    zone: tzinfo = UTC

    def rows(self, read: Read, node: str, rejects: Rejects) -> Rows:
        """The attempts of a piece, in the order of its lines."""
        n = len(read.lines)
        if not n:
            return np.empty(0, ROW)
        given = _Columns(read, rejects, self.zone)
        rows = np.zeros(n, ROW)
        duration = given.span("duration")
        ended = given.time("ended")
        rows["started"] = np.where(np.isnan(started := given.time("started")), ended - duration, started)
        duration = np.where(np.isnan(duration), ended - started, duration)
        rows["duration"], rows["ended"] = duration, rows["started"] + duration
        for name in ("ttfb", "felt"):
            rows[name] = given.span(name)
        for name in ("bytes_in", "bytes_out"):
            rows[name] = np.nan_to_num(given.number(name))
        rows["status"] = np.nan_to_num(given.number("status", 999))
        resent = given.number("resent") + 1
        rows["attempt"] = np.minimum(np.nan_to_num(np.where(np.isnan(resent), given.number("attempt"), resent)), 32_767)
        rows["weight"] = np.minimum(np.nan_to_num(given.number("weight")), 2**31 - 1)
        rows["probability"] = np.nan_to_num(given.number("probability", 1.0))
        self._place(rows, given, node)
        rows["method"] = given.method()
        if (ids := given.texts("request")) is not None:
            rows["request"] = of_texts(ids)
        flags, outcome = given.texts("flags"), given.texts("outcome")
        rows["outcome"], why = meaning.outcomes(rows["status"], given.number("grpc_status"), flags, outcome)
        return rows[self._sound(rows, given, why, rejects)]

    def _place(self, rows: Rows, given: _Columns, node: str) -> None:
        """Service, endpoint, node, route and arm."""
        rows["service"], adaptive = self.services.of(given.texts, len(rows), self.names.services)
        arms = given.texts("arm")
        rows["arm"] = adaptive if arms is None else [Arm.ADAPTIVE if a.lower() == "adaptive" else 0 for a in arms]
        addresses = [plain_address(a) if "/" in a else a for a in given.texts("endpoint") or [""] * len(rows)]
        rows["endpoint"] = self.names.endpoints(rows["service"].astype(np.int64), addresses, given.texts("zone"))
        nodes = given.texts("node")
        rows["node"] = self.names.nodes[node] if nodes is None else self.names.nodes.of([n or node for n in nodes])
        rows["route"] = given.routes(self.routes)

    def _sound(self, rows: Rows, given: _Columns, why: list[str], rejects: Rejects) -> Mask:
        """Which rows are attempts; the others are counted."""
        with np.errstate(invalid="ignore"):
            known = (rows["started"] >= times.EARLIEST_S) & (rows["started"] <= times.LATEST_S)
            lasting = rows["duration"] >= 0
            ordinary = rows["duration"] <= LONGEST_S
        keep = ~given.bad
        for reason, holds in (("no time that makes sense", known), ("no duration", lasting)):
            for i in np.flatnonzero(keep & ~holds).tolist():
                rejects.reject(int(given.lines[i]), reason)
            keep &= holds
        placed = np.isin(rows["outcome"], _NEED_ENDPOINT) & (rows["endpoint"] == NO)
        for reason, holds in (
            ("longer than an hour", ordinary),
            ("too many names", (rows["service"] != FULL) & (rows["endpoint"] != FULL) & (rows["node"] != FULL)),
            ("no service", rows["service"] != NO),
            ("no endpoint: the proxy answered itself", ~placed),
        ):
            rejects.leave_out(reason, int(np.count_nonzero(keep & ~holds)))
            keep &= holds
        nothing = keep & (rows["outcome"] == meaning.NOTHING)
        for i in np.flatnonzero(nothing).tolist():
            rejects.leave_out(why[i] if why else "no endpoint had a part in it")
        sound: Mask = keep & ~nothing
        return sound


_NEED_ENDPOINT: Final = [int(o) for o in (Outcome.OK, Outcome.ERROR, Outcome.TIMEOUT)]


class _Columns:
    """The columns of a piece, read one after another. `bad` marks rows with a value that is none, already counted."""

    def __init__(self, read: Read, rejects: Rejects, zone: tzinfo) -> None:
        self.lines = read.lines
        self.bad = np.zeros(len(read.lines), np.bool_)
        self._columns, self._rejects, self._zone = read.columns, rejects, zone
        self._by_base: dict[str, tuple[str, str]] = {}
        for name in read.columns:
            if (found := column(name)) is not None:
                self._by_base[found[0].name] = (name, found[1])

    def number(self, name: str, most: float = values.LARGEST) -> Floats:
        """A column of numbers, NaN where there is none. Shape (n,)."""
        given = self._columns.get(name)
        if given is None:
            return np.full(len(self.lines), np.nan)
        out, bad = values.numbers(given)
        if most < values.LARGEST:
            bad |= out > most
            out[bad] = np.nan
        self._mark(bad, name, given)
        return out

    def span(self, name: str) -> Floats:
        """A column of seconds. Shape (n,)."""
        name, unit = self._by_base.get(name, ("", ""))
        return self.number(name) / PER_SECOND[unit] if unit else np.full(len(self.lines), np.nan)

    def time(self, name: str) -> Floats:
        """A column of seconds since 1970. Shape (n,)."""
        name, unit = self._by_base.get(name, ("", ""))
        if not name:
            return np.full(len(self.lines), np.nan)
        return times.seconds(self._columns[name], unit, self._zone)

    def texts(self, name: str) -> Sequence[str] | None:
        """A column of texts, "" where absent; None when the log has no such column."""
        given = self._columns.get(name)
        return None if given is None else values.texts(given)

    def method(self) -> Ints:
        """`Method` by row."""
        given = self.texts("method")
        if given is None:
            lines = self.texts("request_line") or [""] * len(self.lines)
            given = [line.partition(" ")[0] for line in lines]
        known = {m: _method_of(m) for m in set(given)}
        return np.fromiter(map(known.__getitem__, given), np.int64, len(given))

    def routes(self, routes: Routes) -> Ints:
        """The code of each row's route."""
        by = routes.by
        if by in ("host", "cluster", "route"):
            return routes.of(self.texts(by) or [""] * len(self.lines), path=False)
        path = self.texts("path")
        if path is None and (lines := self.texts("request_line")) is not None:
            path = [line.split(" ", 2)[1] if line.count(" ") else "" for line in lines]
        if path is None:
            return routes.of(self.texts("route") or [""] * len(self.lines), path=False)
        return routes.of(path, path=True)

    def _mark(self, bad: Mask, name: str, given: Sequence[Any]) -> None:
        for i in np.flatnonzero(bad & ~self.bad).tolist():
            self._rejects.reject(int(self.lines[i]), f"{name} is no number", quoted(values.text(given[i])))
        self.bad |= bad


def _method_of(name: str) -> int:
    """By its name, or its number where a recording is imported again."""
    if name in METHODS:
        return METHODS[name]
    if len(name) == 1 and name.isdecimal():
        return int(name)
    return METHODS.get(name.upper(), 0) if len(name) < 10 else 0
