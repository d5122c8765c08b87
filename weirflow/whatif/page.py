"""A report as one page that needs nothing else: the check, and for each question tables and plots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weirflow.lab.markup import Markup, element, join
from weirflow.lab.plots import Line, distributions, over_time
from weirflow.lab.sheet import COLOURS, sheet
from weirflow.whatif.answer import Answer, Report, Row, series
from weirflow.whatif.off_policy import Estimated
from weirflow.whatif.policies import BOUNDS, RECORDED, meaning
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
    shown,
    spread,
    why,
)
from weirflow.whatif.spread import middles_s

POINTS = 200
"""Of a distribution's line."""


def page(report: Report) -> str:
    """The whole page."""
    title = f"Weirflow what-if: {report.frame.service}"
    lines = [*heads(report), *holds(report), *(f"assumed: {note}" for note in notes(report))]
    told = [element("p", line) for line in lines]
    answers = [_answer(report, a) for a in report.answers]
    return sheet(title, element("h1", title), *told, *answers, element("p", INTERVALS), _meanings(report))


def _answer(report: Report, answer: Answer) -> Markup:
    parts = [element("h2", answer.question.title), element("p", why(answer))]
    if isinstance(answer.off_policy, Estimated):
        parts.append(_estimated(answer.off_policy))
    parts += [element("p", doubt(found), class_="refused") for found in answer.doubts]
    if shown(report, answer):
        if answer.doubts:
            mark = "Not to be trusted: shown because somebody insisted (--force)."
            parts.append(element("p", element("strong", mark), class_="refused"))
        names = answer.world.fleet.names
        parts += [
            _table(
                ["policy", "requests", *(COLUMNS[n] for n in FIGURES), "attempts", "busy"],
                [
                    [r.policy, f"{r.requests}", *(spread(n, r.figures[n]) for n in FIGURES), *_cost(r)]
                    for r in answer.rows
                ],
                [_kind(r) for r in answer.rows],
            ),
            element("h3", AGAINST),
            _table(
                ["policy", *(COLUMNS[n] for n in ("p50_s", "p90_s", "p99_s", "mean_s", "failed", "refused"))],
                [[r.policy, *(apart_within(n, r.against[n]) for n in r.against)] for r in answer.rows if r.against],
            ),
            element("div", *_plots(answer), class_="plots"),
            element("h3", "Share of attempts / busy"),
            _table(
                ["endpoint", *(r.policy for r in answer.rows)],
                [[n, *(f"{r.share[e]:.1%} / {r.busy[e]:.0%}" for r in answer.rows)] for e, n in enumerate(names)],
            ),
        ]
    return element("section", *parts)


def _cost(row: Row) -> list[str]:
    return [f"{row.figures['attempts'].value or 0.0:.0f}", f"{row.figures['busy_s'].value or 0.0:.0f}s"]


def _plots(answer: Answer) -> list[Markup]:
    lines = {row.policy: _look(i, row) for i, row in enumerate(answer.rows)}
    cumulated, middle, tail = [], [], []
    for row in answer.rows:
        colour, dash = lines[row.policy]
        bins = np.sum([t.good_bins for t in row.tallies], axis=(0, 1))
        upto = np.cumsum(bins) / max(sum(int(t.requests.sum()) for t in row.tallies), 1)
        place = np.unique(np.searchsorted(upto, np.linspace(0.001, 0.9995, POINTS) * upto[-1]))
        cumulated.append(Line(row.policy, 1e3 * middles_s()[place], upto[place], colour, dash))
        at_s, p50_s, p99_s = series(row)
        middle.append(Line(row.policy, at_s, 1e3 * p50_s, colour, dash))
        tail.append(Line(row.policy, at_s, 1e3 * p99_s, colour, dash))
    end_s = answer.span.end_s
    return [
        distributions("Requests answered well within so many ms, of all", cumulated),
        over_time("p99 in ms over the seconds of the run, all seeds together", tail, [], end_s, log=True),
        over_time("p50 in ms over the seconds of the run, all seeds together", middle, [], end_s, log=True),
    ]


def _look(place: int, row: Row) -> tuple[str, str]:
    if row.policy == RECORDED:
        return "ours", ""
    return f"c{(place - 1) % COLOURS}", "dotted" if row.policy in BOUNDS else ""


def _estimated(found: Estimated) -> Markup:
    names = ("mean_s", "p50_s", "p90_s", "p99_s", "failed")
    cells = [spread(name, found.figures[name]) for name in names]
    cells += [apart_within("mean_s", found.against["mean_s"]), apart_within("failed", found.against["failed"])]
    heads = ["", *(COLUMNS[name] for name in names), "mean against recorded", "failed against recorded"]
    return _table(heads, [["off-policy", *cells]])


def _kind(row: Row) -> str:
    return "bound" if row.policy in BOUNDS else "ours" if row.policy == RECORDED else "peer"


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], kinds: Sequence[str] | None = None) -> Markup:
    head = element("tr", *(element("th", name, scope="col") for name in names))
    body = [
        element("tr", *(_cell(cell) for cell in row), class_=kind)
        for row, kind in zip(rows, kinds or ["peer"] * len(rows), strict=True)
    ]
    return element("div", element("table", element("thead", head), element("tbody", *body)), class_="scroll")


def _cell(text: str) -> Markup:
    """A figure over its interval: side by side they would be wider than any screen."""
    figure, bracket, within = text.partition(" (")
    return element("td", figure, *([element("small", within.removesuffix(")"))] if bracket else []))


def _meanings(report: Report) -> Markup:
    policies = dict.fromkeys(r.policy for a in report.answers for r in a.rows)
    rows = [join([element("dt", p), element("dd", meaning(p, report.world))]) for p in policies]
    return element("section", element("h2", "Policies and bounds"), element("dl", *rows))
