"""What-if, asked from the console: `weirflow whatif` over the recording that this brain writes.

Simulating takes a core for seconds or minutes, and the brain must tick meanwhile: so it is a process of its own, at the
lowest priority, one at a time, and it ends with the request that asked. What the page sends becomes options of that
command as they are, each bound to its name (`--load=...`), so none can be taken for another; what they mean, and what
is wrong with them, is the command's to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiohttp import web

from weirflow.access import RefusedError, body_of, reply
from weirflow.commands.failing import FAILED
from weirflow.operations import Operations

ONE = ("service", "load", "share", "from", "to")
SEVERAL = ("policy", "remove", "add", "slow", "limit")
MOST_VALUES, MOST_LETTERS = 20, 200
DEADLINE_S = 600.0
HUMBLY = "import os; os.nice(19); from weirflow.cli import main; main()"


class Wondering:
    """The handler of one mesh."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._busy = False

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application."""
        return [web.post("/console/api/whatif", self._whatif)]

    async def _whatif(self, request: web.Request) -> web.Response:
        """The answer, as `weirflow whatif -o json` has it."""
        options = list(_options(await body_of(request, {*ONE, *SEVERAL})))
        recording = self._operations.status().get("recording")
        if recording is None:
            raise RefusedError(409, "nothing is recorded here", "name a folder in recording.folder of the mesh file")
        if self._busy:
            raise RefusedError(429, "another what-if is being answered", "wait for it, or stop it")
        self._busy = True
        try:
            return reply(await _asked(Path(recording["folder"]), options))
        finally:
            self._busy = False


def _options(body: dict[str, Any]) -> Iterator[str]:
    for name in (*ONE, *SEVERAL):
        if name not in body:
            continue
        values = [body[name]] if name in ONE else body[name]
        if not isinstance(values, list) or len(values) > MOST_VALUES:
            raise RefusedError(400, f"{name!r} must be a list of {MOST_VALUES} at most")
        for value in values:
            if not isinstance(value, str) or not value.isprintable() or len(value) > MOST_LETTERS:
                raise RefusedError(400, f"{name!r} must be text of {MOST_LETTERS} letters at most")
            yield f"--{name}={value}"


async def _asked(recording: Path, options: list[str]) -> Any:
    command = (sys.executable, "-c", HUMBLY, "whatif", *options, "--output=json", "--", str(recording))
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            told, complained = await process.communicate()
    except TimeoutError:
        raise RefusedError(
            504, f"no answer within {DEADLINE_S:g} s", "ask for a shorter window or fewer policies"
        ) from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()  # also when whoever asked has gone
    if process.returncode in (0, FAILED):
        with contextlib.suppress(ValueError):
            return json.loads(told)
    said = complained.decode(errors="replace").strip().splitlines()
    raise RefusedError(400, said[-1] if said else f"it ended with {process.returncode}", "\n".join(said[:-1])[-500:])
