"""Arrivals of each service foretold from a second to half an hour ahead: `models.forecast.Forecaster`.

Three step widths are learned side by side, since what helps foretell the next second (the last few) and the next half
hour (the season) are not the same, and looking at a day in seconds would cost too much. A second, ten seconds and a
minute; each foretells at four horizons, and what lies between two is drawn straight from one to the other.
"""

from __future__ import annotations

import numpy as np

from models.base import Floats, State, check_state
from models.columns import Columns
from models.demand_steps import StepDemand
from models.forecast import Forecast

STEPS_S = (1, 10, 60)
HORIZONS = ((1, 3, 10, 30), (4, 8, 15, 30), (6, 10, 18, 30))
"""In steps of each width: up to 30 s by seconds, 5 min by tens, 30 min by minutes."""

LONGEST_S = np.array([width * steps[-1] for width, steps in zip(STEPS_S, HORIZONS, strict=True)])
FIRST = np.cumsum([0, *map(len, HORIZONS)])
"""Where each width's horizons begin among those of all."""

_SEEN_SHARE = 0.5
"""Of a longer step, that must have been seen for the whole to be told from it."""


_ANOTHER_CLOCK_S = 60
"""Back."""


class _Sums(Columns):
    """What was counted so far in the longer steps that are open, and in how many seconds of them."""

    counted: Floats
    seconds: Floats
    learned: Floats  # seconds that were seen in all


