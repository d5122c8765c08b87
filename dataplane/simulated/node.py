"""A simulated proxy: its workers' pickers, its lease, what is open at it, and the telemetry that it owes.

It keeps Envoy's habits that matter to the brain: each worker has schedules of its own; open requests are counted per
cluster, so the two arms do not see each other's; weights that did not change restart nothing; an endpoint that changes
tiers is a new one, with nothing open; a lease that is not renewed ends by itself, and with it the adaptive arm.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dataplane.contract import NO_PLAN, Arm, Felt, InFlight, Method, Node, Outcome, Plan, Requests, Topology
from dataplane.simulated.picks import Pick, picker, tiered

if TYPE_CHECKING:
    import numpy as np

SKIP = 16
"""Each worker skips up to this many picks of a new schedule."""


@dataclass(slots=True)
class Count:
    """What the load report says of one endpoint on one arm."""

    in_flight: int = 0
    issued: int = 0
    succeeded: int = 0
    failed: int = 0


@dataclass(slots=True)
class Attempt:
    """One try of one request, while it is open."""

    service: int
    endpoint: int
    arm: Arm
    number: int
    asked_s: float  # when the request's first attempt began
    started_s: float
    plan: int
    weight: int
    probability: float
    count: Count  # where it is counted
    over: bool = False


@dataclass
class SimulatedNode:
    """One proxy. `clock_s` is how far its own clock is ahead; Within its windows its log or reports are lost."""

    node: Node
    topology: Topology
    policy: str
    rng: np.random.Generator
    clock_s: float = 0.0
    log_lost: tuple[tuple[float, float], ...] = ()
    reports_lost: tuple[tuple[float, float], ...] = ()
    plan: int = NO_PLAN
    lease_until: float = -1.0
    share: dict[int, float] = field(default_factory=dict)
    weights: dict[int, dict[int, int]] = field(default_factory=dict)
    tiers: dict[int, dict[int, int]] = field(default_factory=dict)
    newcomer: dict[int, float] = field(default_factory=dict)
    counts: dict[tuple[int, Arm], Count] = field(default_factory=dict)
    open: deque[Attempt] = field(default_factory=deque)  # in the order started

    def __post_init__(self) -> None:
        """Each worker skips its own number of picks, for good."""
        self._skips = [int(self.rng.integers(SKIP)) for _ in range(self.node.concurrency)]
        self._picks: dict[tuple[int, int, Arm], Pick] = {}
        self._rows: list[tuple[Any, ...]] = []
        self._felt: list[tuple[Any, ...]] = []

    def moved(self, topology: Topology) -> None:
        """Other members: all schedules start anew."""
        self.topology = topology
        self._picks.clear()

    def take(self, plan: Plan, until: float) -> None:
        """Put a plan in force, and its lease until then."""
        for s, service in plan.services.items():
            weights = dict(service.weights)
            tiers = dict(service.tiers)
            self.newcomer[s] = service.newcomer
            if (self.weights.get(s), self.tiers.get(s)) != (weights, tiers):
                before = self._tiers(s)
                self.weights[s], self.tiers[s] = weights, tiers
                for e, tier in self._tiers(s).items():
                    if tier != before[e]:
                        self.counts.pop((e, Arm.ADAPTIVE), None)
                for worker in range(self.node.concurrency):
                    self._picks.pop((worker, s, Arm.ADAPTIVE), None)
        self.share = {s: p.share_percent for s, p in plan.services.items() if p.share_percent > 0}
        self.plan, self.lease_until = plan.version, until

    def begin(self, service: int, asked_s: float, now: float, number: int = 1, arm: Arm | None = None) -> Attempt:
        """Pick an arm, unless the request has one, and an endpoint."""
        if arm is None:
            leased = self.share.get(service, 0.0) if now < self.lease_until else 0.0
            arm = Arm.ADAPTIVE if leased > 0 and self.rng.random() * 100 < leased else Arm.STATIC
        worker = int(self.rng.random() * self.node.concurrency)
        pick = self._picks.get((worker, service, arm)) or self._schedule(worker, service, arm)
        weights = self._weights(service, arm)
        endpoint = int(self.topology.members[service][pick()])
        weight = weights[endpoint]
        probability = weight / sum(weights.values())
        count = self._count(endpoint, arm)
        attempt = Attempt(service, endpoint, arm, number, asked_s, now, self.plan, weight, probability, count)
        count.in_flight += 1
        count.issued += 1
        self.open.append(attempt)
        return attempt

    def end(self, attempt: Attempt, outcome: Outcome, status: int, now: float) -> None:
        """An attempt is over: count it and log it."""
        attempt.over = True
        count = attempt.count
        count.in_flight -= 1
        if outcome is Outcome.OK:
            count.succeeded += 1
        else:
            count.failed += 1
        a, took = attempt, now - attempt.started_s
        ttfb = took if outcome is not Outcome.TIMEOUT else float("nan")
        where = (now - a.asked_s, a.service, a.endpoint, self.node.id, -1)
        how = (int(outcome), status, 100, 1000, a.number, int(a.arm), a.plan, a.weight, a.probability, int(Method.GET))
        self._rows.append((a.started_s + self.clock_s, took, ttfb, *where, *how))

    def failed(self, attempt: Attempt, outcome: Outcome, status: int, now: float) -> None:
        """A request ended badly for its user."""
        a = attempt
        row = (a.asked_s + self.clock_s, now - a.asked_s, a.service, self.node.id, int(outcome), status, int(a.arm), -1)
        self._felt.append(row)

    def log(self, now: float) -> list[Requests | Felt]:
        """What the access log brings since the last time."""
        batches: list[Requests | Felt] = []
        if not _within(self.log_lost, now):
            if self._rows:
                batches.append(Requests.of(**dict(zip(Requests.dtypes(), zip(*self._rows, strict=True), strict=True))))
            if self._felt:
                batches.append(Felt.of(**dict(zip(Felt.dtypes(), zip(*self._felt, strict=True), strict=True))))
        self._rows, self._felt = [], []
        return batches

    def report(self, now: float, interval_s: float) -> InFlight | None:
        """The load report: endpoints with something open or done since the last one. None while reports are lost."""
        if _within(self.reports_lost, now):
            return None
        rows = [
            (e, arm, c) for (e, arm), c in self.counts.items() if c.in_flight or c.issued or c.succeeded or c.failed
        ]
        report = InFlight.report(
            self.node.id,
            interval_s,
            service=[self.topology.service_of[e] for e, _, _ in rows],
            endpoint=[e for e, _, _ in rows],
            arm=[int(arm) for _, arm, _ in rows],
            **{name: [getattr(c, name) for _, _, c in rows] for name in ("in_flight", "issued", "succeeded", "failed")},
        )
        for _, _, count in rows:
            count.issued = count.succeeded = count.failed = 0
        return report

    def _count(self, endpoint: int, arm: Arm) -> Count:
        count = self.counts.get((endpoint, arm))
        if count is None:
            count = self.counts[endpoint, arm] = Count()
        return count

    def _weights(self, service: int, arm: Arm) -> dict[int, int]:
        """Weights by endpoint, in the members' order; one that the plan does not know yet gets its part of the mean."""
        members = self.topology.members[service].tolist()
        plan = self.weights.get(service, {})
        known = [plan[e] for e in members if e in plan]
        if arm is Arm.STATIC or not known:
            return {e: int(self.topology.static_weight[e]) for e in members}
        newcomer = max(1, round(self.newcomer[service] * sum(known) / len(known)))
        return {e: plan.get(e, newcomer) for e in members}

    def _tiers(self, service: int) -> dict[int, int]:
        """Tiers by endpoint, in the members' order; one that the plan does not know yet has its own."""
        told = self.tiers.get(service, {})
        newcomers = max(told.values(), default=-1) + 1
        members = self.topology.members.get(service)  # none: a plan may still name a service that has gone
        return {e: told.get(e, newcomers) for e in members.tolist()} if members is not None else {}

    def _schedule(self, worker: int, service: int, arm: Arm) -> Pick:
        members = self.topology.members[service].tolist()
        weights = self._weights(service, arm)
        counts = [self._count(e, arm) for e in members]
        active: Callable[[int], int] = lambda i: counts[i].in_flight  # noqa: E731
        skip = self._skips[worker]
        if arm is Arm.ADAPTIVE:
            made = tiered(list(weights.values()), list(self._tiers(service).values()), active, self.rng, skip)
        else:
            made = picker(self.policy, list(weights.values()), active, self.rng, skip)
        self._picks[worker, service, arm] = made
        return made


def _within(windows: tuple[tuple[float, float], ...], now: float) -> bool:
    return any(start <= now < end for start, end in windows)
