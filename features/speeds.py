"""Everything that finished attempts say of latency: freed of the request's class, by endpoint, and by what was found.

Four learn from the same rows and need each other's last word: what an attempt's class costs (`features.classes`), how
slow each endpoint is and which node may say so (`features.levels`), how many requests it found there
(`features.arrivals`), and what part of its latency was waiting for them (`models.lanes`).

Batches wait for each other to the next portion of time, for levels move between two portions and not within one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dataplane.contract import REPORTED, Outcome, Topology
from features.arrivals import Arrivals
from features.classes import ClassTally
from features.levels import QUANTUM_S, Level, Levels
from features.together import Waiting
from models.base import known_or
from models.decay import When
from models.lanes import Lanes

LEAST_WORK = 0.05
"""Of a latency: below it is all waiting, and what the work was cannot be told."""

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dataplane.contract import Requests
    from features.together import Attempts
    from models.base import Floats, Ints, Prediction, State


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of latency at a tick."""

    level: Level
    work_share: Floats  # by endpoint
    lanes: Floats  # by endpoint: to reckon with
    unlike: Floats  # by endpoint: of its service, as of `features.classes`
    known_lanes: Prediction  # by service


class Speeds:
    """Of one topology."""

    def __init__(self, topology: Topology, nodes: int) -> None:
        self._nodes = nodes
        self._topology = topology
        self._classes = ClassTally(len(topology.routes))
        self._arrivals = Arrivals(nodes, topology.endpoint_slots)
        self._levels = Levels(topology.endpoint_slots, nodes, topology.service_slots, lately=self._arrivals.lately)
        self._lanes = Lanes(topology.endpoint_slots, topology.service_slots)
        self._group = groups(topology)
        self._work_share = np.ones(topology.endpoint_slots)
        self._waiting = Waiting()
        self._told_at: list[float] = []  # when each batch of it was

    def told(self, batch: Requests, now: float) -> None:
        """Take attempts in. Those of endpoints or nodes that are not here are passed over, as are odd durations."""
        self._told_at.append(now)
        enough = self._waiting.add(
            batch.endpoint, batch.node, batch.duration_s, batch.started_s, batch.outcome, batch.route, batch.method
        )
        # The first of a portion of time is judged by what was known before it, and then no more may wait for that.
        if enough or not self._levels.goes_on(now):
            self._fold()

    def _fold(self) -> None:
        """Fold in what waits: batches as one, but where a sum is scaled between two of them."""
        waiting, at, self._told_at = self._waiting.take(), tuple(self._told_at), []
        if waiting is None:
            return
        columns, of, _ = waiting
        if not any(decay.moves(at[-1]) for decay in self._classes.decays):
            self._take_in(columns, When(at, of))
            return
        for i, now in enumerate(at):
            rows = slice(*np.searchsorted(of, (i, i + 1)).tolist())
            self._take_in([column[rows] for column in columns], When.once(now, rows.stop - rows.start))

    def believes(self, batch: Attempts) -> NDArray[np.bool_]:
        """For each attempt, whether its node is not known to be wrong about its endpoint."""
        endpoint, node = batch.endpoint, batch.node
        known = (endpoint >= 0) & (endpoint < self._topology.endpoint_slots) & (node >= 0) & (node < self._nodes)
        return ~known | self._levels.believed(np.where(known, endpoint, 0), np.where(known, node, 0))

    def _take_in(self, columns: list[NDArray[Any]], when: When) -> None:
        endpoint, node, took, started, outcome, route, method = columns
        endpoint, node, took = endpoint.astype(np.int64), node.astype(np.int64), took.astype(np.float64)
        service_of = self._topology.service_of
        sent = REPORTED[outcome] & (endpoint >= 0) & (endpoint < service_of.size) & (took > 0) & (took < np.inf)
        sent &= (node >= 0) & (node < self._nodes)
        good, classes = outcome == Outcome.OK, self._classes.of(route, method)
        if not sent.all():
            endpoint, node, took = endpoint[sent], node[sent], took[sent]
            started, good, classes, when = started[sent], good[sent], classes[sent], when.take(sent)
        if not endpoint.size:
            return
        usual, share = self._levels.mean_s[endpoint], self._work_share[endpoint]
        average = took / (1.0 + (self._classes.factor()[classes] - 1.0) * share)
        believed = self._levels.believed(endpoint, node)
        teaches = good & believed
        work = 1.0 + (took - usual) / (usual * share)  # over an average request's, if it waited as long as is usual
        self._classes.told(classes[teaches], service_of[endpoint[teaches]], work[teaches], when.take(teaches))
        seen = np.where(teaches, average, np.nan)
        self._arrivals.told(endpoint, node, started, took, seen, believed, when)
        for rows, now in when.runs(QUANTUM_S):
            g = good[rows]
            which, said = (endpoint[rows][g], node[rows][g]), average[rows][g]
            self._levels.told(*which, said, self._lanes.reckoned(), service_of, now)

    def freeze(self, now: float) -> Known:
        """What is known now."""
        self._fold()
        service_of = self._topology.service_of
        level = self._levels.freeze(self._lanes.reckoned(), service_of, self._group, now)
        self._classes.freeze(now)
        unlike = self._levels.unlike = self._classes.unlike(self._topology.service_slots)
        found = self._arrivals.freeze(level.mean_s, self._levels.believed, now)
        self._lanes.learn_many(
            endpoint=found.endpoint,
            found=found.found,
            took_s=found.took_s,
            service_of=service_of,
            now=now,
            changed=level.work_share,
            unlike=unlike,
        )
        share, lanes = self._lanes.work_share(now), self._lanes.predict_many()
        self._work_share = np.clip(known_or(share, 1.0), LEAST_WORK, 1.0)
        return Known(level, share, self._lanes.reckoned()[service_of], unlike[service_of], lanes)

    def moved(self, topology: Topology, nodes: int, joined: Ints, now: float) -> None:
        """Other members. `joined`: the endpoint slots that are new."""
        self._fold()
        self._topology, self._nodes = topology, nodes
        self._classes.resize(len(topology.routes))
        self._levels.resize(topology.endpoint_slots, nodes, topology.service_slots)
        self._arrivals.resize(nodes, topology.endpoint_slots)
        self._lanes.resize(topology.endpoint_slots, topology.service_slots)
        more = topology.endpoint_slots - self._work_share.size
        self._work_share = np.pad(self._work_share, (0, max(0, more)), constant_values=1.0)
        self.begin(joined, now)
        self._group = groups(topology)

    def begin(self, endpoints: Ints, now: float) -> None:
        """These endpoints are new."""
        self._levels.begin(endpoints, now)

    def state(self) -> dict[str, State]:
        """Each part's state by endpoint; the first axis of every array is endpoints."""
        self._fold()
        return {"levels": self._levels.state(), "lanes": self._lanes.state(), "noting": self._levels.noting.state()}

    def state_of_services(self) -> State:
        """How attempts lie about their endpoint's level; the first axis of every array is services."""
        self._fold()
        return self._levels.noting.residuals.state()

    def restore(self, state: dict[str, State], left: float, now: float) -> None:
        """Take up a state kept at `left`. ValueError when it is of another shape."""
        self._levels.restore(state["levels"], left, now)
        self._lanes.restore(state["lanes"])
        self._lanes.resume(left, now)
        if "noting" in state:  # states from before it was kept have none
            self._levels.noting.restore(state["noting"], left, now)

    def restore_services(self, state: State, left: float, now: float) -> None:
        """Take up what services are known by, kept at `left`. ValueError when it is of another shape."""
        self._levels.noting.residuals.restore(state, left, now)


def groups(topology: Topology) -> Ints:
    """A number for each zone of each service, by endpoint slot; a zone of fewer than three counts with the service."""
    names: dict[tuple[int, str], int] = {}
    out = np.full(topology.endpoint_slots, -1, dtype=np.int64)
    for s in topology.services:
        zones = Counter(e.zone for e in s.endpoints)
        for e in s.endpoints:
            zone = e.zone if zones[e.zone] >= 3 else ""
            out[e.id] = names.setdefault((s.id, zone), len(names))
    return out
