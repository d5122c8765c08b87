"""A mesh in virtual time over a fleet and a trace, fast: millions of attempts a second.

It is to `SimulatedMesh` what the lab is to the demo: the world is drawn beforehand, so every policy meets the same one,
and the inner loop is compiled. It carries plans and telemetry as the wires would: the access log in batches, load
reports, verdicts, a lease that ends by itself, and whatever is wrong with the telemetry (`Wire`).

Everything random comes from one seeded generator, so a run is a function of its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dataplane.contract import Arm, Event, Outcome, Plan, Presence, ServicePlan, Telemetry, Topology, Verdict
from dataplane.simulated import arrays, learning, limits, picking
from dataplane.simulated.due import MOST
from dataplane.simulated.fleet import Fate, Fleet, Floats, Ints, Trace
from dataplane.simulated.kernel import ENTRIES, advance, line_all_up, restart
from dataplane.simulated.logs import Wire, by_node, felt_of, report_of, requests_of
from dataplane.simulated.rules import NO_LIMIT, RouteRules, Rules
from dataplane.simulated.schedule import Schedule
from dataplane.simulated.tried import Fates, Tried, free, tried

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
    "module": picking.LEASED,
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


def slices(trace: Trace, rows: int = 65_536) -> Iterator[Trace]:
    """A trace in pieces."""
    for first in range(0, len(trace), rows):
        yield trace.take(slice(first, first + rows))


def dealt(values: Floats) -> Callable[[int], Floats]:
    """Deals them out in order, so many at a time."""
    at = 0

    def deal(many: int) -> Floats:
        nonlocal at
        at += many
        return values[at - many : at]

    return deal


class FleetMesh:
    """Nodes, endpoints and clients of one service. Implements `contract.DataPlane`, driven by `drive.run`.

    The topology has one service, and an endpoint's id is its row in the fleet. `trace` is all that comes, and `finish`
    tells what became of it; or it is an iterable of traces, each read when the one before has come, and what has ended
    is had by `take`: so a run needs no more memory than what is open and not yet taken.

    `rules` are the operator's static rules; without any, `policy` is the static cluster's way to pick, one of `WAYS`,
    `rhythm.timeout_s` a request's time, `limit` the `max_requests` of each node and cluster, and nothing is tried
    again. `adaptive` is the adaptive cluster's way: the full scan, or our module's; `says`: endpoints say in each
    answer what they have in progress, which the module hears. `weights` replaces the operator's static weights, by row.
    `good_body` says that an answer without a body is an error to the proxies' log, `same_luck`
    that a second try meets an endpoint's share of errors with the luck of the first. `demand_s`: the mean demand, for
    oracles; None: that of the (first) trace. ValueError: no such way, or not one service, or a topology larger than the
    fleet.
    """

    def __init__(
        self,
        topology: Topology,
        fleet: Fleet,
        trace: Trace | Iterable[Trace],
        rng: np.random.Generator,
        on_telemetry: OnTelemetry | None = None,
        on_event: OnEvent = lambda _: None,
        *,
        rules: Rules | None = None,
        policy: str = "least_request",
        adaptive: str = "full_scan",
        says: bool = False,
        weights: Floats | None = None,
        wire: Wire | None = None,
        rhythm: Rhythm | None = None,
        good_body: bool = False,
        same_luck: bool = False,
        limit: int = NO_LIMIT,
        demand_s: float | None = None,
    ) -> None:
        self.wire, self.rhythm, self._good_body = wire or Wire(), rhythm or Rhythm(), good_body
        routes = (RouteRules(timeout_s=self.rhythm.timeout_s),)
        self.rules = rules or Rules(policy=policy, routes=routes, max_requests=limit)
        if self.rules.policy not in WAYS:
            raise ValueError(f"the fast mesh picks by none but {', '.join(WAYS)}, not by {self.rules.policy!r}")
        if len(topology.services) != 1 or topology.endpoint_slots > len(fleet):
            raise ValueError("the fast mesh takes one service, and a row of the fleet for each endpoint")
        self.schedule = Schedule(0.0)
        self.on_telemetry, self.on_event = on_telemetry or (lambda _: None), on_event
        # Of the picks, of the wires, of the arms: who listens changes no pick, nor does how a stream is cut.
        self._rng, self._luck, arms = rng.spawn(3)
        coins = self._rng.random(len(trace)) if isinstance(trace, Trace) else None  # all at once, as there is an end
        self._coins: Callable[[int], Floats] = arms.random if coins is None else dealt(coins)
        self._fleet, self._weights, self._service = fleet, weights, topology.services[0].id
        way, count = WAYS[self.rules.policy], len(topology.nodes)
        self._servers = arrays.servers(fleet, reports=way == picking.REPORTED, says=says, probed=way == picking.PREQUAL)
        self._book = arrays.book(self.rules, same_luck=same_luck)
        self._nodes = arrays.nodes(count, len(fleet), [way, WAYS[adaptive]], self._rng)
        self._nodes.cluster["pooled"] = self.rules.max_connections < NO_LIMIT
        for high in (0, 1):
            limits.static(self._nodes.breaker[:, :, high], self.rules, high=bool(high))
        self._notes = arrays.notes(count, len(fleet), learning.FIRST_RTT_S)
        self._plans: list[ServicePlan | None] = [None] * count
        self._tiers = np.zeros((count, len(fleet)), np.int64)  # as the plans name them
        self._demand_s, self._fed_s, self._lived_s = demand_s, 0.0, 0.0
        self._log: list[Tried] = []  # to be flushed
        self._ended: list[Tried] = []  # to be taken
        self._fates = Fates(len(trace)) if isinstance(trace, Trace) else None
        self._more = slices(trace) if isinstance(trace, Trace) else iter(trace)
        self._over = False  # there is no more to read
        if isinstance(trace, Trace) and demand_s is None and len(trace):
            self._demand_s = float(trace.demand_s.mean())
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

    def feed(self, trace: Trace) -> None:
        """More requests are to come. ValueError when one is before the last one fed, or the present."""
        if not len(trace):
            return
        at_s = trace.at_s
        if at_s[0] < max(self._fed_s, self._lived_s) or (np.diff(at_s) < 0).any():
            raise ValueError("requests are fed in the order of their times, and none of them for the past")
        if self._demand_s is None:
            self._demand_s = float(trace.demand_s.mean())
        self._fed_s = float(at_s[-1])
        self._book = arrays.fed(self._book, arrays.coming(trace, self._coins(len(trace))))

    def take(self) -> Tried:
        """Attempts that ended since the last call. ValueError where the work was given as one trace: see `finish`."""
        if self._fates is not None:
            raise ValueError("a mesh that was given one whole trace keeps what became of it for finish()")
        self._live()
        self._drain()
        out, self._ended = Tried.concat(self._ended), []
        return out

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
        limits.close_idle(n.breaker, n.pool, ~n.members)
        for v in range(len(n.node)):
            self._weigh(v)
        line_all_up(n, self._notes)

    def finish(self) -> Fate:
        """Let all that is open end, with nobody at the brain's end, and tell what became of each request.

        Of a mesh that was not given one whole trace the fate is empty: `take` has it all.
        """
        self._live(np.inf)
        self._drain()
        return self._fates.fate if self._fates is not None else Fate.empty()

    def share(self, node: int, arm: Arm = Arm.ADAPTIVE) -> Floats:
        """Weights in force at a node as shares, by row of the fleet; 0 for who is no member."""
        weight = np.where(self._nodes.members, self._nodes.lane["weight"][node, arm], 0.0)
        return np.asarray(weight / weight.sum())

    # What happens.

    def _live(self, until_s: float | None = None) -> None:
        """Bring the requests up to the present."""
        until_s = self.now if until_s is None else until_s
        while not self._over and self._fed_s < until_s:
            self._advance(self._fed_s)
            chunk = next(self._more, None)
            self._over = chunk is None
            if chunk is not None:
                self.feed(chunk)
        self._advance(until_s)

    def _advance(self, until_s: float) -> None:
        mean_s, self._lived_s = self._demand_s or 1.0, until_s
        while not advance(self._servers, self._book, self._nodes, self._notes, until_s, mean_s, self._rng):
            self._drain()
            # An endpoint that shares is due to look at who would have given up by then: entries outlast their rows.
            full = self._book.clock["due"][0] + ENTRIES > len(self._book.due)
            if full or self._book.clock["free"][0] < len(self._book.row) // 2:
                if len(self._book.row) > MOST // 2:
                    raise MemoryError(f"more than {MOST // 2} attempts are open at once")
                self._book = arrays.roomier(self._book)

    def _drain(self) -> None:
        """Take the attempts that have ended out of the book."""
        rows = self._book.ended[: self._book.clock["ended"][0]].copy()
        if not len(rows):
            return
        if self._fates is not None:
            self._fates.note(self._book, rows)
        if self._fates is None or self.rhythm.flush_s < np.inf:
            found = tried(self._book, rows, good_body=self._good_body)
            if self.rhythm.flush_s < np.inf:
                self._log.append(found)
            if self._fates is None:
                self._ended.append(found)
        free(self._book, rows)

    def _flush(self) -> None:
        self._live()
        self._drain()
        ended, self._log = Tried.concat(self._log), []
        nodes = [n.id for n in self._topology.nodes]
        order, attempts = np.argsort(ended.node, kind="stable"), ended.attempt > 0
        sent = order if attempts.all() else order[attempts[order]]
        logs = by_node(requests_of(ended, sent, self._service, self.wire), nodes)
        bad = order[(ended.last & (ended.outcome != Outcome.OK))[order]]
        felt = by_node(felt_of(ended.take(bad), self._service, self.wire), nodes) if len(bad) else {}
        for node in nodes:
            told = [some[node] for some in (logs, felt) if node in some]
            if told and self._luck.random() >= self.wire.lost:
                for batch in told:
                    self._send(batch, self.wire.late_s)
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
            if told is not None:
                cluster = n.cluster[v, Arm.ADAPTIVE]
                cluster["lanes"], cluster["workers"] = told.lanes, max(told.workers, 1.0)
                cluster["believed_s"] = told.believed_s
                for name, own in (("able", told.capacities), ("queue", told.queues)):
                    column = n.lane[name][v, Arm.ADAPTIVE]
                    column[:] = 0.0
                    column[list(own)] = list(own.values())
            if told is not None and (before is None or (before.weights, before.tiers) != (told.weights, told.tiers)):
                self._weigh(v)
                restart(n, v, int(Arm.ADAPTIVE))
            n.node["share_percent"][v] = told.share_percent if told is not None else 0.0
            n.node["shed_percent"][v] = told.shed_percent if told is not None else 0.0
            leased = told.limits_at(v) if told is not None else {}
            for high in (False, True):
                limits.lease(n.breaker[v, Arm.ADAPTIVE, int(high)], self.rules, leased, high=high)
            n.node["plan"][v], n.node["lease_until_s"][v] = plan.version, self.now + self.rhythm.ttl_s
            if not known:
                for kind in ("EDS", "RTDS"):
                    self._hear(Verdict(v, kind, str(plan.version), True, plan.version))

    def _weigh(self, v: int) -> None:
        """Adaptive weights and tiers of a node; who is new to its plan has a part of the mean, in a tier of its own."""
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
        part = told.newcomer if told is not None else 1.0
        newcomer = max(1, round(part * sum(known) / len(known)))
        self._nodes.lane["weight"][v, Arm.ADAPTIVE, here] = [weights.get(e, newcomer) for e in here.tolist()]

    def _forget(self, v: int, moved: Ints) -> None:
        """To Envoy an endpoint that changes its locality is a new host: nothing is open there, nothing is counted."""
        lane = self._nodes.lane
        for name in ("open", "issued", "succeeded", "failed"):
            lane[name][v, Arm.ADAPTIVE, moved] = 0
        lane["since_s"][v, Arm.ADAPTIVE, moved] = self.now
