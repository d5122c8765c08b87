"""What a plan tells our module in the proxies, beside weights: how much of an endpoint's work a queue stands for.

`lanes` are the requests of one node that an endpoint works on at once, `workers` those of all nodes: up to so many
nobody waits. `believed_s` is for how long what an endpoint says in an answer of its own queue is worth something: a few
times the work of a request, in which a queue is worked off and another one stands there.

All are learned and move a little at each tick; a plan tells others only where they differ enough to matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from brain.view import View

SAME = 0.15
"""What differs by less is told no other."""
UNSEEN = 0.15
"""By how much of itself a node's part of the lanes is told larger, of what others carry: what those have open it cannot
see, so who seems idle is on average a little less so."""
BELIEVED = 4.0
"""Times the work of a request."""


@dataclass(frozen=True, slots=True)
class ToldModule:
    """As `contract.ServicePlan` has it; 0 is unknown."""

    lanes: float = 0.0
    workers: float = 0.0
    believed_s: float = 0.0


def told_module(before: ToldModule, view: View, nodes: float, *, reports: bool) -> ToldModule:
    """What to tell after `before`, where so many nodes share the service's load. What is not known stays as it was.

    `reports`: whether to go by what endpoints say of their own queues at all.
    """
    known_s = view.service_s[np.isfinite(view.service_s)]
    work_s = float(np.median(known_s)) if known_s.size else np.nan
    return ToldModule(
        steady(before.lanes, view.lanes / nodes * (1.0 + UNSEEN * (1.0 - 1.0 / nodes)), 2),
        steady(before.workers, view.lanes, 2),
        steady(before.believed_s, BELIEVED * work_s, 4) if reports else 0.0,
    )


def steady(told: float, found: float, digits: int) -> float:
    """What to tell: what is told already while what is found is near; 0 while nothing is."""
    if not np.isfinite(found) or found <= 0.0:
        return told
    return round(found, digits) if abs(found - told) > SAME * told else told
