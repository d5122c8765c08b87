"""How much heavier one class of requests is than another, so that who got the heavy ones does not look slow.

A class is a route with a method. What a class costs against the others is a property of the service and not of an
endpoint, so it is learned over all of its endpoints: the mean of its work over that of an average request there. Heavy
and light ones wait alike for those before them, so of an endpoint where a part `s` of latency is work, the rest
waiting, a request of factor `f` takes `1 + (f - 1) s` times as long as an average one. Divided by that its latency is
what an average request would have taken, and that is what endpoints are known by.

Where factors differ much, a heavy request makes many light ones late, and their latencies are one piece of news and
not many. By the mean square of the factors (`unlike`) evidence counts for less.

Factors are slow (half-life a minute), drawn to 1 with few samples, and have a mean of 1 over a service's requests, so
that an average request stays one. There are as many as routes times `METHODS`; beyond `MOST`, one for all the rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.base import Floats, Ints, State, check_state
from models.decay import DecayedSums, ForwardDecay, When

METHODS = 10
"""Methods told apart on a route, the unknown one among them."""

MOST = 4096
"""Classes; requests of routes beyond count as average."""

HALF_LIFE_S = 60.0
DRAWN = 30.0
"""A class's factor is drawn to 1 as if it had been seen this many times at 1."""

_FARTHEST = 50.0
"""One attempt tells of no greater factor: a request that hung says little of its class."""

_COUNT, _RATIO = range(2)


class ClassTally:
    """Factors by class: index 0 is every request without a route, or of a route beyond the bound."""

    def __init__(self, routes: int) -> None:
        self._classes = min(routes * METHODS, MOST) + 1
        self._sums = DecayedSums(2, self._classes, HALF_LIFE_S)
        self._service = np.full(self._classes, -1, dtype=np.int64)  # whose requests were seen in it last
        self._factor = np.ones(self._classes)
        self._unlike: Floats = np.ones(0)

    def of(self, route: NDArray[np.integer], method: NDArray[np.integer] | None = None) -> Ints:
        """The class of each row."""
        place = route.astype(np.int64) * METHODS + 1
        if method is not None:
            place += np.clip(method, 0, METHODS - 1)
        return np.where((route >= 0) & (place < self._classes), place, 0)

    @property
    def decays(self) -> tuple[ForwardDecay, ...]:
        """By which what was told is weighed."""
        return (self._sums.decay,)

    def told(self, classes: Ints, service: NDArray[np.integer], ratio: Floats, when: When) -> None:
        """Attempts that were `ratio` times the work of an average request; NaN where unknown."""
        known = (classes > 0) & np.isfinite(ratio)
        classes, service, ratio = classes[known], service[known], ratio[known]
        if classes.size:
            self._service[classes] = service
            amounts = 1.0, np.clip(ratio, 0.0, _FARTHEST)
            self._sums.add_each((_COUNT, _RATIO), classes, amounts, when.take(known).since_first())

    def factor(self) -> Floats:
        """By class, as of the last tick."""
        return self._factor

    def unlike(self, services: int) -> Floats:
        """By service, the mean square of the factors over its requests: 1 where all cost the same."""
        out = np.ones(services)
        out[: self._unlike.size] = self._unlike[:services]
        return out

    def freeze(self, now: float) -> None:
        """Set the factors for the time to come."""
        count, ratio = self._sums.at(now)
        factor = (ratio + DRAWN) / (count + DRAWN)
        seen = (count > 0.01) & (self._service >= 0)
        services = int(self._service.max(initial=-1)) + 1
        if services == 0:
            return
        weight = np.bincount(self._service[seen], count[seen], services)
        heavy = np.bincount(self._service[seen], (count * factor)[seen], services)
        middle = np.divide(heavy, weight, out=np.ones(services), where=weight > 0)
        self._factor = np.where(seen, factor / middle[np.maximum(self._service, 0)], 1.0)
        square = np.bincount(self._service[seen], (count * self._factor**2)[seen], services)
        self._unlike = np.maximum(np.divide(square, weight, out=np.ones(services), where=weight > 0), 1.0)

    def resize(self, routes: int) -> None:
        """Have room for this many routes."""
        classes = min(routes * METHODS, MOST) + 1
        more = classes - self._classes
        if more > 0:
            self._classes = classes
            self._sums.resize(classes)
            self._service = np.pad(self._service, (0, more), constant_values=-1)
            self._factor = np.pad(self._factor, (0, more), constant_values=1.0)

    def state(self) -> State:
        """A row per class."""
        return {**self._sums.state(), "service": self._service.copy(), "factor": self._factor.copy()}

    def restore(self, state: State) -> None:
        """Take up a state. ValueError, and unchanged, when it is of another shape."""
        check_state(state, {"service": self._service, "factor": self._factor})
        self._sums.restore({name: state[name] for name in self._sums.state()})
        self._service, self._factor = np.array(state["service"]), np.array(state["factor"], dtype=np.float64)
