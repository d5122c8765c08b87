"""How well models foresee a recording: it is told to them in its order, and each says before it learns.

Models of latency are scored as the brain scores them (`brain.scores`): ours, and any of one's own (`weirflow.own`),
against the incumbent and against the plain baseline, which expects what was lately. The recorded forecasts of demand
are held against what was asked then, and against the last value. How often each model of latency was right about how
sure it was is `brain.calibration`'s to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from brain.calibration import Calibration
from brain.champion import FALLBACK, FIRST, ROSTER, Roster, said_to_decide
from brain.drift import BOUND, Drift
from brain.hindsight import HORIZONS_S
from brain.own import OwnLearners
from brain.proof import student
from brain.scores import Scores
from dataplane.contract import Requests
from features.store import FeatureStore

if TYPE_CHECKING:
    from brain.champion import Model
    from brain.settings import Settings
    from dataplane.contract import Topology
    from weirflow.recording import Recording
    from weirflow.recording.calls import Call

Floats = NDArray[np.float64]

LEAST_BLOCKS = 6
LAST_VALUE = "last value"


@dataclass(frozen=True, slots=True)
class Scored:
    """How well one model foresaw one quantity of one service. NaN: cannot be told of so little."""

    service: str
    quantity: str  # latency, or demand with the horizon
    model: str
    role: str  # champion: it decided at the end; baseline: simple, or the last value; challenger; own: given to compare
    age_s: float  # of the recording that it learned from
    count: int  # blocks of 5 s of latency, or forecasts, that were scored
    error: float  # of latency: mean |log(seen / expected)|; of demand: mean error in requests a second
    against_champion: float  # ratio of errors in the same blocks
    low: float  # of a 95 % interval of that ratio
    high: float
    against_baseline: float
    inside_90: float  # share of what was seen within the 90 % interval said before
    drift: float  # of the champion's latency: at 1 it is taken for drifted
    note: str = ""  # why it was dropped, or says nothing


def score(recording: Recording, own: Roster | None = None) -> list[Scored]:
    """Score ours and these models over a whole recording. RecordingError when its calls cannot be read in order."""
    run = _Run({FIRST: ROSTER[FIRST], FALLBACK: ROSTER[FALLBACK], **(own or {})})
    demand = _DemandScores()
    for call, ticks in _ticked(recording):
        run.hear(call)
        for now in ticks:
            run.tick(now)
        if call.verb == "decided":
            run.decided(call.argument)
            demand.decided(call.now, call.argument)
    return [*run.scored(), *demand.scored(run.began)]


def rows_of(scored: list[Scored]) -> list[dict[str, Any]]:
    """Plain dicts, for a frame or for JSON."""
    return [asdict(s) for s in scored]


def rows_of_state(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The models of a checkpoint as they stood, one dict each; None for what it does not tell."""
    from brain.ranking import Ranking

    kept = state["learners"]
    if "models" not in kept:  # from before there were several
        return [{"model": FIRST, "role": "champion"}]
    ranking, now = Ranking(), float(state["now"] or 0.0)
    ranking.restore(kept.get("ranking", {}))
    out = []
    for name in sorted(kept["models"], key=lambda n: (n != kept["deciding"], n)):
        role = "champion" if name == kept["deciding"] else "baseline" if name == FALLBACK else "challenger"
        view = ranking.view(name, role, kept["deciding"], FALLBACK, now)
        rows = kept["models"][name]
        counts = next((v["count"] for v in rows.values() if isinstance(v, dict) and "count" in v), np.array([]))
        out.append(
            {
                "model": name,
                "role": role,
                "age_s": view.age_s,
                "blocks": view.blocks,
                "error": view.error,
                "inside_90": view.held.share if view.held else None,
                "against_champion": view.against_champion[0] if view.against_champion else None,
                "against_baseline": view.against_baseline[0] if view.against_baseline else None,
                "count": float(np.sum(counts)),
                "drift": float(kept["drift"]["sum"]) / BOUND if role == "champion" else None,
            }
        )
    return out


def _ticked(recording: Recording) -> Iterator[tuple[Call, list[float]]]:
    """Each call with the ticks that follow it: where it decided, or by the second where nobody did (imported logs)."""
    decides = any("decisions" in part.files for part in recording.parts)
    due: float | None = None
    for call in recording.calls():
        ticks = [call.now] if call.verb == "decided" else []
        if not decides and call.verb == "told":
            due = math.floor(call.now) + 1.0 if due is None else due
            if call.now >= due:
                ticks, due = [due], math.floor(call.now) + 1.0
        yield call, ticks


