"""What one run tells: latencies as users felt them, errors, and where the requests went.

A request that failed counts with the scenario's timeout, in every quantile and mean: a policy cannot look fast by
failing. So where more than one in a hundred fails, p99 is the timeout, and the error share is what to read.

Where a scenario has a latency goal there is no more to be had than `bound_per_s`: what is asked, or what the endpoints
bear where that is less, second by second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataplane.simulated.fleet import Bools, Fate, Fleet, Floats, Trace
from weirflow.lab.draw import end_s
from weirflow.lab.run import Seen, Weights
from weirflow.lab.scenario import Phase, Scenario

DIVERTED = 0.2
"""Of an even share: who gets less than this is diverted from. Weirflow's floor and its holdout together are half."""
DIVERT_WINDOW_S = 1.0
RETURNED = 0.8
"""Of the share before the fault: who gets this much is back."""
RETURN_WINDOW_S = 3.0
STEP_S = 0.1


@dataclass(frozen=True, slots=True)
class Figures:
    """Of some requests. Seconds; NaN where there are too few: a quantile q needs 1 / (1 - q) requests."""

    requests: int
    p50_s: float
    p99_s: float
    p999_s: float
    mean_s: float
    error_percent: float
    good_per_s: float  # goodput: good answers a second
    good_p99_s: float  # of good answers alone: who fails much looks fast by it
    in_time_percent: float  # of those asked
    in_time_per_s: float  # good answers a second that came within the latency goal; all of them where there is none
    refused_percent: float  # answered 503 by a proxy, without any endpoint

    @classmethod
    def of(cls, felt_s: Floats, ok: Bools, refused: Bools, lasts_s: float, goal_s: float = np.inf) -> Figures:
        """Figures of these requests, which were to leave within `lasts_s`."""
        n = len(felt_s)
        p50, p99, p999 = (quantile(felt_s, q) for q in (0.5, 0.99, 0.999))
        mean = float(felt_s.mean()) if n else np.nan
        errors = 100.0 * float(1.0 - ok.mean()) if n else np.nan
        return cls(
            n,
            p50,
            p99,
            p999,
            mean,
            errors,
            good_per_s=float(ok.sum()) / lasts_s,
            good_p99_s=quantile(felt_s[ok], 0.99),
            in_time_percent=100.0 * float((ok & (felt_s <= goal_s)).mean()) if n else np.nan,
            in_time_per_s=float((ok & (felt_s <= goal_s)).sum()) / lasts_s,
            refused_percent=100.0 * float(refused.mean()) if n else np.nan,
        )


def quantile(values: Floats, q: float) -> float:
    """NaN where there are too few values for it to be seen."""
    return float(np.quantile(values, q)) if len(values) * (1.0 - q) >= 1.0 else np.nan


@dataclass(frozen=True, slots=True)
class Trouble:
    """The first fault that begins within the run at some endpoints and not at all of them."""

    start_s: float
    end_s: float
    bad: Bools  # (E,)


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """All that one run tells, of a policy or a bound. None: nothing went wrong, or it never came."""

    policy: str
    seed: int
    judged: Figures
    phases: Mapping[str, Figures]
    classes: Mapping[str, Figures]  # of the judged phase, where there is more than one class
    share: Floats  # (E,) of the judged phase's requests
    bad_percent: float | None = None  # of the judged phase's requests went to the bad endpoints
    divert_s: float | None = None  # from the fault's begin to the first second in which few go to the bad ones
    return_s: float | None = None  # from its end to the first three seconds in which enough do
    avoided_percent: float | None = None  # of the failures that an even split would have met in the judged phase
    changes_per_minute: float | None = None  # of weights in force
    entropy: float | None = None  # of weights in force, over that of equal ones, mean
    incidents: int | None = None  # that the brain opened after the warm-up; None: nobody looked for any
    found_s: float | None = None  # from the fault's begin to the first of them that was open after it
    cause: str = ""  # its first cause when the fault ended, or at the end of the run
    bound_per_s: float | None = None  # no more can be answered a second; only where there is a latency goal


