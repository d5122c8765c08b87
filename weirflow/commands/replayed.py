"""What a replay found, as text and as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from weirflow import __version__
from weirflow.commands.figures import percent
from weirflow.commands.output import text
from weirflow.config.units import format_duration
from weirflow.plain import plain
from weirflow.recording import Recording
from weirflow.replay.compare import BUCKETS, Comparison, First, OfService
from weirflow.replay.report import Report, identity
from weirflow.replay.run import Run
from weirflow.replay.told import changed_settings

_LINES = 20  # of one list in the text; the JSON has them all


@dataclass(slots=True)
class Replayed:
    """A replay as far as it went."""

    recording: Recording
    run: Run
    report: Report | None  # that of `--against`
    comparison: Comparison | None
    written: Path | None
    took_s: float = 0.0
    tolerated: float | None = None
    beyond: list[str] = field(default_factory=list)

    def judge(self, tolerated: float | None) -> None:
        """Say what of a comparison is more than is tolerated."""
        self.tolerated = tolerated
        self.beyond = [] if self.comparison is None else self.comparison.beyond(tolerated)

    @property
    def passed(self) -> bool:
        """Whether the exit status is to be 0."""
        if self.comparison is not None:
            return not self.beyond
        return self.run.first is None

    @property
    def covered_s(self) -> float:
        """How much of the mesh's time was replayed."""
        return 0.0 if self.run.now is None else max(0.0, self.run.now - self.recording.started)

    def so_far(self) -> str:
        """Before the words of what broke: how far all was well."""
        run = self.run
        as_recorded = "every decision as recorded" if run.first is None else f"the first difference at {run.first}"
        return f"replayed {run.ticks} ticks, until {moment(run.now or 0.0)}: {as_recorded}; then it broke:"


def to_dict(found: Replayed) -> dict[str, Any]:
    """Everything that was found, for JSON."""
    run, recording = found.run, found.recording
    first = None
    if run.first is not None:
        first = asdict(run.first) | {"told": [{"now": now, "what": what} for now, what in run.told]}
    out = {
        "recording": str(recording.folder),
        "identity": identity(recording),
        "recorded_by": recording.weirflow,
        "weirflow": __version__,
        "ticks": run.ticks,
        "calls": run.calls,
        "covered_s": found.covered_s,
        "took_s": found.took_s,
        "times_real_time": found.covered_s / found.took_s if found.took_s else None,
        "equal": run.first is None,
        "difference": first,
        "report": None if found.written is None else str(found.written),
        "against": _against(found),
        "passed": found.passed,
    }
    made: dict[str, Any] = plain(out)
    return made


def _against(found: Replayed) -> dict[str, Any] | None:
    told, report, recording = found.comparison, found.report, found.recording
    if told is None or report is None:
        return None
    both, theirs, ours = told.incidents()
    return {
        "weirflow": report.head.weirflow,
        "ticks": told.ticks,
        "differ": told.differ,
        "differ_in_force": told.differ_in_force,
        "first": None if told.first is None else asdict(told.first),
        "first_in_force": None if told.first_in_force is None else asdict(told.first_in_force),
        "settings": changed_settings(report.head.settings, plain(recording.parts[0].settings)),
        "services": {name: _service(s) for name, s in told.services.items()},
        "incidents": {
            "both": [{**asdict(a), "later_here_s": b.opened - a.opened, "cause_here": b.cause} for a, b in both],
            "report_only": [asdict(e) for e in theirs],
            "here_only": [asdict(e) for e in ours],
        },
        "errors": {"report": told.errors[0], "here": told.errors[1], "ticks_unlike": told.unlike_errors},
        "tolerated": found.tolerated,
        "beyond": found.beyond,
    }


def _service(s: OfService) -> dict[str, Any]:
    return {
        "ticks": s.ticks,
        "weights": s.weights.to_dict(),
        "limits": s.limits.to_dict(),
        "share_points": s.share.to_dict(),
        "shed_points": s.shed.to_dict(),
        "pushes": {"report": s.pushes[0], "here": s.pushes[1]},
        "ticks_otherwise": s.otherwise,
        "share_over_time": [
            None if not n else {"report": theirs / n, "here": ours / n} for n, theirs, ours in s.shares
        ],
    }


def render(found: Replayed) -> Iterator[str | RenderableType]:
    """The same for people."""
    run = found.run
    times = found.covered_s / found.took_s if found.took_s > 0 else 0.0
    speed = f": {times:.{0 if times >= 10 else 1}f} times real time" if times else ""
    covered = format_duration(round(found.covered_s))
    yield f"{run.ticks} ticks, {covered} of the mesh in {found.took_s:.1f}s{speed}"
    if run.first is None:
        yield "every decision is as recorded"
    else:
        yield from _difference(found)
    if found.written is not None:
        yield f"this version's decisions are in {found.written}"
    if found.comparison is not None and found.report is not None:
        yield ""
        yield from _compared(found, found.comparison, found.report)


