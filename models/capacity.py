"""What each endpoint can bear: attempts a second, from what it does and how long it takes.

By the arrival theorem (Reiser and Lavenberg, "Mean-value analysis of closed multichain queuing networks", JACM 1980) a
request that reaches a queue served at rate `mu` finds `L` before it and stays `R = (L + 1) / mu`; by Little's law
`L = X R` with throughput `X`. Together:

    mu = (L + 1) / R = X + 1 / R

At low load that is one over the service time, in saturation it is the throughput, and no load test is needed for
either. An endpoint that works on `lanes` requests at once is taken as so many such queues side by side, each with its
part of `X`, so for the whole

    mu = X + lanes / R

How many lanes there are is not learned but assumed. With too few, an endpoint looks the better the more it is given,
and a slow one is given up slowly; with too many, what is learned is mostly speed, and a queue is taken for slowness. In
the simulated mesh 4 against 1 cut p99 by an eighth to a sixth while one endpoint of eight workers was ten times slow,
and did no harm to endpoints of one worker (`docs/measured.md`).

Three amendments make it safe to steer by:

* Only good answers count: `X` is the rate of OK attempts and `R` their latency, and the whole is multiplied by the
  share of good answers to the power `error_exponent`. An endpoint that fails in a millisecond adds nothing and is
  multiplied away: fast failure is never a good sign.
* What has not ended counts as well: while requests are open and none finishes, `R` is at least the time they have been
  stuck, and `X` at most 3 over that time (the "rule of three": the 95 % bound of a rate that showed nothing). A
  hang takes the estimate to nothing within seconds, and hides what is remembered rather than changing it.
* The estimate is remembered by evidence, not by time. A new reading moves it by `fresh / (fresh + memory_samples)`: at
  hundreds of attempts a second the reading rules, at one a second ten of them do, so that an endpoint held at its floor
  comes back within half a minute but does not jump with each answer.

Capacity of an endpoint with more workers than lanes is underestimated at low load. Among peers at like load that
cancels out, and peers are all it is compared with.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from models.base import Floats, Ints, Prediction, State, check_state

_Z90 = 1.645
"""Standard errors either side of a 90 % interval."""

_UNSURE = 5.0
"""A relative error above this says no more than this: the interval already spans seven orders of magnitude."""

_RULE_OF_THREE = 3.0

_SHORTEST_S = 1e-6
"""No request takes less: a time below it was not measured."""

LEAST = 1e-3
"""Attempts a second that anything known is said to bear at least: peers are compared by ratio, and 0 has none."""


class Capacity:
    """Capacity by endpoint: one row each, learned from columns of features, attempts a second.

    `lanes`: requests that an endpoint is taken to work on at once. `memory_samples`: how many attempts the remembered
    value is worth against fresh ones. `memory_half_life_s`: how long an endpoint's evidence counts
    (`Prediction.count`); it is longer than the features' own half-life, so that an endpoint at its floor is still
    known by its own deeds and not taken for one of its peers.

    >>> capacity = Capacity(slots=2, lanes=1)
    >>> one = dict(ok_per_s=[40.0, 40.0], error_share=[0.0, 0.5], latency_s=[0.1, 0.1], latency_sd_s=[0.1, 0.1])
    >>> two = dict(samples=[170.0, 170.0], total=[400, 400], in_flight=[4.0, 4.0], stuck_s=[0.0, 0.0])
    >>> capacity.learn_many(**{name: np.array(column) for name, column in (one | two).items()}, now=10.0)
    >>> capacity.predict_many().value
    array([50. , 12.5])
    """

    columns: ClassVar[tuple[str, ...]] = (
        "ok_per_s",
        "error_share",
        "latency_s",
        "latency_sd_s",
        "samples",
        "total",
        "in_flight",
        "stuck_s",
    )
    """The columns of `EndpointFeatures` that `learn_many` takes, by name."""

    def __init__(
        self,
        slots: int,
        *,
        error_exponent: float = 2.0,
        lanes: float = 4.0,
        memory_samples: float = 8.0,
        memory_half_life_s: float = 20.0,
    ) -> None:
        if not (error_exponent > 0 and lanes >= 1 and memory_samples >= 0 and memory_half_life_s > 0):
            raise ValueError(
                "error_exponent and memory_half_life_s must be above 0, lanes not below 1, memory_samples not below 0"
            )
        self.error_exponent = error_exponent
        self.lanes = lanes
        self.memory_samples = memory_samples
        self.memory_half_life_s = memory_half_life_s
        self._now = math.nan
        self._value = np.zeros(slots)  # remembered capacity; a row of zeros throughout is one never learned
        self._spread = np.zeros(slots)  # its standard error, relative to it
        self._known = np.zeros(slots)  # decayed attempts behind it
        self._seen = np.zeros(slots)  # `total` at the last learning
        self._hanging = np.zeros(slots)  # requests that hang, now: evidence too
        self._ceiling = np.zeros(slots)  # while some hang: what they allow at most

    def learn_many(
        self,
        *,
        ok_per_s: Floats,
        error_share: Floats,
        latency_s: Floats,
        latency_sd_s: Floats,
        samples: Floats,
        total: Ints,
        in_flight: Floats,
        stuck_s: Floats,
        now: float,
    ) -> None:
        """Take in one frozen set of endpoint features. Each column has shape (slots,); NaN is unknown.

        An endpoint's row is passed over where it has no fresh attempt. ValueError when a column has another length.
        """
        given = (ok_per_s, error_share, latency_s, latency_sd_s, samples, total, in_flight, stuck_s)
        if any(np.shape(column) != self._value.shape for column in given):
            raise ValueError(f"columns of shapes {[np.shape(c) for c in given]} for {self._value.size} slots")
        elapsed = 0.0 if math.isnan(self._now) else max(now - self._now, 0.0)
        self._now = now
        self._known *= math.exp2(-elapsed / self.memory_half_life_s)

        success = 1.0 - _sane(error_share, most=1.0)
        throughput, stuck = _sane(ok_per_s), _sane(stuck_s)
        latency = _sane(latency_s)
        speed = np.divide(1.0, latency, out=np.full_like(latency, np.nan), where=latency > _SHORTEST_S)
        factor = success**self.error_exponent
        reading = np.where(factor > 0, (throughput + self.lanes * speed) * factor, 0.0)
        behind = np.maximum(_sane(samples), np.minimum(self._known, self.memory_samples))
        spread = _relative_error(
            throughput, speed, self.lanes, _sane(latency_sd_s), success, behind, self.error_exponent
        )
        self._remember(reading, spread, np.asarray(total, dtype=np.float64))

        hangs = (stuck > _SHORTEST_S) & ~(stuck * speed <= 1.0)  # with no latency known, stuck is all there is
        slowness = np.divide(1.0, stuck, out=np.zeros_like(stuck), where=hangs)
        self._ceiling = (np.minimum(throughput, _RULE_OF_THREE * slowness) + slowness) * factor
        self._hanging = np.where(hangs, np.maximum(_sane(in_flight), 1.0), 0.0)

    def _remember(self, reading: Floats, spread: Floats, total: Floats) -> None:
        """Move the memory towards the reading by the weight of what is fresh in it."""
        fresh = np.where(total >= self._seen, total - self._seen, total)  # a counter that fell has begun again
        self._seen = total
        learn = (fresh > 0) & np.isfinite(reading)
        fresh = np.where(learn, fresh, 0.0)
        resists = np.minimum(self._known, self.memory_samples)
        gain = np.divide(fresh, fresh + resists, out=np.zeros_like(fresh), where=learn)
        self._value += gain * (np.where(learn, reading, 0.0) - self._value)
        self._spread += gain * (np.where(learn, spread, 0.0) - self._spread)
        self._known += fresh

    def predict_many(self) -> Prediction:
        """Capacity with its 90 % interval and count by endpoint, shape (slots,). NaN below one attempt's evidence.

        What bears nothing is told as `LEAST`, so a value that is there is above 0.
        """
        count = self._known + self._hanging
        remembered = np.where(self._known > 0, self._value, np.nan)
        allowed = np.where(self._hanging > 0, self._ceiling, np.nan)
        value = np.where(count >= 1.0, np.maximum(np.fmin(remembered, allowed), LEAST), np.nan)
        spread = np.where(self._known > 0, self._spread, 1.0)  # a hang and nothing else: as unsure as one latency
        reach = np.exp(_Z90 * np.minimum(spread, _UNSURE))  # the error is relative, so the interval is too
        return Prediction(value=value, low=value / reach, high=value * reach, count=count)

    def resize(self, slots: int) -> None:
        """Have room for this many endpoints; new ones are not ready, and none is ever taken away."""
        more = slots - self._value.size
        if more > 0:
            for name in _ARRAYS:
                setattr(self, "_" + name, np.pad(getattr(self, "_" + name), (0, more)))

    def state(self) -> State:
        """What is remembered, a row per slot; a row of zeros is one never learned."""
        return {name: getattr(self, name) for name in _PARAMETERS} | {
            "now": self._now,
            **{name: getattr(self, "_" + name).copy() for name in _ARRAYS},
        }

    def restore(self, state: State) -> None:
        """Take up a state. ValueError, and unchanged, when slots or parameters are not these."""
        check_state(
            state,
            {name: getattr(self, "_" + name) for name in _ARRAYS},
            "now",
            **{name: getattr(self, name) for name in _PARAMETERS},
        )
        self._now = float(state["now"])
        for name in _ARRAYS:
            setattr(self, "_" + name, np.array(state[name], dtype=np.float64))


_PARAMETERS = ("error_exponent", "lanes", "memory_samples", "memory_half_life_s")
_ARRAYS = ("value", "spread", "known", "seen", "hanging", "ceiling")


def _sane(column: Floats, most: float = 1e9) -> Floats:
    """The column within 0 and `most`, and 0 where it is unknown or infinite."""
    return np.where(np.isfinite(column), np.clip(column, 0.0, most), 0.0)


def _relative_error(
    throughput: Floats,
    speed: Floats,
    lanes: float,
    latency_sd_s: Floats,
    success: Floats,
    samples: Floats,
    exponent: float,
) -> Floats:
    """Standard error of `(X + lanes/R) * success**k` over its value, by the delta method; an unknown 1/R adds none.

    X errs as a Poisson count does, 1/R by the spread of the latencies, the success share as a binomial one. Each is
    drawn towards the uncertain by one imagined sample (an exponential latency, half a failure), so that a single
    attempt does not look certain. `samples` is a decayed count, which is at most what it stands for: the interval is
    on the wide side.
    """
    n = samples + 1.0
    variation = (latency_sd_s * np.nan_to_num(speed)) ** 2
    of_speed = (samples * variation + 1.0) / n / n
    weight = np.divide(lanes * speed, throughput + lanes * speed, out=np.zeros_like(speed), where=np.isfinite(speed))
    failing = ((1.0 - success) * samples + 0.5) / n
    of_success = exponent**2 * failing / (1.0 - failing) / n
    return np.asarray(np.sqrt((1.0 - weight) ** 2 / n + weight**2 * of_speed + of_success))
