"""The mesh file, as the console shows it: what is in force by it, and what reading it again would change.

What is tuned is changed in the file and nowhere else. The file is what people review, keep under version control and
roll out; a value set here alone would be lost with the next restart and undone by the next rollout, and the console
would disagree with the file meanwhile. So the page shows the difference first and then has the file read again, by the
validation that every file passes. Modes, shares, freeze and rollback are not tuning but operations: those are commands.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from weirflow.access import reply
from weirflow.config import ConfigError
from weirflow.config.check import check
from weirflow.config.differs import changes, digest, tuned
from weirflow.operations import Operations
from weirflow.plain import plain


class MeshFile:
    """The handler of one mesh."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._turn = asyncio.Lock()  # a large file takes a second or two to read

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application."""
        return [web.get("/console/api/file", self._file)]

    async def _file(self, request: web.Request) -> web.Response:
        """`file`; `settings`, those in force; of the file as it is now `problems`, warnings among them, `changes` and
        `digest`, None when it would be refused.
        """
        config = self._operations.config()
        told: dict[str, Any] = {"file": str(config.file), "settings": plain(tuned(config.document))}
        async with self._turn:
            try:
                now = await asyncio.to_thread(check, config.file)
            except ConfigError as error:
                return reply(told | {"problems": plain(error.problems), "changes": [], "digest": None})
        found = changes(config.document, now.document)
        problems = plain(now.warnings)
        return reply(told | {"problems": problems, "changes": plain(found), "digest": digest(now.source.text)})
