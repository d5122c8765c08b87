"""What a good answer is, where the operator says so: an answer too small to be one is an error.

An endpoint that fails fast with status 200 and nothing in it draws load, for it looks quick, idle and healthy (a
sinkhole). No status tells, but the body's size does. The verdict falls on the columns as they leave the wires, before
anything is recorded or learned, so that a replay sees what the brain saw.

Only a status of success promises a body. RFC 9110 lets 204 and 205 have none, makes 206 a part, and lets the answers to
HEAD, OPTIONS and CONNECT be empty.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Felt, Ints, Method, Outcome, Requests, Topology
from dataplane.mesh import Mesh

_EXEMPT_STATUS = (204, 205, 206)
_EXEMPT_METHODS = np.isin(np.arange(-128, 128), (Method.HEAD, Method.OPTIONS, Method.CONNECT))


class Answers:
    """The least body of a good answer, by service, and by route where one has its own."""

    def __init__(self, mesh: Mesh, topology: Topology) -> None:
        """Services and routes that the topology does not have are left out."""
        service = np.zeros(topology.service_slots + 1, dtype=np.int64)  # the last is of no service
        for spec in mesh.services:
            if spec.name in (known := {s.name: s.id for s in topology.services}):
                service[known[spec.name]] = spec.min_body_bytes
        self._by_service: Ints = service
        route = np.full(len(topology.routes) + 1, -1, dtype=np.int64)
        ids = {name: i for i, name in enumerate(topology.routes)}
        for r in mesh.routes:
            if r.name in ids and r.min_body_bytes is not None:
                route[ids[r.name]] = r.min_body_bytes
        self._by_route: Ints = route
        self._asked = bool(service.any() or (route > 0).any())

    def judge(self, batch: Requests) -> list[Requests | Felt]:
        """The batch with too small answers as errors, and a request that felt bad for each of them.

        The user was given that answer, for Envoy retries no success; the downstream log is filtered to bad ends and has
        nothing of it.
        """
        if not self._asked or not len(batch):
            return [batch]
        small = self._small(batch)
        if not small.any():
            return [batch]
        outcome = np.where(small, np.int8(Outcome.ERROR), batch.outcome)
        bad = batch.take(small)
        felt = Felt.of(
            started_s=bad.started_s + bad.duration_s - bad.felt_s,
            duration_s=bad.felt_s,
            service=bad.service,
            node=bad.node,
            outcome=np.full(len(bad), Outcome.ERROR),
            status=bad.status,
            arm=bad.arm,
            route=bad.route,
        )
        return [replace(batch, outcome=outcome), felt]

    def _small(self, batch: Requests) -> NDArray[np.bool_]:
        """Which rows succeeded, promise a body and have less than is asked."""
        own = _found(self._by_route, batch.route)
        least = np.where(own >= 0, own, _found(self._by_service, batch.service))
        small: NDArray[np.bool_] = (batch.outcome == Outcome.OK) & (batch.bytes_out < least)
        if not small.any():
            return small
        small &= (batch.status >= 200) & (batch.status < 300) & ~np.isin(batch.status, _EXEMPT_STATUS)
        return small & ~_EXEMPT_METHODS[batch.method.astype(np.intp) + 128]


def _found(table: Ints, ids: NDArray[np.int32]) -> Ints:
    """The table's entry of each id, and its last one for an id that it does not have."""
    found: Ints = table[np.where((ids >= 0) & (ids < len(table) - 1), ids, -1)]
    return found
