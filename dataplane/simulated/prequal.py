"""Prequal, compiled (Wydrowski et al., "Load is not what you should balance", NSDI 2024, sections 3 and 4).

Each query sends probes; each probe brings back how many requests an endpoint has and how long the recent ones took at
about that many. The pick is the cold endpoint of least latency in the pool, or the one with least requests when all are
hot. Kinder than life: a probe takes no time and is there for the query that sent it. Failing endpoints are ejected as
the `prequal-rs` crates do (`learning`).
"""

from __future__ import annotations

from math import inf

import numpy as np

from dataplane.simulated.arrays import POOL, SEEN, Nodes, Notes, Servers
from dataplane.simulated.compiled import compiled
from dataplane.simulated.serving import latency_near, middle

PROBES = 3
PROBE_AGE_S = 1.0
MOST_USES = 16
FORGOTTEN = 1
"""Probes dropped a query, the oldest and the worst in turn."""
HOT = 0.6
"""Q_RIF: queues longer than this share of those seen are hot. What `prequal-rs` ships: the paper's 2 ** -0.25 herds at
high load, there as here (p99 3 to 16 % longer in the lab's scenarios)."""


@compiled
def prequal(n: Nodes, notes: Notes, s: Servers, v: int, at_s: float, rng: np.random.Generator) -> int:
    """Pick for one query of node v."""
    node = n.node[v]
    _refresh(n, notes, v, at_s)
    for _ in range(PROBES):
        _ask(n, notes, s, v, int(n.up[v, int(rng.random() * node.ups)]), at_s)
    hot = _hot(n, notes, v)
    best = _of_pool(n, notes, v, hot, False)
    probe = notes.probe[v, best]
    e = int(probe.endpoint)
    probe.here += 1.0  # what it will find there next, as far as this node knows
    probe.uses += 1
    if probe.uses >= _uses(node.ups):
        _drop(n, notes, v, best)
    node.queries += 1
    if node.probes > 1:
        _drop(n, notes, v, _oldest(n, notes, v) if node.queries % 2 else _of_pool(n, notes, v, hot, True))
    return e


@compiled
def _uses(endpoints: int) -> float:
    """The reuse budget (1 + 1) / ((1 - pool / endpoints) * probes - forgotten), at least 1."""
    spare = (1.0 - POOL / endpoints) * PROBES - FORGOTTEN
    return min(float(MOST_USES), max(1.0, 2.0 / spare)) if spare > 0.0 else float(MOST_USES)


@compiled
def _refresh(n: Nodes, notes: Notes, v: int, at_s: float) -> None:
    """Drop what is too old, ejected or gone."""
    j = 0
    while j < n.node[v].probes:
        probe = notes.probe[v, j]
        gone = not n.members[probe.endpoint] or notes.note[v, probe.endpoint].ejected_at_s < inf
        if gone or at_s - probe.at_s > PROBE_AGE_S:
            _drop(n, notes, v, j)
        else:
            j += 1


@compiled
def _ask(n: Nodes, notes: Notes, s: Servers, v: int, e: int, at_s: float) -> None:
    """Probe an endpoint; the oldest goes where the pool is full."""
    node, here = n.node[v], float(s.server[e].here)
    if node.probes == POOL:
        _drop(n, notes, v, _oldest(n, notes, v))
    probe = notes.probe[v, node.probes]
    node.probes += 1
    probe.endpoint = e
    probe.here = here
    probe.latency_s = latency_near(s, e)
    probe.at_s = at_s
    probe.uses = 0
    notes.seen[v, node.seen % SEEN] = here
    node.seen += 1


@compiled
def _hot(n: Nodes, notes: Notes, v: int) -> float:
    """Longer queues than this are hot."""
    many = min(n.node[v].seen, SEEN)
    for j in range(many):
        notes.scratch[j] = notes.seen[v, j]
    middle(notes.scratch, many)
    return float(notes.scratch[min(many - 1, int(HOT * many))])


@compiled
def _oldest(n: Nodes, notes: Notes, v: int) -> int:
    best = 0
    for j in range(1, n.node[v].probes):
        if notes.probe[v, j].at_s < notes.probe[v, best].at_s:
            best = j
    return best


@compiled
def _of_pool(n: Nodes, notes: Notes, v: int, hot: float, worst: bool) -> int:
    """The best place in the pool, or the worst: cold before hot, cold by latency, hot by queue."""
    best, least = 0, inf
    for j in range(n.node[v].probes):
        probe = notes.probe[v, j]
        c = 1e9 + probe.here if probe.here > hot else probe.latency_s
        c = -c if worst else c
        if c < least:
            best, least = j, c
    return best


@compiled
def _drop(n: Nodes, notes: Notes, v: int, j: int) -> None:
    node = n.node[v]
    node.probes -= 1
    notes.probe[v, j] = notes.probe[v, node.probes]
