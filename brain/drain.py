"""A queue that outlasts the way from a decision to what it does is a slow variable, and is planned away.

Queue lengths are never pushed: what was open 100 ms ago misleads. But a queue of eight seconds will be there still when
weights act, a second or two from now. It stands at those that were given too much while nothing was known of them
(two random choices at 90 % load overload a slow endpoint within seconds), and it costs everybody who is sent there
until it is gone. At a share that is right for an empty queue that is a minute; in most meshes a proxy sees too little
of it to pick around it.

So who has more to work off than the usual endpoint of its service, by over `LEAST_S`, is planned to get less:

    rate = rate by share - capacity * (wait - usual - LEAST_S) / OVER_S,    wait = (open - lanes) / capacity

`usual` is the middle of the waits, weighted by capacity: where all have long queues alike there is nobody to give the
work to. It is a proportional rule on an integrator with a delay, which neither overshoots nor swings while `OVER_S` is
above e times the delay (about a tick, a push and a load report: 1.5 s), and it does nothing where queues are short.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from brain.view import known_sum

if TYPE_CHECKING:
    from brain.view import View

Floats = NDArray[np.float64]

LEAST_S = 1.0
"""A wait this much longer than usual is the pick's to even out, or gone before a weight could do anything about it."""
OVER_S = 5.0
"""In so much time the rest of it is planned to be gone."""


def overdue(view: View) -> Floats:
    """By how much each has longer to work off what is open than is usual, beyond `LEAST_S`. Seconds, shape (n,).

    0 where open requests, capacity or lanes are not known; where that is so at all of them, for all.
    """
    bears = np.isfinite(view.capacity) & (view.capacity > 0)
    with np.errstate(all="ignore"):
        wait = np.maximum(view.in_flight - view.lanes, 0.0) / view.capacity
    known = np.isfinite(wait) & bears
    if not known.any():
        return np.zeros(len(wait))
    order = np.argsort(wait[known])
    weight = np.cumsum(view.capacity[known][order])
    usual = wait[known][order][int(np.searchsorted(weight, 0.5 * weight[-1]))]
    return np.where(known, np.maximum(np.where(known, wait, 0.0) - usual - LEAST_S, 0.0), 0.0)


def drained(share: Floats, view: View, overdue_s: Floats) -> Floats:
    """The shares of the load with less for those whose queues are overdue, not summing to 1 then. Shape (n,).

    Never below a hundredth of the share: the guard's floor is above that, and what is nothing has no ratio.
    """
    load = known_sum(view.rate_per_s)
    if load <= 0.0 or not overdue_s.any():
        return share
    less = np.where(overdue_s > 0, view.capacity * overdue_s / OVER_S, 0.0) / load
    share = share / share.sum()
    return np.asarray(np.maximum(share - less, 0.01 * share))
