"""The watch of the brain over a recording: which incidents it finds, how they went, and what they were found by.

A fresh brain hears every call at its recorded time, as in a replay, and its watch is the one that runs live: there is
no other detector here, and no other setting than the recorded ones. The brain ticks when the recorded one did. What
was imported holds no tick, and gets one each `tick_s`; and a watch that the recorded settings had off is on.

Of each incident the figures are kept that it was found by, with what would have been usual, from `LEAD_S` before it was
found until `AFTER_S` after it was over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from brain.brain import Brain
from brain.decision import Decision
from brain.findings import Finding, Stand
from brain.settings import Settings
from dataplane.contract import Floats, Topology
from weirflow.notify.incidents import IncidentLog, Record
from weirflow.recording import Call, Recording
from weirflow.replay.loop import Calls, Step, steps

LEAD_S, AFTER_S = 60.0, 30.0
MOST_COURSES = 3
"""Of one incident: of a whole zone that is odd a few endpoints are shown."""
SILENT_S = 300.0
"""After so long without a call a brain that is given its ticks gets none until the next call."""

Identity = tuple[str, tuple[tuple[str, str], ...], float]  # kind, labels and since when


@dataclass(slots=True)
class Course:
    """A figure over time: what `kind` was judged by at one place."""

    kind: str
    place: str  # an address, or a service
    slot: int
    at: list[float] = field(default_factory=list)
    figures: list[Floats] = field(default_factory=list)  # value, low and high, shape (3,) each

    def add(self, at: float, stands: Mapping[str, Floats]) -> None:
        """The figure at that tick, if there was one."""
        if self.kind in stands and self.slot < stands[self.kind].shape[1]:
            self.at.append(at)
            self.figures.append(stands[self.kind][:, self.slot])


@dataclass(slots=True)
class Found:
    """An incident, and the figures it was found by."""

    record: Record
    courses: list[Course] = field(default_factory=list)


class Watching:
    """A pass over a recording. What was found is there after `go`, and up to where it broke when `go` raises."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.ticks = 0
        self.now = recording.started
        self.found: list[Found] = []
        self.told: dict[str, Identity] = {}  # incidents that the recorded decisions hold, by id
        self.settings = recording.parts[0].settings if recording.parts else Settings()
        self.decided = any("decisions" in p.files for p in recording.parts)
        self.reported = any(p.files["in_flight"].rows for p in recording.parts if "in_flight" in p.files)
        self._log = IncidentLog()
        self._followed: dict[str, Found] = {}  # by id: those that are open, or were lately
        self._before: deque[tuple[float, Mapping[str, Floats]]] = deque()
        self._stands: Callable[[], Mapping[str, Stand]] = dict

    @property
    def off(self) -> bool:
        """Whether the recorded settings had the watch off."""
        return not self.settings.models.anomalies

    @property
    def as_recorded(self) -> bool | None:
        """Whether the recorded decisions hold the same incidents; None where there was nobody to find any."""
        if not self.decided or self.off:
            return None
        return set(self.told.values()) == {identity(f.record) for f in self.found}

    def go(self, heard: Callable[[float], None]) -> None:
        """Go through it. RecordingError and ReplayError as a replay; what the brain raises passes through."""
        calls: Calls = self.recording
        if not self.decided:
            calls = Ticked(calls, self.settings.tick_s)
        for step in steps(calls, self._made, written=False):
            if step.raised is not None and step.failure is None:
                raise step.raised
            self.now = step.call.now
            heard(self.now)
            if step.is_tick and step.decision is not None:
                self._tick(step)

    def _made(self, topology: Topology, settings: Settings) -> Brain:
        brain = Watched(topology, settings)
        self._stands = brain.stands
        return brain

    def _tick(self, step: Step) -> None:
        self.ticks += 1
        now, decision = step.call.now, step.decision
        if self.decided and step.call.verb == "decided":
            for incident in step.call.argument.get("incidents", ()):
                self.told.setdefault(incident["id"], recorded_identity(incident))
        stands = {kind: _cut(stand) for kind, stand in self._stands().items()}
        self._log.told(decision, lambda at: at)
        self._follow(decision, stands, now)
        self._before.append((now, stands))
        while self._before[0][0] < now - LEAD_S:
            self._before.popleft()

    def _follow(self, decision: Decision, stands: Mapping[str, Floats], now: float) -> None:
        for view in decision.incidents:
            record = self._log[view.id]
            if view.id not in self._followed or self._followed[view.id].record is not record:
                self._followed[view.id] = Found(record)
                self.found.append(self._followed[view.id])
        for id_, found in list(self._followed.items()):
            ended = found.record.ended
            if ended is not None and now > ended + AFTER_S:
                del self._followed[id_]
                continue
            for finding in found.record.view.evidence if ended is None else ():
                self._begin(found, finding, decision)
            for course in found.courses:
                course.add(now, stands)

    def _begin(self, found: Found, finding: Finding, decision: Decision) -> None:
        """Keep the figures of that finding too, from a while ago on."""
        place = finding.endpoint or finding.service
        known = any((c.kind, c.place) == (finding.kind, place) for c in found.courses)
        slot = None if known or len(found.courses) >= MOST_COURSES else _slot(finding, decision)
        if slot is None:
            return
        course = Course(finding.kind, place, slot)
        for at, stands in self._before:
            course.add(at, stands)
        found.courses.append(course)


class Watched(Brain):
    """A brain whose watch is on, whatever the settings say."""

    def __init__(self, topology: Topology, settings: Settings) -> None:
        super().__init__(topology, _on(settings))

    def configured(self, settings: Settings, now: float) -> None:
        """New settings, but for the watch."""
        super().configured(_on(settings), now)


@dataclass(frozen=True, slots=True)
class Ticked:
    """Calls that hold no tick, with one each `tick_s` between them."""

    calls_: Calls
    tick_s: float

    def calls(self) -> Iterator[Call]:
        """All of them, and a last tick."""
        due, last = np.inf, -np.inf
        for call in self.calls_.calls():
            while due <= call.now and due <= last + SILENT_S:
                yield Call(due, "decided", {})
                due += self.tick_s
            if due == np.inf or due <= call.now:
                due = call.now + self.tick_s
            last = call.now
            yield call
        if np.isfinite(last):
            yield Call(due, "decided", {})


def identity(record: Record) -> Identity:
    """What tells an incident from others of any run over the same recording."""
    return record.view.kind, tuple(sorted(record.view.labels.items())), record.since


def recorded_identity(incident: Mapping[str, Any]) -> Identity:
    """The same of one as a recorded decision has it."""
    return incident["kind"], tuple(sorted(incident["labels"].items())), incident["since_s"]


def _on(settings: Settings) -> Settings:
    return replace(settings, models=replace(settings.models, anomalies=True))


def _cut(stand: Stand) -> Floats:
    return np.stack([stand.value, stand.low, stand.high])


def _slot(finding: Finding, decision: Decision) -> int | None:
    """Where the figures of that kind hold its place; None for what is made of others' findings, or is there no more.

    Nor have edges and proxies any there.
    """
    if finding.kind.startswith(("Zone", "Edge", "Node")):
        return None
    service = next((s for s in decision.services if s.name == finding.service), None)
    if service is None or not finding.endpoint:
        return None if service is None else service.id
    return next((e.id for e in service.endpoints if e.address == finding.endpoint), None)
