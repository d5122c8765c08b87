"""The engine that simulates nothing: recorded picks weighed for other chances (`models.offpolicy`).

It answers two kinds of question, and only where they hardly move queues: another share of the adaptive arm, by the coin
that decided each request's arm; and other weights by hand, by the picks of static rules that go by weight alone. Where
it may not answer it says why.

Means are doubly robust, with the mean by arm (or endpoint) and route as the direct model, fitted on the other half of
the recording's blocks; quantiles are self-normalised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from dataplane.simulated.fleet import Floats, Ints
from models import offpolicy
from weirflow.recording import Recording
from weirflow.whatif.change import Question
from weirflow.whatif.picked import Picked, coin, picks
from weirflow.whatif.question import Frame
from weirflow.whatif.tally import Interval
from weirflow.whatif.world import World

BLOCK_S = 5.0
MOST_WEIGHT = 50.0
"""No row counts for more: the rest is cut off, and told."""
LEAST_EFFECTIVE = 500.0
"""Rows: fewer say nothing of a p99."""
MOST_CLIPPED = 0.01
MOST_GROWTH = 1.2
"""Of an endpoint's share of picks: more than this moves its queue, and no weighing sees that."""
LITTLE_WAITING = 0.01
"""Of attempts: where so few have waited there are no queues to move."""
MOST_CONTRADICTION = 0.01
"""Of the rows: the picks must be as often as their chances say."""
GOES_BY_WEIGHT = ("random", "round_robin")


