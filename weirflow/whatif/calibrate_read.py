"""A recording's attempts of one service, in the order in which they started, in blocks that fit into memory.

Two readings of the same parts. `survey` looks at all of them once: whose clock is ahead, how long a row may be on its
way, what each class takes. `blocks` then puts the rows in order: a row is told once it has ended, so those that started
before a part's end less the longest way are all there, and the others wait for the next block.

Node clocks are brought onto the brain's. A row cannot arrive before it has ended, and some rows arrive at once, so the
least of (time of arrival - end) is a node's clock's offset and the way of its quickest row. Where nodes differ by less
than `SAME_CLOCK_S` that is the way's, and all clocks are taken for one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Floats, Outcome
from models.resolution import step_of
from weirflow.recording import Recording, RecordingError
from weirflow.recording.closed import ClosedPart
from weirflow.recording.schema import schema

SAME_CLOCK_S = 0.05
"""How far apart quick rows of two nodes may be when their clocks agree: half a flush of the log."""
BLOCK_ROWS = 250_000
"""Attempts worked on at once."""
SAME_REQUEST_S = 0.005
"""How far apart the two logs of a proxy may see the end of one request."""
_WANTED = (
    *("now", "service_id", "endpoint_id", "node_id", "route_id", "outcome_id", "arm_id"),
    *("status", "attempt", "started_s", "duration_s", "felt_s"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Attempts, in the order in which they started. Times are seconds since the recording began."""

    at_s: Floats
    end_s: Floats
    felt_s: Floats
    endpoint: NDArray[np.int32]  # its id in the recording; -1: none was picked
    node: NDArray[np.int32]
    route: NDArray[np.int32]  # -1: unknown
    outcome: NDArray[np.int8]
    adaptive: NDArray[np.bool_]
    status: NDArray[np.int16]
    attempt: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.at_s)

    def take(self, index: Any) -> Rows:
        """Some of them, by number or by mask."""
        some = np.flatnonzero(index) if np.asarray(index).dtype == np.bool_ else index
        return Rows(*(getattr(self, name).take(some) for name in Rows.__slots__))

    @classmethod
    def concat(cls, some: list[Rows]) -> Rows:
        """All of them."""
        return cls(*(np.concatenate([getattr(r, name) for r in some]) for name in Rows.__slots__))


@dataclass(slots=True, eq=False)
class Survey:
    """What one look at all attempts of a service tells."""

    service: int
    offset_s: dict[int, float] = field(default_factory=dict)  # by node: what makes its time the brain's
    longest_way_s: float = 0.0  # from a row's start to when it is told, by the brain's time
    last_s: float = 0.0  # the end of the recording, since its begin
    attempts: int = 0
    requests: int = 0
    adaptive: int = 0
    least_s: float = np.inf  # that an answer took
    took_s: Floats = field(default_factory=lambda: np.zeros(0))  # by route + 1: the sum
    squares: Floats = field(default_factory=lambda: np.zeros(0))
    answers: Floats = field(default_factory=lambda: np.zeros(0))
    seen: Floats = field(default_factory=lambda: np.zeros(0))  # attempts and refusals
    issued: int = 0  # attempts that load reports count
    skewed: tuple[int, ...] = ()
    starts_to_s: float = 0.0  # the step in which starts are told; 0: none to be seen
    lasts_to_s: float = 0.0  # and durations

    @property
    def open_s(self) -> float:
        """By how much what is between one row's end and another's may be off, by the steps of both."""
        return self.starts_to_s + self.lasts_to_s


