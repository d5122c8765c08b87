"""What became of the requests of one run, counted window by window, so that memory does not grow with the recording.

Latencies are counted in bins (`weirflow.whatif.spread`). The windows are the blocks of the bootstrap: requests within
one share their luck, so windows are drawn again, and not requests (the block bootstrap: Kuensch 1989), together with
the seeds. All runs of a question have the same windows, so two policies are compared over the same draws.

A latency is what the user felt, to the last byte or to giving up. In an answer a request that failed counts with the
timeout, in every quantile and mean, as in the lab: a policy cannot look fast by failing. Held against a recording it
counts as it was felt, for that is what was recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Arm, Outcome
from dataplane.simulated.fleet import Bools, Fleet, Floats, Ints
from dataplane.simulated.tried import Tried
from weirflow.whatif.change import Span
from weirflow.whatif.spread import BINS, bin_of, quantiles_s, seen_in
from weirflow.whatif.world import Seen

MOST_MET = 257
"""Who finds more at an endpoint counts as finding so many: no number of workers above that is told apart."""
MOST_WINDOWS = 120
WINDOW_S = 5.0
"""Longer than a queue remembers."""
FEWEST_WINDOWS = 6
"""With fewer than this no interval is told."""
DRAWS = 400
QUANTILES = {"p50_s": 0.5, "p90_s": 0.9, "p99_s": 0.99, "p999_s": 0.999}
SHARES = ("failed", "refused", "timed_out")


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """W windows over a span, E endpoints."""

    span: Span
    patience_s: float  # the longest timeout
    requests: Ints  # (W,)
    failed: Ints  # (W,) without a good answer in time
    refused: Ints  # (W,) by a limit, or with nobody to ask: an answer of the proxy's own
    timed_out: Ints  # (W,)
    latency_s: Floats  # (W,) summed, as felt
    good_s: Floats  # (W,) the same of good answers alone
    bins: Ints  # (W, BINS) of latencies as felt
    good_bins: Ints  # (W, BINS) of good answers
    attempts: Ints  # (W, E) at endpoints
    retries: Ints  # (W,)
    busy_s: Floats  # (W, E) of workers
    adaptive: Ints  # (W,) served by the adaptive arm
    met: Ints  # (W, MOST_MET + 1) attempts by how many they found at their endpoint

    @classmethod
    def empty(cls, span: Span, endpoints: int, patience_s: float) -> Tally:
        """Nothing counted yet."""
        w = windows(span)

        def counts(*more: int) -> Ints:
            return np.zeros((w, *more), np.int64)

        def sums(*more: int) -> Floats:
            return np.zeros((w, *more))

        return cls(
            span,
            patience_s,
            requests=counts(),
            failed=counts(),
            refused=counts(),
            timed_out=counts(),
            latency_s=sums(),
            good_s=sums(),
            bins=counts(BINS),
            good_bins=counts(BINS),
            attempts=counts(endpoints),
            retries=counts(),
            busy_s=sums(endpoints),
            adaptive=counts(),
            met=counts(MOST_MET + 1),
        )

    def learn(self, tried: Tried, work_s: Floats) -> None:
        """Count attempts that have ended, and the requests that ended with them. `work_s`: a worker's time for each.

        A request counts in the window in which it began.
        """
        last = tried.take(tried.last)
        window, inside = self._window(last.at_s + last.duration_s - last.felt_s)
        w = len(self.requests)
        late_s, good, status = last.felt_s[inside], last.good[inside], last.status[inside]
        outcome = last.outcome[inside]
        self.requests[:] += np.bincount(window, minlength=w)
        self.latency_s[:] += np.bincount(window, late_s, minlength=w)
        self.good_s[:] += np.bincount(window[good], late_s[good], minlength=w)
        place = bin_of(late_s)
        _count(self.bins, window, place)
        _count(self.good_bins, window[good], place[good])
        refused = np.isin(outcome, (Outcome.REJECTED, Outcome.UNREACHED)) & (status != 0)
        adaptive = last.arm[inside] == Arm.ADAPTIVE
        for counts, of in (
            (self.failed, ~good),
            (self.refused, ~good & refused),
            (self.timed_out, ~good & np.isin(status, (0, 504))),
            (self.adaptive, adaptive),
        ):
            counts[:] += np.bincount(window[of], minlength=w)
        self._attempts(tried, work_s)

    @property
    def seen(self) -> Seen:
        """What the users of the span felt, in all."""
        return seen_in(self.bins.sum(axis=0), int(self.requests.sum()), int(self.failed.sum()))

    @property
    def charged_bins(self) -> Ints:
        """Latencies with the timeout for whoever failed. Shape (W, BINS)."""
        out = self.good_bins.copy()
        out[:, int(bin_of(np.array([self.patience_s]))[0])] += self.failed
        return out

    @property
    def charged_s(self) -> Floats:
        """The same, summed. Shape (W,)."""
        return np.asarray(self.good_s + self.failed * self.patience_s)

    def _attempts(self, tried: Tried, work_s: Floats) -> None:
        window, inside = self._window(tried.at_s)
        endpoint, number = tried.endpoint[inside], tried.attempt[inside]
        known, (w, many) = endpoint >= 0, self.attempts.shape
        place = window[known] * many + endpoint[known]
        self.attempts[:] += np.bincount(place, minlength=w * many).reshape(w, many)
        self.busy_s[:] += np.bincount(place, work_s[inside][known], minlength=w * many).reshape(w, many)
        self.retries[:] += np.bincount(window[known & (number > 1)], minlength=w)
        _count(self.met, window[known], np.minimum(tried.met[inside][known], MOST_MET))

    def within(self, fleet: Fleet) -> Tally:
        """The same with nobody busier than all the time: who waited to the end may be counted as work."""
        most_s = fleet.workers * self.span.lasts_s / len(self.requests)
        return replace(self, busy_s=np.minimum(self.busy_s, most_s))

    def _window(self, at_s: Floats) -> tuple[Ints, Bools]:
        inside = np.asarray((at_s >= self.span.start_s) & (at_s < self.span.end_s))
        share = (at_s[inside] - self.span.start_s) / max(self.span.lasts_s, 1e-9)
        w = len(self.requests)
        return np.minimum((share * w).astype(np.int64), w - 1), inside


def _count(table: Ints, row: Ints, column: NDArray[np.integer]) -> None:
    """One more in each of these cells. By one flat index: by a pair of them it takes ten times as long."""
    np.add.at(table.reshape(-1), row * table.shape[1] + column, 1)


def windows(span: Span) -> int:
    """How many a span has: of five seconds or more, and not too many."""
    return int(np.clip(span.lasts_s // WINDOW_S, 1, MOST_WINDOWS))


def figures(tallies: Sequence[Tally], draws: Floats | None = None, *, felt: bool = False) -> dict[str, Floats]:
    """Every figure of a policy, from its runs, one for each seed. Each of shape (D,).

    `draws` of shape (D, S, W) says how often each window of each seed counts; without it D is 1 and each counts once.
    `felt`: who failed counts as it was felt, and not with the timeout.
    """
    one = np.ones((1, len(tallies), len(tallies[0].requests)))
    of = (one if draws is None else draws).reshape(-1, one.size)
    runs = float(len(tallies))

    def summed(name: str) -> Floats:
        return np.asarray(of @ np.concatenate([getattr(t, name) for t in tallies]).astype(np.float64))

    requests = summed("requests")
    bins = np.concatenate([t.bins if felt else t.charged_bins for t in tallies])
    used = np.flatnonzero(bins.any(axis=0)) if bins.any() else np.zeros(1, np.int64)
    first, last = int(used[0]), int(used[-1]) + 1
    drawn = of @ bins[:, first:last].astype(np.float64)
    out = dict(zip(QUANTILES, quantiles_s(drawn, *QUANTILES.values(), first=first), strict=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        out["mean_s"] = summed("latency_s" if felt else "charged_s") / requests
        out |= {name: summed(name) / requests for name in SHARES}
        out["retries"] = summed("retries") / requests
    out["attempts"] = summed("attempts").sum(axis=1) / runs
    out["busy_s"] = summed("busy_s").sum(axis=1) / runs
    return out


def draws(seeds: int, many: int, random: np.random.Generator) -> Floats | None:
    """How often each window of each seed counts in each of `DRAWS` draws; None where there is too little to draw from.

    The windows drawn are the same in every seed, for the requests are.
    """
    if many < FEWEST_WINDOWS:
        return None
    of_seed = random.multinomial(seeds, np.full(seeds, 1.0 / seeds), size=DRAWS)
    of_window = random.multinomial(many, np.full(many, 1.0 / many), size=DRAWS)
    return np.asarray(of_seed[:, :, None] * of_window[:, None, :], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval; None where none can be told."""

    value: float | None
    low: float | None = None
    high: float | None = None


def interval(value: float, drawn: Floats | None, *, of: float = inf) -> Interval:
    """By the quantiles of what the draws gave. A share that was 0 of so many may be up to three of them."""
    if not np.isfinite(value):
        return Interval(None)
    if value == 0.0 and of < inf:
        return Interval(0.0, 0.0, min(1.0, 3.0 / max(of, 1.0)))
    if drawn is None or not np.isfinite(drawn).all():
        return Interval(float(value))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(value), float(low), float(high))


def against(own: Mapping[str, Floats], base: Mapping[str, Floats], name: str) -> Floats:
    """How far a figure is from the base's: a ratio less 1 for times, a plain difference for shares."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(own[name] / base[name] - 1.0 if name.endswith("_s") else own[name] - base[name])