def _difference(found: Replayed) -> Iterator[str]:
    run, recording = found.run, found.recording
    first = run.first
    if first is None:
        return
    what = "on a call" if first.tick is None else f"at tick {first.tick}"
    yield f"the first difference is {what}, {moment(first.now)}, {first.now - recording.started:.3f} s after the start:"
    yield f"  {first.path}" + (f"  ({first.about})" if first.about else "")
    yield f"    recorded {first.recorded!r}"
    yield f"    replayed {first.replayed!r}"
    if run.told:
        yield "before it the brain was told"
        yield from (f"  {first.now - now:9.3f} s before  {what}" for now, what in run.told)


def _compared(found: Replayed, told: Comparison, report: Report) -> Iterator[str | RenderableType]:
    head = report.head
    yield f"against the report of weirflow {head.weirflow} (this is {__version__}), over {told.ticks} ticks:"
    yield f"  {told.differ} ticks differ in anything, {told.differ_in_force} in what proxies are told"
    if told.first is not None:
        yield f"  first {_first(told.first)}"
    if told.first_in_force is not None and told.first_in_force != told.first:
        yield f"  first in force {_first(told.first_in_force)}"
    changed = changed_settings(head.settings, plain(found.recording.parts[0].settings))
    yield from _list("settings, in the report → here", changed)
    if told.differ:
        yield ""
        yield _table(told, head.started)
        yield from _shares(told, head.started, head.until)
    yield from _incidents(told)
    for errors, whose in zip(told.errors, ("the report's brain raised", "this version's brain raised"), strict=True):
        yield from _list(whose, errors)
    if found.tolerated is None:
        yield from ("", "the same" if not found.beyond else "not the same; --tolerate allows for small changes")
    elif found.beyond:
        yield from _list(f"beyond what is tolerated ({found.tolerated:g})", found.beyond)
    else:
        yield from ("", f"within what is tolerated ({found.tolerated:g})")


def _table(told: Comparison, started: float) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in (
        "service",
        "weights, largest",
        "mean",
        "limits, largest",
        "mean",
        "share, points",
        "pushes",
        "ticks of",
    ):
        table.add_column(column, justify="left" if column in ("service", "ticks of") else "right", no_wrap=True)
    for name, s in told.services.items():
        otherwise = ", ".join(f"{what} {n}" for what, n in s.otherwise.items() if n)
        cells = []
        for change in (s.weights, s.limits):
            at = "" if change.at is None else f" at {change.at - started:.0f}s"
            cells += [percent(change.largest) + at, percent(change.to_dict()["mean"])]
        table.add_row(
            text(name), *cells, f"{s.share.largest:.1f}", f"{s.pushes[0]} → {s.pushes[1]}", text(otherwise or "-")
        )
    return table


def _shares(told: Comparison, started: float, until: float) -> Iterator[str]:
    """The stretches of time in which the share on the adaptive arm differs, as long as they are alike."""
    step_s = (until - started) / BUCKETS
    for name, s in told.services.items():
        alike = groupby(enumerate(s.shares), lambda row: [round(x / (row[1][0] or 1.0), 1) for x in row[1][1:]])
        rows = []
        for (theirs, ours), stretch in alike:
            numbers = [k for k, _ in stretch]
            if theirs != ours:
                during = f"{numbers[0] * step_s:.0f}s to {(numbers[-1] + 1) * step_s:.0f}s"
                rows.append(f"{during}: {theirs:.1f}% → {ours:.1f}%")
        yield from _list(f"share of {name} on learned weights, mean, in the report → here", rows)


def _incidents(told: Comparison) -> Iterator[str]:
    both, theirs, ours = told.incidents()
    yield from _list("incidents that only the report has", [f"{moment(e.opened)} {e.key}: {e.cause}" for e in theirs])
    yield from _list("incidents that only this version has", [f"{moment(e.opened)} {e.key}: {e.cause}" for e in ours])
    if both:
        blamed = sum(a.cause != b.cause for a, b in both)
        late = max((b.opened - a.opened for a, b in both), key=abs)
        yield f"incidents of both: {len(both)}, {blamed} with another first cause, at most {late:+.0f} s later here"


def _first(first: First) -> str:
    whose = "" if first.service is None else f"{first.service}: "
    what = f"{first.what} {first.report!r} → {first.here!r}"
    if first.what == "digest":
        what = "its figures or reasons, and nothing that proxies are told"
    return f"at tick {first.tick}, {moment(first.now)}: {whose}{what}"


def _list(title: str, items: list[str]) -> list[str]:
    if not items:
        return []
    more = [f"  and {len(items) - _LINES} more"] if len(items) > _LINES else []
    return ["", title, *(f"  {item}" for item in items[:_LINES]), *more]


def moment(now: float) -> str:
    """In UTC, to the millisecond."""
    try:
        return datetime.fromtimestamp(now, UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{now:g} s"
