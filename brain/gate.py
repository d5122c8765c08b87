"""When new weights may go out.

A push of weights restarts the pick schedule of every Envoy worker. Pushed too often, each worker only ever walks the
first part of its schedule, and endpoints of low weight are never picked: they starve, yield no samples and can never
recover (measured: at 2 requests/s and a push a second, two of four endpoints got nothing). So a push waits until

1. it is worth it: some endpoint's goal differs from its weight by more than the deadband and by more than one unit,
   which is rounding and not news;
2. `push_interval_s` has passed since the last one;
3. the workers have walked their schedules: nine tenths of the service's picks since the last push were made by nodes
   whose every worker made `picks_per_cycle * sum(w) / min(w)` picks of its own. The least weight is that of those that
   the push does not raise: an endpoint on its way up from the floor has nothing to lose by it. Nor does one at the
   floor count that was heard of in the last `HEARD_S`, from either arm: it does not starve, and its long cycle would
   hold up all others. Picks count, not nodes:
   a node that carries nothing cannot hold the others up, and one with a trickle cannot starve an endpoint that the
   others serve. With no picks at all there is nothing to starve but nothing to learn from either, and the push waits.

An emergency, a cut that leads to a share smaller by `drain_factor` or more, need not wait for 3, but only once per
`drain_interval_s`. Where it leads counts, and not its first step: what is taken from one is held back by how fast the
others may rise. Picks per node come from its load reports and are taken as spread evenly over its workers. Where
our module weighs queues (`dataplane.pick`) a push restarts nothing: there 3 does not hold. Where it deals out turns it
does, though nothing restarts either: it keeps weights from following what is noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from brain.settings import Guard

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

CROWD = 8.0
"""Workers from which on they need not each walk whole schedules: each begins its own somewhere else, and together they
reach everybody. The more there are, the less it takes by bad luck for all of them to miss the same endpoint: together
they need as many walks as `CROWD` at first, and from `CROWD` squared on as one."""
HEARD_S = 10.0
WALKED_SHARE = 0.9
"""Of the picks since the last push, how many must come from nodes that walked whole schedules."""


@dataclass(slots=True)
class Gate:
    """One service's gate: what was so at its last push."""

    pushed_at: float = -np.inf
    drained_at: float = -np.inf
    picks: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # by node

    def held(
        self,
        weights: Ints,
        goal: Ints,
        in_force: Ints,
        spared: Bools,
        picks: Ints,
        workers: Ints,
        now: float,
        g: Guard,
        *,
        restarts: bool = True,
    ) -> str:
        """Why these weights may not go out now, "" when they may. Weights: shape (n,), picks and workers (nodes,).

        `spared`: who does not starve, however short the walks. Shape (n,). `restarts`: a push restarts schedules.
        """
        moved = np.abs(goal - in_force)
        if not (moved > np.maximum(g.deadband * in_force, 1)).any() or (weights == in_force).all():
            return "within the deadband"
        if now - self.pushed_at < g.push_interval_s:
            return f"the last push was {now - self.pushed_at:.1f} s ago"
        if not restarts:
            return ""
        drains = (goal * g.drain_factor <= in_force) & (weights < in_force)
        if drains.any() and now - self.drained_at >= g.drain_interval_s:
            return ""
        counts = ~spared if not spared.all() else spared
        stays = counts & (weights <= in_force)
        return self._waits_for_picks(in_force[stays if stays.any() else counts], in_force, picks, workers, g)

    def pushed(self, goal: Ints, in_force: Ints, picks: Ints, now: float, g: Guard) -> None:
        """A step to this goal went out."""
        if (goal * g.drain_factor <= in_force).any():
            self.drained_at = now
        self.pushed_at = now
        self.picks = picks.copy()

    def _waits_for_picks(self, counts: Ints, in_force: Ints, picks: Ints, workers: Ints, g: Guard) -> str:
        before = np.zeros(len(picks), dtype=np.int64)
        before[: len(self.picks)] = self.picks[: len(picks)]
        since = np.maximum(picks - before, 0)  # a node that was restarted counts from 0 again
        cycle = float(in_force.sum() / counts.min())
        need = g.picks_per_cycle * cycle * np.maximum(workers, 1) * walk_of_each(int(np.maximum(workers, 1).sum()))
        walked, total = int(since[since >= need].sum()), int(since.sum())
        if total > 0 and walked >= WALKED_SHARE * total:
            return ""
        return f"{total} picks since the last push are too few for whole schedules ({need.min():.0f} a node)"


def walk_of_each(workers: int) -> float:
    """What part of a whole walk each of so many workers has to make."""
    crowd = CROWD / max(workers, 1)
    return min(1.0, max(crowd * crowd, crowd / CROWD))
