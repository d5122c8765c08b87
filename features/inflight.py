"""What is open now, and for how long nothing has finished: the only sight of an endpoint that hangs.

A load report lists the endpoints that have something to report; one that is absent from a node's newest report has
nothing open there (Envoy's load_stats_reporter leaves out a host whose counters and gauge are all 0). So a report
replaces all that its node said before.

An endpoint is stuck from the first report that shows requests open there, until one finishes (by any node's report or
log) or a report shows none open. A client that leaves finishes nothing: an endpoint that hangs while its clients give
up and new ones come stays stuck.

Silence is counted up to the last word of anybody: when all telemetry is late or lost, nobody is known to hang.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import InFlight
from features.columns import Floats
from models.base import known_or
from models.decay import When


class OpenRequests:
    """Newest in-flight counts by node and endpoint, and since when each endpoint is stuck."""

    def __init__(self, nodes: int, slots: int) -> None:
        self._open = np.zeros((nodes, slots))
        self._since = np.full(slots, np.nan)
        self._believed = np.zeros(nodes, dtype=bool)  # the nodes that counted at the last report
        self._heard = -np.inf  # when anything came in

    def reported(self, batch: InFlight, believed: NDArray[np.bool_], returning: bool, now: float) -> None:
        """Replace what this node has open. `believed`: the nodes that count, this one among them.

        `returning`: it was silent for long, so what finished meanwhile is unknown and nobody is stuck since before.
        """
        self._heard = now
        known = (batch.endpoint >= 0) & (batch.endpoint < self._since.size)
        endpoint = batch.endpoint[known]
        mine = self._open[batch.node_id]
        open_or_told = mine != 0.0
        open_or_told[endpoint] = True
        touched = np.flatnonzero(open_or_told)
        mine[:] = 0.0
        np.add.at(mine, endpoint, np.maximum(batch.in_flight[known], 0))
        moving = endpoint if returning else endpoint[(batch.succeeded + batch.failed)[known] > 0]
        self._since[moving] = np.nan
        if not np.array_equal(believed, self._believed):  # others count now: everything is to be looked at
            self._believed, touched = believed, np.arange(self._since.size)
        is_open = self._open[np.flatnonzero(believed)[:, None], touched].any(axis=0)
        since = self._since[touched]
        self._since[touched] = np.where(is_open, np.where(np.isnan(since), now, since), np.nan)

    def finished(self, endpoints: NDArray[np.integer], when: When) -> None:
        """Attempts ended here then: whoever is still open has been stuck since that at the earliest."""
        if endpoints.size:
            self._heard = when.at[when.of[-1]]
        self._since[endpoints] = np.where(np.isnan(self._since[endpoints]), np.nan, when.s)

    def in_flight(self, believed: NDArray[np.bool_]) -> Floats:
        """Open requests by endpoint over these nodes; NaN when there is none to ask. Shape (slots,)."""
        if not believed.any():
            return np.full(self._since.size, np.nan)
        return np.asarray(self._open[believed].sum(axis=0))

    def stuck_s(self, in_flight: Floats, now: float) -> Floats:
        """How long each endpoint is stuck; 0 where nothing is open, or where that is unknown. Shape (slots,)."""
        silent = known_or(min(self._heard, now) - self._since, 0.0)
        return np.where(in_flight > 0, np.maximum(silent, 0.0), 0.0)

    def resize(self, nodes: int, slots: int) -> None:
        """Have room for this many nodes and endpoints."""
        more = (max(nodes - len(self._open), 0), max(slots - self._since.size, 0))
        self._open = np.pad(self._open, ((0, more[0]), (0, more[1])))
        self._since = np.pad(self._since, (0, more[1]), constant_values=np.nan)
