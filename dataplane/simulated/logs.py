"""What the fast mesh's wires bring: columns cut straight from the kernel's arrays, and what may be wrong with them.

A node's batch is a slice of columns that all nodes' rows were put into in one go, node by node: nothing is copied for
a wire that there is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Felt, InFlight, Method, Requests
from dataplane.simulated.compiled import kept
from dataplane.simulated.fleet import Fate, Floats, Ints

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
    columns = [getattr(batch, name) for name in batch.dtypes()]
    return {node: type(batch)(*[column[begin:end] for column in columns]) for node, begin, end in rows if begin < end}


_METHOD = int(Method.GET)


def requests_of(tried: Tried, order: Ints, service: int, wire: Wire) -> Requests:
    """The upstream access log for these attempts, in this order."""
    ahead_s, factor = np.zeros(len(tried)), np.ones(len(tried))
    ahead_s += wire.clocks_s(tried.node)
    if (factors := wire.factors(tried.node, tried.endpoint)) is not None:
        factor = factors
    columns = tuple(np.empty(len(order), dtype) for dtype in Requests.dtypes().values())
    given = tuple(getattr(tried, name) for name in _GIVEN)
    _write(given, order, ahead_s, factor, service, columns)
    return Requests(*columns)


_GIVEN = (
    *("at_s", "duration_s", "felt_s", "endpoint", "node", "klass", "outcome", "status", "good"),
    *("attempt", "arm", "plan", "weight", "probability"),
)


@kept
def _write(given: Any, order: Ints, ahead_s: Floats, factor: Floats, service: int, columns: Any) -> None:
    (at_s, duration_s, felt_s, endpoint, node, klass, outcome, status) = given[:8]
    (good, attempt, arm, plan, weight, probability) = given[8:]
    (to_started_s, to_duration_s, to_ttfb_s, to_felt_s, to_service, to_endpoint, to_node, to_route) = columns[:8]
    (to_outcome, to_status, to_in, to_out, to_attempt, to_arm) = columns[8:14]
    (to_plan, to_weight, to_probability, to_method) = columns[14:]
    for k in range(len(order)):
        i = order[k]
        lasted_s = duration_s[i] * factor[i]
        to_started_s[k] = at_s[i] + ahead_s[i]
        to_duration_s[k] = lasted_s
        to_ttfb_s[k] = lasted_s if status[i] != 0 else np.nan
        to_felt_s[k] = felt_s[i] * factor[i]
        to_service[k] = service
        to_endpoint[k] = endpoint[i]
        to_node[k] = node[i]
        to_route[k] = klass[i]
        to_outcome[k] = outcome[i]
        to_status[k] = status[i]
        to_in[k] = ASKED_BYTES
        to_out[k] = ANSWERED_BYTES if good[i] else 0
        to_attempt[k] = attempt[i]
        to_arm[k] = arm[i]
        to_plan[k] = plan[i]
        to_weight[k] = weight[i]
        to_probability[k] = probability[i]
        to_method[k] = _METHOD


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
    lane, dtypes = nodes.lane[node], InFlight.dtypes()
    columns = {name: np.empty(lane.size, dtype) for name, dtype in dtypes.items()}
    many = _count(lane, nodes.pool[node], service, tuple(columns.values()))
    return InFlight(**{name: column[:many] for name, column in columns.items()}, node_id=node, interval_s=interval_s)


@kept
def _count(lane: Any, pool: Any, of: int, columns: Any) -> int:
    service, endpoint, arm, in_flight, issued, succeeded, failed = columns
    many = 0
    for a in range(lane.shape[0]):
        for e in range(lane.shape[1]):
            cell = lane[a, e]
            waiting = 0  # for a connection: open to the policy, not to the endpoint
            for high in range(pool.shape[2]):
                waiting += pool[a, e, high].waiting
            open_now = max(cell.open - waiting, 0)
            if open_now + cell.issued + cell.succeeded + cell.failed == 0:
                continue
            service[many], endpoint[many], arm[many] = of, e, a
            in_flight[many], issued[many] = open_now, cell.issued
            succeeded[many], failed[many] = cell.succeeded, cell.failed
            cell.issued = cell.succeeded = cell.failed = 0
            many += 1
    return many


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
