"""An endpoint that grows far stronger with no reason that anybody sees gets no more traffic for it, and an alert.

Who wants traffic, to read it or to lose it, needs only to look fast: answer from nowhere, or have what is told of it
falsified on every proxy alike, where no witness contradicts. Steps and the cap bound what that attracts; this tells of
it. A gain is unexplained when an endpoint's capacity is at once

* more than `TIMES` times its peers' median, each relative to what the operator promised of it, and
* more than `TIMES` times what it was itself, by a record that follows it within minutes.

So a fleet of unlike endpoints is explained (each is as it was), one that heals is (it comes back to its peers), and one
beside which all others slow down is (it did not change). Such an endpoint keeps the weight that it has, or less, until
its record has caught up: by then people have heard of it. A new one is taken as it shows itself in its first minute.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from brain.view import middle

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TIMES = 2.0
FOLLOWS_S = 300.0
"""Half-life of the distance between an endpoint and its record."""
FIRST_S = 60.0
"""How long what is seen of a new endpoint is its record."""


@dataclass(slots=True)
class Attraction:
    """One service's records: the logarithm of each endpoint's capacity. Arrays by member."""

    _members: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    _record: Floats = field(default_factory=lambda: np.zeros(0))
    _first: Floats = field(default_factory=lambda: np.zeros(0))  # when it was first seen; inf: not yet
    _at: float = np.inf

    def unexplained(self, members: Ints, capacity: Floats, low: Floats, prior: Floats, now: float) -> Bools:
        """Who gains without a reason now. Shapes (n,); `members` are endpoint ids.

        `low` is the lower end of the capacity's interval: what may be chance is no gain. A capacity that is not a
        positive number is unknown, and its record stays.
        """
        if not np.array_equal(members, self._members):
            self._move(members)
        known = np.isfinite(capacity) & (capacity > 0)
        claim = np.log(np.where(known, capacity, 1.0))
        self._first = np.where(known, np.minimum(self._first, now), self._first)
        follows = np.where(now - self._first < FIRST_S, 1.0, 1.0 - 0.5 ** (max(0.0, now - self._at) / FOLLOWS_S))
        self._record = np.where(known, self._record + follows * (claim - self._record), self._record)
        self._at = now
        if not known.any():
            return known
        peers = middle((claim - np.log(prior))[known])
        least = np.log(np.where(known & (low > 0), low, 1e-300)) - np.log(TIMES)
        return np.asarray(known & (least > self._record) & (least - np.log(prior) > peers))

    def _move(self, members: Ints) -> None:
        """Other members: who stays keeps its record."""
        record, first = np.zeros(len(members)), np.full(len(members), np.inf)
        _, now, before = np.intersect1d(members, self._members, return_indices=True)
        record[now], first[now] = self._record[before], self._first[before]
        self._members, self._record, self._first = members.copy(), record, first


def held_back(wanted: Floats, in_force: Ints, who: Bools) -> Floats:
    """What is wanted, with no more than now for those; the others share the rest as they would. Shapes (n,)."""
    if not who.any() or who.all():
        return wanted
    share, now = wanted / wanted.sum(), in_force / in_force.sum()
    out = np.where(who, np.minimum(share, now), share)
    return np.asarray(np.where(who, out, share * (1.0 - out[who].sum()) / max(float(share[~who].sum()), 1e-12)))
