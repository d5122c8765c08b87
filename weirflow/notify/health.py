"""How a receiver does, and how long to wait for one that is down."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import aiohttp
import structlog

LEAST_WAIT_S = 0.5

log = structlog.get_logger("weirflow.notify")


@dataclass(slots=True)
class Health:
    """Of one receiver. Told to operators by `weirflow alerts`, and scraped."""

    receiver: str  # its URL or file
    up: bool | None = None  # None: not tried yet
    failures: int = 0  # in a row
    sent: int = 0  # that were taken
    lost: int = 0  # that no longer wait for it: it was down for too long, or refused them
    error: str = ""  # the last one, "" while it is up

    def taken(self, count: int = 1) -> None:
        """It took what it was told."""
        if self.up is False:
            log.info("receiver is back", receiver=self.receiver, after_failures=self.failures)
        self.up, self.failures, self.error = True, 0, ""
        self.sent += count

    def failed(self, error: str) -> None:
        """It did not. Logged once, not at every try."""
        if self.up is not False:
            log.warning("receiver is not reached", receiver=self.receiver, error=error)
        self.up, self.error = False, error
        self.failures += 1


def wait_s(failures: int, most_s: float, seed: str) -> float:
    """How long to wait after so many failures in a row: twice as long each time, and never two receivers in step.

    The jitter is drawn from who waits and how often it did, so that it differs between processes and not between runs.
    """
    longest = min(most_s, LEAST_WAIT_S * 2.0 ** min(failures - 1, 30))
    jitter = zlib.crc32(f"{seed} {failures}".encode()) / 2.0**32
    return longest * (0.5 + 0.5 * jitter)


def in_words(error: BaseException) -> str:
    """An error as an operator reads it; a timeout has no words of its own."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {error.os_error.strerror or error.os_error}"[:300]
    return (str(error) or type(error).__name__)[:300]
