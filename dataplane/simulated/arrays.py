"""The fast mesh's state: arrays of records in a few named tuples, which numba takes as they are.

`Servers` is the truth about endpoints, `Book` who comes and who is on the way, `Nodes` what each proxy knows, `Notes`
what policies keep that learn from answers. E endpoints with K pieces of time each, N nodes, 2 arms, 2 priorities; an
endpoint's row is its id. Records, because a compiled function is handed each array as eight arguments: one array for
each column made every call cost more than its work.

An attempt has a row of the book while it is on the way: from its begin until it is over for its proxy, has been taken
out, and nothing else points to it (`held`). Then its row is used again, so memory grows with what is open at once and
not with what was ever asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dataplane.simulated.rules import Rules

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
        ("reports", "?"),  # somebody reads its load report
        ("says", "?"),  # it says in its answers what it has in progress
        ("probed", "?"),  # somebody probes it
        ("sharing", "?"),  # its workers are shared out evenly (`sharing`); the rest is used there alone
        ("working", "i8"),  # requests in work
        ("came", "i8"),  # into work so far
        ("done", "f8"),  # demand seconds done for each that was in work all the time
        ("done_s", "f8"),  # up to when that is right
        ("least", "i8"),  # whose work ends first, -1: nobody's
        ("soonest", "i8"),  # who gives up first
        ("wake_s", "f8"),  # when to look next, inf: there is no need
    ]
)
ASKED = np.dtype(  # a request yet to come
    [("at_s", "f8"), ("demand_s", "f8"), ("luck", "f8"), ("coin", "f8"), ("node", "i4"), ("klass", "i4")]
)
ATTEMPT = np.dtype(
    [
        ("number", "i8"),  # of its request, in the order of arrival
        ("asked_s", "f8"),  # when the request came
        ("at_s", "f8"),  # when this attempt began
        ("sent_s", "f8"),  # when it left for its endpoint
        ("gives_up_s", "f8"),  # when the request's time is over, whatever is tried
        ("until_s", "f8"),  # when this attempt's time is over
        ("demand_s", "f8"),
        ("luck", "f8"),
        ("ended_s", "f8"),  # for its proxy
        ("served_s", "f8"),  # when it leaves the endpoint
        ("finish", "f8"),  # what its endpoint's `done` is when its work is
        ("probability", "f8"),
        ("came", "i8"),  # how many had come into work there before it
        ("plan", "i8"),
        ("node", "i4"),
        ("klass", "i4"),
        ("endpoint", "i4"),  # -1: there was none
        ("weight", "i4"),
        ("met", "i4"),
        ("attempt", "i4"),  # 1 is the first; 0: it ended without one, or between two
        ("tries", "i4"),  # left after this one
        ("held", "i4"),  # by how many, beside those who have not taken it out
        ("next", "i4"),  # behind it where it waits for a connection
        ("left", "i4"),  # under it in its endpoint's heap of work
        ("right", "i4"),
        ("before", "i4"),  # under it in its endpoint's heap of who gives up
        ("after", "i4"),
        ("status", "i2"),
        ("arm", "i1"),
        ("high", "i1"),  # its priority: 1 is critical
        ("state", "i1"),  # COMING, WAITING, SENT or OVER
        ("good", "?"),
        ("refused", "?"),  # by a limit
        ("begun", "?"),  # work was done for it, or an error answered
        ("budgeted", "?"),  # it counts as a retry
        ("last", "?"),  # its request is over with it
        ("taken", "?"),  # out of the book
    ]
)
COMING, WAITING, SENT, OVER = range(4)
"""An attempt waits for its back-off, for a connection, for its answer, for nothing more."""
TOLD = np.dtype(  # what holds for a class of requests (`rules.RouteRules`)
    [("timeout_s", "f8"), ("try_s", "f8"), ("tries", "i4"), ("high", "i1"), ("sheddable", "?"), ("same_luck", "?")]
)
CLOCK = np.dtype(
    [
        ("next", "i8"),  # who of `asked` comes next
        ("number", "i8"),  # of the request that comes next
        ("free", "i8"),  # rows
        ("ended", "i8"),  # attempts that were not taken out
        ("due", "i8"),  # entries in the heap
        ("pushed", "i8"),  # into it so far
    ]
)
NODE = np.dtype(
    [
        ("ups", "i8"),  # members that are not ejected
        ("share_percent", "f8"),
        ("shed_percent", "f8"),
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
        ("pooled", "?"),  # connections are counted
        ("lanes", "f8"),  # requests of this node that an endpoint works on at once (`leased_pick`); 0: not known
        ("clock", "f8"),  # of the turn taken last
        ("busy", "f8"),  # open requests a member, smoothed over picks
        ("turns", "?"),  # were dealt out at the last pick
        ("picks", "i8"),
        ("reports", "?"),  # somebody has said what it has in progress
        ("workers", "f8"),  # requests that an endpoint works on at once, of all nodes
        ("believed_s", "f8"),  # for how long what an endpoint said is believed; 0: not at all
    ]
)
BREAKER = np.dtype(  # of a cluster and priority: what is, at hosts that Envoy has forgotten as well, and what may be
    [
        ("open", "i8"),  # attempts at endpoints
        ("waiting", "i8"),  # for a connection
        ("connections", "i8"),
        ("retries", "i8"),  # begun or to begin
        ("most_open", "i8"),
        ("most_waiting", "i8"),
        ("most_connections", "i8"),
        ("budget_percent", "f8"),
        ("least_retries", "i8"),
    ]
)
POOL_OF_HOST = np.dtype(  # connections to one endpoint; those who wait for one are chained by `next`
    [("connections", "i8"), ("busy", "i8"), ("waiting", "i8"), ("first", "i8"), ("last", "i8")]
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
        ("pace", "f8"),  # the weight by which its deadline was set (`leased_pick`); 0: it is new
        ("last", "i8"),  # of its cluster's picks that it got
        ("able", "f8"),  # its capacity, to weigh what it says by; 0: as its pace
        ("queue", "f8"),  # requests that it has at least, as the plan knows
        ("mean", "f8"),  # requests of this node there, smoothed over its picks
        ("others", "f8"),  # requests of others there, when it last said what it has in progress
        ("usual", "f8"),  # requests there, smoothed over what it said
        ("heard_s", "f8"),  # when it last said; -inf: never
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
    scratch: Records  # (RECENT,) f8: compiled code allocates nothing


class Book(NamedTuple):
    """Who is to come, and attempts on the way. A capacity that does not do is doubled by whoever owns the book."""

    asked: Records  # (A,) ASKED, by time
    row: Records  # (R,) ATTEMPT
    free: Records  # (R,) i8: rows that are free
    ended: Records  # (R,) i8: rows in the order in which they ended, until they are taken out
    due_s: Records  # (D,) f8: a heap of what is due ...
    due: Records  # (D,) i8: ... and what it is (`due`)
    clock: Records  # (1,) CLOCK
    told: Records  # (C,) TOLD, by class; a single one holds for all


class Nodes(NamedTuple):
    """Proxies. Open requests are counted per lane, so the two arms do not see each other's, as two clusters do not."""

    members: Records  # (E,) bool
    node: Records  # (N,) NODE
    up: Records  # (N, E) i8: the first `ups` are members that are not ejected
    cluster: Records  # (N, 2) CLUSTER
    lane: Records  # (N, 2, E) LANE
    tier: Records  # (N, 2, E) TIER: at most as many as endpoints
    breaker: Records  # (N, 2, 2) BREAKER
    pool: Records  # (N, 2, E, 2) POOL_OF_HOST


