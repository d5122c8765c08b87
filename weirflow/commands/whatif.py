"""`whatif`: recorded traffic under other decisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from weirflow.commands.completion import recordings
from weirflow.commands.failing import FAILED, USAGE
from weirflow.commands.output import Form, FormOption, complain, print_json, show
from weirflow.commands.progress import progress

if TYPE_CHECKING:
    from weirflow.recording import Recording
    from weirflow.whatif.answer import Asked, Report
    from weirflow.whatif.change import Question
    from weirflow.whatif.matrix import Matrix
    from weirflow.whatif.parallel import Workers
    from weirflow.whatif.question import Frame

SEEDS = 3


class Backend(StrEnum):
    """What runs tasks beside each other."""

    LOKY = "loky"
    THREADING = "threading"
    DASK = "dask"
    RAY = "ray"


def whatif(
    recording: Annotated[
        Path,
        typer.Argument(metavar="RECORDING", help="Or a folder of them: then its newest.", autocompletion=recordings),
    ],
    service: Annotated[str | None, typer.Option(metavar="S", help="Where the recording has several.")] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(metavar="P[,P...]", help="Who picks, beside what was in force. [default: that alone]"),
    ] = None,
    load: Annotated[str | None, typer.Option(metavar="x1.5", help="Times the recorded requests.")] = None,
    remove: Annotated[
        list[str] | None, typer.Option(metavar="ENDPOINT", help="Take it out; repeat for several.")
    ] = None,
    add: Annotated[
        list[str] | None,
        typer.Option(metavar="N[@SPEED][/WORKERS]", help="Endpoints more; 3@0.5 are half as fast as the median one."),
    ] = None,
    slow: Annotated[
        list[str] | None, typer.Option(metavar="ENDPOINT=x5@T1..T2", help="It takes five times as long then.")
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="max_requests=64", help="A circuit breaker of each node; repeat for several."),
    ] = None,
    share: Annotated[
        float | None, typer.Option(metavar="PERCENT", help="Of the traffic on the adaptive arm, where it is in force.")
    ] = None,
    weights: Annotated[str | None, typer.Option(metavar="A=2,B=1", help="The operator's weights.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="T", help="Judge from then: seconds, HH:MM:SS or ISO 8601.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="T", help="Judge up to then.")] = None,
    matrix: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="Many questions at once, instead of those above.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, metavar="N", help=f"Runs of each question and policy. [default: {SEEDS}]")
    ] = None,
    jobs: Annotated[int, typer.Option(min=-1, metavar="N", help="Runs at the same time; -1: as many as cores.")] = 1,
    backend: Annotated[Backend, typer.Option(help="Of joblib; dask and ray have a package of their own.")] = (
        Backend.LOKY
    ),
    force: Annotated[bool, typer.Option("--force", help="Show figures that are not to be trusted, marked.")] = False,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all figures there.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with plots there.")] = None,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", metavar="FILE", help="Write the simulated attempts there.")
    ] = None,
    output: FormOption = Form.TEXT,
) -> None:
    """Tell what would have been.

    From a recording: latency, errors and cost under another policy, load, capacity, limit or share, and how far to
    trust the answer. First what was in force is simulated and held against what was recorded. Exit 1 when a question
    is not concluded, and then it says which recording would help.
    """
    from weirflow.recording import RecordingError, newest, read
    from weirflow.whatif.parallel import AbsentError, Workers
    from weirflow.whatif.question import Frame, WrongError

    options = (
        ("--policy", policy),
        ("--load", load),
        ("--remove", remove),
        ("--add", add),
        ("--slow", slow),
        ("--limit", limit),
        ("--share", share),
        ("--weights", weights),
        ("--from", start),
        ("--to", end),
    )
    given = [name for name, value in options if value not in (None, [])]
    if matrix is not None and given:
        _wrong(f"--matrix {matrix}: the file asks the questions, and so does {given[0]}", "leave one of them out")
    if jobs == 0:
        _wrong("--jobs 0: nobody would work", "give a number, or -1 for as many as there are cores")
    if parquet is not None and backend in (Backend.DASK, Backend.RAY):
        _wrong(f"--parquet: the machines of {backend.value} write on their own disks", "leave --backend or it out")
    try:
        workers = Workers(jobs, backend.value)
        many = _matrix(matrix)
        of = read(newest(recording))
        frame = Frame.of(of, service or (many.document.service if many else None))
        if many is not None:
            asked = _of_file(many, frame, seeds, force=force)
        else:
            question = _question(frame, load, remove, add, slow, limit, share, weights, start, end)
            asked = _asked((question,), policy, seeds, force=force)
        report = _answered(of, frame, asked, workers, parquet)
    except RecordingError as error:
        complain(str(error))
        raise typer.Exit(FAILED) from error
    except WrongError as error:
        _wrong(error.message, error.mend)
    except AbsentError as error:
        _wrong(str(error), "install it, or use --backend loky")
    _told(report, output, json, html)
    if not report.concluded and not force:
        raise typer.Exit(FAILED)


def _matrix(file: Path | None) -> Matrix | None:
    from weirflow.whatif.matrix import load

    return None if file is None else load(file)


def _of_file(many: Matrix, frame: Frame, seeds: int | None, *, force: bool) -> Asked:
    from weirflow.whatif import matrix
    from weirflow.whatif.answer import Asked

    policies = matrix.policies(many) or ()
    return Asked(matrix.questions(many, frame), policies, seeds or many.document.seeds or SEEDS, force)


def _asked(questions: tuple[Question, ...], policy: list[str] | None, seeds: int | None, *, force: bool) -> Asked:
    from weirflow.whatif.answer import Asked
    from weirflow.whatif.question import policies

    return Asked(questions, policies(policy or ()), seeds or SEEDS, force)


def _question(
    frame: Frame,
    load: str | None,
    remove: Sequence[str] | None,
    add: Sequence[str] | None,
    slow: Sequence[str] | None,
    limit: Sequence[str] | None,
    share: float | None,
    weights: str | None,
    start: str | None,
    end: str | None,
) -> Question:
    """What the options ask. WrongError for the first that cannot be meant."""
    from weirflow.whatif import question as asking
    from weirflow.whatif.change import Question

    start_s, end_s = asking.window(start, end, frame)
    return asking.sound(
        Question(
            load=1.0 if load is None else asking.load(load),
            remove=asking.each(frame.endpoint, remove),
            add=asking.each(asking.added, add),
            slow=asking.each(lambda w: asking.slow(w, frame), slow),
            limits=asking.each(asking.limit, limit),
            share_percent=None if share is None else asking.share(share),
            weights=() if weights is None else asking.weights(weights, frame),
            start_s=start_s,
            end_s=end_s,
        ),
        frame,
    )


def _answered(of: Recording, frame: Frame, asked: Asked, workers: Workers, parquet: Path | None) -> Report:
    from weirflow.whatif.answer import answer
    from weirflow.whatif.attempts import shelf
    from weirflow.whatif.calibrate import calibrate

    with progress("learning the world of the recording"):
        world = calibrate(of, frame.service)
    if any(q.start_s >= world.duration_s for q in asked.questions):
        _wrong(f"--from: the last request began {world.duration_s:.0f} s after the start", "judge from before that")
    with progress("simulating") as far:

        def tell(done: int, total: int, words: str) -> None:
            far.at(done, total)
            far.say(f"[{done}/{total}] {words}")

        if parquet is None:
            return answer(of, frame, world, asked, workers=workers, tell=tell)
        with shelf() as held:
            report = answer(of, frame, world, asked, workers=workers, shelf=held, tell=tell)
            _written(parquet, lambda: held.bind(parquet))
    return report


def _told(report: Report, output: Form, json: Path | None, html: Path | None) -> None:
    from weirflow.files import write_whole
    from weirflow.whatif.page import page
    from weirflow.whatif.report import document
    from weirflow.whatif.table import render

    if json is not None:
        from json import dumps

        _written(json, lambda: write_whole(json, [(dumps(document(report), indent=2) + "\n").encode()]))
    if html is not None:
        _written(html, lambda: write_whole(html, [page(report).encode()]))
    if output is Form.JSON:
        print_json(document(report))
        return
    for part in render(report):
        show(part)


def _written(file: Path, write: Callable[[], None]) -> None:
    """Write a file; when the disk refuses, say so and end with 1."""
    try:
        write()
    except OSError as error:
        complain(f"{file}: {error.strerror or error}")
        raise typer.Exit(FAILED) from error


def _wrong(message: str, mend: str) -> NoReturn:
    complain(message, mend)
    raise typer.Exit(USAGE)
