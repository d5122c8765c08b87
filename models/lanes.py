"""How many requests an endpoint works on at once, and what part of a latency is work: learned from who found how many.

A request that finds `n` others at an endpoint of `W` workers and one queue waits until `n + 1 - W` of them have left.
With service time S its mean latency is

    R(n) = S * g(n),    g(n) = 1 + max(0, n + 1 - W) / W

which is exact for exponential work whatever the arrivals are (the arrival theorem, Reiser and Lavenberg, JACM 1980,
needs only the state that is found), and close for other work. W is the same for the endpoints of a service, S is each
endpoint's own. So W shows in the shape of latency over `n`, S in its height, and a slow drift of load moves neither.

W is chosen from `GRID` by likelihood. With latency spread in proportion to its mean (a gamma quasi-likelihood,
Wedderburn 1974), the best S of an endpoint is the mean of `latency / g`, and minus twice the log likelihood of W is

    D(W) = 2 / phi * sum over endpoints of (k log S(W) + sum of log g)

with `k` attempts and dispersion `phi`: two matrix products over counts by endpoint and bin of `n`. Those W with D
within 2.7 of the least are a 90 % interval. Who shares a queue shares luck: attempts count as `1 / SHARED_LUCK` each.

Where the interval has no upper end, nothing showed a queue and W is not known: NaN. A latency that holds no worker,
like a slow network, looks like more lanes in the proportion in which it lengthens S, so W / S, the capacity, is right.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from models.base import Floats, Ints, Prediction, State, check_state
from models.decay import DecayedSums

GRID = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256], dtype=np.float64)
"""The numbers of lanes that are told apart."""

DEFAULT = 4.0
"""Lanes to reckon with while none are known: as many as a small container has threads. Too few takes speed for traffic
and too many takes a queue for slowness (`docs/measured.md`)."""

SHARED_LUCK = 4.0
"""Attempts in one queue wait for the same slow one. Without this the interval misses the truth one time in three."""

_INSIDE = 2.706
"""Chi-square of one degree of freedom, 90 %."""

_EXACT = 32
_BINS = np.unique(np.concatenate([np.arange(_EXACT), np.round(_EXACT * 1.15 ** np.arange(30))])).astype(np.float64)
"""What is found, in bins: exact below 32, then 15 % wide, up to 1,800."""

_PRIOR = 20.0
"""Attempts' worth of belief that work is exponential, whose dispersion is 1."""

_OUTVOTED = 0.05
"""What is left of the weight of an endpoint's past when its speed has changed."""

_COUNT, _TOOK, _WORK = range(3)


def growth(found: Floats, lanes: Floats | float) -> Floats:
    """How many times longer a request takes that finds this many before it. At least 1; broadcasts.

    >>> growth(np.array([0.0, 3.0, 4.0, 7.0]), 4.0)
    array([1.  , 1.  , 1.25, 2.  ])
    """
    return np.asarray(1.0 + np.maximum(found + 1.0 - lanes, 0.0) / lanes)


_SHAPE = growth(_BINS[:, None], GRID[None, :])


