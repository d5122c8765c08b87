"""A report as plain data, and the sentences that the terminal and the page have in common.

Nothing in it tells of a clock, a path or the number of jobs: the same recording, question, seeds and version give the
same bytes. What is not concluded has no figures, unless somebody insists; then it is marked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import weirflow
from weirflow.commands.figures import seconds
from weirflow.plain import plain
from weirflow.whatif.answer import Answer, Report, Row
from weirflow.whatif.off_policy import Declined, Estimated
from weirflow.whatif.policies import BOUNDS, meaning
from weirflow.whatif.tally import FEWEST_WINDOWS, Interval
from weirflow.whatif.trust import BOUNDS as OFF
from weirflow.whatif.trust import Doubt, label

FIGURES = ("p50_s", "p90_s", "p99_s", "p999_s", "mean_s", "failed", "refused", "timed_out", "retries")
COLUMNS = {
    "p50_s": "p50",
    "p90_s": "p90",
    "p99_s": "p99",
    "p999_s": "p99.9",
    "mean_s": "mean",
    "failed": "failed",
    "refused": "refused",
    "timed_out": "timed out",
    "retries": "retries",
}
UNKNOWN = "–"
AGAINST = "against recorded in the same world (recorded: against the world as it was)"
INTERVALS = (
    "A request that failed counts with the timeout. "
    "Intervals are 95 %, over seeds and over stretches of time drawn again; a model that is wrong is not in them: the "
    "check says how wrong it is."
)


def document(report: Report) -> dict[str, Any]:
    """Everything, for JSON."""
    world, frame = report.world, report.frame
    return dict(
        plain(
            {
                "weirflow": weirflow.__version__,
                "service": frame.service,
                "started": world.started,
                "duration_s": world.duration_s,
                "endpoints": world.fleet.names,
                "seeds": report.asked.seeds,
                "forced": report.asked.force,
                "concluded": report.concluded,
                "check": {
                    "policy": report.check.policy,
                    "requests": world.seen.requests,
                    "recorded": report.check.recorded,
                    "simulated": report.check.simulated,
                    "off": report.check.off,
                    "bounds": OFF,
                    "passed": report.check.passed,
                },
                "coverage": {
                    "attempts": report.coverage.attempts,
                    "lost_share": report.coverage.lost_share,
                    "dropped": report.coverage.dropped,
                    "damaged": report.coverage.damaged,
                },
                "doubts": report.doubts,
                "assumed": notes(report),
                "holdout": _engine(report.holdout),
                "answers": [_answer(report, a) for a in report.answers],
            }
        )
    )


def _answer(report: Report, answer: Answer) -> dict[str, Any]:
    q = answer.question
    return {
        "name": q.name,
        "question": q.words,
        "engine": answer.engine,
        "why": why(answer),
        "doubts": answer.doubts,
        "off_policy": _engine(answer.off_policy),
        "judged": {"start_s": answer.span.start_s, "end_s": answer.span.end_s},
        "simulation": [_row(answer, row, answer.world.fleet.names) for row in answer.rows]
        if shown(report, answer)
        else None,
    }


def _row(answer: Answer, row: Row, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "policy": row.policy,
        "meaning": meaning(row.policy, answer.world),
        "requests": row.requests,
        **row.figures,
        "against": row.against,
        "adaptive_share": row.adaptive,
        "endpoints": {n: {"share": row.share[e], "busy": row.busy[e]} for e, n in enumerate(names)},
    }


def _engine(answered: Any) -> Mapping[str, Any]:
    return {"declined": answered.reason} if isinstance(answered, Declined) else asdict(answered)


def shown(report: Report, answer: Answer) -> bool:
    """Whether the simulation's figures are shown."""
    return report.asked.force or not answer.doubts


