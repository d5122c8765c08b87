"""Incidents as they went: a timeline of each, kept for as long as it is open and for the last that are over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from brain.decision import Decision, IncidentView
from weirflow.notify.open import Wall
from weirflow.plain import plain

MOST_CLOSED = 50
MOST_LINES = 100
FIRST_LINES = 50
"""Of a timeline that gets too long, so many of the beginning stay, and the newest."""


@dataclass(slots=True)
class Record:
    """One incident. Moments are seconds since 1970."""

    view: IncidentView
    since: float
    ended: float | None = None
    timeline: list[tuple[float, str]] = field(default_factory=list)

    def add(self, at: float, what: str) -> None:
        """A line of the timeline."""
        self.timeline.append((at, what))
        if len(self.timeline) > MOST_LINES:
            del self.timeline[FIRST_LINES]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        view: dict[str, Any] = plain(self.view)
        del view["since_s"]
        timeline = [{"at": at, "what": what} for at, what in self.timeline]
        return view | {"since": self.since, "ended": self.ended, "timeline": timeline}


class IncidentLog:
    """Told every Decision; the ids are those of this run of the brain."""

    def __init__(self) -> None:
        self._open: dict[str, Record] = {}
        self._closed: dict[str, Record] = {}

    def told(self, decision: Decision, wall: Wall) -> None:
        """What is new in this decision's incidents."""
        at, now = wall(decision.now), {i.id: i for i in decision.incidents}
        for view in now.values():
            record = self._open.get(view.id)
            if record is None:
                record = self._open[view.id] = Record(view, wall(view.since_s))
                record.add(record.since, "first found")
                record.add(at, f"opened as {view.kind}, {view.severity}: {view.summary}")
                record.add(at, f"done: {view.done}")
            else:
                for line in _news(record.view, view):
                    record.add(at, line)
                record.view = view
        for id_ in [i for i in self._open if i not in now]:
            record = self._closed[id_] = self._open.pop(id_)
            record.ended = at
            record.add(at, "over: nothing was found any more, or it was another one's")
        while len(self._closed) > MOST_CLOSED:
            del self._closed[next(iter(self._closed))]

    def noted(self, kind: str, labels: Mapping[str, str], at: float, what: str) -> None:
        """What an operator did about those of this kind and with these labels."""
        for record in self._open.values():
            if record.view.kind == kind and labels.items() <= {**record.view.labels}.items():
                record.add(at, what)

    def __getitem__(self, id_: str) -> Record:
        """That incident, open or over. KeyError."""
        found = self._open.get(id_) or self._closed.get(id_)
        if found is None:
            raise KeyError(id_)
        return found

    def __iter__(self) -> Iterator[Record]:
        """All that are known, the newest last."""
        yield from self._closed.values()
        yield from self._open.values()


def _news(before: IncidentView, now: IncidentView) -> Iterator[str]:
    """What is said of it now that was not said before, in words. Figures alone are no news."""
    if now.severity != before.severity:
        yield f"{now.severity}: touches {now.harm:.1%} of the requests at worst"
    if now.causes[:1] != before.causes[:1]:
        yield f"likeliest cause: {now.causes[0] if now.causes else 'none'}; {now.summary}"
    for cause in now.causes[1:]:
        if cause not in before.causes:
            yield f"found as well: {cause}"
    if _wordless(now.done) != _wordless(before.done):
        yield f"done: {now.done}"


def _wordless(text: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "#", text)
