"""Which model decides: one decides, others learn beside it in the shadow, and every change of hands is watched.

Models are compared by how well they foresee latency (`brain.scores`): by the logarithm of the ratio of two models'
errors, block by block. Both had the same attempts, so what was hard for both cancels.

* Promotion. A challenger takes over when its whole interval says that it is better by a margin.
* Drift. When the deciding model's error, against that of the simple one, leaves its own history (`brain.drift`), the
  simple one decides: it has no memory to be wrong with. The drifted one is made anew, learns in the shadow, and comes
  back when it does as well against the simple one as it did before.
* Watch. A small error is not a good split of traffic, so the proof has the last word. From a change of hands on the
  holdout's evidence starts anew; when it proves a loss within `watch_s`, or a gain below what was proven before, the
  model before comes back, and the other is barred for `BARRED_S`.

A model here is all that tells capacities, lanes and latencies of one mesh (`Model`); `brain.learners` is one, and
`brain.own` makes one of an operator's own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from brain.alerts import Condition
from brain.drift import BOUND, Drift
from brain.fading import FadingMean
from brain.learners import Learners
from brain.own import OwnLearners
from brain.ranking import ModelView, Ranking
from brain.scores import Scores
from brain.settings import OURS
from brain.simple import SimpleLearners
from dataplane.contract import Requests
from models.base import known_or

if TYPE_CHECKING:
    from brain.decision import GainView
    from brain.settings import Settings
    from dataplane.contract import Telemetry, Topology
    from features.columns import Features
    from models.base import Floats, Ints, Prediction, State

FIRST, FALLBACK = OURS
LEAST_BLOCKS = 24.0
"""Two minutes before a challenger may take over."""
EVIDENCE_HALF_LIFE_S = 600.0
MARGIN = math.log(1.05)
"""A challenger must surely be better by more than this log ratio, or looking again and again would promote an equal one
some day. A model that drifted comes back when it is surely not worse, by more than this, than it was before: it need
not beat the simple one, which foresees steady traffic well and knows nothing of what traffic would do elsewhere."""
BARRED_S = 3600.0
"""For so long a model that was taken back may not come again by itself."""
BY_CHANCE = 0.025
"""Of the services that gain nothing, as many prove a loss by chance at any time."""


class Model(Protocol):
    """All that is learned of one topology's endpoints. Arrays have a row per endpoint slot unless said."""

    def learn(self, features: Features, service_of: Ints, now: float) -> None:
        """Take a tick's features in."""

    def capacities(self) -> Prediction:
        """Attempts a second that each bears."""

    def service_times(self) -> Prediction:
        """Seconds of an average request at an idle endpoint."""

    def lanes(self) -> Floats:
        """Requests worked on at once, by service slot; NaN when not known."""

    def expected_s(self, found: Floats) -> Floats:
        """Mean latency of an attempt that finds so many others there; NaN when not known."""

    def moved(self, topology: Topology) -> None:
        """Have room for this topology."""

    def state(self, topology: Topology) -> State:
        """Plain arrays by name and address."""

    def restore(self, state: State, topology: Topology) -> None:
        """Take up a state. ValueError, and unchanged, when it is not of this model."""


Make = Callable[["Topology", "Settings"], Model]
Roster = Mapping[str, Make]

ROSTER: Roster = {FIRST: Learners, FALLBACK: SimpleLearners}
"""Every model of ours, by name."""

_DECIDER = re.compile(r"model .*?(\S+) decides")


def said_to_decide(note: str) -> str:
    """Who decides from now on, by a note of a Decision; "" when it tells of no change of hands."""
    found = _DECIDER.match(note)
    return found[1] if found else ""


