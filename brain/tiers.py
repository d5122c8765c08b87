"""Endpoints alike share a tier: the load is dealt out between tiers, and within one the shortest queue is picked.

Envoy's LEAST_REQUEST compares the open requests of all endpoints only while their weights are equal; with the first
unequal pair it deals out turns (an earliest-deadline schedule), and sees queues only dimly. So endpoints that differ by
little are given one weight and one tier. To Envoy a tier is a locality of its own: localities take turns by weight, and
inside one the weights are equal and the scan is full. In simulation (20 endpoints of speeds 1:2:4, 4 nodes, 90 % load)
p99 was 681 ms so, 753 ms with the same shares as plain weights, 794 ms with a full scan that knows no weights, and
1,050 to 2,050 ms with two random choices.

Who is alike is decided on the logarithm of capacity: within a quarter, or within what the intervals leave open. A
tier of one has nobody to compare with, so it joins its neighbour, weights unequal as they are.

A scan protects as well: who turns slow collects a queue as long as its neighbours' and no longer, if they can bear the
rest. So a tier is given, where there is room elsewhere, no more than it can bear with one endpoint less.

Where a node has hardly any requests open at an endpoint (many nodes, little load each), its own queue says nothing.
Then there is one tier, and the turns are dealt out among all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ALIKE = float(np.log(1.25))
"""Capacities within this ratio are one tier's."""
SPREAD = 3.5
"""Standard errors from the strongest to the weakest of about ten equal ones."""
UNSURE_ALIKE = float(np.log(1.6))
"""However wide their intervals, endpoints further apart than this are not taken for alike."""
NEIGHBOURS = float(np.log(3.0))
"""A tier of one joins another no further away than this: beyond, it would only be a lame one among many."""
TELLING = 0.1
"""Open requests a node and endpoint from which on a node's own queues say something: `dataplane/pick/choose.h` too."""
BUSY = 0.9
"""Who takes over for one that is lost is planned to be no busier, so that their queues stay short."""


def telling(open_requests: float, endpoints: int, nodes: float) -> bool:
    """Do nodes see enough of the queues to pick by them: `TELLING` open requests a node and endpoint."""
    return open_requests >= TELLING * endpoints * max(nodes, 1.0)


def alike(log_capacity: Floats, error: Floats) -> Ints:
    """Which tier each endpoint is in, 0 the strongest. Shapes (n,); `error` is the standard error of the logarithm.

    Walks down from the strongest, and begins a new tier at the first that is out of reach of the present tier's first.
    """
    order = np.argsort(-log_capacity, kind="stable")
    reach = np.clip(SPREAD * error, ALIKE, UNSURE_ALIKE)[order].tolist()
    out = np.zeros(len(order), dtype=np.int64)
    tier, first = 0, np.inf
    for at, value in enumerate(log_capacity[order].tolist()):
        if first == np.inf:
            first = value
        elif first - value > reach[at]:
            tier, first = tier + 1, value
        out[order[at]] = tier
    return out


def middles(values: Floats, tiers: Ints) -> Floats:
    """Each endpoint's tier's mean. Shape (n,)."""
    count = np.bincount(tiers)
    return np.asarray((np.bincount(tiers, values) / np.maximum(count, 1))[tiers])


def joined(tiers: Ints, log_capacity: Floats, counts: NDArray[np.bool_]) -> Ints:
    """Tiers of one that `counts` (not held at the floor) put to their nearest neighbours, numbered from 0 again."""
    out = tiers.copy()
    for tier in np.flatnonzero(np.bincount(tiers) == 1).tolist():
        members = np.flatnonzero(out == tier)
        if len(members) != 1 or not counts[members[0]]:
            continue
        away = np.where((out != tier) & counts, np.abs(log_capacity - log_capacity[members[0]]), np.inf)
        nearest = int(away.argmin())
        if away[nearest] <= NEIGHBOURS:
            out[members[0]] = out[nearest]
    there = np.bincount(out) > 0
    return np.asarray((np.cumsum(there) - 1)[out], dtype=np.int64)


def without_one(tiers: Ints, log_capacity: Floats) -> Floats:
    """How busy each endpoint may be so that its tier could bear the load without its strongest. Shape (n,).

    0 for one that is alone: nobody takes over. In a tier whose weights are unequal turns are dealt out, and the others
    take over in part: a turn counts the less the more its endpoint has open.
    """
    capacity = np.exp(log_capacity - log_capacity.max(initial=-np.inf))
    strongest = np.zeros(int(tiers.max(initial=-1)) + 1)
    np.maximum.at(strongest, tiers, capacity)
    return np.asarray(BUSY * (1.0 - strongest / np.maximum(np.bincount(tiers, capacity), 1e-300))[tiers])


def evened(weights: Ints, tiers: Ints) -> Ints:
    """Weights of one tier that differ by rounding alone made exactly equal: only then does Envoy compare queues."""
    by_tier: dict[int, list[int]] = {}  # plain lists: a service has few tiers, most of them of few endpoints
    for weight, tier in zip(weights.tolist(), in_tiers := tiers.tolist(), strict=True):
        by_tier.setdefault(tier, []).append(weight)
    even = {}
    for tier, own in by_tier.items():
        mean = sum(own) / len(own)
        if 0 < max(own) - min(own) <= max(2, int(0.05 * mean)):
            even[tier] = max(1, round(mean))
    if not even:
        return weights
    return np.array([even.get(t, w) for w, t in zip(weights.tolist(), in_tiers, strict=True)], dtype=np.int64)
