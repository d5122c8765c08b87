"""One open ADS stream: its state machine, what waits to be written, and the task that serves it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from dataplane.xds.stream import Stream


class Peer:
    """A node while it is connected. At most one of each kind of response waits."""

    def __init__(self, stream: Stream, task: asyncio.Task[Any]) -> None:
        self.stream = stream
        self.task = task
        self.replaced = ""  # why it was ended by us
        self._over = False
        self._waiting: deque[Any] = deque()
        self._wake = asyncio.Event()

    def put(self, response: Any) -> None:
        """Write this soon. At most one of each kind waits, as the stream sends the next only after an answer."""
        self._waiting.append(response)
        self._wake.set()

    def end(self, why: str) -> None:
        """End the stream from our side."""
        self.replaced = why
        self.task.cancel()

    async def write(self, context: Any) -> None:
        """Write what is put, until it is over."""
        while not self._over:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting and not self._over:
                await context.write(self._waiting.popleft().SerializeToString())

    def wrote(self, writer: asyncio.Task[None]) -> None:
        """The writer has ended: one that failed ends the stream. Asking tells asyncio that its failure was seen."""
        if not writer.cancelled() and writer.exception() is not None and not self._over:
            self.task.cancel()

    async def finish(self, writer: asyncio.Task[None]) -> None:
        """Let a write that is under way end: beside it gRPC takes no status, and the peer would wait for ever.

        It ends when the peer reads or is gone, which keepalive sees to.
        """
        self._over = True
        self._wake.set()
        try:
            await asyncio.wait({writer})
        finally:
            writer.cancel()