def why(answer: Answer) -> str:
    """Which engine answered, and why the other did not."""
    off = answer.off_policy
    simulation = "; ".join(d.why for d in answer.doubts)
    if isinstance(off, Estimated):
        told = f"Answered by the off-policy estimate, from {off.rows} recorded picks by {off.by}"
        other = f" The simulation is not to be trusted here: {simulation}." if simulation else ""
        return f"{told}, worth {off.effective:.0f} for this question.{other}"
    if not answer.doubts:
        return f"Answered by the simulation. Not by the off-policy estimate: {off.reason}."
    return f"Not concluded. The simulation: {simulation}. The off-policy estimate: {off.reason}."


def heads(report: Report) -> Iterator[str]:
    """What was recorded, and the check, in lines."""
    world, check = report.world, report.check
    when = datetime.fromtimestamp(world.started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    yield (
        f"{world.service}: {world.seen.requests} requests at {len(world.fleet)} endpoints, from {when} on for "
        f"{world.duration_s:.0f} s; in force: {check.policy}"
    )
    told = [
        f"{label(name)} {one(name, check.simulated[name].value)} for {one(name, check.recorded[name])} "
        f"({apart(name, check.off[name])}, bound {apart(name, OFF[name])})"
        for name in OFF
    ]
    yield f"check, {check.policy} simulated against what was recorded: {'passed' if check.passed else 'NOT PASSED'}"
    yield "  " + "; ".join(told)


def holds(report: Report) -> Iterator[str]:
    """What the holdout says."""
    held = report.holdout
    if isinstance(held, Declined):
        yield f"holdout, adaptive against static by the coin of the arms: not told, {held.reason}"
        return
    mean, failed = held.difference["mean_s"], held.difference["failed"]
    yield (
        f"holdout, from {held.rows} recorded requests: mean {one('mean_s', held.adaptive['mean_s'].value)} adaptive, "
        f"{one('mean_s', held.static['mean_s'].value)} static, difference {spread('mean_s', mean)}; failed "
        f"{spread('failed', failed)}"
    )


def notes(report: Report) -> list[str]:
    """What was assumed, in words."""
    out = list(report.world.notes)
    if any(a.question.load > 1.0 for a in report.answers):
        out.append("more load is more of the same requests, and nobody asks less because it is slow")
    if any(len(r.tallies[0].requests) < FEWEST_WINDOWS for a in report.answers for r in a.rows):
        out.append("less than half a minute is judged: too little for intervals")
    if any(a.question.add for a in report.answers):
        out.append("added endpoints are taken to be as the median of those recorded")
    if any(a.question.weights for a in report.answers) and report.world.rules.policy == "random":
        out.append("random takes no weights, so weights are answered for weighted round robin")
    if any(r.policy in BOUNDS for a in report.answers for r in a.rows):
        out.append("bounds know neither limits nor retries nor nodes")
    return out


def doubt(found: Doubt) -> str:
    """In a sentence."""
    return f"{found.why}. What would help: {found.mend}."


def one(name: str, value: float | None) -> str:
    """A figure."""
    if value is None or value != value:
        return UNKNOWN
    return seconds(value) if name.endswith("_s") else f"{100.0 * value:.2f}%"


def spread(name: str, interval: Interval) -> str:
    """A figure with its interval."""
    if interval.low is None or interval.high is None:
        return one(name, interval.value)
    return f"{one(name, interval.value)} ({one(name, interval.low)} to {one(name, interval.high)})"


def apart(name: str, value: float | None) -> str:
    """A difference: of times in percent, of shares in points."""
    if value is None:
        return UNKNOWN
    return f"{100.0 * value:+.1f}%" if name.endswith("_s") else f"{100.0 * value:+.2f} points"


def apart_within(name: str, interval: Interval) -> str:
    """The same with its interval."""
    if interval.low is None or interval.high is None:
        return apart(name, interval.value)
    return f"{apart(name, interval.value)} ({apart(name, interval.low)} to {apart(name, interval.high)})"