@dataclass(frozen=True, slots=True)
class Estimated:
    """An answer. `by`: what chances it rests on; `figures` with intervals, `against` to what was recorded."""

    by: str
    rows: int
    effective: float
    clipped_share: float
    every: int
    figures: Mapping[str, Interval]
    against: Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class Declined:
    """No answer, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Holdout:
    """What the coin says of the arms: every request under adaptive rules, under static rules, and the difference."""

    rows: int
    adaptive: Mapping[str, Interval]
    static: Mapping[str, Interval]
    difference: Mapping[str, Interval]  # adaptive less static


def estimate(recording: Recording, frame: Frame, world: World, question: Question) -> Estimated | Declined:
    """Answer a question, or say why not."""
    if replace(question, name="", start_s=0.0, end_s=inf) == Question():
        return Declined("what other policies would have picked has no recorded chance")
    if not question.about_picks_alone:
        return Declined("the question changes more than who is picked: load, endpoints, speeds or limits move queues")
    if question.share_percent is not None and question.weights:
        return Declined(
            "the question changes the share and the weights at once, and each pick had but one known chance"
        )
    if question.share_percent is not None:
        rows = coin(recording, frame).charged(_patience_s(world)).between(question.start_s, question.end_s)
        share = question.share_percent / 100.0
        wanted = np.tile([1.0 - share, share], (len(rows), 1))
        return _answer(rows, wanted, "the coin of the arms, exact", world, growth=_growth_of_share(rows, wanted))
    if world.rules.policy not in GOES_BY_WEIGHT:
        return Declined(
            f"the static rules picked by {world.rules.policy}, whose picks follow queues: the recorded probability is "
            "weight over sum of weights, which is no chance then"
        )
    rows = picks(recording, frame, dict(question.weights)).charged(_patience_s(world))
    rows = rows.between(question.start_s, question.end_s)
    return _answer(rows, rows.wanted, f"the weights in force under {world.rules.policy}", world, growth=_growth(rows))


def holdout(recording: Recording, frame: Frame, world: World) -> Holdout | Declined:
    """Both arms, each as if it had served everything. Both met the same queues, so it is no forecast of 100 %."""
    rows = coin(recording, frame).charged(_patience_s(world))
    refusal = _refusal(rows)
    if refusal:
        return Declined(refusal)
    block = _block(rows)
    by_arm: list[tuple[Floats, Mapping[str, Interval]]] = []
    for arm in (0, 1):
        weighed = offpolicy.weighed(rows.chance, (rows.action == arm).astype(np.float64), MOST_WEIGHT)
        if weighed.effective < LEAST_EFFECTIVE:
            name = ("static", "adaptive")[arm]
            return Declined(f"the {name} arm served too few requests: worth {weighed.effective:.0f} rows, "
                            f"{LEAST_EFFECTIVE:.0f} are needed")  # fmt: skip
        wanted = np.tile([1.0 - arm, float(arm)], (len(rows), 1))
        by_arm.append((weighed.weight, _figures(rows, weighed.weight, wanted, block)))
    (of_static, static), (of_adaptive, adaptive) = by_arm
    differences = {
        name: _interval(offpolicy.difference(y, of_adaptive, of_static, block))
        for name, y in (("mean_s", rows.took_s), ("failed", rows.failed))
    }
    return Holdout(len(rows), adaptive, static, differences)


def _answer(rows: Picked, wanted: Floats, by: str, world: World, growth: float) -> Estimated | Declined:
    refusal = _refusal(rows)
    if refusal:
        return Declined(refusal)
    asked = wanted[np.arange(len(rows)), rows.action]
    weighed = offpolicy.weighed(rows.chance, asked, MOST_WEIGHT)
    if weighed.effective < LEAST_EFFECTIVE:
        worth = f"the {len(rows)} rows are worth {weighed.effective:.0f} for this question"
        return Declined(f"too little overlap: {worth}, and {LEAST_EFFECTIVE:.0f} are needed")
    if weighed.clipped_share > MOST_CLIPPED:
        return Declined(f"too little overlap: {weighed.clipped_share:.1%} of the weight is on rows that stand for more "
                        f"than {MOST_WEIGHT:g}")  # fmt: skip
    waited = float(np.average(world.trust.waited_share, weights=np.maximum(world.trust.attempts, 1)))
    if growth > MOST_GROWTH and waited > LITTLE_WAITING:
        return Declined(f"an endpoint would get {growth:.2f} times its picks, and {waited:.1%} of attempts waited: its "
                        "queue would be another")  # fmt: skip
    block = _block(rows)
    even = np.ones(len(rows))
    against = {}
    for name, y in (("mean_s", rows.took_s), ("failed", rows.failed)):
        apart = offpolicy.difference(y, weighed.weight, even, block)
        scale = float(y.mean()) if name == "mean_s" else 1.0
        against[name] = _interval(apart, scale)
    figures = _figures(rows, weighed.weight, wanted, block)
    return Estimated(by, len(rows), weighed.effective, weighed.clipped_share, rows.every, figures, against)


def _patience_s(world: World) -> float:
    return max(r.timeout_s for r in world.rules.routes)


def _refusal(rows: Picked) -> str:
    """Why no weighing of these rows can be believed; "" when it can."""
    if len(rows) == 0:
        return "no recorded pick has a chance that is known and below 1"
    apart = 0.0
    for action in np.unique(rows.action).tolist():
        mine = rows.action == action
        # Each row taken, over its chance, stands for one row that could have been: they have to add up to all.
        apart = max(apart, abs(float((mine / rows.chance).sum()) / len(rows) - 1.0) * float(mine.mean()))
    noise = 4.0 * 0.5 / np.sqrt(len(rows))
    if apart > MOST_CONTRADICTION + noise:
        return f"picks were not as often as their chances say: {apart:.1%} apart"
    return ""


def _figures(rows: Picked, weight: Floats, wanted: Floats, block: Ints) -> dict[str, Interval]:
    out = {}
    for name, y in (("mean_s", rows.took_s), ("failed", rows.failed)):
        fitted, expected = _modelled(rows, y, wanted, block)
        out[name] = _interval(offpolicy.doubly_robust(y, weight, fitted, expected, block))
        out[f"{name}_ips"] = _interval(offpolicy.self_normalised(y, weight, block))
    for name, q in (("p50_s", 0.5), ("p90_s", 0.9), ("p99_s", 0.99)):
        out[name] = _interval(offpolicy.quantile(rows.took_s, weight, q, block))
    return out


def _modelled(rows: Picked, y: Floats, wanted: Floats, block: Ints) -> tuple[Floats, Floats]:
    """What the direct model says of each row's own action, and of the wanted ones in the mean."""
    fold = block % 2
    classes = int(rows.klass.max()) + 1
    model = offpolicy.direct(y, rows.action, rows.klass, fold, wanted.shape[1], classes)
    return model[fold, rows.action, rows.klass], np.einsum("na,na->n", wanted, model[fold, :, rows.klass])


def _growth(rows: Picked) -> float:
    """The most that an endpoint's share of the picks grows."""
    if not len(rows):
        return 1.0
    was = np.bincount(rows.action, minlength=rows.wanted.shape[1]) / len(rows)
    will = rows.wanted.mean(axis=0)
    return float(np.max(np.where(was > 0.0, will / np.maximum(was, 1e-12), np.where(will > 0.0, inf, 1.0))))


def _growth_of_share(rows: Picked, wanted: Floats) -> float:
    """The same for the arms: how much more of the traffic one arm would carry. Its picks move with it."""
    if not len(rows):
        return 1.0
    was = np.bincount(rows.action, minlength=2) / len(rows)
    return 1.0 + float(np.abs(wanted.mean(axis=0) - was).max())


def _block(rows: Picked) -> Ints:
    return np.asarray((rows.at_s // BLOCK_S).astype(np.int64) - int(rows.at_s.min() // BLOCK_S))


def _interval(e: offpolicy.Estimate, scale: float = 1.0) -> Interval:
    value, low, high = (None if not np.isfinite(v) else float(v / scale) for v in (e.value, e.low, e.high))
    return Interval(value, low, high)
