"""A report on the terminal: the check, then for each question who answered, and a row for each policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from rich.console import RenderableType
from rich.table import Table

from weirflow.commands.output import text
from weirflow.whatif.answer import Answer, Report
from weirflow.whatif.off_policy import Estimated
from weirflow.whatif.report import (
    AGAINST,
    COLUMNS,
    FIGURES,
    INTERVALS,
    apart_within,
    doubt,
    heads,
    holds,
    notes,
    one,
    shown,
    spread,
    why,
)

WITH_INTERVAL = ("p50_s", "p99_s", "mean_s", "failed")
MOST_ENDPOINTS = 20
COMPARED = ("p50_s", "p99_s", "failed")


def render(report: Report) -> Iterator[RenderableType]:
    """All parts, in order."""
    for line in (*heads(report), *holds(report)):
        yield text(line)
    for assumed in notes(report):
        yield text(f"assumed: {assumed}")
    for answer in report.answers:
        yield text("")
        yield text(answer.question.title, "bold")
        yield text(why(answer))
        if isinstance(answer.off_policy, Estimated):
            yield _estimated(answer.off_policy)
        for found in answer.doubts:
            yield text(f"! {doubt(found)}", "yellow")
        if shown(report, answer):
            mark = "NOT TO BE TRUSTED, shown by --force: " if answer.doubts else ""
            yield _figures(answer, mark)
            if any(row.against for row in answer.rows):
                yield _compared(answer)
            yield _endpoints(answer)
    yield text("")
    yield text(INTERVALS)


def _figures(answer: Answer, mark: str) -> Table:
    rows = [
        [
            row.policy,
            str(row.requests),
            *((spread if name in WITH_INTERVAL else _value)(name, row.figures[name]) for name in FIGURES),
            f"{row.figures['attempts'].value or 0.0:.0f}",
            f"{row.figures['busy_s'].value or 0.0:.0f}s",
        ]
        for row in answer.rows
    ]
    names = ["policy", "requests", *(COLUMNS[name] for name in FIGURES), "attempts", "busy"]
    return _table(f"{mark}simulated", names, rows)


def _compared(answer: Answer) -> Table:
    rows = [
        [row.policy, *(apart_within(name, row.against[name]) for name in COMPARED)]
        for row in answer.rows
        if row.against
    ]
    return _table(AGAINST, ["policy", *(COLUMNS[n] for n in COMPARED)], rows)


def _endpoints(answer: Answer) -> Table:
    """Share of attempts and of its workers' time; of many endpoints, those that some policy keeps busiest."""
    names = answer.world.fleet.names
    busiest = np.max([row.busy for row in answer.rows], axis=0)
    told = np.sort(np.argsort(-busiest, kind="stable")[:MOST_ENDPOINTS]).tolist()
    rows = [[names[e], *(f"{row.share[e]:.1%} / {row.busy[e]:.0%}" for row in answer.rows)] for e in told]
    more = f", the {MOST_ENDPOINTS} busiest of {len(names)}" if len(names) > MOST_ENDPOINTS else ""
    return _table(f"share of attempts / busy{more}", ["endpoint", *(row.policy for row in answer.rows)], rows)


def _estimated(found: Estimated) -> Table:
    names = ("mean_s", "p50_s", "p90_s", "p99_s", "failed")
    cells = [spread(name, found.figures[name]) for name in names]
    cells += [apart_within("mean_s", found.against["mean_s"]), apart_within("failed", found.against["failed"])]
    heads = [*(COLUMNS[name] for name in names), "mean against recorded", "failed against recorded"]
    return _table("off-policy", ["", *heads], [["estimate", *cells]])


def _value(name: str, interval: object) -> str:
    return one(name, getattr(interval, "value", None))


def _table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=text(title), title_justify="left", title_style="bold", min_width=len(title))
    for i, name in enumerate(names):
        table.add_column(text(name), justify="right" if i else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(text(cell) for cell in row))
    return table
