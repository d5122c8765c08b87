"""A queue to one receiver: in order, bounded, and each item tried until it is taken. For what is told once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import structlog

from weirflow.notify.health import Health, in_words, wait_s

MOST_WAITING = 1000
LONGEST_WAIT_S = 60.0

log = structlog.get_logger("weirflow.notify")


class RejectedError(Exception):
    """The receiver will never take this item: it is lost, and the next one is tried."""


class Outbox:
    """What waits for one receiver. `deliver` raises RejectedError, or OSError, ClientError or TimeoutError to retry."""

    def __init__(
        self,
        receiver: str,
        deliver: Callable[[dict[str, Any]], Awaitable[None]],
        *,
        seed: str = "",
        longest_wait_s: float = LONGEST_WAIT_S,
    ) -> None:
        self.health = Health(receiver)
        self._deliver = deliver
        self._seed = f"{seed} {receiver}"
        self._longest_wait_s = longest_wait_s
        self._waiting: deque[dict[str, Any]] = deque()
        self._wake = asyncio.Event()

    def put(self, item: dict[str, Any]) -> None:
        """Queue it; returns at once. The oldest is given up when too many wait."""
        self._waiting.append(item)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self.health.lost += 1
        self._wake.set()

    @property
    def settled(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            await self._try(self._waiting[0])
            if self.health.failures:
                await asyncio.sleep(wait_s(self.health.failures, self._longest_wait_s, self._seed))

    async def _try(self, item: dict[str, Any]) -> None:
        try:
            await self._deliver(item)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.health.failed(in_words(error))
            return
        except Exception as error:
            if not isinstance(error, RejectedError):  # a fault of ours with this item must not hold up the next
                log.exception("delivery failed", receiver=self.health.receiver)
            self.health.lost += 1
            self.health.failed(in_words(error))
        else:
            self.health.taken()
        if self._waiting and self._waiting[0] is item:  # not given up meanwhile
            self._waiting.popleft()
