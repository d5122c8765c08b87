"""The story's tables on the terminal: the shadow's diff, and at the end figures, times and claims."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from weirflow.demo.answers import Figures
from weirflow.demo.report import Claim, Report


def render(report: Report) -> RenderableType:
    """Everything that the JSON file holds, for people."""
    return Group(by_phase(report), Text(), timings(report), Text(), *(claim(c) for c in report.claims), whole(report))


def by_phase(report: Report) -> Table:
    """A row per phase and service; milliseconds. A dash where there were too few answers to tell."""
    table = Table(title="What requests felt like, by the arm that served them (ms)", title_justify="left")
    table.add_column("phase")
    table.add_column("service")
    for arm in ("static", "adaptive"):
        for what in ("p50", "p90", "p99", "failed"):
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
        table.add_row(t.name, seconds(t.seconds), t.definition)
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


def diff(services: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> Table:
    """What a decision would change: each endpoint's share of its service now and as proposed, and why.

    `names` by address: what to call an endpoint.
    """
    table = Table(title="What would change: shares of each service's requests", title_justify="left")
    for heading in ("service", "endpoint"):
        table.add_column(heading, no_wrap=True)
    for heading in ("static", "learned"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("why")
    for service in services:
        for e in service["endpoints"]:
            style = "" if moves(service, e) else "dim"
            now, then = share(service, e, "static_weight"), share(service, e, "proposed")
            name = names.get(e["address"], e["address"])
            table.add_row(service["name"], name, f"{now:.1%}", f"{then:.1%}", e["reason"], style=style)
        table.add_section()
    return table


def share(service: Mapping[str, Any], endpoint: Mapping[str, Any], key: str) -> float:
    """An endpoint's share of its service by one of its weights; 0 when there are none."""
    total = sum(e[key] for e in service["endpoints"])
    return float(endpoint[key] / total) if total else 0.0


def moves(service: Mapping[str, Any], endpoint: Mapping[str, Any]) -> bool:
    """Whether the proposal would give it a tenth more or less than the operator's weight does."""
    now, then = share(service, endpoint, "static_weight"), share(service, endpoint, "proposed")
    return abs(then - now) > 0.1 * now


def seconds(took_s: float | None) -> str:
    """`3.4 s`, or `never`."""
    return "never" if took_s is None else f"{took_s:.1f} s"


def milliseconds(value: float | None) -> str:
    """Whole milliseconds, or a dash for what nobody can tell."""
    return "-" if value is None else f"{value:.0f}"


def _cells(f: Figures) -> tuple[str, ...]:
    if not f.requests:
        return "", "", "", ""
    quantiles = (milliseconds(q) for q in (f.p50_ms, f.p90_ms, f.p99_ms))
    return *quantiles, f"{f.failed} of {f.requests}"
