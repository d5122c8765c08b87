"""The fast mesh's state: arrays of records in a few named tuples, which numba takes as they are.

`Servers` is the truth about endpoints, `Book` what became of each request, `Nodes` what each proxy knows, `Notes` what
policies keep that learn from answers. E endpoints with K pieces of time each, N nodes, R requests, 2 arms; an
endpoint's row is its id. Records, because a compiled function is handed each array as eight arguments: one array for
each column made every call cost more than its work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dataplane.simulated.rules import NO_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataplane.simulated.fleet import Fleet, Trace

Records = Any
"""A NumPy array of records; the kind is said beside it."""

QUEUES, RECENT = 64, 7
"""To answer probes with, an endpoint remembers so many latencies for each queue length met; longer ones count as 63."""
POOL = 16
"""Probes that a Prequal client keeps (NSDI'24, section 4)."""
SEEN = 64
"""Probed queue lengths from which a Prequal client tells hot from cold."""
SKIPS = 429_496_729
"""A new schedule begins up to this many picks on (`createWithPicks` in Envoy's `edf_scheduler.h`)."""

PIECE = np.dtype(  # as in `fleet.Fleet`
    [
        ("since_s", "f8"),
        ("speed", "f8"),
        ("extra_s", "f8"),
        ("error_share", "f8"),
        ("status", "i8"),
        ("after_s", "f8"),
        ("hang", "?"),
    ]
)
SERVER = np.dtype(
    [
        ("workers", "i8"),
        ("joins_s", "f8"),
        ("leaves_s", "f8"),
        ("piece", "i8"),  # in force at the last arrival
        ("here", "i8"),  # requests, waiting or in work
        ("told_s", "f8"),  # up to when the load report below is right; it is smoothed over a second
        ("busy_share", "f8"),
        ("answers_per_s", "f8"),
        ("failures_per_s", "f8"),
    ]
)
REQUEST = np.dtype(
    [
        ("at_s", "f8"),
        ("node", "i8"),
        ("demand_s", "f8"),
        ("luck", "f8"),
        ("coin", "f8"),  # in [0, 1): which arm
        ("endpoint", "i8"),  # -1: there was none
        ("ended_s", "f8"),  # for its user
        ("served_s", "f8"),  # when it leaves the endpoint
        ("status", "i8"),
        ("good", "?"),
        ("refused", "?"),  # by a limit
        ("begun", "?"),  # work was done for it, or an error answered
        ("met", "i8"),
        ("arm", "i8"),
        ("plan", "i8"),
        ("weight", "i8"),
        ("probability", "f8"),
    ]
)
DUE = np.dtype([("at_s", "f8"), ("what", "i8")])  # `what`: 3 * request + `kernel.BOTH`, `ENDS` or `LEAVES`
NODE = np.dtype(
    [
        ("ups", "i8"),  # members that are not ejected
        ("share_percent", "f8"),
        ("lease_until_s", "f8"),
        ("plan", "i8"),
        ("look_s", "f8"),  # when to look at ejections or reported weights again
        ("probes", "i8"),  # in the pool
        ("queries", "i8"),
        ("seen", "i8"),
    ]
)
CLUSTER = np.dtype(
    [
        ("way", "i8"),  # to pick: `picking`
        ("total", "f8"),  # weight of those that are up
        ("tiers", "i8"),  # among which turns are taken
        ("skip", "i8"),
        ("turn", "i8"),  # of the plain round robin
        ("stamps", "i8"),
        ("open", "i8"),  # requests, at hosts that Envoy has forgotten as well
        ("limit", "i8"),  # of those; beyond it a request is refused
    ]
)
TIER = np.dtype(
    [
        ("weight", "f8"),  # of those in it that are up
        ("even", "?"),  # all of those are equal
        ("deadline", "f8"),
        ("stamp", "i8"),  # as below
    ]
)
LANE = np.dtype(
    [
        ("open", "i8"),
        ("issued", "i8"),  # since the last report, and so on
        ("succeeded", "i8"),
        ("failed", "i8"),
        ("weight", "f8"),
        ("tier", "i8"),
        ("since_s", "f8"),  # when Envoy took it for a new host: what was open then is counted no more
        ("deadline", "f8"),
        ("stamp", "i8"),  # equal deadlines go in the order they were set
    ]
)
NOTE = np.dtype(
    [
        ("rtt_s", "f8"),  # peak EWMA's
        ("rtt_at_s", "f8"),
        ("in_a_row", "i8"),  # failures
        ("ejected_at_s", "f8"),  # inf: it is not
        ("ejections", "i8"),
        ("reported", "f8"),  # the weight that the last answer's load report gives; 0: none yet
        ("reported_since_s", "f8"),
    ]
)
PROBE = np.dtype([("endpoint", "i8"), ("here", "f8"), ("latency_s", "f8"), ("at_s", "f8"), ("uses", "i8")])


class Servers(NamedTuple):
    """Endpoints as they are."""

    server: Records  # (E,) SERVER
    pieces: Records  # (E, K) PIECE
    free_s: Records  # (E, most workers) f8: when each worker has done all that is assigned to it
    recent_s: Records  # (E, QUEUES, RECENT) f8: latencies by queue length met
    answered: Records  # (E, QUEUES) i8: how many there were


class Book(NamedTuple):
    """Requests, by their place in the trace."""

    request: Records  # (R,) REQUEST
    order: Records  # (R,) i8: requests in the order in which they ended
    heap: Records  # (2 R + 2,) DUE
    counts: Records  # (3,) i8: arrivals so far, ended so far, entries in the heap


class Nodes(NamedTuple):
    """Proxies. Open requests are counted per lane, so the two arms do not see each other's, as two clusters do not."""

    members: Records  # (E,) bool
    node: Records  # (N,) NODE
    up: Records  # (N, E) i8: the first `ups` are members that are not ejected
    cluster: Records  # (N, 2) CLUSTER
    lane: Records  # (N, 2, E) LANE
    tier: Records  # (N, 2, E) TIER: at most as many as endpoints


class Notes(NamedTuple):
    """What a policy that learns from answers keeps at each node."""

    note: Records  # (N, E) NOTE
    probe: Records  # (N, POOL) PROBE
    seen: Records  # (N, SEEN) f8


def servers(fleet: Fleet) -> Servers:
    """Idle endpoints."""
    server = np.zeros(len(fleet), SERVER)
    for name in ("workers", "joins_s", "leaves_s"):
        server[name] = getattr(fleet, name)
    pieces = np.zeros(fleet.since_s.shape, PIECE)
    for name in PIECE.names or ():
        pieces[name] = getattr(fleet, name)
    most = int(fleet.workers.max(initial=1))
    recent_s, answered = np.zeros((len(fleet), QUEUES, RECENT)), np.zeros((len(fleet), QUEUES), np.int64)
    return Servers(server, pieces, np.zeros((len(fleet), most)), recent_s, answered)


def book(trace: Trace, coin: Any) -> Book:
    """Requests that are all yet to come."""
    request = np.zeros(len(trace), REQUEST)
    for name in ("at_s", "node", "demand_s", "luck"):
        request[name] = getattr(trace, name)
    request["coin"], request["endpoint"] = coin, -1
    many = len(trace)
    return Book(request, np.zeros(many, np.int64), np.zeros(2 * many + 2, DUE), np.zeros(3, np.int64))


def nodes(count: int, endpoints: int, ways: Sequence[int], rng: np.random.Generator) -> Nodes:
    """Proxies that know nothing and have no member; each has its own place to begin a schedule at."""
    node = np.zeros(count, NODE)
    node["lease_until_s"] = -np.inf
    node["look_s"] = rng.random(count)
    cluster = np.zeros((count, 2), CLUSTER)
    cluster["way"], cluster["limit"] = ways, NO_LIMIT
    cluster["skip"], cluster["turn"] = rng.integers(SKIPS, size=(2, count, 2))
    lane = np.zeros((count, 2, endpoints), LANE)
    lane["weight"], cluster["tiers"] = 1.0, 1
    up, tier = np.zeros((count, endpoints), np.int64), np.zeros((count, 2, endpoints), TIER)
    return Nodes(np.zeros(endpoints, np.bool_), node, up, cluster, lane, tier)


def notes(count: int, endpoints: int, first_rtt_s: float) -> Notes:
    """Nothing noted yet."""
    note = np.zeros((count, endpoints), NOTE)
    note["rtt_s"], note["ejected_at_s"] = first_rtt_s, np.inf
    return Notes(note, np.zeros((count, POOL), PROBE), np.zeros((count, SEEN)))