class Lanes:
    """Lanes by service, and the share of latency that is work by endpoint.

    `half_life_s` is of what is known of lanes, which change when software does; `work_half_life_s` of the share of
    work, which must be that of the latency it is applied to.

    >>> rng, lanes = np.random.default_rng(1), Lanes(slots=1, services=1)
    >>> found = rng.integers(0, 12, 4000)
    >>> took = 0.02 * growth(found, 4.0) * rng.gamma(4, 1 / 4, 4000)
    >>> lanes.learn_many(endpoint=np.zeros(4000, int), found=found, took_s=took, service_of=np.array([0]), now=1.0)
    >>> lanes.predict_many().value
    array([4.])
    """

    parameters: ClassVar[tuple[str, ...]] = ("half_life_s", "work_half_life_s")

    def __init__(
        self, slots: int, services: int = 1, *, half_life_s: float = 60.0, work_half_life_s: float = 25.0
    ) -> None:
        self.half_life_s, self.work_half_life_s = float(half_life_s), float(work_half_life_s)
        self._bins = DecayedSums(2, slots * _BINS.size, half_life_s)  # by slot and bin: attempts, and their latency
        self._work = DecayedSums(4, slots, work_half_life_s)  # by slot: attempts, latency, work, its square
        self._known = Prediction(*np.full((4, services), np.nan))

    def learn_many(
        self,
        *,
        endpoint: NDArray[np.integer],
        found: NDArray[np.integer] | Floats,
        took_s: Floats,
        service_of: Ints,
        now: float,
        changed: Floats | None = None,
        unlike: Floats | float = 1.0,
    ) -> None:
        """Take in attempts: where, how many they found there, how long they took. Then choose W anew.

        `service_of` gives each endpoint slot's service, -1 for a retired one. `changed`, by endpoint slot: the share of
        work there now, where an endpoint became faster or slower since the last call, else NaN. `unlike`, by service:
        the mean square of what its requests cost over the mean, as told by their class; who waits for a heavy one
        shares its luck with as many more.
        """
        good = (endpoint >= 0) & (endpoint < service_of.size) & (found >= 0) & (took_s > 0) & (took_s < math.inf)
        endpoint, found, took = endpoint[good], np.asarray(found, dtype=np.float64)[good], took_s[good]
        if changed is not None:
            self._forget(changed)
        if endpoint.size:
            bins = np.minimum(np.searchsorted(_BINS, found, side="right") - 1, _BINS.size - 1)
            cell = endpoint * _BINS.size + bins
            self._bins.add(_COUNT, cell, 1.0, now)
            self._bins.add(_TOOK, cell, took, now)
        self._choose(service_of, np.broadcast_to(unlike, self._known.value.shape), now)
        if endpoint.size:
            work = took / growth(found, self.reckoned()[service_of[endpoint]])
            for field, part in enumerate((np.ones_like(work), took, work, work * work)):
                self._work.add(field, endpoint, part, now)

    def reckoned(self) -> Floats:
        """Lanes to reckon with, by service: what is known, else the default, or the least not refuted if that is more.

        Shape (services,), never NaN.
        """
        known = self._known
        return np.where(np.isnan(known.value), np.fmax(known.low, DEFAULT), known.value)

    def predict_many(self) -> Prediction:
        """Lanes by service with a 90 % interval, shape (services,).

        The value is NaN where no number of lanes is told from more; the low end may be known even so.
        """
        return self._known

    def work_share(self, now: float) -> Floats:
        """The part of each endpoint's latency that is work and not waiting. Shape (slots,); NaN when unknown."""
        _, took, work, _ = self._work.at(now)
        return np.asarray(np.divide(work, took, out=np.full_like(took, np.nan), where=took > 1e-12))

    def _choose(self, service_of: Ints, unlike: Floats, now: float) -> None:
        """The W of least deviance by service, and those that the data does not refute."""
        count, took = self._bins.at(now).reshape(2, -1, _BINS.size)
        services = self._known.value.size
        seen = np.flatnonzero((count.sum(axis=1) >= 1.0) & (service_of >= 0) & (service_of < services))
        count, took, mine = count[seen], took[seen], service_of[seen]
        n, deviance = np.zeros(services), np.zeros((services, GRID.size))
        k = count.sum(axis=1)
        work = took @ (1.0 / _SHAPE)  # k times the mean of latency / g: k times S, for each W
        np.add.at(n, mine, k)
        np.add.at(deviance, mine, 2.0 * (k[:, None] * np.log(work / k[:, None]) + count @ np.log(_SHAPE)))
        shared = SHARED_LUCK * unlike[:, None] * self._dispersion(service_of, now)
        excess = (deviance - deviance.min(axis=1, keepdims=True)) / shared
        inside = (excess <= _INSIDE) & (n[:, None] >= 1.0)
        some, first, last = inside.any(axis=1), inside.argmax(axis=1), GRID.size - 1 - inside[:, ::-1].argmax(axis=1)
        told = some & (last < GRID.size - 1)
        self._known = Prediction(
            value=np.where(told, GRID[excess.argmin(axis=1)], np.nan),
            low=np.where(told | (some & (first > 0)), GRID[first], np.nan),
            high=np.where(told, GRID[last], np.nan),
            count=n,
        )

    def _dispersion(self, service_of: Ints, now: float) -> Floats:
        """The variance of work over its mean squared, pooled over a service. Shape (services, 1)."""
        count, _, work, square = self._work.at(now)
        seen = np.flatnonzero((count > 1e-6) & (work > 0) & (service_of >= 0))
        relative = np.maximum(count * square / np.maximum(work, 1e-30) ** 2 - 1.0, 0.0)[seen] if seen.size else 0.0
        services = self._known.value.size
        top, bottom = np.full(services, _PRIOR), np.full(services, _PRIOR)
        if seen.size:
            np.add.at(top, service_of[seen], count[seen] * relative)
            np.add.at(bottom, service_of[seen], count[seen])
        return np.asarray((top / bottom)[:, None])

    def _forget(self, changed: Floats) -> None:
        """Latencies of another speed are forgotten; the new share of work is a first word, soon outvoted."""
        slots = np.flatnonzero(np.isfinite(changed))
        if slots.size:
            self._bins.scale((slots[:, None] * _BINS.size + np.arange(_BINS.size)).ravel(), 0.0)
            self._work.scale(slots, _OUTVOTED)
            self._work.put(_WORK, slots, _TOOK, changed[slots])

    def resize(self, slots: int, services: int) -> None:
        """Have room for this many endpoints and services; none is ever taken away."""
        self._bins.resize(slots * _BINS.size)
        self._work.resize(slots)
        more = services - self._known.value.size
        if more > 0:
            known = self._known
            parts = (known.value, known.low, known.high, known.count)
            self._known = Prediction(*(np.pad(part, (0, more), constant_values=np.nan) for part in parts))

    def state(self) -> State:
        """Everything, a row per endpoint slot. What is known by service is chosen anew from it."""
        bins, work = self._bins.state(), self._work.state()
        return {
            **{name: getattr(self, name) for name in self.parameters},
            "landmark": bins["landmark"],
            "work_landmark": work["landmark"],
            "bins": bins["sums"].reshape(-1, _BINS.size, 2),
            "work": work["sums"],
        }

    def restore(self, state: State) -> None:
        """Take up a state. ValueError, and unchanged, when slots or parameters are not these."""
        bins, work = self._bins.state(), self._work.state()
        like = {"bins": bins["sums"].reshape(-1, _BINS.size, 2), "work": work["sums"]}
        made_with = {name: getattr(self, name) for name in self.parameters}
        check_state(state, like, "landmark", "work_landmark", **made_with)
        self._bins.restore(bins | {"landmark": state["landmark"], "sums": np.reshape(state["bins"], (-1, 2))})
        self._work.restore(work | {"landmark": state["work_landmark"], "sums": state["work"]})

    def resume(self, left: float, now: float) -> None:
        """Go on at `now` with what was restored from `left`."""
        self._bins.resume(left, now)
        self._work.resume(left, now)
