"""What a question changes, as pure functions from a world to another one.

A `Question` says what would be different: the load, who is there, how fast somebody is, a limit, the share of the
adaptive arm, weights by hand. `changed` applies it. Policies are no part of it: each answers the same question over the
very same changed world.

Rows of the fleet are never taken away, so an endpoint's row is the same in the recording, in the changed world and in
every answer: who is removed is no member, and who is added comes last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import inf
from typing import Any

import numpy as np

from dataplane.simulated.fleet import Fleet, Floats
from weirflow.config.units import format_duration
from weirflow.whatif.resample import Cut, Scaled
from weirflow.whatif.world import World

LEAD_S = 30.0
"""Run before a window that is asked for, and not judged: queues fill and a brain learns meanwhile."""
PIECES = ("speed", "extra_s", "error_share", "status", "after_s", "hang")


@dataclass(frozen=True, slots=True)
class Added:
    """Endpoints more. `speed` is in times of the median endpoint's; `workers` None: as many as the median has."""

    count: int
    speed: float = 1.0
    workers: int | None = None

    def __str__(self) -> str:
        """As on the command line."""
        workers = "" if self.workers is None else f"/{self.workers}"
        return f"{self.count}@{self.speed:g}{workers}"


@dataclass(frozen=True, slots=True)
class Slow:
    """An endpoint takes `factor` times as long from `start_s` to `end_s`, seconds since the world started."""

    endpoint: str
    factor: float
    start_s: float = 0.0
    end_s: float = inf

    def __str__(self) -> str:
        """As on the command line."""
        if self.start_s == 0.0 and self.end_s == inf:
            return f"{self.endpoint}=x{self.factor:g}"
        end = "" if self.end_s == inf else f"{self.end_s:g}"
        return f"{self.endpoint}=x{self.factor:g}@{self.start_s:g}..{end}"


@dataclass(frozen=True, slots=True)
class Question:
    """What would be different. All empty: nothing, the world as it was recorded."""

    load: float = 1.0
    remove: tuple[str, ...] = ()
    add: tuple[Added, ...] = ()
    slow: tuple[Slow, ...] = ()
    limits: tuple[tuple[str, int], ...] = ()  # by field of `Rules`
    share_percent: float | None = None
    weights: tuple[tuple[str, int], ...] = ()  # the operator's, by endpoint
    start_s: float = 0.0
    end_s: float = inf
    name: str = ""  # that somebody gave it

    @property
    def title(self) -> str:
        """What it is called: by its name, and by what it changes."""
        return f"{self.name}: {self.words}" if self.name else self.words

    @property
    def words(self) -> str:
        """In one line for people."""
        said = [f"load x{self.load:g}"] if self.load != 1.0 else []
        said += [f"without {e}" for e in self.remove]
        said += [f"{a} added" for a in self.add]
        said += [f"slow {s}" for s in self.slow]
        said += [f"{name}={value}" for name, value in self.limits]
        said += [f"share {self.share_percent:g} %"] if self.share_percent is not None else []
        said += ["weights " + ",".join(f"{e}={w}" for e, w in self.weights)] if self.weights else []
        if self.start_s > 0.0 or self.end_s < inf:
            end = "the end" if self.end_s == inf else format_duration(self.end_s)
            said.append(f"from {format_duration(self.start_s)} to {end}")
        return ", ".join(said) or "as recorded"

    @property
    def about_picks_alone(self) -> bool:
        """Whether it only asks who would have been picked: what can be told from the recording without a simulation."""
        apart = (self.load, self.remove, self.add, self.slow, self.limits)
        return apart == (1.0, (), (), (), ()) and (self.share_percent is not None or bool(self.weights))


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a world's time that is judged, in seconds since it started."""

    start_s: float
    end_s: float

    @property
    def lasts_s(self) -> float:
        """How long it is."""
        return self.end_s - self.start_s


def changed(world: World, question: Question, seed: int = 0) -> tuple[World, Span]:
    """The world in question, and what of it is to be judged. ValueError for an endpoint that it does not have.

    Only `load` has chance in it, by `seed`: the same requests come for every policy.
    """
    fleet = world.fleet
    for name in question.remove:
        fleet = _without(fleet, _row(fleet, name))
    for slow in question.slow:
        fleet = _slower(fleet, _row(fleet, slow.endpoint), slow)
    if question.weights:
        weight = fleet.weight.copy()
        for name, value in question.weights:
            weight[_row(fleet, name)] = value
        fleet = replace(fleet, weight=weight)
    for added in question.add:
        fleet = _with(fleet, added, world.duration_s)
    settings = world.settings
    if question.share_percent is not None:
        settings = replace(settings, shares={**settings.shares, world.service: question.share_percent})
    rules = replace(world.rules, **dict[str, Any](question.limits))
    if question.weights and rules.policy == "random":
        rules = replace(rules, policy="round_robin")  # Envoy's random takes no weights
    out = replace(world, fleet=fleet, settings=settings, rules=rules)
    out, span = _cut(out, question.start_s, min(question.end_s, world.duration_s))
    if question.load != 1.0:
        out = replace(out, chunks=Scaled(out.chunks, question.load, out.duration_s, seed))
    return out, span


