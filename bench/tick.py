"""What a tick of the brain costs, and how that grows with the mesh.

A mesh is told ten seconds of telemetry as a live one tells it: each node's log every 0.1 s and its load report every
0.5 s, some `RATE_PER_S` attempts a second over all, so that a large mesh is a quiet one. Then a tick a second is timed,
telemetry coming in between. CPU time of the one thread, the median of `TICKS`.

* `tick_ms_200` with 4 nodes: at most 20 ms.
* `tick_ms_10000`, as 50 services of 200 endpoints and as one service, with 4 nodes and with 100: at most 500 ms.
* `demand_us_per_service`: what learning and foretelling demand adds to a tick, for each service: at most 50 us;
  `demand_told_us_per_row`, what counting an attempt adds.
* The same with `..._quantiles`, where latency quantiles are learned and told as well.
* `told_us_per_row`: what folding an attempt in costs there.
* `growth`: the exponent of the tick's cost over the number of endpoints, from 200 to 10,000, 4 nodes. 1 is linear.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from statistics import median

import numpy as np
from numpy.typing import NDArray

from bench.result import Figure, Result, say, show
from brain.brain import Brain
from brain.demand import Demand
from brain.settings import Mode, Models, Settings
from dataplane.contract import Endpoint, InFlight, Node, Requests, Service, Topology
from features.store import FeatureStore

RATE_PER_S = 20_000
WARM_UP_S, TICKS = 8, 5
DEMAND_S = 60  # twice what is seen before anything is foretold
FLUSHES, REPORT_FLUSHES = 10, 5
START_S = 1_800_000_000.0


def mesh(services: int, endpoints: int, nodes: int) -> Topology:
    """So many services of so many endpoints each in three zones, on so many nodes."""
    made = []
    for s in range(services):
        ids = range(s * endpoints, (s + 1) * endpoints)
        members = (Endpoint(i, f"10.{s}.{i >> 8}.{i & 255}:80", zone=f"zone-{i % 3}") for i in ids)
        made.append(Service(s, f"service-{s}", tuple(members)))
    return Topology(1, tuple(made), tuple(Node(n, f"edge-{n}") for n in range(nodes)))


class Wires:
    """Telemetry of one mesh, a second at a time: endpoints of unlike speed, exponential work, a few failures."""

    def __init__(self, topology: Topology, seed: int = 1) -> None:
        self._topology = topology
        self._rng = np.random.default_rng(seed)
        self._mean_s = 0.02 * self._rng.choice([1.0, 2.0, 4.0], topology.endpoint_slots)

    def second(self, now: float) -> Iterator[tuple[float, Requests | InFlight]]:
        """The second that ends now, batch by batch with its time."""
        nodes = len(self._topology.nodes)
        for flush in range(FLUSHES):
            at = now - 1.0 + (flush + 1) / FLUSHES
            for node in range(nodes):
                batch = self._log(node, max(1, RATE_PER_S // nodes // FLUSHES), at)
                yield at, batch
                if (flush + 1) % REPORT_FLUSHES == 0:
                    yield at, self._report(node, batch.endpoint)

    def _log(self, node: int, rows: int, at: float) -> Requests:
        rng = self._rng
        endpoint = rng.integers(0, self._topology.endpoint_slots, rows)
        took = rng.exponential(self._mean_s[endpoint])
        columns = {name: np.zeros(rows) for name in Requests.dtypes()} | {
            "started_s": at - took - rng.uniform(0, 0.1, rows),
            "duration_s": took,
            "ttfb_s": took,
            "felt_s": took,
            "service": self._topology.service_of[endpoint],
            "endpoint": endpoint,
            "node": np.full(rows, node),
            "route": np.full(rows, -1),
            "outcome": rng.random(rows) < 0.01,
            "arm": rng.random(rows) < 0.95,
        }
        return Requests.of(**columns)

    def _report(self, node: int, endpoint: NDArray[np.int32]) -> InFlight:
        seen = np.unique(endpoint)
        counts = {name: np.ones(seen.size) for name in ("arm", "in_flight", "issued", "succeeded")}
        where = {"service": self._topology.service_of[seen], "endpoint": seen, "failed": np.zeros(seen.size)}
        return InFlight.report(node, 0.5, **where, **counts)


def measure(services: int, endpoints: int, nodes: int, models: Models | None = None) -> tuple[float, float]:
    """Milliseconds of a tick, and microseconds of an attempt told."""
    topology = mesh(services, endpoints, nodes)
    settings = Settings(mode=Mode.ADAPTIVE, models=models or Models())
    brain, wires, now = Brain(topology, settings), Wires(topology), START_S
    ticks, told_s, rows = [], 0.0, 0
    for second in range(WARM_UP_S + TICKS):
        now += 1.0
        for at, batch in wires.second(now):
            before = time.thread_time()
            brain.told(batch, at)
            told_s += time.thread_time() - before
            rows += len(batch) if isinstance(batch, Requests) else 0
        before = time.thread_time()
        brain.tick(now)
        if second >= WARM_UP_S:
            ticks.append(time.thread_time() - before)
    return median(ticks) * 1e3, told_s / rows * 1e6


def demand_cost(services: int, nodes: int) -> tuple[float, float]:
    """Microseconds of a tick that each service's demand takes (learning, foretelling, telling), and of a row told."""
    topology = mesh(services, 1, nodes)
    demand, store, wires, now = Demand(topology), FeatureStore(topology), Wires(topology), START_S
    ticks, told_s, rows, expected = [], 0.0, 0, np.ones(nodes, dtype=np.bool_)
    for second in range(DEMAND_S):
        now += 1.0
        for at, batch in wires.second(now):
            store.told(batch, at)
            before = time.thread_time()
            demand.told(batch)
            told_s += time.thread_time() - before
            rows += len(batch) if isinstance(batch, Requests) else 0
        seen = store.freeze(now).nodes
        before = time.thread_time()
        demand.learn(seen, expected, now)
        for s in range(services):
            demand.view(s, 1000.0)
        if second >= DEMAND_S // 2:
            ticks.append(time.thread_time() - before)
    return median(ticks) / services * 1e6, told_s / rows * 1e6


