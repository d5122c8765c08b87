"""One decision about one service or endpoint, with what it was made from: the text that `explain` shows.

It only selects from the Decision: what was seen, what the peers look like, what was wanted, which guard rail held it,
and what is in force.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Any

from brain.decision import Decision, EndpointView, ServiceView
from weirflow.plain import plain

PEER_FIGURES = ("capacity", "rate_per_s", "error_share", "latency_s", "p50_s", "p99_s", "in_flight")


def service_named(decision: Decision, name: str) -> ServiceView:
    """The view of that service. KeyError with the names there are."""
    for service in decision.services:
        if service.name == name:
            return service
    raise KeyError(name)


def endpoint_of(service: ServiceView, address: str) -> EndpointView:
    """The view of that endpoint. KeyError when the service has none of that address."""
    for endpoint in service.endpoints:
        if endpoint.address == address:
            return endpoint
    raise KeyError(address)


def explain_service(decision: Decision, service: ServiceView) -> dict[str, Any]:
    """What was decided for a service, and why."""
    planned = decision.plan.services.get(service.id) if decision.plan is not None else None
    return {
        "now": decision.now,
        "tick": decision.tick,
        "plan_version": decision.plan.version if decision.plan is not None else None,
        "leased": decision.plan is not None and service.share_percent > 0,
        "frozen": decision.frozen,
        "tiers": 1 + max((e.tier for e in service.endpoints), default=0),
        "limits": plain(planned.limits) if planned is not None else {},
        "service": plain(service),
    }


def explain_endpoint(decision: Decision, service: ServiceView, endpoint: EndpointView) -> dict[str, Any]:
    """What was decided for one endpoint, beside the middle of its peers."""
    out = explain_service(decision, service)
    del out["service"]["endpoints"]
    peers = [e for e in service.endpoints if e.id != endpoint.id]
    out["endpoint"] = plain(endpoint)
    out["peers"] = {"count": len(peers)} | {name: _middle(getattr(e, name) for e in peers) for name in PEER_FIGURES}
    out["would_be"] = {"without_guard": endpoint.proposed, "static": endpoint.static_weight}
    return out


def _middle(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return plain(median(known)) if known else None
