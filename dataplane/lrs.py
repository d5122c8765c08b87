"""Load reports (LRS): what one node says is open now, by endpoint.

What Envoy 1.40 sends with `report_endpoint_granularity`, measured: a report every interval whether or not there was
traffic, with a ClusterStats for every cluster it was asked for; in it an endpoint only when it has something open or
anything happened to it since the last report. So an idle endpoint has no row and counts as 0, a hung one has a row in
every report, and a report without rows says that the node lives and carries nothing. The stream's first request, before
the answer that sets the interval, names no cluster at all and says nothing.

Source: envoy/service/load_stats/v3/lrs.proto and envoy/config/endpoint/v3/load_report.proto.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from operator import add
from typing import Any

from dataplane.als.places import NO_OTHERS, services_by_cluster
from dataplane.contract import ADAPTIVE_SUFFIX, Arm, InFlight, Topology
from dataplane.mesh import host_port

CONTROL_CLUSTERS = frozenset({"weirflow_xds", "weirflow~collector"})
"""Our own streams, and spans: every node reports them as well, and they are no service."""

COUNT_MAX = 10**9
"""In one interval on one endpoint: beyond it a counter has wrapped, as Envoy's gauges do when they fall below 0."""
_INTERVAL_S = 0.5
_INTERVAL_MAX_S = 3600.0


def read_report(
    request: Any, node: int, topology: Topology, others: Mapping[str, str] = NO_OTHERS
) -> tuple[InFlight, Mapping[str, int]]:
    """A parsed LoadStatsRequest as one report of that node, and what of it was rejected: rows by reason.

    `others` is the service's name of clusters that are called otherwise.
    A row per endpoint and arm: an endpoint that is told in several localities or priorities is summed. The interval is
    the longest that a cluster states, 0.5 s when none states a sound one. Reasons: `unknown_cluster` (only where it
    carries endpoints), `unknown_endpoint`, `absurd_count`.
    """
    rejected: Counter[str] = Counter()
    services = services_by_cluster(topology, others)
    rows: dict[tuple[int, int, Arm], list[int]] = {}
    for cluster in request.cluster_stats:
        name = cluster.cluster_name.removesuffix(ADAPTIVE_SUFFIX)
        arm = Arm.STATIC if name == cluster.cluster_name else Arm.ADAPTIVE
        service = services.get(name, -1)
        for endpoint in _endpoints(cluster):
            host = endpoint.address.socket_address
            id_ = topology.addresses.get((service, host_port(host.address, host.port_value)), -1)
            counts = [
                endpoint.total_requests_in_progress,
                endpoint.total_issued_requests,
                endpoint.total_successful_requests,
                endpoint.total_error_requests,
            ]
            if service < 0:
                rejected["unknown_cluster"] += 1
            elif id_ < 0:
                rejected["unknown_endpoint"] += 1
            elif max(counts) > COUNT_MAX:
                rejected["absurd_count"] += 1
            else:
                before = rows.setdefault((service, id_, arm), [0, 0, 0, 0])
                before[:] = map(add, before, counts)
    places, counts_by_row = list(rows), list(rows.values())
    report = InFlight.report(
        node,
        _interval_s(request),
        service=[service for service, _, _ in places],
        endpoint=[id_ for _, id_, _ in places],
        arm=[arm for _, _, arm in places],
        in_flight=[row[0] for row in counts_by_row],
        issued=[row[1] for row in counts_by_row],
        succeeded=[row[2] for row in counts_by_row],
        failed=[row[3] for row in counts_by_row],
    )
    return report, dict(rejected)


def _endpoints(cluster: Any) -> Iterator[Any]:
    """Every UpstreamEndpointStats of a ClusterStats; none of our own streams."""
    if cluster.cluster_name not in CONTROL_CLUSTERS:
        for locality in cluster.upstream_locality_stats:
            yield from locality.upstream_endpoint_stats


def _interval_s(request: Any) -> float:
    spans = (c.load_report_interval for c in request.cluster_stats)
    longest = max((s.seconds + s.nanos * 1e-9 for s in spans), default=0.0)
    return longest if 0.0 < longest <= _INTERVAL_MAX_S else _INTERVAL_S
