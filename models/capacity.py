"""What each endpoint can bear and how its latency grows with load: from what it was seen to do.

An endpoint is taken as `W` workers before one queue. Of its latency the part that is work is its service time

    S = level * work share

where the level is its mean latency (`features.levels`) and the share comes from how many requests others found there
(`models.lanes`, which learns W as well). Then it bears

    capacity = W / S * (share of good answers) ** error_exponent

attempts a second, and a request that finds `n` others there is expected to take

    R(n) = S * (1 + max(0, n + 1 - W) / W)

* An endpoint that fails in a millisecond is multiplied away: its failures have no latency, and fast failure is never a
  good sign.
* What has not ended counts as well. While requests are open and none finishes, the endpoint bears at most 3 attempts in
  that time (the "rule of three": the 95 % bound of a rate that showed nothing) and one in it for each request that is
  stuck. That is a hang when at the endpoint's own recent rate the silence has a chance of e**-`SURE`, or is
  `LONG` times its latency, and never before `SHORTEST_S`, which is the rhythm of load reports. Where some requests cost
  far more than others a few of those keep all workers busy, and it is none before such a one would have ended. It hides
  what is known and changes nothing of it.
* With less than one attempt behind it nothing is known: NaN, and no peer's figure.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from models.base import Floats, Ints, Prediction, State, check_state
from models.lanes import DEFAULT, growth

_Z90 = 1.645
"""Standard errors either side of a 90 % interval."""

_UNSURE = 5.0
"""A relative error above this says no more than this: the interval already spans seven orders of magnitude."""

_RULE_OF_THREE = 3.0

SURE = 10.0
LONG = 30.0
SHORTEST_S = 0.5

LEAST = 1e-3
"""Attempts a second that anything known is said to bear at least: peers are compared by ratio, and 0 has none."""


class Capacity:
    """Capacity, service time and latency by endpoint: one row each, learned from columns of features.

    `rate_half_life_s` is that of `rate_per_s`: what an endpoint's rate was before it fell silent is told from it.

    >>> capacity = Capacity(slots=2)
    >>> one = dict(level_s=[0.1, 0.1], level_error=[0.1, 0.1], level_count=[50.0, 50.0], work_share=[0.5, 0.5])
    >>> two = dict(lanes=[4.0, 4.0], settled_error_share=[0.0, 0.5], settled_samples=[50.0, 50.0], in_flight=[4.0, 4.0])
    >>> rest = dict(rate_per_s=[40.0, 40.0], stuck_s=[0.0, 0.0])
    >>> capacity.learn_many(**{name: np.array(column) for name, column in (one | two | rest).items()}, now=10.0)
    >>> capacity.predict_many().value
    array([80., 20.])
    >>> capacity.curve(np.array([4.0, 4.0]))
    array([0.0625, 0.0625])
    """

    columns: ClassVar[tuple[str, ...]] = (
        "level_s",
        "level_error",
        "level_count",
        "work_share",
        "lanes",
        "slow_s",
        "settled_error_share",
        "settled_samples",
        "rate_per_s",
        "in_flight",
        "stuck_s",
        "total",
    )
    """What `learn_many` takes: columns of `EndpointFeatures` by name, and the two that `models.lanes` tells."""

    def __init__(self, slots: int, *, error_exponent: float = 2.0, rate_half_life_s: float = 3.0) -> None:
        if not (error_exponent > 0 and rate_half_life_s > 0):
            raise ValueError("error_exponent and rate_half_life_s must be above 0")
        self.error_exponent = error_exponent
        self.rate_half_life_s = rate_half_life_s
        self._service_s = np.full(slots, np.nan)
        self._error = np.zeros(slots)  # its relative standard error
        self._count = np.zeros(slots)
        self._lanes = np.full(slots, DEFAULT)
        self._success = np.ones(slots)
        self._hanging = np.zeros(slots)  # requests that hang
        self._ceiling = np.zeros(slots)  # while some do: what they allow at most
        self._ended = np.zeros(slots)  # attempts, ever

    def learn_many(
        self,
        *,
        level_s: Floats,
        level_error: Floats,
        level_count: Floats,
        work_share: Floats,
        lanes: Floats,
        settled_error_share: Floats,
        settled_samples: Floats,
        rate_per_s: Floats,
        in_flight: Floats,
        stuck_s: Floats,
        total: Ints | None = None,
        slow_s: Floats | None = None,
        now: float,
    ) -> None:
        """Take in one frozen set of columns, each of shape (slots,); NaN is unknown. ValueError when one is not.

        `total` counts attempts that ended, ever; without it whoever is silent no more is taken for healed. `slow_s`:
        what the slowest requests take, where some cost far more than others; without it all cost alike.
        """
        given = (level_s, level_error, level_count, work_share, lanes, settled_error_share, settled_samples)
        if any(np.shape(column) != self._count.shape for column in (*given, rate_per_s, in_flight, stuck_s)):
            raise ValueError(f"columns of shapes {[np.shape(c) for c in given]} for {self._count.size} slots")
        answers = np.isfinite(level_s) & (level_s > 0)
        share = np.where(np.isfinite(work_share), np.clip(work_share, 1e-3, 1.0), 1.0)
        self._service_s = np.where(answers, level_s, np.nan) * share
        self._error = np.where(np.isfinite(level_error), np.clip(level_error, 0.0, _UNSURE), _UNSURE)
        self._count = np.maximum(_sane(level_count), _sane(settled_samples))
        self._lanes = np.where(np.isfinite(lanes) & (lanes >= 1), lanes, DEFAULT)
        self._success = (1.0 - _sane(settled_error_share, most=1.0)) ** self.error_exponent
        ended = np.ones(self._count.shape, dtype=bool) if total is None else np.asarray(total != self._ended)
        if total is not None:
            self._ended = np.asarray(total, dtype=np.float64)
        slow = 0.0 if slow_s is None else _sane(slow_s)
        self._watch(_sane(rate_per_s), _sane(in_flight), _sane(stuck_s), ended, slow)

    def _watch(
        self, rate: Floats, in_flight: Floats, stuck: Floats, ended: NDArray[np.bool_], slow_s: Floats | float
    ) -> None:
        """Who hangs, and what it can bear at most.

        Who hung does so until an attempt ends there. That its requests are no longer seen proves nothing: moved to
        another tier, it is a new host to Envoy, which knows nothing of what the old one has open (measured).
        """
        before = rate * np.exp2(np.minimum(stuck / self.rate_half_life_s, 20.0))  # the rate fell as it was silent
        known = np.isfinite(self._service_s)
        silent = (stuck * before >= SURE) | (stuck >= LONG * np.where(known, self._service_s, 0.0))
        under_way = stuck <= np.maximum(np.where(known, self._service_s, 0.0), slow_s)
        hangs = (stuck >= SHORTEST_S) & silent & ~under_way
        slowness = np.divide(1.0, stuck, out=np.zeros_like(stuck), where=hangs)
        still = (self._hanging > 0) & ~hangs & ~ended
        ceiling = (np.minimum(before, _RULE_OF_THREE * slowness) + slowness) * self._success
        self._ceiling = np.where(still, self._ceiling, ceiling)
        self._hanging = np.where(still, self._hanging, np.where(hangs, np.maximum(in_flight, 1.0), 0.0))

    @property
    def hanging(self) -> NDArray[np.bool_]:
        """Which endpoints hang. Shape (slots,)."""
        return self._hanging > 0

    def predict_many(self) -> Prediction:
        """Capacity with its 90 % interval and count by endpoint, shape (slots,). NaN below one attempt's evidence.

        What bears nothing is told as `LEAST`, so a value that is there is above 0. The interval is that of the service
        time; how sure the number of lanes is, `models.lanes` tells.
        """
        count = self._count + self._hanging
        fails = (self._success <= 0) & (self._count >= 1.0)  # nobody waits for an answer to know that
        bears = np.where(fails, LEAST, self._lanes / self._service_s * self._success)
        allowed = np.where(self._hanging > 0, self._ceiling, np.nan)
        value = np.where(count >= 1.0, np.maximum(np.fmin(bears, allowed), LEAST), np.nan)
        error = np.where(np.isfinite(self._service_s), self._error, 1.0)  # a hang and nothing else: as one latency
        reach = np.exp(_Z90 * error)
        return Prediction(value=value, low=value / reach, high=value * reach, count=count)

    def service_times(self) -> Prediction:
        """Latency of an average request at an idle endpoint, seconds, with its 90 % interval. Shape (slots,)."""
        value = np.where(self._count >= 1.0, self._service_s, np.nan)
        reach = np.exp(_Z90 * self._error)
        return Prediction(value=value, low=value / reach, high=value * reach, count=self._count.copy())

    def curve(self, found: Floats) -> Floats:
        """Mean latency of a request that finds this many others, by endpoint, seconds. Broadcasts over (..., slots)."""
        return np.asarray(self.service_times().value * growth(found, self._lanes))

    def resize(self, slots: int) -> None:
        """Have room for this many endpoints; new ones are not ready, and none is ever taken away."""
        more = slots - self._count.size
        if more > 0:
            for name, empty in _ARRAYS.items():
                setattr(self, "_" + name, np.pad(getattr(self, "_" + name), (0, more), constant_values=empty))

    def state(self) -> State:
        """What was told last, a row per slot."""
        return {name: getattr(self, name) for name in _PARAMETERS} | {
            name: getattr(self, "_" + name).copy() for name in _ARRAYS
        }

    def restore(self, state: State) -> None:
        """Take up a state. ValueError, and unchanged, when slots or parameters are not these."""
        like = {name: getattr(self, "_" + name) for name in _ARRAYS}
        check_state(state, like, **{name: getattr(self, name) for name in _PARAMETERS})
        for name in _ARRAYS:
            setattr(self, "_" + name, np.array(state[name], dtype=np.float64))


_PARAMETERS = ("error_exponent", "rate_half_life_s")
_ARRAYS = {
    "service_s": math.nan,
    "error": 0.0,
    "count": 0.0,
    "lanes": DEFAULT,
    "success": 1.0,
    "hanging": 0.0,
    "ceiling": 0.0,
    "ended": 0.0,
}


def _sane(column: Floats, most: float = 1e9) -> Floats:
    """The column within 0 and `most`, and 0 where it is unknown or infinite."""
    return np.where(np.isfinite(column), np.clip(column, 0.0, most), 0.0)
