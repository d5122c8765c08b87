"""Commands on a mesh that runs: `status`, `explain`, `freeze`, `rollback` and `mode`, over its admin API."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from brain.settings import Mode
from weirflow.commands.client import DEFAULT_ADMIN, AdminOption, Client, TokenOption
from weirflow.commands.completion import services
from weirflow.commands.output import Form, FormOption, console, print_json, show, text


def status(admin: AdminOption = DEFAULT_ADMIN, token_file: TokenOption = None, output: FormOption = Form.TEXT) -> None:
    """Show the last decision, and how the mesh is.

    Weights and why, both arms and the gain between them, nodes, lease and recording. In shadow mode: what would be.
    """
    answer = Client(admin, token_file).get("status")
    if output is Form.JSON:
        print_json(answer)
        return
    from weirflow.commands.status import render

    show(render(answer, wide=console().width >= 150))


def explain(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="A service of the mesh.", autocompletion=services)],
    endpoint: Annotated[str | None, typer.Argument(metavar="ENDPOINT", help="One of its addresses.")] = None,
    admin: AdminOption = DEFAULT_ADMIN,
    token_file: TokenOption = None,
    output: FormOption = Form.TEXT,
) -> None:
    """Tell why a weight is what it is.

    What was seen, how the peers look, what was wanted, which guard rail held it, and what is in force.
    """
    parts = ("explain", service) if endpoint is None else ("explain", service, endpoint)
    answer = Client(admin, token_file).get(*parts)
    if output is Form.JSON:
        print_json(answer)
        return
    from weirflow.commands.explain import render

    show(render(answer))


def freeze(
    off: Annotated[bool, typer.Option("--off", help="Let the brain decide again.")] = False,
    admin: AdminOption = DEFAULT_ADMIN,
    token_file: TokenOption = None,
    output: FormOption = Form.TEXT,
) -> None:
    """Hold the present plan.

    It is kept in force, and its lease renewed, until `--off`.
    """
    done = "the brain decides again" if off else "the present plan is held; `weirflow freeze --off` ends it"
    _told(Client(admin, token_file).post("freeze", {"on": not off}), output, done)


def rollback(
    admin: AdminOption = DEFAULT_ADMIN, token_file: TokenOption = None, output: FormOption = Form.TEXT
) -> None:
    """Go back to the static rules.

    Every service goes to shadow, and its learned weights to yours.
    """
    done = "every service is back on the static rules, in shadow"
    _told(Client(admin, token_file).post("rollback", {}), output, done)


def mode(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="A service of the mesh.", autocompletion=services)],
    mode: Annotated[
        Mode, typer.Argument(metavar="MODE", help="What learned state may do: static, shadow or adaptive.")
    ],
    share: Annotated[
        float | None, typer.Option("--share", min=0, max=100, help="Percent of its traffic on the adaptive arm.")
    ] = None,
    admin: AdminOption = DEFAULT_ADMIN,
    token_file: TokenOption = None,
    output: FormOption = Form.TEXT,
) -> None:
    """Change what learned state may do.

    To one service, and to how much of its traffic.
    """
    body: dict[str, Any] = {"service": service, "mode": mode.value}
    if share is not None:
        body["share_percent"] = share
    done = f"{service} is in {mode.value} mode" + ("" if share is None else f", {share:g} % of its traffic adaptive")
    _told(Client(admin, token_file).post("mode", body), output, done)


def _told(answer: dict[str, Any], form: Form, done: str) -> None:
    """A change was made: in force from the next tick on."""
    if form is Form.JSON:
        print_json(answer)
    else:
        show(text(f"{done} (from the next tick, within a second)"))
