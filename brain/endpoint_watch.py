"""What is odd about an endpoint: slow against its peers and its own past, failing, hanging.

**Slow.** Endpoints may be unlike for good, and all of a service may slow down together; neither is news. So it is the
logarithm of an endpoint's latency over the middle of its service that is watched, against what that ratio usually is
(`models.usual`). It is odd from when a change by about twice was found (`features.levels`, seconds), or when it has
drifted so far that no uncertainty excuses it, and until it is near the usual again.

**Failing.** Two in a hundred, or three times what is usual (`models.failing`).

**Hanging.** Requests are open and none has ended for so long that at its own rate a dozen should have, or far longer
than one takes; where some cost far more than others, longer than such a one takes.

With fewer than `FEWEST` peers nobody can say whose ratio changed, and what is odd is the service's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from brain.explain import duration, percent
from brain.findings import Finding, Stand, since_of
from models.base import check_state
from models.failing import Failing, limit
from models.usual import Usual

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dataplane.contract import Topology
    from features.columns import EndpointFeatures
    from models.base import Floats, Ints, State

Bools = NDArray[np.bool_]

FEWEST = 3
SLOW_BY_DRIFT, AS_USUAL = np.log(1.6), np.log(1.25)
"""Of the ratio to its usual: from where it is odd without a found change, and where all is well again."""
YOUNG_S = 30.0
"""For so long what an endpoint usually does is hardly known, and a change from it may be none."""
SHOWS_S = 20.0
"""After a change was found, until the level shows it: it is a mean over such a time."""
USUAL_TIMES = 1.4
"""So far from its usual a latency is still told as usual."""
SURELY = 3.5
"""Standard errors by which a drift must exceed that."""
HELD_S = 2.0
QUIET_AFTER_S = 30.0
"""After an endpoint is well again a drift is not looked for: its level is still coming down."""
HEALED = np.log(2.2)
"""When a change for the better was found, the rest of a level this high is what it was before."""
HANGS_S, HANGS_TIMES, HANGS_OPEN, HANGS_MISSING = 1.0, 20.0, 2.0, 12.0
_EVIDENCE = 15.0


FOUND = ("EndpointHangs", "EndpointFailing", "EndpointSlow")


class EndpointWatch:
    """Of all endpoint slots."""

    def __init__(self, slots: int) -> None:
        self._ratio = Usual(slots, least_spread=0.05)
        self._slow: Bools = np.zeros(slots, dtype=np.bool_)
        self._found_at = np.full(slots, -np.inf)  # when a change was found
        self._hangs: Bools = np.zeros(slots, dtype=np.bool_)
        self._drifts_since = np.full(slots, np.inf)
        self._well_at = np.full(slots, -np.inf)
        self._failing = Failing(slots, _EVIDENCE)
        self._total = np.zeros((2, slots))  # at the tick before
        self._since: dict[tuple[str, int], float] = {}
        self._stands: dict[str, tuple[Floats, Floats]] = {}  # values and what is usual, at the last tick
        self._at = -np.inf

    def look(self, seen: EndpointFeatures, topology: Topology, now: float) -> list[Finding]:
        """What is odd at this tick."""
        self._resize(topology.endpoint_slots)
        service_of = topology.service_of
        ratio = np.log(seen.level_s) - middles(np.log(seen.level_s), service_of, FEWEST)
        apart = self._slower(ratio, seen, now)
        share, usual_share = self._fails(seen, now)
        self._at = now
        missing = seen.stuck_s * seen.rate_per_s > HANGS_MISSING
        long = (seen.stuck_s > HANGS_TIMES * seen.level_s) & (seen.in_flight >= HANGS_OPEN)
        late = seen.stuck_s > np.maximum(HANGS_S, seen.slow_s)
        hangs = self._hangs = late & (missing | long | self._hangs)
        self._stands = {
            "EndpointHangs": (seen.stuck_s, seen.level_s),
            "EndpointFailing": (share, usual_share),
            "EndpointSlow": (seen.level_s, apart),
        }
        odd = {"EndpointHangs": hangs, "EndpointFailing": self._failing.odd, "EndpointSlow": self._slow}
        which = np.flatnonzero((hangs | self._failing.odd | self._slow) & (service_of >= 0)).tolist()
        out = list(self._found(which, odd, seen, topology, apart, share, usual_share, now)) if which else []
        self._since = {key: at for key, at in self._since.items() if odd[key[0]][key[1]]}
        return out

    def _slower(self, ratio: Floats, seen: EndpointFeatures, now: float) -> Floats:
        """Who is slow now. Returns by how much each lies above its usual, as a logarithm; NaN where unknown."""
        apart = ratio - self._ratio.mean
        known = np.isfinite(apart) & (self._ratio.known_s(now) >= YOUNG_S)
        far = known & (apart - SURELY * seen.level_error > SLOW_BY_DRIFT) & (now - self._well_at > QUIET_AFTER_S)
        self._drifts_since = np.where(far, np.minimum(self._drifts_since, now), np.inf)
        found = known & (seen.noted > 0) & (apart > 0)
        self._found_at = np.where(found, now, self._found_at)
        on = found | (now - self._drifts_since >= HELD_S)
        shows = now - self._found_at > SHOWS_S
        off = known & ((apart < AS_USUAL) & shows | (seen.noted < 0) & (apart < HEALED))
        self._well_at = np.where(self._slow & off, now, self._well_at)
        self._slow = (self._slow | on) & ~off
        lasting = self._ratio.learn_many(ratio, self._slow, now)
        self._slow &= ~lasting
        return apart

    def _fails(self, seen: EndpointFeatures, now: float) -> tuple[Floats, Floats]:
        """Who fails now. Returns the share of failures lately, and the usual one."""
        total = np.stack([seen.total, seen.failed]).astype(np.float64)
        count, failed = np.maximum(total - self._total, 0.0) if self._at > -np.inf else np.zeros_like(total)
        self._total = total
        usual = self._failing.learn_many(count, failed, max(0.0, now - self._at) if self._at > -np.inf else 0.0)
        return np.fmax(seen.error_share, seen.settled_error_share), usual

    def _found(
        self,
        which: list[int],
        odd: dict[str, Bools],
        seen: EndpointFeatures,
        topology: Topology,
        apart: Floats,
        share: Floats,
        usual_share: Floats,
        now: float,
    ) -> Iterator[Finding]:
        services = {s.id: s for s in topology.services}
        rates = np.bincount(np.maximum(topology.service_of, 0), seen.rate_per_s, topology.service_slots)
        members = {e.id: e for s in topology.services for e in s.endpoints}
        for i in which:
            service, e = services[int(topology.service_of[i])], members[i]
            part = max(float(seen.rate_per_s[i]) / max(float(rates[service.id]), 1e-9), 1.0 / len(service.endpoints))
            for kind, who in odd.items():
                if not who[i]:
                    continue
                since = self._since.setdefault((kind, i), now)
                value, low, high, times, said = self._words(kind, i, seen, apart, share, usual_share)
                harm = part * (min(1.0, value) if kind == "EndpointFailing" else 1.0)
                yield Finding(
                    kind, service.name, since, value, low, high, times, harm, f"{e.address} {said}", e.address, e.zone
                )

    def _words(
        self, kind: str, i: int, seen: EndpointFeatures, apart: Floats, share: Floats, usual_share: Floats
    ) -> tuple[float, float, float, float, str]:
        """Value, the usual band, times and words."""
        if kind == "EndpointHangs":
            silent, takes = float(seen.stuck_s[i]), float(np.nan_to_num(seen.level_s[i]))
            said = f"has {seen.in_flight[i]:.0f} requests open and none ended for {duration(silent)}"
            return silent, 0.0, HANGS_TIMES * takes, silent / max(takes, 1e-3), said
        if kind == "EndpointFailing":
            value, usual = float(np.nan_to_num(share[i])), float(usual_share[i])
            said = f"fails {percent(value)} of its attempts, usually {percent(usual)}"
            return value, 0.0, float(limit(usual_share[i])), max(value / usual, 1.0), said
        value, by = float(seen.level_s[i]), float(np.exp(np.nan_to_num(apart[i])))
        usual = value / by
        said = f"takes {duration(value)}, usually {duration(usual)} beside its peers as they are now"
        return value, usual / USUAL_TIMES, usual * USUAL_TIMES, max(by, 1.0), said

    def stands(self) -> dict[str, Stand]:
        """What each kind was judged by at the last tick, by endpoint slot; nothing before the first one."""
        out = {}
        for kind, (value, other) in self._stands.items():
            low, high = np.zeros_like(value), HANGS_TIMES * other
            if kind == "EndpointFailing":
                high = limit(other)
            elif kind == "EndpointSlow":
                usual = value / np.exp(other)
                low, high = usual / USUAL_TIMES, usual * USUAL_TIMES
            out[kind] = Stand(value, low, high)
        return out

    def state(self) -> dict[str, State]:
        """Each part's state by endpoint; the first axis of every array is endpoints. Who hangs is seen anew."""
        own: State = {f"since_{kind}": np.full(self._slow.size, np.inf) for kind in FOUND}
        for (kind, endpoint), at in self._since.items():
            own[f"since_{kind}"][endpoint] = at
        own |= {name: getattr(self, f"_{name}").copy() for name in ("slow", "found_at", "drifts_since", "well_at")}
        own["total"] = self._total.T.copy()
        return {"ratio": self._ratio.state(), "failing": self._failing.state(), "own": own}

    def restore(self, state: Mapping[str, State], strangers: Ints, now: float) -> None:
        """Take up a state, but of `strangers` nothing is known. ValueError when it is of another shape."""
        one, own = np.zeros(self._slow.size), state["own"]
        names = ("slow", "found_at", "drifts_since", "well_at", *(f"since_{kind}" for kind in FOUND))
        check_state(own, dict.fromkeys(names, one) | {"total": np.zeros((one.size, 2))})
        for part, kept in ((self._ratio, state["ratio"]), (self._failing, state["failing"])):
            part.restore(kept, now)
            part.forget(strangers)
        self._slow, self._total = own["slow"].astype(np.bool_), own["total"].T.copy()
        self._found_at, self._drifts_since = own["found_at"].copy(), own["drifts_since"].copy()
        self._well_at = own["well_at"].copy()
        self._slow[strangers], self._total[:, strangers] = False, 0.0
        self._found_at[strangers] = self._well_at[strangers] = -np.inf
        self._drifts_since[strangers] = np.inf
        self._since = since_of(own, FOUND, strangers)
        self._at = now

    def _resize(self, slots: int) -> None:
        more = max(slots - self._slow.size, 0)
        if not more:
            return
        self._ratio.resize(slots)
        self._failing.resize(slots)
        self._slow = np.pad(self._slow, (0, more))
        self._hangs = np.pad(self._hangs, (0, more))
        self._found_at = np.pad(self._found_at, (0, more), constant_values=-np.inf)
        self._drifts_since = np.pad(self._drifts_since, (0, more), constant_values=np.inf)
        self._well_at = np.pad(self._well_at, (0, more), constant_values=-np.inf)
        self._total = np.pad(self._total, ((0, 0), (0, more)))


def middles(values: Floats, group: Ints, fewest: int) -> Floats:
    """The median of each row's group, of what is known; NaN in a group of fewer, and where `group` is negative."""
    known = np.isfinite(values) & (group >= 0)
    out = np.full(values.size, np.nan)
    if not known.any():
        return out
    rows = np.flatnonzero(known)
    rows = rows[np.lexsort((values[rows], group[rows]))]
    count = np.bincount(group[rows])
    begin = np.concatenate([[0], np.cumsum(count)[:-1]])
    enough = np.flatnonzero(count >= fewest)
    low, high = (values[rows[begin[enough] + (count[enough] - 1 + odd) // 2]] for odd in (0, 1))
    by_group = np.full(count.size, np.nan)
    by_group[enough] = 0.5 * (low + high)
    inside = (group >= 0) & (group < count.size)
    out[inside] = by_group[group[inside]]
    return out