@dataclass
class _Account:
    """One service's scores."""

    name: str
    members: Any
    scores: Scores
    blocks: list[dict[str, float]] = field(default_factory=list)
    calibrations: dict[str, Calibration] = field(default_factory=dict)
    drift: Drift = field(default_factory=Drift)
    drifted: float = 0.0


class _Run:
    """The models, and a feature store that hears what the brain's heard."""

    def __init__(self, roster: Mapping[str, Callable[[Topology, Settings], Model]]) -> None:
        self._roster = roster
        self.models: dict[str, Model] = {}
        self.began = self.ended = math.nan
        self.deciding = FIRST
        self._topology: Topology | None = None
        self._accounts: dict[int, _Account] = {}
        self._open: Floats = np.zeros(0)  # requests open at the last tick, by endpoint slot

    def hear(self, call: Call) -> None:
        """One call to the brain; what teaches no model is passed over."""
        if call.verb == "started":
            self._settings, self._topology = call.argument.settings, call.argument.topology
            self._start()
            self.began = call.now
        elif call.verb == "restored":
            self._restore(call.argument, call.now)
        elif call.verb == "moved":
            self._topology = call.argument
            self._store.moved(call.argument, call.now)
            for model in self.models.values():
                model.moved(call.argument)
            self._room()
        elif call.verb == "configured":
            before, self._settings = self._settings, call.argument
            if before.learning != self._settings.learning:
                self._start()
        elif call.verb == "told":
            self._store.told(call.argument, call.now)
            if isinstance(call.argument, Requests):
                self._told(call.argument)

    def decided(self, decision: dict[str, Any]) -> None:
        """Note who decides from now on."""
        for note in decision.get("notes", ()):
            self.deciding = said_to_decide(note) or self.deciding

    def tick(self, now: float) -> None:
        """Ask all models what they expected, score them, and let them learn."""
        self.ended = now
        features = self._store.freeze(now)
        before, self._open = self._open, np.nan_to_num(features.endpoints.in_flight)
        found = (before + self._open) / 2 if before.shape == self._open.shape else self._open
        with np.errstate(divide="ignore", invalid="ignore"):
            said = {name: model.expected_s(found) for name, model in self.models.items()}
        expected = {name: e for name, e in said.items() if name in ROSTER or np.isfinite(e).any()}
        for account in self._accounts.values():
            self._score(account, expected, now)
        assert self._topology is not None  # noqa: S101  there is no tick before a start
        for model in self.models.values():
            model.learn(features, self._topology.service_of, now)

    def scored(self) -> Iterator[Scored]:
        """What came of it."""
        for account in self._accounts.values():
            for name, model in self.models.items():
                yield self._result(account, name, model)

    def _start(self) -> None:
        topology, settings = self._topology, self._settings
        assert topology is not None  # noqa: S101
        self._store = FeatureStore(topology, settings.learning.half_life_s, settings.learning.stale_after_s)
        self.models = {name: make(topology, settings) for name, make in self._roster.items()}
        self._open = np.zeros(topology.endpoint_slots)
        self._room()

    def _restore(self, state: dict[str, Any], now: float) -> None:
        assert self._topology is not None  # noqa: S101
        self._store.restore(state["features"], now)
        kept = state["learners"]
        seats = kept.get("models", {FIRST: kept})
        for name in {FIRST, FALLBACK} & {*seats}:
            self.models[name].restore(seats[name], self._topology)
        if kept.get("deciding") in self._roster:
            self.deciding = kept["deciding"]

    def _room(self) -> None:
        topology = self._topology
        assert topology is not None  # noqa: S101
        slots = topology.endpoint_slots
        for s in topology.services:
            account = self._accounts.setdefault(s.id, _Account(s.name, None, Scores(slots)))
            account.members = topology.members[s.id]
            account.scores.resize(slots)

    def _told(self, batch: Requests) -> None:
        for account in self._accounts.values():
            account.scores.told(batch)
        for model in self.models.values():
            if isinstance(model, OwnLearners):
                model.told(batch)

    def _score(self, account: _Account, expected: dict[str, Floats], now: float) -> None:
        """The brain's score of this service's endpoints, and each model's calibration there."""
        of = {name: np.full(e.shape, np.nan) for name, e in expected.items()}
        for name, e in expected.items():
            of[name][account.members] = e[account.members]
        errors = account.scores.tick(of, now)
        for name, apart in account.scores.apart.items():
            account.calibrations.setdefault(name, Calibration()).add(apart, now)
        if errors is None:
            return
        account.blocks.append(errors)
        if self.deciding in errors and self.deciding != FALLBACK:
            account.drift.add(math.log(errors[self.deciding] / errors[FALLBACK]))
            account.drifted = account.drift.state()["sum"] / BOUND

    def _result(self, account: _Account, name: str, model: Model) -> Scored:
        mine = [b for b in account.blocks if name in b]
        note = getattr(model, "dropped", "") or ("" if mine else "it said nothing")
        ratio, low, high = _ratio(mine, name, self.deciding)
        held = account.calibrations[name].held() if name in account.calibrations else None
        roles = {self.deciding: "champion", FALLBACK: "baseline", self._settings.models.challenger: "challenger"}
        own = "own" if name not in ROSTER else "shadow"
        return Scored(
            service=account.name,
            quantity="latency",
            model=name,
            role="champion" if name == self.deciding else roles.get(name, own),
            age_s=self.ended - self.began,
            count=len(mine),
            error=float(np.mean([b[name] for b in mine])) if mine else math.nan,
            against_champion=ratio,
            low=low,
            high=high,
            against_baseline=_ratio(mine, name, FALLBACK)[0],
            inside_90=held.share if held else math.nan,
            drift=account.drifted if name == self.deciding else math.nan,
            note=note,
        )


