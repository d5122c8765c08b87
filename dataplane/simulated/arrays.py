"""The fast mesh's state: arrays in named tuples, which numba takes as they are.

`Servers` is the truth about endpoints, `Book` what became of each request, `Nodes` what each proxy knows, `Notes` what
the policies that stock Envoy lacks, and those that learn from answers, keep at each proxy. E endpoints with K pieces of
time each, N nodes, R requests, 2 arms; an endpoint's row is its id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataplane.simulated.fleet import Fleet, Trace

A = Any  # a NumPy array; the kind is said beside it

RECENT = 32
"""Latencies that an endpoint remembers, to answer probes with."""
POOL = 16
"""Probes that a Prequal client keeps (NSDI'24, section 4)."""
SEEN = 64
"""Probed queue lengths from which a Prequal client tells hot from cold."""
SKIPS = 429_496_729
"""A new schedule begins up to this many picks on (`createWithPicks` in Envoy's `edf_scheduler.h`)."""


class Servers(NamedTuple):
    """Endpoints as they are. What they report of their load (`busy_share` to `failures_per_s`) is smoothed over 1 s."""

    workers: A  # (E,) i8
    since_s: A  # (E, K) f8, and so on as in `fleet.Fleet`
    speed: A
    extra_s: A
    error_share: A
    status: A
    after_s: A
    hang: A
    joins_s: A  # (E,) f8
    leaves_s: A
    piece: A  # (E,) i8: the piece in force at the last arrival
    free_s: A  # (E, most workers) f8: when each worker has done all that is assigned to it
    count: A  # (E,) i8: requests there, waiting or in work
    told_s: A  # (E,) f8: when the load was last brought up to date
    busy_share: A
    answers_per_s: A
    failures_per_s: A
    latency_s: A  # (E, RECENT) f8, of the last answers
    met: A  # (E, RECENT) i8: how many were there when that request came
    answered: A  # (E,) i8


class Book(NamedTuple):
    """Requests, by their place in the trace."""

    at_s: A  # (R,) f8, and so on as in `fleet.Trace`
    node: A
    demand_s: A
    luck: A
    coin: A  # (R,) f8 in [0, 1): which arm
    endpoint: A  # (R,) i4, -1: there was none
    ended_s: A  # (R,) f8: for its user
    served_s: A  # (R,) f8: when it left the endpoint
    status: A  # (R,) i2
    good: A  # (R,) bool
    begun: A  # (R,) bool: work was done for it, or an answer given
    met: A  # (R,) i8: how many were at the endpoint when it came
    arm: A  # (R,) i1
    plan: A  # (R,) i8
    weight: A  # (R,) i4
    probability: A  # (R,) f4
    order: A  # (R,) i8: requests in the order in which they ended
    heap_s: A  # (2 R + 2,) f8: what is due when ...
    heap_what: A  # (2 R + 2,) i8: ... 3 * request + `kernel.ENDS`, `LEAVES` or `BOTH`
    counts: A  # (3,) i8: arrivals so far, ended so far, entries in the heap


class Nodes(NamedTuple):
    """Proxies. Counts of open requests are per arm: two clusters do not see each other's."""

    policy: A  # (2,) i8, by arm
    members: A  # (E,) bool
    up: A  # (N, E) i8: members that are not ejected, ...
    ups: A  # (N,) i8: ... how many
    open: A  # (N, 2, E) i8
    issued: A  # (N, 2, E) i8, since the last report
    succeeded: A
    failed: A
    weight: A  # (N, 2, E) f8
    total: A  # (N, 2) f8, of those that are up
    even: A  # (N, 2) bool: all of those are equal
    bias: A  # (N, 2) f8
    skip: A  # (N, 2) i8
    turn: A  # (N, 2) i8: of the plain round robin
    deadline: A  # (N, 2, E) f8
    stamp: A  # (N, 2, E) i8: equal deadlines go in the order they were set
    stamps: A  # (N, 2) i8
    share_percent: A  # (N,) f8
    lease_until_s: A  # (N,) f8
    plan: A  # (N,) i8


class Notes(NamedTuple):
    """What a policy that learns from answers keeps at each node."""

    rtt_s: A  # (N, E) f8: peak EWMA's
    rtt_at_s: A
    in_a_row: A  # (N, E) i8: failures
    ejected_at_s: A  # (N, E) f8; inf: it is not
    ejections: A  # (N, E) i8
    due_s: A  # (N,) f8: when to look at ejections or reported weights again
    reported: A  # (N, E) f8: the weight that the last answer's load report gives; 0: none yet
    reported_since_s: A  # (N, E) f8
    probe: A  # (N, POOL) i8: endpoint
    probe_count: A  # (N, POOL) i8
    probe_latency_s: A  # (N, POOL) f8
    probe_at_s: A  # (N, POOL) f8
    probe_uses: A  # (N, POOL) i8
    probes: A  # (N,) i8: how many
    queries: A  # (N,) i8
    seen: A  # (N, SEEN) i8
    seens: A  # (N,) i8


def servers(fleet: Fleet) -> Servers:
    """Idle endpoints."""
    e = len(fleet)
    floats = {name: np.zeros(e) for name in ("told_s", "busy_share", "answers_per_s", "failures_per_s")}
    kept = ("workers", "since_s", "speed", "extra_s", "error_share", "status", "after_s", "hang", "joins_s", "leaves_s")
    return Servers(
        **{name: np.ascontiguousarray(getattr(fleet, name)) for name in kept},
        **floats,
        piece=np.zeros(e, np.int64),
        free_s=np.zeros((e, int(fleet.workers.max(initial=1)))),
        count=np.zeros(e, np.int64),
        latency_s=np.zeros((e, RECENT)),
        met=np.zeros((e, RECENT), np.int64),
        answered=np.zeros(e, np.int64),
    )


def book(trace: Trace, coin: A) -> Book:
    """Requests that are all yet to come."""
    r = len(trace)
    return Book(
        at_s=trace.at_s,
        node=trace.node,
        demand_s=trace.demand_s,
        luck=trace.luck,
        coin=coin,
        endpoint=np.full(r, -1, np.int32),
        ended_s=np.full(r, np.inf),
        served_s=np.full(r, np.inf),
        status=np.zeros(r, np.int16),
        good=np.zeros(r, np.bool_),
        begun=np.zeros(r, np.bool_),
        met=np.zeros(r, np.int64),
        arm=np.zeros(r, np.int8),
        plan=np.zeros(r, np.int64),
        weight=np.zeros(r, np.int32),
        probability=np.zeros(r, np.float32),
        order=np.zeros(r, np.int64),
        heap_s=np.zeros(2 * r + 2),
        heap_what=np.zeros(2 * r + 2, np.int64),
        counts=np.zeros(3, np.int64),
    )


def nodes(count: int, endpoints: int, policies: Sequence[int], rng: np.random.Generator) -> Nodes:
    """Proxies that know nothing and have no member; each has its own place to begin a schedule at."""
    n, e = count, endpoints
    counted = {name: np.zeros((n, 2, e), np.int64) for name in ("open", "issued", "succeeded", "failed", "stamp")}
    return Nodes(
        **counted,
        policy=np.array(policies, np.int64),
        members=np.zeros(e, np.bool_),
        up=np.zeros((n, e), np.int64),
        ups=np.zeros(n, np.int64),
        weight=np.ones((n, 2, e)),
        total=np.zeros((n, 2)),
        even=np.ones((n, 2), np.bool_),
        bias=np.ones((n, 2)),
        skip=rng.integers(SKIPS, size=(n, 2)),
        turn=rng.integers(SKIPS, size=(n, 2)),
        deadline=np.zeros((n, 2, e)),
        stamps=np.zeros((n, 2), np.int64),
        share_percent=np.zeros(n),
        lease_until_s=np.full(n, -np.inf),
        plan=np.zeros(n, np.int64),
    )


def notes(count: int, endpoints: int, first_rtt_s: float, rng: np.random.Generator) -> Notes:
    """Nothing noted yet. Nodes look at what is due at moments of their own."""
    n, e = count, endpoints
    return Notes(
        rtt_s=np.full((n, e), first_rtt_s),
        rtt_at_s=np.zeros((n, e)),
        in_a_row=np.zeros((n, e), np.int64),
        ejected_at_s=np.full((n, e), np.inf),
        ejections=np.zeros((n, e), np.int64),
        due_s=rng.random(n),
        reported=np.zeros((n, e)),
        reported_since_s=np.zeros((n, e)),
        probe=np.zeros((n, POOL), np.int64),
        probe_count=np.zeros((n, POOL), np.int64),
        probe_latency_s=np.zeros((n, POOL)),
        probe_at_s=np.zeros((n, POOL)),
        probe_uses=np.zeros((n, POOL), np.int64),
        probes=np.zeros(n, np.int64),
        queries=np.zeros(n, np.int64),
        seen=np.zeros((n, SEEN), np.int64),
        seens=np.zeros(n, np.int64),
    )
