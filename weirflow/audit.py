"""The audit trail: every operator's word, with who said it, and how things stood before and after.

Entries are only ever added, here and in the log. The log is the lasting copy; here the last `KEPT` can be read back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from brain.decision import Decision
from brain.ranking import ModelView

KEPT = 1000

log = structlog.get_logger("weirflow.audit")


@dataclass(frozen=True, slots=True)
class Entry:
    """One word of an operator. `refused` says why nothing came of it, "" when it was obeyed."""

    now: float
    who: str
    what: str
    before: dict[str, Any]
    after: dict[str, Any]
    refused: str = ""


class Audit:
    """What was asked since the start, oldest first."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=KEPT)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The last `KEPT`."""
        return tuple(self._entries)

    def add(self, entry: Entry) -> None:
        """Keep and log."""
        self._entries.append(entry)
        log.info(
            "operator", who=entry.who, what=entry.what, before=entry.before, after=entry.after, refused=entry.refused
        )


def standing(decision: Decision | None, models: Sequence[ModelView] = ()) -> dict[str, Any]:
    """How things stand, as far as an operator can change them: frozen or not, which model decides, and each service's
    mode and share."""
    if decision is None:
        return {}
    return {
        "frozen": decision.frozen,
        "model": next((m.name for m in models if m.role == "champion"), None),
        "services": {s.name: {"mode": s.mode, "share_percent": s.commanded_share_percent} for s in decision.services},
    }
