"""What the brain sees at a tick: features frozen into arrays, by endpoint, by service and arm, and by node.

Every array is indexed by the integers of the `Topology` (retired slots hold NaN or 0). Unknown is NaN, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.base import Prediction

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class EndpointFeatures:
    """Shape (endpoint_slots,) each. Rates, shares and latencies are time-decayed with the learning half-life."""

    rate_per_s: Floats  # finished attempts that teach: OK, ERROR, TIMEOUT, UNREACHED
    ok_per_s: Floats
    error_share: Floats  # of those, the share not OK; NaN without samples
    latency_s: Floats  # mean of OK attempts; NaN without samples
    latency_sd_s: Floats  # their spread about that mean (a standard deviation); NaN without samples
    p50_s: Floats  # quantiles of OK attempts, 2 % relative error
    p90_s: Floats
    p99_s: Floats
    samples: Floats  # decayed count behind the figures above
    total: Ints  # of those that teach, ever
    failed: Ints  # of those, not OK
    in_flight: Floats  # newest load report of each fresh node, summed; NaN when no node is fresh
    stuck_s: Floats  # how long requests have been open with none finishing; 0 when none are
    age_s: Floats  # since the endpoint joined
    quiet_s: Floats  # since its last finished attempt; inf when there was none
    level_s: Floats  # mean latency of an average request, the best guess now (`features.levels`); NaN when unknown
    level_error: Floats  # its relative standard error
    level_count: Floats  # decayed attempts behind it
    tick_good: Floats  # attempts since the last freeze whose latency was believed
    tick_log_work: Floats  # sum of the logarithms of the seconds that those worked, waiting left out
    work_share: Floats  # the part of that which is work and not waiting; NaN when unknown
    lanes: Floats  # its service's lanes to reckon with; never NaN
    slow_s: (
        Floats  # what its service's slowest requests in a hundred take, where some cost far more than others; else 0
    )
    changed: NDArray[np.bool_]  # found slower or faster since the last tick
    noted: NDArray[np.int8]  # 1 where found slower since the last tick by about twice or more, -1 faster
    disputed: NDArray[np.bool_]  # its nodes contradict each other and there is no majority
    settled_error_share: Floats  # `error_share` over the longer half-life of levels
    settled_samples: Floats  # the count behind that


@dataclass(frozen=True, slots=True, eq=False)
class ServiceFeatures:
    """Shape (service_slots, 2) each unless said: one column per Arm. What requests felt like, retries included.

    Rates, shares and quantiles decay four times slower than an endpoint's (`features.store.FELT_HALF_LIVES`).
    """

    requests_per_s: Floats
    p50_s: Floats
    p99_s: Floats
    failed_share: Floats
    total: Ints  # requests ever
    tick_count: Floats  # since the last freeze: requests that ended, well or badly
    tick_failed: Floats  # since the last freeze: of those, badly
    tick_refused: Floats  # since the last freeze: of those, refused by a limit
    tick_retries: Floats  # since the last freeze: tries after a first one that ended at an endpoint
    tick_retries_ok: Floats  # since the last freeze: of those, well
    tick_good: Floats  # since the last freeze: requests that ended well
    tick_good_s: Floats  # since the last freeze: sum of the seconds that those felt
    tick_bytes_in: Floats  # since the last freeze: sum of the bytes that those were asked with
    tick_bytes_out: Floats  # since the last freeze: sum of the bytes that they were answered with
    tick_cost_s: Floats  # since the last freeze: sum of felt seconds, a failure charged as at least `failure_cost_s`
    tick_cost_sq: Floats  # since the last freeze: sum of squares of the same
    failure_cost_s: Floats  # shape (service_slots,): what a failed request is charged, the service's recent p99 times 3


@dataclass(frozen=True, slots=True, eq=False)
class NodeFeatures:
    """Shape (nodes,) each unless said."""

    report_age_s: Floats  # since its last load report; inf when there was none
    attempts_age_s: Floats  # since its last finished attempt; inf when there was none
    issued_per_s: Floats  # by its load reports: what the access log should have brought
    seen_per_s: Floats  # by the access log: what it did bring of attempts that were sent
    fresh: NDArray[np.bool_]  # reported within the stale time, and the log agrees with the reports
    picks: Ints  # shape (nodes, service_slots): picks on the adaptive arm in this run, by load reports' `issued`
    issued: Ints  # the same shape: picks on both arms
    dropped: Ints  # log entries that nobody learned from, in this run
    contradicts: Ints  # endpoints about which it contradicts the other nodes, and is not believed
    worst_ratio: Floats  # by how many times at most; 1 when it is believed


@dataclass(frozen=True, slots=True, eq=False)
class EdgeFeatures:
    """Requests that ended since the last freeze by who called whom: a row for each pair that had any.

    Shape (rows,) each unless said, ordered by caller and service.
    """

    callers: tuple[str, ...]  # names: services, and "" for the proxies that stand beside none
    caller: Ints  # index into them
    service: Ints
    ended: Floats  # well or badly; what limits refused is left out
    failed: Floats  # of those, badly
    good: Floats  # of those, well
    good_s: Floats  # sum of the seconds that those felt


@dataclass(frozen=True, slots=True, eq=False)
class WayFeatures:
    """The same by the proxy that they went through, ordered by node and service. Shape (rows,) each."""

    node: Ints  # id
    service: Ints
    ended: Floats
    failed: Floats
    good: Floats
    good_s: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """All features at one time."""

    now: float
    endpoints: EndpointFeatures
    services: ServiceFeatures
    nodes: NodeFeatures
    edges: EdgeFeatures
    ways: WayFeatures
    lanes: Prediction  # requests that an endpoint works on at once, by service slot (`models.lanes`); NaN: unknown
