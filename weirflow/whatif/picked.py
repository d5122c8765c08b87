"""The rows of a recording whose pick has a known chance: the coin of the arms, and the static rules' own picks.

The coin is exact: a request goes to the adaptive arm with the share that the plan in force at its node leased. A row of
`attempts` says which plan that was; a request that ended badly is in `felt`, which does not, so it goes by the plan
that was decided last before it began.

The `probability` of an attempt is nominal, weight over the sum of weights. That is its chance under (weighted) round
robin. Under random it is that only where all weights are equal, and under least request it is not: who has a queue is
picked less, so picks and latencies have a cause in common.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow.compute as pc

from dataplane.contract import Arm, Outcome
from dataplane.simulated.fleet import Floats, Ints
from weirflow.recording import Recording
from weirflow.recording.closed import ClosedPart
from weirflow.whatif.question import Frame

MOST_ROWS = 2_000_000
"""Of more, every so many-th is taken, so that memory stays bounded."""

_BAD = [o.name for o in (Outcome.ERROR, Outcome.TIMEOUT, Outcome.REJECTED, Outcome.UNREACHED)]


@dataclass(frozen=True, slots=True, eq=False)
class Picked:
    """n rows, two or more actions: arms, or endpoints by their place in the frame."""

    took_s: Floats  # (n,)
    failed: Floats  # (n,) 0 or 1
    action: Ints  # (n,)
    klass: Ints  # (n,) the route
    chance: Floats  # (n,) of the action that was taken
    at_s: Floats  # (n,) since the recording began
    wanted: Floats  # (n, actions) chances in question; of the coin empty
    every: int = 1  # only each so many-th row of the recording was taken

    def __len__(self) -> int:
        """How many rows."""
        return len(self.took_s)

    def charged(self, patience_s: float) -> Picked:
        """With the timeout for whoever failed."""
        return replace(self, took_s=np.where(self.failed > 0.0, np.maximum(self.took_s, patience_s), self.took_s))

    def between(self, start_s: float, end_s: float) -> Picked:
        """Those of a window."""
        kept = (self.at_s >= start_s) & (self.at_s < end_s)
        names = ("took_s", "failed", "action", "klass", "chance", "at_s", "wanted")
        return Picked(**{n: getattr(self, n)[kept] for n in names}, every=self.every)


def coin(recording: Recording, frame: Frame) -> Picked:
    """Requests that the coin of the arms decided, by how they ended for their users. Action 0 static, 1 adaptive."""
    leased = _Leased.of(recording, frame.service)
    every = _every(recording, "attempts")
    found: list[Any] = []
    columns = ["service", "outcome", "felt_s", "arm_id", "route_id", "plan", "now"]
    for table in _tables(recording, "attempts", columns, frame, every):
        ok = table.filter(pc.equal(table.column("outcome"), "OK"))
        took_s, now = _floats(ok, "felt_s"), _floats(ok, "now")
        share = leased.of_plans(_ints(ok, "plan"))
        found.append(_tossed(took_s, np.zeros(len(ok)), _ints(ok, "arm_id"), _ints(ok, "route_id"), share, now))
    columns = ["service", "outcome", "duration_s", "arm_id", "route_id", "now"]
    for table in _tables(recording, "felt", columns, frame, every):
        bad = table.filter(pc.is_in(table.column("outcome"), value_set=_texts(_BAD)))
        took_s, now = _floats(bad, "duration_s"), _floats(bad, "now")
        share = leased.at(now - took_s)
        found.append(_tossed(took_s, np.ones(len(bad)), _ints(bad, "arm_id"), _ints(bad, "route_id"), share, now))
    took_s, failed, arm, route, share, now = _joined(found, 6)
    adaptive = arm == int(Arm.ADAPTIVE)
    chance = np.where(adaptive, share, 1.0 - share)
    rows = Picked(
        took_s, failed, adaptive.astype(np.int64), route + 1, chance, now - frame.started, np.empty((len(arm), 0))
    )
    return _taken(rows, np.ones(len(arm), np.bool_), every)


def _tossed(took_s: Floats, failed: Floats, arm: Ints, route: Ints, share: Floats, now: Floats) -> tuple[Any, ...]:
    """The rows that a coin decided: of a recording without an adaptive arm there are none to be held."""
    tossed = (share > 0.0) & (share < 1.0)
    return tuple(column[tossed] for column in (took_s, failed, arm, route, share, now))


def picks(recording: Recording, frame: Frame, weights: Mapping[str, int]) -> Picked:
    """First attempts of the static arm, with the chance of each endpoint by its weight then, and by `weights`."""
    every = _every(recording, "attempts")
    place = {name: i for i, name in enumerate(frame.endpoints)}
    columns = ["service", "endpoint", "outcome", "duration_s", "arm_id", "route_id", "attempt", "probability", "now"]
    found: list[Any] = []
    for part, table in _of_parts(recording, "attempts", columns, frame, every):
        mine = table.filter(pc.is_in(table.column("outcome"), value_set=_texts(["OK", *_BAD])))
        names = mine.column("endpoint").to_pylist()
        action = np.array([place.get(name, -1) for name in names], dtype=np.int64)
        wanted = _wanted(part, frame, weights)
        failed = 1.0 - pc.equal(mine.column("outcome"), "OK").to_numpy().astype(np.float64)
        took_s, chance = _floats(mine, "duration_s"), _floats(mine, "probability")
        static = (_ints(mine, "arm_id") == int(Arm.STATIC)) & (_ints(mine, "attempt") == 1)
        kept = static & (action >= 0) & (chance > 0.0)
        rows = (took_s, failed, action, _ints(mine, "route_id") + 1, chance, _floats(mine, "now") - frame.started)
        found.append((*(r[kept] for r in rows), np.tile(wanted, (int(kept.sum()), 1))))
    took_s, failed, action, klass, chance, at_s, wanted = _joined(found, 7)
    if not len(took_s):
        wanted = np.empty((0, len(frame.endpoints)))
    return _taken(Picked(took_s, failed, action, klass, chance, at_s, wanted), np.ones(len(took_s), np.bool_), every)


@dataclass(frozen=True, slots=True, eq=False)
class _Leased:
    """Which share of a service the plans leased to the adaptive arm, by version and over time."""

    version: Ints  # rising
    share: Floats  # 0 to 1
    since: Floats  # the brain's time, rising
    then: Floats  # the share from then on; 0 while nothing is leased

    @classmethod
    def of(cls, recording: Recording, service: str) -> _Leased:
        by_version: dict[int, float] = {0: 0.0}
        since, then = [-np.inf], [0.0]
        for part, table in recording.tables("decisions", ["now", "plan", "decision"], faults=[]):
            number = next((str(s.id) for s in part.topology.services if s.name == service), "")
            for now, plan, said in zip(
                *(table.column(c).to_pylist() for c in ("now", "plan", "decision")), strict=True
            ):
                if plan is not None and plan not in by_version:
                    told = json.loads(said)["plan"]["services"].get(number)
                    by_version[plan] = float(told["share_percent"]) / 100.0 if told else 0.0
                share = 0.0 if plan is None else by_version[plan]
                if share != then[-1]:
                    since.append(now)
                    then.append(share)
        version = sorted(by_version)
        shares = np.array([by_version[v] for v in version])
        return cls(np.array(version, dtype=np.int64), shares, np.array(since), np.array(then))

    def of_plans(self, plan: Ints) -> Floats:
        """Of each row's plan; 0 for one that nobody decided on."""
        place = np.clip(np.searchsorted(self.version, plan), 0, len(self.version) - 1)
        return np.where(self.version[place] == plan, self.share[place], 0.0)

    def at(self, now: Floats) -> Floats:
        """In force at that time by the brain's clock."""
        return np.asarray(self.then[np.searchsorted(self.since, now, side="right") - 1])


