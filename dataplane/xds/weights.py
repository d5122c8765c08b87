"""The last clamp: whatever a plan says, Envoy gets positive integers, and a cluster's weights sum low enough.

Envoy refuses a weight of 0 but accepts a sum above its own documented bound of 2^32-1, so it will not protect us. Our
bound is half of that: the column `Requests.weight` is a signed 32-bit integer. The guard of the brain keeps weights far
inside these bounds; this is for the day when it does not.

The rendered assignment and the ledger both ask `in_force`, so that what is recorded is what was sent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dataplane.contract import Ints, Service, ServicePlan

MAX_SUM = 2**31 - 1


def clamp(weights: Sequence[float]) -> Ints:
    """Integers of at least 1 whose sum is at most `MAX_SUM`, in the order and as near the proportions given.

    What is no positive finite number becomes 1. A sum too large is scaled down.
    """
    w = np.asarray(weights, dtype=np.float64)
    w = np.rint(np.where(np.isfinite(w), w, 1.0)).clip(1.0, MAX_SUM)
    if w.sum() > MAX_SUM:
        # Each keeps 1, and what it has above that is scaled into the room left: so a floor cannot push the sum over.
        w = 1.0 + np.floor((w - 1.0) * (MAX_SUM - len(w)) / (w.sum() - len(w)))
    return w.astype(np.int64)


def in_force(service: Service, plan: ServicePlan | None) -> Ints:
    """Weights of a service's adaptive cluster, in the order of its endpoints; the operator's when no plan says more.

    An endpoint that the plan does not know has joined since: until the next one it gets the plan's part of their mean.
    """
    if plan is None or not any(e.id in plan.weights for e in service.endpoints):
        return clamp([e.weight for e in service.endpoints])
    known = clamp([plan.weights[e.id] for e in service.endpoints if e.id in plan.weights])
    newcomer = plan.newcomer * float(known.mean())
    return clamp([plan.weights.get(e.id, newcomer) for e in service.endpoints])


def tiers(service: Service, plan: ServicePlan | None) -> list[int]:
    """The tier of each endpoint of the adaptive cluster. One that the plan does not know yet has one of its own."""
    if plan is None or not plan.tiers:
        return [0] * len(service.endpoints)
    return [plan.tiers.get(e.id, max(plan.tiers.values()) + 1) for e in service.endpoints]


def static(service: Service) -> Ints:
    """Weights of a service's static cluster: the operator's."""
    return clamp([e.weight for e in service.endpoints])
