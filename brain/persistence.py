"""Do differences between endpoints last long enough to be acted on?

Weights act a second or two after what they were learned from. Where endpoints differ for good, that is nothing. Where
a neighbour on the same machine comes and goes every two seconds, the endpoint that was slow is as likely as any other
to be the fast one by the time its weight is cut, and a pick that looks at queues does far better if weights stay out
of its way (in simulation, speeds flipping between 1 and 0.4 every 2 s at 85 % load: p99 1.2 s with a full scan, 1.9 s
with weights that are right on average, 3.2 s with weights that ran after the flips).

So each service is asked how well what was believed came true. The belief is each endpoint's log ratio of capacity to
its peers'; the outcome is the log ratio of its latency in the second that began `LAG_S` later, the other way round. The
slope of outcomes on beliefs, through the origin, weighted by attempts and fading with time, is what part of a
difference is still there when it can be acted on (1: it lasts; 0: it was chance or has passed). It shrinks the beliefs
as the best linear predictor would; below `ACTS_DOWN_TO` nothing is acted on at all, until
`ACTS_FROM` is reached again.

A service begins at a slope of 1, as if it had seen that before: a gray endpoint that shows up in a fleet of equals is
cut at once, and each second that it stays slow is evidence that such differences last.

Where our module weighs queues latencies come out alike whatever is believed, so the outcome is what attempts worked. It
has no use for a part of a difference: told half of it, it would weigh each queue wrongly for good. It is told all or
nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LAG_S = 1.5
"""From a belief to the traffic that it steers: a tick, a push, and the first answers to what was picked by it."""
HALF_LIFE_S = 20.0
PRIOR = 20.0
"""Evidence for a slope of 1 at the start, in attempts times squared log ratios: two dozen attempts at 2.5 times."""
FARTHEST = float(np.log(10.0))
"""A log ratio counts as at most this: one endpoint that collapsed must not outvote all others for minutes."""
ACTS_FROM, ACTS_DOWN_TO = 0.75, 0.55
"""Two, so that a service on the edge does not go to and fro."""


@dataclass(slots=True)
class Persistence:
    """One service's evidence. Arrays by member, in the order of the topology; a change of members clears what waits."""

    acts: bool = True
    agreed: float = PRIOR  # sum of n * belief * outcome
    weighed: float = PRIOR  # sum of n * belief^2
    _waiting: deque[tuple[float, Floats]] = field(default_factory=deque)  # beliefs and when they were held
    _samples: Floats | None = None
    _sum_s: Floats | None = None
    _at: float = 0.0

    @property
    def slope(self) -> float:
        """What part of a difference lasts, 0 to 1."""
        return min(1.0, max(0.0, self.agreed / self.weighed))

    @property
    def trust(self) -> float:
        """What to multiply a difference by before acting on it."""
        return self.slope if self.acts else 0.0

    def moved(self) -> None:
        """Other members."""
        self._waiting.clear()
        self._samples = self._sum_s = None

    def told(self, belief: Floats, latency_s: Floats, good: Floats, half_life_s: float, now: float) -> None:
        """Take in a tick: what is believed now, and decayed mean latencies with the decayed counts behind them.

        Shapes (n,). The attempts since the last tick are told apart from older ones by undoing the decay of
        `half_life_s`. NaN is unknown and passed over.
        """
        counted = np.where(np.isfinite(good) & np.isfinite(latency_s), good, 0.0)
        summed = counted * np.where(np.isfinite(latency_s), latency_s, 0.0)
        before, sum_before, elapsed = self._samples, self._sum_s, now - self._at
        self._samples, self._sum_s = counted, summed
        fresh = fresh_s = None
        if before is not None and sum_before is not None and before.shape == counted.shape and elapsed > 0:
            kept = 0.5 ** (elapsed / half_life_s)
            fresh, fresh_s = counted - kept * before, summed - kept * sum_before
        self._told(belief, fresh, fresh_s, now)

    def told_work(self, belief: Floats, count: Floats, log_work: Floats, now: float) -> None:
        """The same by how long attempts worked, waiting left out: our module evens latencies out at every pick.

        Since the last tick `count` ended well; `log_work` sums the logarithms of their seconds. Shapes (n,).
        """
        self._samples = self._sum_s = None
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            self._told(belief, count, count * np.exp(log_work / count), now)

    def _told(self, belief: Floats, fresh: Floats | None, fresh_s: Floats | None, now: float) -> None:
        """What is believed now, and what came of what was; None where there is nothing to judge by."""
        elapsed, self._at = now - self._at, now
        if fresh is not None and fresh_s is not None and elapsed > 0:
            self._judge(fresh, fresh_s, now)
            fade = 0.5 ** (elapsed / HALF_LIFE_S)
            self.agreed, self.weighed = PRIOR + (self.agreed - PRIOR) * fade, PRIOR + (self.weighed - PRIOR) * fade
        self.acts = self.slope >= (ACTS_DOWN_TO if self.acts else ACTS_FROM)
        self._waiting.append((now, np.clip(belief, -FARTHEST, FARTHEST)))

    def _judge(self, fresh: Floats, fresh_s: Floats, now: float) -> None:
        """Hold what came in since the last tick against the latest belief that is old enough."""
        held = None
        while self._waiting and self._waiting[0][0] <= now - LAG_S:
            held = self._waiting.popleft()[1]
        if held is None or held.shape != fresh.shape:
            return
        seen = (fresh >= 0.5) & (fresh_s > 0) & (fresh_s < np.inf) & np.isfinite(held)
        if int(seen.sum()) < 2:
            return
        n, d = fresh[seen], held[seen]
        outcome = -np.log(fresh_s[seen] / n)
        # Both are told against the same mean, so that what all have in common says nothing.
        d = d - float(n @ d) / float(n.sum())
        outcome = np.clip(outcome - float(n @ outcome) / float(n.sum()), -FARTHEST, FARTHEST)
        self.agreed += float(n @ (d * outcome))
        self.weighed += float(n @ (d * d))
