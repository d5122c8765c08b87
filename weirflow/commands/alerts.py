"""Commands on what is wrong: `alerts`, `alerts silence`, `alerts ack` and `incident`, over the admin API."""

from __future__ import annotations

import json
import sys
import threading
from typing import Annotated, Any

import typer

from weirflow.commands.client import DEFAULT_ADMIN, AdminOption, Client, TokenOption
from weirflow.commands.failing import FAILED, USAGE
from weirflow.commands.output import Form, FormOption, complain, print_json, show, text

LOOK_EVERY_S = 1.0

KindArgument = Annotated[str, typer.Argument(metavar="KIND", help="Of the alerts, as `weirflow alerts` names it.")]
LabelsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="LABEL=VALUE", help="Only those with these labels.")
]

alerts = typer.Typer(invoke_without_command=True)


@alerts.callback()
def listed(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and tell what opens and closes.")] = False,
    admin: AdminOption = DEFAULT_ADMIN,
    token_file: TokenOption = None,
    output: FormOption = Form.TEXT,
) -> None:
    """List the alerts that are open.

    Since when, how severe, of what, and who could not be told. Exit 1 when any is open, 0 when none is. With `--watch`
    and `-o json`, a JSON object a line.
    """
    if context.invoked_subcommand is not None:
        return
    client = Client(admin, token_file)
    answer = client.get("alerts")
    if watch:
        _watch(client, answer, output)
        return
    if output is Form.JSON:
        print_json(answer)
    else:
        from weirflow.commands.incidents import listing

        show(listing(answer))
    raise typer.Exit(FAILED if answer["open"] else 0)


def _watch(client: Client, answer: dict[str, Any], output: Form) -> None:
    """The list, and then a line for all that opens or ends, until interrupted."""
    from weirflow.commands.incidents import changes, listing

    if output is Form.JSON:
        typer.echo(json.dumps(answer))
    else:
        show(listing(answer))
    never = threading.Event()
    try:
        sys.stdout.flush()  # a pipe would keep it until kilobytes have come
        while not never.wait(LOOK_EVERY_S):
            before, answer = answer, client.get("alerts")
            lines = changes(before, answer)
            if lines and output is Form.JSON:
                typer.echo(json.dumps(answer))
            for line in lines if output is Form.TEXT else ():
                show(line)
            sys.stdout.flush()
    except KeyboardInterrupt:
        return


@alerts.command()
def silence(
    kind: KindArgument,
    comment: Annotated[str, typer.Option("--comment", metavar="TEXT", help="Why. Everybody will see it.")],
    lasts: Annotated[str, typer.Option("--for", metavar="1h", help="How long.")],
    labels: LabelsArgument = None,
    admin: AdminOption = DEFAULT_ADMIN,
    token_file: TokenOption = None,
    output: FormOption = Form.TEXT,
) -> None:
    """Call nobody for these alerts for a while.

    The configured Alertmanagers keep the silence, and can end it; Weirflow writes down who asked.
    """
    body = {"kind": kind, "labels": _labels(labels), "for": lasts, "comment": comment}
    _ask(Client(admin, token_file), body, output, f"{kind} is silent for {lasts}")


@alerts.command()
def ack(
    kind: KindArgument,
    labels: LabelsArgument = None,
    comment: Annotated[str | None, typer.Option("--comment", metavar="TEXT", help="What you are about.")] = None,
    lasts: Annotated[str, typer.Option("--for", metavar="4h", help="How long.")] = "4h",
    admin: AdminOption = DEFAULT_ADMIN,
    token_file: TokenOption = None,
    output: FormOption = Form.TEXT,
) -> None:
    """Say that you look after alerts that are open.

    It is a silence with your name, in the configured Alertmanagers.
    """
    body: dict[str, Any] = {"kind": kind, "labels": _labels(labels), "for": lasts, "ack": True}
    if comment is not None:
        body["comment"] = comment
    _ask(Client(admin, token_file), body, output, f"{kind} is acknowledged for {lasts}")


def incident(
    id_: Annotated[str, typer.Argument(metavar="ID", help="As `weirflow alerts` names it.")],
    admin: AdminOption = DEFAULT_ADMIN,
    token_file: TokenOption = None,
    output: FormOption = Form.TEXT,
) -> None:
    """Tell the story of an incident.

    What was found and when, the causes by likelihood, what was done about it and what may be. Those that are over can
    be read until 50 newer ones are, or the brain restarts.
    """
    answer = Client(admin, token_file).get("incidents", id_)
    if output is Form.JSON:
        print_json(answer)
        return
    from weirflow.commands.incidents import story

    show(story(answer))


def _labels(given: list[str] | None) -> dict[str, str]:
    out: dict[str, str] = {}
    for item in given or []:
        name, equals, value = item.partition("=")
        if not equals or not name or not value:
            complain(f"{item!r} is not LABEL=VALUE", "as in service=orders")
            raise typer.Exit(USAGE)
        out[name] = value
    return out


def _ask(client: Client, body: dict[str, Any], output: Form, done: str) -> None:
    answer = client.post("silences", body)
    if output is Form.JSON:
        print_json(answer)
    else:
        show(text(done))
        for told in answer["after"]["alertmanagers"]:
            show(
                text(f"  {told['url']}: " + (f"silence {told['id']}" if told["id"] else f"not taken: {told['error']}"))
            )
    raise typer.Exit(0 if answer["ok"] else FAILED)
