"""A recording as a `World`: arrivals, demands, endpoints and rules, with what load did to latencies taken out.

    world = calibrate(read(folder))

Every attempt at every endpoint, from all proxies, is in the recording with its start and its end, so the queue at an
endpoint can be walked through again and the waiting taken out (`models.unqueue`). What is left is work, and with it the
mesh in virtual time can put another load, policy or fleet in its place. docs/explanation.md says it with the maths.

Four passes over the attempts: who is there and whose clock is ahead; how many workers there are; what each endpoint did
when; what each request was worth. Up to `MOST_HELD` attempts stay in memory from the second on; of more, each pass
reads them anew and holds no more than a block.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dataplane.contract import Floats, Ints, Outcome, Topology
from dataplane.simulated.fleet import Fleet, Trace
from models.hangs import usual_of
from weirflow.recording import Recording, RecordingError, calls
from weirflow.whatif import calibrate_notes as notes
from weirflow.whatif.calibrate_fit import Block, Cutter, Finder, Fit, Scope, way_of
from weirflow.whatif.calibrate_fleet import fleet_of, members_of
from weirflow.whatif.calibrate_read import BLOCK_ROWS, Rows, Survey, blocks, survey
from weirflow.whatif.calibrate_rules import UNKNOWN_ROUTE, rules_of
from weirflow.whatif.calibrate_trace import Known, every, traced
from weirflow.whatif.spread import Spread
from weirflow.whatif.world import Trust, World

MOST_HELD = 2_000_000
"""Attempts: about 300 MB."""


@dataclass(slots=True)
class Story:
    """What the calls of a recording tell beside telemetry."""

    moves: list[tuple[float, Topology]] = field(default_factory=list)  # since when, the first at 0
    commands: int = 0
    restored: bool = False
    reconfigured: bool = False
    dropped: dict[str, int] = field(default_factory=dict)  # log entries that taught nothing, by reason


def calibrate(recording: Recording, service: str | None = None, *, rows: int = BLOCK_ROWS) -> World:
    """The world of one service, the one with the most endpoints unless one is named.

    `rows`: attempts worked on at once, which is what memory is needed for. RecordingError when nothing can be read or
    no attempt of the service is there; KeyError, with the names there are, for a service that is not.
    """
    if not recording.parts:
        raise RecordingError(recording.folder.name, "holds no whole part")
    faults: list[RecordingError] = list(recording.faults)
    story = _story(recording, faults)
    everyone = {s.name: s for _, t in story.moves for s in t.services}
    if service is None:
        service = max(everyone, key=lambda name: len(everyone[name].endpoints), default="")
    if service not in everyone:
        raise KeyError(f"no service {service!r}; there are {', '.join(everyone) or 'none'}")
    about = survey(recording, everyone[service].id, faults)
    if not about.attempts:
        raise RecordingError(recording.folder.name, f"tells of no attempt of service {service}")
    members = members_of(story.moves, service)
    names, class_of = _classes(about, story.moves[-1][1].routes)
    row_of = np.full(max(m.id for m in members) + 1, -1, dtype=np.int64)
    row_of[[m.id for m in members]] = np.arange(len(members))
    scope = Scope(
        row_of, class_of, len(names), _usual(about, class_of, len(names)), way_of(about), about.last_s, about.open_s
    )

    felt, finder = _Felt(), Finder(scope)
    passes = _Passes(recording, about, scope, rows)
    for block, seen in passes(faults):
        felt.learn(block)
        finder.learn(seen)
    fit = finder.told()
    cutter = Cutter(scope, fit)
    for _, seen in passes():
        cutter.learn(seen)
    fleet = fleet_of(members, fit, scope.way_s)
    known = Known()
    for found in every(passes(), fleet, scope, fit):
        known.learn(found)
    known.settle(len(names))
    nodes, node_of = _nodes(story.moves)

    def chunks() -> Iterator[Trace]:
        number = 0
        anew = ((b, Block(b, scope)) for b in blocks(recording, about, rows=rows))
        for found in every(anew, fleet, scope, fit):
            yield traced(found, known, number, node_of)
            number += len(found.at_s)

    world = World(
        service=service,
        nodes=nodes,
        classes=names,
        fleet=fleet,
        chunks=chunks,
        rules=rules_of(recording.mesh, service, names, felt.gave_up_s()),
        settings=recording.parts[0].settings,
        adaptive_share=about.adaptive / max(about.requests, 1),
        trust=_trust(fit, fleet, about.last_s),
        seen=felt.spread.seen(felt.requests, felt.good),
        started=recording.started,
        duration_s=about.last_s,
    )
    return replace(world, notes=tuple(notes.of(world, recording, story, about, fit, faults)))


class _Passes:
    """The blocks of a recording, as often as they are asked for."""

    def __init__(self, recording: Recording, about: Survey, scope: Scope, rows: int) -> None:
        self._recording, self._about, self._scope, self._rows = recording, about, scope, rows
        self._held: list[tuple[Rows, Block]] = []
        self._whole = False

    def __call__(self, faults: list[RecordingError] | None = None) -> Iterator[tuple[Rows, Block]]:
        """From the first to the last. Damaged parts are put into `faults`."""
        if self._whole:
            yield from self._held
            return
        keeps = self._about.attempts <= MOST_HELD
        for rows in blocks(self._recording, self._about, rows=self._rows, faults=faults):
            both = rows, Block(rows, self._scope)
            if keeps:
                self._held.append(both)
            yield both
        self._whole = keeps


class _Felt:
    """What the recorded requests tell as their users felt them."""

    def __init__(self) -> None:
        self.spread = Spread()
        self.requests = self.good = 0
        self._gave_up: list[Floats] = []

    def learn(self, rows: Any) -> None:
        """Take in a block."""
        good = rows.outcome == Outcome.OK
        self.requests += int((rows.attempt == 1).sum())
        self.good += int(good.sum())
        self.spread.learn(rows.felt_s[good | (rows.attempt == 0)])
        late = (rows.outcome == Outcome.TIMEOUT) & (rows.attempt == 1)
        self._gave_up.append((rows.end_s - rows.at_s)[late][:1000])

    def gave_up_s(self) -> float | None:
        """How long those waited that gave up, in the middle; None when nobody did."""
        some = np.concatenate(self._gave_up)
        return float(np.median(some)) if len(some) else None


def _story(recording: Recording, faults: list[RecordingError]) -> Story:
    out = Story(moves=[(0.0, recording.parts[0].topology)])
    for part, table in recording.tables("events", ("now", "verb", "kind", "body"), faults=faults):
        for row in table.filter(_told_of(table)).to_pylist():
            at_s = row["now"] - recording.started
            try:
                if row["verb"] == "moved":
                    out.moves.append((at_s, calls.revive("Topology", json.loads(row["body"]))))
                elif row["kind"] == "Dropped":
                    for reason, count in json.loads(row["body"])["reasons"].items():
                        out.dropped[reason] = out.dropped.get(reason, 0) + int(count)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                reason = f"a call ({row['verb']} {row['kind']}) makes no sense: {error}"
                raise RecordingError(part.files["events"].file, reason, part=part.number) from error
            out.commands += row["verb"] == "commanded"
            out.restored |= row["verb"] == "restored"
            out.reconfigured |= row["verb"] == "configured"
    return out


def _told_of(table: Any) -> Any:
    verbs = np.array(table.column("verb").to_pylist(), dtype=object)
    kinds = np.array(table.column("kind").to_pylist(), dtype=object)
    return np.isin(verbs, ["moved", "commanded", "restored", "configured"]) | (kinds == "Dropped")


def _classes(about: Survey, routes: tuple[str, ...]) -> tuple[tuple[str, ...], Ints]:
    """Names of the routes that the service's requests came by, and the class by route id + 1."""
    class_of = np.zeros(max(len(about.seen), len(routes) + 1), dtype=np.int64)
    came = np.flatnonzero(about.seen).tolist()
    class_of[came] = np.arange(len(came))
    return tuple(routes[r - 1] if 0 < r <= len(routes) else UNKNOWN_ROUTE for r in came), class_of


