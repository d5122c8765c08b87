"""`weirflow bug-report`: what somebody needs who is to find out what went wrong, in one file, without secrets."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from weirflow.commands.client import Client, TokenOption
from weirflow.commands.failing import FAILED, USAGE
from weirflow.commands.output import complain, show, text


def bug_report(
    file: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.tar.gz", help="A new file. [default: named by the time, here]"),
    ] = None,
    mesh: Annotated[
        Path | None,
        typer.Option("--mesh", metavar="MESH_FILE", help="[default: the brain's, or mesh.yaml, where it is here]"),
    ] = None,
    admin: Annotated[
        str | None,
        typer.Option(
            "--admin",
            envvar="WEIRFLOW_ADMIN",
            metavar="URL",
            help="The brain's admin API. [default: as the mesh file says]",
        ),
    ] = None,
    token_file: TokenOption = None,
    with_envoy: Annotated[
        bool, typer.Option("--with-envoy", help="The configuration that each Envoy of ours has, too.")
    ] = False,
) -> None:
    """Write what a bug report needs into one file.

    Status, explanations, audit, alerts, incidents and metrics of the brain, the mesh file, versions, and what
    `weirflow check` says; of a brain that does not answer, what there is. Tokens, webhooks' secrets, and users and
    passwords in URLs are taken out. Nothing is sent anywhere. A file that exists is not overwritten.
    """
    from weirflow.bugreport.archive import fresh, write
    from weirflow.bugreport.gather import gather
    from weirflow.checkup.run import run
    from weirflow.clock import Clock
    from weirflow.commands.check import ask, to_dict

    if file is None:
        file = Path(f"weirflow-bug-report-{datetime.fromtimestamp(Clock().now(), UTC):%Y%m%dT%H%M%SZ}.tar.gz")
    try:
        with fresh(file) as made:
            asked = ask(mesh, admin, token_file)
            if mesh is None and asked.file is None and asked.answer is not None and asked.here:
                theirs = Path(str(((asked.answer.get("process") or {}).get("config") or {}).get("file")))
                if theirs.is_file():
                    asked = ask(theirs, admin or asked.admin, token_file)
            client = Client(asked.admin, asked.token_file)
            gathered = gather(client, asked, to_dict(run(asked)), with_envoy=with_envoy)
            write(made, gathered.members)
    except FileExistsError as error:
        complain(f"{file}: is there already, and is not overwritten", "name another with -o")
        raise typer.Exit(USAGE) from error
    except OSError as error:
        complain(f"{file}: {error.strerror or error}")
        raise typer.Exit(FAILED) from error
    show(text(f"{file} ({file.stat().st_size} bytes) has in it:"))
    for name in sorted(gathered.members):
        show(text(f"  {name} ({len(gathered.members[name])} bytes)"))
    if gathered.missing:
        show(text("and has not:"))
        for name, why in sorted(gathered.missing.items()):
            show(text(f"  {name}: {why}"))
    show(text("Secrets were taken out, names and addresses were not. It was sent nowhere: look through it first."))
