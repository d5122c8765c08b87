"""What finished attempts say of each endpoint: how many, how good, how fast, lately.

By outcome: OK, ERROR and TIMEOUT teach about the endpoint; UNREACHED counts among its failures and has no latency;
REJECTED (our own limit) and CANCELLED (the client left) touch no endpoint's figure. Latency is the duration of OK
attempts, whole body included: a fast failure must not look fast, and a trickled body must not look quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Outcome
from features.columns import EndpointFeatures, Floats, Ints
from features.failures import Failures
from models.base import State, check_state
from models.decay import DecayedSums, ForwardDecay, When
from models.sketch import QuantileSketch

if TYPE_CHECKING:
    from features.speeds import Known
    from features.together import Attempts

TEACHES = np.array([o in (Outcome.OK, Outcome.ERROR, Outcome.TIMEOUT, Outcome.UNREACHED) for o in Outcome])
"""By Outcome: does such an attempt say anything of its endpoint."""

UNLIKE = 1.5
"""Mean square over the mean of what requests cost from which the slow ones explain a silence."""
FORGOTTEN = 0.01
"""With less than this decayed count behind it, a figure is unknown."""

_FINISHED, _OK, _LATENCY, _LATENCY_SQ = range(4)


class EndpointTally:
    """Decayed figures of `slots` endpoints. Ids outside the slots, like -1, are passed over."""

    def __init__(self, slots: int, half_life_s: float) -> None:
        self._sums = DecayedSums(4, slots, half_life_s)
        self._failures = Failures(slots)
        self._sketch = QuantileSketch(slots, half_life_s)
        self._total = np.zeros(slots, dtype=np.int64)
        self._failed = np.zeros(slots, dtype=np.int64)
        self._joined = np.full(slots, np.nan)
        self._last = np.full(slots, -np.inf)

    def begin(self, endpoints: Ints, now: float) -> None:
        """These endpoints joined just now; they have no history."""
        self._sums.begin(endpoints, now)
        self._failures.begin(endpoints)
        self._sketch.clear(endpoints)
        self._total[endpoints] = self._failed[endpoints] = 0
        self._joined[endpoints] = now
        self._last[endpoints] = -np.inf

    @property
    def decays(self) -> tuple[ForwardDecay, ...]:
        """By which what was told is weighed."""
        return self._sums.decay, self._sketch.decay

    def told(self, batch: Attempts, when: When) -> tuple[NDArray[np.int32], When]:
        """Fold finished attempts in. Returns endpoint and time of those that taught something, one for each."""
        endpoint, outcome, duration = batch.endpoint, batch.outcome, batch.duration_s
        ok = outcome == Outcome.OK
        taught = TEACHES[outcome] & (endpoint >= 0) & (endpoint < self._total.size)
        taught &= ~ok | ((duration >= 0) & (duration < np.inf))  # the decoder refuses such rows; so do we
        if not taught.all():
            endpoint, duration, ok, when = endpoint[taught], duration[taught], ok[taught], when.take(taught)
        taught_at = when
        self._sums.add(_FINISHED, endpoint, 1.0, when)
        self._failures.told(endpoint, ~ok, when)
        np.add.at(self._total, endpoint, 1)
        self._last[endpoint] = when.s  # of several the last one stands
        good, took = endpoint, duration.astype(np.float64)
        if not ok.all():
            np.add.at(self._failed, endpoint[~ok], 1)
            good, took, when = endpoint[ok], took[ok], when.take(ok)
        self._sums.add_each((_OK, _LATENCY, _LATENCY_SQ), good, (1.0, took, took * took), when)
        self._sketch.add(good, took, when)
        return endpoint, taught_at

    def freeze(
        self, now: float, service_of: Ints, in_flight: Floats, stuck_s: Floats, known: Known
    ) -> EndpointFeatures:
        """The figures at `now`, for the endpoints of a service; NaN or 0 for the rest. Changes nothing."""
        live = service_of >= 0
        finished, ok, latency, latency_sq = self._sums.at(now)
        window = self._sums.window_s(now)
        p50, p90, p99 = self._sketch.quantiles((0.5, 0.9, 0.99))
        level = known.level
        settled_share, settled = self._failures.freeze(now)
        counted = live & (finished >= FORGOTTEN)
        answered = live & (ok >= FORGOTTEN)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(answered, latency / ok, np.nan)
            variance = np.maximum(latency_sq / ok - mean * mean, 0.0)
            error_share = np.where(counted, np.clip(1.0 - ok / finished, 0.0, 1.0), np.nan)
        return EndpointFeatures(
            rate_per_s=np.where(live, finished / window, 0.0),
            ok_per_s=np.where(live, ok / window, 0.0),
            error_share=error_share,
            latency_s=mean,
            latency_sd_s=np.sqrt(variance),
            p50_s=np.where(answered, p50, np.nan),
            p90_s=np.where(answered, p90, np.nan),
            p99_s=np.where(answered, p99, np.nan),
            samples=np.where(live, finished, 0.0),
            total=np.where(live, self._total, 0),
            failed=np.where(live, self._failed, 0),
            in_flight=np.where(live, in_flight, np.nan),
            stuck_s=np.where(live, stuck_s, 0.0),
            age_s=np.where(live, now - self._joined, np.nan),
            quiet_s=np.where(live, now - self._last, np.inf),
            level_s=level.mean_s,
            work_share=known.work_share,
            lanes=known.lanes,
            slow_s=slowest(p99, known.unlike, service_of),
            level_error=level.error,
            level_count=level.count,
            tick_good=level.tick_good,
            tick_log_work=level.tick_log_work,
            changed=level.changed,
            noted=level.noted,
            disputed=level.disputed,
            settled_error_share=np.where(live, settled_share, np.nan),
            settled_samples=np.where(live, settled, 0.0),
        )

    def resize(self, slots: int) -> None:
        """Have room for this many endpoints; new ones have to `begin`."""
        more = slots - self._total.size
        if more > 0:
            self._sums.resize(slots)
            self._failures.resize(slots)
            self._sketch.resize(slots)
            self._total, self._failed = (np.pad(a, (0, more)) for a in (self._total, self._failed))
            self._joined = np.pad(self._joined, (0, more), constant_values=np.nan)
            self._last = np.pad(self._last, (0, more), constant_values=-np.inf)

    def state(self) -> dict[str, State]:
        """Each part's state; the first axis of every array is endpoints."""
        own = {"total": self._total, "failed": self._failed, "joined": self._joined, "last": self._last}
        return {
            "sums": self._sums.state(),
            "failures": self._failures.state(),
            "sketch": self._sketch.state(),
            "own": {name: array.copy() for name, array in own.items()},
        }

    def restore(self, state: dict[str, State], left: float, now: float) -> None:
        """Take up a state kept at `left`: what it holds has decayed since. ValueError when it is of another shape."""
        own = state["own"]
        own = {"failed": np.zeros_like(own["total"]), **own}  # older states have none
        like = {"total": self._total, "failed": self._failed, "joined": self._joined, "last": self._last}
        check_state(own, like)
        self._sums.restore(state["sums"])
        self._failures.restore(state["failures"], left, now)
        self._sketch.restore(state["sketch"])
        self._sums.resume(left, now)
        self._sketch.resume(left, now)
        self._total, self._failed = own["total"].copy(), own["failed"].copy()
        self._joined, self._last = np.minimum(own["joined"], now), np.minimum(own["last"], now)


def slowest(p99_s: Floats, unlike: Floats, service_of: Ints) -> Floats:
    """What the slowest in a hundred requests take at the middle endpoint of each one's service. Shape (slots,).

    0 where all cost alike (`unlike` as of `features.classes`, by endpoint), and where nothing is known.
    """
    out = np.zeros(p99_s.size)
    known = (service_of >= 0) & (unlike >= UNLIKE) & np.isfinite(p99_s)
    for service in np.unique(service_of[known]):
        out[service_of == service] = np.median(p99_s[known & (service_of == service)])
    return out
