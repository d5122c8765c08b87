"""A mesh in virtual time over a fleet and a trace, fast: hundreds of thousands of requests a second.

It is to `SimulatedMesh` what the lab is to the demo: the world is drawn beforehand, so every policy meets the same one,
and the inner loop is compiled. It carries plans and telemetry as the wires would: the access log in batches, load
reports, verdicts, a lease that ends by itself, and whatever is wrong with the telemetry (`Wire`).

Everything random comes from one seeded generator, so a run is a function of its arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dataplane.contract import Arm, Event, Outcome, Plan, Presence, ServicePlan, Telemetry, Topology, Verdict
from dataplane.simulated import arrays, learning, picking
from dataplane.simulated.fleet import Bools, Fate, Fleet, Floats, Ints, Trace
from dataplane.simulated.kernel import advance, line_all_up, restart
from dataplane.simulated.logs import Wire, fate_of, felt_of, report_of, requests_of
from dataplane.simulated.rules import NO_LIMIT
from dataplane.simulated.schedule import Schedule

if TYPE_CHECKING:
    from dataplane.contract import OnEvent, OnTelemetry

WAYS: Mapping[str, int] = {
    "random": picking.RANDOM,
    "round_robin": picking.ROUND_ROBIN,
    "least_request": picking.LEAST_REQUEST,
    "full_scan": picking.FULL_SCAN,
    "cswrr": picking.REPORTED,
    "least_request_outliers": picking.OUTLIERS,
    "peak_ewma": picking.PEAK_EWMA,
    "prequal": picking.PREQUAL,
    "jsed_local": picking.JSED_LOCAL,
    "jsed": picking.JSED,
    "clairvoyant": picking.CLAIRVOYANT,
}
"""How a cluster may pick. The last three are told the truth about the fleet."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When things come and go, in seconds."""

    flush_s: float = 0.1  # between two batches of a node's access log
    report_s: float = 0.5  # between two load reports
    delay_s: float = 0.01  # from publishing a plan to its being in force
    ttl_s: float = 5.0  # of the lease
    timeout_s: float = 15.0  # until a client gives up


