"""A case of the lab on the terminal: a row for each policy and each bound."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from weirflow.commands.output import text
from weirflow.lab.analysis import Case, Estimate, Row

NONE = "–"


def render(case: Case) -> RenderableType:
    """The table, and below it the runs that were refused and why. Milliseconds; a dash where a figure is not known."""
    scenario, seeds = case.scenario, len(case.seeds)
    title = f"{scenario.name}: {scenario.title} ({case.nodes} nodes, {case.engine}, {seeds} seed{'s' * (seeds != 1)})"
    table = Table(title=text(title), title_justify="left", title_style="bold")
    table.add_column("policy")
    for name, _ in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in case.rows:
        table.add_row(row.policy, *(cell(row) for _, cell in COLUMNS))
    refused = [
        text(f"refused: {r.policy}, seed {r.seed}: {r.refused}", "yellow")
        for r in sorted(case.refused, key=lambda r: (r.seed, r.place))
    ]
    return Group(table, *refused, Text())


def _estimate(told: Estimate | None, unit: Callable[[float], str]) -> str:
    """The median, and its interval over seeds where there is one."""
    if told is None:
        return NONE
    if told.low is None or told.high is None:
        return unit(told.value)
    return f"{unit(told.value)} [{unit(told.low)}, {unit(told.high)}]"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f}"


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


def _seconds(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f}"


def _times(value: float) -> str:
    return f"{value:.2f}"


COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("p50", lambda r: _estimate(r.p50_s, _ms)),
    ("p99", lambda r: _estimate(r.p99_s, _ms)),
    ("p99.9", lambda r: _estimate(r.p999_s, _ms)),
    ("errors\n%", lambda r: _percent(r.error_percent.value if r.error_percent else None)),
    ("regret", lambda r: _estimate(r.regret, _times)),
    ("Weirflow's p99\nover this", lambda r: _estimate(r.ratio, _times)),
    ("to the bad\n%", lambda r: _percent(r.median(lambda t: t.bad_percent))),
    ("diverted\nafter s", lambda r: _seconds(r.median(lambda t: t.divert_s))),
    ("back\nafter s", lambda r: _seconds(r.median(lambda t: t.return_s))),
)
