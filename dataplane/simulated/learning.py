"""Policies that learn from answers at the proxy itself, compiled: the peers that a brain is measured against.

* Reported: client-side weighted round robin by ORCA reports (`orca_weight_manager.cc` in Envoy). An answer carries the
  endpoint's load; its weight is rate / (busy share + failures / rate), the median of the known ones until it has been
  known for the blackout, and taken up once a second.
* Outliers: least request with Envoy's `consecutive_5xx`: five failures in a row eject an endpoint for 5 s times how
  often it was, up to half of the members. A time-out counts, as Envoy's own 504 does.
* Peak EWMA: the better of two by latency * (open requests + 1), where the latency jumps to a peak and decays over 10 s,
  as in tower and Finagle; a failure counts as 5 s, as in Linkerd's load biaser (`linkerd/load-biaser`).
* Prequal (Wydrowski et al., NSDI 2024): probes with queue length and latency, hot ones avoided. Kinder than life: a
  probe takes no time and is there for the query that sent it. Failing endpoints are ejected as `prequal-rs` does: five
  in a row, 1 s and then twice as long each time up to 30 s, up to half of the members.
"""

from __future__ import annotations

from math import exp, inf

import numpy as np

from dataplane.simulated.arrays import POOL, SEEN, Nodes, Notes, Servers
from dataplane.simulated.compiled import compiled
from dataplane.simulated.picking import OUTLIERS, PEAK_EWMA, PREQUAL, REPORTED, line_up, rebuild
from dataplane.simulated.serving import latency_near

FAILURES = 5
MOST_EJECTED = 0.5
EJECTED_S = 5.0
EJECTED_AT_MOST_S = 300.0
PREQUAL_EJECTED_AT_MOST_S = 30.0
LOOK_S = 1.0
"""Envoy's outlier interval in the lab, and its period of weight updates."""
BLACKOUT_S = 2.0
DECAY_S = 10.0
FIRST_RTT_S = 0.03
"""Linkerd's default for an endpoint without an answer yet."""
PENALTY_S = 5.0
PROBES = 3
PROBE_AGE_S = 1.0
MOST_USES = 16
Q_RIF = 0.84
"""2 ** -0.25, the paper's: queues longer than this share of those seen are hot."""


@compiled
def learned(
    n: Nodes, notes: Notes, s: Servers, v: int, e: int, at_s: float, took_s: float, answered: bool, failed: bool
) -> None:
    """Node v's static cluster has an answer of endpoint e, or (not `answered`) has given it up: a failure too."""
    way = n.policy[0]
    if way == PEAK_EWMA:
        _peak(notes, v, e, at_s, max(took_s, PENALTY_S) if failed else took_s)
    elif way == REPORTED:
        rate = s.answers_per_s[e]
        if answered and rate > 0.0:
            busy = s.busy_share[e] + s.failures_per_s[e] / rate
            if busy > 0.0:
                if notes.reported[v, e] == 0.0:
                    notes.reported_since_s[v, e] = at_s
                notes.reported[v, e] = max(1.0, np.floor(rate / busy))
    elif way in (OUTLIERS, PREQUAL):
        _count_failures(n, notes, v, e, at_s, failed)


@compiled
def _peak(notes: Notes, v: int, e: int, at_s: float, rtt_s: float) -> None:
    """Take in a latency; 0 only lets the estimate decay."""
    before = notes.rtt_s[v, e]
    kept = exp((notes.rtt_at_s[v, e] - at_s) / DECAY_S)
    notes.rtt_s[v, e] = rtt_s if rtt_s > before else before * kept + rtt_s * (1.0 - kept)
    notes.rtt_at_s[v, e] = at_s


@compiled
def _count_failures(n: Nodes, notes: Notes, v: int, e: int, at_s: float, failed: bool) -> None:
    if not failed:
        notes.in_a_row[v, e] = 0
        if n.policy[0] == PREQUAL:
            notes.ejections[v, e] = 0
        return
    notes.in_a_row[v, e] += 1
    if notes.in_a_row[v, e] < FAILURES or notes.ejected_at_s[v, e] < inf or not n.members[e]:
        return
    members = n.members.sum()
    if members - n.ups[v] >= MOST_EJECTED * members:
        return
    notes.ejected_at_s[v, e] = at_s
    notes.ejections[v, e] += 1
    line_up(n, v, notes.ejected_at_s[v])


@compiled
def look(n: Nodes, notes: Notes, v: int, at_s: float) -> None:
    """Do what is due at node v: forgive who was ejected for long enough, or take up reported weights."""
    way = n.policy[0]
    if at_s < notes.due_s[v]:
        return
    if way == REPORTED:
        while notes.due_s[v] <= at_s:
            notes.due_s[v] += LOOK_S
        _take_up(n, notes, v, at_s)
    elif way in (OUTLIERS, PREQUAL):
        while notes.due_s[v] <= at_s:
            notes.due_s[v] += LOOK_S if way == OUTLIERS else LOOK_S / 10
        _forgive(n, notes, v, at_s)


@compiled
def _forgive(n: Nodes, notes: Notes, v: int, at_s: float) -> None:
    envoys, back = n.policy[0] == OUTLIERS, False
    for e in range(len(n.members)):
        times = notes.ejections[v, e]
        if envoys:
            sentence = min(EJECTED_S * times, EJECTED_AT_MOST_S)
        else:
            sentence = min(2.0 ** (times - 1), PREQUAL_EJECTED_AT_MOST_S)
        if notes.ejected_at_s[v, e] + sentence <= at_s:
            notes.ejected_at_s[v, e], back = inf, True
            notes.in_a_row[v, e] = 0 if envoys else FAILURES - 1
        elif envoys and notes.ejected_at_s[v, e] == inf and times > 0:
            notes.ejections[v, e] -= 1  # each healthy interval forgives one
    if back:
        line_up(n, v, notes.ejected_at_s[v])


