"""What an import found and what it lost, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from weirflow.importing.clocks import Skew
from weirflow.importing.rejects import Reject

_LINES = 10


@dataclass(frozen=True, slots=True)
class FileReport:
    """One file. `out_of_order`: lines that ended before one above them, `worst_s` the furthest."""

    file: str
    format: str
    why: str
    node: str
    records: int
    attempts: int
    rejected: Mapping[str, int]
    left_out: Mapping[str, int]
    shown: tuple[Reject, ...]
    out_of_order: int
    worst_s: float


@dataclass(frozen=True, slots=True)
class SilentNode:
    """A node that told nothing for a time."""

    node: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Report:
    """A whole import. Times are seconds since 1970."""

    folder: str  # "": nothing was written
    files: tuple[FileReport, ...]
    attempts: int  # in the recording
    started: float
    ended: float
    services: Mapping[str, int]  # to the number of endpoints
    nodes: Mapping[str, int]  # to attempts
    routes: Mapping[str, int]
    outcomes: Mapping[str, int]
    duplicates: int
    alike: int
    retries: int
    hidden_retries: int
    without_endpoint: int
    with_probability: int
    gaps: tuple[SilentNode, ...]
    clocks: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]

    @property
    def rejected(self) -> int:
        """Lines that could not be read."""
        return sum(sum(f.rejected.values()) for f in self.files)

    @property
    def dropped_share(self) -> float:
        """Of all lines, those of which nothing came: rejected, left out, told twice."""
        records = sum(f.records for f in self.files)
        left = sum(sum(f.left_out.values()) for f in self.files)
        return (self.rejected + left + self.duplicates) / records if records else 0.0


def clock(skew: Skew, names: list[str]) -> dict[str, Any]:
    """A pair of nodes, in words."""
    return {
        "node": names[skew.node],
        "against": names[skew.against],
        "ahead_low_s": skew.low_s,
        "ahead_high_s": skew.high_s,
        "requests": skew.requests,
    }


def to_dict(report: Report) -> dict[str, Any]:
    """The report as plain data, ready for JSON."""
    return {**asdict(report), "rejected": report.rejected, "dropped_share": report.dropped_share}


def render(report: Report) -> str:
    """The report for a terminal."""
    r = report
    lines = []
    for f in r.files:
        lines.append(f"{f.file}: {f.format}; {f.why}")
        lines.append(f"  {f.attempts} attempts of {f.records} records, node {f.node}")
        for title, counts in (("rejected", f.rejected), ("left out", f.left_out)):
            lines += [f"  {title} {count}: {reason}" for reason, count in _few(counts)]
        lines += [f"  line {s.line}: {s.reason}" for s in f.shown]
        if f.out_of_order:
            lines.append(f"  {f.out_of_order} lines out of order, by {f.worst_s:.3f} s at most: sorted")
    lines += [
        "",
        f"{r.attempts} attempts from {_when(r.started)} to {_when(r.ended)}, {r.ended - r.started:.1f} s"
        if r.attempts
        else "no attempts",
        f"dropped {r.dropped_share:.2%} of all records; {r.duplicates} told twice; {r.alike} alike without an id: kept",
    ]
    for title, counts in (
        ("outcomes", r.outcomes),
        ("services (endpoints)", r.services),
        ("nodes", r.nodes),
        ("routes", r.routes),
    ):
        more = f", and {len(counts) - _LINES} more" if len(counts) > _LINES else ""
        lines.append(f"{title}: " + ", ".join(f"{name} {count}" for name, count in _few(counts)) + more)
    lines += [f"gap: {g.node} told nothing from {_when(g.start)} for {g.end - g.start:.1f} s" for g in r.gaps[:_LINES]]
    lines += [
        f"clock: {c['node']} is ahead of {c['against']} by {c['ahead_low_s']:+.3f} to {c['ahead_high_s']:+.3f} s "
        f"({c['requests']} requests told by both)"
        for c in r.clocks
    ]
    lines += [f"note: {note}" for note in r.notes]
    lines.append(f"recorded in {r.folder}" if r.folder else "nothing was written")
    return "\n".join(lines) + "\n"


def _few(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda c: (-c[1], c[0]))[:_LINES]


def _when(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
