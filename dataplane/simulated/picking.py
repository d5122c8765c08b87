"""How a proxy picks an endpoint, compiled: Envoy 1.40's own ways.

From `source/extensions/load_balancing_policies/common/load_balancer_impl.cc` and `common/upstream/edf_scheduler.h`:

* random: any endpoint, weights ignored;
* unequal weights: earliest deadline first. The endpoint picked is put back at its deadline + 1 / weight, where least
  request divides the weight by (open requests + 1) ** bias, counted before this pick;
* equal weights: round robin walks round; least request takes the better of two drawn with replacement, the first if
  they are equal, or scans all and draws among the least;
* any change of hosts or weights builds a new schedule, as if a number of picks that is the worker's own for life had
  been made of it already (`createWithPicks`). A change of the bias alone is not seen until then.
"""

from __future__ import annotations

from math import inf

import numpy as np

from dataplane.simulated.arrays import Nodes, Servers
from dataplane.simulated.compiled import compiled
from dataplane.simulated.fleet import Floats
from dataplane.simulated.serving import answer_s, piece_at

RANDOM, ROUND_ROBIN, LEAST_REQUEST, FULL_SCAN, REPORTED, OUTLIERS, PEAK_EWMA, PREQUAL, JSED_LOCAL, JSED, CLAIRVOYANT = (
    range(11)
)
"""Ways to pick, as numbers."""
EVEN_ENOUGH = 1e-13
"""What Envoy adds to each weight as it builds a schedule, so that none is a multiple of another."""


@compiled
def pressed(n: Nodes, v: int, arm: int, e: int) -> float:
    """An endpoint's weight as the schedule has it now."""
    bias = n.bias[v, arm]
    if bias == 0.0:
        return float(n.weight[v, arm, e])
    if bias == 1.0:
        return float(n.weight[v, arm, e] / (n.open[v, arm, e] + 1.0))
    return float(n.weight[v, arm, e] / (n.open[v, arm, e] + 1.0) ** bias)


@compiled
def earliest(n: Nodes, v: int, arm: int) -> int:
    """The endpoint whose deadline is first, put back at its next one."""
    best = int(n.up[v, 0])
    for j in range(1, n.ups[v]):
        e = n.up[v, j]
        sooner = n.deadline[v, arm, e] - n.deadline[v, arm, best]
        if sooner < 0.0 or (sooner == 0.0 and n.stamp[v, arm, e] < n.stamp[v, arm, best]):
            best = e
    n.deadline[v, arm, best] += 1.0 / pressed(n, v, arm, best)
    n.stamp[v, arm, best] = n.stamps[v, arm]
    n.stamps[v, arm] += 1
    return best


@compiled
def rebuild(n: Nodes, v: int, arm: int) -> None:
    """A new schedule over those that are up, `skip` picks on."""
    total, even = 0.0, True
    for j in range(n.ups[v]):
        weight = n.weight[v, arm, n.up[v, j]]
        total += weight
        even = even and weight == n.weight[v, arm, n.up[v, 0]]
    n.total[v, arm], n.even[v, arm] = total, even
    if even:
        return
    pressure = 0.0
    for j in range(n.ups[v]):
        pressure += pressed(n, v, arm, n.up[v, j]) + EVEN_ENOUGH
    skip, done = n.skip[v, arm], 0
    for j in range(n.ups[v]):
        e = n.up[v, j]
        weight = pressed(n, v, arm, e) + EVEN_ENOUGH
        picks = int(weight * skip / pressure)
        if picks > 0 and picks / weight >= skip / pressure:
            picks -= 1
        n.deadline[v, arm, e] = (picks + 1) / weight
        n.stamp[v, arm, e] = j
        done += picks
    n.stamps[v, arm] = n.ups[v]
    while done < skip:
        earliest(n, v, arm)
        done += 1


@compiled
def line_up(n: Nodes, v: int, ejected_at_s: Floats) -> None:
    """Take up who is a member and not ejected (infinity: since never), and begin all schedules anew."""
    m = 0
    for e in range(len(n.members)):
        if n.members[e] and ejected_at_s[e] == inf:
            n.up[v, m] = e
            m += 1
    n.ups[v] = m
    rebuild(n, v, 0)
    rebuild(n, v, 1)


@compiled
def cost(
    n: Nodes, s: Servers, way: int, v: int, arm: int, e: int, at_s: float, demand_s: float, mean_s: float
) -> float:
    """What a scan compares. `demand_s` is this request's, known to the clairvoyant alone; the mean any oracle knows."""
    if way == FULL_SCAN:
        return float(n.open[v, arm, e])
    if way == CLAIRVOYANT:
        k = piece_at(s, e, at_s)
        return answer_s(s, e, at_s, demand_s) if s.error_share[e, k] < 1.0 else inf
    k = piece_at(s, e, at_s)
    speed = 0.0 if s.hang[e, k] else s.speed[e, k] * (1.0 - s.error_share[e, k])
    if way == JSED_LOCAL:
        return float((n.open[v, arm, e] + 1.0) / (s.workers[e] * speed))
    return float(mean_s * max(1.0, (s.count[e] + 1.0) / s.workers[e]) / speed + s.extra_s[e, k])


@compiled
def scan(
    n: Nodes,
    s: Servers,
    way: int,
    v: int,
    arm: int,
    at_s: float,
    demand_s: float,
    mean_s: float,
    rng: np.random.Generator,
) -> int:
    """The endpoint of least cost; among equal ones each is as likely (reservoir sampling, as Envoy does)."""
    best, least, ties = int(n.up[v, 0]), inf, 0
    for j in range(n.ups[v]):
        e = n.up[v, j]
        c = cost(n, s, way, v, arm, e, at_s, demand_s, mean_s)
        if c < least:
            best, least, ties = e, c, 1
        elif c == least:
            ties += 1
            if int(rng.random() * ties) == 0:
                best = e
    return best


@compiled
def stock(n: Nodes, s: Servers, way: int, v: int, arm: int, rng: np.random.Generator) -> int:
    """One of Envoy's ways that need no more than weights and open requests."""
    m = n.ups[v]
    if way == RANDOM:
        return int(n.up[v, int(rng.random() * m)])
    if not n.even[v, arm]:
        return earliest(n, v, arm)
    if way in (ROUND_ROBIN, REPORTED):
        n.turn[v, arm] += 1
        return int(n.up[v, (n.turn[v, arm] - 1) % m])
    if way == FULL_SCAN:
        return scan(n, s, way, v, arm, 0.0, 0.0, 0.0, rng)
    first, second = int(n.up[v, int(rng.random() * m)]), int(n.up[v, int(rng.random() * m)])
    return second if n.open[v, arm, second] < n.open[v, arm, first] else first
