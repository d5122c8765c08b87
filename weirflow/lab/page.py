"""The report as one page that needs nothing else: style and plots are in it, no script, nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dataplane.simulated.fleet import Floats
from weirflow.lab.analysis import OURS, SERIES_STEP_S, Case, Row, kinds
from weirflow.lab.columns import NOTE, Column, columns, heading, notes, phase_columns, refusals
from weirflow.lab.draw import end_s
from weirflow.lab.figures import judged_phase, trouble_of
from weirflow.lab.markup import Markup, element, join
from weirflow.lab.plots import Band, Line, over_time, shares
from weirflow.lab.run import BOUNDS, POLICIES, SIMULATED
from weirflow.lab.sheet import COLOURS, sheet

TOLD_OF_ONE_KIND = 4  # endpoints that are shown one by one where all are alike
MEANINGS = POLICIES | SIMULATED | BOUNDS


def page(cases: Sequence[Case]) -> str:
    """The whole page."""
    title = "Weirflow lab: " + ", ".join(dict.fromkeys(c.scenario.name for c in cases))
    return sheet(title, element("h1", "Weirflow lab"), element("p", NOTE), *map(_case, cases), _meanings(cases))


def _case(case: Case) -> Markup:
    parts = [
        element("h2", heading(case)),
        element("p", element("strong", case.scenario.title), ". ", case.scenario.source),
        _table(case, columns(case)),
        *(element("p", note) for note in notes(case)),
        *(element("p", refusal, class_="refused") for refusal in refusals(case)),
    ]
    if case.scenario.phases:
        parts += [element("h3", "By phase"), _table(case, phase_columns(case))]
    if case.rows:
        plots = [_latency(case, "p99"), _latency(case, "p50"), *_weights(case)]
        parts += [element("h3", "Over time"), element("div", *plots, class_="plots")]
        told = [
            shares(r.policy, r.share, case.true_share, case.example.fleet.names, ours=r.policy == OURS)
            for r in case.rows
        ]
        parts += [
            element("h3", "Share per endpoint"),
            element("p", "Bars: requests in the judged phase. Marks: the true share of capacity then."),
            element("div", *told, class_="few"),
        ]
    return element("section", *parts)


def _table(case: Case, cells: Sequence[Column]) -> Markup:
    head = element("tr", *(element("th", name, scope="col") for name, _ in cells))
    rows = [element("tr", *(element("td", cell(r)) for _, cell in cells), class_=_kind(r)) for r in case.rows]
    return element("div", element("table", element("thead", head), element("tbody", *rows)), class_="scroll")


def _kind(row: Row) -> str:
    return "bound" if row.policy in BOUNDS else "ours" if row.policy == OURS else "peer"


def _latency(case: Case, quantile: str) -> Markup:
    """Policies solid, and dashed when the colours come round again; bounds dotted; ours last, above the others."""
    lines = []
    for bound in (False, True):
        own = [r for r in case.rows if (r.policy in BOUNDS) is bound and r.policy != OURS]
        for i, row in enumerate(own):
            dash = "dotted" if bound else "dashed" if i >= COLOURS else ""
            lines.append(Line(row.policy, row.series.at_s, _ms(row, quantile), f"c{i % COLOURS}", dash))
    ours = case.row(OURS)
    if ours:
        lines.append(Line(OURS, ours.series.at_s, _ms(ours, quantile), "ours"))
    name = f"{quantile} in ms over the seconds of the run, in windows of {SERIES_STEP_S:g} s"
    return over_time(name, lines, _bands(case), end_s(case.scenario), log=True)


def _ms(row: Row, quantile: str) -> Floats:
    return 1e3 * (row.series.p99_s if quantile == "p99" else row.series.p50_s)


def _bands(case: Case) -> list[Band]:
    phase, trouble = judged_phase(case.scenario), trouble_of(case.scenario)
    judged = Band(f"judged: {phase.name or 'after the warm-up'}", phase.start_s, phase.end_s, "judged")
    return [judged, *([Band("the fault", trouble.start_s, trouble.end_s, "wrong")] if trouble else [])]


def _weights(case: Case) -> list[Markup]:
    """Weights in force against the true share of capacity, of one seed; by kind of endpoint, or some where all are
    alike."""
    run = case.example
    if not run.weights or not len(run.weights.at_s):
        return []
    alike = list(kinds(case))
    if len(alike) == 1:
        alike = [(run.fleet.names[e], [e]) for e in alike[0][1][:TOLD_OF_ONE_KIND]]
    at_s = np.arange(0.0, end_s(case.scenario), 0.5)
    truth = _normal(np.array([run.fleet.capacity(t) for t in at_s]))
    lines = []
    for i, (name, own) in enumerate(alike):
        colour = f"c{i % COLOURS}"
        lines.append(Line(name, run.weights.at_s, 100.0 * run.weights.share[:, own].sum(axis=1), colour))
        lines.append(Line(f"{name}, truth", at_s, 100.0 * truth[:, own].sum(axis=1), colour, "dashed"))
    name = f"Weights of {run.policy} (solid) and true capacity (dashed), % of all, seed {run.seed}"
    return [over_time(name, lines, _bands(case), end_s(case.scenario), log=False)]


def _normal(capacity: Floats) -> Floats:
    return np.asarray(capacity / np.maximum(capacity.sum(axis=1, keepdims=True), 1e-12))


def _meanings(cases: Sequence[Case]) -> Markup:
    """What each policy is."""
    names = dict.fromkeys(r.policy for c in cases for r in c.rows)
    rows = [join([element("dt", n), element("dd", MEANINGS[n])]) for n in names if n in MEANINGS]
    return element("section", element("h2", "Policies and bounds"), element("dl", *rows))
