"""How a proxy picks an endpoint, compiled: Envoy 1.40's own ways.

From `source/extensions/load_balancing_policies/common/load_balancer_impl.cc` and `common/upstream/edf_scheduler.h`:

* random: any endpoint, weights ignored;
* unequal weights: earliest deadline first. The endpoint picked is put back at its deadline + 1 / weight, where least
  request divides the weight by open requests + 1 (`active_request_bias` 1.0), counted before this pick;
* equal weights: round robin walks round; least request takes the better of two drawn with replacement, the first if
  they are equal, or scans all and draws among the least;
* tiers (localities under locality-weighted balancing) take turns by the sums of their weights, in a schedule of the
  same kind, and what was said holds within each (`locality_wrr.cc`); here none but the full scan has them;
* any change of hosts or weights builds a new schedule, as if a number of picks that is the worker's own for life had
  been made of it already (`createWithPicks`).
"""

from __future__ import annotations

from math import inf

import numpy as np

from dataplane.simulated.arrays import Nodes, Notes, Servers
from dataplane.simulated.compiled import compiled, inlined
from dataplane.simulated.leased_pick import leased_pick, stretch
from dataplane.simulated.serving import answer_s, piece_at

RANDOM, ROUND_ROBIN, LEAST_REQUEST, FULL_SCAN, REPORTED, OUTLIERS, PEAK_EWMA, PREQUAL, JSED_LOCAL, JSED, CLAIRVOYANT = (
    range(11)
)
LEASED = 11
"""Ways to pick, as numbers; the last is our own module's (`leased_pick`)."""
NOBODY = 1 << 62
"""More open requests than any endpoint has."""
EVEN_ENOUGH = 1e-13
"""What Envoy adds to each weight as it builds a schedule, so that none is a multiple of another."""


@inlined
def pressed(n: Nodes, v: int, arm: int, e: int) -> float:
    """An endpoint's weight as the schedule has it now."""
    lane = n.lane[v, arm, e]
    if n.cluster[v, arm].way in (ROUND_ROBIN, REPORTED):
        return float(lane.weight)
    return float(lane.weight / (lane.open + 1.0))


@inlined
def earliest(n: Nodes, v: int, arm: int, tier: int) -> int:
    """The endpoint of the tier whose deadline is first, put back at its next one."""
    best = -1
    for j in range(n.node[v].ups):
        e = int(n.up[v, j])
        if n.lane[v, arm, e].tier != tier:
            continue
        if best < 0:
            best = e
            continue
        sooner = n.lane[v, arm, e].deadline - n.lane[v, arm, best].deadline
        if sooner < 0.0 or (sooner == 0.0 and n.lane[v, arm, e].stamp < n.lane[v, arm, best].stamp):
            best = e
    lane, cluster = n.lane[v, arm, best], n.cluster[v, arm]
    lane.deadline += 1.0 / pressed(n, v, arm, best)
    lane.stamp = cluster.stamps
    cluster.stamps += 1
    return best


@compiled
def turn(n: Nodes, v: int, arm: int) -> int:
    """The tier whose deadline is first, put back at its next one. Tiers of nobody pass."""
    best = -1
    for t in range(n.cluster[v, arm].tiers):
        tier = n.tier[v, arm, t]
        if tier.weight == 0.0:
            continue
        if best < 0:
            best = t
            continue
        sooner = tier.deadline - n.tier[v, arm, best].deadline
        if sooner < 0.0 or (sooner == 0.0 and tier.stamp < n.tier[v, arm, best].stamp):
            best = t
    tier, cluster = n.tier[v, arm, best], n.cluster[v, arm]
    tier.deadline += 1.0 / tier.weight
    tier.stamp = cluster.stamps
    cluster.stamps += 1
    return best


@compiled
def rebuild(n: Nodes, v: int, arm: int) -> None:
    """New schedules over those that are up: in each tier, and of the tiers where there are several."""
    cluster = n.cluster[v, arm]
    if cluster.way == LEASED:
        stretch(n, v, arm)
        return
    cluster.total, cluster.stamps = 0.0, n.node[v].ups
    for t in range(cluster.tiers):
        fill(n, v, arm, t)
        cluster.total += n.tier[v, arm, t].weight
    if cluster.tiers == 1 or cluster.total == 0.0:
        return
    done = 0
    for t in range(cluster.tiers):
        tier = n.tier[v, arm, t]
        if tier.weight > 0.0:
            picks = skipped(tier.weight, cluster.total, cluster.skip)
            tier.deadline = (picks + 1) / tier.weight
            tier.stamp = t
            done += picks
    while done < cluster.skip:
        turn(n, v, arm)
        done += 1


@compiled
def skipped(weight: float, total: float, skip: int) -> int:
    """How many of `skip` picks an entry of this weight has surely had; the rest of them have to be made."""
    picks = int(weight * skip / total)
    return picks - 1 if picks > 0 and picks / weight >= skip / total else picks


