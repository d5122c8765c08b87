"""A case of the lab on the terminal: a row for each policy and each bound, and what was refused."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from weirflow.commands.output import text
from weirflow.lab.analysis import OURS, Case
from weirflow.lab.columns import Column, columns, heading, notes, phase_columns, refusals


def render(case: Case) -> RenderableType:
    """The tables of a case, what they mean, and the runs that were refused and why."""
    parts: list[RenderableType] = [_table(case, columns(case), f"{heading(case)}: {case.scenario.title}")]
    if case.scenario.phases and case.rows:
        parts.append(_table(case, phase_columns(case), "by phase"))
    return Group(*parts, *map(text, notes(case)), *(text(r, "yellow") for r in refusals(case)), text(""))


def _table(case: Case, cells: Sequence[Column], title: str) -> Table:
    table = Table(title=text(title), title_justify="left", title_style="bold")
    for i, (name, _) in enumerate(cells):
        table.add_column(text(name), justify="right" if i else "left", no_wrap=True)
    for row in case.rows:
        table.add_row(*(text(cell(row)) for _, cell in cells), style="bold" if row.policy == OURS else "")
    return table
