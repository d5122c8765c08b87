"""A mesh in virtual time, behind the contract that the live data plane implements.

Requests arrive as Poisson processes, a node picks an arm and an endpoint, the endpoint's queue and workers take their
time, and telemetry comes back as the wires would bring it: the access log in batches every 0.1 s, load reports every
0.5 s. A published plan reaches each node a moment later, is answered with a verdict, and its lease ends by itself.

Everything random comes from one seeded generator, so a run is a function of its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataplane.contract import Arm, Event, Outcome, Plan, Presence, Topology, Verdict
from dataplane.simulated.endpoint import Behaviour, SimulatedEndpoint, Work
from dataplane.simulated.node import Attempt, SimulatedNode
from dataplane.simulated.schedule import Schedule

if TYPE_CHECKING:
    import numpy as np

    from dataplane.contract import OnEvent, OnTelemetry


@dataclass(frozen=True, slots=True)
class Load:
    """Poisson arrivals at a service, spread evenly over all nodes. The rate may change with time."""

    service: str
    rate_per_s: float | Callable[[float], float]

    def rate(self, now: float) -> float:
        """Requests a second now."""
        return self.rate_per_s(now) if callable(self.rate_per_s) else self.rate_per_s


@dataclass(frozen=True, slots=True)
class Ended:
    """One request as its user felt it: the judge's record, which the brain never sees."""

    at_s: float
    service: int
    endpoint: int  # of the last attempt
    arm: Arm
    felt_s: float
    ok: bool


class SimulatedMesh:
    """Nodes, endpoints and clients of one topology. Implements `contract.DataPlane`.

    `behaviours` by endpoint address; who is not named behaves as the default. `policy` is the static clusters'.
    """

    def __init__(
        self,
        topology: Topology,
        loads: Sequence[Load],
        behaviours: Mapping[str, Behaviour],
        rng: np.random.Generator,
        on_telemetry: OnTelemetry = lambda _: None,
        on_event: OnEvent = lambda _: None,
        *,
        policy: str = "LEAST_REQUEST",
        now: float = 0.0,
        ttl_s: float = 5.0,
        flush_s: float = 0.1,
        report_s: float = 0.5,
        delay_s: float = 0.01,
        timeout_s: float = 15.0,
        retries: int = 0,
    ) -> None:
        self.schedule = Schedule(now)
        self.on_telemetry, self.on_event = on_telemetry, on_event
        self.ended: list[Ended] = []
        self.refuse: Callable[[int, Plan], str] = lambda _node, _plan: ""  # words make it a NACK of that plan's weights
        self._rng, self._behaviours = rng, behaviours
        self._ttl_s, self._flush_s, self._report_s, self._delay_s = ttl_s, flush_s, report_s, delay_s
        self._timeout_s, self._retries = timeout_s, retries
        self._topology = topology
        self._endpoints: dict[int, SimulatedEndpoint] = {}
        self.nodes = [SimulatedNode(n, topology, policy, rng) for n in topology.nodes]
        self.moved(topology)
        for node in self.nodes:
            self.schedule.at(now, self._hear, Presence(node.node.id, True))
            self.schedule.at(now + flush_s, self._flush, node)
            self.schedule.at(now + report_s, self._report, node)
            for load in loads:
                self.schedule.at(now, self._wait, load, node)

    @property
    def now(self) -> float:
        """The virtual time."""
        return self.schedule.now

    def run(self, until: float) -> None:
        """Live until that time."""
        self.schedule.run(until)

    def publish(self, plan: Plan) -> None:
        """Put the plan in force at each node, a moment from now."""
        for node in self.nodes:
            self.schedule.at(self.now + self._delay_s, self._deliver, node, plan)

    def moved(self, topology: Topology) -> None:
        """Other members. An endpoint that is new behaves as its address says."""
        self._topology = topology
        for s in topology.services:
            for e in s.endpoints:
                if e.id not in self._endpoints:
                    behaviour = self._behaviours.get(e.address, Behaviour())
                    self._endpoints[e.id] = SimulatedEndpoint(behaviour, self.schedule, self._rng)
        for node in self.nodes:
            node.moved(topology)

    # What happens.

    def _wait(self, load: Load, node: SimulatedNode, *, arrive: bool = False) -> None:
        if arrive:
            service = self._topology.service(load.service).id
            self._try(node, node.begin(service, self.now, self.now))
        rate = load.rate(self.now) / len(self.nodes)
        if rate > 0:
            self.schedule.at(self.now + self._rng.exponential(1 / rate), self._arrive, load, node)
        else:
            self.schedule.at(self.now + 1.0, self._wait, load, node)

    def _arrive(self, load: Load, node: SimulatedNode) -> None:
        self._wait(load, node, arrive=True)

    def _try(self, node: SimulatedNode, attempt: Attempt) -> None:
        work = Work(lambda status: self._done(node, attempt, status), lambda: attempt.over)
        self._endpoints[attempt.endpoint].submit(work)

    def _done(self, node: SimulatedNode, attempt: Attempt, status: int) -> None:
        if attempt.over:
            return  # it had timed out
        good = status < 500 and status != 429
        self._end(node, attempt, Outcome.OK if good else Outcome.ERROR, status)

    def _end(self, node: SimulatedNode, attempt: Attempt, outcome: Outcome, status: int) -> None:
        node.end(attempt, outcome, status, self.now)
        if outcome is not Outcome.OK:
            if attempt.number <= self._retries:
                again = node.begin(attempt.service, attempt.asked_s, self.now, attempt.number + 1, attempt.arm)
                self._try(node, again)
                return
            node.failed(attempt, outcome, status, self.now)
        felt = self.now - attempt.asked_s
        self.ended.append(Ended(self.now, attempt.service, attempt.endpoint, attempt.arm, felt, outcome is Outcome.OK))

    def _flush(self, node: SimulatedNode) -> None:
        while node.open and (node.open[0].over or self.now - node.open[0].started_s >= self._timeout_s):
            attempt = node.open.popleft()
            if not attempt.over:
                self._end(node, attempt, Outcome.TIMEOUT, 0)
        for batch in node.log(self.now):
            self.on_telemetry(batch)
        self.schedule.at(self.now + self._flush_s, self._flush, node)

    def _report(self, node: SimulatedNode) -> None:
        report = node.report(self.now, self._report_s)
        if report is not None:
            self.on_telemetry(report)
        self.schedule.at(self.now + self._report_s, self._report, node)

    def _deliver(self, node: SimulatedNode, plan: Plan) -> None:
        words = self.refuse(node.node.id, plan)
        known = node.plan == plan.version
        if not words:
            node.take(plan, self.now + self._ttl_s)
        if not known:
            version = str(plan.version)
            self._hear(Verdict(node.node.id, "EDS", version, not words, plan.version, words))
            self._hear(Verdict(node.node.id, "RTDS", version, True, plan.version))

    def _hear(self, event: Event) -> None:
        self.on_event(event)  # looked up when it happens: a driver may come later
