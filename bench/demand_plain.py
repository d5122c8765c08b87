"""The plain forecast of arrivals: what came lately goes on coming, in an interval that past errors of saying so give.

The level is an EWMA of the rate, and it is foretold for all time ahead. How far off that is, is learned by looking
back: levels of a minute ago by the second and of half an hour ago by `BLOCK_S` are kept, and each is held against what
came. Errors are those of square roots, because a count scatters as the root of its mean: what is learned at night
holds by day, and no rate below 0 can come out. Each horizon has a spread (their decayed root mean square), and where
the 5th, 95th and 99th percentile lie in units of it, moved by each error as adaptive conformal intervals are (Gibbs and
Candes, NeurIPS 2021), from where a normal distribution has them.

Of a horizon that nobody has lived through yet, the spread is that of the one before, wider by the fourth root of how
much farther it is: between noise, which does not grow, and a random walk, whose spread grows by the square root.

It knows no trend and no season. The brain foretold by it once, and it is here to be beaten. What it says of any horizon
is meant of a single second; `PlainOfSteps` means the means of seconds, ten and a minute that the brain tells now.
"""

from __future__ import annotations

import math

import numpy as np

from models.base import Floats, State, check_state
from models.forecast import Forecast

NEAR_S, FAR_S = (1, 10, 60), (300, 900, 1800)
HORIZONS_S = np.array(NEAR_S + FAR_S, dtype=np.float64)
BLOCK_S = 30
STEP_S = (1, 1, 10, 10, 60, 60)
"""Whose mean the brain tells at each horizon."""
KEPT = 64  # levels kept at each resolution: more than the farthest horizon needs
QUANTILES = np.array([0.05, 0.95, 0.99])
NORMAL = np.array([-1.645, 1.645, 2.326])
STEP = 0.01
"""How far one error moves a quantile, in spreads: a thousand errors are its memory."""
KEEP = 1.0 - 1.0 / 600.0
"""Of a spread's evidence, at each further error: ten minutes of seconds."""
PRIOR = 5.0
"""Errors that a spread is worth before one was seen."""
COUNT_VARIANCE = 0.25
"""Of the square root of a Poisson count, whatever its mean."""
LEAST_STEPS = 30
"""Seen before anything is foretold."""
AWAY_HALF_LIFE_S = 3600.0
"""While nobody looks, the evidence halves in this time."""
GAP_S = 5.0
"""No look for longer is a gap."""


