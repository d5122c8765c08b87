"""Policies that learn from answers at the proxy itself, compiled: the peers that a brain is measured against.

* Reported: client-side weighted round robin by ORCA reports (`orca_weight_manager.cc` in Envoy). An answer carries the
  endpoint's load; its weight is rate / (busy share + failures / rate), the median of the known ones until it has been
  known for the blackout, and taken up once a second.
* Outliers: least request with Envoy's `consecutive_5xx`: five failures in a row eject an endpoint for 5 s times how
  often it was, up to half of the members. A time-out counts, as Envoy's own 504 does.
* Peak EWMA: the better of two by latency * (open requests + 1), where the latency jumps to a peak and decays over 10 s,
  as in tower and Finagle; a failure counts as 5 s, as in Linkerd's load biaser (`linkerd/load-biaser`).
* Prequal's ejection of failing endpoints, as the `prequal-rs` crates do it: five failures in a row, 1 s and then twice
  as long each time up to 30 s, up to half of the members. Its pick is in `prequal`.
"""

from __future__ import annotations

from math import exp, inf

import numpy as np

from dataplane.simulated.arrays import Nodes, Notes, Servers
from dataplane.simulated.compiled import compiled, inlined
from dataplane.simulated.picking import OUTLIERS, PEAK_EWMA, PREQUAL, REPORTED, line_up, rebuild
from dataplane.simulated.serving import middle

FAILURES = 5
MOST_EJECTED = 0.5
EJECTED_S = 5.0
EJECTED_AT_MOST_S = 300.0
PREQUAL_EJECTED_AT_MOST_S = 30.0
LOOK_S = 1.0
"""Envoy's outlier interval in the lab, and its period of weight updates."""
PREQUAL_LOOK_S = 0.1
BLACKOUT_S = 2.0
DECAY_S = 10.0
FIRST_RTT_S = 0.03
"""Linkerd's default for an endpoint without an answer yet."""
PENALTY_S = 5.0


@compiled
def learned(
    n: Nodes, notes: Notes, s: Servers, v: int, e: int, at_s: float, took_s: float, answered: bool, failed: bool
) -> None:
    """Node v's static cluster has an answer of endpoint e, or (not `answered`) has given it up: a failure too."""
    way, note = n.cluster[v, 0].way, notes.note[v, e]
    if way == PEAK_EWMA:
        _peak(notes, v, e, at_s, max(took_s, PENALTY_S) if failed else took_s)
    elif way == REPORTED and answered:
        rate = s.server[e].answers_per_s
        busy = s.server[e].busy_share + s.server[e].failures_per_s / max(rate, 1e-9)
        if rate > 0.0 and busy > 0.0:
            if note.reported == 0.0:
                note.reported_since_s = at_s
            note.reported = max(1.0, np.floor(rate / busy))
    elif way in (OUTLIERS, PREQUAL):
        _count_failures(n, notes, v, e, at_s, failed)


@compiled
def _peak(notes: Notes, v: int, e: int, at_s: float, rtt_s: float) -> None:
    """Take in a latency; 0 only lets the estimate decay."""
    note = notes.note[v, e]
    kept = exp((note.rtt_at_s - at_s) / DECAY_S)
    note.rtt_s = rtt_s if rtt_s > note.rtt_s else note.rtt_s * kept + rtt_s * (1.0 - kept)
    note.rtt_at_s = at_s


@compiled
def _count_failures(n: Nodes, notes: Notes, v: int, e: int, at_s: float, failed: bool) -> None:
    note, prequals = notes.note[v, e], n.cluster[v, 0].way == PREQUAL
    if not failed:
        note.in_a_row = 0
        if prequals:
            note.ejections = 0
        return
    note.in_a_row += 1
    if note.in_a_row < FAILURES or note.ejected_at_s < inf or not n.members[e]:
        return
    members = n.members.sum()
    if members - n.node[v].ups < MOST_EJECTED * members:
        note.ejected_at_s = at_s
        note.ejections += 1
        line_up(n, notes, v)


@inlined
def look(n: Nodes, notes: Notes, v: int, at_s: float) -> None:
    """Do what is due at node v: forgive who was ejected for long enough, or take up reported weights."""
    way, node = n.cluster[v, 0].way, n.node[v]
    if at_s < node.look_s or way not in (REPORTED, OUTLIERS, PREQUAL):
        return
    period_s = PREQUAL_LOOK_S if way == PREQUAL else LOOK_S
    while node.look_s <= at_s:
        node.look_s += period_s
    if way == REPORTED:
        _take_up(n, notes, v, at_s)
    else:
        _forgive(n, notes, v, at_s)


@compiled
def _forgive(n: Nodes, notes: Notes, v: int, at_s: float) -> None:
    envoys, back = n.cluster[v, 0].way == OUTLIERS, False
    for e in range(len(n.members)):
        note = notes.note[v, e]
        if envoys:
            sentence = min(EJECTED_S * note.ejections, EJECTED_AT_MOST_S)
        else:
            sentence = min(2.0 ** (note.ejections - 1), PREQUAL_EJECTED_AT_MOST_S)
        if note.ejected_at_s + sentence <= at_s:
            note.ejected_at_s = inf
            note.in_a_row = 0 if envoys else FAILURES - 1
            back = True
        elif envoys and note.ejected_at_s == inf and note.ejections > 0:
            note.ejections -= 1  # each healthy interval forgives one
    if back:
        line_up(n, notes, v)


@compiled
def _take_up(n: Nodes, notes: Notes, v: int, at_s: float) -> None:
    """`OrcaWeightManager::updateWeightsOnHosts`: valid weights as they are, the others at the median of those."""
    valid, many = notes.scratch, 0
    for e in range(len(n.members)):
        if n.members[e] and _valid(notes, v, e, at_s):
            valid[many] = notes.note[v, e].reported
            many += 1
    usual = middle(valid, many) if many > 0 else 1.0
    if many > 0 and many % 2 == 0:
        usual = np.floor((usual + valid[many // 2 - 1]) / 2)
    moved = False
    for e in range(len(n.members)):
        lane = n.lane[v, 0, e]
        weight = notes.note[v, e].reported if _valid(notes, v, e, at_s) else usual
        moved = moved or (n.members[e] and weight != lane.weight)
        lane.weight = weight
    if moved:
        rebuild(n, v, 0)


@compiled
def _valid(notes: Notes, v: int, e: int, at_s: float) -> bool:
    note = notes.note[v, e]
    return bool(note.reported > 0.0 and note.reported_since_s <= at_s - BLACKOUT_S)


@compiled
def peak_ewma(n: Nodes, notes: Notes, v: int, at_s: float, rng: np.random.Generator) -> int:
    """The better of two different endpoints."""
    ups = n.node[v].ups
    a = int(rng.random() * ups)
    b = (a + 1 + int(rng.random() * (ups - 1))) % ups if ups > 1 else a
    first, second = int(n.up[v, a]), int(n.up[v, b])
    _peak(notes, v, first, at_s, 0.0)
    _peak(notes, v, second, at_s, 0.0)
    one = notes.note[v, first].rtt_s * (n.lane[v, 0, first].open + 1.0)
    two = notes.note[v, second].rtt_s * (n.lane[v, 0, second].open + 1.0)
    return second if two < one else first