def _row(fleet: Fleet, name: str) -> int:
    if name not in fleet.names:
        raise ValueError(f"the recording has no endpoint {name!r}; it has {', '.join(fleet.names)}")
    return fleet.names.index(name)


def _without(fleet: Fleet, row: int) -> Fleet:
    leaves_s = fleet.leaves_s.copy()
    leaves_s[row] = 0.0
    return replace(fleet, leaves_s=leaves_s)


def _slower(fleet: Fleet, row: int, slow: Slow) -> Fleet:
    """Cut the endpoint's time at both moments, and divide its speed between them."""
    moments = {slow.start_s, slow.end_s} | set(fleet.since_s[row].tolist())
    since_s = np.array(sorted(m for m in moments if m < inf))
    known = np.searchsorted(fleet.since_s[row], since_s, side="right") - 1
    more = max(0, len(since_s) - fleet.since_s.shape[1])
    wide: dict[str, Any] = {name: np.pad(getattr(fleet, name), ((0, 0), (0, more)), mode="edge") for name in PIECES}
    wide["since_s"] = np.pad(fleet.since_s, ((0, 0), (0, more)), constant_values=inf)
    for name in PIECES:
        wide[name][row, : len(since_s)] = getattr(fleet, name)[row, known]
    wide["since_s"][row, : len(since_s)] = since_s
    within = (wide["since_s"][row] >= slow.start_s) & (wide["since_s"][row] < slow.end_s)
    wide["speed"][row, within] /= slow.factor
    return replace(fleet, **wide)


def _with(fleet: Fleet, added: Added, until_s: float) -> Fleet:
    """Endpoints in the middle of those that there are, in the mean over the recording, and sound throughout.

    Removed ones count as well: they were seen. Zones are dealt out in turn, as the fleet has them.
    """
    many, old, pieces = added.count, len(fleet), fleet.since_s.shape[1]
    usual = _usual(fleet, until_s)
    taken = sum(name.startswith("added-") for name in fleet.names)
    values: dict[str, Any] = {
        "names": (*fleet.names, *(f"added-{taken + i + 1}" for i in range(many))),
        "zones": (*fleet.zones, *(fleet.zones[i % old] for i in range(many))),
        "group": np.append(fleet.group, np.full(many, int(fleet.group.max()) + 1)),
        "weight": np.append(fleet.weight, np.full(many, round(float(np.median(fleet.weight))))),
        "workers": np.append(fleet.workers, np.full(many, added.workers or round(float(np.median(fleet.workers))))),
        "joins_s": np.append(fleet.joins_s, np.zeros(many)),
        "leaves_s": np.append(fleet.leaves_s, np.full(many, inf)),
    }
    since_s = np.full((many, pieces), inf)
    since_s[:, 0] = 0.0
    values["since_s"] = np.concatenate([fleet.since_s, since_s])
    filled = {"speed": usual["speed"] * added.speed, "extra_s": usual["extra_s"], "status": 503, "after_s": 0.001}
    for name in PIECES:
        own = getattr(fleet, name)
        values[name] = np.concatenate([own, np.full((many, pieces), filled.get(name, 0), dtype=own.dtype)])
    for field in fields(fleet):
        if field.name not in values:  # whatever else is said of an endpoint, most of the others have
            own = getattr(fleet, field.name)
            values[field.name] = np.append(own, np.full(many, np.median(own), dtype=own.dtype))
    return Fleet(**values)


def _usual(fleet: Fleet, until_s: float) -> Mapping[str, float]:
    """The median over endpoints of what each had in the mean over its time."""
    ends_s = np.append(fleet.since_s[:, 1:], np.full((len(fleet), 1), inf), axis=1)
    lasts_s = np.maximum(np.minimum(ends_s, until_s) - np.minimum(fleet.since_s, until_s), 0.0)
    lasts_s /= np.maximum(lasts_s.sum(axis=1, keepdims=True), 1e-9)

    def mean(values: Floats) -> float:
        return float(np.median((np.where(lasts_s > 0.0, values, 0.0) * lasts_s).sum(axis=1)))

    return {"speed": mean(fleet.speed), "extra_s": mean(fleet.extra_s)}


def _cut(world: World, start_s: float, end_s: float) -> tuple[World, Span]:
    """The world from a little before one moment to another; times then count from there.

    Without a window the first seconds are run and not judged, since every simulation begins with empty queues.
    """
    if start_s <= 0.0:
        lead_s = min(LEAD_S, 0.2 * end_s)
        chunks = world.chunks if end_s >= world.duration_s else Cut(world.chunks, 0.0, end_s)
        return replace(world, chunks=chunks, duration_s=end_s), Span(lead_s, end_s)
    first_s = max(0.0, start_s - LEAD_S)
    fleet = world.fleet
    moved = replace(
        fleet,
        since_s=np.maximum(fleet.since_s - first_s, 0.0),
        joins_s=np.maximum(fleet.joins_s - first_s, 0.0),
        leaves_s=np.maximum(fleet.leaves_s - first_s, 0.0),
    )
    out = replace(
        world,
        fleet=moved,
        chunks=Cut(world.chunks, first_s, end_s),
        started=world.started + first_s,
        duration_s=end_s - first_s,
    )
    return out, Span(start_s - first_s, end_s - first_s)
