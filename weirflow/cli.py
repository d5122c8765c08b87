"""`weirflow`: the command line. Each command says what it does in its docstring, which is also its help and its page
in docs/reference/cli.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weirflow import __version__
from weirflow.commands import (
    alerts,
    bug_report,
    check,
    detect,
    forecast,
    importing,
    lab,
    mesh,
    models,
    operate,
    recording,
    replay,
    top,
    whatif,
)
from weirflow.commands.failing import Front

app = typer.Typer(
    cls=Front,
    name="weirflow",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="A mesh that learns: adaptive weights and limits, leased to Envoy, with your static rules underneath.",
    epilog="Exit status: 0 done; 1 found something or failed; 2 wrong usage or mesh file; 3 no brain answers.",
)

app.command()(mesh.run)
app.command()(mesh.validate)
app.command()(check.check)
app.command()(bug_report.bug_report)
app.command()(mesh.bootstrap)
app.add_typer(mesh.config, name="config")
app.command()(operate.status)
app.command()(top.top)
app.command()(operate.explain)
app.command()(operate.freeze)
app.command()(operate.rollback)
app.command()(operate.mode)
app.add_typer(alerts.alerts, name="alerts")
app.command()(alerts.incident)
app.add_typer(models.models, name="models")
app.command()(forecast.forecast)
app.command()(detect.detect)
app.command("import")(importing.import_)
app.command()(whatif.whatif)
app.add_typer(recording.record, name="record")
app.command()(replay.replay)
app.add_typer(lab.lab, name="lab")


@app.command()
def demo(
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there as well.")
    ] = None,
    brisk: Annotated[bool, typer.Option("--brisk", hidden=True, help="For the tests: shorter windows.")] = False,
) -> None:
    """Tell the story on this machine.

    Under 90 seconds: two real Envoys, two services, an endpoint that turns slow, a brain that is killed. Exit 0 only if
    what it claims happened.
    """
    from weirflow.demo.story import main as story

    raise typer.Exit(story(json, brisk=brisk))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"weirflow {__version__}")


def main() -> None:
    """The console script."""
    app()