def survey(recording: Recording, service: int, faults: list[RecordingError]) -> Survey:
    """Look once. Damaged parts are put into `faults` and passed over."""
    out = Survey(service)
    quickest: dict[int, float] = {}
    slowest: dict[int, float] = {}
    for part, table in recording.tables("attempts", _WANTED, faults=faults):
        out.last_s = max(out.last_s, part.ended - recording.started)
        c = _columns(table, service, imported=_imported(part))
        started, duration = c["started_s"], c["duration_s"].astype(np.float64)
        out.starts_to_s = max(out.starts_to_s, step_of(started))
        out.lasts_to_s = max(out.lasts_to_s, step_of(c["duration_s"]))
        for node in np.unique(c["node_id"]).tolist():
            mine = c["node_id"] == node
            offset = float((c["now"] - started - duration)[mine].min())
            quickest[node] = min(quickest.get(node, np.inf), offset)
            slowest[node] = max(slowest.get(node, -np.inf), float((c["now"] - started)[mine].max()))
        _count(out, c, duration)
        out.seen = _added(out.seen, _felt(part, out, recording.started, faults).route + 1)
        out.issued += _issued(part, service, faults)
    usual = float(np.median(list(quickest.values()))) if quickest else 0.0
    out.skewed = tuple(n for n, offset in sorted(quickest.items()) if abs(offset - usual) > SAME_CLOCK_S)
    # Nodes that agree keep their times; if all are late together, it is the way and no clock.
    out.offset_s = {n: offset - usual if n in out.skewed else 0.0 for n, offset in quickest.items()}
    out.longest_way_s = max((s - out.offset_s[n] for n, s in slowest.items()), default=0.0)
    return out


def _issued(part: ClosedPart, service: int, faults: list[RecordingError]) -> int:
    """How many attempts the load reports of a part count."""
    try:
        reports = part.table("in_flight", ("service_id", "issued"))
    except RecordingError as error:
        faults.append(error)
        return 0
    mine = reports.column("service_id").to_numpy() == service
    return int(reports.column("issued").to_numpy()[mine].sum())


def _count(out: Survey, c: dict[str, Any], duration: Floats) -> None:
    first, answered = c["attempt"] == 1, c["outcome_id"] == Outcome.OK
    out.attempts += len(duration)
    out.requests += int(first.sum())
    out.adaptive += int((c["arm_id"][first] == 1).sum())
    if answered.any():
        out.least_s = min(out.least_s, float(duration[answered].min()))
    route = c["route_id"] + 1
    out.seen = _added(out.seen, route)
    out.answers = _added(out.answers, route[answered])
    out.took_s = _added(out.took_s, route[answered], duration[answered])
    out.squares = _added(out.squares, route[answered], duration[answered] ** 2)


def _added(old: Floats, route: NDArray[np.integer], weight: Floats | None = None) -> Floats:
    """Sums by route, with these."""
    more = np.bincount(route, weight, minlength=len(old)).astype(np.float64)
    more[: len(old)] += old
    return more


def blocks(
    recording: Recording, about: Survey, *, rows: int = BLOCK_ROWS, faults: list[RecordingError] | None = None
) -> Iterator[Rows]:
    """All attempts in order, in blocks of about so many. The last one may be small.

    Rows of attempt 0 are what users felt of requests that ended badly. A request that was refused and had no attempt,
    because it was shed, is there as a first attempt at no endpoint as well.
    """
    held: list[Rows] = []
    faults = faults if faults is not None else []
    for part, table in recording.tables("attempts", _WANTED, faults=faults):
        for number, (piece, told) in enumerate(_pieces(table, rows, part.ended)):
            held.append(_rows(_columns(piece, about.service, imported=_imported(part)), about, recording.started))
            if number == 0:  # later ones wait with them
                held.append(_felt(part, about, recording.started, faults))
            many = sum(map(len, held))
            if many >= rows:
                whole = Rows.concat(held)
                ready = whole.at_s < told - recording.started - about.longest_way_s
                if ready.sum() * 2 >= many:  # else nearly all must wait: read on
                    yield _ordered(whole.take(ready))
                    held = [whole.take(~ready)]
    if any(map(len, held)):
        yield _ordered(Rows.concat(held))


def _pieces(table: Any, rows: int, ended: float) -> Iterator[tuple[Any, float]]:
    """A part's rows, so many at a time, each with the time from which on what comes after it was told."""
    told = np.append(table.column("now").to_numpy(), ended)
    least = np.minimum.accumulate(told[::-1])[::-1]
    for first in range(0, max(len(table), 1), rows):
        yield table.slice(first, rows), float(least[min(first + rows, len(table))])


