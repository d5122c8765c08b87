"""What the fast mesh's wires bring: columns cut straight from the kernel's arrays, and what may be wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Felt, InFlight, Method, Requests
from dataplane.simulated.fleet import Fate, Floats

if TYPE_CHECKING:
    from dataplane.simulated.arrays import Book, Nodes
    from dataplane.simulated.tried import Tried

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

    def clocks_s(self, node: NDArray[np.integer]) -> Floats | float:
        """How far ahead the clock of each of these nodes is."""
        return np.array(self.skew_s)[node % len(self.skew_s)] if self.skew_s else 0.0

    def factors(self, node: NDArray[np.integer], endpoint: NDArray[np.integer]) -> Floats | None:
        """By what each of these nodes multiplies what it logs of each of these endpoints; None: nobody lies."""
        if not self.lies:
            return None
        out = np.ones(len(node))
        for liar, lie in self.lies.items():
            out[(node == liar) & (endpoint == lie.endpoint)] = lie.factor
        return out


C = TypeVar("C", Requests, Felt)


def by_node(batch: C, nodes: Sequence[int]) -> dict[int, C]:
    """The rows of each of these nodes that has any; they are in the order of the nodes."""
    first, last = np.searchsorted(batch.node, nodes), np.searchsorted(batch.node, nodes, side="right")
    rows = zip(nodes, first.tolist(), last.tolist(), strict=True)
    return {node: batch.take(slice(begin, end)) for node, begin, end in rows if begin < end}


def requests_of(tried: Tried, service: int, wire: Wire) -> Requests:
    """The upstream access log for these attempts."""
    duration_s, felt_s = tried.duration_s, tried.felt_s
    factor = wire.factors(tried.node, tried.endpoint)
    if factor is not None:
        duration_s, felt_s = duration_s * factor, felt_s * factor
    many = len(tried)
    return Requests.of(
        started_s=tried.at_s + wire.clocks_s(tried.node),
        duration_s=duration_s,
        ttfb_s=np.where(tried.status != 0, duration_s, np.nan),
        felt_s=felt_s,
        service=np.full(many, service),
        endpoint=tried.endpoint,
        node=tried.node,
        route=tried.klass,
        outcome=tried.outcome,
        status=tried.status,
        bytes_in=np.full(many, ASKED_BYTES),
        bytes_out=np.where(tried.good, ANSWERED_BYTES, 0),
        attempt=tried.attempt,
        arm=tried.arm,
        plan=tried.plan,
        weight=tried.weight,
        probability=tried.probability,
        method=np.full(many, Method.GET),
    )


def felt_of(tried: Tried, service: int, wire: Wire) -> Felt:
    """The downstream log for the requests that ended badly with these attempts."""
    return Felt.of(
        started_s=tried.at_s + tried.duration_s - tried.felt_s + wire.clocks_s(tried.node),
        duration_s=tried.felt_s,
        service=np.full(len(tried), service),
        node=tried.node,
        outcome=tried.outcome,
        status=tried.status,
        arm=tried.arm,
        route=tried.klass,
    )


def report_of(nodes: Nodes, service: int, node: int, interval_s: float) -> InFlight:
    """The load report of one node: endpoints with something open or done since the last one, which begins anew."""
    counts = {name: nodes.lane[node][name] for name in ("issued", "succeeded", "failed")}
    waiting = nodes.pool[node]["waiting"].sum(axis=-1)  # for a connection: open to the policy, not to the endpoint
    open_now = np.maximum(nodes.lane[node]["open"] - waiting, 0)
    arm, endpoint = np.nonzero(open_now + sum(counts.values()))
    report = InFlight.report(
        node,
        interval_s,
        service=np.full(len(arm), service),
        endpoint=endpoint,
        arm=arm,
        in_flight=open_now[arm, endpoint],
        **{name: count[arm, endpoint] for name, count in counts.items()},
    )
    for count in counts.values():
        count[:] = 0
    return report


def fate_of(book: Book) -> Fate:
    """What became of requests that have a row each, in the static arm."""
    row = book.row
    return Fate.of(
        latency_s=row["ended_s"] - row["at_s"],
        ok=row["good"],
        status=row["status"],
        endpoint=row["endpoint"],
        adaptive=np.zeros(len(row), np.bool_),
    )
