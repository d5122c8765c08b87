"""How requests ended by who called whom: sums since the last freeze, of each caller's requests to each service.

Who calls is told by the proxy that a row came through: it calls for the service that it stands beside
(`contract.Node.service`), and "" is all the proxies that stand beside none. Nothing else in telemetry says it.

The sums are a table of callers by services, so that folding a row in costs two additions, and its size is bounded by
the topology. What comes out are the pairs that spoke: of a silent one nothing is known, and nothing is no zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Outcome
from features.columns import EdgeFeatures
from features.services import FAILS

if TYPE_CHECKING:
    from dataplane.contract import Felt, Topology
    from features.columns import Ints
    from features.together import Attempts

_ENDED, _FAILED, _GOOD, _GOOD_S = range(4)


class EdgeTally:
    """Sums of one topology. A caller's row is never used again for another one; row 0 is nobody's."""

    def __init__(self, topology: Topology) -> None:
        self._callers: list[str] = []
        self._row_of = np.zeros(2, dtype=np.int64)  # by node id + 1; at both ends who is no node
        self._tick = np.zeros((4, 1, 0))
        self.moved(topology)

    def moved(self, topology: Topology) -> None:
        """Proxies stand where this topology says."""
        names, index = callers_of(topology)
        self._callers += [name for name in names if name not in self._callers]
        rows = np.array([*(self._callers.index(name) + 1 for name in names), 0])
        self._row_of = np.pad(rows[index], 1)
        _, callers, services = self._tick.shape
        more = 1 + len(self._callers) - callers, max(topology.service_slots - services, 0)
        if any(more):
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

    def freeze(self) -> EdgeFeatures:
        """Who spoke since the last time. The sums start again from 0."""
        tick, self._tick = self._tick, np.zeros_like(self._tick)
        tick[_ENDED] += tick[_GOOD]
        caller, service = np.nonzero(tick[_ENDED, 1:])
        ended, failed, good, good_s = tick[:, caller + 1, service]
        return EdgeFeatures(tuple(self._callers), caller, service, ended, failed, good, good_s)

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
