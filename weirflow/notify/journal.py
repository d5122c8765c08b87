"""A file of JSON lines, one for each change. Appended to, and never read by Weirflow.

The file may be moved away at any time, as log rotation does: before each line it is looked whether the name still means
the file that is open. A line is written whole or taken back.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any


class Journal:
    """Appends to one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    async def deliver(self, record: dict[str, Any]) -> None:
        """Append one, in a thread: a disk may take its time. OSError when it refuses."""
        await asyncio.to_thread(self.append, (json.dumps(record, allow_nan=False) + "\n").encode())

    def append(self, line: bytes) -> None:
        """Append now. OSError, and nothing of the line in the file, when the disk refuses."""
        descriptor = self._opened()
        before = os.fstat(descriptor).st_size
        done = 0
        try:
            while done < len(line):
                done += os.write(descriptor, line[done:])
        except OSError:
            if done:
                os.ftruncate(descriptor, before)
            raise

    def close(self) -> None:
        """Let go of the file. Nothing happens when it is not open."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _opened(self) -> int:
        if self._descriptor is not None and not self._is_there(self._descriptor):
            self.close()
        if self._descriptor is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        return self._descriptor

    def _is_there(self, descriptor: int) -> bool:
        """Whether the name still means this file."""
        try:
            named = os.stat(self.path)
        except FileNotFoundError:
            return False
        opened = os.fstat(descriptor)
        return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)
