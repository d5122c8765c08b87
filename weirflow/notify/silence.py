"""What an operator does not want to be called for, and for how long. Alertmanagers keep it; Weirflow asks them to.

An acknowledgement is a silence too: it is for alerts that are open, and says who looks after them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from brain.alerts import RULES
from weirflow.config.alerting import OWN_LABELS
from weirflow.config.problems import mend_of
from weirflow.config.units import format_duration, parse_duration
from weirflow.notify.open import Notice
from weirflow.notify.words import moment

ACK_S = 4 * 3600.0
LONGEST_S = 30 * 86400.0
MOST_COMMENT = 1000
NOT_ASKED = ("alertname",)  # the kind is said by itself


class SilenceError(Exception):
    """It cannot be done: an HTTP status, what is wrong, and the mend."""

    def __init__(self, status: int, message: str, mend: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.mend = status, message, mend


@dataclass(frozen=True, slots=True)
class Silence:
    """One, as asked for."""

    kind: str
    labels: tuple[tuple[str, str], ...]
    lasts_s: float
    comment: str
    who: str
    ack: bool = False

    @property
    def what(self) -> str:
        """The word for it."""
        return "Acknowledge" if self.ack else "Silence"

    def covers(self, notice: Notice, constant: Mapping[str, str]) -> bool:
        """Whether this alert is silent by it. `constant`: the operator's labels of every alert."""
        return notice.has(self.kind, [(k, v) for k, v in self.labels if constant.get(k) != v])

    def posted(self, constant: Mapping[str, str], now: float) -> dict[str, Any]:
        """As Alertmanager's API takes it. The operator's labels keep it from other meshes' alerts."""
        wanted = {**constant, **dict(self.labels), "alertname": self.kind}
        return {
            "matchers": [{"name": k, "value": v, "isRegex": False, "isEqual": True} for k, v in wanted.items()],
            "startsAt": moment(now),
            "endsAt": moment(now + self.lasts_s),
            "createdBy": self.who,
            "comment": self.comment,
        }

    def to_dict(self) -> dict[str, Any]:
        """For the audit trail."""
        return {
            "kind": self.kind, "labels": dict(self.labels), "for": format_duration(self.lasts_s),
            "comment": self.comment,
        }  # fmt: skip


def read(body: Mapping[str, Any], who: str, constant: Iterable[str] = ()) -> Silence:
    """Check what was asked for. SilenceError when it cannot be meant. `constant`: names of the operator's labels."""
    kind, labels, ack = body.get("kind"), body.get("labels", {}), body.get("ack", False)
    if not isinstance(kind, str) or kind not in RULES:
        raise SilenceError(400, f"{str(kind)[:60]!r} is not a kind of alert", mend_of(kind, RULES, kind="kinds"))
    if not isinstance(ack, bool):
        raise SilenceError(400, "'ack' must be true or false")
    if not isinstance(labels, dict) or not all(isinstance(v, str) and v for v in labels.values()):
        raise SilenceError(400, "'labels' must hold texts by name")
    known = [name for name in (*OWN_LABELS, *constant) if name not in NOT_ASKED]
    for name in labels:
        if name not in known:
            raise SilenceError(400, f"alerts have no label {str(name)[:60]!r}", mend_of(name, known, kind="labels"))
    default = f"acknowledged by {who}" if ack else None
    comment = body.get("comment") or default
    if not isinstance(comment, str) or not comment.strip() or len(comment) > MOST_COMMENT:
        raise SilenceError(400, f"'comment' must say why, in at most {MOST_COMMENT} characters")
    if ack and body.get("comment"):
        comment = f"{default}: {comment}"
    lasts_s = _duration(body.get("for", format_duration(ACK_S) if ack else None))
    return Silence(kind, tuple(sorted(labels.items())), lasts_s, printable(comment), who, ack)


def printable(text: str) -> str:
    """In one line."""
    return re.sub(r"\s+", " ", text).strip()


def _duration(text: Any) -> float:
    if not isinstance(text, str):
        raise SilenceError(400, "'for' must say how long", "write a number with a unit, as in 30m or 4h")
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        message, _, mend = str(error).partition("; ")
        raise SilenceError(400, f"'for' is {text[:60]!r}, which {message}", mend) from None
    if not 1 <= seconds <= LONGEST_S:
        raise SilenceError(400, f"'for' must be from 1s to {format_duration(LONGEST_S)}")
    return seconds
