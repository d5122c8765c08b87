"""How requests ended by the way they took: sums since the last freeze, of each proxy's requests to each service.

Who calls is told by the proxy that a row came through: it calls for the service that it stands beside
(`contract.Node.service`), and "" is all the proxies that stand beside none. Nothing else in telemetry says it. So what
a caller asked of a service, an edge, is the sum over its proxies.

The sums are a table of proxies by services, so that folding a row in costs two additions, and its size is bounded by
the topology. What comes out are the pairs that spoke: of a silent one nothing is known, and nothing is no zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Outcome
from features.columns import EdgeFeatures, WayFeatures
from features.services import FAILS

if TYPE_CHECKING:
    from dataplane.contract import Felt, Topology
    from features.columns import Ints
    from features.together import Attempts

_ENDED, _FAILED, _GOOD, _GOOD_S = range(4)


class EdgeTally:
    """Sums of one topology. Row 0 is nobody's: of who is no node, or none any more."""

    def __init__(self, topology: Topology) -> None:
        self._tick = np.zeros((4, 1, 0))
        self.moved(topology)

    def moved(self, topology: Topology) -> None:
        """Proxies stand where this topology says. A slot is never used again for another one."""
        self._callers, self._calls_for = callers_of(topology)
        here = np.flatnonzero(self._calls_for >= 0)
        self._row_of = np.zeros(self._calls_for.size + 2, dtype=np.int64)  # by node id + 1; at both ends who is no node
        self._row_of[here + 1] = here + 1
        _, rows, services = self._tick.shape
        more = max(1 + self._calls_for.size - rows, 0), max(topology.service_slots - services, 0)
        self._tick = np.pad(self._tick, ((0, 0), (0, more[0]), (0, more[1])))

    def told(self, batch: Attempts, which: NDArray[np.bool_]) -> None:
        """Fold in requests that ended well. `which` of the rows: all of them of known services, with a finite time."""
        cell = self._cells(batch.node[which], batch.service[which])
        np.add.at(self._tick[_GOOD].reshape(-1), cell, 1.0)
        np.add.at(self._tick[_GOOD_S].reshape(-1), cell, batch.felt_s[which].astype(np.float64))

    def felt(self, batch: Felt, which: NDArray[np.bool_]) -> None:
        """Fold in requests that ended badly. What a limit refused was never sent, so it tells nothing of the way."""
        which = which & (batch.outcome != Outcome.REJECTED)
        cell, fails = self._cells(batch.node[which], batch.service[which]), FAILS[batch.outcome[which]]
        np.add.at(self._tick[_ENDED].reshape(-1), cell, 1.0)
        np.add.at(self._tick[_FAILED].reshape(-1), cell[fails], 1.0)

    def freeze(self) -> tuple[WayFeatures, EdgeFeatures]:
        """Who spoke since the last time, by proxy and by caller. The sums start again from 0."""
        tick, self._tick = self._tick, np.zeros_like(self._tick)
        tick[_ENDED] += tick[_GOOD]
        here = np.flatnonzero(self._calls_for >= 0)
        by_caller = np.zeros((4, len(self._callers), tick.shape[2]))
        for row, of_nodes in zip(by_caller, tick[:, here + 1], strict=True):
            np.add.at(row, self._calls_for[here], of_nodes)
        node, service = np.nonzero(tick[_ENDED, here + 1])
        ways = WayFeatures(here[node], service, *tick[:, here[node] + 1, service])
        caller, service = np.nonzero(by_caller[_ENDED])
        return ways, EdgeFeatures(tuple(self._callers), caller, service, *by_caller[:, caller, service])

    def _cells(self, node: NDArray[np.int32], service: NDArray[np.int32]) -> Ints:
        row = self._row_of.take(node + 1, mode="clip")
        return np.asarray(row * self._tick.shape[2] + service)


def callers_of(topology: Topology) -> tuple[list[str], Ints]:
    """Who calls, by name, and which of them each node calls for. Shape (node slots,); -1: no node has this id."""
    names = sorted({n.service for n in topology.nodes})
    index = np.full(max((n.id for n in topology.nodes), default=-1) + 1, -1, dtype=np.int64)
    for n in topology.nodes:
        index[n.id] = names.index(n.service)
    return names, index
