"""Attempts whose place is known and whose last questions (how did it end, which try was it) are being settled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import NO_PLAN, Columns, Ints, Requests, column


@dataclass(frozen=True, slots=True, eq=False)
class Attempts(Columns):
    """A row per attempt of one node, times still in its own nanoseconds."""

    request: Ints = column("i8")  # hash of the request id, 0 without one
    start_ns: Ints = column("i8")
    duration_ns: Ints = column("i8")
    ttfb_s: NDArray[np.float32] = column("f4")
    service: NDArray[np.int32] = column("i4")
    endpoint: NDArray[np.int32] = column("i4")
    arm: NDArray[np.int8] = column("i1")
    route: NDArray[np.int32] = column("i4")
    outcome: NDArray[np.int8] = column("i1")
    status: NDArray[np.int16] = column("i2")
    bytes_in: Ints = column("i8")
    bytes_out: Ints = column("i8")
    method: NDArray[np.int8] = column("i1")

    def requests(self, node: int, attempt: Ints, first_ns: Ints) -> Requests:
        """The contract's rows. `attempt` and `first_ns` (start of the request's first attempt) have shape (n,).

        Plan, weight and probability are 0: the ledger stamps them.
        """
        n = len(self)
        nothing = np.zeros(n, dtype=np.int64)
        return Requests.of(
            started_s=self.start_ns * 1e-9,
            duration_s=self.duration_ns * 1e-9,
            ttfb_s=self.ttfb_s,
            felt_s=(self.start_ns - first_ns + self.duration_ns) * 1e-9,
            service=self.service,
            endpoint=self.endpoint,
            node=np.full(n, node),
            route=self.route,
            outcome=self.outcome,
            status=self.status,
            bytes_in=self.bytes_in.copy(),  # the only columns that may still be views of the entries' buffer
            bytes_out=self.bytes_out.copy(),
            attempt=np.minimum(attempt, np.iinfo(np.int16).max),
            arm=self.arm,
            plan=np.full(n, NO_PLAN),
            weight=nothing,
            probability=nothing,
            method=self.method,
        )


NO_ATTEMPTS = Attempts.empty()
