"""How a notice is written down for others: labels, links and moments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from weirflow.config.alerting import RUNBOOK
from weirflow.notify.open import Change, Notice

MOST_CHARACTERS = 8000
"""Of an annotation: a proxy's words may be of any length."""


@dataclass(frozen=True, slots=True)
class Words:
    """What is said of every alert of one mesh: the operator's labels, and where to read on."""

    labels: Mapping[str, str] = field(default_factory=dict)
    runbook: str | None = None
    console: str | None = None

    def labelled(self, notice: Notice) -> dict[str, str]:
        """Its labels as Alertmanager knows it by. Nothing in them changes while it is open."""
        return {**self.labels, **dict(notice.labels), "alertname": notice.kind, "severity": notice.severity}

    def runbook_url(self, kind: str) -> str:
        """The section about this kind."""
        return f"{self.runbook or RUNBOOK}#{kind.lower()}"

    def console_url(self, notice: Notice) -> str | None:
        """Where a console shows it; None when there is no console."""
        if self.console is None:
            return None
        return f"{self.console}/incidents/{quote(notice.incident)}" if notice.incident else f"{self.console}/alerts"

    def annotations(self, notice: Notice) -> dict[str, str]:
        """What people read beside it."""
        said = {
            "summary": notice.summary[:MOST_CHARACTERS],
            "description": notice.description[:MOST_CHARACTERS],
            "runbook_url": self.runbook_url(notice.kind),
            "console_url": self.console_url(notice) or "",
        }
        return {name: text for name, text in said.items() if text}

    def posted(self, notice: Notice, ends_at: float) -> dict[str, Any]:
        """The alert as Alertmanager's API takes it. `ends_at`: of one that is open, when it ends without a word."""
        source = self.console_url(notice) or (self.runbook_url(notice.kind) if self.runbook else None)
        ends_at = ends_at if notice.ends_at is None else notice.ends_at
        return {
            "labels": self.labelled(notice),
            "annotations": self.annotations(notice),
            # After a step of the clock it may have begun in the future, which would be refused.
            "startsAt": moment(min(notice.starts_at, ends_at)),
            "endsAt": moment(ends_at),
        } | ({} if source is None else {"generatorURL": source})

    def record(self, change: Change, number: str) -> dict[str, Any]:
        """A change for webhooks and the file. `number` names it: one that comes twice is the same one."""
        notice = change.notice
        return {
            "version": 1,
            "id": number,
            "event": change.event,
            "at": moment(change.at),
            "alert": {
                "kind": notice.kind,
                "severity": notice.severity,
                "labels": {**self.labels, **dict(notice.labels)},
                "starts_at": moment(notice.starts_at),
                "ends_at": None if notice.ends_at is None else moment(notice.ends_at),
                "incident": notice.incident or None,
                **self.annotations(notice),
            },
        }


def moment(seconds: float) -> str:
    """RFC 3339, UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
