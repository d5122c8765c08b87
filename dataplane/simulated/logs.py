"""What the fast mesh's wires bring: columns cut straight from the kernel's arrays, and what may be wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dataplane.contract import Arm, Felt, InFlight, Method, Requests
from dataplane.simulated.fleet import Fate

if TYPE_CHECKING:
    from dataplane.simulated.arrays import Book, Nodes
    from dataplane.simulated.fleet import Ints

ASKED_BYTES, ANSWERED_BYTES = 100, 1000


@dataclass(frozen=True, slots=True)
class Lie:
    """A node that logs durations of one endpoint multiplied."""

    endpoint: int
    factor: float


@dataclass(frozen=True, slots=True)
class Wire:
    """What is wrong between proxies and brain. Reports are late as the log is; only the log is lost."""

    lost: float = 0.0  # share of log batches that never arrive
    late_s: float = 0.0
    lies: Mapping[int, Lie] = field(default_factory=dict)  # by node
    skew_s: tuple[float, ...] = ()  # how far ahead each node's clock is, in turn

    def clock_s(self, node: int) -> float:
        """How far ahead that node's clock is."""
        return self.skew_s[node % len(self.skew_s)] if self.skew_s else 0.0


def requests_of(book: Book, klass: Any, rows: Ints, outcome: Ints, service: int, node: int, wire: Wire) -> Requests:
    """The access log of one node for these requests, which have ended."""
    requests = book.request[rows]
    endpoint = requests["endpoint"]
    duration_s = requests["ended_s"] - requests["at_s"]
    lie = wire.lies.get(node)
    if lie is not None:
        duration_s = np.where(endpoint == lie.endpoint, duration_s * lie.factor, duration_s)
    answered = requests["status"] != 0
    many = len(rows)
    return Requests.of(
        started_s=requests["at_s"] + wire.clock_s(node),
        duration_s=duration_s,
        ttfb_s=np.where(answered, duration_s, np.nan),
        felt_s=duration_s,
        service=np.full(many, service),
        endpoint=endpoint,
        node=np.full(many, node),
        route=klass[rows],
        outcome=outcome,
        status=requests["status"],
        bytes_in=np.full(many, ASKED_BYTES),
        bytes_out=np.where(requests["good"], ANSWERED_BYTES, 0),
        attempt=np.ones(many),
        arm=requests["arm"],
        plan=requests["plan"],
        weight=requests["weight"],
        probability=requests["probability"],
        method=np.full(many, Method.GET),
    )


def felt_of(book: Book, klass: Any, rows: Ints, outcome: Ints, service: int, node: int, wire: Wire) -> Felt:
    """The downstream log of one node for these requests, which have ended badly."""
    requests = book.request[rows]
    return Felt.of(
        started_s=requests["at_s"] + wire.clock_s(node),
        duration_s=requests["ended_s"] - requests["at_s"],
        service=np.full(len(rows), service),
        node=np.full(len(rows), node),
        outcome=outcome,
        status=requests["status"],
        arm=requests["arm"],
        route=klass[rows],
    )


def report_of(nodes: Nodes, service: int, node: int, interval_s: float) -> InFlight:
    """The load report of one node: endpoints with something open or done since the last one, which begins anew."""
    counts = {name: nodes.lane[node][name] for name in ("issued", "succeeded", "failed")}
    arm, endpoint = np.nonzero(nodes.lane[node]["open"] + sum(counts.values()))
    report = InFlight.report(
        node,
        interval_s,
        service=np.full(len(arm), service),
        endpoint=endpoint,
        arm=arm,
        in_flight=nodes.lane[node]["open"][arm, endpoint],
        **{name: count[arm, endpoint] for name, count in counts.items()},
    )
    for count in counts.values():
        count[:] = 0
    return report


def fate_of(book: Book) -> Fate:
    """What became of each request, by its place in the trace."""
    requests = book.request
    return Fate.of(
        latency_s=requests["ended_s"] - requests["at_s"],
        ok=requests["good"],
        status=requests["status"],
        endpoint=requests["endpoint"],
        adaptive=requests["arm"] == Arm.ADAPTIVE,
    )
