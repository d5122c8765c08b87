"""`detect`: the detector of surprises over a file of values, and the watch of the brain over a recording."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weirflow.commands.failing import FAILED
from weirflow.commands.output import Form, FormOption, complain, print_json, show, text
from weirflow.commands.progress import progress
from weirflow.commands.values import moment, values
from weirflow.config.units import format_duration

if TYPE_CHECKING:
    from weirflow.counts import Counts
    from weirflow.detected import Detected

FOUND = 1


def detect(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="CSV with columns timestamp (ISO or epoch) and value; or the folder of a recording."
        ),
    ],
    output: FormOption = Form.TEXT,
    step: Annotated[
        str | None, typer.Option(metavar="1m", help="Of a CSV: add up by this step. [default: as it stands]")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with plots there.")] = None,
    counter: Annotated[
        bool | None, typer.Option("--counter/--counts", help="Of a CSV: what the values are. [default: found out]")
    ] = None,
) -> None:
    """Find what is surprising in your own series, or what went wrong in a recording.

    Of a CSV each step is judged by what came before it alone: nothing is trained, and there is nothing to set. After an
    alarm there is quiet for 200 steps.

    A recording is told to a fresh brain in virtual time, whose watch is the one that runs live, under the recorded
    settings: incidents are told with their timelines, and drawn with what would have been usual.

    Exit 1 when anything was found, 0 when nothing was.
    """
    if file.is_dir():
        _over_recording(file, output, step, html, counter)
    else:
        _over_values(file, output, step, html, counter)


def _over_recording(folder: Path, output: Form, step: str | None, html: Path | None, counter: bool | None) -> None:
    """The watch. Exits 1 when it found anything."""
    from weirflow.commands import detected

    for name, given in (("--step", step), ("--counter", counter)):
        if given is not None:
            raise typer.BadParameter("is for a file of values, and a recording was given", param_hint=name)
    watching = detected.watch(folder)
    if html is not None:
        from weirflow.detected_run_page import page

        _write(html, page(watching))
    if output is Form.JSON:
        print_json(detected.to_dict(watching))
    else:
        for part in detected.render(watching):
            show(part)
    if watching.found:
        raise typer.Exit(FOUND)


def _over_values(file: Path, output: Form, step: str | None, html: Path | None, counter: bool | None) -> None:
    """The detector of surprises. Exits 1 when it found anything."""
    from weirflow.detected import detect as over
    from weirflow.detected_page import page

    counts = values(file, step, counter=counter, negative=True)
    with progress("looking for surprises", len(counts.values)) as far:
        detected = over(counts, far.at)
    if html is not None:
        _write(html, page(file.name, counts, detected))
    if output is Form.JSON:
        from weirflow.plain import plain

        print_json(plain(to_dict(counts, detected)))
    else:
        for line in render(counts, detected):
            show(text(line))
    raise typer.Exit(FOUND if len(detected.alarms) else 0)


def _write(path: Path, page: str) -> None:
    from weirflow.files import write_whole

    try:
        write_whole(path, [page.encode()])
    except OSError as error:
        complain(f"{path}: {error.strerror or error}")
        raise typer.Exit(FAILED) from error


def to_dict(counts: Counts, detected: Detected) -> dict[str, Any]:
    """Everything that was found, for JSON."""
    return {
        "step_s": counts.step_s,
        "steps": len(counts.values),
        "missing": counts.missing,
        "counter": counts.counter,
        "resets": counts.resets,
        "alarms": [
            {
                "at": moment(counts.start_s + i * counts.step_s),
                "value": counts.values[i],
                "low": detected.low[i],
                "high": detected.high[i],
                "score": detected.score[i],
            }
            for i in detected.alarms.tolist()
        ],
    }


def render(counts: Counts, detected: Detected) -> list[str]:
    """The same as lines for people."""
    found = to_dict(counts, detected)
    head = f"{found['steps']} steps of {format_duration(counts.step_s)}, {found['missing']} missing"
    if counts.counter:
        head += f"; a counter, differenced, {counts.resets} resets"
    if not found["alarms"]:
        return [head, "nothing surprising"]
    lines = [head, "", f"{'step from (UTC)':20} {'value':>12} {'expected':>27} {'score':>6}"]
    for row in found["alarms"]:
        expected = "unknown" if math.isnan(row["low"]) else f"{row['low']:.5g} to {row['high']:.5g}"
        lines.append(f"{row['at']:20} {row['value']:>12.6g} {expected:>27} {row['score']:>6.2f}")
    return lines
