"""What a case's tables say, cell by cell: the same on a terminal and on the page. A dash is what could not be told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from weirflow.lab.analysis import Case, Estimate, Row
from weirflow.lab.figures import DIVERTED, RETURNED, Told, judged_phase, trouble_of

NONE = "–"
SOME_ERRORS_PERCENT = 0.5
"""From here on the timeout is, or nearly is, the p99 of all requests: that of good answers is told beside it."""
NOTE = (
    "Times in ms, over the judged phase; a failed request counts with the timeout. Median over seeds, with the 95 % "
    "interval over seeds. Regret: p99 over the better oracle's of the same world, less 1. Below 1 in the column "
    "'Weirflow / it', Weirflow's p99 is the lower."
)

Column = tuple[str, Callable[[Row], str]]


def columns(case: Case) -> list[Column]:
    """Heading and cell of each column; those about errors, a fault, a class or weights only where there are."""
    out: list[Column] = [
        ("policy", lambda r: r.policy),
        ("p50", lambda r: value(r.p50_s, 1e3)),
        ("p99", lambda r: interval(r.p99_s, 1e3)),
        ("p99.9", lambda r: value(r.p999_s, 1e3)),
        ("errors %", lambda r: value(r.error_percent, digits=2)),
        ("good/s", lambda r: value(r.good_per_s, digits=1)),
        ("regret %", lambda r: interval(r.regret, 100.0)),
        ("Weirflow / it", lambda r: interval(r.ratio, digits=2)),
    ]
    told = [t for r in case.rows for t in r.runs]
    if any(t.judged.error_percent > SOME_ERRORS_PERCENT for t in told):
        out.append(("p99 of good", _median(lambda t: t.judged.good_p99_s * 1e3, 0)))
    if any(t.bound_per_s is not None for t in told):
        out += [
            ("in time/s", _median(lambda t: t.judged.in_time_per_s, 1)),
            ("of bound", _median(_of_bound, 3)),
            ("refused %", _median(lambda t: t.judged.refused_percent, 1)),
        ]
    if any(t.bad_percent is not None for t in told):
        out += [
            ("to bad %", _median(lambda t: t.bad_percent, 1)),
            ("diverted s", _median(lambda t: t.divert_s, 1)),
            ("back s", _median(lambda t: t.return_s, 1)),
        ]
    if any(t.incidents is not None for t in told):
        out += [
            ("incidents", _median(lambda t: t.incidents, 0)),
            ("found s", _median(lambda t: t.found_s, 1)),
        ]
    if any(t.avoided_percent is not None for t in told):
        out.append(("avoided %", _median(lambda t: t.avoided_percent, 1)))
    if any(t.changes_per_minute is not None for t in told):
        out += [
            ("pushes/min", _median(lambda t: t.changes_per_minute, 1)),
            ("entropy", _median(lambda t: t.entropy, 2)),
        ]
    names = told[0].classes if told else ()
    if any(t.bound_per_s is not None for t in told):
        return out + [(f"{name} in time %", _median(partial(_class_in_time, name), 1)) for name in names]
    return out + [(f"{name} p99", _median(partial(_class_p99, name), 0)) for name in names]


def phase_columns(case: Case) -> list[Column]:
    """p99 and errors of every phase."""
    out: list[Column] = [("policy", lambda r: r.policy)]
    goal = case.scenario.latency_goal_s is not None
    for phase in case.scenario.phases:
        out.append((f"{phase.name} p99", _median(partial(_phase_p99, phase.name), 0)))
        out.append((f"{phase.name} errors %", _median(partial(_phase_errors, phase.name), 2)))
        if goal:
            out.append((f"{phase.name} in time/s", _median(partial(_phase_in_time, phase.name), 1)))
    return out


def heading(case: Case) -> str:
    """Name, engine, nodes and seeds."""
    nodes, seeds = f"{case.nodes} node{'s' * (case.nodes != 1)}", len(case.seeds)
    return f"{case.scenario.name} ({case.engine}, {nodes}, {seeds} seed{'s' * (seeds != 1)})"


def notes(case: Case) -> Iterator[str]:
    """What is judged, and what the fault's columns mean."""
    phase = judged_phase(case.scenario)
    yield f"Judged: {phase.name or 'all after the warm-up'}, from {phase.start_s:g} s to {phase.end_s:g} s."
    if case.scenario.latency_goal_s is not None:
        yield (
            f"In time: good answers a second within the goal of {case.scenario.latency_goal_s:g} s. Bound: what is "
            "asked, or what the endpoints bear where that is less, second by second."
        )
    trouble = trouble_of(case.scenario)
    if trouble:
        yield (
            f"Diverted: from the fault at {trouble.start_s:g} s to the first second in which the bad endpoints get "
            f"less than {DIVERTED:g} of an even share. Back: from its end to {RETURNED:g} of their share before."
        )


def refusals(case: Case) -> Iterator[str]:
    """Runs that are in no figure, and why."""
    for run in sorted(case.refused, key=lambda r: (r.seed, r.place)):
        yield f"Refused, and in no figure: {run.policy}, seed {run.seed}: {run.refused}"


def value(estimate: Estimate | None, scale: float = 1.0, digits: int = 0) -> str:
    """The median alone."""
    return NONE if estimate is None else f"{estimate.value * scale:.{digits}f}"


def interval(estimate: Estimate | None, scale: float = 1.0, digits: int = 0) -> str:
    """The median and, where there is one, the interval: `1250 (1190, 1310)`."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return value(estimate, scale, digits)
    low, high = (f"{bound * scale:.{digits}f}" for bound in (estimate.low, estimate.high))
    return f"{value(estimate, scale, digits)} ({low}, {high})"


def _median(figure: Callable[[Told], float | None], digits: int) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        median = row.median(figure)
        return NONE if median is None else f"{median:.{digits}f}"

    return cell


def _of_bound(run: Told) -> float | None:
    return run.judged.in_time_per_s / run.bound_per_s if run.bound_per_s else None


def _class_in_time(name: str, run: Told) -> float:
    return run.classes[name].in_time_percent


def _class_p99(name: str, run: Told) -> float:
    return run.classes[name].p99_s * 1e3


def _phase_p99(name: str, run: Told) -> float:
    return run.phases[name].p99_s * 1e3


def _phase_in_time(name: str, run: Told) -> float:
    return run.phases[name].in_time_per_s


def _phase_errors(name: str, run: Told) -> float:
    return run.phases[name].error_percent
