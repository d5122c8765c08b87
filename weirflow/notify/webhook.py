"""A webhook: each change as a JSON POST, signed so that the receiver can tell it from anybody else's.

The signature is HMAC-SHA256 over the body as sent, with the first line of the secret file, in the header
`X-Weirflow-Signature: sha256=HEX`. The file is read for each delivery: a new secret needs no restart. A delivery that
is tried again has the same `id`, and receivers drop what they have had.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from weirflow import config
from weirflow.files import read_bounded
from weirflow.notify.alertmanager import said
from weirflow.notify.outbox import RejectedError

SIGNATURE = "X-Weirflow-Signature"
DEADLINE_S = 10.0
LEAST_SECRET = 16
MOST_SECRET_BYTES = 4096
LATER = (408, 425, 429)
"""Refusals that ask for another try; so does every 5xx."""


class Webhook:
    """POSTs to one URL."""

    def __init__(self, url: str, secret_file: Path, position: int = 0) -> None:
        self.url = url
        # Whoever knows the path of some webhooks may post there: it is in no log and no metric.
        self.name = f"webhooks[{position}] at {urlsplit(url).hostname}"
        self._secret_file = secret_file
        self.session: aiohttp.ClientSession | None = None  # given by who starts it

    async def deliver(self, record: dict[str, Any]) -> None:
        """Send one. RejectedError when it is refused for good; anything of `Outbox.deliver` to try again."""
        assert self.session is not None  # noqa: S101
        body = json.dumps(record, allow_nan=False).encode()
        secret = await asyncio.to_thread(read_secret, self._secret_file)
        headers = {"Content-Type": "application/json", SIGNATURE: signature(secret, body)}
        timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
        # A redirect is not followed: the body was signed for one receiver.
        async with self.session.post(
            self.url, data=body, headers=headers, timeout=timeout, allow_redirects=False
        ) as answer:
            words = f"HTTP {answer.status}: {(await said(answer)).strip() or answer.reason}"
            if answer.status >= 500 or answer.status in LATER:
                raise OSError(words)
            if answer.status // 100 != 2:
                raise RejectedError(words)


def signature(secret: bytes, body: bytes) -> str:
    """As the header has it."""
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def read_secret(file: Path) -> bytes:
    """The first line. OSError when there is none, or too short a one."""
    first = read_bounded(file.resolve(), MOST_SECRET_BYTES).partition(b"\n")[0].strip()
    if len(first) < LEAST_SECRET:
        raise OSError(f"{file} holds no secret; its first line needs {LEAST_SECRET} characters")
    return first


def checked(file: Path, position: int) -> None:
    """ConfigError unless the secret can be read now."""
    try:
        read_secret(file)
    except OSError as error:
        key = f"alerts.webhooks[{position}].secret_file"
        said = f"cannot be read: {error.strerror or error}"
        raise config.ConfigError([config.Problem(str(file), 0, 0, key, said)]) from error
