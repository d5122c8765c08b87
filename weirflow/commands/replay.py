"""`weirflow replay`: a recording through this version's brain, and one version's decisions against another's."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weirflow.commands.completion import recordings
from weirflow.commands.failing import FAILED, USAGE
from weirflow.commands.output import Form, FormOption, complain, print_json, show, text
from weirflow.commands.progress import progress
from weirflow.config.units import parse_duration

if TYPE_CHECKING:
    from brain.champion import Roster
    from weirflow.commands.replayed import Replayed
    from weirflow.recording import Recording
    from weirflow.replay.report import Report


def replay(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="RECORDING", help="A recording, or a folder of them: then its newest.", autocompletion=recordings
        ),
    ],
    until: Annotated[
        str | None, typer.Option(metavar="T", help="Stop there: 5m after the start, or a time (ISO 8601, UTC).")
    ] = None,
    service: Annotated[
        str | None, typer.Option(metavar="NAME", help="Compare only what is decided of this service.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="FILE", help="Write this version's decisions there: .parquet, else JSON lines."
        ),
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", metavar="REPORT", help="Compare with another version's report.")
    ] = None,
    tolerate: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="With --against: exit 0 when no change is larger. [default: none may differ in anything]"
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=module:factory", help="A model of your own that the recorded brain had; it is imported."
        ),
    ] = None,
    output: FormOption = Form.TEXT,
) -> None:
    """Decide again what a recording decided.

    Everything that the brain was told is told to a fresh one, in virtual time, and its decisions must be the recorded
    ones to the last digit. The first difference is shown with what the brain was told before it. Exit 0 when they are
    the same, 1 when they are not or the recording cannot be replayed to its end.

    With --against the exit status says how this version's decisions compare with the report's instead. --tolerate 0.05
    allows, at any tick, 5 % of a service's weights or of its traffic's share elsewhere and a limit 5 % apart; at 5 % of
    the ticks another state, tier or lease; and no incident that only one of the two opens.
    """
    from weirflow import own
    from weirflow.commands.replayed import render, to_dict
    from weirflow.recording import RecordingError, newest, read
    from weirflow.replay import ReplayError
    from weirflow.replay.report import ReportError, read_report

    if tolerate is not None and against is None:
        raise typer.BadParameter("says how to judge --against, which is not given", param_hint="--tolerate")
    try:
        recording = read(newest(folder))
        theirs = None if against is None else read_report(against)
        found = _go(recording, until, service, report, theirs, own.roster(own.named(model or [])))
    except RecordingError as error:
        complain(str(error), "see 'weirflow record inspect' for what can be read")
        raise typer.Exit(FAILED) from error
    except ReplayError as error:
        complain(f"{folder}: {error}")
        raise typer.Exit(FAILED) from error
    except own.OwnError as error:
        complain(f"--model {error}")
        raise typer.Exit(USAGE) from error
    except ReportError as error:
        complain(str(error))
        raise typer.Exit(USAGE) from error
    except OSError as error:
        complain(f"{report or folder}: {error.strerror or error}")
        raise typer.Exit(FAILED) from error
    found.judge(tolerate)
    if output is Form.JSON:
        print_json(to_dict(found))
    else:
        for line in render(found):
            show(text(line) if isinstance(line, str) else line)
    if not found.passed:
        raise typer.Exit(FAILED)


def _go(
    recording: Recording,
    until: str | None,
    service: str | None,
    path: Path | None,
    theirs: Report | None,
    own: Roster,
) -> Replayed:
    """Check what was asked for against what is there, and run. Exits when it makes no sense."""
    from brain.brain import Brain
    from weirflow.clock import Clock
    from weirflow.commands.replayed import Replayed
    from weirflow.recording import RecordingError
    from weirflow.replay import ReplayError
    from weirflow.replay.compare import Comparison
    from weirflow.replay.report import Writer
    from weirflow.replay.run import Run, Until, head_of

    if theirs is not None:
        _same(recording, theirs)
    _check(recording, service)
    if not recording.parts:
        raise recording.faults[0] if recording.faults else ReplayError("none of the parts of the recording was closed")
    end = _until(until, recording.started, recording.parts[-1].ended)
    comparison = None
    if theirs is not None:
        end = min(end, theirs.head.until)
        comparison = Comparison(recording.started, end, service)
    clock = Clock()
    began = clock.now()
    with contextlib.ExitStack() as stack:
        writer = None if path is None else stack.enter_context(Writer(path, head_of(recording, end)))
        far = stack.enter_context(progress("replaying", max(end - recording.started, 1e-9)))
        run = Run(
            Until(recording, end),
            partial(Brain, own=own),
            service=service,
            writer=writer,
            report=theirs,
            comparison=comparison,
        )
        found = Replayed(recording, run, theirs, comparison, path)
        try:
            run.go(lambda now: far.at(now - recording.started))
        except RecordingError:
            if run.ticks:
                far.say(found.so_far())
            raise
    found.took_s = clock.now() - began
    return found


def _same(recording: Recording, theirs: Report) -> None:
    """Exits when the report is of another recording. One that has grown since is the same."""
    from weirflow.replay.report import identity

    head = theirs.head
    here = identity(recording, head.parts)
    if len(recording.parts) < head.parts or here != head.recording:
        complain(
            f"{theirs.path} is of another recording: of {head.recording} ({head.parts} parts), "
            f"and {recording.folder} is {identity(recording)} ({len(recording.parts)} parts)",
            "write the report and compare it over the same recording",
        )
        raise typer.Exit(USAGE)


def _check(recording: Recording, service: str | None) -> None:
    """Exits when there is nothing to compare."""
    if recording.parts and not any("decisions" in p.files for p in recording.parts) and not recording.faults:
        complain(
            f"{recording.folder}: there is nothing to compare: the recording holds no decision, as an imported one does"
        )
        raise typer.Exit(USAGE)
    known = sorted({s.name for p in recording.parts for s in p.topology.services})
    if service is not None and service not in known:
        near = get_close_matches(service, known, n=1, cutoff=0.4) or known[:1]
        complain(f"--service {service}: the recording has no such service", "".join(f"did you mean {n}?" for n in near))
        raise typer.Exit(USAGE)


def _until(given: str | None, started: float, ended: float) -> float:
    """The brain's time to stop at; exits when it cannot be read, or nothing comes before it."""
    if given is None:
        return ended
    try:
        until = started + parse_duration(given)
    except ValueError:
        try:
            moment = datetime.fromisoformat(given)
            until = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            complain(f"--until {given}: is neither a duration nor a time", "write 5m, or 2026-09-14T10:30:00")
            raise typer.Exit(USAGE) from None
    if until < started:
        complain(f"--until {given}: is before the recording begins, at {datetime.fromtimestamp(started, UTC):%FT%TZ}")
        raise typer.Exit(USAGE)
    return min(until, ended)
