"""How many requests a service may have open while more is asked than it bears.

A mesh ships with breakers of 1024 of everything, which are either decoration or an outage. What is right follows from
what was learned. Endpoints that bear `C` requests a second and work on `K` at once (capacity and lanes, summed) answer
a request that finds `L` open after about

    (L - K) / C + work

by Little's law, and 99 of 100 take no more than `TAIL` times the mean work. So the latency goal `G` of the service
is kept by the `L` that makes the wait `AIM * G - TAIL * work`, and that is the limit: below it nobody is refused, above
it every request more would make all of them late and none more served. It is never so low that a worker could idle:
`L` is at least `IDLE_NEVER` times `K`.

**Armed only when short.** A service that bears what it is asked answers late at times, by luck or because the load is
badly spread, and a refusal mends neither. So a limit is in force only while more is asked than gets done, which no
belief can be wrong about, and that is no mere luck: more is asked than is believed to be borne, or twice as much is
open as the limit allows. And it stays for some seconds longer.

**Corrected by what it does.** Capacity and lanes may be believed too low, and the limit with them; then it refuses what
could have been served in time. Those admitted tell: under a right limit they stay about as long as it is meant to have
them stay. While some are refused and those admitted stay much shorter, the limit rises. While they stay longer it
falls: the limit is too high, or there are others beside those that it holds back.

**Critical requests** are such others. They count apart from the rest (Envoy's priority HIGH), up to the whole of what
keeps the goal, so that the rest, whose limit falls until all of them together are in time, is refused first.

No traffic is held back to measure a baseline, as gradient limiters do: work and lanes are told from waiting all along
(`models.lanes`). A limit is the brain's for seconds only, leased with the weights; what the operator set serves when
it is gone.

Proxies do not know of each other, so each gets the part of the limit that it carries of the traffic, and some more: for
the luck of a share of `L`, and for what a service that is not short of anything would by chance have open there once
in a million requests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from brain.view import known_sum, middle

if TYPE_CHECKING:
    from brain.asked import Asked
    from brain.settings import Limits as Settings
    from brain.view import View

Floats = NDArray[np.float64]

TAIL = 4.6
"""The 99th percentile of exponential work over its mean. Work that varies less waits longer for the same goal."""
AIM = 0.85
"""Of the goal. Waits scatter by the luck of nodes and of what is before one; who is late was served for nothing."""
IDLE_NEVER = 2.0
NEWS = 0.15
"""A limit within this part of the one in force is the same."""
NEVER_BY_CHANCE = 5.0
"""Standard deviations, and requests, above the mean of a Poisson number that it does not reach in a million times."""
SURELY = 3.0
"""Standard errors by which more must be asked than was got done."""
CROWDED = 2.0
"""So many times the limit open at once, and the service is short, whatever it is believed to bear."""
STAYS_ARMED_S = 10.0
"""After the last sign of a shortage: the queue that it left is worked off by then, and a pause is not the end."""
SHORT_STAY, LONG_STAY = 0.7, 1.05
"""Of the mean stay that the limit is for. Shorter, while others are refused, and it is too low; longer, too high."""
MOVES_PER_S = 0.1
"""By which it is corrected then, as a logarithm: slower than the second or two until a step is seen in the stays."""
LEAST_GOOD = 0.01
"""With less good in what a service does, what it bears is not told from it."""
MOST_RISE = math.log(32.0)


@dataclass(frozen=True, slots=True)
class Limit:
    """What one service may have open. `by_node` sums to a little more than `total`."""

    total: int
    goal_s: float
    armed: bool  # in force: the service is short, or was so lately
    short: bool  # now
    by_node: dict[int, int]
    critical: dict[int, int]  # the same for requests that are refused last

    def runtime(self, *, critical: bool = False) -> dict[int, dict[str, int]]:
        """By node id, as Envoy's circuit breakers have it: who waits for a connection is open as well.

        `critical`: some requests of the service are.
        """
        if not self.armed:
            return {}
        out = {v: {"max_requests": n, "max_pending_requests": n} for v, n in self.by_node.items()}
        for v, n in self.critical.items() if critical else ():
            out[v] |= {"high.max_requests": n, "high.max_pending_requests": n}
        return out


@dataclass(frozen=True, slots=True)
class Bearing:
    """What a service bears, as far as its limit is concerned."""

    bears_per_s: float
    working: float  # how many are worked on at once
    goal_s: float
    most_open: float  # what keeps the goal
    stay_s: float  # mean stay of those admitted, when so many are open


@dataclass(slots=True)
class Limiter:
    """One service's limit over time: it moves when there is news."""

    _total: float = math.nan
    _nodes: dict[int, int] = field(default_factory=dict)
    _critical: dict[int, int] = field(default_factory=dict)
    _short_at: float = -math.inf
    _rise: float = 0.0  # logarithm
    _at: float = math.nan

    def limit(
        self,
        view: View,
        carried: Floats,
        asked: Asked,
        goal_s: float | None,
        patience_s: float,
        settings: Settings,
        now: float,
    ) -> Limit | None:
        """The limit now; None where none is known, and what the operator set serves.

        `carried`: by node, what it sent to the service lately; `asked`: of the service; `goal_s`: its own latency goal,
        None when it has none and `goal_times` its work is taken for one; `patience_s`: after which who asks gives up or
        asks again, so no goal is longer.
        """
        found = bearing(view, goal_s, settings.goal_times, patience_s) if settings.enabled and view.ready else None
        since_s, self._at = (0.0 if math.isnan(self._at) else now - self._at), now
        if found is None or not carried.sum() > 0:
            self._total, self._nodes, self._critical, self._rise = math.nan, {}, {}, 0.0
            return None
        short = self._short(view, found, asked)
        if short:
            self._short_at = now
        armed = now - self._short_at <= STAYS_ARMED_S
        self._rise = self._corrected(view, found, asked.refused, since_s) if armed else 0.0
        wanted = max(found.most_open * math.exp(self._rise), found.working)
        if not self._total > 0 or abs(math.log(wanted / self._total)) > NEWS:
            self._total = wanted
        share = carried / carried.sum() if armed else np.zeros(0)
        self._nodes = _news(at_node(self._total, found.working, share), self._nodes)
        self._critical = _news(at_node(max(self._total, found.most_open), found.working, share), self._critical)
        return Limit(math.ceil(self._total), found.goal_s, armed, short, self._nodes, self._critical)

    def _short(self, view: View, found: Bearing, asked: Asked) -> bool:
        """Is more asked than the service can do?"""
        # What timed out was asked for and not done.
        if asked.per_s - SURELY * math.sqrt(2.0) * asked.error < known_sum(view.ok_per_s):
            return False
        crowded = known_sum(view.in_flight) > CROWDED * found.most_open * math.exp(self._rise)
        return crowded or asked.per_s - asked.error > found.bears_per_s

    def _corrected(self, view: View, found: Bearing, refused: bool, since_s: float) -> float:
        """The correction after this tick."""
        ended = known_sum(view.rate_per_s)
        stays_s = known_sum(view.in_flight) / ended if ended > 0 else math.inf
        step = MOVES_PER_S * since_s
        if stays_s > LONG_STAY * found.stay_s:
            return max(math.log(found.working / found.most_open), self._rise - step)
        return min(MOST_RISE, self._rise + step) if refused and stays_s < SHORT_STAY * found.stay_s else self._rise


