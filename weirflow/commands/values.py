"""What commands over a CSV of values share: how it is read, and by which step. Each exits with words for a mistake."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from weirflow.commands.failing import FAILED, USAGE
from weirflow.commands.output import complain
from weirflow.config.units import parse_duration

if TYPE_CHECKING:
    from weirflow.counts import Counts


def values(file: Path, step: str | None, *, counter: bool | None, negative: bool = False) -> Counts:
    """A file's values, added up by a step when one is given; `counter` and `negative` as in `weirflow.counts`."""
    from weirflow.counts import CountsError, read_counts

    step_s = None if step is None else duration("--step", step)
    try:
        counts = read_counts(file, counter=counter, negative=negative)
        return counts if step_s is None else counts.by(step_s)
    except CountsError as error:
        complain(str(error))
        raise typer.Exit(FAILED) from error
    except ValueError as error:
        complain(f"--step {step}: {error}", "take a multiple of that")
        raise typer.Exit(USAGE) from error


def duration(option: str, given: str) -> float:
    """Seconds, more than none."""
    try:
        seconds = parse_duration(given)
    except ValueError as error:
        complain(f"{option} {given}: {error}")
        raise typer.Exit(USAGE) from error
    if seconds <= 0:
        complain(f"{option} {given}: must be more than nothing")
        raise typer.Exit(USAGE)
    return seconds


def moment(seconds: float) -> str:
    """In UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