class Champion:
    """The models of one mesh, ours and those in `own`. As a `Model` it is the one that decides."""

    def __init__(self, topology: Topology, settings: Settings, own: Roster | None = None) -> None:
        self.deciding = self.preferred = FIRST  # the preferred one is who decides unless it drifted
        self.previous = ""  # who comes back when the deciding one loses; "" once the watch is over
        self.barred: dict[str, float] = {}  # by name: until when
        self._watched_until = -math.inf
        self._before: dict[int, GainView] = {}  # gains by service at the change of hands
        self._as_before = 0.0  # log ratio of the preferred one's error to the simple one's before it drifted
        self._roster, self._topology, self._settings = {**ROSTER, **(own or {})}, topology, settings
        self._seats: dict[str, Model] = {}
        self._contest, self._drift = FadingMean(), Drift()
        self._news: list[str] = []  # what is to be said at the next judgement
        self._scores = Scores(topology.endpoint_slots)
        self._ranking = Ranking()
        self._open = np.zeros(topology.endpoint_slots)  # requests open at the last tick
        self._seat()

    # As the model that decides.

    def capacities(self) -> Prediction:
        """Of the model that decides."""
        return self._seats[self.deciding].capacities()

    def service_times(self) -> Prediction:
        """Of the model that decides."""
        return self._seats[self.deciding].service_times()

    def lanes(self) -> Floats:
        """Of the model that decides."""
        return self._seats[self.deciding].lanes()

    def told(self, batch: Telemetry) -> None:
        """Note how long attempts took: the truth that all are scored against."""
        if isinstance(batch, Requests):
            self._scores.told(batch)
            for model in self._seats.values():
                if isinstance(model, OwnLearners):
                    model.told(batch)

    def learn(self, features: Features, service_of: Ints, now: float) -> None:
        """Score what each model says of the attempts that came, then let all learn from them."""
        before, self._open = self._open, known_or(features.endpoints.in_flight, 0.0)
        found = (before + self._open) / 2 if before.shape == self._open.shape else self._open
        with np.errstate(divide="ignore", invalid="ignore"):  # rows that nothing is known of yet
            expected_s = {name: model.expected_s(found) for name, model in self._seats.items()}
        # Only where all expect something does anybody count: one of somebody's own that is silent must not blind ours.
        for name in [n for n, e in expected_s.items() if n not in ROSTER and not np.isfinite(e).any()]:
            del expected_s[name]
        errors = self._scores.tick(expected_s, now)
        for model in self._seats.values():
            model.learn(features, service_of, now)
        self._let_go(now)
        self._ranking.seated(self._seats, now)
        apart = {name: errors for name, errors in self._scores.apart.items() if name in self._seats}
        self._ranking.came(apart, now, EVIDENCE_HALF_LIFE_S)
        if errors is not None:
            errors = {name: error for name, error in errors.items() if name in self._seats}
            self._ranking.scored(errors, now, EVIDENCE_HALF_LIFE_S)
            if self.deciding in errors:
                self._scored(errors, now)

    def moved(self, topology: Topology) -> None:
        """Have room for this topology."""
        self._topology = topology
        self._scores.resize(topology.endpoint_slots)
        for model in self._seats.values():
            model.moved(topology)

    def configured(self, settings: Settings) -> None:
        """New settings: perhaps another challenger. The models themselves are kept."""
        self._settings = settings
        self._seat()

    # Who decides.

    def contender(self, now: float) -> str:
        """Who may take over by a smaller error; "" for nobody."""
        name = (self._settings.models.challenger or "") if self.deciding == self.preferred else self.preferred
        return name if name in self._seats and name != self.deciding and self.barred.get(name, now) <= now else ""

    def promote(self, name: str | None, now: float) -> None:
        """An operator's order: this model decides, and is watched; None: the one that decides when nobody orders.

        KeyError for one that there is not.
        """
        name = FIRST if name is None else name
        if name not in self._roster:
            near = get_close_matches(name, self._roster, n=1, cutoff=0.4) or sorted(self._roster)
            raise KeyError(f"there is no model {name!r}; did you mean {near[0]!r}?")
        self.barred.pop(name, None)
        if name != self.deciding:
            self._hand_to(name, now)
            self.preferred = name
            self._news.append(f"model {name} decides by command, {self.previous} comes back if it loses")

    def drop(self, name: str, why: str) -> None:
        """This model of somebody's own is let go at the next tick, if it is here."""
        model = self._seats.get(name)
        if isinstance(model, OwnLearners):
            model.dropped = why

    def judge(self, gains: Mapping[int, GainView], now: float) -> tuple[str, ...]:
        """Watch who took over. Returns what changed since the last time; then all evidence for gains starts anew.

        `gains`: by service, of those whose traffic the deciding model splits.
        """
        self.barred = {name: until for name, until in self.barred.items() if until > now}
        if self._news:
            self._before = dict(gains)
        elif self.previous and now >= self._watched_until:
            self.previous = ""
            self._seat()
        elif self.previous and (why := self._loses(gains)):
            bad, self.barred[self.deciding] = self.deciding, now + BARRED_S
            self._hand_to(self.previous, now)
            self.previous, self.preferred = "", self.deciding if self.preferred == bad else self.preferred
            self._news.append(f"model {bad} is taken back, {self.deciding} decides again: {why}")
        told, self._news = tuple(self._news), []
        return told

    def conditions(self) -> list[Condition]:
        """What is wrong with the models now."""
        out = [
            Condition("ModelRolledBack", (("model", name),), f"{name} lost by the proof and is barred for a while")
            for name in self.barred
        ]
        if self.deciding == FALLBACK != self.preferred:
            words = f"{self.preferred} drifted: {FALLBACK} decides while it learns anew"
            out.append(Condition("ModelDrift", (("model", self.preferred),), words))
        return out

    def models(self, now: float) -> tuple[ModelView, ...]:
        """How each model stands, the one that decides first."""
        roles: dict[str | None, str] = {
            FALLBACK: "baseline",
            self._settings.models.challenger: "challenger",
            self.previous: "comes back",
        }
        if self.preferred != self.deciding:
            roles[self.preferred] = "drifted"
        roles[self.deciding] = "champion"
        drift = self._drift.state()["sum"] / BOUND
        names = sorted({*self._roster} | {*self._seats}, key=lambda name: (name != self.deciding, name))
        views = (self._ranking.view(name, roles.get(name, ""), self.deciding, FALLBACK, now) for name in names)
        return tuple(
            replace(
                view,
                role=view.role or ("idle" if view.name not in self._seats else "shadow"),
                count=_count_of(self._seats.get(view.name)),
                drift=drift if view.name == self.deciding != FALLBACK else None,
                watched_s=max(0.0, self._watched_until - now) if view.name == self.deciding and self.previous else None,
                barred_s=max(0.0, self.barred[view.name] - now) if view.name in self.barred else None,
            )
            for view in views
        )

    def _let_go(self, now: float) -> None:
        """Drop the models of somebody's own that failed. Who comes back when it was the one that decides: ours."""
        for name, model in list(self._seats.items()):
            if not isinstance(model, OwnLearners) or not model.dropped:
                continue
            self._roster = {n: make for n, make in self._roster.items() if n != name}
            if self.previous == name:
                self.previous = ""
            words = f"model {name} is dropped: {model.dropped}"
            if name in (self.deciding, self.preferred):
                self._hand_to(FIRST, now)
                self.previous, self.preferred = "", FIRST
                words = f"model {name} is dropped, {FIRST} decides: {model.dropped}"
            self._seat()
            self._news.append(words)

    def _scored(self, errors: Mapping[str, float], now: float) -> None:
        """One block's errors are in: has somebody drifted, is somebody better."""
        mine, theirs = errors[self.deciding], errors.get(self.contender(now))
        if theirs is not None:
            self._contest.add(math.log(theirs / mine), now, EVIDENCE_HALF_LIFE_S)
        drifted = self.deciding != FALLBACK and self._drift.add(math.log(mine / errors[FALLBACK]))
        if drifted and self.barred.get(FALLBACK, now) <= now:
            old, self._as_before = self.deciding, max(0.0, self._drift.usual)
            self._hand_to(FALLBACK, now)
            self._seats[old] = self._roster[old](self._topology, self._settings)
            self._news.append(f"model {old} drifted: {FALLBACK} decides while {old} learns anew")
            return
        interval = self._contest.interval(LEAST_BLOCKS)
        if interval is None or now < self._watched_until:
            return
        if interval.high < (self._as_before + MARGIN if self.deciding != self.preferred else -MARGIN):
            name, old = self.contender(now), self.deciding
            self._hand_to(name, now)
            self.preferred = name
            ratio = math.exp(interval.mean)
            self._news.append(f"model {name} decides: its error is {ratio:.2f} times that of {old}")

    def _hand_to(self, name: str, now: float) -> None:
        self.previous, self.deciding = self.deciding, name
        self._watched_until = now + self._settings.models.watch_s
        self._contest, self._drift = FadingMean(), Drift()
        self._seat()

    def _seat(self) -> None:
        """Everybody who decides, may decide, or may come back learns; who may not is let go."""
        wanted = {FALLBACK, self.deciding, self.preferred, self.previous, self._settings.models.challenger or ""}
        self._seats = {
            name: self._seats.get(name) or self._roster[name](self._topology, self._settings)
            for name in sorted(wanted & {*self._roster})
        }

    def _loses(self, gains: Mapping[int, GainView]) -> str:
        """Why the deciding model has to go: more services lose than would by chance; "" when they do not."""
        told = {i: g for i, g in gains.items() if g.high is not None}
        worse = []
        for i, gain in told.items():
            before = self._before.get(i)
            least = 0.0 if before is None or before.low is None else max(before.low, 0.0)
            if gain.high is not None and gain.high < least:
                worse.append(
                    f"gain {gain.value:+.1%} ({gain.low:+.1%} to {gain.high:+.1%}), proven before {least:+.1%}"
                )
        chance = BY_CHANCE * len(told)
        if len(worse) <= chance + 2 * math.sqrt(chance):
            return ""
        return worse[0] + (f" and {len(worse) - 1} services more" if len(worse) > 1 else "")

    # What is kept over a restart.

    def state(self, topology: Topology) -> State:
        """Who decides, and what each knows."""
        return {
            "deciding": self.deciding,
            "preferred": self.preferred,
            "previous": self.previous,
            "watched_until": self._watched_until,
            "as_before": self._as_before,
            "barred": dict(self.barred),
            "contest": self._contest.state(),
            "drift": self._drift.state(),
            "ranking": self._ranking.state(),
            "models": {name: model.state(topology) for name, model in self._seats.items()},
        }

    def restore(self, state: State, topology: Topology) -> None:
        """Take up a state, before the first tick. ValueError when it is not of these models.

        A model that is not on the roster any more is left out, and who decided then is nobody's business now.
        """
        if "models" not in state:  # kept before there were several
            state = {"models": {FIRST: state}, "deciding": "", "preferred": "", "previous": ""}
        seats: dict[str, Any] = {name: s for name, s in state["models"].items() if name in self._roster}
        names = [str(state[who]) for who in ("deciding", "preferred", "previous")]
        if names[0] in seats and names[1] in seats and names[2] in {*seats, ""}:
            self.deciding, self.preferred, self.previous = names
            self._watched_until, self._as_before = float(state["watched_until"]), float(state["as_before"])
            self.barred = {str(name): float(until) for name, until in state["barred"].items()}
            self._contest.restore(FadingMean.check(state["contest"]), math.inf)
            self._drift.restore(state["drift"])
            self._ranking.restore(state.get("ranking", {}))
        self._seat()
        for name, model in self._seats.items():
            if name in seats:
                model.restore(seats[name], topology)


def _count_of(model: Model | None) -> float | None:
    """Samples behind what a model says now, of all endpoints; of somebody's own, rows learned. None: it is idle."""
    if model is None:
        return None
    if isinstance(model, OwnLearners):
        return float(model.count)
    return float(np.nansum(model.capacities().count))
