"""An invented run: every kind of call, in plausible order, the same for the same seed.

For tests, benchmarks and documentation; no mesh and no brain is needed. The numbers mean nothing, and the floats are
random bits, so that whatever does not keep them exactly is found out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np

from brain.commands import Freeze, SetMode
from brain.decision import ArmView, Decision, EndpointView, GainView, ServiceView
from brain.settings import Mode, Settings
from dataplane.contract import (
    Arm,
    Columns,
    Dropped,
    Endpoint,
    Felt,
    InFlight,
    Node,
    Outcome,
    Plan,
    Presence,
    Requests,
    Service,
    ServicePlan,
    Topology,
    Verdict,
)
from weirflow.recording.calls import Call, Start
from weirflow.recording.writer import Recorder

T0 = 1_700_000_000.0

Batch = TypeVar("Batch", bound=Columns)


def topology(version: int = 1, endpoints: int = 4) -> Topology:
    """Two services over `endpoints` endpoints, two nodes, two routes."""
    all_ = [Endpoint(i, f"10.0.0.{i}:80", zone="ab"[i % 2]) for i in range(endpoints)]
    return Topology(
        version=version,
        services=(Service(0, "checkout", tuple(all_[::2])), Service(1, "search", tuple(all_[1::2]))),
        nodes=(Node(0, "edge-1"), Node(1, "edge-2", 2)),
        routes=("checkout", "search"),
    )


def batch(kind: type[Batch], rows: int, random: np.random.Generator, endpoints: int = 4) -> Batch:
    """Rows of random bits, but for the integers that name something."""
    known = {
        "service": (0, 2),
        "endpoint": (-1, endpoints),
        "node": (0, 2),
        "route": (-1, 2),
        "outcome": (0, len(Outcome)),
        "arm": (0, len(Arm)),
    }
    columns: dict[str, Any] = {}
    for name, dtype in kind.dtypes().items():
        if name in known:
            columns[name] = random.integers(*known[name], rows)
        else:
            columns[name] = np.frombuffer(random.bytes(rows * dtype.itemsize), dtype)
    return kind.of(**columns)


def decision(now: float, tick: int, of: Topology) -> Decision:
    """A decision about everything in the topology, with a plan from the third tick on."""
    arm = ArmView(requests_per_s=100.0, p50_s=0.01, p99_s=1 / 3, failed_share=None, requests=tick)
    services = tuple(
        ServiceView(
            id=s.id,
            name=s.name,
            mode="adaptive",
            state="learning",
            share_percent=95.0,
            commanded_share_percent=95.0,
            reason="fewer than 30 samples",
            pushed=False,
            endpoints=tuple(_endpoint(e, tick) for e in s.endpoints),
            static=arm,
            adaptive=arm,
            gain=GainView(),
        )
        for s in of.services
    )
    weights = {s.id: ServicePlan(95.0, {e.id: 100 + tick for e in s.endpoints}) for s in of.services}
    plan = Plan(tick, weights) if tick > 2 else None
    return Decision(now=now, tick=tick, plan=plan, services=services, nodes=())


def run(seconds: int = 12, *, rows: int = 50, seed: int = 0) -> Iterator[Call]:
    """The calls of that many seconds, `rows` attempts a node and second."""
    random = np.random.default_rng(seed)  # noqa: TID251  a driver of its own
    of = topology()
    yield Call(T0, "started", Start(Settings(), of))
    yield Call(T0 + 0.001, "restored", {"seen": np.arange(5.0), "by": {"name": ["a", 1, None]}})
    for node in (0, 1):
        yield Call(T0 + 0.002, "heard", Presence(node, connected=True))
    for tick in range(1, seconds + 1):
        now = T0 + tick
        if tick % 5 == 0:
            of = topology(of.version + 1, of.endpoint_slots + 1)
            yield Call(now - 0.9, "moved", of)
        for node in (0, 1):
            yield Call(now - 0.8, "told", batch(Requests, rows, random, of.endpoint_slots))
            report = batch(InFlight, 3 if tick % 2 else 0, random, of.endpoint_slots)
            columns = {name: getattr(report, name) for name in InFlight.dtypes()}
            yield Call(now - 0.7, "told", InFlight.report(node, 0.5 + tick / 3, **columns))
        yield Call(now - 0.6, "told", batch(Felt, tick % 3, random))
        yield Call(now - 0.5, "told", Dropped(tick % 2, {"negative duration": tick}))
        yield Call(now - 0.4, "heard", Verdict(0, "EDS", str(tick), tick % 4 > 0, plan=tick, detail="bad “weight”"))
        if tick == 4:
            yield Call(now - 0.3, "commanded", SetMode("checkout", Mode.ADAPTIVE, 90.0))
            yield Call(now - 0.2, "configured", Settings(share_percent=1 / 3, modes={"search": Mode.STATIC}))
        if tick == 7:
            yield Call(now - 0.3, "commanded", Freeze(on=True))
            yield Call(now - 0.2, "overran", 2)
        yield Call(now, "decided", decision(now, tick, of))


def tell(recorder: Recorder, call: Call) -> None:
    """Make one call of a run to a recorder, which has heard `started` when it was made."""
    if call.verb != "started":
        getattr(recorder, call.verb)(call.argument, call.now)


def _endpoint(endpoint: Endpoint, tick: int) -> EndpointView:
    return EndpointView(
        id=endpoint.id,
        address=endpoint.address,
        zone=endpoint.zone,
        static_weight=endpoint.weight,
        weight=100 + tick,
        proposed=100,
        share=0.25,
        capacity=None,
        capacity_low=None,
        capacity_high=None,
        rate_per_s=1 / 3,
        error_share=None,
        latency_s=0.01,
        p50_s=0.01,
        p99_s=0.1,
        in_flight=2.0,
        samples=30.0,
        reason="as static",
    )