class FleetMesh:
    """Nodes, endpoints and clients of one service. Implements `contract.DataPlane`, driven by `drive.run`.

    The topology has one service, and an endpoint's id is its row in the fleet. `policy` is the static cluster's way to
    pick, one of `WAYS`; the adaptive one's is the full scan. `weights` replaces the operator's static weights, by row.
    `good_body` says that an answer without a body is an error to the proxies' log. `limit`: `max_requests` of each node
    and cluster, by the static rules. ValueError: no such way, or not one
    service, or a topology that is larger than the fleet.
    """

    def __init__(
        self,
        topology: Topology,
        fleet: Fleet,
        trace: Trace,
        rng: np.random.Generator,
        on_telemetry: OnTelemetry | None = None,
        on_event: OnEvent = lambda _: None,
        *,
        policy: str = "least_request",
        weights: Floats | None = None,
        wire: Wire | None = None,
        rhythm: Rhythm | None = None,
        good_body: bool = False,
        limit: int = NO_LIMIT,
    ) -> None:
        if policy not in WAYS:
            raise ValueError(f"the fast mesh picks by none but {', '.join(WAYS)}, not by {policy!r}")
        if len(topology.services) != 1 or topology.endpoint_slots > len(fleet):
            raise ValueError("the fast mesh takes one service, and a row of the fleet for each endpoint")
        self.schedule = Schedule(0.0)
        self.on_telemetry, self.on_event = on_telemetry or (lambda _: None), on_event
        self.wire, self.rhythm, self._good_body = wire or Wire(), rhythm or Rhythm(), good_body
        self._rng, self._luck = rng.spawn(2)  # of the picks, of the wires: who listens changes no pick
        self._fleet = fleet
        self._weights = weights
        self._service = topology.services[0].id
        count = len(topology.nodes)
        self._servers = arrays.servers(fleet)
        self._book = arrays.book(trace, self._rng.random(len(trace)))
        self._nodes = arrays.nodes(count, len(fleet), [WAYS[policy], picking.FULL_SCAN], self._rng)
        self._limit, self._nodes.cluster["limit"] = limit, limit
        self._notes = arrays.notes(count, len(fleet), learning.FIRST_RTT_S)
        self._trace, self._logged = trace, 0
        self._mean_s = float(trace.demand_s.mean()) if len(trace) else 1.0
        self._plans: list[ServicePlan | None] = [None] * count
        self._tiers = np.zeros((count, len(fleet)), np.int64)  # as the plans name them
        self.moved(topology)
        for node in topology.nodes:
            self.schedule.at(0.0, self._hear, Presence(node.id, True))
        self.schedule.at(self.rhythm.flush_s, self._flush)
        self.schedule.at(self.rhythm.report_s, self._report)

    @property
    def now(self) -> float:
        """The virtual time."""
        return self.schedule.now

    def run(self, until: float) -> None:
        """Live until that time."""
        self.schedule.run(until)
        self._live()

    def publish(self, plan: Plan) -> None:
        """Put the plan in force at each node, a moment from now."""
        self.schedule.at(self.now + self.rhythm.delay_s, self._deliver, plan)

    def moved(self, topology: Topology) -> None:
        """Other members: all schedules start anew, and of one that is gone nothing is remembered."""
        self._live()
        self._topology = topology
        n, static = self._nodes, topology.static_weight
        here = topology.members[self._service]
        n.members[:] = False
        n.members[here] = True
        n.lane["weight"][:, Arm.STATIC, here] = self._weights[here] if self._weights is not None else static[here]
        self._notes.note["ejected_at_s"][:, ~n.members] = np.inf
        for v in range(len(n.node)):
            self._weigh(v)
        line_all_up(n, self._notes)

    def finish(self) -> Fate:
        """Let all that is open end, with nobody at the brain's end, and tell what became of each request."""
        self._live(np.inf)
        return fate_of(self._book)

    def share(self, node: int, arm: Arm = Arm.ADAPTIVE) -> Floats:
        """Weights in force at a node as shares, by row of the fleet; 0 for who is no member."""
        weight = np.where(self._nodes.members, self._nodes.lane["weight"][node, arm], 0.0)
        return np.asarray(weight / weight.sum())

    # What happens.

    def _live(self, until_s: float | None = None) -> None:
        """Bring the requests up to the present."""
        until_s = self.now if until_s is None else until_s
        r = self.rhythm
        advance(self._servers, self._book, self._nodes, self._notes, until_s, r.timeout_s, self._mean_s, self._rng)

    def _flush(self) -> None:
        self._live()
        ended = self._book.order[self._logged : self._book.counts[1]]
        self._logged = int(self._book.counts[1])
        outcome = self._outcome(ended)
        lag = self.wire.late_s
        for node in self._topology.nodes:
            mine = self._book.request["node"][ended] == node.id
            if not mine.any() or self._luck.random() < self.wire.lost:
                continue
            rows, how = ended[mine], outcome[mine]
            klass = self._trace.klass
            self._send(requests_of(self._book, klass, rows, how, self._service, node.id, self.wire), lag)
            bad = how != Outcome.OK
            if bad.any():
                self._send(felt_of(self._book, klass, rows[bad], how[bad], self._service, node.id, self.wire), lag)
        self.schedule.at(self.now + self.rhythm.flush_s, self._flush)

    def _report(self) -> None:
        self._live()
        for node in self._topology.nodes:
            report = report_of(self._nodes, self._service, node.id, self.rhythm.report_s)
            self._send(report, self.wire.late_s)
        self.schedule.at(self.now + self.rhythm.report_s, self._report)

    def _send(self, batch: Telemetry, lag_s: float) -> None:
        if lag_s > 0:
            self.schedule.at(self.now + lag_s, self._tell, batch)
        else:
            self.on_telemetry(batch)

    def _tell(self, batch: Telemetry) -> None:
        self.on_telemetry(batch)  # looked up when it happens: a driver may come later

    def _hear(self, event: Event) -> None:
        self.on_event(event)

    def _deliver(self, plan: Plan) -> None:
        self._live()
        n, told = self._nodes, plan.services.get(self._service)
        for node in self._topology.nodes:
            v, known = node.id, bool(n.node["plan"][node.id] == plan.version)
            before, self._plans[v] = self._plans[v], told
            if told is not None and (before is None or (before.weights, before.tiers) != (told.weights, told.tiers)):
                self._weigh(v)
                restart(n, v, int(Arm.ADAPTIVE))
            n.node["share_percent"][v] = told.share_percent if told is not None else 0.0
            limit = told.limits_at(v).get("max_requests") if told is not None else None
            n.cluster["limit"][v, Arm.ADAPTIVE] = self._limit if limit is None else limit
            n.node["plan"][v], n.node["lease_until_s"][v] = plan.version, self.now + self.rhythm.ttl_s
            if not known:
                for kind in ("EDS", "RTDS"):
                    self._hear(Verdict(v, kind, str(plan.version), True, plan.version))

    def _weigh(self, v: int) -> None:
        """Adaptive weights and tiers at a node; a member new to its plan gets the mean, and a tier of its own."""
        told, here = self._plans[v], self._topology.members[self._service]
        weights = dict(told.weights) if told is not None else {}
        tiers = dict(told.tiers) if told is not None else {}
        newcomers = max(tiers.values(), default=-1) + 1
        named = np.array([tiers.get(e, newcomers) for e in here.tolist()], dtype=np.int64)
        labels, numbers = np.unique(named, return_inverse=True)
        self._forget(v, here[self._tiers[v, here] != named])
        self._tiers[v, here] = named
        self._nodes.lane["tier"][v, Arm.ADAPTIVE, here] = numbers
        self._nodes.cluster["tiers"][v, Arm.ADAPTIVE] = max(len(labels), 1)
        known = [weights[e] for e in here.tolist() if e in weights]
        if not known:
            self._nodes.lane["weight"][v, Arm.ADAPTIVE, here] = self._topology.static_weight[here]
            return
        mean = round(sum(known) / len(known))
        self._nodes.lane["weight"][v, Arm.ADAPTIVE, here] = [weights.get(e, mean) for e in here.tolist()]

    def _forget(self, v: int, moved: Ints) -> None:
        """To Envoy an endpoint that changes its locality is a new host: nothing is open there, nothing is counted."""
        lane = self._nodes.lane
        for name in ("open", "issued", "succeeded", "failed"):
            lane[name][v, Arm.ADAPTIVE, moved] = 0
        lane["since_s"][v, Arm.ADAPTIVE, moved] = self.now

    def _outcome(self, rows: Ints) -> Ints:
        """As the proxies log it."""
        requests = self._book.request[rows]
        status: Ints = requests["status"]
        bad: Bools = (status >= 500) | (status == 429) | (self._good_body & ~requests["good"])
        out = np.where(bad, int(Outcome.ERROR), int(Outcome.OK))
        out = np.where(status == 0, int(Outcome.TIMEOUT), out)
        out = np.where(requests["endpoint"] < 0, int(Outcome.UNREACHED), out)
        return np.asarray(np.where(requests["refused"], int(Outcome.REJECTED), out))
