"""What the brain was told before a tick, in words for whoever looks for the cause of a difference.

Calls are kept as they are, a few of them, and put into words only when asked: a replay has no time for words.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from brain.settings import Settings
from dataplane.contract import Columns, Dropped, Felt, InFlight, Outcome, Presence, Requests, Topology, Verdict
from weirflow.plain import plain
from weirflow.recording.calls import Call
from weirflow.replay.differences import differences

RECENT = 12
"""Calls that are kept of those since the last tick."""
RARE = 5
"""Calls of an operator, or of the mesh itself, that are kept however long ago they were."""
CHANGES = 4
"""Changed settings that are told one by one."""

_RARE = {"started", "restored", "moved", "configured", "commanded", "overran", "failed"}

Line = tuple[float, str]  # the brain's time, and what it was told


class Told:
    """Hears every call of a replay, and says what came lately."""

    def __init__(self) -> None:
        self._topology: Topology | None = None
        self._settings: Settings | None = None
        self._recent: deque[Call] = deque(maxlen=RECENT)
        self._count = 0
        self._rare: deque[Line] = deque(maxlen=RARE)

    def add(self, call: Call) -> None:
        """Take one call; a tick begins anew."""
        if call.verb == "decided":
            self._recent.clear()
            self._count = 0
            return
        if call.verb in _RARE:
            self._rare.append((call.now, self._words(call)))
        else:
            self._recent.append(call)
            self._count += 1
        if call.verb == "started":
            self._topology, self._settings = call.argument.topology, call.argument.settings
        elif call.verb == "moved":
            self._topology = call.argument
        elif call.verb == "configured":
            self._settings = call.argument

    def lines(self) -> list[Line]:
        """The rare calls that are still known, then those since the last tick, each in their order."""
        told = [(c.now, self._words(c)) for c in self._recent]
        left_out = self._count - len(told)
        if left_out:
            told.insert(0, (told[0][0], f"{left_out} more calls since the tick before"))
        return sorted([*self._rare, *told], key=lambda line: line[0])

    def _words(self, call: Call) -> str:
        match call.argument:
            case Requests() as batch:
                return f"{len(batch)} attempts" + self._by_service(batch, batch.outcome)
            case Felt() as batch:
                return f"{len(batch)} requests that ended badly for their users" + self._by_service(batch, None)
            case InFlight() as report:
                count, issued = int(report.in_flight.sum()), int(report.issued.sum())
                return f"load report of {self._node(report.node_id)}: {count} open, {issued} begun"
            case Dropped() as dropped:
                return f"{self._node(dropped.node)} sent log entries of no use: {_counts(dropped.reasons.items())}"
            case Verdict() as verdict if verdict.accepted:
                return f"{self._node(verdict.node)} accepted {verdict.kind} {verdict.version} (plan {verdict.plan})"
            case Verdict() as verdict:
                return f"{self._node(verdict.node)} refused {verdict.kind} {verdict.version}: {verdict.detail}"
            case Presence() as presence:
                return f"{self._node(presence.node)} {'connected' if presence.connected else 'went away'}"
            case Topology() as topology:
                members = ", ".join(f"{s.name} of {len(s.endpoints)}" for s in topology.services)
                return f"membership {topology.version}: {members}"
            case Settings() as settings:
                return f"new settings: {_changes(self._settings, settings)}"
        return self._other(call)

    def _other(self, call: Call) -> str:
        if call.verb == "started":
            return "the brain started"
        if call.verb == "restored":
            return "a checkpoint was taken up"
        if call.verb == "overran":
            return f"{call.argument} ticks were skipped"
        if call.verb == "failed":
            return f"the recorded brain raised on {call.argument.verb}: {call.argument.error}"
        said = ", ".join(f"{name} {value}" for name, value in asdict(call.argument).items())
        return f"an operator commanded {type(call.argument).__name__}" + (f" ({said})" if said else "")

    def _by_service(self, batch: Columns, outcomes: Any) -> str:
        services: Any = batch.service  # type: ignore[attr-defined]
        names = {s.id: s.name for s in self._topology.services} if self._topology is not None else {}
        ids, counts = np.unique(services, return_counts=True)
        parts = _counts(
            (str(names.get(i, f"service {i}")), n) for i, n in zip(ids.tolist(), counts.tolist(), strict=True)
        )
        ended = ""
        if outcomes is not None:
            bad = Counter(Outcome(o).name for o in outcomes.tolist() if o != Outcome.OK)
            ended = f", of them {_counts(bad.items())}" if bad else ""
        return (f": {parts}" if parts else "") + ended

    def _node(self, number: int) -> str:
        nodes = self._topology.nodes if self._topology is not None else ()
        return next((n.name for n in nodes if n.id == number), f"node {number}")


def changed_settings(before: Any, after: Any) -> list[str]:
    """`guard.cap_share_of_mean 5.0 → 4.0` for each that differs; both as plain data."""
    return [f"{path} {one} → {other}" for path, one, other in differences(before, after)]


def _changes(before: Settings | None, after: Settings) -> str:
    if before is None:
        return "the first"
    found = changed_settings(plain(asdict(before)), plain(asdict(after)))
    more = [f"and {len(found) - CHANGES} more"] if len(found) > CHANGES else []
    return ", ".join([*found[:CHANGES], *more]) or "the same as before"


def _counts(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts)
