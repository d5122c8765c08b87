"""What features cost: folding attempts in, and freezing at a tick.

* `told_us_per_row`: one attempt in batches of 2,000, at 200 and 2,000 endpoints. At most 0.3 us.
* `told_3_us`: a batch of three, of ten in each quarter of a second: four nodes of a quiet mesh. At most 60 us.
* `report_us`: one node's load report with every endpoint in it.
* `freeze_ms`: all features of a tick. At most 1 ms with 200 endpoints, 10 ms with 2,000.
* `capacity_ms`: learning from them and predicting.

Each is the least of `ROUNDS` timings: what it costs when nothing else has the core.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import count

import numpy as np

from bench.result import Figure, Result, show
from dataplane.contract import Endpoint, InFlight, Node, Requests, Service, Topology
from features.store import FeatureStore
from models.capacity import Capacity

ROUNDS = 30
PER_SERVICE = 10
QUIET = 10


def mesh(endpoints: int) -> Topology:
    """Services of ten endpoints each, on two nodes."""
    services = []
    for s in range(endpoints // PER_SERVICE):
        ids = range(PER_SERVICE * s, PER_SERVICE * (s + 1))
        services.append(Service(s, f"s{s}", tuple(Endpoint(i, f"10.0.{s}.{i - ids[0]}:80") for i in ids)))
    return Topology(1, tuple(services), (Node(0, "edge-1"), Node(1, "edge-2")))


def attempts(rng: np.random.Generator, topology: Topology, rows: int) -> Requests:
    """Attempts of all outcomes, most of them good, on both arms."""
    endpoint = rng.integers(0, topology.endpoint_slots, rows)
    took = rng.lognormal(-4, 1, rows)
    columns = {name: np.zeros(rows) for name in Requests.dtypes()} | {
        "duration_s": took,
        "ttfb_s": took,
        "felt_s": took,
        "service": topology.service_of[endpoint],
        "endpoint": endpoint,
        "outcome": rng.choice(6, rows, p=[0.95, *[0.01] * 5]),
        "arm": rng.random(rows) < 0.95,
    }
    return Requests.of(**columns)


def report(topology: Topology) -> InFlight:
    """A load report in which every endpoint has something."""
    n = topology.endpoint_slots
    counts = {name: np.ones(n) for name in ("arm", "in_flight", "issued", "succeeded", "failed")}
    return InFlight.report(0, 0.5, service=topology.service_of, endpoint=np.arange(n), **counts)


def least_s(action: Callable[[], object], times: int) -> float:
    """Seconds of one call: the least over rounds of `times` calls."""
    took = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(times):
            action()
        took.append((time.perf_counter() - start) / times)
    return min(took)


def measure(endpoints: int, freeze_bar_ms: float) -> list[Figure]:
    """All figures at one size."""
    rng, topology = np.random.default_rng(1), mesh(endpoints)
    store, capacity = FeatureStore(topology), Capacity(topology.endpoint_slots)
    many, few, load = attempts(rng, topology, 2000), attempts(rng, topology, 3), report(topology)
    for batch in (many, load):
        store.told(batch, 0.0)
    frozen = store.freeze(1.0).endpoints
    quarters = count(4)
    columns = {name: getattr(frozen, name) for name in Capacity.columns}

    def learn() -> None:
        capacity.learn_many(**columns, now=1.0)
        capacity.predict_many()

    def quarter() -> None:
        now = next(quarters) / 4.0
        for _ in range(QUIET):
            store.told(few, now)

    def figure(name: str, action: Callable[[], object], times: int, scale: float, bar: float | None = None) -> Figure:
        unit = name.split("_")[-1] if scale != 1e6 / len(many) else "us"
        return Figure(f"{name}_at_{endpoints}", scale * least_s(action, times), unit, bar=bar)

    return [
        figure("told_us_per_row", lambda: store.told(many, 1.0), 20, 1e6 / len(many), bar=0.3),
        figure("told_3_us", quarter, 5, 1e6 / QUIET, bar=60.0),
        figure("report_us", lambda: store.told(load, 100.0), 20, 1e6),
        figure("freeze_ms", lambda: store.freeze(100.0), 3, 1e3, bar=freeze_bar_ms),
        figure("capacity_ms", learn, 5, 1e3),
    ]


def main() -> int:
    """Measure and print. Exit status 0 when it could run."""
    show(Result("features", measure(200, 1.0) + measure(2000, 10.0)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