def told(
    scenario: Scenario,
    policy: str,
    seed: int,
    fleet: Fleet,
    trace: Trace,
    fate: Fate,
    weights: Weights | None = None,
    incidents: Sequence[Seen] | None = None,
) -> Told:
    """Everything about one run."""
    felt_s = np.where(fate.ok, fate.latency_s, scenario.timeout_s)
    judged = judged_phase(scenario)
    inside = _inside(trace, judged)
    trouble = trouble_of(scenario)
    divert_s = _divert_s(trouble, fleet, trace, fate) if trouble else None
    return Told(
        policy,
        seed,
        judged=_figures(felt_s, fate, trace, judged, scenario.latency_goal_s),
        phases={p.name: _figures(felt_s, fate, trace, p, scenario.latency_goal_s) for p in scenario.phases},
        classes=_by_class(scenario, felt_s, fate, trace, judged) if len(scenario.classes) > 1 else {},
        share=_share(fleet, fate, inside),
        bad_percent=_bad_percent(trouble, fate, inside) if trouble else None,
        divert_s=divert_s,
        return_s=_return_s(trouble, scenario, trace, fate) if trouble and divert_s is not None else None,
        avoided_percent=_avoided_percent(fleet, trace, fate, inside),
        changes_per_minute=_changes_per_minute(weights) if weights else None,
        entropy=_entropy(weights) if weights else None,
        **_watched(scenario, incidents),
        bound_per_s=None if scenario.latency_goal_s is None else bound_per_s(fleet, trace, judged),
    )


def _watched(scenario: Scenario, seen: Sequence[Seen] | None) -> dict[str, Any]:
    """What the brain told people: incidents that began after the warm-up, when the first came, and what it said."""
    if seen is None:
        return {}
    before = {i.id for i in seen if i.at_s < scenario.warmup_s}
    new = [i for i in seen if i.id not in before]
    out: dict[str, Any] = {"incidents": len({i.id for i in new})}
    struck = struck_s(scenario)
    if struck is None:
        return out | {"cause": new[-1].cause if new else ""}
    start_s, end_s = struck
    during = [i for i in new if start_s <= i.at_s < end_s]
    return out | ({"found_s": during[0].at_s - start_s, "cause": during[-1].cause} if during else {})


def struck_s(scenario: Scenario) -> tuple[float, float] | None:
    """When something first goes wrong after the warm-up, or the load steps, and until when. None: nothing does.

    A load that steps more than once is at its last step what it was.
    """
    ends = scenario.warmup_s + scenario.duration_s
    changes = [(c.start_s, min(c.end_s, ends)) for g in scenario.groups for c in g.changes]
    steps = [s.at_s for s in scenario.load_steps if s.at_s >= scenario.warmup_s]
    loads = [(min(steps), max(steps) if len(steps) > 1 else ends)] if steps else []
    return min(((a, b) for a, b in changes + loads if a >= scenario.warmup_s), default=None)


def bound_per_s(fleet: Fleet, trace: Trace, phase: Phase) -> float:
    """What is asked or, where that is less, what the endpoints bear, second by second: the mean over the phase."""
    begins = np.arange(phase.start_s, phase.end_s)
    asked = np.diff(np.searchsorted(trace.at_s, np.append(begins, phase.end_s)))
    lasts_s = np.minimum(1.0, phase.end_s - begins)
    mean_s = float(trace.demand_s.mean()) if len(trace) else 1.0
    borne = np.array([float(fleet.capacity(t).sum()) for t in begins + lasts_s / 2]) / mean_s * lasts_s
    return float(np.minimum(asked, borne).sum()) / (phase.end_s - phase.start_s)


def judged_phase(scenario: Scenario) -> Phase:
    """The stretch whose figures are compared."""
    named = {p.name: p for p in scenario.phases}
    return named.get(scenario.judged, Phase("", scenario.warmup_s, end_s(scenario)))


def trouble_of(scenario: Scenario) -> Trouble | None:
    """What to time: the earliest change after the start. None when it strikes all, or those who come with it."""
    members = [(g, i) for g in scenario.groups for i in range(g.count)]
    starts = {c.start_s: c.end_s for g in scenario.groups for c in g.changes if c.start_s > g.joins_s}
    if not starts:
        return None
    first = min(starts)
    bad = np.array(
        [
            any(c.start_s == first > g.joins_s and (c.first is None or i < c.first) for c in g.changes)
            for g, i in members
        ]
    )
    return None if bad.all() else Trouble(first, starts[first], bad)


def _inside(trace: Trace, phase: Phase) -> Bools:
    return np.asarray((trace.at_s >= phase.start_s) & (trace.at_s < phase.end_s))


def _figures(
    felt_s: Floats, fate: Fate, trace: Trace, phase: Phase, goal_s: float | None, also: Bools | bool = True
) -> Figures:
    rows = _inside(trace, phase) & also
    refused = (fate.status == 503) & (fate.endpoint < 0)
    goal = np.inf if goal_s is None else goal_s
    return Figures.of(felt_s[rows], fate.ok[rows], refused[rows], phase.end_s - phase.start_s, goal)


