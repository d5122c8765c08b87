"""Two versions' decisions over one recording, held against each other tick by tick, in the memory of a tick.

Only incidents are kept until the end: one version may open the same incident later, and it is the same incident then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from weirflow.replay.row import Row

BUCKETS = 24
"""Stretches of time for which the share on the adaptive arm is told."""
FOLLOWS_S = 15.0
"""Incidents of one kind at one place are the same when they are at most this far apart: as long as one outlasts what
was found."""


@dataclass(slots=True)
class Change:
    """How far something differs over the ticks: the largest, when that was, and the mean."""

    largest: float = 0.0
    at: float | None = None
    total: float = 0.0
    count: int = 0

    def add(self, amount: float, now: float) -> None:
        """Take in a tick."""
        self.count += 1
        self.total += amount
        if amount > self.largest:
            self.largest, self.at = amount, now

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"largest": self.largest, "at": self.at, "mean": self.total / self.count if self.count else 0.0}


@dataclass(slots=True)
class OfService:
    """What the two versions did with one service. Shares in percent; pairs are (the report, here)."""

    ticks: int = 0
    weights: Change = field(default_factory=Change)  # total variation, 0 to 1
    limits: Change = field(default_factory=Change)  # of the one that differs most, by the larger, 0 to 1
    share: Change = field(default_factory=Change)  # points
    shed: Change = field(default_factory=Change)  # points
    pushes: list[int] = field(default_factory=lambda: [0, 0])
    otherwise: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("lease", "state", "tiers", "guards"), 0))
    shares: list[list[float]] = field(default_factory=lambda: [[0.0, 0.0, 0.0] for _ in range(BUCKETS)])

    def add(self, theirs: Row, ours: Row, bucket: int) -> None:
        """Take in a tick."""
        now = ours.now
        self.ticks += 1
        self.weights.add(total_variation(theirs.weights, ours.weights), now)
        self.limits.add(largest_change(theirs.limits, ours.limits), now)
        self.share.add(abs(theirs.share_percent - ours.share_percent), now)
        self.shed.add(abs(theirs.shed_percent - ours.shed_percent), now)
        self.pushes[0] += theirs.pushed
        self.pushes[1] += ours.pushed
        self.otherwise["lease"] += theirs.leased != ours.leased
        self.otherwise["state"] += theirs.state != ours.state
        self.otherwise["tiers"] += theirs.tiers != ours.tiers
        self.otherwise["guards"] += theirs.guards != ours.guards
        sums = self.shares[bucket]
        sums[0] += 1
        sums[1] += theirs.share_percent
        sums[2] += ours.share_percent

    def beyond(self, tolerated: float) -> list[str]:
        """What of it is more than is tolerated, in words."""
        out = [
            f"{what} by {change.largest / whole:.3f}"
            for what, change, whole in (
                ("weights", self.weights, 1.0),
                ("limits", self.limits, 1.0),
                ("share", self.share, 100.0),
                ("refused share", self.shed, 100.0),
            )
            if change.largest / whole > tolerated
        ]
        of = max(1, self.ticks)
        counted = {what: n for what, n in self.otherwise.items() if what != "guards"}
        return out + [f"{what} at {n} of {of} ticks" for what, n in counted.items() if n / of > tolerated]


@dataclass(slots=True)
class Episode:
    """One incident as one version had it."""

    key: str
    since_s: float
    opened: float  # the tick that first told of it
    ended: float  # the last tick that did
    cause: str  # the likeliest at first


class Episodes:
    """Follows one version's incidents from tick to tick."""

    def __init__(self) -> None:
        self.all: list[Episode] = []
        self._open: dict[str, Episode] = {}

    def add(self, rows: Sequence[Row], now: float) -> None:
        """Take in a tick."""
        there = {i.key: i for row in rows for i in row.incidents}
        self._open = {k: e for k, e in self._open.items() if k in there}
        for key, incident in there.items():
            if key not in self._open:
                cause = incident.causes[0] if incident.causes else ""
                self._open[key] = Episode(key, incident.since_s, now, now, cause)
                self.all.append(self._open[key])
            self._open[key].ended = now


@dataclass(frozen=True, slots=True)
class First:
    """A first difference. `service` None: of the mesh as a whole."""

    tick: int
    now: float
    service: str | None
    what: str
    report: Any
    here: Any


