"""Demand at one step width: learns each service's count a step at a time and foretells it some steps ahead.

Five plain ways and two regressions are asked (`EXPERTS`) and mixed by how well they did of late. A service of few
requests needs smoothing, one of many the last value, one with a season yesterday: none is right for all, and which
is right for whom is found while it runs. All on the square root of counts. Pure; vectorised over services.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.base import Floats, State, check_state
from models.columns import Columns
from models.demand_mixture import Mixture
from models.demand_regression import Regression
from models.demand_season import Season

_FITTED = slice(3, 5)
EXPERTS = ("last value", "ewma 0.3", "ewma 0.1", "slow regression", "fast regression", "day's move", "week's move")
"""The last two only where there is a season."""

MOST = 1e15
"""Counts beyond are taken as this: nobody serves more, and their squares stay finite."""

LEAST_STEPS = 8
"""Seen before anything is foretold."""

_RATES = np.array([0.3, 0.1, 0.03])
_LAGS = np.array([1, 2, 3, 6, 12])
_CHANGE_RATE = 0.02
_PEAK_FADE = 0.9995
_SOLVE_EVERY = 16
"""Steps; services take turns."""


@dataclass(frozen=True, slots=True, eq=False)
class Ahead:
    """Counts in the step that ends so many steps ahead, each (services, horizons); NaN where not ready."""

    value: Floats
    low: Floats
    high: Floats
    p90: Floats
    p99: Floats


class _Recent(Columns):
    """What each service's last steps were like."""

    roots: Floats  # newest first; where a step was missing, the one before it
    levels: Floats  # moving averages at `_RATES`
    changes: Floats  # usual distance from the middle average, and from one step to the next
    held: Floats  # the last value, its distance from either held to twice what was usual before
    peak: Floats
    seen: Floats  # steps
    unseen: Floats  # steps in a row
    x: Floats  # rings by step: what was known, said and mixed, for each horizon
    said: Floats
    mixed: Floats
    usual: Floats
    base: Floats  # the value at the time
    valid: Floats  # 1 where the step was seen


