"""The five resource types that travel on our ADS stream, in the order in which they must be sent.

The order is "make before break" (xDS REST and gRPC protocol, "Eventual consistency considerations"): a cluster before
its endpoints, both before a listener or a route that names them. The runtime layer comes last, because its keys turn
traffic towards clusters that must stand by then.
"""

from __future__ import annotations

from enum import StrEnum

TYPES = "type.googleapis.com/"


class Kind(StrEnum):
    """A resource type, by the short name that its discovery service has in Envoy's documentation."""

    CDS = "CDS"
    EDS = "EDS"
    LDS = "LDS"
    RDS = "RDS"
    RTDS = "RTDS"


ORDER = (Kind.CDS, Kind.EDS, Kind.LDS, Kind.RDS, Kind.RTDS)

WHOLE = frozenset({Kind.CDS, Kind.LDS})
"""Types whose every response is the whole state: what is absent is deleted ("Grouping Resources into Responses")."""

TYPE_URL = {
    Kind.CDS: TYPES + "envoy.config.cluster.v3.Cluster",
    Kind.EDS: TYPES + "envoy.config.endpoint.v3.ClusterLoadAssignment",
    Kind.LDS: TYPES + "envoy.config.listener.v3.Listener",
    Kind.RDS: TYPES + "envoy.config.route.v3.RouteConfiguration",
    Kind.RTDS: TYPES + "envoy.service.runtime.v3.Runtime",
}

KIND_OF = {url: kind for kind, url in TYPE_URL.items()}
