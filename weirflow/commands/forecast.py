"""`forecast`: the models of demand over a file of request counts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weirflow.commands.output import Form, FormOption, print_json, show, text
from weirflow.commands.values import duration, moment, values
from weirflow.config.units import format_duration

if TYPE_CHECKING:
    from weirflow.counts import Counts
    from weirflow.foretold import Foretold


def forecast(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="Columns timestamp (ISO or epoch) and value.")],
    output: FormOption = Form.TEXT,
    step: Annotated[str | None, typer.Option(metavar="5m", help="Count by this step. [default: the file's]")] = None,
    ahead: Annotated[str, typer.Option(metavar="30m", help="How far to foretell.")] = "30m",
    counter: Annotated[
        bool | None, typer.Option("--counter/--counts", help="What the values are. [default: found out]")
    ] = None,
) -> None:
    """Foretell your own request counts.

    With intervals, and with the error on the last fifth of the file beside that of plain ways. Gaps and empty values
    are missing, not 0. A counter that only rises is differenced; its resets are told.
    """
    from weirflow.foretold import foretell

    ahead_s = duration("--ahead", ahead)
    counts = values(file, step, counter=counter)
    foretold = foretell(counts, ahead_s)
    if output is Form.JSON:
        from weirflow.plain import plain

        print_json(plain(to_dict(counts, foretold)))
    else:
        for line in render(counts, foretold):
            show(text(line))


def to_dict(counts: Counts, foretold: Foretold) -> dict[str, Any]:
    """Everything that was found, for JSON."""
    said, end_s = foretold.ahead, counts.start_s + counts.step_s * len(counts.values)
    rows = zip(foretold.horizons.tolist(), said.value[0], said.low[0], said.high[0], said.p99[0], strict=True)
    return {
        "step_s": counts.step_s,
        "steps": len(counts.values),
        "missing": counts.missing,
        "counter": counts.counter,
        "resets": counts.resets,
        "forecast": [
            {
                "at": moment(end_s + counts.step_s * (h - 1)),
                "ahead_s": h * counts.step_s,
                "value": value,
                "low": low,
                "high": high,
                "p99": p99,
            }
            for h, value, low, high, p99 in rows
        ],
        "error": [
            {
                "ahead_s": h * counts.step_s,
                "steps": foretold.scored[k],
                "inside_90": foretold.covered[k],
                "mean_absolute": {name: error[k] for name, error in foretold.errors.items()},
            }
            for k, h in enumerate(foretold.horizons.tolist())
        ],
    }


def render(counts: Counts, foretold: Foretold) -> list[str]:
    """The same as lines for people."""
    found = to_dict(counts, foretold)
    head = f"{found['steps']} steps of {format_duration(counts.step_s)}, {found['missing']} missing"
    if counts.counter:
        head += f"; a counter, differenced, {counts.resets} resets"
    lines = [head, "", f"{'step from (UTC)':20} {'ahead':>6} {'requests':>10} {'90 % interval':>23} {'p99':>10}"]
    for row in found["forecast"]:
        between = f"{_count(row['low'])} to {_count(row['high'])}"
        lines.append(
            f"{row['at']:20} {format_duration(row['ahead_s']):>6} {_count(row['value']):>10} {between:>23} "
            f"{_count(row['p99']):>10}"
        )
    lines += ["", "mean absolute error on the last fifth, each step foretold from what came before it"]
    names = list(foretold.errors)
    lines.append(f"{'ahead':>6} {'steps':>6} {'inside 90 %':>11} " + " ".join(f"{name:>19}" for name in names))
    for row in found["error"]:
        inside = "unknown" if math.isnan(row["inside_90"]) else f"{100 * row['inside_90']:.0f} %"
        errors = " ".join(f"{_count(row['mean_absolute'][name]):>19}" for name in names)
        lines.append(f"{format_duration(row['ahead_s']):>6} {row['steps']:>6.0f} {inside:>11} {errors}")
    return lines


def _count(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.4g}" if value < 1000 else f"{value:.0f}"
