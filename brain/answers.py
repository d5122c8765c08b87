"""How long good answers take and how many fail, of many streams, each against its own last minutes.

A change is looked for that matters: about twice as slow (`models.page`, `models.usual`), and failures in fifty
(`models.failing`). Each tick is looked at by itself, for figures that fade are no new evidence, and its scatter is what
is usual of such ticks and at least what so few requests must have. A tick in which nothing ended is unknown.

The streams are services (`brain.service_watch`), or what one of its callers asks of one (`brain.edge_watch`).
"""

from __future__ import annotations

import numpy as np

from brain.explain import duration, percent
from models.base import Floats
from models.failing import Failing, limit
from models.page import Page, other_mean
from models.usual import Usual

SLOWER = float(np.log(2.4))
"""What is looked for. Less than the square root of it, half as slow again, never adds up."""
LEAST_SPREAD = 0.2
"""Of the logarithm of a tick's mean latency."""
YOUNG_S = 30.0
"""For so long what a stream usually does is hardly known, and a change from it may be none."""
LATELY_S = 3.0
"""Half-life of what is told of failures."""
AS_USUAL = 1.7
"""Times the usual that a latency may be and is still told as usual."""
_EVIDENCE, _FAILS = 16.0, 14.0


class Answers:
    """Of so many streams."""

    def __init__(self, streams: int) -> None:
        self.latency = Usual(streams, least_spread=0.1)  # of the logarithm of a tick's mean
        self.slow = Page(streams, _EVIDENCE, most=7.0)
        self.failing = Failing(streams, _FAILS)
        self.lately = np.zeros((2, streams))  # what ended and what failed, fading

    def slower(self, good: Floats, good_s: Floats, now: float) -> tuple[Floats, Floats, Floats]:
        """Take in how many requests ended well and the seconds that they took, shape (n,) each.

        Returns their mean latency, by how much its logarithm lies above the usual, and how that scatters; NaN for
        unknown. Who is slow is then in `slow`.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            latency = good_s / good
            log = np.log(latency)
            scatter = np.maximum(np.maximum(self.latency.spread, LEAST_SPREAD), good**-0.5)
        usual = np.where(self.latency.known_s(now) >= YOUNG_S, self.latency.mean, np.nan)
        self.slow.learn_many(other_mean(log, usual, scatter, SLOWER))
        lasting = self.latency.learn_many(log, self.slow.odd, now)
        self.slow.forget(lasting)
        return np.asarray(latency), np.asarray(log - usual), np.asarray(scatter)

    def fails(self, ended: Floats, failed: Floats, since_s: float) -> tuple[Floats, Floats]:
        """Take in what ended in the last `since_s`, and what of it failed. Returns the share lately, and the usual."""
        usual = self.failing.learn_many(ended, failed, since_s)
        self.lately = self.lately * 0.5 ** (since_s / LATELY_S) + np.stack([ended, failed])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.lately[0] > 0, self.lately[1] / self.lately[0], np.nan), usual

    def parts(self) -> dict[str, Usual | Page | Failing]:
        """What has a state of its own, by name."""
        return {"latency": self.latency, "slow": self.slow, "failing": self.failing}

    def resize(self, streams: int) -> None:
        """Have room for this many."""
        for part in self.parts().values():
            part.resize(streams)
        self.lately = np.pad(self.lately, ((0, 0), (0, max(streams - self.lately.shape[1], 0))))


def slow_band(usual: Floats) -> tuple[Floats, Floats]:
    """Between what a latency is told as usual."""
    return usual / AS_USUAL, usual * AS_USUAL


def failing_band(usual: Floats) -> tuple[Floats, Floats]:
    """Between what a share of failures is told as usual."""
    return np.zeros_like(usual), limit(usual)


def said_slow(value: float, usual: float) -> str:
    """In words."""
    return f"takes {duration(value)} a request, usually {duration(usual)}"


def said_failing(value: float, usual: float) -> str:
    """In words."""
    return f"fails {percent(value)} of its requests, usually {percent(usual)}"
