"""What is odd about a service as a whole: slow, failing, asked for far less or far more, soon to be asked too much.

All are tests of a change against what is usual of the service, with an effect size that matters in each: twice as slow,
failures in fifty (`brain.answers`), half or twice the traffic. Each tick is looked at by itself, against how such ticks
scatter: traffic comes in bursts. A burst or a lull may lie across two ticks, so what a tick is likely to repeat of the
one before is no evidence of its own: their covariance is learned, and added to the scatter as it adds to that of a sum.
What was not in sight is unknown: it is no drop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from brain.answers import YOUNG_S, Answers, failing_band, said_failing, said_slow, slow_band
from brain.explain import duration
from brain.findings import Finding, Stand, since_of
from models.base import check_state, known_or
from models.failing import Failing
from models.page import Page, other_mean
from models.usual import Usual

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dataplane.contract import Topology
    from features.columns import ServiceFeatures
    from models.base import Floats, Ints, State

Bools = NDArray[np.bool_]

HALF, TWICE = 0.5, 2.0
SWAYS, MOST_SWAY = 2.0, 0.35
"""Of what a service is asked: by so many of its deviations the mean over some seconds may lie beside the usual, at most
by the logarithm of 1.4, and the seconds scatter about that. Traffic that rises and falls by the minute is no news."""
BEGINS_S = 10.0
"""After a service is asked for the first time, until its traffic teaches what is usual: before that it is nobody's, and
its first seconds rise from nothing."""
MORE = 1.2
"""Times what is usual asked of a short service: then it is short because of that, else for another reason."""
FAST_S, SLOW_S = 10.0, 60.0
"""Half-lives between which a trend of traffic is seen."""
AHEAD_S = 300.0
"""A crossing of the capacity further ahead is no news yet."""
BUSY = 0.6
"""Of its capacity, below which no trend is believed to lead to saturation."""
HELD_S = 5.0
NEAR_S, LASTS = 60.0, 0.2
"""A trend has to have lasted `HELD_S` to be told of, and where the crossing is not near, this part of what is beyond:
traffic that rises for a minute falls again in the next, and the further ahead it is the more time there is to see."""
_EVIDENCE = 16.0


FOUND = ("ServiceShort", "ServiceFailing", "ServiceSlow", "TrafficDrop", "SaturationAhead", "TrafficSurge")


class ServiceWatch:
    """Of all service slots."""

    def __init__(self, slots: int) -> None:
        self._answers = Answers(slots)
        self._rate = Usual(slots, least_spread=0.05)  # of its logarithm, for bursts multiply
        self._sway = Usual(slots, least_spread=0.0)  # of the logarithm of its mean over `FAST_S`
        self._beside = Usual(slots, least_spread=0.0)  # of the product of how far two ticks in a row lie from that mean
        self._before = np.full(slots, np.nan)  # how far the last tick lay
        self._drop, self._surge = Page(slots, _EVIDENCE, most=8.0), Page(slots, _EVIDENCE, most=8.0)
        self._levels = np.full((2, slots), np.nan)  # of the rate, fast and slow
        self._asked_since = np.full(slots, np.inf)  # for the first time
        self._rises_since = np.full(slots, np.inf)
        self._short: Bools = np.zeros(slots, dtype=np.bool_)
        self._since: dict[tuple[str, int], float] = {}
        self._figures: dict[str, tuple[Floats, Floats]] = {}  # at the last tick
        self._at = -np.inf

    def look(
        self,
        felt: ServiceFeatures,
        asked_per_s: Floats,
        capacity: Floats,
        limited: Bools,
        topology: Topology,
        now: float,
    ) -> list[Finding]:
        """What is odd at this tick. `asked_per_s` and `capacity` by service slot; NaN for unknown.

        `limited`: whether a learned limit is in force, because the service is short.
        """
        self._resize(topology.service_slots)
        since_s = max(1e-9, now - self._at) if self._at > -np.inf else 1.0
        good, good_s = (a.sum(axis=1)[: topology.service_slots] for a in (felt.tick_good, felt.tick_good_s))
        latency, _, _ = self._answers.slower(good, good_s, now)
        share, usual_share = self._fails(felt, since_s)
        self._asked_since = np.where(asked_per_s > 0.0, np.minimum(self._asked_since, now), self._asked_since)
        begun = np.where(now - self._asked_since >= BEGINS_S, asked_per_s, np.nan)
        rate, usual_rate = self._traffic(begun, since_s, now)
        lead_s = self._saturation(begun, capacity, since_s, now)
        self._short = limited & (self._short | (asked_per_s > MORE * usual_rate))
        self._at = now
        odd = {
            "ServiceShort": self._short,
            "ServiceFailing": self._answers.failing.odd,
            "ServiceSlow": self._answers.slow.odd,
            "TrafficDrop": self._drop.odd,
            "SaturationAhead": now - self._rises_since >= np.fmax(HELD_S, LASTS * (lead_s - NEAR_S)),
            "TrafficSurge": self._surge.odd,
        }
        figures = {
            "ServiceShort": (asked_per_s, capacity),
            "ServiceFailing": (share, usual_share),
            "ServiceSlow": (latency, np.exp(self._answers.latency.mean)),
            "TrafficDrop": (rate, usual_rate),
            "SaturationAhead": (lead_s, capacity),
            "TrafficSurge": (rate, usual_rate),
        }
        self._figures = figures
        out = list(self._found(odd, figures, topology, now))
        self._since = {key: at for key, at in self._since.items() if odd[key[0]][key[1]]}
        return out

    def _fails(self, felt: ServiceFeatures, since_s: float) -> tuple[Floats, Floats]:
        """The share of failures lately, refusals by limits left out, and the usual one."""
        count = felt.tick_count.sum(axis=1)
        refused = felt.tick_refused.sum(axis=1)
        ended = np.stack([count - refused, felt.tick_failed.sum(axis=1) - refused])
        ended = np.maximum(ended[:, : self._short.size], 0.0)
        return self._answers.fails(ended[0], ended[1], since_s)

    def _traffic(self, asked_per_s: Floats, since_s: float, now: float) -> tuple[Floats, Floats]:
        """What is asked, and what is usual."""
        usual = np.exp(self._rate.mean)
        log = np.log(np.maximum(asked_per_s, 0.5 / since_s))
        repeats = 2.0 * np.maximum(known_or(self._beside.mean, 0.0), 0.0)
        bursts = np.sqrt(np.square(self._rate.spread) + repeats)
        scatter = np.maximum(bursts, np.maximum(usual * since_s, 1.0) ** -0.5)  # or Poisson's
        sways = np.minimum(SWAYS * self._sway.spread, MOST_SWAY)
        known = self._rate.known_s(now) >= YOUNG_S
        for page, times in ((self._drop, HALF), (self._surge, TWICE)):
            moved = np.sign(np.log(times)) * sways
            gain = other_mean(log, self._rate.mean + moved, scatter, np.log(times) - moved)
            page.learn_many(np.where(known, gain, np.nan))
        odd = self._drop.odd | self._surge.odd
        level = np.log(np.maximum(self._levels[0], 1e-3))
        apart = log - level
        self._beside.learn_many(apart * self._before, odd, now)
        self._before = apart
        self._sway.learn_many(level, odd, now)
        lasting = self._rate.learn_many(log, odd, now)
        for part in (self._sway, self._beside, self._drop, self._surge):
            part.forget(lasting)
        return asked_per_s, usual

    def _saturation(self, asked_per_s: Floats, capacity: Floats, since_s: float, now: float) -> Floats:
        """In how many seconds the trend crosses the capacity; NaN where it does not."""
        halves = np.array([[FAST_S], [SLOW_S]])
        part = 1.0 - 0.5 ** (since_s / halves)
        begun = np.isfinite(self._levels)
        moved = self._levels + part * (asked_per_s - self._levels)
        self._levels = np.where(np.isfinite(asked_per_s), np.where(begun, moved, asked_per_s), self._levels)
        fast, slow = self._levels
        slope = (fast - slow) * np.log(2.0) / (SLOW_S - FAST_S)  # a ramp is followed a half-life over ln 2 late
        scatter = np.maximum(np.sqrt(np.maximum(fast, 1.0)), self._rate.spread * fast)
        luck = 3.0 * scatter * np.sqrt(np.log(2.0) / (2.0 * FAST_S))
        with np.errstate(divide="ignore", invalid="ignore"):
            lead = (capacity - fast) / slope
        rises = (fast - slow > luck) & (fast > BUSY * capacity) & (lead < AHEAD_S)
        self._rises_since = np.where(rises, np.minimum(self._rises_since, now), np.inf)
        return np.where(rises, np.maximum(lead, 0.0), np.nan)

    def _found(
        self, odd: dict[str, Bools], figures: dict[str, tuple[Floats, Floats]], topology: Topology, now: float
    ) -> Iterator[Finding]:
        for kind, who in odd.items():
            for s in topology.services:
                if not who[s.id]:
                    continue
                since = self._since.setdefault((kind, s.id), now)
                value, usual = (float(np.nan_to_num(figure[s.id])) for figure in figures[kind])
                low, high, times, harm, said = _words(kind, value, usual)
                yield Finding(kind, s.name, since, value, low, high, times, harm, f"{s.name} {said}")

    def stands(self) -> dict[str, Stand]:
        """What each kind was judged by at the last tick, by service slot; nothing before the first one."""
        # That a trend will cross the capacity is seen by what is asked, as that it has.
        told = self._figures | {"SaturationAhead": self._figures["ServiceShort"]} if self._figures else {}
        return {kind: Stand(value, *usual_band(kind, usual)) for kind, (value, usual) in told.items()}

    def state(self) -> dict[str, State]:
        """Each part's state by service; the first axis of every array is services."""
        own: State = {f"since_{kind}": np.full(self._short.size, np.inf) for kind in FOUND}
        for (kind, service), at in self._since.items():
            own[f"since_{kind}"][service] = at
        own |= {"lately_fails": self._answers.lately.T.copy(), "levels": self._levels.T.copy()}
        own |= {name: getattr(self, f"_{name}").copy() for name in ("asked_since", "rises_since", "short")}
        return {name: part.state() for name, part in self._parts().items()} | {"own": own}

    def restore(self, state: Mapping[str, State], strangers: Ints, now: float) -> None:
        """Take up a state, but of `strangers` nothing is known. ValueError when it is of another shape."""
        one = np.zeros(self._short.size)
        pairs = {name: np.zeros((one.size, 2)) for name in ("lately_fails", "levels")}
        like = {f"since_{kind}": one for kind in FOUND} | {"rises_since": one, "short": one} | pairs
        own = state["own"]
        check_state(own, like)
        for name, part in self._parts().items():
            if name in state or name != "beside":  # a state from before that was kept has none
                part.restore(state[name], now)
            part.forget(strangers)
        self._answers.lately, self._levels = own["lately_fails"].T.copy(), own["levels"].T.copy()
        self._answers.lately[:, strangers], self._levels[:, strangers] = 0.0, np.nan
        self._rises_since, self._short = own["rises_since"].copy(), own["short"].astype(np.bool_)
        self._rises_since[strangers], self._short[strangers] = np.inf, False
        known = np.where(self._rate.known_s(now) > 0.0, -np.inf, np.inf)  # for a state from before that was kept
        self._asked_since = np.array(own.get("asked_since", known), dtype=np.float64)
        self._asked_since[strangers] = np.inf
        self._since = since_of(own, FOUND, strangers)
        self._at = now

    def _parts(self) -> dict[str, Usual | Page | Failing]:
        parts: dict[str, Usual | Page | Failing] = {**self._answers.parts(), "rate": self._rate, "sway": self._sway}
        return parts | {"beside": self._beside, "drop": self._drop, "surge": self._surge}

    def _resize(self, slots: int) -> None:
        more = max(slots - self._rises_since.size, 0)
        if not more:
            return
        for part in (self._answers, self._rate, self._sway, self._beside, self._drop, self._surge):
            part.resize(slots)
        self._before = np.pad(self._before, (0, more), constant_values=np.nan)
        self._levels = np.pad(self._levels, ((0, 0), (0, more)), constant_values=np.nan)
        self._asked_since = np.pad(self._asked_since, (0, more), constant_values=np.inf)
        self._rises_since = np.pad(self._rises_since, (0, more), constant_values=np.inf)
        self._short = np.pad(self._short, (0, more))


