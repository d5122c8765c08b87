"""What is open and what ended lately, from Decisions told in their order. No I/O, and no clock.

The identity of an alert is its kind and labels. To the world outside its severity is a label too, so that it can be
routed by; an alert that becomes more severe is therefore one that ends there, and another that began when it did. The
words beside it follow what is known: they are annotations and change freely.

Nothing here survives a restart. An incident that the brain still knows is taken up from its decisions, and told again
to nobody but those who want to hear it over and over; what else is still true opens again by itself, under the same
labels, and whoever was told before takes it for the same alert.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from brain.decision import Alert, Decision, IncidentView
from brain.incidents import described

RESOLVED_FOR_S = 300.0
"""How long the end of an alert is told again and again."""
MOST_RESOLVED = 1000

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels, str]
Wall = Callable[[float], float]  # of a moment of the brain's time, the one that other machines know it by


@dataclass(frozen=True, slots=True)
class Notice:
    """An alert as receivers hear of it. Moments are seconds since 1970."""

    kind: str
    labels: Labels  # by name
    severity: str
    summary: str
    description: str
    starts_at: float
    ends_at: float | None = None  # None: it is open
    incident: str = ""  # its id, when it is one

    @property
    def key(self) -> Key:
        """What tells it from any other, to the world outside."""
        return self.kind, self.labels, self.severity

    def has(self, kind: str, labels: Iterable[tuple[str, str]]) -> bool:
        """Whether it is of this kind and has all of these labels, its severity among them."""
        return kind == self.kind and set(labels) <= {*self.labels, ("severity", self.severity)}


@dataclass(frozen=True, slots=True)
class Change:
    """Something that receivers have to hear now."""

    event: str  # "opened", "worsened" or "closed"
    at: float
    notice: Notice
    over: Notice | None = None  # what ended by it


class OpenAlerts:
    """Told every Decision; knows what stands."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, Labels], Notice] = {}
        self._resolved: dict[Key, Notice] = {}
        self.vouched_at: float | None = None
        """When the brain decided last. A brain that does not decide does not say that an alert is still true."""

    @property
    def open(self) -> tuple[Notice, ...]:
        """All that are open, the longest first."""
        return tuple(sorted(self._open.values(), key=lambda n: (n.starts_at, n.key)))

    def resolved(self, now: float) -> tuple[Notice, ...]:
        """What ended in the last `RESOLVED_FOR_S`, the oldest first."""
        return tuple(n for n in self._resolved.values() if n.ends_at is not None and now - n.ends_at < RESOLVED_FOR_S)

    def told(self, decision: Decision, wall: Wall) -> list[Change]:
        """What changed by this decision."""
        at = self.vouched_at = wall(decision.now)
        incidents = {(i.kind, ordered(i.labels)): i for i in decision.incidents}
        out = [self._opened(a, incidents, at, wall) if a.opened else self._closed(a, at, wall) for a in decision.alerts]
        for identity, incident in incidents.items():
            standing = self._open.get(identity)
            if standing is None:  # it was told before a restart
                self._open[identity] = Notice(
                    incident.kind,
                    identity[1],
                    incident.severity,
                    incident.summary,
                    described(incident),
                    starts_at=wall(incident.since_s),
                    incident=incident.id,
                )
                continue
            said = replace(standing, summary=incident.summary, description=described(incident), incident=incident.id)
            self._open[identity] = said
            if incident.severity != standing.severity:
                self._open[identity] = worse = replace(said, severity=incident.severity)
                self._resolved.pop(worse.key, None)
                out.append(Change("worsened", at, worse, over=self._over(standing, at)))
        self._forget(at)
        return out

    def _opened(
        self, alert: Alert, incidents: Mapping[tuple[str, Labels], IncidentView], at: float, wall: Wall
    ) -> Change:
        notice = _notice(alert, wall)
        incident = incidents.get((notice.kind, notice.labels))
        if incident is not None:
            notice = replace(notice, incident=incident.id)
        self._open[notice.kind, notice.labels] = notice
        self._resolved.pop(notice.key, None)  # it is back: nobody must hear of its end any more
        return Change("opened", at, notice)

    def _closed(self, alert: Alert, at: float, wall: Wall) -> Change:
        """The end of one that is open, or of one that we never heard of: it may have been told before a restart."""
        standing = self._open.pop((alert.kind, ordered(alert.labels)), None)
        over = self._over(_notice(alert, wall) if standing is None else standing, at)
        return Change("closed", at, over, over=over)

    def _over(self, notice: Notice, at: float) -> Notice:
        over = replace(notice, ends_at=max(at, notice.starts_at))
        self._resolved.pop(over.key, None)  # to the end of the order
        self._resolved[over.key] = over
        return over

    def _forget(self, now: float) -> None:
        kept = self.resolved(now)[-MOST_RESOLVED:]
        if len(kept) < len(self._resolved):
            self._resolved = {n.key: n for n in kept}


def ordered(labels: Mapping[str, str]) -> Labels:
    """Labels as an identity."""
    return tuple(sorted(labels.items()))


def _notice(alert: Alert, wall: Wall) -> Notice:
    labels, since = ordered(alert.labels), wall(alert.since_s)
    return Notice(alert.kind, labels, alert.severity, alert.summary, alert.description, since)