class PlainDemand:
    """A `models.forecast.Forecaster` of so many services."""

    def __init__(self, services: int = 0, half_life_s: float = 10.0) -> None:
        if not half_life_s > 0:
            raise ValueError(f"a half-life must be above 0 s, not {half_life_s}")
        self._half_life_s = half_life_s
        self._at = math.nan  # of the last call
        self._level = np.zeros(0)  # requests a second; NaN until something is seen
        self._seen_at = np.zeros(0)
        self._count = np.zeros(0)
        self._near = np.zeros((0, KEPT))  # the level by second, and by block; NaN where nobody looked
        self._far = np.zeros((0, KEPT))
        self._square = np.zeros((0, HORIZONS_S.size))  # decayed sum of squared errors, and the weight in it
        self._weight = np.zeros((0, HORIZONS_S.size))
        self._steps = np.zeros((0, HORIZONS_S.size, QUANTILES.size))  # where quantiles lie, in spreads
        self._spreads: Floats | None = None  # by the evidence as it is; None: to be found anew
        self.resize(services)

    def learn_many(self, arrivals: Floats, now: float) -> None:
        """Take in what came in the second that ended at `now`. What is no rate (NaN, negative) was not seen.

        ValueError when there are not as many as there are services.
        """
        if arrivals.shape != self._level.shape:
            raise ValueError(f"arrivals have shape {arrivals.shape}, not {self._level.shape}")
        with np.errstate(invalid="ignore"):
            came = np.where((arrivals >= 0) & (arrivals < np.inf), arrivals, np.nan)
        block_ends = self._turn(now)
        self._score(came[:, None], NEAR_S, self._near, math.floor(now), 1)
        if block_ends:
            self._score(came[:, None], FAR_S, self._far, math.floor(now / BLOCK_S), BLOCK_S)
        self._follow(came, now)
        self._near[:, math.floor(now) % KEPT] = self._level
        self._far[:, math.floor(now / BLOCK_S) % KEPT] = self._level

    def predict_many(self, ahead_s: Floats) -> Forecast:
        """The level, so far ahead. The median is taken to be the level: of a service that is asked now and then, the
        median second is empty, and nobody can plan by that."""
        spread, where = self._spread(), np.log(HORIZONS_S)
        place = np.clip(np.interp(np.log(ahead_s), where, np.arange(where.size)), 0, where.size - 1)
        left = np.minimum(place.astype(np.int64), where.size - 2)
        share = place - left
        ends = spread[:, :, None] * self._steps
        ends = (1 - share[:, None]) * ends[:, left] + share[:, None] * ends[:, left + 1]
        ready = self._count >= LEAST_STEPS
        level = np.where(ready, self._level, np.nan)[:, None]
        told = np.square(np.maximum(np.sqrt(level)[..., None] + ends, 0.0))
        high = np.maximum(told[..., 1], level)
        return Forecast(
            ahead_s=np.array(ahead_s, dtype=np.float64),
            value=np.repeat(level, len(ahead_s), axis=1),
            low=np.minimum(told[..., 0], level),
            high=high,
            p99=np.maximum(told[..., 2], high),
            count=self._count.copy(),
        )

    def resize(self, services: int) -> None:
        """Have room for this many services. New ones are unseen."""
        more = services - self._level.size
        if more <= 0:
            return
        self._spreads = None
        self._level = np.pad(self._level, (0, more), constant_values=np.nan)
        self._seen_at = np.pad(self._seen_at, (0, more), constant_values=np.nan)
        self._count = np.pad(self._count, (0, more))
        self._near = np.pad(self._near, ((0, more), (0, 0)), constant_values=np.nan)
        self._far = np.pad(self._far, ((0, more), (0, 0)), constant_values=np.nan)
        self._square = np.pad(self._square, ((0, more), (0, 0)))
        self._weight = np.pad(self._weight, ((0, more), (0, 0)))
        self._steps = np.concatenate([self._steps, np.broadcast_to(NORMAL, (more, HORIZONS_S.size, NORMAL.size))])

    def _turn(self, now: float) -> bool:
        """Move on to `now`, and forget levels of times that nobody looked at. Whether a block of time has ended."""
        before, self._at = self._at, now
        if math.isnan(before):
            return False
        away_s = now - before
        if away_s < 0:  # another clock: what was kept has no place in its time
            self._near[:], self._far[:] = np.nan, np.nan
            self._seen_at[:] = np.where(np.isnan(self._seen_at), np.nan, now)
            return False
        if away_s > GAP_S:
            self._spreads = None
            kept = 0.5 ** (away_s / AWAY_HALF_LIFE_S)
            self._count, self._square, self._weight = self._count * kept, self._square * kept, self._weight * kept
        for levels, length_s in ((self._near, 1), (self._far, BLOCK_S)):
            first, last = math.floor(before / length_s) + 1, math.floor(now / length_s)
            levels[:, np.arange(max(first, last - KEPT + 1), last + 1) % KEPT] = np.nan
        return math.floor(before / BLOCK_S) != math.floor(now / BLOCK_S)

    def _score(self, came: Floats, ahead_s: tuple[int, ...], levels: Floats, now: int, length_s: int) -> None:
        """Hold what came, (services, 1 or horizons), against the levels of these times ago."""
        k = slice(0, len(NEAR_S)) if levels is self._near else slice(len(NEAR_S), None)
        said = levels[:, (now - np.array(ahead_s) // length_s) % KEPT]
        error = np.sqrt(came) - np.sqrt(said)
        known = ~np.isnan(error)
        below = error[..., None] < self._spread()[:, k, None] * self._steps[:, k]
        self._steps[:, k] += np.where(known[..., None], STEP * (QUANTILES - below), 0.0)
        keep = np.where(known, KEEP, 1.0)
        self._square[:, k] = self._square[:, k] * keep + np.where(known, np.square(error), 0.0)
        self._weight[:, k] = self._weight[:, k] * keep + known
        self._spreads = None

    def _follow(self, came: Floats, now: float) -> None:
        """Move the level towards what came, by how long it was not looked at; the first few count alike."""
        seen = ~np.isnan(came)
        with np.errstate(invalid="ignore"):
            share = 1.0 - np.exp2(-(now - self._seen_at) / self._half_life_s)
        share = np.maximum(np.nan_to_num(share, nan=1.0), 1.0 / (1.0 + self._count))
        fresh = np.isnan(self._level)
        moved = np.where(fresh, came, self._level + share * (came - self._level))
        self._level = np.where(seen, moved, self._level)
        self._seen_at = np.where(seen, now, self._seen_at)
        self._count = self._count + seen

    def _spread(self) -> Floats:
        """Root mean square error by horizon, of square roots. Shape (services, horizons)."""
        if self._spreads is not None:
            return self._spreads
        out = np.empty_like(self._square)
        expected = np.full(len(out), COUNT_VARIANCE)
        for k in range(HORIZONS_S.size):
            if k:
                expected = out[:, k - 1] * math.sqrt(HORIZONS_S[k] / HORIZONS_S[k - 1])
            out[:, k] = (self._square[:, k] + PRIOR * expected) / (self._weight[:, k] + PRIOR)
        self._spreads = np.sqrt(out)
        return self._spreads

    def state(self) -> State:
        """A row per service in every array."""
        return {"half_life_s": self._half_life_s, "at": self._at} | {n: a.copy() for n, a in self._arrays().items()}

    def restore(self, state: State) -> None:
        """Take up a state. ValueError, and unchanged, when it is not of this model and of so many services."""
        check_state(state, self._arrays(), "at", half_life_s=self._half_life_s)
        self._at = float(state["at"])
        for name in self._arrays():
            setattr(self, f"_{name}", np.array(state[name], dtype=np.float64))
        self._spreads = None

    def _arrays(self) -> dict[str, Floats]:
        return {
            "level": self._level,
            "seen_at": self._seen_at,
            "count": self._count,
            "near": self._near,
            "far": self._far,
            "square": self._square,
            "weight": self._weight,
            "steps": self._steps,
        }


class PlainOfSteps(PlainDemand):
    """The same, with intervals for the mean of the step that ends so far ahead: of `STEP_S`."""

    def __init__(self, services: int = 0) -> None:
        self._last = np.full((services, STEP_S[-1]), np.nan)
        super().__init__(services)

    def learn_many(self, arrivals: Floats, now: float) -> None:
        """As the plain one."""
        self._last = np.concatenate([self._last[:, 1:], arrivals[:, None]], axis=1)
        super().learn_many(arrivals, now)

    def resize(self, services: int) -> None:
        """As the plain one."""
        more = services - len(self._last)
        self._last = np.pad(self._last, ((0, max(more, 0)), (0, 0)), constant_values=np.nan)
        super().resize(services)

    def _score(self, came: Floats, ahead_s: tuple[int, ...], levels: Floats, now: int, length_s: int) -> None:
        steps = STEP_S[: len(NEAR_S)] if ahead_s == NEAR_S else STEP_S[len(NEAR_S) :]
        means = np.stack([self._last[:, -step:].mean(axis=1) for step in steps], axis=1)
        super()._score(means, ahead_s, levels, now, length_s)
