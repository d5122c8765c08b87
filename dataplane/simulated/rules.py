"""The operator's static rules as the simulated mesh obeys them, in Envoy's own terms.

What a mesh file says of a service and its routes (`dataplane.mesh`), reduced to what changes who is asked, how often
and for how long. Limits are those of each node and cluster, as Envoy's circuit breakers are; the adaptive cluster has
the same ones while the plan leases no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from dataplane.mesh import Priority

NO_LIMIT = 1 << 62
"""Of open requests, where none is refused."""


@dataclass(frozen=True, slots=True)
class RouteRules:
    """What holds for one class of requests."""

    timeout_s: float = 15.0  # of the request with all its tries
    num_retries: int = 0
    per_try_timeout_s: float = inf
    priority: Priority = "default"


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for a service. `routes` by class of the trace; a single one holds for all classes."""

    policy: str = "least_request"  # of the static cluster: one of `fleet_mesh.WAYS`
    routes: tuple[RouteRules, ...] = (RouteRules(),)
    max_connections: int = NO_LIMIT  # HTTP/1.1: a connection serves one request at a time
    max_pending_requests: int = NO_LIMIT  # that wait for one
    max_requests: int = NO_LIMIT
    budget_percent: float = 20.0  # retries open at once, of all open requests
    min_retry_concurrency: int = 3  # that the budget always allows
    critical_max_requests: int | None = None  # of the critical classes, which count apart; None: as the others

    def of_class(self, klass: int) -> RouteRules:
        """The rules of one class. IndexError for one that has none."""
        return self.routes[0] if len(self.routes) == 1 else self.routes[klass]
