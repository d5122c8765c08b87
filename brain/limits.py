"""How many requests a service may have open: what is worked on, and what can wait and still be in time.

A mesh ships with breakers of 1024 of everything, which are either decoration or an outage. What is right follows from
what was learned. Endpoints that bear `C` requests a second and work on `K` at once (capacity and lanes, summed) answer
a request that finds `L` open after about

    (L - K) / C + work

by Little's law, and 99 of 100 take no more than `TAIL` times the mean work. So the latency goal `G` of the service
is kept by the `L` that makes the wait `G - TAIL * work`, and that is the limit: below it nobody is refused, above it
every request more would make all of them late and none more served. It is never so low that a worker could idle: `L`
is at least `IDLE_NEVER` times `K`.

No traffic is held back to measure a baseline, as gradient limiters do: work and lanes are told from waiting all along
(`models.lanes`). A limit is the brain's for seconds only, leased with the weights; what the operator set serves when
it is gone.

Proxies do not know of each other, so each gets the part of the limit that it carries of the traffic, and some more: for
the luck of a share of `L`, and for what a service that is not short of anything would by chance have open there once
in a million requests. The latter is more where each of many proxies carries little, and a refusal that nobody needed
is worse than a wait.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from brain.settings import Limits as Settings
    from brain.view import View

Floats = NDArray[np.float64]

TAIL = 4.6
"""The 99th percentile of exponential work over its mean. Work that varies less waits longer for the same goal."""
IDLE_NEVER = 2.0
NEWS = 0.15
"""A limit within this part of the one in force is the same."""
NEVER_BY_CHANCE = 5.0
"""Standard deviations, and requests, above the mean of a Poisson number that it does not reach in a million times."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What one service may have open. `by_node` sums to a little more than `total`."""

    total: int
    goal_s: float
    by_node: dict[int, int]

    def runtime(self) -> dict[int, dict[str, int]]:
        """By node id, as Envoy's circuit breakers have it: who waits for a connection is open as well."""
        return {v: {"max_requests": n, "max_pending_requests": n} for v, n in self.by_node.items()}


@dataclass(slots=True)
class Limiter:
    """One service's limit over time: it moves when there is news."""

    _total: float = math.nan
    _nodes: dict[int, int] = field(default_factory=dict)

    def limit(self, view: View, carried: Floats, goal_s: float | None, settings: Settings) -> Limit | None:
        """The limit now; None where none is known, and what the operator set serves.

        `carried`: by node, what it sent to the service lately; `goal_s`: the service's own latency goal, None when it
        has none and `goal_times` its work is taken for one.
        """
        found = open_at_goal(view, goal_s, settings.goal_times) if settings.enabled and view.ready else None
        if found is None or not carried.sum() > 0:
            self._total, self._nodes = math.nan, {}
            return None
        wanted, working, goal = found
        if not self._total > 0 or abs(math.log(wanted / self._total)) > NEWS:
            self._total = wanted
        share = carried / carried.sum()
        nodes = {}
        for v in np.flatnonzero(carried > 0).tolist():
            own, before = at_node(self._total, working, float(share[v])), self._nodes.get(v)
            nodes[v] = before if before is not None and abs(own - before) <= NEWS * before else own
        self._nodes = nodes
        return Limit(math.ceil(self._total), goal, nodes)


def open_at_goal(view: View, goal_s: float | None, goal_times: float) -> tuple[float, float, float] | None:
    """How many may be open in all, how many of them are worked on, and the goal. None where too little is known."""
    known = np.isfinite(view.capacity) & (view.capacity > 0)
    if not known.any() or not view.lanes_high >= 1.0:
        return None  # where nothing ever queued nobody knows how many are worked on, and a guess could refuse good ones
    bears, working = float(view.capacity[known].sum()), float(view.lanes_high * known.sum())
    work_s = view.lanes * float(known.sum()) / bears
    goal = goal_times * work_s if goal_s is None else goal_s
    return max(working + bears * (goal - TAIL * work_s), IDLE_NEVER * working), working, goal


def at_node(total: float, working: float, share: float) -> int:
    """The limit of a node that carries this share of the traffic."""
    own, calm = total * share, working * share
    return math.ceil(max(own + math.sqrt(own), calm + NEVER_BY_CHANCE * (math.sqrt(calm) + 1.0)))