class Demand:
    """Arrivals of `services`. It forgets nobody and knows no clock; 0.17 MB a service.

    >>> demand = Demand(2)
    >>> for second in range(60):
    ...     demand.learn_many(np.array([100.0, np.nan]), now=float(second))
    >>> said = demand.predict_many(np.array([1.0, 30.0]))
    >>> said.value.round(), said.count
    (array([[100., 100.],
           [ nan,  nan]]), array([60.,  0.]))
    """

    def __init__(self, services: int) -> None:
        self._by_step = [StepDemand(services, w, h) for w, h in zip(STEPS_S, HORIZONS, strict=True)]
        self._sums = _Sums(services, counted=(len(STEPS_S) - 1,), seconds=(len(STEPS_S) - 1,), learned=())
        self._second: int | None = None
        self._forget_tables()

    def learn_many(self, arrivals: Floats, now: float) -> None:
        """Requests that arrived at each service in the second that ended at `now`; NaN where that was not seen.

        A longer gap between calls is a gap in what was seen; a second that was learned already teaches nothing, and one
        of more than a minute before is by another clock, by which it goes on.
        ValueError when there are not as many as services.
        """
        counts = np.asarray(arrivals, dtype=np.float64)
        if counts.shape != (self._sums.rows,):
            raise ValueError(f"arrivals have shape {counts.shape}, not ({self._sums.rows},)")
        second = round(now)
        if self._second is not None and second <= self._second:
            if second > self._second - _ANOTHER_CLOCK_S:
                return
            self._rewind()
        counts = np.where((counts >= 0) & (counts < np.inf), counts, np.nan)
        if self._second is not None:
            self._close(second)
        self._second = second
        self._by_step[0].learn(counts, second)
        self._tables[0] = None
        seen = np.isfinite(counts)
        self._sums.counted += np.nan_to_num(counts)[:, None]
        self._sums.seconds += seen[:, None]
        self._sums.learned += seen

    def predict_many(self, ahead_s: Floats) -> Forecast:
        """Arrivals so far ahead of the last `learn_many`, in requests a second. Shape (horizons,), in seconds.

        Up to 30 s it is the mean of a second, to 5 min of ten, beyond that of a minute: single seconds scatter more.
        What longer steps do not know yet is told from the nearest that do, wider; NaN before any does. Beyond the
        longest it is the longest. ValueError when below 1 s or no number.
        """
        ahead = np.asarray(ahead_s, dtype=np.float64)
        if not (ahead >= 1).all():
            raise ValueError(f"seconds ahead must be 1 or more, not {ahead.tolist()}")
        known_s, table = self._known()
        width = np.minimum(np.searchsorted(LONGEST_S, ahead), len(STEPS_S) - 1)
        # Nothing is drawn from one width to another: the means of longer steps scatter less.
        right = np.clip(np.searchsorted(known_s, ahead), FIRST[width] + 1, FIRST[width + 1] - 1)
        share = np.clip((ahead - known_s[right - 1]) / (known_s[right] - known_s[right - 1]), 0.0, 1.0)
        value, low, high, p99 = table[..., right - 1] * (1 - share) + table[..., right] * share
        return Forecast(ahead, value, low, high, p99, self._sums.learned.copy())

    def resize(self, services: int) -> None:
        """Have room for this many services; none is ever taken away."""
        self._sums.resize(services)
        for model in self._by_step:
            model.resize(services)
        self._forget_tables()

    def state(self) -> State:
        """Plain arrays and numbers, a row per service; zero rows know nothing."""
        out: State = {"second": -1 if self._second is None else self._second} | self._sums.state("sums_")
        for model, width in zip(self._by_step, STEPS_S, strict=True):
            out |= {f"{width}s_{name}": value for name, value in model.state().items()}
        return out

    def restore(self, state: State) -> None:
        """Take up a state. ValueError, and unchanged, when it is not of this model."""
        check_state(state, {}, "second")
        self._sums.check(state, "sums_")
        parts = []
        for model, width in zip(self._by_step, STEPS_S, strict=True):
            prefix = f"{width}s_"
            parts.append({name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)})
            model.check(parts[-1])
        for model, part in zip(self._by_step, parts, strict=True):
            model.restore(part)
        self._sums.restore(state, "sums_")
        self._second = int(state["second"]) if state["second"] >= 0 else None
        self._forget_tables()

    def _rewind(self) -> None:
        for model in self._by_step:
            model.rewind()
        self._sums.counted[:] = self._sums.seconds[:] = 0.0
        self._second = None
        self._forget_tables()

    def _known(self) -> tuple[Floats, Floats]:
        """Seconds ahead at which something is known, and what: value, low, high and p99, by service and horizon."""
        seconds: list[Floats] = []
        tables: list[Floats] = []
        for k, (model, kept) in enumerate(zip(self._by_step, self._tables, strict=True)):
            # A longer step foretells from the last one that is whole, which ended before now.
            since_s = (self._second or 0) % STEPS_S[k] + 1 if k else 0
            seconds.append(np.asarray(model.horizons * model.step_s - since_s, dtype=np.float64))
            if kept is None:
                said = model.predict()
                kept = np.stack([said.value, said.low, said.high, said.p99]) / model.step_s
                self._tables[k] = kept
            new = ~(model.ready & model.up_to_date((self._second or 0) // STEPS_S[k]))
            if k and new.any():
                kept = kept.copy()
                kept[:, new] = _widened(tables[-1][:, new, -1:], seconds[k] / seconds[k - 1][-1])
            tables.append(kept)
        return np.concatenate(seconds), np.concatenate(tables, axis=-1)

    def _forget_tables(self) -> None:
        self._tables: list[Floats | None] = [None] * len(STEPS_S)

    def _close(self, second: int) -> None:
        """Teach the longer steps that ended before this second."""
        for k, width in enumerate(STEPS_S[1:]):
            last = (self._second or 0) // width
            if second // width > last:
                seconds = self._sums.seconds[:, k]
                whole = self._sums.counted[:, k] / np.maximum(seconds, 1) * width
                self._by_step[k + 1].learn(np.where(seconds >= _SEEN_SHARE * width, whole, np.nan), last)
                self._tables[k + 1] = None
                self._sums.counted[:, k] = self._sums.seconds[:, k] = 0.0


def _widened(said: Floats, farther: Floats) -> Floats:
    """Value, low, high and p99 of a horizon as if it were so many times farther: distances grow by the square root."""
    roots = np.sqrt(said)
    return np.maximum(roots[:1] + (roots - roots[:1]) * farther**0.5, 0.0) ** 2
