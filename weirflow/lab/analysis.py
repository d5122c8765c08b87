"""What the runs of several seeds tell together: medians, intervals, regret, and Weirflow against each peer.

Every policy of a seed ran over the same world, so two are compared seed by seed. The value told is the median over
seeds. The 95 % interval is Student's t over the seeds, of logarithms for times and ratios (they are positive and
skewed): it is of the geometric mean, which for few seeds is near the median, and is absent with fewer than two.

Regret is p99 over the lower p99 of the two oracles (one queue for all; full-information JSED) of the same world, less
1. Runs that the lab refused are listed, and enter no figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from brain.proof import student
from dataplane.simulated.fleet import Fate, Fleet, Floats, Trace
from weirflow.lab.figures import Told, judged_phase, quantile, told, trouble_of
from weirflow.lab.run import BOUNDS, POLICIES, SIMULATED, Run
from weirflow.lab.scenario import Scenario

Bounds = Mapping[str, Callable[[Fleet, Trace, float], Fate]]
"""A bound's fate of each request, from the fleet, the trace and the client's timeout in seconds."""

ORACLES = ("central_queue", "jsed")
OURS = "weirflow"
SERIES_STEP_S = 2.0
ORDER = [*POLICIES, *SIMULATED, *BOUNDS]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Median over seeds, with the 95 % interval. `low` and `high` are None with fewer than two seeds."""

    value: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Iterable[float | None], *, log: bool = True) -> Estimate | None:
        """None when no seed has a figure. `log`: the interval is of logarithms; all have to be positive."""
        seen = np.array([v for v in values if v is not None and np.isfinite(v)])
        if not len(seen):
            return None
        if len(seen) < 2 or (log and np.any(seen <= 0.0)):
            return cls(float(np.median(seen)), None, None)
        x = np.log(seen) if log else seen
        reach = _student(len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
        low, high = x.mean() - reach, x.mean() + reach
        return cls(float(np.median(seen)), *map(float, (np.exp(low), np.exp(high)) if log else (low, high)))

    def less(self, amount: float) -> Estimate:
        """The same, moved down."""
        moved = [None if v is None else v - amount for v in (self.low, self.high)]
        return Estimate(self.value - amount, *moved)


def _student(freedom: int) -> float:
    """Two-sided 95 % quantile. The expansion is too narrow for the first three."""
    exact = {1: 12.706, 2: 4.303, 3: 3.182}
    return exact.get(freedom) or float(student(np.array([float(freedom)]))[0])


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Latency over time, of all seeds together: requests by the time they were meant to leave. NaN: too few."""

    at_s: Floats  # (T,) middle of each window
    p50_s: Floats  # (T,)
    p99_s: Floats  # (T,)


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One policy, or one bound, over the seeds of a case."""

    policy: str
    runs: tuple[Told, ...]
    p50_s: Estimate | None
    p99_s: Estimate | None
    p999_s: Estimate | None
    mean_s: Estimate | None
    error_percent: Estimate | None
    good_per_s: Estimate | None
    regret: Estimate | None
    ratio: Estimate | None  # Weirflow's p99 over this one's, seed by seed
    share: Floats  # (E,) mean over seeds
    series: Series

    def median(self, figure: Callable[[Told], float | None]) -> float | None:
        """Of a figure over the seeds that have it."""
        seen = [v for v in map(figure, self.runs) if v is not None and np.isfinite(v)]
        return float(np.median(seen)) if seen else None


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A scenario on an engine with a number of nodes. `example` is a run whose weights and fleet a plot can show."""

    scenario: Scenario
    engine: str
    nodes: int
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]  # policies, then bounds
    true_share: Floats  # (E,) of capacity, over the judged phase
    example: Run
    refused: tuple[Run, ...]

    def row(self, policy: str) -> Row | None:
        """That policy's, None when no run of it can be told."""
        return next((r for r in self.rows if r.policy == policy), None)


def analyse(runs: Sequence[Run], bounds: Bounds | None = None) -> list[Case]:
    """A case for each scenario, engine and number of nodes, in the order in which they were run.

    One run for each seed and policy; of two the later counts. Bounds are those of `weirflow.lab.bounds` by default.
    """
    cases: dict[tuple[str, str, int], list[Run]] = {}
    for run in runs:
        cases.setdefault((run.scenario.name, run.engine, run.nodes), []).append(run)
    return [_case(own, _shipped() if bounds is None else bounds) for own in cases.values()]


@cache
def _shipped() -> Bounds:
    from weirflow.lab import bounds  # late: it compiles, and who lists scenarios need not wait

    return {name: getattr(bounds, name) for name in BOUNDS}


def _case(runs: Sequence[Run], bounds: Bounds) -> Case:
    scenario = runs[0].scenario
    refused = tuple(r for r in runs if r.refused)
    sound = {(r.policy, r.seed): r for r in runs if not r.refused and r.policy not in bounds}
    worlds = {r.seed: r for r in sound.values()}
    limits = [
        (policy, seed, bound(run.fleet, run.trace, scenario.timeout_s))
        for policy, bound in bounds.items()
        for seed, run in sorted(worlds.items())
    ]
    fates = [(r.policy, r.seed, r.fate) for r in sound.values()] + limits
    all_told = {
        (policy, seed): told(
            scenario,
            policy,
            seed,
            worlds[seed].fleet,
            worlds[seed].trace,
            fate,
            sound[policy, seed].weights if (policy, seed) in sound else None,
            sound[policy, seed].incidents if (policy, seed) in sound else None,
        )
        for policy, seed, fate in fates
    }
    pooled = {
        name: _series(scenario, [(worlds[seed].trace, fate) for policy, seed, fate in fates if policy == name])
        for name in {policy for policy, _, _ in fates}
    }
    rows = tuple(_row(name, all_told, pooled[name]) for name in sorted(pooled, key=_place))
    example = next((r for r in sound.values() if r.policy == OURS and r.weights), next(iter(sound.values()), runs[0]))
    true_share = np.mean(
        [_true_share(scenario, r.fleet) for r in worlds.values()] or [_true_share(scenario, example.fleet)], axis=0
    )
    return Case(scenario, example.engine, example.nodes, tuple(sorted(worlds)), rows, true_share, example, refused)


def _place(policy: str) -> tuple[int, str]:
    """Policies in the order in which they are listed, those unknown last."""
    return (ORDER.index(policy) if policy in ORDER else len(ORDER), policy)


def _row(policy: str, all_told: Mapping[tuple[str, int], Told], series: Series) -> Row:
    own = tuple(t for (name, _), t in sorted(all_told.items(), key=lambda i: i[0][1]) if name == policy)
    against = [all_told.get((OURS, t.seed)) for t in own]
    oracle = [_oracle_s(all_told, t.seed) for t in own]
    regret = Estimate.of(_over(t.judged.p99_s, o) for t, o in zip(own, oracle, strict=True))
    ratios = (_over(ours.judged.p99_s, t.judged.p99_s) if ours else None for ours, t in zip(against, own, strict=True))
    return Row(
        policy,
        own,
        p50_s=Estimate.of(t.judged.p50_s for t in own),
        p99_s=Estimate.of(t.judged.p99_s for t in own),
        p999_s=Estimate.of(t.judged.p999_s for t in own),
        mean_s=Estimate.of(t.judged.mean_s for t in own),
        error_percent=Estimate.of((t.judged.error_percent for t in own), log=False),
        good_per_s=Estimate.of((t.judged.good_per_s for t in own), log=False),
        regret=regret.less(1.0) if regret and policy not in ORACLES else None,
        ratio=Estimate.of(ratios) if policy != OURS else None,
        share=np.mean([t.share for t in own], axis=0),
        series=series,
    )


def _over(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _oracle_s(all_told: Mapping[tuple[str, int], Told], seed: int) -> float | None:
    """The better oracle's p99 of that seed's world."""
    seen = [all_told[name, seed].judged.p99_s for name in ORACLES if (name, seed) in all_told]
    return min(seen) if seen else None


def _series(scenario: Scenario, fates: Sequence[tuple[Trace, Fate]]) -> Series:
    at_s = np.concatenate([trace.at_s for trace, _ in fates])
    felt_s = np.concatenate([np.where(f.ok, f.latency_s, scenario.timeout_s) for _, f in fates])
    edges = np.arange(0.0, scenario.warmup_s + scenario.duration_s + SERIES_STEP_S, SERIES_STEP_S)
    order = np.argsort(at_s, kind="stable")
    windows = np.split(felt_s[order], np.searchsorted(at_s[order], edges[1:-1]))
    p50, p99 = ([quantile(w, q) for w in windows] for q in (0.5, 0.99))
    return Series(edges[:-1] + SERIES_STEP_S / 2, np.array(p50), np.array(p99))


def _true_share(scenario: Scenario, fleet: Fleet) -> Floats:
    """Of the capacity over the judged phase, by endpoint; zeros where there is none."""
    phase = judged_phase(scenario)
    capacity = np.mean(
        [fleet.capacity(t) for t in np.linspace(phase.start_s, phase.end_s, 200, endpoint=False)], axis=0
    )
    return np.asarray(capacity / max(capacity.sum(), 1e-12))


def kinds(case: Case) -> Iterator[tuple[str, list[int]]]:
    """Endpoints alike, by a name for people: the group, and which of it go wrong when not all do."""
    trouble = trouble_of(case.scenario)
    for g, group in enumerate(case.scenario.groups):
        own = np.flatnonzero(case.example.fleet.group == g)
        bad = trouble.bad[own] if trouble else np.zeros(len(own), dtype=bool)
        if bad.any() and not bad.all():
            yield f"{group.name}, to go wrong", own[bad].tolist()
            own = own[~bad]
        yield group.name, own.tolist()
