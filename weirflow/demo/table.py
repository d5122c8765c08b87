"""The end of the story on the terminal: figures by phase, service and arm, then the times, then the claims."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from weirflow.demo.answers import Figures
from weirflow.demo.report import Claim, Report, Timing


def render(report: Report) -> RenderableType:
    """Everything that the JSON file holds, for people."""
    return Group(by_phase(report), Text(), timings(report), Text(), *(claim(c) for c in report.claims), whole(report))


def by_phase(report: Report) -> Table:
    """A row per phase and service; milliseconds. A dash where there were too few answers to tell."""
    table = Table(title="What requests felt like, by the arm that served them (ms)", title_justify="left")
    table.add_column("phase")
    table.add_column("service")
    for arm in ("static", "adaptive"):
        for what in ("p50", "p99", "failed"):
            table.add_column(f"{arm}\n{what}", justify="right")
    last = None
    for row in report.rows:
        if last not in (None, row.phase):
            table.add_section()
        phase = row.phase if row.phase != last else ""
        table.add_row(phase, row.service, *_cells(row.static), *_cells(row.adaptive))
        last = row.phase
    return table


def timings(report: Report) -> Table:
    """A row per time, with its definition."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="left", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    for t in report.timings:
        table.add_row(t.name, seconds(t), t.definition)
    return table


def claim(c: Claim) -> Text:
    """`held` or `FAILED`, the sentence, and its figure."""
    return Text.assemble(
        ("held    " if c.held else "FAILED  ", "green" if c.held else "bold red"), c.sentence, ": ", c.figure
    )


def whole(report: Report) -> Text:
    """The last line."""
    late = (
        ""
        if report.sent_late_p99_ms is None
        else f"; the client itself sent {report.sent_late_p99_ms:.1f} ms late (p99)"
    )
    return Text(f"{report.requests} requests, {report.failed} failed, in {report.took_s:.0f} s{late}.", style="bold")


def seconds(t: Timing) -> str:
    """`3.4 s`, or `never`."""
    return "never" if t.seconds is None else f"{t.seconds:.1f} s"


def _cells(f: Figures) -> tuple[str, str, str]:
    if not f.requests:
        return "", "", ""
    return _ms(f.p50_ms), _ms(f.p99_ms), f"{f.failed} of {f.requests}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
