"""Hands each Decision to everybody who has to hear of it, and knows what was said. The driver never waits for it.

`told` is called in the tick: it looks at what changed, wakes the receivers' tasks, and returns. It never raises: alerts
that cannot be told must not cost the lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp
import structlog

from brain.decision import Decision
from weirflow.clock import Clock
from weirflow.config.build import Alerts
from weirflow.notify import webhook
from weirflow.notify.alertmanager import Alertmanager, PostError
from weirflow.notify.health import Health, in_words
from weirflow.notify.incidents import IncidentLog
from weirflow.notify.journal import Journal
from weirflow.notify.open import Change, Notice, OpenAlerts
from weirflow.notify.outbox import Outbox
from weirflow.notify.silence import Silence, SilenceError
from weirflow.notify.webhook import Webhook
from weirflow.notify.words import Words
from weirflow.plain import plain

LAST_WORDS_S = 1.0
"""How long a stop waits for what is on its way."""
ASK_S, SILENCE_S = 1.0, 3.0
"""How long Alertmanagers have to say which cluster they are of, and to take a silence: an operator waits."""
MOST_SILENCES = 200

log = structlog.get_logger("weirflow.notify")


class Notifier:
    """Everybody who hears of one mesh's alerts."""

    def __init__(self, section: Alerts, clock: Clock, epoch: str = "") -> None:
        self.alerts = OpenAlerts()
        self.incidents = IncidentLog()
        self._clock = clock
        self._epoch = epoch
        self._count = 0
        self._words = Words(section.labels, section.runbook, section.console)
        self.alertmanagers = [
            Alertmanager(url, self.alerts, self._words, self.now, resend_s=section.resend_s, seed=epoch)
            for url in section.alertmanagers
        ]
        self._secrets = [hook.secret_file for hook in section.webhooks]
        self._webhooks = [Webhook(hook.url, hook.secret_file, i) for i, hook in enumerate(section.webhooks)]
        self._journal = None if section.file is None else Journal(section.file)
        self._outboxes = [Outbox(hook.name, hook.deliver, seed=epoch) for hook in self._webhooks]
        if self._journal is not None:
            self._outboxes.append(Outbox(str(self._journal.path), self._journal.deliver, seed=epoch))
        self._silences: list[tuple[Silence, float]] = []  # asked for here, and when each ends
        self._session: aiohttp.ClientSession | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def now(self) -> float:
        """As other machines' clocks have it."""
        return self._clock.wall(self._clock.now())

    async def start(self) -> None:
        """Begin to send. ConfigError when a secret cannot be read."""
        for i, file in enumerate(self._secrets):
            webhook.checked(file, i)
        self._session = session = aiohttp.ClientSession(headers={"User-Agent": "weirflow"})
        for hook in self._webhooks:
            hook.session = session
        loops = [a.run(session) for a in self.alertmanagers] + [box.run() for box in self._outboxes]
        self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def stop(self) -> None:
        """Let what is on its way arrive, for a moment, and end. What is still open expires where it was told."""
        reached = [r for r in self._receivers() if r.health.up is not False]
        for _ in range(int(LAST_WORDS_S / 0.02)):
            if not self._tasks or all(r.settled for r in reached):
                break
            await asyncio.sleep(0.02)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._journal is not None:
            self._journal.close()

    def told(self, decision: Decision) -> None:
        """A decision was made. Returns at once, and never raises."""
        try:
            self.incidents.told(decision, self._clock.wall)
            changes = self.alerts.told(decision, self._clock.wall)
            if changes:
                self._pass_on(changes)
        except Exception:
            log.exception("alerts not told")

    def _pass_on(self, changes: Sequence[Change]) -> None:
        for alertmanager in self.alertmanagers:
            alertmanager.changed(changes)
        for change in changes:
            self._count += 1
            record = self._words.record(change, f"{self._epoch}-{self._count}")
            for outbox in self._outboxes:
                outbox.put(record)

    # What operators see and do.

    def health(self) -> list[Health]:
        """Of all receivers."""
        return [r.health for r in self._receivers()]

    def _receivers(self) -> list[Alertmanager | Outbox]:
        return [*self.alertmanagers, *self._outboxes]

    def to_dict(self) -> dict[str, Any]:
        """What is open, what ended lately, and how the receivers do."""
        now = self.now()
        return {
            "now": now,
            "open": [self._shown(n, now) for n in self.alerts.open],
            "resolved": [self._shown(n, now) for n in self.alerts.resolved(now)],
            "receivers": plain(self.health()),
        }

    def _shown(self, notice: Notice, now: float) -> dict[str, Any]:
        silence = next((s for s, ends in self._silences if ends > now and s.covers(notice, self._words.labels)), None)
        return {
            "kind": notice.kind,
            "severity": notice.severity,
            "labels": dict(notice.labels),
            "since": notice.starts_at,
            "ended": notice.ends_at,
            "incident": notice.incident or None,
            "silenced": None if silence is None else silence.comment,
            **self._words.annotations(notice),
        }

    def incident(self, id_: str) -> dict[str, Any]:
        """One incident of this run, open or over. KeyError."""
        return self.incidents[id_].to_dict()

    @property
    def constant(self) -> dict[str, str]:
        """The operator's labels of every alert."""
        return dict(self._words.labels)

    async def silence(self, asked: Silence) -> list[dict[str, Any]]:
        """Ask the Alertmanagers. What each said; SilenceError when none of them will keep it."""
        if asked.ack and not any(asked.covers(n, self._words.labels) for n in self.alerts.open):
            raise SilenceError(409, f"no such {asked.kind} is open", "`weirflow alerts` lists what is")
        if not self.alertmanagers or self._session is None:
            raise SilenceError(409, "no Alertmanager is configured", "name one in alerts.alertmanagers")
        now = self.now()
        body = asked.posted(self._words.labels, now)
        out = await asyncio.gather(*(self._silenced(a, body) for a in await self._one_of_each_cluster()))
        if not any(told["id"] for told in out):
            raise SilenceError(502, "no Alertmanager took it: " + "; ".join(f"{t['url']}: {t['error']}" for t in out))
        self._silences = [*self._silences[1 - MOST_SILENCES :], (asked, now + asked.lasts_s)]
        words = asked.comment if asked.ack else f"silenced by {asked.who}: {asked.comment}"
        labels = {k: v for k, v in asked.labels if self._words.labels.get(k) != v}
        self.incidents.noted(asked.kind, labels, now, words)
        return out

    async def _one_of_each_cluster(self) -> list[Alertmanager]:
        """Members of a cluster tell each other of silences: one of them is asked, so that there are not several."""
        assert self._session is not None  # noqa: S101
        session, asked, covered = self._session, [], set[str]()
        names = await asyncio.gather(*(a.cluster(session, ASK_S) for a in self.alertmanagers))
        for alertmanager, (name, members) in zip(self.alertmanagers, names, strict=True):
            if not name or name not in covered:
                asked.append(alertmanager)
                covered |= members | ({name} if name else set())
        return asked

    async def _silenced(self, alertmanager: Alertmanager, body: dict[str, Any]) -> dict[str, Any]:
        assert self._session is not None  # noqa: S101
        try:
            id_ = await alertmanager.silence(self._session, body, SILENCE_S)
        except (aiohttp.ClientError, OSError, TimeoutError, PostError) as error:
            return {"url": alertmanager.url, "id": None, "error": in_words(error)}
        return {"url": alertmanager.url, "id": id_, "error": "" if id_ else "it gave no id"}
