"""How long will a request take? Its p50, p95 and p99, each with an interval, by endpoint and request class.

Latency is two problems in one. Most of the time an endpoint is what it was, and the more of its past one looks at the
better; then it is in trouble, and all but its last few answers mislead. No window is right for both. So several are
asked, and others that know more than a window (`models.latency_experts`), and their answers are averaged by how well
each did of late (`models.latency_mixture`).

It is prequential: what is said of a request rests on those alone that were learned before, so on those that had
ended, if that is when they were taught. The model knows no time; it forgets by requests, not by seconds.

Compiled by numba, an exception in this folder: experts learn from each request what the next one asks of them, so
there is nothing to vectorise, and as plain Python it takes a millisecond a request. The first call of a new
installation compiles, some 15 s; after that the machine code is read from disk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.base import Floats, Ints, Prediction, State, check_state
from models.latency_mixture import learn, predict, replay
from models.latency_paths import Paths, pack, unpack
from models.latency_streams import EXPERTS, Streams, empty

LEVELS = (0.5, 0.95, 0.99)

_SHORTEST_S, _LONGEST_S = 1e-7, 1e15
"""Less was not measured; more would be no number of nanoseconds either, should somebody count in those."""

_BY_ROW = tuple(name for name in Streams._fields if name != "trouble")


class LatencyQuantiles:
    """Quantiles of latency at `levels`, in seconds, of at most `streams` streams: four for a first request.

    A request is `x`: its `service`, `endpoint` and `class`, integers from 0 (below 65,536, 16.7 million and 65,536; a
    class left out is 0), and `in_flight`, how many others its endpoint had open when it started, where that is known.
    `experts`: those to ask, of `EXPERTS`. ValueError when levels are no rising shares, or streams below 4.

    >>> model = LatencyQuantiles(streams=8)
    >>> rng = np.random.default_rng(7)
    >>> for took in rng.exponential(0.1, 500):
    ...     model.learn_one({"service": 0, "endpoint": 3}, took)
    >>> said = model.predict_many({"service": [0], "endpoint": [3]})
    >>> said.value.round(2).ravel(), said.low.round(2).ravel(), said.high.round(2).ravel()  # true: 0.07, 0.30, 0.46
    (array([0.08, 0.29, 0.53]), array([0.07, 0.26, 0.33]), array([0.11, 0.38, 0.86]))
    """

    def __init__(self, streams: int, *, levels: Sequence[float] = LEVELS, experts: Sequence[str] = EXPERTS) -> None:
        if not levels or not all(0 < level < 1 for level in levels) or list(levels) != sorted(set(levels)):
            raise ValueError(f"levels must be rising shares between 0 and 1, not {levels}")
        if streams < 4:
            raise ValueError(f"a request alone has four streams, so {streams} are too few")
        if not set(experts) <= set(EXPERTS):
            raise ValueError(f"experts are {EXPERTS}, not {tuple(experts)}")
        self.levels = tuple(levels)
        self._shares = np.array(levels, dtype=np.float64)
        self._used = np.array([name in experts for name in EXPERTS])
        self._streams = empty(streams, len(levels))
        self._paths = Paths(streams)

    def learn_one(self, x: Mapping[str, Any], y: float) -> None:
        """Take in one request that took `y` seconds. One without ids or a measured time is passed over."""
        if 0 <= y < math.inf:
            paths = self._room(*self._paths.make_one(x))
            learn(self._streams, paths, _in_flight_of_one(x), _log(np.array([y])), self._shares, self._used)

    def predict_one(self, x: Mapping[str, Any], level: float = 0.95) -> float | None:
        """Seconds at one of the levels; None when not ready. ValueError when it is none of them."""
        out = np.empty((4, len(self.levels), 1))
        predict(self._streams, self._paths.find_one(x), _in_flight_of_one(x), self._shares, self._used, out)
        value = float(out[0, self.levels.index(level), 0])
        return None if math.isnan(value) else value

    def learn_many(self, x: Mapping[str, Any], y: Floats) -> None:
        """Take in requests in the order in which they ended, as `learn_one` would each. Columns of one length."""
        seconds = np.atleast_1d(np.asarray(y, dtype=np.float64))
        measured = (seconds >= 0) & (seconds < np.inf)
        if not measured.all():
            seconds = seconds[measured]
            x = {name: np.broadcast_to(column, measured.shape)[measured] for name, column in x.items()}
        paths = self._room(*self._paths.make(x, len(seconds)))
        learn(self._streams, paths, _in_flight(x, len(seconds)), _log(seconds), self._shares, self._used)

    def predict_many(self, x: Mapping[str, Any]) -> Prediction:
        """Quantiles of requests about to start. Each array has shape (levels, requests); NaN where not ready.

        `low` and `high` bound the true quantile with 90 % confidence, as far as `count` tells, the number of latencies
        behind it. Quantiles of one request rise with the level.
        """
        requests = np.size(x["service"])
        out = np.empty((4, len(self.levels), requests))
        paths = self._paths.find(x, requests)
        predict(self._streams, paths, _in_flight(x, requests), self._shares, self._used, out)
        return Prediction(value=out[0], low=out[1], high=out[2], count=out[3])

    def replay(self, x: Mapping[str, Any], started_s: Floats, took_s: Floats) -> Prediction:
        """What would have been said of each request at its start, each taught when it ended.

        Rows in any order; of two at one moment, ends come before starts, and else the rows' order decides. Requests
        open at an endpoint are counted here. A test holds it to be `predict_one` and `learn_one` in that order. All
        requests' streams must find room.
        """
        requests = len(started_s)
        out = np.empty((4, len(self.levels), requests))
        times = np.concatenate([started_s, np.add(started_s, took_s)])
        order = np.lexsort((np.arange(2 * requests) < requests, times))
        paths = self._room(*self._paths.make(x, requests))
        replay(self._streams, paths, order, _log(np.asarray(took_s, dtype=np.float64)), self._shares, self._used, out)
        return Prediction(value=out[0], low=out[1], high=out[2], count=out[3])

    def state(self) -> State:
        """What is known, a row per stream; `ids` tells whose: service, endpoint and class, -1 for any or none."""
        return {
            "levels": list(self.levels),
            "taught": self._paths.taught,
            "trouble": self._streams.trouble.tolist(),
            "ids": unpack(self._paths.keys),
            "heard": self._paths.heard.copy(),
            **{name: getattr(self._streams, name).copy() for name in _BY_ROW},
        }

    def restore(self, state: State) -> None:
        """Take up a state. ValueError, and unchanged, when levels or the number of streams are not these."""
        if state.get("levels") != list(self.levels):
            raise ValueError(f"this state was kept with levels {state.get('levels')}, here they are {self.levels}")
        arrays = {name: getattr(self._streams, name) for name in (*_BY_ROW, "trouble")}
        like = arrays | {"ids": unpack(self._paths.keys), "heard": self._paths.heard}
        check_state(state, like, "taught")
        for name, array in arrays.items():
            array[:] = state[name]
        self._paths.restore(pack(np.asarray(state["ids"])), np.asarray(state["heard"]), int(state["taught"]))

    def _room(self, paths: Ints, given: Ints) -> Ints:
        """Empty the rows that were given to new streams."""
        if given.size:
            for name in _BY_ROW:
                getattr(self._streams, name)[given] = 0
        return paths


def _log(seconds: Floats) -> Floats:
    return np.asarray(np.log(np.clip(seconds, _SHORTEST_S, _LONGEST_S)))


def _in_flight_of_one(x: Mapping[str, Any]) -> Floats:
    in_flight = x.get("in_flight", math.nan)
    return np.array([in_flight if 0 <= in_flight < math.inf else math.nan], dtype=np.float64)


def _in_flight(x: Mapping[str, Any], requests: int) -> Floats:
    """That column, NaN where it is unknown or no number of requests."""
    column = np.array(np.broadcast_to(x.get("in_flight", np.nan), requests), dtype=np.float64)
    column[~((column >= 0) & (column < np.inf))] = np.nan
    return column
