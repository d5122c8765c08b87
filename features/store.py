"""The store of features: telemetry goes in as it comes, features come out at a tick.

Composed of six tallies that know nothing of each other: attempts by endpoint, latency in all its aspects, what was felt
by service and arm, and by caller, what nodes say and may be believed, and what is open. Nothing here predicts or
decides.

Batches wait for each other and are folded in together, each row weighed by its own time: what a batch costs is a few
hundred NumPy calls, whether it has three rows or three hundred. When they are folded in changes no figure,
but that a proxy may have come to be doubted meanwhile. Latency does not wait as long as the rest (`features.speeds`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from dataplane.contract import Dropped, Felt, InFlight, Requests, Telemetry, Topology
from features.columns import Features
from features.edges import EdgeTally
from features.endpoints import EndpointTally
from features.inflight import OpenRequests
from features.nodes import NodeTally
from features.services import ServiceTally, both_arms
from features.speeds import Speeds
from features.together import MOST_WAITING, Attempts, together
from models.base import Ints, State, put_rows, take_rows
from models.decay import When

Told = tuple[Requests | Felt | InFlight, float]

FELT_HALF_LIVES = 4.0
"""What was felt is kept this much longer than what is learned: a holdout of 5 % brings few rows."""


class FeatureStore:
    """Features of one topology. Time enters with every call and never runs back.

    `half_life_s`: how fast what is known of endpoints and nodes decays; what services felt decays four times slower.
    `stale_after_s`: a node silent for longer is unknown.

    >>> from dataplane.contract import Endpoint, Node, Service
    >>> shop = Service(0, "shop", (Endpoint(0, "10.0.0.1:80"), Endpoint(1, "10.0.0.2:80")))
    >>> store = FeatureStore(Topology(1, (shop,), (Node(0, "edge"),)), half_life_s=3.0)
    >>> rng = np.random.default_rng(7)
    >>> none = {name: np.zeros(100) for name in Requests.dtypes()}
    >>> for second in range(10):
    ...     took = rng.exponential(0.05, 100)
    ...     row = {"duration_s": took, "felt_s": took, "endpoint": np.repeat([0, 1], [80, 20])}
    ...     store.told(Requests.of(**none | row), now=second + 0.5)
    >>> seen = store.freeze(now=10.0).endpoints
    >>> seen.rate_per_s.round(), seen.p99_s.round(2)
    (array([81., 20.]), array([0.21, 0.21]))
    """

    def __init__(self, topology: Topology, half_life_s: float = 3.0, stale_after_s: float = 3.0) -> None:
        self._half_life_s = half_life_s
        self._now: float | None = None  # of the latest call
        self._topology = topology
        self._endpoints, self._services = self._empty_tallies()
        self._edges = EdgeTally(topology)
        self._nodes = NodeTally(_node_slots(topology), topology.service_slots, half_life_s, stale_after_s)
        self._open = OpenRequests(_node_slots(topology), topology.endpoint_slots)
        self._speeds = Speeds(topology, _node_slots(topology))
        self._waiting: list[Told] = []
        self._rows = 0  # of those

    def moved(self, topology: Topology, now: float) -> None:
        """The membership changed: new slots begin empty, the others keep what they have."""
        self._at(now)
        self._fold()
        before, self._topology = self._topology, topology
        nodes, slots, services = _node_slots(topology), topology.endpoint_slots, topology.service_slots
        self._endpoints.resize(slots)
        self._services.resize(services)
        self._edges.moved(topology)
        self._nodes.resize(nodes, services)
        self._open.resize(nodes, slots)
        was = np.pad(before.service_of, (0, slots - before.endpoint_slots), constant_values=-1) >= 0
        joined = np.flatnonzero((topology.service_of >= 0) & ~was)
        self._endpoints.begin(joined, now)
        self._speeds.moved(topology, nodes, joined, now)
        self._services.begin(np.setdiff1d(_service_ids(topology), _service_ids(before)), now)
        self._nodes.begin(np.setdiff1d(_node_ids(topology), _node_ids(before)), now)

    def told(self, batch: Telemetry, now: float) -> None:
        """Take a batch in. Rows that name what is not in the topology are passed over."""
        self._at(now)
        if isinstance(batch, Dropped):
            if self._nodes.knows(batch.node):
                self._nodes.dropped(batch)
            return
        if isinstance(batch, Requests):
            self._speeds.told(batch, now)
        self._waiting.append((batch, now))
        self._rows += len(batch)
        if self._rows >= MOST_WAITING:
            self._fold()

    def _fold(self) -> None:
        """Fold in what waits."""
        waiting, self._waiting, self._rows = self._waiting, [], 0
        if not waiting:
            return
        tallies = self._endpoints, self._services, self._nodes
        if any(decay.moves(waiting[-1][1]) for tally in tallies for decay in tally.decays):
            for one in waiting:
                self._take_in([one])
        else:
            self._take_in(waiting)

    def _take_in(self, some: Sequence[Told]) -> None:
        """Batches as one, but where the order of unlike ones matters: runs of like ones."""
        told = [(Attempts.of(batch), at) for batch, at in some if isinstance(batch, Requests)]
        if told:
            columns, of = together([columns for columns, _ in told])
            batch, when = Attempts(*columns), When(tuple(at for _, at in told), of)
            taught = self._endpoints.told(batch, when)
        done = 0
        for kind, run in groupby(some, lambda one: type(one[0])):
            alike = list(run)
            if kind is Requests:
                upto = done + len(alike)
                mine = when.between(done, upto)
                rows = taught[1].between(done, upto)
                self._open.finished(taught[0][rows], taught[1].take(rows))
                own, at_s = batch.take(mine), when.take(mine)
                self._edges.told(own, self._services.told(own, at_s) & self._speeds.believes(own))
                self._nodes.told(own, at_s)
                done = upto
                continue
            for one, at in alike:
                if isinstance(one, Felt):
                    self._edges.felt(one, self._services.felt(one, When.once(at, len(one))))
                elif isinstance(one, InFlight):
                    self._report(one, at)

    def _report(self, report: InFlight, now: float) -> None:
        if self._nodes.knows(report.node_id):
            returning = not self._nodes.reporting(now)[report.node_id]
            self._nodes.reported(report, now)
            self._open.reported(report, self._nodes.reporting(now), returning, now)

    def freeze(self, now: float) -> Features:
        """All features at `now`. The per-tick sums of the services start again; all else is only read."""
        self._at(now)
        self._fold()
        known = self._speeds.freeze(now)
        level = known.level
        nodes = self._nodes.freeze(now, level.contradicts, level.worst_ratio)
        in_flight = self._open.in_flight(nodes.fresh)
        stuck_s = self._open.stuck_s(in_flight, now)
        ways, edges = self._edges.freeze()
        return Features(
            now=now,
            endpoints=self._endpoints.freeze(now, self._topology.service_of, in_flight, stuck_s, known),
            services=self._services.freeze(now),
            nodes=nodes,
            edges=edges,
            ways=ways,
            lanes=known.known_lanes,
        )

    def state(self) -> State:
        """What endpoints and services are known by, under their names: integers mean nothing in the next run.

        Nodes, what is open, and the tick's sums by caller are seen anew within a second and not kept.
        """
        self._fold()
        topology = self._topology
        endpoint_ids = [e.id for s in topology.services for e in s.endpoints]
        return {
            "kind": "features",
            "now": self._now,
            "endpoint_names": [[s.name, e.address] for s in topology.services for e in s.endpoints],
            "service_names": [s.name for s in topology.services],
            "endpoints": _each(take_rows, self._endpoints.state(), np.array(endpoint_ids, dtype=np.int64)),
            "speeds": _each(take_rows, self._speeds.state(), np.array(endpoint_ids, dtype=np.int64)),
            "service_speeds": take_rows(self._speeds.state_of_services(), _service_ids(topology)),
            "services": _each(take_rows, self._services.state(), both_arms(_service_ids(topology))),
        }

    def restore(self, state: State, now: float) -> None:
        """Take up a state: by service name and endpoint address, decayed by the time since. Who left is left out.

        ValueError, and unchanged, when it is not of a store with these half-lives.
        """
        self._fold()
        try:
            endpoints, services, speeds = self._restored(state, now)
        except (KeyError, TypeError, IndexError) as e:
            raise ValueError(f"this is no state of a feature store: {e!r}") from e
        self._at(now)
        self._endpoints, self._services, self._speeds = endpoints, services, speeds

    def _restored(self, state: State, now: float) -> tuple[EndpointTally, ServiceTally, Speeds]:
        """New tallies with what the state has of the present topology."""
        if state["kind"] != "features":
            raise ValueError(f"this is a state of {state['kind']!r}, not of features")
        topology = self._topology
        left = now if state["now"] is None else float(state["now"])
        endpoints, services = self._empty_tallies()
        ids = {(s.name, e.address): e.id for s in topology.services for e in s.endpoints}
        rows, ours = _match([ids.get((service, address)) for service, address in state["endpoint_names"]])
        kept = _each(take_rows, state["endpoints"], rows)
        endpoints.restore(_each(put_rows, kept, ours, topology.endpoint_slots), left, now)
        endpoints.begin(np.setdiff1d(np.flatnonzero(topology.service_of >= 0), ours), now)

        speeds = Speeds(topology, _node_slots(topology))
        kept = _each(take_rows, state["speeds"], rows)
        speeds.restore(_each(put_rows, kept, ours, topology.endpoint_slots), left, now)
        speeds.begin(np.setdiff1d(np.flatnonzero(topology.service_of >= 0), ours), now)

        names = {s.name: s.id for s in topology.services}
        rows, ours = _match([names.get(name) for name in state["service_names"]])
        if "service_speeds" in state:  # states from before it was kept have none
            kept_speeds = put_rows(take_rows(state["service_speeds"], rows), ours, topology.service_slots)
            speeds.restore_services(kept_speeds, left, now)
        kept = _each(take_rows, state["services"], both_arms(rows))
        services.restore(_each(put_rows, kept, both_arms(ours), 2 * topology.service_slots), left, now)
        services.begin(np.setdiff1d(_service_ids(topology), ours), now)
        return endpoints, services, speeds

    def _empty_tallies(self) -> tuple[EndpointTally, ServiceTally]:
        topology = self._topology
        return (
            EndpointTally(topology.endpoint_slots, self._half_life_s),
            ServiceTally(topology.service_slots, FELT_HALF_LIVES * self._half_life_s),
        )

    def _at(self, now: float) -> None:
        """The first call of all is when everybody in the first topology joined."""
        if self._now is None:
            self._endpoints.begin(np.flatnonzero(self._topology.service_of >= 0), now)
            self._speeds.begin(np.flatnonzero(self._topology.service_of >= 0), now)
            self._services.begin(_service_ids(self._topology), now)
            self._nodes.begin(_node_ids(self._topology), now)
        self._now = now


def _service_ids(topology: Topology) -> Ints:
    return np.array([s.id for s in topology.services], dtype=np.int64)


def _node_ids(topology: Topology) -> Ints:
    return np.array([n.id for n in topology.nodes], dtype=np.int64)


def _node_slots(topology: Topology) -> int:
    return max((n.id for n in topology.nodes), default=-1) + 1


def _each(function: Callable[..., State], parts: Mapping[str, State], *args: Any) -> dict[str, State]:
    """The function of each part's state."""
    return {name: function(part, *args) for name, part in parts.items()}


def _match(ids: Sequence[int | None]) -> tuple[Ints, Ints]:
    """Which rows of a state belong to somebody who is here, and to whom."""
    pairs = [(row, here) for row, here in enumerate(ids) if here is not None]
    return tuple(np.array(pairs, dtype=np.int64).reshape(-1, 2).T)  # type: ignore[return-value]