class Comparison:
    """Takes tick after tick of both versions."""

    def __init__(self, started: float, ended: float, service: str | None = None) -> None:
        """`started`, `ended`: the time that is looked at. `service`: only what is decided of that one."""
        self.ticks = 0
        self.differ = 0  # ticks, in anything
        self.differ_in_force = 0  # ticks, in what proxies are told
        self.first: First | None = None
        self.first_in_force: First | None = None
        self.services: dict[str, OfService] = {}
        self.errors: tuple[list[str], list[str]] = ([], [])  # the first few of the report's and of ours
        self.unlike_errors = 0  # ticks at which one raised and the other did not
        self._service = service
        self._started, self._length_s = started, max(ended - started, 1e-9)
        self._episodes = Episodes(), Episodes()

    def add(self, theirs: Sequence[Row], ours: Sequence[Row]) -> None:
        """Take in one tick's rows of the report, and ours."""
        now, tick = ours[0].now, ours[0].tick
        self.ticks += 1
        if self._service is not None:
            theirs, ours = self._only(theirs), self._only(ours)
        for rows, errors, episodes in zip((theirs, ours), self.errors, self._episodes, strict=True):
            episodes.add(rows, now)
            if rows[0].error and len(errors) < 5:
                errors.append(f"tick {tick}: {rows[0].error}")
        self.unlike_errors += bool(theirs[0].error) != bool(ours[0].error)
        found = list(_pairs(theirs, ours))
        changed = [_first_in_row(a, b) for a, b in found if a != b]
        in_force = [f for f in (_first_in_force(a, b) for a, b in found if a.in_force != b.in_force) if f is not None]
        self.differ += bool(changed)
        self.differ_in_force += bool(in_force)
        if changed and self.first is None:
            # The mesh's digest differs whenever anything does: what differs by name says more.
            self.first = min(changed, key=lambda f: (f.what == "digest", f.service is None))
        if in_force and self.first_in_force is None:
            self.first_in_force = in_force[0]
        bucket = min(BUCKETS - 1, max(0, int((now - self._started) / self._length_s * BUCKETS)))
        for a, b in found:
            if b.service is not None:
                self.services.setdefault(b.service, OfService()).add(a, b, bucket)

    def incidents(self) -> tuple[list[tuple[Episode, Episode]], list[Episode], list[Episode]]:
        """Those of both (as the report has them and as we do), those of the report alone, and ours alone."""
        both, alone, left = [], [], list(self._episodes[1].all)
        for theirs in self._episodes[0].all:
            same = [o for o in left if o.key == theirs.key and _near(theirs, o)]
            if same:
                both.append((theirs, same[0]))
                left.remove(same[0])
            else:
                alone.append(theirs)
        return both, alone, left

    def beyond(self, tolerated: float | None) -> list[str]:
        """What is more than is tolerated, in words; None tolerates no difference in anything."""
        if tolerated is None:
            return [f"{self.differ} of {self.ticks} ticks differ"] if self.differ else []
        out = [f"{name}: {', '.join(b)}" for name, s in self.services.items() if (b := s.beyond(tolerated))]
        _, theirs, ours = self.incidents()
        out += [f"only the report has the incident {e.key}" for e in theirs]
        out += [f"only this version has the incident {e.key}" for e in ours]
        if self.unlike_errors:
            out.append(f"at {self.unlike_errors} ticks one version raised and the other did not")
        return out

    def _only(self, rows: Sequence[Row]) -> list[Row]:
        """A tick's rows of the one service; of the mesh, nothing but errors."""
        mesh = Row(rows[0].tick, rows[0].now, None, "", error=rows[0].error)
        return [mesh, *(r for r in rows if r.service == self._service)]


def total_variation(one: dict[str, int], other: dict[str, int]) -> float:
    """Half the sum of what each address's share of the weights differs by: the part of the traffic that moves."""
    if one == other:
        return 0.0
    a, b = sum(one.values()) or 1, sum(other.values()) or 1
    return 0.5 * sum(abs(one.get(k, 0) / a - other.get(k, 0) / b) for k in one.keys() | other.keys())


def largest_change(one: dict[str, int], other: dict[str, int]) -> float:
    """Of numbers by name, the largest change as a part of the larger; 1 for one that is not in both."""
    out = 0.0
    for name in one.keys() | other.keys() if one != other else ():
        if name not in one or name not in other:
            return 1.0
        a, b = one[name], other[name]
        if a != b:
            out = max(out, abs(a - b) / max(abs(a), abs(b)))
    return out


def _pairs(theirs: Sequence[Row], ours: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    """The rows of each service, an empty one where a version has none."""
    by_name = {r.service: r for r in theirs}
    for row in ours:
        yield by_name.pop(row.service, Row(row.tick, row.now, row.service, "")), row
    for row in by_name.values():
        yield row, Row(row.tick, row.now, row.service, "")


def _first_in_force(theirs: Row, ours: Row) -> First | None:
    for what in ("leased", "share_percent", "shed_percent", "weights", "tiers", "limits"):
        a, b = getattr(theirs, what), getattr(ours, what)
        if a != b:
            return _first(ours, what, a, b)
    return None


def _first_in_row(theirs: Row, ours: Row) -> First:
    found = _first_in_force(theirs, ours)
    if found is not None:
        return found
    for what in ("error", "state", "pushed", "guards", "incidents"):
        a, b = getattr(theirs, what), getattr(ours, what)
        if what == "incidents":
            a, b = ([f"{i.key}: {', '.join(i.causes)}" for i in x] for x in (a, b))
        if a != b:
            return _first(ours, what, a, b)
    return _first(ours, "digest", theirs.digest, ours.digest)


def _first(row: Row, what: str, theirs: Any, ours: Any) -> First:
    """Down to the first address or limit that differs."""
    if isinstance(theirs, dict):
        key = next(k for k in [*theirs, *ours] if theirs.get(k) != ours.get(k))
        return First(row.tick, row.now, row.service, f"{what} of {key}", theirs.get(key), ours.get(key))
    if isinstance(theirs, list):
        theirs, ours = next((a, b) for a, b in zip_longest(theirs, ours) if a != b)
    return First(row.tick, row.now, row.service, what, theirs, ours)


def _near(one: Episode, other: Episode) -> bool:
    return one.opened <= other.ended + FOLLOWS_S and other.opened <= one.ended + FOLLOWS_S
