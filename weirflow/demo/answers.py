"""What a client saw, as columns, and the figures that are read off them.

Latency counts from the time the request was meant to be sent, not from when it got its turn: a stalled server is then
felt by every request that was due during the stall, as its users would feel it (Gil Tene's "coordinated omission").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Arm, Columns, column

UNKNOWN = -1
FEWEST_FOR_A_QUANTILE = 20


@dataclass(frozen=True, slots=True, eq=False)
class Answers(Columns):
    """A row per request that has ended, in the order of ending. Times are the client's monotonic clock."""

    intended_s: NDArray[np.float64] = column("f8")
    latency_s: NDArray[np.float32] = column("f4")  # from `intended_s` to the last byte, or to giving up
    late_s: NDArray[np.float32] = column("f4")  # from `intended_s` to the first byte sent; NaN when none was
    status: NDArray[np.int16] = column("i2")  # 0 when no answer came
    service: NDArray[np.int16] = column("i2")  # index into Load.services
    node: NDArray[np.int16] = column("i2")  # index into Load.nodes
    arm: NDArray[np.int8] = column("i1")  # Arm, or UNKNOWN
    backend: NDArray[np.int16] = column("i2")  # index into Load.backends, or UNKNOWN

    def between(self, start: float, end: float) -> Answers:
        """Those meant to be sent in [start, end)."""
        return self.take((self.intended_s >= start) & (self.intended_s < end))

    def where(self, *, service: int | None = None, arm: Arm | None = None) -> Answers:
        """Those of one service, of one arm, or both."""
        keep = np.ones(len(self), dtype=np.bool_)
        if service is not None:
            keep &= self.service == service
        if arm is not None:
            keep &= self.arm == arm
        return self.take(keep)

    @property
    def failed(self) -> NDArray[np.bool_]:
        """What a user would call broken: no answer, or an answer that is not 2xx or 3xx."""
        return (self.status < 200) | (self.status >= 400)


@dataclass(frozen=True, slots=True)
class Figures:
    """What some requests felt like. Quantiles are over the answered ones; None when they are too few to tell."""

    requests: int
    failed: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None


def figures(answers: Answers) -> Figures:
    """Count and summarise."""
    good = answers.latency_s[~answers.failed]
    quantiles: list[float | None] = [None, None, None]
    if len(good) >= FEWEST_FOR_A_QUANTILE:
        quantiles = [round(float(q) * 1000, 2) for q in np.quantile(good, (0.5, 0.9, 0.99))]
    return Figures(len(answers), int(answers.failed.sum()), *quantiles)


def first_window(
    times_s: NDArray[np.float64],
    hits: NDArray[np.bool_],
    *,
    start: float,
    end: float,
    width_s: float,
    above: float | None = None,
    below: float | None = None,
    fewest: int = 20,
    step_s: float = 0.1,
) -> float | None:
    """How long after `start` the first window ends in which the share of `hits` is above (or below) a bound.

    Windows are `width_s` wide, slide by `step_s` from `start` on, end by `end` at the latest and count only with at
    least `fewest` rows. None when there is no such window. ValueError unless exactly one bound is given.
    """
    if (above is None) == (below is None):
        raise ValueError("give one bound: above or below")
    order = np.argsort(times_s, kind="stable")
    times = times_s[order]
    sums = np.concatenate(([0], np.cumsum(hits[order])))
    steps = int(max(0.0, end - start - width_s) / step_s + 1e-9)
    lefts = start + step_s * np.arange(steps + 1) if end - start >= width_s else np.empty(0)
    first, last = np.searchsorted(times, lefts), np.searchsorted(times, lefts + width_s)
    count = last - first
    share = (sums[last] - sums[first]) / np.maximum(count, 1)
    met = share > above if above is not None else share < below
    found = np.flatnonzero(met & (count >= fewest))
    return float(lefts[found[0]] + width_s - start) if len(found) else None
