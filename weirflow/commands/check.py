"""`weirflow check`: whether a machine, a mesh file and a brain are as they should be, and what to do where not."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from weirflow.commands.client import DEFAULT_ADMIN, AnsweredError, Client, TokenOption, UnreachableError
from weirflow.commands.failing import FAILED, UNREACHABLE
from weirflow.commands.mesh import MESH_FILE
from weirflow.commands.output import Form, FormOption, in_ascii, print_json, safe, show, speaks_unicode
from weirflow.config.problems import ConfigError

if TYPE_CHECKING:
    from weirflow.checkup.found import Check, Group
    from weirflow.checkup.run import Asked
    from weirflow.config.check import Checked
    from weirflow.config.model import Document

MARKS = {"ok": ("√", "green"), "warning": ("‼", "yellow"), "failure": ("×", "red"), "not made": ("-", "dim")}
PAGES = "docs/"
UNAUTHORIZED = 401


def check(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="MESH_FILE", help="The mesh file. [default: mesh.yaml, where there is one]"),
    ] = None,
    admin: Annotated[
        str | None,
        typer.Option(
            "--admin",
            envvar="WEIRFLOW_ADMIN",
            metavar="URL",
            help="A brain's admin API: exit 3 when it does not answer. [default: as the mesh file says, if it does]",
        ),
    ] = None,
    token_file: TokenOption = None,
    output: FormOption = Form.TEXT,
) -> None:
    """Look for what is wrong, and tell the mend.

    At this machine, the mesh file, and where a brain answers at it, its proxies, alerts and recording. Exit 0 when all
    is well or there are warnings only, 1 when anything fails.
    """
    from weirflow.checkup.found import Outcome, worst
    from weirflow.checkup.run import run

    asked = ask(file, admin, token_file)
    groups = run(asked)
    if output is Form.JSON:
        print_json(to_dict(groups))
    else:
        for line in render(groups, unicode=speaks_unicode(sys.stdout)):
            show(line)
    if asked.wanted and asked.answer is None and not asked.refused:
        raise typer.Exit(UNREACHABLE)
    if worst(groups) is Outcome.FAILURE:
        raise typer.Exit(FAILED)


def ask(file: Path | None, admin: str | None, token_file: Path | None) -> Asked:
    """Read the mesh file and ask the brain. ConfigError when a file was named and cannot be read."""
    from weirflow.checkup.run import Asked
    from weirflow.config.check import check_text
    from weirflow.config.source import read

    there = file if file is not None else MESH_FILE if MESH_FILE.exists() else None
    checked: Checked | None = None
    text: str | None = None
    problems: Any = ()
    if there is not None:
        try:
            text = read(there)
            checked = check_text(text, there)
            problems = checked.warnings
        except ConfigError as error:
            if file is not None and text is None:  # a word that names no file is wrong usage
                raise
            problems = error.problems
    document = None if checked is None else checked.document
    where = admin or _admin_of(document)
    token = token_file
    if token is None and document is not None and there is not None and document.admin.token_file is not None:
        own = there.parent / document.admin.token_file
        token = own if os.access(own, os.R_OK) else None  # one that we may not read is told among the secrets
    asked = Asked(there, checked, tuple(problems), where, token, None, wanted=admin is not None)
    try:
        return replace(asked, answer=Client(where, token).get("status"))
    except UnreachableError as error:
        return replace(asked, silent=str(error))
    except AnsweredError as error:
        mend = "name the file with its token: --token-file" if error.status == UNAUTHORIZED else error.mend
        return replace(asked, silent=error.error, refused=True, mend=mend)


def _admin_of(document: Document | None) -> str:
    """Where the brain of a mesh file answers, asked from its own machine."""
    from weirflow.addresses import is_wildcard, join

    if document is None or document.admin.port == 0:
        return DEFAULT_ADMIN
    address = document.admin.address
    if is_wildcard(address):
        address = "::1" if ":" in address else "127.0.0.1"
    return f"http://{join(address, document.admin.port)}"


def to_dict(groups: tuple[Group, ...]) -> dict[str, Any]:
    """All of it, for JSON."""
    from weirflow.checkup.found import worst

    return {
        "outcome": worst(groups).value,
        "counts": counts(groups),
        "groups": [
            {
                "name": group.name,
                "checks": [
                    {"name": c.name, "outcome": c.outcome.value, "words": c.words, "hint": c.hint, "link": _link(c)}
                    for c in group.checks
                ],
            }
            for group in groups
        ],
    }


def counts(groups: tuple[Group, ...]) -> dict[str, int]:
    """How many checks ended in which way."""
    outcomes = [c.outcome.value for group in groups for c in group.checks]
    return {word: outcomes.count(word) for word in MARKS}


def render(groups: tuple[Group, ...], *, unicode: bool) -> list[Text]:
    """The same as lines for people: a mark, what was looked at, and under a failure its mend."""

    def written(words: str) -> str:
        return safe(words) if unicode else in_ascii(safe(words))

    width = max(len(written(c.name)) for group in groups for c in group.checks)
    lines = []
    for group in groups:
        lines += [Text(), Text(group.name, style="bold")]
        for c in group.checks:
            mark, style = MARKS[c.outcome.value]
            lines.append(
                Text.assemble(("  " + written(mark), style), f" {written(c.name):<{width}}  {written(c.words)}")
            )
            if c.hint:
                lines.append(Text(written(f"    {'':<{width}}  {c.hint}; see {_link(c)}"), style="dim"))
    told = counts(groups)
    words = f"{told['ok']} ok, {told['warning']} warnings, {told['failure']} failures"
    lines += [Text(), Text(words + (f", {told['not made']} not made" if told["not made"] else ""), style="bold")]
    return lines[1:]


def _link(check: Check) -> str:
    return PAGES + check.link if check.link else ""
