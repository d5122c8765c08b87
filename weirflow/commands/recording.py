"""Commands on a recording: `record inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weirflow.commands.completion import recordings
from weirflow.commands.failing import FAILED
from weirflow.commands.output import Form, FormOption, complain, print_json, show, text
from weirflow.commands.progress import progress

record = typer.Typer(no_args_is_help=True, help="Look at recordings.")


@record.callback()
def _group() -> None:
    """Look at recordings."""


@record.command()
def inspect(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="A recording, or a folder of them: then its newest.", autocompletion=recordings
        ),
    ],
    output: FormOption = Form.TEXT,
) -> None:
    """Tell what a recording covers.

    Gaps, clock skew and drops included. Exit 1 when it cannot be replayed from start to end.
    """
    from weirflow.plain import plain
    from weirflow.recording import RecordingError, newest
    from weirflow.recording import inspect as looking

    try:
        with progress("looking through it") as far:
            found = looking.inspect(newest(folder), far.at)
    except RecordingError as error:
        complain(str(error))
        raise typer.Exit(FAILED) from error
    if output is Form.JSON:
        print_json(plain(looking.to_dict(found)))
    else:
        for line in looking.render(found).splitlines():
            show(text(line))
    if not found.sound:
        raise typer.Exit(FAILED)
