"""How fast the simulated mesh is: attempts a second on one core, what they cost as there are more, and what memory.

One service of 20 endpoints with 4 workers each at 80 % load, 4 nodes, Poisson arrivals and exponential work, drawn
beforehand. CPU time of the one thread, compiling left out, the median of `TIMES`.

* `attempts_per_s_...`: by each stock way to pick, with equal weights or unequal ones (dealt out by Envoy's schedule);
  with shared workers; with retries and every limit on, where 5 % of answers are errors: at least 1,000,000.
* `growth_...`: the exponent of the time over the number of attempts, from 250,000 to 1,000,000. 1 is linear.
* `stream_mb`: how much more memory the second million of a stream takes than the first, fed and taken in pieces.
* `with_brain_per_s`: the real brain in the loop, told each node's log ten times a second and asked once, at
  `BRAINS_RATE_PER_S`: at least 300,000. `with_brain_slow_per_s` is the same at a tenth of the rate.
* `simpy_per_s`, `times_simpy`: the same fleet with random picks as a SimPy model, in turn with this one.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import numpy as np

from bench.result import CannotRunError, Figure, Result, say, show
from brain.brain import Brain
from brain.settings import Mode, Settings
from dataplane.contract import Endpoint, Node, Service, Topology
from dataplane.simulated import drive
from dataplane.simulated.fleet import Fleet, Floats, Trace
from dataplane.simulated.fleet_mesh import FleetMesh, Rhythm
from dataplane.simulated.rules import RouteRules, Rules

ENDPOINTS, WORKERS, NODES, LOAD = 20, 4, 4, 0.8
RATE_PER_S = 1000.0
BRAINS_RATE_PER_S, BRAINS_S = 40_000.0, 20.0
SMALL, LARGE = 250_000, 1_000_000
TIMES = 5
PIECE = 50_000
SIMPYS = 40_000
NEVER = math.inf
QUIET = Rhythm(flush_s=NEVER, report_s=NEVER)


def fleet_of(speeds: Floats, error_share: float = 0.0, *, sharing: bool = False) -> Fleet:
    """Endpoints of these speeds that never change."""
    many = len(speeds)
    column = np.zeros((many, 1))
    return Fleet(
        names=tuple(f"10.0.0.{e}:80" for e in range(many)),
        zones=("",) * many,
        group=np.zeros(many, np.int64),
        weight=np.ones(many, np.int64),
        workers=np.full(many, WORKERS),
        joins_s=np.zeros(many),
        leaves_s=np.full(many, NEVER),
        since_s=column,
        speed=speeds[:, None],
        extra_s=column,
        error_share=column + error_share,
        status=np.full((many, 1), 503),
        after_s=column + 0.001,
        hang=column.astype(np.bool_),
        sharing=np.full(many, sharing),
    )


def work_for(fleet: Fleet, requests: int, rate_per_s: float = RATE_PER_S, seed: int = 1) -> Trace:
    """Requests that load the fleet to `LOAD` at that rate."""
    rng = np.random.default_rng(seed)
    mean_s = LOAD * float(fleet.workers @ fleet.speed[:, 0]) / rate_per_s
    return Trace.of(
        at_s=np.cumsum(rng.exponential(1 / rate_per_s, requests)),
        node=rng.integers(NODES, size=requests),
        klass=np.zeros(requests),
        demand_s=rng.exponential(mean_s, requests),
        luck=rng.random(requests),
    )


def topology(fleet: Fleet) -> Topology:
    """One service of all of them."""
    endpoints = tuple(Endpoint(e, name) for e, name in enumerate(fleet.names))
    nodes = tuple(Node(v, f"node-{v}") for v in range(NODES))
    return Topology(1, (Service(0, "bench", endpoints),), nodes, ("all",), (0,))


def mesh_of(fleet: Fleet, trace: Any, rhythm: Rhythm = QUIET, **kw: Any) -> FleetMesh:
    """A mesh that has not run."""
    return FleetMesh(topology(fleet), fleet, trace, np.random.default_rng(2), rhythm=rhythm, **kw)


def took_s(fleet: Fleet, trace: Trace, **kw: Any) -> float:
    """CPU seconds from the first request to the last answer."""
    mesh = mesh_of(fleet, trace, **kw)
    before = time.thread_time()
    mesh.finish()
    return time.thread_time() - before


def cases() -> Iterator[tuple[str, Fleet, dict[str, Any]]]:
    """What is measured at both sizes."""
    even, uneven = fleet_of(np.ones(ENDPOINTS)), fleet_of(np.tile([1.0, 2.0], ENDPOINTS // 2))
    for policy in ("random", "round_robin", "least_request", "full_scan"):
        yield policy, even, {"policy": policy}
    weights = 100.0 * uneven.speed[:, 0]
    for policy in ("round_robin", "least_request"):
        yield f"{policy}_weighted", uneven, {"policy": policy, "weights": weights}
    shared = fleet_of(np.ones(ENDPOINTS), sharing=True)
    yield "least_request_shared_workers", shared, {"policy": "least_request"}
    tried_again = RouteRules(timeout_s=15.0, num_retries=2, per_try_timeout_s=5.0)
    rules = Rules("least_request", (tried_again,), 10_000, 10_000, 10_000)
    yield "least_request_all_rules", fleet_of(np.ones(ENDPOINTS), 0.05), {"rules": rules}


def stream_mb(requests: int) -> float:
    """Growth of the process's highest memory over the second half of a stream."""
    fleet = fleet_of(np.ones(ENDPOINTS))

    def pieces() -> Iterator[Trace]:
        for k in range(requests // PIECE):
            piece = work_for(fleet, PIECE, seed=k)
            yield Trace(**{n: getattr(piece, n) for n in Trace.dtypes()} | {"at_s": piece.at_s + starts_s[k]})

    starts_s = 1.01 * PIECE / RATE_PER_S * np.arange(requests // PIECE)
    mesh, at_half, ended = mesh_of(fleet, pieces(), policy="least_request"), 0, 0
    for k, at_s in enumerate(starts_s):
        mesh.run(float(at_s))
        ended += len(mesh.take())
        if k == len(starts_s) // 2:
            at_half = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mesh.finish()
    if ended + len(mesh.take()) != requests:
        raise CannotRunError("the stream lost requests")
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - at_half) / 1024


def with_brain_per_s(rate_per_s: float) -> float:
    """Attempts a second with the real brain told of them, and ticked once a second, in adaptive mode."""
    fleet = fleet_of(np.tile([1.0, 2.0], ENDPOINTS // 2))
    trace = work_for(fleet, int(rate_per_s * BRAINS_S), rate_per_s)
    mesh = mesh_of(fleet, trace, Rhythm())
    brain = Brain(topology(fleet), Settings(mode=Mode.ADAPTIVE))
    before = time.thread_time()
    for _ in drive.run(mesh, brain, BRAINS_S):
        pass
    mesh.finish()
    return len(trace) / (time.thread_time() - before)


def simpy_s(fleet: Fleet, trace: Trace) -> float:
    """CPU seconds of the same in SimPy: random picks, a resource for each endpoint, a process for each request."""
    try:
        import simpy
    except ImportError as error:
        raise CannotRunError("SimPy is not installed: pip install 'weirflow[dev]'") from error
    env, rng = simpy.Environment(), np.random.default_rng(2)
    endpoints = [simpy.Resource(env, WORKERS) for _ in range(len(fleet))]
    picks = rng.integers(len(fleet), size=len(trace)).tolist()
    latency_s = np.zeros(len(trace))

    def request(i: int, demand_s: float, resource: Any) -> Iterator[Any]:
        came_s = env.now
        with resource.request() as turn:
            yield turn
            yield env.timeout(demand_s)
        latency_s[i] = env.now - came_s

    def source() -> Iterator[Any]:
        for i, (at_s, demand_s) in enumerate(zip(trace.at_s.tolist(), trace.demand_s.tolist(), strict=True)):
            yield env.timeout(at_s - env.now)
            env.process(request(i, demand_s, endpoints[picks[i]]))

    env.process(source())
    before = time.thread_time()
    env.run()
    return time.thread_time() - before


def main() -> int:
    """Measure and print. Exit status 0 when it could run."""
    try:
        show(measured())
    except CannotRunError as error:
        say(f"bench.simulated cannot run: {error}")
        return 1
    return 0


def measured() -> Result:
    """All of it. CannotRunError without SimPy."""
    result = Result("simulated")
    say("simulated: a stream")  # first: the highest memory of the process is to be its own
    took_s(fleet_of(np.ones(ENDPOINTS)), work_for(fleet_of(np.ones(ENDPOINTS)), 1000))
    result.figures.append(Figure("stream_mb", stream_mb(2 * LARGE), "MB", 5.0))
    for name, fleet, told in cases():
        say(f"simulated: {name}")
        took_s(fleet, work_for(fleet, 1000), **told)  # compiles
        small, large = work_for(fleet, SMALL), work_for(fleet, LARGE)
        both = [(took_s(fleet, small, **told), took_s(fleet, large, **told)) for _ in range(TIMES)]
        small_s, large_s = (median(times) for times in zip(*both, strict=True))
        per_s = [LARGE / s for _, s in both]
        result.figures.append(
            Figure(
                f"attempts_per_s_{name}", LARGE / large_s, "1/s", 1e6, at_most=False, low=min(per_s), high=max(per_s)
            )
        )
        growth = math.log(large_s / small_s) / math.log(LARGE / SMALL)
        result.figures.append(Figure(f"growth_{name}", growth, bar=1.1))
    say("simulated: with the brain")
    with_brain_per_s(BRAINS_RATE_PER_S / 10)
    for name, rate, bar in (("", BRAINS_RATE_PER_S, 300_000.0), ("_slow", BRAINS_RATE_PER_S / 10, None)):
        found = [with_brain_per_s(rate) for _ in range(TIMES)]
        figure = Figure(f"with_brain{name}_per_s", median(found), "1/s", bar, False, min(found), max(found))
        result.figures.append(figure)
    say("simulated: beside SimPy")
    fleet = fleet_of(np.ones(ENDPOINTS))
    trace = work_for(fleet, SIMPYS)
    turns = [(simpy_s(fleet, trace), took_s(fleet, trace, policy="random")) for _ in range(TIMES)]
    simpys_s, ours_s = (median(times) for times in zip(*turns, strict=True))
    result.figures.append(Figure("simpy_per_s", SIMPYS / simpys_s, "1/s"))
    result.figures.append(Figure("times_simpy", simpys_s / ours_s))
    return result


if __name__ == "__main__":
    sys.exit(main())
