"""Quantiles of latency by endpoint, and by route where an endpoint serves several: told to people, deciding nothing.

From each tick's attempts a bounded sample is learned (`features.sample`, `models.latency`), and the quantiles of those
that were in it are told anew; the others' stand. So a tick costs the same however many endpoints there are.

Off unless `Models.quantiles` asks for it: the model is compiled, which takes some 15 s on a new installation and half a
second after that. The first object of a process waits for that; `warm_up` beforehand spares it the wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dataplane.contract import Requests
from features.sample import Pool
from models.base import put_rows, take_rows
from models.latency import LatencyQuantiles
from models.latency_streams import PATTERNS

if TYPE_CHECKING:
    from dataplane.contract import Telemetry, Topology
    from models.base import Ints, Prediction, State

Told = dict[str, Any]
"""`p50`, `p95` and `p99`, each as [low, value, high] in seconds with a 90 % interval; `count`, the number of latencies
behind them; and `at`, the brain's time when the last of these was learned."""

ROWS_A_TICK = 150
MOST_ENDPOINTS = 2000
"""Slots beyond are passed over: of so many, a sample of a tick holds too few of each to tell its quantiles."""
LEAST = 30
"""Latencies of an endpoint, or of a route there, before its quantiles are told."""
FIGURES = 4
"""Digits that are told: what lies beyond is no knowledge."""

_NO_CLASS = 65_535
"""Stands for any class: of a class that is in no stream, a model tells what its endpoint does."""
_STREAMS_AN_ENDPOINT = 4
_MOST_STREAMS = 8192


class Quantiles:
    """Of one topology."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._pool = Pool(ROWS_A_TICK)
        self._streams = _streams(topology)
        self._model = LatencyQuantiles(self._streams)
        self._heard: dict[int, dict[int, int]] = {}  # by endpoint and class: latencies learned
        self._told: dict[int, Told] = {}
        self._by_route: dict[int, dict[str, Told]] = {}
        warm_up()

    def told(self, batch: Telemetry) -> None:
        """Let attempts wait for the tick."""
        if isinstance(batch, Requests):
            self._pool.told(batch)

    def learn(self, now: float) -> None:
        """Learn from a sample of what came since the last tick."""
        drawn = self._pool.draw()
        slots = min(self._topology.endpoint_slots, MOST_ENDPOINTS)
        if drawn is None or not slots:
            return
        x, took_s = drawn
        here = (x["endpoint"] < slots) & (
            self._topology.service_of[np.minimum(x["endpoint"], slots - 1)] == x["service"]
        )
        if not here.any():
            return
        x = {name: column[here] for name, column in x.items()}
        self._model.learn_many(x, took_s[here])
        self._say(*self._count(x), now)

    def of(self, endpoint: int) -> Told | None:
        """What is told of an endpoint; None when not known."""
        return self._told.get(endpoint)

    def by_route(self, endpoint: int) -> dict[str, Told]:
        """The same by route's name, where the endpoint was seen to serve more than one."""
        return dict(self._by_route.get(endpoint, {}))

    def moved(self, topology: Topology) -> None:
        """Have room for this topology, and forget who left."""
        self._topology = topology
        if _streams(topology) > self._streams:
            state, self._streams = self._model.state(), _streams(topology)
            self._model = LatencyQuantiles(self._streams)
            self._model.restore(_fit(state, _rows(state), self._streams))
        gone = [e for e in self._heard if topology.service_of[e] < 0]
        for e in gone:
            for known in (self._heard, self._told, self._by_route):
                known.pop(e, None)

    def _count(self, x: dict[str, Ints]) -> tuple[Ints, Ints]:
        """Count what was learned; the endpoints and classes that it was about."""
        pairs, counts = np.unique(x["endpoint"] * (_NO_CLASS + 1) + x["class"], return_counts=True)
        endpoints, classes = np.divmod(pairs, _NO_CLASS + 1)
        for e, c, n in zip(endpoints.tolist(), classes.tolist(), counts.tolist(), strict=True):
            by_class = self._heard.setdefault(e, {})
            by_class[c] = by_class.get(c, 0) + n
        return endpoints, classes

    def _say(self, endpoints: Ints, classes: Ints, now: float) -> None:
        """Tell the quantiles of these classes at these endpoints, and of the endpoints as a whole."""
        several = np.array([e for e in dict.fromkeys(endpoints.tolist()) if len(self._heard[e]) > 1], dtype=np.int64)
        e = np.concatenate([endpoints, several])
        c = np.concatenate([classes, np.full(several.size, _NO_CLASS)])
        said = _plain(self._model.predict_many({"service": self._topology.service_of[e], "endpoint": e, "class": c}))
        for endpoint, of_class, told in zip(e.tolist(), c.tolist(), said, strict=True):
            by_class = self._heard[endpoint]
            if told is None:
                continue
            told["at"] = now
            if of_class == _NO_CLASS or len(by_class) == 1:
                if sum(by_class.values()) >= LEAST:
                    self._told[endpoint] = told
            elif 0 < of_class <= len(self._topology.routes) and by_class[of_class] >= LEAST:
                self._by_route.setdefault(endpoint, {})[self._topology.routes[of_class - 1]] = told

    def state(self) -> State:
        """What the model knows, with the names that its integers stand for."""
        state, topology = self._model.state(), self._topology
        return {
            "services": [[s.id, s.name] for s in topology.services],
            "endpoints": [[e.id, s.name, e.address] for s in topology.services for e in s.endpoints],
            "routes": list(topology.routes),
            "model": take_rows(state, _rows(state)),
        }

    def restore(self, state: State) -> None:
        """Take up a state under this run's integers; who has left is left out. ValueError, and unchanged, if it is odd.

        Nothing is told of an endpoint until it is heard of again.
        """
        topology = self._topology
        services = {s.name: s.id for s in topology.services}
        endpoints = {(s.name, e.address): e.id for s in topology.services for e in s.endpoints}
        routes = {name: i for i, name in enumerate(topology.routes)}
        renamed = (
            {int(i): services.get(name, -1) for i, name in state["services"]},
            {int(i): endpoints.get((service, address), -1) for i, service, address in state["endpoints"]},
            {0: 0} | {i + 1: routes.get(name, -2) + 1 for i, name in enumerate(state["routes"])},
        )
        ids = np.asarray(state["model"]["ids"])
        new = np.array(
            [[of.get(i, -1) if i >= 0 else -1 for of, i in zip(renamed, row, strict=True)] for row in ids.tolist()]
        )
        new = new.reshape(-1, 3).astype(np.int64)
        stay = np.flatnonzero(((new >= 0) == (ids.reshape(-1, 3) >= 0)).all(axis=1))[: _streams(topology)]
        kept, seen = dict(state["model"]) | {"ids": new}, np.asarray(state["model"]["seen"])
        if (seen < 0).any() or (seen[:, 2] >= PATTERNS).any():  # compiled code would look for these outside its arrays
            raise ValueError("this state counts latencies that cannot be")
        model = LatencyQuantiles(_streams(topology))
        model.restore(_fit(kept, stay, _streams(topology)))
        self._model, self._streams, self._heard = model, _streams(topology), {}
        leaves = stay[(new[stay] >= 0).all(axis=1)]
        for (_, e, c), count in zip(new[leaves].tolist(), seen[leaves, 0].tolist(), strict=True):
            self._heard.setdefault(e, {})[c] = count


