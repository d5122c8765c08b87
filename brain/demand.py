"""What will be asked of each service, and how much of what it bears that leaves.

Once a second what was asked since the last time is learned, and the next half hour foretold. Capacities are what the
brain has learned of endpoints anyway, and what is left of them at the upper end of the forecast is the spare. Nothing
is decided by a forecast: people, metrics and autoscalers read it. What was asked is used (`brain.swells`, the watch).

What was not in sight is unknown to the forecaster, and nothing is told of a service that was not seen for
`UNSEEN_S`: an old forecast looks just like a new one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from brain.decision import EndpointView, ForecastView
from brain.hindsight import HORIZONS_S, ForetoldView, Hindsight
from dataplane.contract import Requests
from features.demand import Arrivals
from models.base import take_rows
from models.demand import Demand as Foretells  # the one place that says who does

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dataplane.contract import Telemetry, Topology
    from features.columns import NodeFeatures
    from models.base import Floats, State
    from models.forecast import Forecaster

AHEAD_S = (1.0, 10.0, 60.0, 300.0, 900.0, 1800.0)
STEP_S = 1.0
"""What is learned from in one go: faster ticks wait for it."""
MOST_AT_ONCE_S = 60
"""Seconds that one tick tells of: no tick is slower."""
UNSEEN_S = 60.0
KNOWN_SHARE = 0.5
"""Of a service's endpoints must have a known capacity before the service's is told."""

Row = tuple[float | None, ...]  # by horizon
Said = tuple[Row, Row, Row, Row]  # value, low, high, p99
UNKNOWN: Said = ((None,) * len(AHEAD_S),) * 4


class Demand:
    """Of one topology."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._arrivals = Arrivals(topology.service_slots)
        self._forecaster = _forecaster(topology)
        self._hindsight = Hindsight(topology.service_slots)
        self._learned_at = -np.inf
        self._seen_at = np.full(topology.service_slots, -np.inf)
        self._now_per_s: Floats = np.full(topology.service_slots, np.nan)
        self._said: list[Said] = []  # by service slot; those that came since the last step are not in it
        self._count: list[float] = []

    @property
    def now_per_s(self) -> Floats:
        """What was asked in the last step, requests a second by service slot; NaN where not all was in sight."""
        return self._now_per_s

    def told(self, batch: Telemetry) -> None:
        """Count what was asked."""
        if isinstance(batch, Requests):
            self._arrivals.told(batch)

    def learn(self, nodes: NodeFeatures, expected: NDArray[np.bool_], now: float) -> None:
        """Learn what came since the last time, and foretell. Nothing happens until a step has passed.

        `expected`: which nodes ought to be in sight, shape (nodes,).
        """
        if now - self._learned_at < 0.95 * STEP_S:  # a tick that came a little early is a step all the same
            return
        since_s = round(now) - round(self._learned_at) if np.isfinite(self._learned_at) else 1
        self._learned_at = now
        self._now_per_s = self._arrivals.freeze(nodes, expected, now)
        self._seen_at[~np.isnan(self._now_per_s)] = now
        # The forecaster counts seconds, and what was asked is the mean since the last time: of a slow tick, of each.
        for before_s in reversed(range(min(max(since_s, 1), MOST_AT_ONCE_S))):
            self._forecaster.learn_many(self._now_per_s, now - before_s)
        told = self._forecaster.predict_many(np.array(AHEAD_S))
        recent = (now - self._seen_at <= UNSEEN_S)[:, None, None]
        figures = np.stack([told.value, told.low, told.high, told.p99], axis=1)  # (services, 4, horizons)
        figures = np.where(recent, figures, np.nan)
        self._hindsight.step(self._now_per_s, figures[:, :3, : len(HORIZONS_S)].T, now)
        self._said = _known(figures)
        self._count = told.count.tolist()

    def foretold(self) -> tuple[ForetoldView, ...]:
        """How well what came was foretold."""
        return self._hindsight.views(self._topology)

    def view(self, service: int, capacity: float | None) -> ForecastView:
        """What is told of a service slot that bears so many requests a second, None for unknown."""
        value, low, high, p99 = self._said[service] if service < len(self._said) else UNKNOWN
        spare = tuple(None if h is None or not capacity else 1.0 - h / capacity for h in high)
        now_per_s = float(self._now_per_s[service])
        return ForecastView(
            now_per_s=now_per_s if math.isfinite(now_per_s) else None,
            ahead_s=AHEAD_S,
            value=value,
            low=low,
            high=high,
            p99=p99,
            spare=spare,
            count=self._count[service] if service < len(self._count) else 0.0,
        )

    def moved(self, topology: Topology) -> None:
        """Have room for this topology."""
        self._topology = topology
        more = topology.service_slots - self._seen_at.size
        if more > 0:
            self._arrivals.resize(topology.service_slots)
            self._forecaster.resize(topology.service_slots)
            self._hindsight.resize(topology.service_slots)
            self._seen_at = np.pad(self._seen_at, (0, more), constant_values=-np.inf)
            self._now_per_s = np.pad(self._now_per_s, (0, more), constant_values=np.nan)

    def state(self) -> State:
        """What the forecaster knows, by the services' names. What was in sight is seen anew within seconds."""
        ids = np.array([s.id for s in self._topology.services], dtype=np.int64)
        return {
            "forecaster": type(self._forecaster).__name__,
            "services": [s.name for s in self._topology.services],
            "model": take_rows(self._forecaster.state(), ids),
            "foretold": take_rows(self._hindsight.state(), ids),
        }

    def restore(self, state: State) -> None:
        """Take up a state under this run's integers. One of another forecaster is no use, and passed over.

        ValueError, and unchanged, when it is odd. Nothing is told before something is seen.
        """
        if state["forecaster"] != type(self._forecaster).__name__:
            return
        forecaster, ids = _forecaster(self._topology), {s.name: s.id for s in self._topology.services}
        pairs = [(row, ids[name]) for row, name in enumerate(state["services"]) if name in ids]
        rows, ours = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        model = forecaster.state()
        for name, kept in state["model"].items():
            if not isinstance(model.get(name), np.ndarray):
                model[name] = kept
                continue
            if np.shape(kept)[1:] != model[name].shape[1:] or len(kept) != len(state["services"]):
                raise ValueError(f"demand's {name!r} has shape {np.shape(kept)}: not a row for each service")
            model[name][ours] = np.asarray(kept)[rows]
        hindsight = Hindsight(self._topology.service_slots)
        if "foretold" in state:  # none in a state from before it was kept
            hindsight.restore(state["foretold"], rows, ours)
        forecaster.restore(model)
        self._forecaster, self._hindsight = forecaster, hindsight


def capacity_of(endpoints: Sequence[EndpointView]) -> float | None:
    """What a service bears, attempts a second. An endpoint that is not known yet is taken to be as the known ones are;
    None when less than half are known."""
    known = [e.capacity for e in endpoints if e.capacity is not None]
    if not known or len(known) < KNOWN_SHARE * len(endpoints):
        return None
    return sum(known) / len(known) * len(endpoints)


def _forecaster(topology: Topology) -> Forecaster:
    return Foretells(topology.service_slots)


def _known(figures: Floats) -> list[Said]:
    """Rows of plain numbers, with None where a figure is not finite."""
    return [(_row(value), _row(low), _row(high), _row(p99)) for value, low, high, p99 in figures.tolist()]


def _row(figures: list[float]) -> Row:
    return tuple(x if x - x == 0 else None for x in figures)