def usual_band(kind: str, usual: Floats) -> tuple[Floats, Floats]:
    """Between what a figure of this kind would be usual; `usual` is what it is held against."""
    if kind == "ServiceFailing":
        return failing_band(usual)
    if kind == "ServiceSlow":
        return slow_band(usual)
    if kind in ("ServiceShort", "SaturationAhead"):
        return np.zeros_like(usual), usual
    return HALF * usual, TWICE * usual


def _words(kind: str, value: float, usual: float) -> tuple[float, float, float, float, str]:
    """The usual band, times, harm and words."""
    low, high = map(float, usual_band(kind, np.array(usual)))
    times, harm = 1.0, 0.0
    if kind == "ServiceFailing":
        said, times, harm = said_failing(value, usual), value / usual, value
    elif kind == "ServiceSlow":
        said, harm = said_slow(value, usual), 1.0
        times = value / usual if usual > 0 else 1.0
    elif kind == "ServiceShort":
        said = f"is asked {value:.0f} times a second and bears {usual:.0f}"
        times, harm = value / usual if usual > 0 else 1.0, max(0.0, 1.0 - usual / max(value, 1e-9))
    elif kind == "SaturationAhead":
        said = f"will be asked more than the {usual:.0f} a second that it bears, in {duration(value)} as traffic rises"
    else:
        said = f"is asked {value:.0f} times a second, usually {usual:.0f}"
        if kind == "TrafficDrop":
            return low, high, usual / max(value, 1e-9), max(0.0, 1.0 - value / max(usual, 1e-9)), said
        return low, high, value / max(usual, 1e-9), 0.0, said
    return low, high, max(times, 1.0), harm, said
