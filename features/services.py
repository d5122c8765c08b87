"""What requests felt like to those who sent them, by service and by the arm whose rules picked their endpoint.

A request that ended well is known by its last attempt (`Requests.felt_s`, which counts from the start of the first);
one that ended badly by the downstream log (`Felt`). Both feed two things: decayed figures to look at, and plain sums
since the last freeze, from which `brain.proof` compares the arms. Retries are counted beside them, by how they ended.

A failed request costs the user more than its duration, or failing at once would be the best service of all: it is
charged at least three times the service's recent p99. A cancelled one is charged the time that its client waited: it
did not fail, but leaving it out would flatter the arm that makes clients leave.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Felt, Outcome
from features.columns import Floats, ServiceFeatures
from features.endpoints import TEACHES
from features.together import Attempts
from models.base import Ints, State, check_state, known_or
from models.decay import DecayedSums, ForwardDecay, When
from models.sketch import QuantileSketch

FAILS = np.array([o in (Outcome.ERROR, Outcome.TIMEOUT, Outcome.REJECTED, Outcome.UNREACHED) for o in Outcome])
"""By Outcome: did the user get no good answer. A client that left wanted none any more."""

FAILURE_COST_P99S = 3.0

_ENDED, _FAILED = range(2)
_COUNT, _BAD, _REFUSED, _COST, _COST_SQ, _RETRIES, _RETRIES_OK, _GOOD, _GOOD_S, _IN, _OUT = range(11)
MOST_BYTES = 2.0**40
"""Of one body, that are believed."""


class ServiceTally:
    """Figures of `slots` services on two arms: stream `2 * service + arm`."""

    def __init__(self, slots: int, half_life_s: float) -> None:
        self._sums = DecayedSums(2, 2 * slots, half_life_s)
        self._sketch = QuantileSketch(2 * slots, half_life_s)
        self._total = np.zeros(2 * slots, dtype=np.int64)
        self._tick = np.zeros((11, 2 * slots))
        self._failure_cost_s = np.full(slots, np.nan)

    def begin(self, services: Ints, now: float) -> None:
        """These services are new."""
        streams = both_arms(services)
        self._sums.begin(streams, now)
        self._sketch.clear(streams)
        self._total[streams] = 0
        self._tick[:, streams] = 0.0
        self._failure_cost_s[services] = np.nan

    @property
    def decays(self) -> tuple[ForwardDecay, ...]:
        """By which what was told is weighed."""
        return self._sums.decay, self._sketch.decay

    def told(self, batch: Attempts, when: When) -> NDArray[np.bool_]:
        """Fold in the requests that ended well: those whose last attempt is here and OK. Returns which those are."""
        felt, service = batch.felt_s, batch.service
        again = batch.attempt > 1
        if again.any():
            again &= TEACHES[batch.outcome] & (service >= 0) & (2 * service < self._total.size)
            stream, ok = (2 * service + batch.arm)[again], batch.outcome[again] == Outcome.OK
            np.add.at(self._tick[_RETRIES], stream, 1.0)
            np.add.at(self._tick[_RETRIES_OK], stream[ok], 1.0)
        good = (batch.outcome == Outcome.OK) & (felt >= 0) & (felt < np.inf)
        good &= (service >= 0) & (2 * service < self._total.size)
        stream = 2 * service + batch.arm
        bodies = batch.bytes_in, batch.bytes_out
        if not good.all():
            stream, felt = stream[good], felt[good]
            bodies = batch.bytes_in[good], batch.bytes_out[good]
            when = when.take(good)
        cost = felt.astype(np.float64)
        self._ended(stream, cost, when)
        np.add.at(self._tick[_GOOD], stream, 1.0)
        np.add.at(self._tick[_GOOD_S], stream, cost)
        for row, some in zip((_IN, _OUT), bodies, strict=True):
            np.add.at(self._tick[row], stream, np.clip(some, 0.0, MOST_BYTES))
        self._sketch.add(stream, cost, when)
        return np.asarray(good)

    def felt(self, batch: Felt, when: When) -> NDArray[np.bool_]:
        """Fold in the requests that ended badly. An OK among them was counted by its attempt and is passed over.

        Returns which rows were counted.
        """
        duration, service = batch.duration_s, batch.service
        bad = (batch.outcome != Outcome.OK) & (duration >= 0) & (duration < np.inf)
        bad &= (service >= 0) & (2 * service < self._total.size)
        service, duration = service[bad], duration[bad].astype(np.float64)
        stream = 2 * service + batch.arm[bad]
        fails = FAILS[batch.outcome[bad]]
        cost = np.where(fails, np.fmax(duration, self._failure_cost_s[service]), duration)
        when = when.take(bad)
        self._ended(stream, cost, when)
        self._sums.add(_FAILED, stream[fails], 1.0, when.take(fails))
        np.add.at(self._tick[_BAD], stream[fails], 1.0)
        np.add.at(self._tick[_REFUSED], stream[batch.outcome[bad] == Outcome.REJECTED], 1.0)
        return np.asarray(bad)

    def _ended(self, stream: NDArray[np.integer], cost: Floats, when: When) -> None:
        self._sums.add(_ENDED, stream, 1.0, when)
        np.add.at(self._total, stream, 1)
        np.add.at(self._tick[_COUNT], stream, 1.0)
        np.add.at(self._tick[_COST], stream, cost)
        np.add.at(self._tick[_COST_SQ], stream, cost * cost)

    def freeze(self, now: float) -> ServiceFeatures:
        """The figures at `now`. The sums of the tick start again from 0, and a failure's price is set for the next."""
        ended, failed = self._sums.at(now)
        p50, p99 = self._sketch.quantiles((0.5, 0.99))
        known = ended > 0.01
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = known_or(ended / self._sums.window_s(now), 0.0)
            failed_share = np.where(known, np.clip(failed / ended, 0.0, 1.0), np.nan)
        charged = self._failure_cost_s
        self._failure_cost_s = FAILURE_COST_P99S * self._sketch.quantiles((0.99,), pool=2)[0]
        tick, self._tick = self._tick, np.zeros_like(self._tick)
        return ServiceFeatures(
            requests_per_s=rate.reshape(-1, 2),
            p50_s=np.where(known, p50, np.nan).reshape(-1, 2),
            p99_s=np.where(known, p99, np.nan).reshape(-1, 2),
            failed_share=failed_share.reshape(-1, 2),
            total=self._total.reshape(-1, 2).copy(),
            tick_count=tick[_COUNT].reshape(-1, 2),
            tick_failed=tick[_BAD].reshape(-1, 2),
            tick_refused=tick[_REFUSED].reshape(-1, 2),
            tick_retries=tick[_RETRIES].reshape(-1, 2),
            tick_retries_ok=tick[_RETRIES_OK].reshape(-1, 2),
            tick_good=tick[_GOOD].reshape(-1, 2),
            tick_good_s=tick[_GOOD_S].reshape(-1, 2),
            tick_bytes_in=tick[_IN].reshape(-1, 2),
            tick_bytes_out=tick[_OUT].reshape(-1, 2),
            tick_cost_s=tick[_COST].reshape(-1, 2),
            tick_cost_sq=tick[_COST_SQ].reshape(-1, 2),
            failure_cost_s=charged,
        )

    def resize(self, slots: int) -> None:
        """Have room for this many services; new ones have to `begin`."""
        more = slots - self._failure_cost_s.size
        if more > 0:
            self._sums.resize(2 * slots)
            self._sketch.resize(2 * slots)
            self._total = np.pad(self._total, (0, 2 * more))
            self._tick = np.pad(self._tick, ((0, 0), (0, 2 * more)))
            self._failure_cost_s = np.pad(self._failure_cost_s, (0, more), constant_values=np.nan)

    def state(self) -> dict[str, State]:
        """Each part's state; the first axis of every array is streams. The tick's own sums are not kept."""
        cost = np.repeat(self._failure_cost_s, 2)
        own = {"total": self._total.copy(), "failure_cost_s": cost}
        return {"sums": self._sums.state(), "sketch": self._sketch.state(), "own": own}

    def restore(self, state: dict[str, State], left: float, now: float) -> None:
        """Take up a state kept at `left`: what it holds has decayed since. ValueError when it is of another shape."""
        own = state["own"]
        check_state(own, {"total": self._total, "failure_cost_s": self._total})
        self._sums.restore(state["sums"])
        self._sketch.restore(state["sketch"])
        self._sums.resume(left, now)
        self._sketch.resume(left, now)
        self._total, self._failure_cost_s = own["total"].copy(), own["failure_cost_s"][::2].copy()


def both_arms(services: Ints) -> Ints:
    """Both arms' streams of these services, neighbours."""
    return np.asarray((2 * services[:, None] + np.array([0, 1])).ravel(), dtype=np.int64)