def _usual(about: Survey, class_of: Ints, classes: int) -> Floats:
    """What an attempt of each class takes, for who looks for hangs."""
    n, total, squares = (
        np.asarray(np.bincount(class_of[: len(v)], v, minlength=classes), np.float64)
        for v in (about.answers, about.took_s, about.squares)
    )
    return usual_of(n, total, squares)


def _nodes(moves: list[tuple[float, Topology]]) -> tuple[tuple[str, ...], Ints]:
    """Names of all proxies there ever were, and the place of each by its id."""
    names = {n.id: n.name for _, t in moves for n in t.nodes}
    node_of = np.zeros(max(names, default=0) + 1, dtype=np.int64)
    node_of[sorted(names)] = np.arange(len(names))
    return tuple(names[i] for i in sorted(names)), node_of


def _trust(fit: Fit, fleet: Fleet, lasted_s: float) -> Trust:
    n = np.maximum(fit.attempts, 1)
    return Trust(
        attempts=fit.attempts,
        busy_share=np.minimum(fit.walk.busy_s / max(lasted_s, 1e-9), 1.0),
        waited_share=fit.waited / n,
        pieces=np.isfinite(fleet.since_s).sum(axis=1),
        error_share_known=np.where(fit.attempts > 0, _half_width(fit.failed / n, n), 1.0),
        workers_low=fit.workers.low,
        workers_high=fit.workers.high,
        blurred=fit.blurred,
    )


def _half_width(share: Floats, n: Ints) -> Floats:
    """Of the 95 % interval of a share (Wilson 1927)."""
    z2 = 1.96**2
    return np.asarray(1.96 * np.sqrt(share * (1 - share) / n + z2 / (4.0 * n * n)) / (1 + z2 / n))
