"""How an Envoy worker picks an endpoint, as its source has it.

With unequal weights both ROUND_ROBIN and LEAST_REQUEST use an earliest-deadline-first schedule
(`source/common/upstream/edf_scheduler.h`): an endpoint's next deadline is its last one plus 1 / weight, where for
LEAST_REQUEST the weight is divided by its open requests plus one (`active_request_bias` 1.0). With equal weights
LEAST_REQUEST takes the better of two random choices, or as FULL_SCAN the best of all, and ROUND_ROBIN walks round.
RANDOM ignores weights. With tiers (localities, and locality-weighted balancing) the tiers take turns by the sums of
their weights, in a schedule of the same kind, and what was said holds within one (`LocalityWrr`).

A change of weights builds a new schedule, and every new schedule begins at its start: pushed too often, only the first
picks are ever made. Envoy lets each process skip a few picks of a new schedule by a seed of its own; so does `skip`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heapreplace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Pick = Callable[[], int]
"""Returns the position of the picked endpoint among the members."""


def picker(
    policy: str, weights: Sequence[int], active: Callable[[int], int], rng: np.random.Generator, skip: int
) -> Pick:
    """One worker's picker. `active(i)` counts member i's open requests at this node. ValueError: no such policy."""
    n = len(weights)
    uneven = len(set(weights)) > 1
    if policy == "RANDOM":
        return lambda: int(rng.random() * n)
    if policy == "ROUND_ROBIN":
        return deadlines([float(w) for w in weights], lambda _: 1.0, skip) if uneven else _walk(n, skip)
    if policy == "LEAST_REQUEST":
        if uneven:
            return deadlines([float(w) for w in weights], lambda i: 1.0 / (active(i) + 1), skip)
        return _best_of_two(n, active, rng)
    raise ValueError(f"the simulated mesh has no policy {policy!r}; it has LEAST_REQUEST, ROUND_ROBIN and RANDOM")


def tiered(
    weights: Sequence[int],
    tiers: Sequence[int],
    active: Callable[[int], int],
    rng: np.random.Generator,
    skip: int,
) -> Pick:
    """One worker's picker on the adaptive arm. `tiers` as `ServicePlan.tiers`, a number for each member."""
    groups = {t: [i for i, tier in enumerate(tiers) if tier == t] for t in dict.fromkeys(tiers)}
    inside = [_least_of(members, weights, active, rng, skip) for members in groups.values()]
    if len(inside) == 1:
        return inside[0]
    turn = deadlines([float(sum(weights[i] for i in members)) for members in groups.values()], lambda _: 1.0, skip)
    return lambda: inside[turn()]()


def _least_of(
    members: Sequence[int],
    weights: Sequence[int],
    active: Callable[[int], int],
    rng: np.random.Generator,
    skip: int,
) -> Pick:
    """Among some members: all of them compared when their weights are equal, else turns by weight and open requests."""
    mine = [float(weights[i]) for i in members]
    if len(set(mine)) > 1:
        turn = deadlines(mine, lambda k: 1.0 / (active(members[k]) + 1), skip)
        return lambda: members[turn()]

    def scan() -> int:
        best, least, ties = members[0], active(members[0]), 1
        for i in members[1:]:
            count = active(i)
            if count < least:
                best, least, ties = i, count, 1
            elif count == least:  # as Envoy does: each of those that tie has the same chance to stay
                ties += 1
                best = i if int(rng.random() * ties) == 0 else best
        return best

    return scan


def deadlines(weights: Sequence[float], factor: Callable[[int], float], skip: int) -> Pick:
    """Earliest deadline first, equal ones in the order they were set. `factor(i)` scales a weight as it is picked."""
    entries = [(1.0 / (w * factor(i)), i, i) for i, w in enumerate(weights)]
    heapify(entries)
    order = len(entries)

    def pick() -> int:
        nonlocal order
        deadline, _, i = entries[0]
        heapreplace(entries, (deadline + 1.0 / (weights[i] * factor(i)), order, i))
        order += 1
        return i

    for _ in range(skip):
        pick()
    return pick


def _walk(n: int, skip: int) -> Pick:
    at = skip - 1

    def pick() -> int:
        nonlocal at
        at += 1
        return at % n

    return pick


def _best_of_two(n: int, active: Callable[[int], int], rng: np.random.Generator) -> Pick:
    def pick() -> int:
        first, second = int(rng.random() * n), int(rng.random() * n)
        return first if active(first) <= active(second) else second

    return pick
