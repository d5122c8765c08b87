"""Physical bounds: what no policy beats, computed over the very fleet and trace that a policy met.

* Central queue: one queue, first come first served, and a request is bound to a worker only when one is free. The floor
  for whoever does not know how long a request will take.
* JSED: each request joins the shortest expected delay, with true queues and true speeds and no lag: the fair oracle for
  a router, which has to bind at once.
* Static weights: the best split that never moves.
* Clairvoyant: least work left, with every demand known beforehand: for mixed request classes.

An oracle knows an endpoint's error share, and not a request's luck: to it an error costs what giving up costs, so it
goes where some answers are errors only when all others would take about as long. It uses only members, and nobody that
hangs for good. Neither of central queue and JSED is strictly optimal (Harchol-Balter, "Performance
Modeling and Design of Computer Systems", 2013, chapter 24): quote the lower as the oracle.
"""

from __future__ import annotations

from math import inf

import numpy as np

from dataplane.contract import Endpoint, Node, Service, Topology
from dataplane.simulated import arrays
from dataplane.simulated.central import central
from dataplane.simulated.fleet import Fate, Fleet, Floats, Ints, Trace
from dataplane.simulated.fleet_mesh import FleetMesh, Rhythm
from dataplane.simulated.logs import fate_of

WEIGHT_OF_ALL = 100_000
"""Integer weights of a split add up to about this."""


def topology_at(
    fleet: Fleet, at_s: float, nodes: int = 1, routes: tuple[str, ...] = ("all",), version: int = 1
) -> Topology:
    """The members at that time as one service "lab". An endpoint's id is its row, so that a late one has its own."""
    members = fleet.members(at_s).tolist()
    endpoints = tuple(Endpoint(e, fleet.names[e], int(fleet.weight[e]), fleet.zones[e]) for e in members)
    return Topology(
        version=version,
        services=(Service(0, "lab", endpoints),),
        nodes=tuple(Node(v, f"node-{v}") for v in range(nodes)),
        routes=routes,
        route_services=(0,) * len(routes),
        endpoint_slots=len(fleet),
    )


def central_queue(fleet: Fleet, trace: Trace, timeout_s: float = 15.0) -> Fate:
    """One queue for all, the fastest free worker first."""
    book = arrays.every(trace, timeout_s)
    mean_s = float(trace.demand_s.mean()) if len(trace) else 1.0
    central(arrays.servers(fleet), book, timeout_s, mean_s)
    return fate_of(book)


def jsed(fleet: Fleet, trace: Trace, timeout_s: float = 15.0) -> Fate:
    """Join the shortest expected delay, with full information."""
    return _over(fleet, trace, "jsed", timeout_s)


def clairvoyant(fleet: Fleet, trace: Trace, timeout_s: float = 15.0) -> Fate:
    """Join whoever will answer first, every demand known."""
    return _over(fleet, trace, "clairvoyant", timeout_s)


def static_weights(fleet: Fleet, trace: Trace, timeout_s: float = 15.0) -> Fate:
    """The best fixed split, dealt out evenly by one schedule: the lowest p99 of a few that are each the best of a kind.

    The split of least mean delay is not that of least p99, and where capacity moves neither has a formula: tried are
    `split` and the one by capacity, for the capacity at the start, for its mean over the trace and for its least.
    """
    load = float(trace.demand_s.sum()) / max(_end_s(trace), 1e-9)
    fates = []
    for capacity in _capacities(fleet, _end_s(trace)):
        for share in (split(capacity, fleet.workers, load), capacity / max(float(capacity.sum()), 1e-9)):
            weights = np.maximum(1.0, np.round(WEIGHT_OF_ALL * share))
            fates.append(_over(fleet, trace, "round_robin", timeout_s, weights))
    felt_s = [np.where(fate.ok, fate.latency_s, timeout_s) for fate in fates]
    return fates[int(np.argmin([np.quantile(f, 0.99) if len(f) else 0.0 for f in felt_s]))]


def _end_s(trace: Trace) -> float:
    return float(trace.at_s[-1]) if len(trace) else 0.0


def _capacities(fleet: Fleet, end_s: float) -> list[Floats]:
    """Capacity by endpoint while it is a member: at first, in the mean, at least. All the same where nothing moves."""
    moments = np.unique(np.concatenate([[0.0], fleet.since_s.ravel(), fleet.joins_s, fleet.leaves_s]))
    moments = moments[moments < max(end_s, 1e-9)]
    present = np.array([(fleet.joins_s <= t) & (t < fleet.leaves_s) for t in moments])
    capacity = np.array([fleet.capacity(t) for t in moments])
    first = capacity[present.argmax(axis=0), np.arange(len(fleet))]
    least = np.where(present, capacity, inf).min(axis=0)
    least = np.where(np.isfinite(least), least, 0.0)
    return [first] if (first == least).all() else [first, fleet.mean_capacity(end_s), least]


def split(capacity: Floats, workers: Ints, load: float) -> Floats:
    """Shares that minimise the mean delay of a fixed split, which is convex: marginal delays are equal where any goes.

    `capacity` and `load` in demand seconds a second. The delay at load x of an endpoint of c workers and capacity C is
    c/C + P/(C - x), where P = (x/C) ** (sqrt(2 (c + 1)) - 1) is the chance to wait (Sakasegawa 1977): for one worker it
    is 1/(C - x) and the split is the square-root rule. A load that is too much for all is split by capacity.
    """
    total = float(capacity.sum())
    if load >= 0.999 * total or load <= 0.0:
        return np.asarray(capacity / max(total, 1e-12))
    low, high = 0.0, 1e6
    for _ in range(60):
        price = (low + high) / 2
        if _taken(capacity, workers, price).sum() < load:
            low = price
        else:
            high = price
    taken = _taken(capacity, workers, high)
    return np.asarray(taken / taken.sum())


def _taken(capacity: Floats, workers: Ints, price: float) -> Floats:
    """The load of each endpoint at which one more costs this much. Shape (E,)."""
    low, high = np.zeros_like(capacity), np.ones_like(capacity)  # of utilisation
    some = np.where(capacity > 0, capacity, 1.0)
    power = np.sqrt(2.0 * (workers + 1.0)) - 1.0
    for _ in range(40):
        u = (low + high) / 2
        waits = u**power / (some * (1.0 - u))
        marginal = workers / some + waits * (1.0 + power + u / (1.0 - u))
        low, high = np.where(marginal < price, u, low), np.where(marginal < price, high, u)
    return np.asarray(np.where(capacity > 0, low * capacity, 0.0))


def _over(fleet: Fleet, trace: Trace, policy: str, timeout_s: float, weights: Floats | None = None) -> Fate:
    """One node that all go through. Its picks need chance to break ties alone: of a seed that is always the same."""
    one = Trace.of(
        at_s=trace.at_s, node=np.zeros(len(trace)), klass=trace.klass, demand_s=trace.demand_s, luck=trace.luck
    )
    ties = np.random.Generator(np.random.PCG64(0))
    rhythm = Rhythm(flush_s=inf, report_s=inf, timeout_s=timeout_s)
    mesh = FleetMesh(topology_at(fleet, 0.0), fleet, one, ties, policy=policy, weights=weights, rhythm=rhythm)
    for version, at_s in enumerate(fleet.changes_s(), start=2):
        mesh.run(at_s)
        mesh.moved(topology_at(fleet, at_s, version=version))
    return mesh.finish()
