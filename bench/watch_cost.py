"""What watching costs: `python -m bench.watch_cost`. CPU of one thread, microseconds a stream and tick.

10,000 streams with a season of a day, fed noise until all that is remembered is full, then timed; and as many edges, a
hundred callers of a hundred services, each of which is heard at each tick (`brain.edge_watch`). The bar is 20 us.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from bench.result import Figure, Result, middle, show
from brain.edge_watch import EdgeWatch
from dataplane.contract import Node, Service, Topology
from features.columns import EdgeFeatures
from models.surprise import Surprise

STREAMS, WARM_UP, TICKS = 10_000, 300, 30
STEPS_PER_DAY = 288
BAR_US = 20.0


def cost(streams: int = STREAMS, warm_up: int = WARM_UP, ticks: int = TICKS) -> Result:
    """Time the ticks, and tell the memory that a stream takes."""
    rng = np.random.default_rng(3)
    model = Surprise(streams, STEPS_PER_DAY)
    took = []
    for tick in range(warm_up + ticks):
        values = rng.normal(100.0, 10.0, streams)
        before = time.thread_time()
        model.learn_many(values)
        if tick >= warm_up:
            took.append((time.thread_time() - before) / streams * 1e6)
    value, low, high = middle(took)
    held = sum(array.nbytes for array in model.state().values() if isinstance(array, np.ndarray))
    result = Result("watch_cost", [Figure("us_a_stream_a_tick", value, "us", bar=BAR_US, low=low, high=high)])
    result.figures.append(Figure("bytes_a_stream", held / streams, "bytes"))
    result.detail |= {"streams": streams, "ticks": ticks}
    return result


def edges(side: int = 100, warm_up: int = 40, ticks: int = TICKS) -> Figure:
    """Time the ticks of a watch over `side` callers of as many services."""
    rng, names = np.random.default_rng(4), tuple(f"service-{i}" for i in range(side))
    nodes = tuple(Node(i, f"node-{i}", service=name) for i, name in enumerate(names))
    topology = Topology(1, tuple(Service(i, name, ()) for i, name in enumerate(names)), nodes)
    caller, service = (index.ravel() for index in np.indices((side, side)))
    watch, took = EdgeWatch(), []
    for tick in range(warm_up + ticks):
        good, failed = rng.poisson(20.0, side * side) + 1.0, rng.poisson(0.02, side * side) * 1.0
        spent = rng.gamma(good, 0.05)
        before = time.thread_time()
        watch.look(EdgeFeatures(names, caller, service, good + failed, failed, good, spent), topology, float(tick))
        if tick >= warm_up:
            took.append((time.thread_time() - before) / side**2 * 1e6)
    value, low, high = middle(took)
    return Figure("us_an_edge_a_tick", value, "us", bar=BAR_US, low=low, high=high)


if __name__ == "__main__":
    measured = cost()
    measured.figures.append(edges())
    show(measured)
    sys.exit(0)
