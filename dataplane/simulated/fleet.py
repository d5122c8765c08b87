"""The world that a pick has to cope with: endpoints whose speed and behaviour change, and the work that comes.

A `Fleet` and a `Trace` are arrays, drawn once from a scenario and a seed. Every policy is then run over the very same
ones, on real Envoy, in virtual time and by the bounds, so that a difference between two policies is the policies'.

What an endpoint does with a request of `demand_s` that reaches it at time t, in this order:

* while it hangs, nothing starts and nothing ends; requests pile up until the hang is over;
* with `error_share`, by the request's own `luck`, it answers `status` after `after_s`, without work. Status 200 there
  is the harder case: an empty body that looks like success;
* otherwise the request waits for one of `workers` in one queue, first come first served, and takes
  `demand_s / speed`, with the speed in force when its work starts. `extra_s` is added to the answer and holds no
  worker, as a slow network would;
* an endpoint that is `sharing` has no queue: all its requests are in work at once, each at `speed`, or at its part of
  `workers * speed` where there are more of them than workers (processor sharing), whatever the speed is meanwhile.

A client that gives up does not take its work away, unless that has not begun.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Columns, column

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """Endpoints and how they behave when. E endpoints, K pieces of time each; piece k of e holds from `since_s[e, k]`.

    `since_s[:, 0]` is 0 and the rows rise; unused pieces at the end hold `inf`. Before `joins_s` and from `leaves_s` on
    an endpoint is no member: nothing is sent to it, what it has it finishes.
    """

    names: tuple[str, ...]  # (E,)
    zones: tuple[str, ...]  # (E,)
    group: Ints  # (E,) which kind of endpoint it is, for reports
    weight: Ints  # (E,) the operator's static weight
    workers: Ints  # (E,)
    joins_s: Floats  # (E,)
    leaves_s: Floats  # (E,), inf: never
    since_s: Floats  # (E, K)
    speed: Floats  # (E, K): demand seconds done a second by one worker
    extra_s: Floats  # (E, K)
    error_share: Floats  # (E, K)
    status: Ints  # (E, K) of those answers
    after_s: Floats  # (E, K) until those answers
    hang: Bools  # (E, K)
    sharing: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))  # (E,) its workers; empty: nobody's

    def __post_init__(self) -> None:
        """Nobody shares unless somebody says so. ValueError when it is said of some alone."""
        if len(self.sharing) == 0:
            object.__setattr__(self, "sharing", np.zeros(len(self.names), np.bool_))
        if len(self.sharing) != len(self.names):
            raise ValueError(f"sharing is told of {len(self.sharing)} endpoints, and there are {len(self.names)}")

    def __len__(self) -> int:
        """How many endpoints."""
        return len(self.names)

    def piece(self, at_s: float) -> Ints:
        """Which piece is in force at that time, by endpoint. Shape (E,)."""
        return np.asarray((self.since_s <= at_s).sum(axis=1) - 1, dtype=np.int64)

    def members(self, at_s: float) -> Ints:
        """Who is a member at that time, by row."""
        return np.flatnonzero((self.joins_s <= at_s) & (at_s < self.leaves_s))

    def changes_s(self) -> list[float]:
        """When members come or go after the start, in order."""
        moments = {*self.joins_s.tolist(), *self.leaves_s.tolist()}
        return sorted(t for t in moments if 0.0 < t < np.inf)

    def capacity(self, at_s: float) -> Floats:
        """The truth: demand seconds a second that each member can do at that time; 0 for one that hangs. Shape (E,)."""
        rows, k = np.arange(len(self)), self.piece(at_s)
        member = (self.joins_s <= at_s) & (at_s < self.leaves_s)
        good = (1.0 - self.error_share[rows, k]) * ~self.hang[rows, k]
        return np.asarray(self.workers * self.speed[rows, k] * good * member)

    def mean_capacity(self, until_s: float) -> Floats:
        """The same in the mean from the start until then, of the time as a member; 0 for who never is. Shape (E,).

        What flips to and fro has its mean here, and not the state that it happens to start in.
        """
        ends_s = np.append(self.since_s[:, 1:], np.full((len(self), 1), np.inf), axis=1)
        last_s = np.minimum(ends_s, np.minimum(self.leaves_s, until_s)[:, None])
        lasts_s = np.maximum(last_s - np.maximum(self.since_s, self.joins_s[:, None]), 0.0)
        good = self.speed * (1.0 - self.error_share) * ~self.hang
        return np.asarray(self.workers * (good * lasts_s).sum(axis=1) / np.maximum(lasts_s.sum(axis=1), 1e-9))


@dataclass(frozen=True, slots=True, eq=False)
class Trace(Columns):
    """Requests in the order in which they are meant to leave, a row each."""

    at_s: Floats = column("f8")
    node: NDArray[np.int32] = column("i4")  # which proxy it goes through
    klass: NDArray[np.int32] = column("i4")  # index of its request class (its route)
    demand_s: Floats = column("f8")  # at speed 1
    luck: Floats = column("f8")  # uniform in [0, 1): meets `error_share`


@dataclass(frozen=True, slots=True, eq=False)
class Fate(Columns):
    """What became of each request of a trace, in the trace's order: as its user felt it."""

    latency_s: Floats = column("f8")  # from `at_s` to the last byte or to giving up
    ok: Bools = column("?")  # a good answer in time. An empty 200 is none
    status: NDArray[np.int16] = column("i2")  # 0: none came
    endpoint: NDArray[np.int32] = column("i4")  # of the last attempt; -1 unknown
    adaptive: Bools = column("?")  # which arm served it; False outside Weirflow
