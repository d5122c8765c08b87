"""A scenario's rules as the simulated mesh obeys them: what `weirflow.lab.peers` writes into real Envoys.

The scenario's timeout, retries and priorities are the same for every policy; circuit breakers are those of the policies
that have any, and else none.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from brain.settings import Settings
from dataplane.simulated.rules import NO_LIMIT, RouteRules, Rules
from weirflow.lab.draw import end_s
from weirflow.lab.peers import SERVICE, World, true_limit
from weirflow.lab.run import LIMITING

if TYPE_CHECKING:
    from dataplane.simulated.fleet import Fleet, Trace
    from weirflow.lab.scenario import Scenario

ENVOYS_MOST = 1024
"""Envoy's default for each circuit breaker, of either priority."""
ENVOYS_RETRIES = 3
BUDGET_PERCENT, LEAST_RETRIES = 20.0, 3
"""As `weirflow.lab.peers.RETRY_BUDGET` has it."""


def rules_of(scenario: Scenario, policy: str, fleet: Fleet, trace: Trace, nodes: int) -> Rules:
    """What holds at each node. ValueError where a policy's breakers keep a goal and the scenario has none."""
    routes = tuple(
        RouteRules(
            timeout_s=scenario.timeout_s,
            num_retries=scenario.retries.num_retries if scenario.retries else 0,
            per_try_timeout_s=scenario.retries.per_try_timeout_s if scenario.retries else inf,
            priority=c.priority,
        )
        for c in scenario.classes
    )
    pick = "full_scan" if policy in LIMITING else policy.removesuffix("_true")
    rules = Rules(pick, routes, budget_percent=BUDGET_PERCENT, min_retry_concurrency=LEAST_RETRIES)
    if policy == "breakers_default":  # no budget: no more than three at once
        rules = replace(rules, budget_percent=0.0, min_retry_concurrency=ENVOYS_RETRIES)
        most = ENVOYS_MOST
        return replace(rules, max_connections=most, max_pending_requests=most, max_requests=most)
    if policy == "breakers_true":
        demand_s = float(trace.demand_s.mean()) if len(trace) else 0.0
        goal_s, paths = scenario.latency_goal_s, tuple(c.name for c in scenario.classes)
        told = World(fleet, (), nodes, scenario.timeout_s, paths, end_s(scenario), demand_s, goal_s)
        return replace(rules, max_requests=true_limit(told), critical_max_requests=NO_LIMIT)
    return rules


def thinking(scenario: Scenario, settings: Settings) -> Settings:
    """The brain's settings, with what a mesh file for this scenario tells it of goals, retries and priorities."""
    of = {p: tuple(c.name for c in scenario.classes if c.priority == p) for p in ("critical", "sheddable")}
    told = replace(settings, critical=(SERVICE,) if of["critical"] else (), sheddable=of["sheddable"])
    if scenario.latency_goal_s is not None:
        told = replace(told, goals_s={SERVICE: scenario.latency_goal_s})
    if scenario.retries is not None:
        told = replace(told, retry_budgets={SERVICE: (BUDGET_PERCENT, LEAST_RETRIES)})
    return told