def _wanted(part: ClosedPart, frame: Frame, weights: Mapping[str, int]) -> Floats:
    """Chance of each endpoint of the frame by the new weights, among the members of that part."""
    members = {e.address: e.weight for s in part.topology.services if s.name == frame.service for e in s.endpoints}
    new = np.array([weights.get(n, members[n]) if n in members else 0 for n in frame.endpoints], dtype=np.float64)
    return np.asarray(new / max(float(new.sum()), 1e-12))


def _every(recording: Recording, stream: str) -> int:
    rows = sum(p.files[stream].rows for p in recording.parts if stream in p.files)
    return max(1, -(-rows // MOST_ROWS))


def _of_parts(
    recording: Recording, stream: str, columns: list[str], frame: Frame, every: int
) -> Iterator[tuple[ClosedPart, Any]]:
    for part, table in recording.tables(stream, columns, faults=[]):
        mine = table.filter(pc.equal(table.column("service"), frame.service))
        yield part, mine.take(np.arange(0, len(mine), every)) if every > 1 else mine


def _tables(recording: Recording, stream: str, columns: list[str], frame: Frame, every: int) -> Iterator[Any]:
    for _, table in _of_parts(recording, stream, columns, frame, every):
        yield table


def _taken(rows: Picked, also: Any, every: int) -> Picked:
    """Without rows whose time is no number."""
    kept = also & np.isfinite(rows.took_s)
    names = ("took_s", "failed", "action", "klass", "chance", "at_s", "wanted")
    return Picked(**{n: getattr(rows, n)[kept] for n in names}, every=every)


def _joined(found: list[Any], many: int) -> list[Any]:
    if not found:
        return [np.empty(0)] * many
    return [np.concatenate([f[i] for f in found]) for i in range(many)]


def _floats(table: Any, name: str) -> Floats:
    return np.asarray(table.column(name).to_numpy(), dtype=np.float64)


def _ints(table: Any, name: str) -> Ints:
    return np.asarray(table.column(name).to_numpy(), dtype=np.int64)


def _texts(values: list[str]) -> Any:
    import pyarrow as pa

    return pa.array(values)
