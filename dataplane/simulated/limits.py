"""Which limits hold at a node: the operator's, and for the adaptive cluster those that the plan leases.

Named as `ServicePlan.limits` names them and as `dataplane.xds` renders them: a leased threshold may be less than the
operator's and not more; a leased budget replaces his; `high.` is for critical requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataplane.simulated.fleet import Bools
    from dataplane.simulated.rules import Rules

HIGH = "high."


def static(breaker: Any, rules: Rules, *, high: bool) -> None:
    """Write the operator's into these breakers."""
    breaker["most_open"] = rules.critical_max_requests if high and rules.critical_max_requests else rules.max_requests
    breaker["most_waiting"] = rules.max_pending_requests
    breaker["most_connections"] = rules.max_connections
    breaker["budget_percent"], breaker["least_retries"] = rules.budget_percent, rules.min_retry_concurrency


def lease(breaker: Any, rules: Rules, leased: Mapping[str, float], *, high: bool) -> None:
    """Write a plan's into one breaker; what the plan does not name is the operator's."""
    static(breaker, rules, high=high)
    before = HIGH if high else ""
    names = {"max_requests": "most_open", "max_pending_requests": "most_waiting", "max_connections": "most_connections"}
    for name, ours in names.items():
        breaker[ours] = min(leased.get(before + name, breaker[ours]), breaker[ours])
    for name, ours in (("budget_percent", "budget_percent"), ("min_retry_concurrency", "least_retries")):
        breaker[ours] = leased.get(f"{before}retry_budget.{name}", breaker[ours])


def close_idle(breaker: Any, pool: Any, gone: Bools) -> None:
    """Close the connections of endpoints that are gone, but for those in use, which close as they come free."""
    idle = pool["connections"][:, :, gone] - pool["busy"][:, :, gone]
    pool["connections"][:, :, gone] -= idle
    breaker["connections"] -= idle.sum(axis=2)
