"""What is decided, as the brain tells it to the data plane: a versioned plan that never changes. Part of `contract`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """What is decided for one service.

    `share_percent` of its traffic goes to the adaptive arm; 0 means that nothing learned is applied and its key is not
    leased at all. `weights` holds a positive integer for every endpoint, `limits` runtime values by circuit breaker
    field (`max_requests` and its likes; with `high.` before it, for critical requests) at every node, and `node_limits`
    the same by node id, where a node has its own.
    `shed_percent` of the service's requests by sheddable routes are refused at once; it is part of the adaptive arm's,
    so no more than `share_percent` can be.
    `tiers` by endpoint id: tiers take turns by the sums of their weights; within one, who has least open
    requests is picked while weights are equal, else in proportion to weight / (open requests + 1). Empty is one tier.
    `lanes`, for our module's pick: how many requests of one node an endpoint works on at once before others wait; 0
    is unknown. `workers` is the same of all nodes together, and `believed_s` for how long it is believed what an
    endpoint says in an answer of its own queue; 0 is not at all. By `capacities`, by endpoint id, such queues are
    weighed, by the weights where there are none; by `queues` nobody has less in progress.
    An endpoint that has joined since, and is in no plan yet, gets `newcomer` times the others' mean weight.
    `reason` and `reasons` (by endpoint id) say why, in an operator's words.
    """

    share_percent: float
    weights: Mapping[int, int]
    limits: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""
    reasons: Mapping[int, str] = field(default_factory=dict)
    tiers: Mapping[int, int] = field(default_factory=dict)
    node_limits: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    shed_percent: float = 0.0
    lanes: float = 0.0
    workers: float = 0.0
    believed_s: float = 0.0
    capacities: Mapping[int, float] = field(default_factory=dict)
    queues: Mapping[int, float] = field(default_factory=dict)
    newcomer: float = 1.0

    def limits_at(self, node: int) -> Mapping[str, int]:
        """The limits in force at that node."""
        own = self.node_limits.get(node)
        return {**self.limits, **own} if own else self.limits


_NUMBERS = tuple(f.name for f in fields(ServicePlan) if not f.name.startswith("reason"))


def same_numbers(one: ServicePlan, other: ServicePlan) -> bool:
    """Whether two plans put the same in force; their reasons may differ."""
    return all(getattr(one, name) == getattr(other, name) for name in _NUMBERS)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything learned that is to be in force, by service id. A change of any number is a new, higher `version`."""

    version: int
    services: Mapping[int, ServicePlan]