def _ratio(blocks: list[dict[str, float]], name: str, other: str) -> tuple[float, float, float]:
    """The ratio of two models' errors in the blocks that both were scored in, with a 95 % interval."""
    logs = np.array([math.log(b[name] / b[other]) for b in blocks if other in b])
    if len(logs) < LEAST_BLOCKS:
        return math.nan, math.nan, math.nan
    reach = float(student(np.array(len(logs) - 1.0))) * float(logs.std(ddof=1)) / math.sqrt(len(logs))
    mean = float(logs.mean())
    return math.exp(mean), math.exp(mean - reach), math.exp(mean + reach)


class _DemandScores:
    """Recorded forecasts, held against what was asked when their time had come."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, int], list[tuple[float, float, float, float, float]]] = {}
        self._errors: dict[tuple[str, float], list[tuple[float, float, bool]]] = {}
        self._ended = math.nan

    def decided(self, now: float, decision: dict[str, Any]) -> None:
        """Score what was foretold for now, and keep what is foretold."""
        self._ended = now
        for service in decision["services"]:
            name, said = service["name"], service.get("forecast")
            if not said:
                continue
            asked = said["now_per_s"]
            for ahead, value, low, high, last in self._waiting.pop((name, round(now)), ()):
                if asked is not None:
                    scored = self._errors.setdefault((name, ahead), [])
                    scored.append((abs(value - asked), abs(last - asked), low <= asked <= high))
            for k, ahead in enumerate(said["ahead_s"]):
                told = said["value"][k], said["low"][k], said["high"][k]
                if ahead in HORIZONS_S and None not in told and asked is not None:
                    self._waiting.setdefault((name, round(now + ahead)), []).append((ahead, *told, asked))

    def scored(self, began: float) -> Iterator[Scored]:
        """A row for ours and one for the last value, by service and horizon."""
        for (name, ahead), rows in sorted(self._errors.items()):
            if len(rows) < LEAST_BLOCKS:
                continue
            ours, last, inside = np.array(rows, dtype=np.float64).T
            pair = (("weirflow", "champion", ours.mean(), float(inside.mean())),)
            for model, role, error, held in (*pair, (LAST_VALUE, "baseline", last.mean(), math.nan)):
                yield Scored(
                    service=name,
                    quantity=f"demand in {ahead:g} s",
                    model=model,
                    role=role,
                    age_s=self._ended - began,
                    count=len(rows),
                    error=float(error),
                    against_champion=float(error / ours.mean()) if ours.mean() > 0 else math.nan,
                    low=math.nan,  # errors of overlapping forecasts say nothing of each other: no interval is told
                    high=math.nan,
                    against_baseline=float(error / last.mean()) if last.mean() > 0 else math.nan,
                    inside_90=held,
                    drift=math.nan,
                )
