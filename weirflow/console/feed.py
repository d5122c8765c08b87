"""The stream: the state document of every tick, made once however many look on, and not at all while nobody does.

A reader that is slow misses documents and gets the newest: each is whole, so nothing has to be caught up with.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from weirflow.console.state import state_of
from weirflow.plain import json_of

if TYPE_CHECKING:
    from brain.decision import Decision


class Feed:
    """Told every decision; hands out documents as JSON, UTF-8 without a line break. All calls from one event loop."""

    def __init__(self) -> None:
        self._decision: Decision | None = None
        self._made: tuple[int, bytes] | None = None
        self._told = asyncio.Event()

    def told(self, decision: Decision) -> None:
        """A tick ended. Returns at once."""
        self._decision = decision
        self._told.set()
        self._told = asyncio.Event()

    @property
    def tick(self) -> int | None:
        """Of the newest decision; None before the first."""
        return None if self._decision is None else self._decision.tick

    def newest(self) -> bytes | None:
        """Its document; None before the first decision."""
        return None if self._decision is None else self._document(self._decision)

    def _document(self, decision: Decision) -> bytes:
        if self._made is None or self._made[0] != decision.tick:
            self._made = decision.tick, json_of(state_of(decision.to_dict())).encode()
        return self._made[1]

    async def after(self, tick: int | None) -> tuple[int, bytes]:
        """The newest document once it is of another tick than this."""
        while self.tick is None or self.tick == tick:
            await self._told.wait()
        assert self._decision is not None  # noqa: S101 - by the loop above
        return self._decision.tick, self._document(self._decision)