def _felt(part: ClosedPart, about: Survey, started: float, faults: list[RecordingError]) -> Rows:
    """What users felt of requests that ended badly, as rows of attempt 0."""
    wanted = ("service_id", "node_id", "route_id", "outcome_id", "arm_id", "status", "started_s", "duration_s")
    try:
        table = part.table("felt", wanted)
    except RecordingError as error:
        faults.append(error)
        table = schema("felt").empty_table().select(list(wanted))
    c = {name: table.column(name).to_numpy() for name in wanted}
    mine = (c["service_id"] == about.service) & np.isfinite(c["started_s"]) & np.isfinite(c["duration_s"])
    c = {name: values[mine] for name, values in c.items()}
    zero = np.zeros(int(mine.sum()), np.int64)
    return _rows(c | {"endpoint_id": zero - 1, "attempt": zero, "felt_s": c["duration_s"]}, about, started)


def felt(recording: Recording, service: int) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """When each request began, how long its user waited, and whether the answer was good; as the proxies log it."""
    about = survey(recording, service, [])
    parts = []
    for rows in blocks(recording, about):
        ended = rows.take((rows.outcome == Outcome.OK) | (rows.attempt == 0))
        parts.append((ended.end_s - ended.felt_s, ended.felt_s, ended.outcome == Outcome.OK))
    if not parts:
        return np.empty(0), np.empty(0), np.empty(0, np.bool_)
    at_s, waited_s, good = (np.concatenate(column) for column in zip(*parts, strict=True))
    return at_s, waited_s, good


def _imported(part: ClosedPart) -> bool:
    """Whether no brain was there: a live one decides once a second."""
    return "decisions" not in part.files


def _columns(table: Any, service: int, *, imported: bool) -> dict[str, Any]:
    columns = {name: table.column(name).to_numpy() for name in _WANTED}
    mine = (columns["service_id"] == service) & np.isfinite(columns["started_s"]) & np.isfinite(columns["duration_s"])
    columns = {name: values[mine] for name, values in columns.items()}
    if imported:
        # A log of one line a request tells its last try alone, with the time of them all: that is the request.
        whole = columns["felt_s"] <= columns["duration_s"]
        columns["attempt"] = np.where(whole & (columns["attempt"] > 1), 1, columns["attempt"])
    return columns


def _rows(c: dict[str, Any], about: Survey, started: float) -> Rows:
    offsets = np.zeros(int(c["node_id"].max(initial=-1)) + 1)
    for node, offset in about.offset_s.items():
        if node < len(offsets):
            offsets[node] = offset
    at_s = c["started_s"] + offsets[c["node_id"]] - started
    ids = {name: c[f"{name}_id"].astype(np.int32) for name in ("endpoint", "node", "route")}
    more = {name: c[name].astype(np.int16) for name in ("status", "attempt")}
    end_s, felt_s = at_s + c["duration_s"].astype(np.float64), c["felt_s"].astype(np.float64)
    return Rows(at_s, end_s, felt_s, outcome=c["outcome_id"].astype(np.int8), adaptive=c["arm_id"] == 1, **ids, **more)


def _ordered(rows: Rows) -> Rows:
    refused = rows.outcome == Outcome.REJECTED
    felt = np.flatnonzero(refused & (rows.attempt == 0))
    # Refused may be a first try, or another one of a request whose first try failed: both began when the request did.
    tried = np.flatnonzero((rows.outcome != Outcome.OK) & (rows.attempt == 1))
    alone = []
    for node in np.unique(rows.node[felt]).tolist():
        of_felt, of_tried = felt[rows.node[felt] == node], tried[rows.node[tried] == node]
        alone.append(of_felt[~_paired(rows.at_s[of_felt], rows.at_s[of_tried])])
    if alone:
        shed = rows.take(np.concatenate(alone))
        shed.attempt[:] = 1
        rows = Rows.concat([rows, shed])
    return rows.take(np.lexsort((rows.end_s, rows.node, rows.at_s)))


def _paired(one: Floats, other: Floats) -> NDArray[np.bool_]:
    """Of two lists of times, each in order: who of the first has a time of the second for itself, nearly the same."""
    out = np.zeros(len(one), np.bool_)
    order = np.argsort(one, kind="stable")
    times, j = np.sort(other), 0
    for i in order.tolist():
        while j < len(times) and times[j] < one[i] - SAME_REQUEST_S:
            j += 1
        if j < len(times) and times[j] <= one[i] + SAME_REQUEST_S:
            out[i] = True
            j += 1
    return out