class StepDemand:
    """Counts of `services` by steps of `step_s`, foretold at each of `horizons` (steps, rising).

    `season` says whether a day and a week are learned; by itself, where steps are a minute to an hour long and go
    into a day. `experts`: those to ask. ValueError when horizons are none or do not rise, or an expert is unknown.
    """

    def __init__(
        self,
        services: int,
        step_s: float,
        horizons: Sequence[int],
        *,
        season: bool | None = None,
        experts: Sequence[str] = EXPERTS,
    ) -> None:
        if not horizons or list(horizons) != sorted(set(horizons)) or horizons[0] < 1:
            raise ValueError(f"horizons must be rising numbers of steps from 1, not {list(horizons)}")
        if not set(experts) <= set(EXPERTS):
            raise ValueError(f"experts are {EXPERTS}, not {tuple(experts)}")
        if season is None:
            season = 60 <= step_s <= 3600 and 86400 % step_s == 0
        self.step_s = step_s
        self.horizons = np.array(horizons, dtype=np.int64)
        self._ring = int(self.horizons[-1]) + 1
        self._asked = [k for k, name in enumerate(EXPERTS) if name in experts and (season or "move" not in name)]
        features = len(_LAGS) + len(_RATES) + 3 + (8 if season else 0)
        count, ring = len(horizons), self._ring
        self._season = Season(services, step_s) if season else None
        self._regression = Regression(services, count, features)
        self._mixture = Mixture(services, self.horizons, len(self._asked))
        self._recent = _Recent(
            services,
            roots=(int(_LAGS[-1]) + 1,),
            levels=(len(_RATES),),
            changes=(2,),
            held=(2,),
            peak=(),
            seen=(),
            unseen=(),
            x=(count, ring, features),
            said=(count, ring, len(EXPERTS) if season else len(EXPERTS) - 2),
            mixed=(count, ring),
            usual=(count, ring),
            base=(ring,),
            valid=(ring,),
        )
        self._step: int | None = None

    @property
    def services(self) -> int:
        """Rows there are."""
        return self._recent.rows

    @property
    def ready(self) -> NDArray[np.bool_]:
        """Whose counts are foretold. Shape (services,)."""
        return (self._recent.seen >= LEAST_STEPS) & (self._step is not None)

    def up_to_date(self, step: int) -> bool:
        """Whether what is foretold reaches beyond this step."""
        return self._step is not None and step - self._step <= self.horizons[-1]

    @property
    def seen(self) -> Floats:
        """Steps that each service was learned from. Shape (services,)."""
        return self._recent.seen.copy()

    def learn(self, counts: Floats, step: int) -> None:
        """What arrived in this step; NaN, negative or infinite is not seen. Steps between are missing, older ones past.

        Shape (services,). Nothing is learned from a step that is not after the last one.
        """
        if self._step is not None:
            if step <= self._step:
                return
            # Beyond the longest horizon nothing that was said is still to be judged.
            first_judged = max(self._step + 1, step - self._ring)
            if self._season is not None and first_judged > self._step + 1:
                self._season.skip(self._step + 1, first_judged - 1)
            for missing in range(first_judged, step):
                self._take(np.full(self.services, np.nan), missing)
        counts = np.where((counts >= 0) & (counts < np.inf), counts, np.nan)
        self._take(np.sqrt(np.minimum(counts, MOST)), step)

    def rewind(self) -> None:
        """Go on by another clock: nothing that was said is held against what comes now."""
        self._step = None
        self._recent.valid[:] = 0.0

    def predict(self) -> Ahead:
        """From the last step that was learned."""
        nothing = np.full((self.services, len(self.horizons)), np.nan)
        if self._step is None:
            return Ahead(nothing, nothing, nothing, nothing, nothing)
        mixed = np.where(self.ready[:, None], self._recent.mixed[:, :, self._step % self._ring], nothing)
        low, p90, high, p99 = np.moveaxis(self._mixture.spread(mixed), -1, 0)
        low, p90 = np.minimum(low, mixed), np.maximum(p90, mixed)
        high = np.maximum(high, p90)
        return Ahead(mixed**2, low**2, high**2, p90**2, np.maximum(p99, high) ** 2)

    def resize(self, services: int) -> None:
        """Have room for this many services; none is ever taken away."""
        for part in self._parts().values():
            part.resize(services)

    def state(self) -> State:
        """Plain arrays and numbers, a row per service; zero rows know nothing."""
        out: State = {"step": -1 if self._step is None else self._step}
        for prefix, part in self._parts().items():
            out |= part.state(prefix)
        return out

    def check(self, state: State) -> None:
        """ValueError when a state is not of this model."""
        check_state(state, {}, "step")
        for prefix, part in self._parts().items():
            part.check(state, prefix)

    def restore(self, state: State) -> None:
        """Take up a state. ValueError, and unchanged, when it is not of this model."""
        self.check(state)
        for prefix, part in self._parts().items():
            part.restore(state, prefix)
        self._step = int(state["step"]) if state["step"] >= 0 else None

    def _parts(self) -> dict[str, Columns]:
        parts = {"recent_": self._recent, "regression_": self._regression, "mixture_": self._mixture}
        return parts if self._season is None else parts | {"season_": self._season}

    def _take(self, root: Floats, step: int) -> None:
        self._judge(root, step)
        if self._season is not None:
            self._season.learn(root, step)
        self._remember(root)
        self._step = step
        turn = np.arange(step % _SOLVE_EVERY, self.services, _SOLVE_EVERY)
        if turn.size:
            self._regression.solve(turn)
        self._foretell(np.isfinite(root), step)

    def _judge(self, root: Floats, step: int) -> None:
        """What became of what was said of this step, where the step it was said in was seen."""
        recent, each = self._recent, np.arange(len(self.horizons))
        then = (step - self.horizons) % self._ring
        said, usual = recent.said[:, each, then], recent.usual[:, each, then]
        truth = np.where(recent.valid[:, then] > 0, root[:, None], np.nan)
        fitted = said[..., _FITTED]
        self._regression.learn(recent.x[:, each, then], truth - recent.base[:, then], fitted - truth[..., None], usual)
        self._mixture.learn(said[..., self._asked], recent.mixed[:, each, then], truth)

    def _remember(self, root: Floats) -> None:
        """Move the lags, averages and changes on."""
        recent = self._recent
        seen = np.isfinite(root)
        # After so long what was near is not: the first step is believed at once, as the very first was.
        first = (recent.seen == 0) | seen & (recent.unseen >= self._ring)
        known = np.where(seen, root, recent.roots[:, 0])
        from_level, from_last = known - recent.levels[:, 1], known - recent.roots[:, 0]
        held_level = np.clip(from_level, -2 * recent.changes[:, 0], 2 * recent.changes[:, 0])
        held_last = np.clip(from_last, -2 * recent.changes[:, 1], 2 * recent.changes[:, 1])
        recent.held = np.stack([recent.levels[:, 1] + held_level, known - held_last], axis=1)
        recent.held[first] = known[first, None]
        change = np.abs(np.stack([from_level, from_last], axis=1))
        rate = np.where(seen, np.where(recent.seen <= 1, 1.0, _CHANGE_RATE), 0.0)[:, None]
        recent.changes += np.where(first[:, None], 0.0, rate * (change - recent.changes))
        recent.roots[:, 1:] = recent.roots[:, :-1].copy()
        recent.roots[:, 0] = known
        recent.roots[first] = known[first, None]
        rates = np.where(seen[:, None], np.where(first[:, None], 1.0, _RATES), 0.0)
        recent.levels += rates * (known[:, None] - recent.levels)
        recent.peak = np.maximum(recent.peak * _PEAK_FADE, known)
        recent.seen += seen
        recent.unseen = np.where(seen, 0.0, recent.unseen + 1)

    def _foretell(self, seen: Floats, step: int) -> None:
        """Say what comes, and keep it until it can be judged."""
        recent, count = self._recent, len(self.horizons)
        now, slot = recent.roots[:, 0], step % self._ring
        plain = [self._plain, np.ones((self.services, 1))]
        x = np.repeat(np.concatenate(plain, axis=1)[:, None], count, axis=1)
        said = [np.repeat(np.stack([now, recent.levels[:, 0], recent.levels[:, 1]], axis=1)[:, None], count, axis=1)]
        moves: list[Floats] = []
        if self._season is not None:
            columns, moved = self._season.read(step, self.horizons, recent.levels[:, 1])
            x = np.concatenate([x, columns - now[:, None, None]], axis=-1)
            moves = [recent.levels[:, :1, None] + moved]
        said += [now[:, None, None] + self._regression.predict(x), *moves]
        # No regression may run away: nobody is foretold half as much again as was seen at the most.
        bounded = np.clip(np.concatenate(said, axis=-1), 0.0, 1.5 * recent.peak[:, None, None] + 1)
        recent.x[:, :, slot], recent.said[:, :, slot] = x, bounded
        recent.mixed[:, :, slot] = self._mixture.mix(bounded[..., self._asked])
        recent.usual[:, :, slot] = self._mixture.usual
        recent.base[:, slot], recent.valid[:, slot] = now, seen

    @property
    def _plain(self) -> Floats:
        """What is known without a season, less the value now; with the value and its change held to what is usual."""
        recent, now = self._recent, self._recent.roots[:, :1]
        lags, levels = recent.roots[:, _LAGS], recent.levels
        return np.concatenate([lags - now, levels - now, recent.held - now], axis=1)
