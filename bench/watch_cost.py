"""What watching costs: `python -m bench.watch_cost`. CPU of one thread, microseconds a stream and tick.

10,000 streams with a season of a day, fed noise until all that is remembered is full, then timed. The bar is 20 us.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from bench.result import Figure, Result, middle, show
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


if __name__ == "__main__":
    show(cost())
    sys.exit(0)
