"""What a plan tells our module in the proxies, beside weights: how much of an endpoint's work a queue stands for.

`lanes` are the requests of one node that an endpoint works on at once, `workers` those of all nodes: up to so many
nobody waits. `believed_s` is for how long what an endpoint says in an answer of its own queue is worth something: a few
times the work of a request, in which a queue is worked off and another one stands there. `capacities` are by what such
queues are weighed where the weights are turns to be dealt out, and so a split of the load. `queues` are what proxies
have open, in all, at endpoints that are seconds behind: no endpoint is believed that says it has less.

All are learned and move a little at each tick; a plan tells others only where they differ enough to matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brain.view import Floats, View
    from brain.weights import Proposal

SAME = 0.15
"""What differs by less is told no other."""
UNSEEN = 0.15
"""By how much of itself a node's part of the lanes is told larger, of what others carry: what those have open it cannot
see, so who seems idle is on average a little less so."""
BELIEVED = 4.0
"""Times the work of a request."""
MEAN = 100.0


@dataclass(frozen=True, slots=True)
class ToldModule:
    """As `contract.ServicePlan` has it; 0 is unknown."""

    lanes: float = 0.0
    workers: float = 0.0
    believed_s: float = 0.0
    capacities: Mapping[int, float] = field(default_factory=dict)
    queues: Mapping[int, float] = field(default_factory=dict)


def told_module(before: ToldModule, view: View, nodes: float, want: Proposal, *, hears: bool) -> ToldModule:
    """What to tell after `before`, where so many nodes share the service's load. What is not known stays as it was.

    `hears`: whether to go by what endpoints say of their own queues at all.
    """
    known_s = view.service_s[np.isfinite(view.service_s)]
    work_s = float(np.median(known_s)) if known_s.size else np.nan
    return ToldModule(
        steady(before.lanes, view.lanes / nodes * (1.0 + UNSEEN * (1.0 - 1.0 / nodes)), 4),
        steady(before.workers, view.lanes, 2),
        steady(before.believed_s, BELIEVED * work_s, 4) if hears else 0.0,
        _capacities(before.capacities, view, want.bears) if hears and want.bears is not None else {},
        _queues(before.queues, view, want.overdue_s) if hears else {},
    )


def _queues(before: Mapping[int, float], view: View, overdue_s: Floats) -> Mapping[int, float]:
    """Of who has seconds more to work off than others, by endpoint id: requests that the proxies have open there."""
    out = {}
    for e, late_s, found in zip(view.members.tolist(), overdue_s.tolist(), view.in_flight.tolist(), strict=True):
        if late_s > 0.0:
            out[e] = steady(before.get(e, 0.0), found, 0)
    return out


def _capacities(before: Mapping[int, float], view: View, bears: Floats) -> Mapping[int, float]:
    """By endpoint id, the mean MEAN; those of before while none is off by much."""
    found = dict(
        zip(view.members.tolist(), np.maximum(bears / bears.mean() * MEAN, 1.0).round(1).tolist(), strict=True)
    )
    same = found.keys() == before.keys() and all(abs(c - before[e]) <= SAME * before[e] for e, c in found.items())
    return before if same else found


def steady(told: float, found: float, digits: int) -> float:
    """What to tell: what is told already while what is found is near; 0 while nothing is."""
    if not np.isfinite(found) or found <= 0.0:
        return told
    return round(found, digits) if abs(found - told) > SAME * told else told
