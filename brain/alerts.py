"""Alerts: what is wrong now, with patience at both ends.

Each tick says which conditions hold. A condition must hold for its rule's `after_s` to open an alert, and must have
been absent for `clear_s` to close it, so that what flickers is one alert and not twenty. The identity of an alert is
its kind and labels; no number is ever in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from brain.decision import Alert
from brain.findings import KINDS


@dataclass(frozen=True, slots=True)
class Rule:
    """How patient an alert is."""

    after_s: float
    clear_s: float
    severity: str = "warning"


RULES = {
    "NackParked": Rule(0.0, 0.0),  # an event, and it ends by an event
    "TelemetryStale": Rule(2.0, 5.0),  # it takes `stale_after_s` to be stale at all
    "TickOverrun": Rule(0.0, 60.0),
    "NodeContradicts": Rule(3.0, 30.0),  # it is left out at once; people need not hear of what passes
    "UnexplainedGain": Rule(3.0, 30.0),
    "ShareSteppedBack": Rule(0.0, 0.0),
    "ModelDrift": Rule(0.0, 0.0),
    "ModelRolledBack": Rule(0.0, 0.0),
    "ServiceInTrouble": Rule(3.0, 10.0, "critical"),
} | {kind: Rule(0.0, 0.0) for kind in KINDS}
"""Every kind of alert there is. Incidents are patient by themselves (`brain.incidents`)."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is so now."""

    kind: str
    labels: tuple[tuple[str, str], ...]
    summary: str
    description: str = ""
    severity: str = ""  # instead of its rule's


class Alerts:
    """Which alerts are open, and which are about to be."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}  # holding, without a break
        self._last: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}  # when an open one last held
        self._opened: dict[tuple[str, tuple[tuple[str, str], ...]], tuple[float, str]] = {}  # since when, how severe

    def state(self) -> list[dict[str, Any]]:
        """The incidents that people were told of. All else opens again by itself."""
        return [
            {"kind": kind, "labels": [list(label) for label in labels], "since_s": since, "severity": severity}
            for (kind, labels), (since, severity) in self._opened.items()
            if kind in KINDS
        ]

    def restore(self, state: Iterable[Mapping[str, Any]], now: float) -> None:
        """Take up a state: what is still so is not told again, what is not is over at the next tick."""
        for kept in state:
            key = str(kept["kind"]), tuple((str(name), str(value)) for name, value in kept["labels"])
            if kept["kind"] in KINDS:
                self._since[key], self._last[key] = float(kept["since_s"]), now
                self._opened[key] = float(kept["since_s"]), str(kept["severity"])

    def judge(self, conditions: Iterable[Condition], now: float) -> tuple[Alert, ...]:
        """What opened and what closed, given all that holds now."""
        holding = {(c.kind, c.labels): c for c in conditions}
        self._since = {key: self._since.get(key, now) for key in holding}
        out = []
        for key, condition in holding.items():
            rule = RULES[condition.kind]
            if key in self._last:
                self._last[key] = now
            elif now - self._since[key] >= rule.after_s:
                self._last[key] = now
                self._opened[key] = since, severity = self._since[key], condition.severity or rule.severity
                c = condition
                out.append(Alert(c.kind, True, dict(c.labels), c.summary, severity, c.description, since))
        for key in [k for k in self._last if k not in holding]:
            kind, labels = key
            if now - self._last[key] >= RULES[kind].clear_s:
                del self._last[key]
                since, severity = self._opened.pop(key)
                summary = f"{kind} is over" + "".join(f", {name} {value}" for name, value in labels)
                out.append(Alert(kind, False, dict(labels), summary, severity, since_s=since))
        return tuple(out)
