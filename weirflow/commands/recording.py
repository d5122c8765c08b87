"""Commands on a recording: `record inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weirflow.commands.failing import FAILED
from weirflow.commands.output import Form, FormOption, complain, print_json, show, text

record = typer.Typer(no_args_is_help=True, help="Look at recordings.")


@record.callback()
def _group() -> None:
    """Look at recordings."""


@record.command()
def inspect(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A recording, as `recording.folder` names it.")],
    output: FormOption = Form.TEXT,
) -> None:
    """Tell what a recording covers.

    Gaps, clock skew and drops included. Exit 1 when it cannot be used.
    """
    from weirflow.plain import plain
    from weirflow.recording import RecordingError
    from weirflow.recording.inspect import inspect as look

    try:
        found = look(folder)
    except RecordingError as error:
        complain(str(error))
        raise typer.Exit(FAILED) from error
    if output is Form.JSON:
        print_json(plain(found))
    else:
        show(text(found))