class Notes(NamedTuple):
    """What a policy that learns from answers keeps at each node."""

    note: Records  # (N, E) NOTE
    probe: Records  # (N, POOL) PROBE
    seen: Records  # (N, SEEN) f8
    scratch: Records  # (SEEN or E,) f8, whichever is more


def servers(fleet: Fleet, *, reports: bool = False, says: bool = False, probed: bool = False) -> Servers:
    """Idle endpoints, whether they say how busy they are, and whether anybody asks."""
    server = np.zeros(len(fleet), SERVER)
    for name in ("workers", "joins_s", "leaves_s"):
        server[name] = getattr(fleet, name)
    server["reports"], server["says"], server["probed"], server["sharing"] = reports, says, probed, fleet.sharing
    server["least"] = server["soonest"] = -1
    server["wake_s"] = np.inf
    pieces = np.zeros(fleet.since_s.shape, PIECE)
    for name in PIECE.names or ():
        pieces[name] = getattr(fleet, name)
    most = int(fleet.workers.max(initial=1))
    recent_s, answered = np.zeros((len(fleet), QUEUES, RECENT)), np.zeros((len(fleet), QUEUES), np.int64)
    return Servers(server, pieces, np.zeros((len(fleet), most)), recent_s, answered, np.zeros(RECENT))


