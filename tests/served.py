"""The admin API of a mesh that does not run, for tests of the commands that ask it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from typer.testing import CliRunner

from weirflow.admin import Admin
from weirflow.cli import app
from weirflow.config.build import Admin as Section
from weirflow.staged import StagedOperations


class Served:
    """An admin API in a thread of its own, because the commands block as they do in a shell."""

    def __init__(self, operations: StagedOperations, token_file: Path | None = None) -> None:
        self.operations = operations
        self._admin = Admin(operations, Section("127.0.0.1", 0, token_file, ()))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Served:
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._admin.start(), self._loop).result(10)
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._admin.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def weirflow(self, *arguments: str, code: int = 0) -> str:
        return weirflow(*arguments, code=code, env={"WEIRFLOW_ADMIN": self.url})


def weirflow(*arguments: str, code: int = 0, env: dict[str, str] | None = None) -> str:
    """What a command prints; its exit status has to be `code`."""
    result = CliRunner().invoke(app, list(arguments), env=env or {})
    assert result.exit_code == code, result.output
    return result.output
