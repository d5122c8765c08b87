"""What a shell offers when Tab is pressed: services of a mesh that runs, scenarios that ship, recordings here.

A look never prints, never fails and never takes long: who presses Tab wants an answer now, or none. What it offers goes
through a shell that expands what it is given, and names come from wires and disks: only plain ones are offered.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import typer

import weirflow
from weirflow.commands.client import DEFAULT_ADMIN, Client

DEADLINE_S = 0.7
MOST = 200
MOST_ENTRIES = 2000
HEADER = "recording.json"
"""As `weirflow.recording.part` has it, which brings pyarrow along, and that takes longer than anybody waits."""

_PLAIN = re.compile(r"[A-Za-z0-9._/][A-Za-z0-9._/@+=,-]{0,199}")


def services(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of services, where the admin API answers."""

    def names() -> Iterator[str]:
        given = ctx.params
        admin = given.get("admin") or os.environ.get("WEIRFLOW_ADMIN") or DEFAULT_ADMIN
        token = given.get("token_file") or os.environ.get("WEIRFLOW_TOKEN_FILE")
        answer = Client(str(admin), Path(token) if token else None).get("status")
        return (str(s["name"]) for s in answer["decision"]["services"])

    return _offered(names, incomplete)


def scenarios(incomplete: str) -> list[str]:
    """Names of the scenarios that ship. What looks like a path is left to the shell."""
    if "/" in incomplete:
        return []
    folder = Path(weirflow.__file__).parent / "lab" / "scenarios"
    return _offered(lambda: sorted(file.stem for file in folder.glob("*.yaml")), incomplete)


def recordings(incomplete: str) -> list[str]:
    """Folders that are a recording or hold some. Where there are none the shell offers what else there is."""

    def found() -> Iterator[str]:
        before, slash, begun = incomplete.rpartition("/")
        with os.scandir((before + slash) or ".") as entries:
            for entry in sorted(islice(entries, MOST_ENTRIES), key=lambda e: e.name):
                if entry.name.startswith(begun) and entry.is_dir() and _recorded(Path(entry.path)):
                    yield before + slash + entry.name

    return _offered(found, incomplete)


def _recorded(folder: Path) -> bool:
    if (folder / HEADER).is_file():
        return True
    try:
        with os.scandir(folder) as entries:
            return any((Path(e.path) / HEADER).is_file() for e in islice(entries, MOST_ENTRIES))
    except OSError:
        return False


def _offered(look: Callable[[], Iterable[str]], incomplete: str) -> list[str]:
    """What was found in time and begins so; whatever goes wrong, nothing."""
    found: list[str] = []

    def go() -> None:
        try:
            found.extend(islice((n for n in look() if n.startswith(incomplete) and _PLAIN.fullmatch(n)), MOST))
        except Exception:
            found.clear()

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    return [] if thread.is_alive() else found