@compiled
def _take_up(n: Nodes, notes: Notes, v: int, at_s: float) -> None:
    """`OrcaWeightManager::updateWeightsOnHosts`: valid weights as they are, the others at the median of those."""
    valid = np.empty(len(n.members))
    many = 0
    for e in range(len(n.members)):
        if n.members[e] and notes.reported[v, e] > 0.0 and notes.reported_since_s[v, e] <= at_s - BLACKOUT_S:
            valid[many] = notes.reported[v, e]
            many += 1
    middle = 1.0
    if many > 0:
        ordered = np.sort(valid[:many])
        middle = ordered[many // 2]
        if many % 2 == 0:
            middle = np.floor((middle + ordered[many // 2 - 1]) / 2)
    moved = False
    for e in range(len(n.members)):
        if not n.members[e]:
            continue
        known = notes.reported[v, e] > 0.0 and notes.reported_since_s[v, e] <= at_s - BLACKOUT_S
        weight = notes.reported[v, e] if known else middle
        moved = moved or weight != n.weight[v, 0, e]
        n.weight[v, 0, e] = weight
    if moved:
        rebuild(n, v, 0)


@compiled
def peak_ewma(n: Nodes, notes: Notes, v: int, at_s: float, rng: np.random.Generator) -> int:
    """The better of two different endpoints."""
    m = n.ups[v]
    a = int(rng.random() * m)
    b = (a + 1 + int(rng.random() * (m - 1))) % m if m > 1 else a
    first, second = int(n.up[v, a]), int(n.up[v, b])
    _peak(notes, v, first, at_s, 0.0)
    _peak(notes, v, second, at_s, 0.0)
    one = notes.rtt_s[v, first] * (n.open[v, 0, first] + 1.0)
    two = notes.rtt_s[v, second] * (n.open[v, 0, second] + 1.0)
    return second if two < one else first


@compiled
def prequal(n: Nodes, notes: Notes, s: Servers, v: int, at_s: float, rng: np.random.Generator) -> int:
    """The fastest cold endpoint in the pool, or the one of shortest queue when all are hot."""
    _probe(n, notes, s, v, at_s, rng)
    if notes.probes[v] == 0:
        return int(n.up[v, int(rng.random() * n.ups[v])])
    hot = _hot(notes, v)
    best = _of_pool(notes, v, hot, worst=False)
    e = int(notes.probe[v, best])
    notes.probe_count[v, best] += 1  # what it will find there next, as far as this node knows
    notes.probe_uses[v, best] += 1
    spare = (1.0 - POOL / n.ups[v]) * PROBES - 1.0
    uses = min(float(MOST_USES), max(1.0, 2.0 / spare)) if spare > 0.0 else float(MOST_USES)
    if notes.probe_uses[v, best] >= uses:
        _drop(notes, v, best)
    notes.queries[v] += 1
    if notes.probes[v] > 0:
        oldest = 0
        for j in range(notes.probes[v]):
            if notes.probe_at_s[v, j] < notes.probe_at_s[v, oldest]:
                oldest = j
        _drop(notes, v, oldest if notes.queries[v] % 2 else _of_pool(notes, v, hot, worst=True))
    return e


@compiled
def _probe(n: Nodes, notes: Notes, s: Servers, v: int, at_s: float, rng: np.random.Generator) -> None:
    """Forget what is too old or ejected, and ask a few endpoints at random."""
    j = 0
    while j < notes.probes[v]:
        e = notes.probe[v, j]
        if at_s - notes.probe_at_s[v, j] > PROBE_AGE_S or notes.ejected_at_s[v, e] < inf or not n.members[e]:
            _drop(notes, v, j)
        else:
            j += 1
    for _ in range(PROBES):
        e = n.up[v, int(rng.random() * n.ups[v])]
        if notes.probes[v] == POOL:
            oldest = 0
            for j in range(POOL):
                if notes.probe_at_s[v, j] < notes.probe_at_s[v, oldest]:
                    oldest = j
            _drop(notes, v, oldest)
        j = notes.probes[v]
        notes.probes[v] += 1
        notes.probe[v, j], notes.probe_count[v, j] = e, s.count[e]
        notes.probe_latency_s[v, j], notes.probe_at_s[v, j], notes.probe_uses[v, j] = latency_near(s, e), at_s, 0
        notes.seen[v, notes.seens[v] % SEEN] = s.count[e]
        notes.seens[v] += 1


@compiled
def _hot(notes: Notes, v: int) -> float:
    """Longer queues than this are hot."""
    many = min(notes.seens[v], SEEN)
    return float(np.sort(notes.seen[v, :many])[min(many - 1, int(Q_RIF * many))])


@compiled
def _of_pool(notes: Notes, v: int, hot: float, worst: bool) -> int:
    """The best place in the pool, or the worst: cold before hot, cold by latency, hot by queue."""
    best, best_cost = 0, inf
    for j in range(notes.probes[v]):
        count = float(notes.probe_count[v, j])
        c = 1e9 + count if count > hot else notes.probe_latency_s[v, j]
        if worst:
            c = -c
        if c < best_cost:
            best, best_cost = j, c
    return best


@compiled
def _drop(notes: Notes, v: int, j: int) -> None:
    last = notes.probes[v] - 1
    notes.probe[v, j], notes.probe_count[v, j] = notes.probe[v, last], notes.probe_count[v, last]
    notes.probe_latency_s[v, j], notes.probe_at_s[v, j] = notes.probe_latency_s[v, last], notes.probe_at_s[v, last]
    notes.probe_uses[v, j] = notes.probe_uses[v, last]
    notes.probes[v] = last