@compiled
def fill(n: Nodes, v: int, arm: int, t: int) -> None:
    """A new schedule of one tier; none where all its weights are equal."""
    cluster, tier, ups = n.cluster[v, arm], n.tier[v, arm, t], n.node[v].ups
    first, pressure = -1.0, 0.0
    tier.weight, tier.even = 0.0, True
    for j in range(ups):
        lane = n.lane[v, arm, n.up[v, j]]
        if lane.tier == t:
            first = lane.weight if first < 0.0 else first
            tier.weight += lane.weight
            pressure += pressed(n, v, arm, n.up[v, j]) + EVEN_ENOUGH
            tier.even = tier.even and lane.weight == first
    if tier.even:
        return
    done = 0
    for j in range(ups):
        lane = n.lane[v, arm, n.up[v, j]]
        if lane.tier == t:
            weight = pressed(n, v, arm, n.up[v, j]) + EVEN_ENOUGH
            picks = skipped(weight, pressure, cluster.skip)
            lane.deadline = (picks + 1) / weight
            lane.stamp = j
            done += picks
    while done < cluster.skip:
        earliest(n, v, arm, t)
        done += 1


@compiled
def line_up(n: Nodes, notes: Notes, v: int) -> None:
    """Take up who is a member and not ejected, and begin all schedules anew."""
    ups = 0
    for e in range(len(n.members)):
        if n.members[e] and notes.note[v, e].ejected_at_s == inf:
            n.up[v, ups] = e
            ups += 1
    n.node[v].ups = ups
    for arm in range(2):
        rebuild(n, v, arm)


@compiled
def cost(
    n: Nodes,
    s: Servers,
    way: int,
    v: int,
    arm: int,
    e: int,
    at_s: float,
    demand_s: float,
    mean_s: float,
    timeout_s: float,
) -> float:
    """What a scan compares: the expected seconds to an answer, of which an error costs as much as giving up.

    `demand_s` is this request's, known to the clairvoyant alone; the mean any oracle knows.
    """
    piece, server = s.pieces[e, piece_at(s, e, at_s)], s.server[e]
    if way == CLAIRVOYANT:
        good_s = answer_s(s, e, at_s, demand_s) - at_s
    elif piece.hang:
        good_s = inf
    elif way == JSED_LOCAL:
        good_s = mean_s * (n.lane[v, arm, e].open + 1.0) / (server.workers * piece.speed)
    else:
        good_s = mean_s * max(1.0, (server.here + 1.0) / server.workers) / piece.speed + piece.extra_s
    if good_s == inf:
        return inf  # whatever it would have answered
    return float((1.0 - piece.error_share) * good_s + piece.error_share * timeout_s)


@compiled
def scan(
    n: Nodes,
    s: Servers,
    v: int,
    arm: int,
    at_s: float,
    demand_s: float,
    mean_s: float,
    timeout_s: float,
    rng: np.random.Generator,
) -> int:
    """The endpoint of least cost; among equal ones each is as likely."""
    way, best, least, ties = n.cluster[v, arm].way, int(n.up[v, 0]), inf, 0
    for j in range(n.node[v].ups):
        e = n.up[v, j]
        c = cost(n, s, way, v, arm, e, at_s, demand_s, mean_s, timeout_s)
        if c < least:
            best, least, ties = e, c, 1
        elif c == least:
            ties += 1
            if int(rng.random() * ties) == 0:
                best = e
    return best


@inlined
def full_scan(n: Nodes, v: int, arm: int, tier: int, rng: np.random.Generator) -> int:
    """The endpoint of the tier with least open requests; of equal ones each is as likely (reservoir sampling)."""
    best, ties, least = -1, 1, NOBODY
    for j in range(n.node[v].ups):
        e = int(n.up[v, j])
        if n.lane[v, arm, e].tier != tier:
            continue
        c = n.lane[v, arm, e].open
        if c < least:
            best, least, ties = e, c, 1
        elif c == least:
            ties += 1
            if int(rng.random() * ties) == 0:
                best = e
    return best


@inlined
def stock(n: Nodes, v: int, arm: int, at_s: float, rng: np.random.Generator) -> int:
    """One of Envoy's ways that need no more than weights and open requests."""
    cluster, ups = n.cluster[v, arm], n.node[v].ups
    if cluster.way == RANDOM:
        return int(n.up[v, int(rng.random() * ups)])
    if cluster.way == LEASED:
        return leased_pick(n, v, arm, at_s, rng)
    tier = turn(n, v, arm) if cluster.tiers > 1 else 0
    if not n.tier[v, arm, tier].even:
        return earliest(n, v, arm, tier)
    if cluster.way in (ROUND_ROBIN, REPORTED):
        cluster.turn += 1
        return int(n.up[v, (cluster.turn - 1) % ups])
    if cluster.way == FULL_SCAN:
        return full_scan(n, v, arm, tier, rng)
    first, second = int(n.up[v, int(rng.random() * ups)]), int(n.up[v, int(rng.random() * ups)])
    return second if n.lane[v, arm, second].open < n.lane[v, arm, first].open else first
