"""How commands fail: one place where what went wrong becomes words and an exit status.

0 done; 1 found something, or could not do it; 2 wrong usage or a mesh file that is not accepted; 3 no brain answers.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from weirflow.commands.client import AnsweredError, UnreachableError
from weirflow.commands.output import Form, complain, print_json
from weirflow.config.problems import ConfigError, Problem

FAILED, USAGE, UNREACHABLE = 1, 2, 3


class Front(TyperGroup):
    """The group of all commands: runs one, and turns the errors that an operator can mend into words."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; ConfigError, AnsweredError and UnreachableError end in an exit status."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            for problem in error.problems:
                complain(str(problem))
            raise typer.Exit(USAGE) from error
        except AnsweredError as error:
            complain(error.error, error.mend)
            raise typer.Exit(USAGE if error.status in (400, 404) else FAILED) from error
        except UnreachableError as error:
            complain(str(error), "start one with 'weirflow run mesh.yaml', or name its address with --admin")
            raise typer.Exit(UNREACHABLE) from error


def print_problems(problems: tuple[Problem, ...], form: Form, *, accepted: bool, file: str) -> None:
    """Problems of a mesh file: a line each on the standard error, or one JSON document."""
    if form is Form.TEXT:
        for problem in problems:
            complain(str(problem))
        return
    keys = ("file", "line", "column", "key", "severity", "message", "mend")
    print_json({"file": file, "accepted": accepted, "problems": [{k: getattr(p, k) for k in keys} for p in problems]})