def book(rules: Rules, rows: int = 1024, *, same_luck: bool = False) -> Book:
    """Nobody on the way, and nobody to come. `same_luck`: a second try meets an endpoint's errors as the first did."""
    told = np.zeros(len(rules.routes), TOLD)
    told["same_luck"] = same_luck
    for one, route in zip(told, rules.routes, strict=True):
        one["timeout_s"], one["try_s"], one["tries"] = route.timeout_s, route.per_try_timeout_s, route.num_retries
        one["high"], one["sheddable"] = route.priority == "critical", route.priority == "sheddable"
    clock = np.zeros(1, CLOCK)
    clock["free"] = rows
    free = np.arange(rows)[::-1].copy()
    due_s, due = np.zeros(2 * rows), np.zeros(2 * rows, np.int64)
    return Book(coming(None), np.zeros(rows, ATTEMPT), free, np.zeros(rows, np.int64), due_s, due, clock, told)


def coming(trace: Trace | None, coin: Any = 0.0) -> Records:
    """Requests yet to come."""
    asked = np.zeros(0 if trace is None else len(trace), ASKED)
    if trace is not None:
        for name in ("at_s", "node", "klass", "demand_s", "luck"):
            asked[name] = getattr(trace, name)
        asked["coin"] = coin
    return asked


def fed(b: Book, asked: Records) -> Book:
    """The same with more to come. What came already is forgotten."""
    left = b.asked[b.clock["next"][0] :]
    b.clock["next"] = 0
    return b._replace(asked=np.concatenate([left, asked]) if len(left) else asked)


def roomier(b: Book) -> Book:
    """The same with room for twice as much. Rows keep their numbers."""
    many, free = len(b.row), int(b.clock["free"][0])
    wide = Book(*(np.concatenate([a, np.zeros(len(a), a.dtype)]) for a in b))._replace(
        asked=b.asked, clock=b.clock, told=b.told
    )
    wide.free[:free] = b.free[:free]
    wide.free[free : free + many] = np.arange(many, 2 * many)[::-1]
    b.clock["free"] += many
    return wide


def every(trace: Trace, timeout_s: float) -> Book:
    """Requests that are all yet to come, a row of the book for each: for who serves without proxies."""
    made = book(Rules(), 0)._replace(row=np.zeros(len(trace), ATTEMPT))
    for name in ("at_s", "node", "klass", "demand_s", "luck"):
        made.row[name] = getattr(trace, name)
    made.row["until_s"] = trace.at_s + timeout_s
    made.row["endpoint"] = -1
    return made


def nodes(count: int, endpoints: int, ways: Sequence[int], rng: np.random.Generator) -> Nodes:
    """Proxies that know nothing and have no member; each has its own place to begin a schedule at."""
    node = np.zeros(count, NODE)
    node["lease_until_s"] = -np.inf
    node["look_s"] = rng.random(count)
    cluster = np.zeros((count, 2), CLUSTER)
    cluster["way"] = ways
    cluster["skip"], cluster["turn"] = rng.integers(SKIPS, size=(2, count, 2))
    lane = np.zeros((count, 2, endpoints), LANE)
    lane["weight"], cluster["tiers"], cluster["lanes"], cluster["workers"] = 1.0, 1, 1.0, 1.0
    lane["heard_s"] = -np.inf
    up, tier = np.zeros((count, endpoints), np.int64), np.zeros((count, 2, endpoints), TIER)
    breaker, pool = np.zeros((count, 2, 2), BREAKER), np.zeros((count, 2, endpoints, 2), POOL_OF_HOST)
    pool["first"] = pool["last"] = -1
    return Nodes(np.zeros(endpoints, np.bool_), node, up, cluster, lane, tier, breaker, pool)


def notes(count: int, endpoints: int, first_rtt_s: float) -> Notes:
    """Nothing noted yet."""
    note = np.zeros((count, endpoints), NOTE)
    note["rtt_s"], note["ejected_at_s"] = first_rtt_s, np.inf
    return Notes(note, np.zeros((count, POOL), PROBE), np.zeros((count, SEEN)), np.zeros(max(SEEN, endpoints)))
