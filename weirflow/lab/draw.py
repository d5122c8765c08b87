"""One world of a scenario: the fleet and the work that comes, the same for whoever picks.

All chance is here, and none of it knows the policy, so policies run over one seed differ by what they do. Each kind of
chance has a stream of its own: another number of nodes deals the same requests out anew, another load changes when they
come and not how the antagonists move.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataplane.simulated.fleet import Fleet, Floats, Trace
from weirflow.lab.scenario import Change, Flips, Group, RequestClass, Scenario


def draw(
    scenario: Scenario, random: np.random.Generator, nodes: int, *, time_scale: float = 1.0
) -> tuple[Fleet, Trace]:
    """A fleet and a trace, from this generator alone (made from a seed: it is asked for children).

    Requests come as a Poisson process whose rate is the load of the moment times the members' true capacity at the
    start, over the mean demand; antagonists count there by their mean. Each goes to one of `nodes`, uniformly.
    `time_scale` makes every demand that much longer and requests that much rarer; the moments of the scenario stay.
    ValueError unless there is a node and the scale is positive.
    """
    if nodes < 1 or not 0.0 < time_scale < np.inf:
        raise ValueError(f"a world needs at least one node and a positive time scale, not {nodes} and {time_scale}")
    flipping, coming, of_class, of_demand, of_luck, of_node = random.spawn(6)
    fleet = _fleet(scenario, _flip_paths(scenario, flipping))
    mean_s = time_scale * float(_shares(scenario.classes) @ [c.demand_s for c in scenario.classes])
    at_s = _arrivals(scenario, full_rate(scenario) / mean_s, coming)
    count = len(at_s)
    klass = of_class.choice(len(scenario.classes), size=count, p=_shares(scenario.classes))
    return fleet, Trace.of(
        at_s=at_s,
        node=of_node.integers(nodes, size=count),
        klass=klass,
        demand_s=time_scale * _demands(scenario.classes, klass, of_demand),
        luck=of_luck.random(count),
    )


def full_rate(scenario: Scenario) -> float:
    """Demand seconds a second that a load of 1 offers: the members' capacity at the start, flips at their mean."""
    steady = [_Path.still(float(np.mean(g.flips.factors)) if g.flips else 1.0) for _, _, g in _members(scenario)]
    return float(_fleet(scenario, steady).capacity(0.0).sum())


def end_s(scenario: Scenario) -> float:
    """When the last request may leave."""
    return scenario.warmup_s + scenario.duration_s


@dataclass(frozen=True, slots=True)
class _Path:
    """What an antagonist leaves of an endpoint's speed: `factor[i]` from `since_s[i]` on; the first at 0."""

    since_s: tuple[float, ...]
    factor: tuple[float, ...]

    @classmethod
    def still(cls, factor: float) -> _Path:
        """The same factor always."""
        return cls((0.0,), (factor,))

    @classmethod
    def drawn(cls, flips: Flips, until_s: float, random: np.random.Generator) -> _Path:
        """Begin with any factor, hold it an exponential time, jump to any other, and so on."""
        since_s, state, at_s = [0.0], [int(random.integers(len(flips.factors)))], 0.0
        while len(flips.factors) > 1 and (at_s := at_s + random.exponential(flips.hold_s)) < until_s:
            step = int(random.integers(1, len(flips.factors)))
            since_s.append(at_s)
            state.append((state[-1] + step) % len(flips.factors))
        return cls(tuple(since_s), tuple(flips.factors[s] for s in state))

    def at(self, at_s: float) -> float:
        """The factor in force."""
        return self.factor[int(np.searchsorted(self.since_s, at_s, side="right")) - 1]


def _members(scenario: Scenario) -> list[tuple[int, int, Group]]:
    """Which group each endpoint is of and its place there, in the fleet's order."""
    return [(kind, place, group) for kind, group in enumerate(scenario.groups) for place in range(group.count)]


def _flip_paths(scenario: Scenario, random: np.random.Generator) -> list[_Path]:
    """By endpoint; those of a zone share one where the group flips together."""
    until_s = end_s(scenario) + scenario.timeout_s
    paths: list[_Path] = []
    for group in scenario.groups:
        if group.flips is None:
            paths += [_Path.still(1.0)] * group.count
            continue
        alone = group.flips.together == "endpoint"
        drawn = [_Path.drawn(group.flips, until_s, random) for _ in range(group.count if alone else len(group.zones))]
        paths += [drawn[i % len(drawn)] for i in range(group.count)]
    return paths


