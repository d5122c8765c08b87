"""One Alertmanager: told the whole present state, at once when it changes and again every `resend`.

What is open is told with an end three times `resend` after the brain's last decision: when Weirflow dies, or its brain
no longer decides, the alerts expire by themselves. What ended is told for five minutes, and for as long as it takes to
an Alertmanager that was down: it may remember, from before its own restart, that people were called.

With nothing to tell, an empty list is posted, so that it is known to be reachable before it is needed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

import aiohttp
import structlog

from weirflow.notify.health import Health, in_words, wait_s
from weirflow.notify.open import Change, Key, Notice, OpenAlerts
from weirflow.notify.words import Words

DEADLINE_S = 10.0
LONGEST_WAIT_S = 15.0
"""Between tries: how long an Alertmanager that is back may have to wait for the state."""
MOST_OWED = 1000
"""Ends of alerts that wait for one Alertmanager; the oldest are given up."""
BATCH = 256
MOST_SAID = 4096
EXPIRES_AFTER = 3
"""Times `resend`: two in a row may get lost."""

log = structlog.get_logger("weirflow.notify")


class PostError(Exception):
    """An HTTP answer that is not of success."""


class Alertmanager:
    """Sends to one, and remembers what that one has not been told."""

    def __init__(
        self, url: str, alerts: OpenAlerts, words: Words, now: Callable[[], float], *, resend_s: float, seed: str = ""
    ) -> None:
        self.url = url
        self.health = Health(url)
        self._alerts = alerts
        self._words = words
        self._now = now
        self._resend_s = resend_s
        self._seed = f"{seed} {url}"
        self._owed: dict[Key, Notice] = {}
        self._wake = asyncio.Event()
        self._sending = True  # or about to

    def changed(self, changes: Iterable[Change]) -> None:
        """Something opened or ended; returns at once."""
        for change in changes:
            if change.event != "closed":
                self._owed.pop(change.notice.key, None)
            if change.over is not None:
                self._owed[change.over.key] = change.over
        while len(self._owed) > MOST_OWED:
            del self._owed[next(iter(self._owed))]
            self.health.lost += 1
        self._wake.set()

    @property
    def settled(self) -> bool:
        """Whether it was told all that changed."""
        return not (self._sending or self._wake.is_set() or self._owed)

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Send until cancelled."""
        while True:
            self._sending = True
            self._wake.clear()  # before the state is read: a change while it is on its way is told right after
            try:
                await self._send(session)
            except (aiohttp.ClientError, OSError, TimeoutError, PostError) as error:
                self.health.failed(in_words(error))
            except Exception as error:  # a fault of ours must not end the only voice
                log.exception("sending failed", receiver=self.url)
                self.health.failed(in_words(error))
            if self.health.failures:
                # Not woken by changes: one that is down is asked no more often for having more to hear.
                await asyncio.sleep(wait_s(self.health.failures, min(LONGEST_WAIT_S, self._resend_s), self._seed))
                continue
            self._sending = False
            try:
                async with asyncio.timeout(self._resend_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _send(self, session: aiohttp.ClientSession) -> None:
        notices, ends_at = self._state()
        for start in range(0, max(len(notices), 1), BATCH):
            batch = notices[start : start + BATCH]
            await self._post(session, "alerts", [self._words.posted(n, ends_at) for n in batch])
            for notice in batch:
                if self._owed.get(notice.key) is notice:
                    del self._owed[notice.key]
            self.health.taken(len(batch))

    def _state(self) -> tuple[list[Notice], float]:
        """Everything to tell, and when what is open ends without another word."""
        now, vouched = self._now(), self._alerts.vouched_at
        out = {n.key: n for n in self._alerts.resolved(now)} | self._owed
        ends_at = (now if vouched is None else vouched) + EXPIRES_AFTER * self._resend_s
        if now < ends_at:
            out |= {n.key: n for n in self._alerts.open}
        return list(out.values()), ends_at

    async def silence(self, session: aiohttp.ClientSession, body: dict[str, Any], deadline_s: float) -> str:
        """Create a silence; its id. PostError, ClientError, OSError or TimeoutError when it is not taken."""
        answer = await self._post(session, "silences", body, deadline_s)
        return str(answer.get("silenceID", "")) if isinstance(answer, dict) else ""

    async def cluster(self, session: aiohttp.ClientSession, deadline_s: float) -> tuple[str, frozenset[str]]:
        """Its name in its cluster, and all members' names. ("", nobody) where it has none, or does not say."""
        try:
            timeout = aiohttp.ClientTimeout(total=deadline_s)
            async with session.get(f"{self.url}/api/v2/status", timeout=timeout) as answer:
                told = (await answer.json()).get("cluster") or {}
            return str(told.get("name") or ""), frozenset(str(p["name"]) for p in told.get("peers") or [])
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, AttributeError, KeyError, TypeError):
            return "", frozenset()

    async def _post(self, session: aiohttp.ClientSession, what: str, body: Any, deadline_s: float = DEADLINE_S) -> Any:
        url, timeout = f"{self.url}/api/v2/{what}", aiohttp.ClientTimeout(total=deadline_s)
        async with session.post(url, json=body, timeout=timeout, allow_redirects=False) as answer:
            text = await said(answer)
            if answer.status // 100 != 2:
                raise PostError(f"HTTP {answer.status}: {text.strip() or answer.reason}")
        try:
            return json.loads(text or "null")
        except ValueError:
            return None


async def said(answer: aiohttp.ClientResponse) -> str:
    """The beginning of what it answered; what answers may be anything."""
    out = b""
    while len(out) < MOST_SAID and (some := await answer.content.read(MOST_SAID - len(out))):
        out += some
    return out.decode("utf-8", "replace")
