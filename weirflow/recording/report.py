"""What is in a recording and what is missing, as plain data and as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

IMPORTED = "none: imported from logs, which hold no decisions and no load reports"
_LINES = 20  # of one list in the text; the JSON has them all


@dataclass(frozen=True, slots=True)
class Gap:
    """A time of which something is missing. `start` and `end` are the brain's time, seconds since 1970."""

    start: float
    end: float
    what: str


@dataclass(frozen=True, slots=True)
class NodeClock:
    """The brain's clock less a node's, delivery of the log included, by attempts: seconds, None without attempts.

    `offset_s` is the lowest seen. `drift_s` is how far the lowest of one part lies from that of another.
    """

    node: str
    attempts: int
    offset_s: float | None
    drift_s: float | None


@dataclass(frozen=True, slots=True)
class HardlyTried:
    """An endpoint with too few attempts to say what it would have done with more."""

    service: str
    endpoint: str
    attempts: int
    share_of_even: float | None  # of an even share of its service's attempts; None when there were none


@dataclass(frozen=True, slots=True)
class Report:
    """All of it. Times in the brain's time, seconds since 1970; None where there is nothing to tell from."""

    folder: str
    weirflow: str
    run: str
    started: float
    ended: float | None
    imported: bool  # made of logs, which have no decisions, load reports or verdicts
    calls: int
    parts: int
    bytes: int
    bytes_per_attempt: float | None
    damaged: tuple[Mapping[str, Any], ...]  # part, file, reason
    unfinished: tuple[str, ...]
    telemetry_deleted_before_part: int  # 1: none was
    parts_deleted_before_part: int
    rows: Mapping[str, int]  # by stream
    attempts_by: Mapping[str, Mapping[str, int]]  # by outcome, arm, service, node; then by name
    with_probability: float | None  # share of attempts with a pick probability
    duplicates: int  # attempts that look the same as another of that part or the one before
    gaps: tuple[Gap, ...]
    clocks: tuple[NodeClock, ...]
    dropped: Mapping[str, Mapping[str, int]]  # log entries that nobody learned from, by node and reason
    plans: int  # versions decided
    without_plan: int  # decisions that renewed no lease
    refused: Mapping[str, int]  # NACKs, by node
    commands: tuple[Mapping[str, Any], ...]  # now, who, command
    hardly_tried: tuple[HardlyTried, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged and nothing was deleted: whether it can be replayed from start to end."""
        return not self.damaged and self.telemetry_deleted_before_part == 1 and self.parts > 0


def to_dict(report: Report) -> dict[str, Any]:
    """The report as plain data, ready for JSON."""
    return {**asdict(report), "sound": report.sound}


def render(report: Report) -> str:
    """The report for a terminal."""
    r = report
    lines = [f"{r.folder}  (Weirflow {r.weirflow}{f', run {r.run}' if r.run else ''})"]
    lasted = "nothing was closed" if r.ended is None else f"{_when(r.ended)}, {r.ended - r.started:.0f} s"
    lines += _table(
        "coverage",
        [
            ("time", f"{_when(r.started)} to {lasted}"),
            ("rows", ", ".join(f"{n} {stream}" for stream, n in r.rows.items())),
            ("size", f"{r.bytes} bytes in {r.parts} parts" + _if(r.bytes_per_attempt, ", {:.1f} an attempt")),
            ("replay", "from start to end" if r.sound else "not from start to end"),
            ("plans", IMPORTED if r.imported else f"{r.plans} versions; {r.without_plan} decisions renewed no lease"),
            ("propensity", _if(r.with_probability, "{:.1%} of attempts have a pick probability") or "no attempts"),
            ("duplicates", str(r.duplicates)),
        ],
    )
    if r.telemetry_deleted_before_part > 1:
        deleted = f"telemetry before part {r.telemetry_deleted_before_part}"
        everything = f", all before part {r.parts_deleted_before_part}" if r.parts_deleted_before_part > 1 else ""
        lines += _list("deleted to save space", [deleted + everything])
    lines += _list("damaged", (f"{d['file']}: {d['reason']}" for d in r.damaged))
    lines += _list("unfinished (a recorder at work, or killed)", r.unfinished)
    lines += _list("gaps", (f"{_when(g.start)}, {g.end - g.start:.1f} s: {g.what}" for g in r.gaps))
    for by, counts in r.attempts_by.items():
        total = max(1, sum(counts.values()))
        lines += _table(f"attempts by {by}", [(k, f"{n} ({n / total:.1%})") for k, n in counts.items()])
    clocks = [(c.node, _if(c.offset_s, "{:+.4g} s") + _if(c.drift_s, ", drift {:.4g} s") or "-") for c in r.clocks]
    lines += _table("our clock less the node's (delivery included)", clocks)
    lines += _table("dropped log entries", [(n, _counts(reasons)) for n, reasons in r.dropped.items()])
    lines += _table("refused by nodes (NACK)", [(n, str(k)) for n, k in r.refused.items()])
    lines += _list("commands", (f"{_when(c['now'])} {c['who'] or 'somebody'}: {c['command']}" for c in r.commands))
    rare = (f"{h.service} {h.endpoint}: {h.attempts} attempts" for h in r.hardly_tried)
    lines += _list("hardly tried (a what-if about these is a guess)", rare)
    return "\n".join(lines) + "\n"


def _table(title: str, rows: list[tuple[str, str]]) -> list[str]:
    width = max((len(name) for name, _ in rows), default=0)
    return _list(title, (f"{name:<{width}}  {value}" for name, value in rows))


def _list(title: str, items: Iterable[str]) -> list[str]:
    found = list(items)
    if not found:
        return []
    more = [f"  and {len(found) - _LINES} more"] if len(found) > _LINES else []
    return ["", title, *(f"  {item}" for item in found[:_LINES]), *more]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {what}" for what, n in counts.items())


def _if(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _when(now: float) -> str:
    try:
        return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{now:g} s"
