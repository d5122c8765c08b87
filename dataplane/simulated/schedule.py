"""Virtual time: a heap of things to do.

Order is time, then priority, then insertion (SimPy's rule), so that equal times are always met in the same order and a
run is a function of its seed.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any


class Schedule:
    """What is to happen, and the time now."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self._heap: list[tuple[float, int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._next = count()

    def at(self, time: float, do: Callable[..., None], *args: Any, priority: int = 1) -> None:
        """Do this at that time, or now if it has passed. Lower priority goes first at equal times."""
        heappush(self._heap, (max(time, self.now), priority, next(self._next), do, args))

    def run(self, until: float) -> None:
        """Do all that is due before `until`, then let it be that time. What falls on it is left for the next run."""
        heap = self._heap
        while heap and heap[0][0] < until:
            self.now, _, _, do, args = heappop(heap)
            do(*args)
        self.now = max(self.now, until)