def _news(own: Floats, before: dict[int, int]) -> dict[int, int]:
    """By node; one stays as it was while its own is hardly another, and who carries nothing has none."""
    out = {}
    for v in np.flatnonzero(own > 0).tolist():
        new, old = int(own[v]), before.get(v)
        out[v] = old if old is not None and abs(new - old) <= NEWS * old else new
    return out


def bearing(view: View, goal_s: float | None, goal_times: float, patience_s: float = math.inf) -> Bearing | None:
    """What the service bears, and how many may be open for its goal. None where too little is known."""
    known = np.isfinite(view.capacity) & (view.capacity > 0)
    if not known.any() or not view.lanes_high >= 1.0:
        return None  # where nothing ever queued nobody knows how many are worked on, and a guess could refuse good ones
    # Capacity counts good answers. What all fail alike they work on all the same, or what times out would lower the
    # limit, and so make itself true.
    with np.errstate(all="ignore"):
        good = view.capacity * view.service_s / view.lanes
    common = middle(good[known]) if np.isfinite(good[known]).all() else 1.0
    bears = float(view.capacity[known].sum()) / min(max(common, LEAST_GOOD), 1.0)
    working = float(view.lanes_high * known.sum())
    work_s = view.lanes * float(known.sum()) / bears
    goal = min(goal_times * work_s if goal_s is None else goal_s, patience_s)
    most = max(working + bears * (AIM * goal - TAIL * work_s), IDLE_NEVER * working)
    return Bearing(bears, working, goal, most, (most - working) / bears + work_s)


def at_node(total: float, working: float, share: Floats) -> Floats:
    """The limits of nodes that carry these shares of the traffic; 0 of who carries nothing. Shape as `share`."""
    own, calm = total * share, working * share
    most = np.ceil(np.maximum(own + np.sqrt(own), calm + NEVER_BY_CHANCE * (np.sqrt(calm) + 1.0)))
    return np.where(share > 0, most, 0.0)
