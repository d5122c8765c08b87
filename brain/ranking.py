"""How well each model has foreseen lately, for people: the contest and the drift test go by evidence of their own.

A model's error in a block is that of `brain.scores`; of two models, the logarithm of the ratio of their errors in the
same blocks is kept, for what was hard for both cancels. How sure it is to be right is `brain.calibration`'s to say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from brain.calibration import Calibration, Held
from brain.fading import FadingMean, Interval

if TYPE_CHECKING:
    from models.base import Floats, State

LEAST_BLOCKS = 6.0
"""Half a minute before an error is told."""


@dataclass(frozen=True, slots=True)
class ModelView:
    """One model of latency as it stands. None: not known, or not so."""

    name: str
    role: str  # champion, challenger, baseline, drifted, comes back, shadow; idle: it learns nothing now
    age_s: float | None = None  # since it was made, or came to these models
    blocks: float = 0.0  # of 5 s behind the errors, as many as the faded ones are worth
    error: float | None = None  # mean of |log(seen / expected)|: 0.1 is ten percent either way
    held: Held | None = None  # how often what came lay within the 90 % band of its past errors, and that band
    against_champion: Interval | None = None  # ratio of its error to the champion's, with a 95 % interval
    against_baseline: Interval | None = None  # to the simple model's
    count: float | None = None  # samples behind what it says now
    drift: float | None = None  # of the champion: how near it is to be taken for drifted; at 1 it is
    watched_s: float | None = None  # for so long the proof may still take it back
    barred_s: float | None = None  # for so long it may not come back by itself


class Ranking:
    """Errors by model."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._errors: dict[str, FadingMean] = {}  # log errors by name
        self._ratios: dict[str, FadingMean] = {}  # of log errors, by "NAME/OTHER"
        self._calibrations: dict[str, Calibration] = {}

    def seated(self, names: Iterable[str], now: float) -> None:
        """These learn now. Who is new begins here, and who has left is forgotten."""
        here = set(names)
        for gone in self._since.keys() - here:
            del self._since[gone]
            self._errors.pop(gone, None)
            self._calibrations.pop(gone, None)
            self._ratios = {pair: r for pair, r in self._ratios.items() if gone not in pair.split("/")}
        for new in here - self._since.keys():
            self._since[new] = now

    def scored(self, errors: Mapping[str, float], now: float, half_life_s: float) -> None:
        """A block's errors are in."""
        for name, error in errors.items():
            self._errors.setdefault(name, FadingMean()).add(math.log(error), now, half_life_s)
            for other, theirs in errors.items():
                if name != other:
                    pair = self._ratios.setdefault(f"{name}/{other}", FadingMean())
                    pair.add(math.log(error / theirs), now, half_life_s)

    def came(self, apart: Mapping[str, Floats], now: float, half_life_s: float) -> None:
        """A tick's attempts came: by model, log(seen / expected) of each endpoint that counts."""
        for name, errors in apart.items():
            self._calibrations.setdefault(name, Calibration()).add(errors, now, half_life_s)

    def view(self, name: str, role: str, champion: str, baseline: str, now: float) -> ModelView:
        """One model's, without what is not known here."""
        mean = self._errors.get(name)
        said = None if mean is None else mean.interval(LEAST_BLOCKS)
        return ModelView(
            name=name,
            role=role,
            age_s=now - self._since[name] if name in self._since else None,
            blocks=0.0 if mean is None else mean.worth,
            error=None if said is None else math.exp(said.mean),
            held=self._calibrations[name].held() if name in self._calibrations else None,
            against_champion=self._against(name, champion),
            against_baseline=self._against(name, baseline),
        )

    def _against(self, name: str, other: str) -> Interval | None:
        mean = self._ratios.get(f"{name}/{other}")
        said = None if mean is None else mean.interval(LEAST_BLOCKS)
        return None if said is None else Interval(*map(math.exp, said))

    def state(self) -> State:
        """Plain numbers."""
        return {
            "since": dict(self._since),
            "errors": {name: mean.state() for name, mean in self._errors.items()},
            "ratios": {pair: mean.state() for pair, mean in self._ratios.items()},
            "calibrations": {name: c.state() for name, c in self._calibrations.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state; {} is one from before there was any. KeyError, TypeError or ValueError when it is odd."""
        since = {str(name): float(at) for name, at in state.get("since", {}).items()}
        kept = []
        for part in ("errors", "ratios"):
            means = {str(name): FadingMean() for name in state.get(part, {})}
            for name, mean in means.items():
                mean.restore(FadingMean.check(state[part][name]), math.inf)
            kept.append(means)
        calibrations = {str(name): Calibration.of(s) for name, s in state.get("calibrations", {}).items()}
        self._since, (self._errors, self._ratios), self._calibrations = since, kept, calibrations