def _fleet(scenario: Scenario, paths: list[_Path]) -> Fleet:
    """All groups' endpoints in turn, each with its pieces of time, padded to the longest."""
    kinds, places, groups = zip(*_members(scenario), strict=True)
    pieces = [list(_pieces(group, place, path)) for group, place, path in zip(groups, places, paths, strict=True)]
    longest = max(len(p) for p in pieces)

    def column(key: str, dtype: str, unused: Any) -> Any:
        rows = [[piece[key] for piece in own] + [unused] * (longest - len(own)) for own in pieces]
        return np.array(rows, dtype=dtype)

    return Fleet(
        names=tuple(f"{g.name}-{i}" for g, i in zip(groups, places, strict=True)),
        zones=tuple(g.zones[i % len(g.zones)] for g, i in zip(groups, places, strict=True)),
        group=np.array(kinds, dtype=np.int64),
        weight=np.array([g.weight for g in groups], dtype=np.int64),
        workers=np.array([g.workers for g in groups], dtype=np.int64),
        joins_s=np.array([g.joins_s for g in groups]),
        leaves_s=np.array([g.leaves_s for g in groups]),
        since_s=column("since_s", "f8", np.inf),
        speed=column("speed", "f8", 1.0),
        extra_s=column("extra_s", "f8", 0.0),
        error_share=column("error_share", "f8", 0.0),
        status=column("status", "i8", 503),
        after_s=column("after_s", "f8", 0.0),
        hang=column("hang", "?", False),
    )


def _pieces(group: Group, place: int, path: _Path) -> Iterator[dict[str, Any]]:
    """What holds from when, in order of time. Changes at once add up; of two that fail, the later gives the answer."""
    changes = [c for c in group.changes if c.first is None or place < c.first]
    moments = {0.0, *path.since_s, *(t for c in changes for t in (c.start_s, c.end_s) if 0.0 < t < np.inf)}
    for since_s in sorted(moments):
        now = [c for c in changes if c.start_s <= since_s < c.end_s]
        failing = max((c for c in now if c.error_share), key=lambda c: c.start_s, default=Change(0.0))
        yield {
            "since_s": since_s,
            "speed": group.speed * path.at(since_s) * float(np.prod([c.speed for c in now])),
            "extra_s": sum(c.extra_s for c in now),
            "error_share": 1.0 - float(np.prod([1.0 - c.error_share for c in now])),
            "status": failing.status,
            "after_s": failing.after_s,
            "hang": any(c.hang for c in now),
        }


def _arrivals(scenario: Scenario, rate: float, random: np.random.Generator) -> Floats:
    """Sorted times of a Poisson process with a stepped rate: uniform in expected count, then turned into time."""
    steps = sorted((s for s in scenario.load_steps if s.at_s < end_s(scenario)), key=lambda s: s.at_s)
    edges = np.array([0.0, *(max(s.at_s, 0.0) for s in steps), end_s(scenario)])
    rates = rate * scenario.load * np.array([1.0, *(s.factor for s in steps)])
    expected = np.concatenate([[0.0], np.cumsum(rates * np.diff(edges))])
    count = random.poisson(expected[-1])
    return np.asarray(np.interp(np.sort(random.random(count)) * expected[-1], expected, edges), dtype=np.float64)


def _shares(classes: tuple[RequestClass, ...]) -> Floats:
    shares = np.array([c.share for c in classes], dtype=np.float64)
    return np.asarray(shares / shares.sum())  # 0.95 + 0.05 need not be 1 to the last bit


def _demands(classes: tuple[RequestClass, ...], klass: Any, random: np.random.Generator) -> Floats:
    """Gamma of each class's mean and variation, at speed 1; the mean itself where there is no variation."""
    mean_s = np.array([c.demand_s for c in classes])[klass]
    variation = np.array([c.variation for c in classes])[klass]
    shape = 1.0 / np.maximum(variation, 1e-6) ** 2
    return np.asarray(np.where(variation > 0.0, random.standard_gamma(shape) / shape, 1.0) * mean_s)