def main() -> int:
    """Measure and print. Exit status 0 when it could run."""
    result, at_four = Result("tick"), dict[int, float]()
    for services, endpoints, nodes in ((20, 10, 4), (50, 200, 4), (1, 10_000, 4), (50, 200, 100), (1, 10_000, 100)):
        name, size = f"{services * endpoints}_as_{services}_on_{nodes}_nodes", services * endpoints
        say(f"tick: {name}")
        tick_ms, told_us = measure(services, endpoints, nodes)
        at_four.setdefault(size, tick_ms)
        result.figures.append(Figure(f"tick_ms_{name}", tick_ms, "ms", bar=20.0 if size <= 200 else 500.0))
        result.figures.append(Figure(f"told_us_per_row_{name}", told_us, "us"))
    for services, endpoints in ((20, 10), (50, 200)):
        name, size = f"{services * endpoints}_as_{services}_on_4_nodes_quantiles", services * endpoints
        say(f"tick: {name}")
        tick_ms, _ = measure(services, endpoints, 4, Models(quantiles=True))
        result.figures.append(Figure(f"tick_ms_{name}", tick_ms, "ms", bar=20.0 if size <= 200 else 500.0))
    for services in (20, 200):
        say(f"tick: demand of {services} services")
        tick_us, told_us = demand_cost(services, 4)
        result.figures.append(Figure(f"demand_us_per_service_{services}", tick_us, "us", bar=50.0))
        result.figures.append(Figure(f"demand_told_us_per_row_{services}", told_us, "us"))
    growth = math.log(at_four[10_000] / at_four[200]) / math.log(50)
    result.figures.append(Figure("growth", growth))
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