def _by_class(scenario: Scenario, felt_s: Floats, fate: Fate, trace: Trace, phase: Phase) -> dict[str, Figures]:
    goal_s = scenario.latency_goal_s
    return {
        c.name: _figures(felt_s, fate, trace, phase, goal_s, trace.klass == i) for i, c in enumerate(scenario.classes)
    }


def _share(fleet: Fleet, fate: Fate, rows: Bools) -> Floats:
    """Of those requests whose endpoint is known. NaN when none is."""
    known = rows & (fate.endpoint >= 0)
    counts = np.bincount(fate.endpoint[known], minlength=len(fleet))
    return np.asarray(counts / counts.sum() if known.any() else np.full(len(fleet), np.nan))


def _went_to_bad(trouble: Trouble, fate: Fate) -> tuple[Bools, Bools]:
    """Whose endpoint is known, and of those who went to a bad one.

    Real endpoints name themselves in the answer: where none came (status 0, or the proxy's 504), one hung, so it was a
    bad one. Without this a policy would look diverted from what swallows all it is sent.
    """
    swallowed = (fate.endpoint < 0) & np.isin(fate.status, (0, 504))
    known = (fate.endpoint >= 0) | swallowed
    return known, np.asarray((trouble.bad[fate.endpoint] | swallowed)[known])


def _window_shares(trouble: Trouble, trace: Trace, fate: Fate, start_s: float, end_s: float, width_s: float) -> Floats:
    """Share of the bad endpoints in windows that begin every `STEP_S` from `start_s`. NaN in an empty one."""
    known, bad = _went_to_bad(trouble, fate)
    at_s = trace.at_s[known]
    begins = np.arange(start_s, end_s - width_s + 1e-9, STEP_S)
    low, high = np.searchsorted(at_s, begins), np.searchsorted(at_s, begins + width_s)
    upto = np.concatenate([[0], np.cumsum(bad)])
    with np.errstate(invalid="ignore"):
        return np.asarray((upto[high] - upto[low]) / (high - low), dtype=np.float64)


def _bad_percent(trouble: Trouble, fate: Fate, rows: Bools) -> float | None:
    known, bad = _went_to_bad(trouble, fate)
    own = bad[rows[known]]
    return 100.0 * float(own.mean()) if len(own) else None


def _first(hits: Bools) -> float | None:
    found = np.flatnonzero(hits)
    return float(found[0] * STEP_S) if len(found) else None


def _divert_s(trouble: Trouble, fleet: Fleet, trace: Trace, fate: Fate) -> float | None:
    members = (fleet.joins_s <= trouble.start_s) & (fleet.leaves_s > trouble.start_s)
    few = DIVERTED * trouble.bad.sum() / max(members.sum(), 1)
    end_s = min(trouble.end_s, float(trace.at_s[-1]) if len(trace) else 0.0)
    return _first(_window_shares(trouble, trace, fate, trouble.start_s, end_s, DIVERT_WINDOW_S) < few)


def _return_s(trouble: Trouble, scenario: Scenario, trace: Trace, fate: Fate) -> float | None:
    before = _bad_percent(trouble, fate, _inside(trace, Phase("", scenario.warmup_s, trouble.start_s)))
    if before is None or trouble.end_s >= end_s(scenario):
        return None
    enough = RETURNED * before / 100.0
    return _first(_window_shares(trouble, trace, fate, trouble.end_s, end_s(scenario), RETURN_WINDOW_S) >= enough)


def _avoided_percent(fleet: Fleet, trace: Trace, fate: Fate, rows: Bools) -> float | None:
    """None when no endpoint fails requests in that time."""
    at_s = trace.at_s[rows]
    grid = np.linspace(at_s[0], at_s[-1], 200) if len(at_s) else np.zeros(0)
    member = (fleet.joins_s[:, None] <= grid) & (grid < fleet.leaves_s[:, None])
    fails = np.array([fleet.error_share[np.arange(len(fleet)), fleet.piece(t)] for t in grid]).reshape(-1, len(fleet)).T
    even = float((fails * member).sum() / max(member.sum(), 1))
    return 100.0 * (1.0 - float(1.0 - fate.ok[rows].mean()) / even) if even > 0.0 else None


def _changes_per_minute(weights: Weights) -> float | None:
    if len(weights.at_s) < 2:
        return None
    changed = np.any(np.abs(np.diff(weights.share, axis=0)) > 1e-9, axis=1).sum()
    return float(changed / (weights.at_s[-1] - weights.at_s[0]) * 60.0)


def _entropy(weights: Weights) -> float | None:
    if not weights.share.size or weights.share.shape[1] < 2:
        return None
    logs = np.log(np.where(weights.share > 0, weights.share, 1.0))
    return float(-(weights.share * logs).sum(axis=1).mean() / np.log(weights.share.shape[1]))