def _streams(topology: Topology) -> int:
    """How many to have room for: each endpoint's own and some routes'."""
    return min(_STREAMS_AN_ENDPOINT * topology.endpoint_slots + 256, _MOST_STREAMS)


def _rows(state: State) -> Ints:
    """Which rows of a model's state are some stream's."""
    return np.flatnonzero(np.asarray(state["ids"])[:, 0] >= 0)


def _fit(state: State, rows: Ints, streams: int) -> State:
    """A state of so many streams, with these rows of the old one first and the rest of nobody."""
    out = put_rows(take_rows(state, rows), np.arange(rows.size), streams)
    for name in ("ids", "heard"):
        out[name][rows.size :] = -1
    return out


def _plain(said: Prediction) -> list[Told | None]:
    """Of each request; None where the model is not ready."""
    figures = np.stack([said.low, said.value, said.high], axis=-1).transpose(1, 0, 2)  # (requests, levels, 3)
    known = np.asarray((np.isfinite(figures) & (figures > 0)).all(axis=(1, 2)))
    figures = np.where(known[:, None, None], figures, 1.0)
    scale = 10.0 ** (FIGURES - 1 - np.floor(np.log10(figures)))
    told = (np.round(figures * scale) / scale).tolist()
    counts = np.where(known, said.count.min(axis=0), 0.0).astype(np.int64).tolist()
    return [
        {"p50": f[0], "p95": f[1], "p99": f[2], "count": n} if k else None
        for f, n, k in zip(told, counts, known.tolist(), strict=True)
    ]


def warm_up() -> None:
    """Let the compiler, or the disk, bring the machine code now and not in a tick. Nothing to do a second time."""
    model, x = LatencyQuantiles(4), {"service": np.zeros(1, np.int64), "endpoint": np.zeros(1, np.int64)}
    model.learn_many(x, np.ones(1))
    model.predict_many(x)
