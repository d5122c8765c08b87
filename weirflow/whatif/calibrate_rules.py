"""The static rules of a recording as the simulated mesh obeys them, and what is assumed where it tells of none."""

from __future__ import annotations

from math import inf

from dataplane.mesh import Mesh
from dataplane.simulated.rules import RouteRules, Rules

UNKNOWN_ROUTE = "(unknown)"


def rules_of(mesh: Mesh | None, service: str, classes: tuple[str, ...], gave_up_s: float | None) -> Rules:
    """The rules. Without a mesh: least request, and as timeout how long those took that gave up, if any did."""
    spec = next((s for s in mesh.services if s.name == service), None) if mesh is not None else None
    if mesh is None or spec is None:
        return Rules(routes=(RouteRules(timeout_s=gave_up_s or RouteRules().timeout_s),))
    known = {r.name: r for r in mesh.routes if r.service == service}
    routes = []
    for name in classes:
        route = known.get(name)
        if route is None:
            routes.append(RouteRules(timeout_s=gave_up_s or RouteRules().timeout_s))
            continue
        retry = route.retry
        per_try = inf if retry is None or retry.per_try_timeout_s is None else retry.per_try_timeout_s
        retries = 0 if retry is None else retry.num_retries
        routes.append(RouteRules(route.timeout_s or inf, retries, per_try, route.priority))
    policy = "full_scan" if spec.policy == "LEAST_REQUEST" and spec.full_scan else spec.policy.lower()
    budgets = [r.retry for r in known.values() if r.retry is not None]
    b = spec.breakers
    budget = (budgets[0].budget_percent, budgets[0].min_retry_concurrency) if budgets else (20.0, 3)
    return Rules(policy, tuple(routes), b.max_connections, b.max_pending_requests, b.max_requests, *budget)
