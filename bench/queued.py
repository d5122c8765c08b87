"""Endpoints of some workers and one queue each, and the telemetry of nodes that pick among them: quick, for learners.

Times are exact where a mesh's are sampled, so that a test of what is learned knows the truth to the last request.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Endpoint, Method, Node, Outcome, Requests, Service, Topology
from features.columns import Features
from features.store import FeatureStore

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

START = 1_000_000.0


@dataclass
class Run:
    """Requests by time of arrival: node, endpoint, begin, latency and class of each."""

    node: Ints
    endpoint: Ints
    start: Floats
    took: Floats
    klass: Ints
    topology: Topology


def run(
    seconds: float,
    speeds: Sequence[float] | Callable[[float], Sequence[float]],
    *,
    rate: float,
    work: float = 0.02,
    workers: int = 4,
    nodes: int = 2,
    cv: float = 1.0,
    seed: int = 1,
    heavy: tuple[int, ...] = (),
    route_cost: tuple[float, ...] = (1.0,),
    route_share: tuple[float, ...] = (1.0,),
    extra: float = 0.0,
) -> Run:
    """Poisson arrivals, the better of two by the node's own open requests. `speeds(t)` by endpoint, or a list.

    `heavy`: endpoints to which every second request of class 1 goes.
    """
    rng = np.random.default_rng(seed)
    speed_at: Callable[[float], Sequence[float]] = speeds if callable(speeds) else lambda _: speeds
    count = len(speed_at(0.0))
    free = [[0.0] * workers for _ in range(count)]
    own = np.zeros((nodes, count), dtype=int)
    ends: list[tuple[float, int, int]] = []
    rows: list[tuple[int, int, float, float, int]] = []
    now = 0.0
    while (now := now + rng.exponential(1 / rate)) < seconds:
        while ends and ends[0][0] <= now:
            _, n, e = heapq.heappop(ends)
            own[n, e] -= 1
        n, of_class = int(rng.integers(nodes)), int(rng.random() >= route_share[0])
        a, b = rng.integers(count, size=2)
        e = int(a if own[n, a] <= own[n, b] else b)
        if heavy and of_class == 1 and rng.random() < 0.5:
            e = int(heavy[0])
        begin = max(now, heapq.heappop(free[e]))
        demand = work * route_cost[of_class] * (rng.gamma(cv**-2, cv**2) if cv else 1.0)
        end = begin + demand / speed_at(begin)[e]
        heapq.heappush(free[e], end)
        end += extra
        own[n, e] += 1
        heapq.heappush(ends, (end, n, e))
        rows.append((n, e, now, end - now, of_class))
    node, endpoint, start, took, klass = (np.array(column) for column in zip(*rows, strict=True))
    members = tuple(Endpoint(i, f"10.0.0.{i}:80") for i in range(count))
    routes = tuple(f"route-{i}" for i in range(len(route_cost)))
    named = tuple(Node(i, f"edge-{i}") for i in range(nodes))
    topology = Topology(1, (Service(0, "shop", members),), named, routes, (0,) * len(routes))
    return Run(node, endpoint, start, took, klass, topology)


def ticks(
    it: Run,
    *,
    took: Floats | None = None,
    failed: NDArray[np.bool_] | None = None,
    clocks: Sequence[float] | None = None,
    late: Sequence[float] | None = None,
    store: FeatureStore | None = None,
    routes: bool = True,
    methods: bool = False,
) -> Iterator[tuple[int, Features]]:
    """Tell a store all of it, each node's log every 0.1 s; yields time and features at each second.

    `took` and `failed` put other telemetry in place of the truth; `clocks` and `late` are by node, seconds. A request's
    class is its route, or with `methods` its method on the one route there is.
    """
    store = store or FeatureStore(it.topology)
    nodes = len(it.topology.nodes)
    ahead, behind = (np.zeros(nodes) if v is None else np.asarray(v, dtype=float) for v in (clocks, late))
    seen = np.ceil((it.start + it.took) * 10) / 10 + behind[it.node]
    told = it.took if took is None else took
    zero = np.zeros(len(seen))
    columns: dict[str, Any] = dict.fromkeys(Requests.dtypes(), zero) | {
        "started_s": START + it.start + ahead[it.node],
        "duration_s": told,
        "felt_s": told,
        "endpoint": it.endpoint,
        "node": it.node,
        "route": zero - 1 if not routes else zero if methods else it.klass,
        "method": it.klass + Method.GET if methods else zero,
        "outcome": zero if failed is None else np.where(failed, Outcome.ERROR, Outcome.OK),
    }
    order = np.argsort(seen, kind="stable")
    batch, seen = Requests.of(**columns).take(order), seen[order]
    store.freeze(START)
    at = 0
    for tenth in range(1, int(it.start[-1]) * 10 + 1):
        upto = int(np.searchsorted(seen, tenth / 10 + 1e-9, side="right"))
        if upto > at:
            store.told(batch.take(slice(at, upto)), START + tenth / 10)
            at = upto
        if tenth % 10 == 0:
            yield tenth // 10, store.freeze(START + tenth / 10)


def service_s(features: Features) -> Floats:
    """Latency without waiting, by endpoint."""
    return np.asarray(features.endpoints.level_s * features.endpoints.work_share)
