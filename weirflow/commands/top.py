"""`weirflow top`: the mesh as it is now, on the whole terminal.

One thread asks and another draws, so that a brain which hangs does not hold up a key. What was seen last stays, greyed
and with its age, while nobody answers.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weirflow.commands.client import DEFAULT_ADMIN, AdminOption, AnsweredError, Client, TokenOption, UnreachableError
from weirflow.commands.completion import services
from weirflow.commands.figures import seconds
from weirflow.commands.output import Form, FormOption, console, print_json, speaks_unicode
from weirflow.commands.view import Sort, View
from weirflow.config.problems import mend_of
from weirflow.config.units import parse_duration

if TYPE_CHECKING:
    from weirflow.commands.picture import Picture

LOOK_S = 0.1  # at the keys, and whether the picture has changed
LEAST_INTERVAL_S = 0.1
SAID_FOR_S = 10.0  # how long it is told that a brain has come back

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """The last answer and what has come of asking since. Times are our clock's, seconds."""

    answer: Json
    at: float
    trouble: str = ""  # why there is no newer one
    back_at: float | None = None  # when there was one again after a trouble
    away_s: float = 0.0  # and how long that was
    restarted: bool = False

    def heard(self, answer: Json, now: float) -> Seen:
        """There is an answer."""
        if not self.trouble:
            return replace(self, answer=answer, at=now)
        epochs = [(a.get("process") or {}).get("epoch") for a in (self.answer, answer)]
        return Seen(answer, now, "", now, now - self.at, epochs[0] != epochs[1])

    def notes(self, now: float) -> tuple[str, ...]:
        """What is to be said of it above the picture."""
        if self.trouble:
            return (f"! {self.trouble}; below is what was so {seconds(round(now - self.at))} ago",)
        if self.back_at is not None and now - self.back_at < SAID_FOR_S:
            again = "started again" if self.restarted else "answers again"
            return (f"the brain {again}, after {seconds(round(self.away_s))}",)
        return ()


def top(
    service: Annotated[
        str | None, typer.Option("--service", metavar="NAME", help="Only this one.", autocompletion=services)
    ] = None,
    sort: Annotated[Sort, typer.Option("--sort", help="Endpoints by this, the largest first.")] = Sort.WEIGHT,
    interval: Annotated[str, typer.Option("--interval", metavar="1s", help="Ask again so often.")] = "1s",
    once: Annotated[bool, typer.Option("--once", help="One picture as text, as into a pipe.")] = False,
    admin: AdminOption = DEFAULT_ADMIN,
    token_file: TokenOption = None,
    output: FormOption = Form.TEXT,
) -> None:
    """Watch the mesh as it is now.

    What is wrong, services with their mode, arms and gain, endpoints with weight, share, latency, errors and what is
    open. On a terminal, until q: arrows go through the endpoints, s sorts by another column. A brain that goes away
    leaves the last picture, grey and with its age. Into a pipe, with --once or with -o json: once.
    """
    every_s = _interval(interval)
    client = Client(admin, token_file)
    answer = client.get("status")
    if output is Form.JSON:
        print_json(answer)
        return
    names = [str(s.get("name")) for s in (answer.get("decision") or {}).get("services") or []]
    if service is not None and names and service not in names:
        raise typer.BadParameter(
            f"no service is named {service!r}; {mend_of(service, names, kind='services')}", param_hint="--service"
        )
    from weirflow.commands.picture import picture

    out = console()
    view = View(service, sort, unicode=speaks_unicode(sys.stdout))
    if once or not out.is_terminal:
        shown = picture(answer, replace(view, width=out.width))
        sys.stdout.write("".join(f"{line.plain}\n" for line in shown.lines))
        return
    _watch(client, answer, view, every_s)


def _interval(given: str) -> float:
    try:
        every_s = parse_duration(given)
    except ValueError as error:
        raise typer.BadParameter(f"{given!r} {error}", param_hint="--interval") from error
    if every_s < LEAST_INTERVAL_S:
        raise typer.BadParameter(f"must be at least {seconds(LEAST_INTERVAL_S)}", param_hint="--interval")
    return every_s


@contextlib.contextmanager
def _asked(client: Client, answer: Json, every_s: float, now: Callable[[], float]) -> Iterator[Callable[[], Seen]]:
    """Asks again and again beside us; yields a function that tells what was seen last."""
    seen, over = [Seen(answer, now())], threading.Event()

    def ask() -> None:
        while not over.wait(every_s):
            try:
                seen[0] = seen[0].heard(client.get("status"), now())
            except (UnreachableError, AnsweredError, typer.BadParameter) as error:
                seen[0] = replace(seen[0], trouble=str(error))

    thread = threading.Thread(target=ask, daemon=True)  # one that waits for an answer does not hold up the end
    thread.start()
    try:
        yield lambda: seen[0]
    finally:
        over.set()


def _watch(client: Client, answer: Json, view: View, every_s: float) -> None:
    """Draw until q, Ctrl-C or SIGTERM, and leave the terminal as it was."""
    from rich.console import Group
    from rich.live import Live

    from weirflow.clock import Clock
    from weirflow.commands.keys import keys
    from weirflow.commands.picture import picture

    now, out = Clock().now, console()
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with (
            _asked(client, answer, every_s, now) as look,
            keys(sys.stdin) as pressed,
            Live(console=out, screen=True, auto_refresh=False) as live,
        ):
            drawn: Any = None
            typed: list[str] = []
            view = replace(view, keys=sys.stdin.isatty())
            while "q" not in typed:
                seen, size = look(), out.size
                notes = seen.notes(now())
                view = replace(view, width=size.width, height=size.height, notes=notes, grey=bool(seen.trouble))
                if (view, seen.at) != drawn:
                    shown = picture(seen.answer, view)
                    live.update(Group(*shown.lines), refresh=True)
                    view = replace(view, first=shown.first)
                    drawn = (view, seen.at)
                typed = pressed(LOOK_S)
                for key in typed:
                    view = turned(view, key, shown)
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)


def turned(view: View, key: str, shown: Picture) -> View:
    """The view after a key; one that means nothing changes nothing."""
    step = {"up": -1, "down": 1, "page up": -shown.room, "page down": shown.room, "k": -1, "j": 1}.get(key)
    if step is not None:
        return replace(view, first=max(view.first + step, 0))
    match key:
        case "s":
            order = list(Sort)
            return replace(view, sort=order[(order.index(view.sort) + 1) % len(order)], first=0)
        case "home":
            return replace(view, first=0)
        case "end":
            return replace(view, first=1 << 30)
        case _:
            return view
