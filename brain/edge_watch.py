"""What is odd between a caller and a service: its requests are slow, or fail, while those of other callers are not.

A caller that sends what the service cannot answer, proxies of a caller's own that are in trouble, a network between two
zones: the service is well, and so is each of its endpoints to all others. An edge is watched as a service is
(`brain.answers`), against its own last minutes; and it is found only when it is odd alone (`models.alone`): what all
callers suffer is the service's, and who calls alone is the service.

The others are held against what is usual of each of them, so that it does not matter that callers ask for unlike
things, or that the mix of them changes. An edge of which nothing was heard for `SILENT_S` is unknown, and nothing is
told of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from brain.answers import SLOWER, Answers, failing_band, said_failing, said_slow, slow_band
from brain.findings import Finding, since_of
from models.alone import SURELY, Alone, others
from models.base import check_state
from models.failing import Failing, gains, usual_share
from models.page import Bools, Page, other_mean
from models.usual import Usual

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dataplane.contract import Topology
    from features.columns import EdgeFeatures
    from models.base import Floats, Ints, State

SILENT_S = 30.0
MOST = 7.0 / 16.0 * SURELY
"""As which a tick's latency of the others counts at most, as in the pair's own test: it takes three ticks to settle it,
for the few of one may have been quick together."""
NONE = np.zeros(0, dtype=np.int64)

FOUND = ("EdgeFailing", "EdgeSlow")


class EdgeWatch:
    """Of all pairs of a caller and a service that were ever heard of: a slot each, in that order."""

    def __init__(self, pairs: Sequence[tuple[str, str]] = ()) -> None:
        many = len(pairs)
        self.pairs = list(pairs)
        self._slots = {pair: slot for slot, pair in enumerate(pairs)}
        self._answers = Answers(many)
        self._slow = Alone(many)
        self._failing = tuple(Alone(many) for _ in self._answers.failing.pages)
        self._others_fail = Page(many, SURELY, SURELY)
        self._heard_at = np.full(many, -np.inf)
        self._since: dict[tuple[str, int], float] = {}
        self._at = -np.inf

    def look(self, seen: EdgeFeatures, topology: Topology, now: float) -> list[Finding]:
        """What is odd at this tick."""
        ended, failed, good, good_s = self._ticked(seen, {s.id: s.name for s in topology.services})
        if not self.pairs:
            return []
        ids = {s.name: s.id for s in topology.services}
        service = np.array([ids.get(callee, topology.service_slots) for _, callee in self.pairs], dtype=np.int64)
        since_s, self._at = max(1e-9, now - self._at) if self._at > -np.inf else 1.0, now
        self._heard_at[ended > 0] = now
        latency, slow = self._slower(good, good_s, service, now)
        share, usual, fails = self._fails(ended, failed, service, since_s)
        heard = (now - self._heard_at < SILENT_S) & (service < topology.service_slots)
        odd = {"EdgeFailing": fails & heard, "EdgeSlow": slow & heard}
        self._since = {key: at for key, at in self._since.items() if odd[key[0]][key[1]]}
        if not (odd["EdgeFailing"] | odd["EdgeSlow"]).any():
            return []
        asked = self._answers.lately[0]
        part = asked / np.maximum(np.bincount(service, asked)[service], 1e-9)
        figures = {"EdgeFailing": (share, usual), "EdgeSlow": (latency, np.exp(self._answers.latency.mean))}
        return list(self._found(odd, figures, part, now))

    def _ticked(self, seen: EdgeFeatures, names: Mapping[int, str]) -> Floats:
        """What ended in this tick, by slot: all, those that failed, those that did not, and the seconds of those."""
        rows = [row for row, service in enumerate(seen.service.tolist()) if service in names]
        callers, callees = seen.caller[rows].tolist(), seen.service[rows].tolist()
        pairs = [(seen.callers[c], names[s]) for c, s in zip(callers, callees, strict=True)]
        new = [pair for pair in pairs if pair not in self._slots]
        if new:
            self._slots |= {pair: slot for slot, pair in enumerate(new, len(self.pairs))}
            self.pairs += new
            self._resize(len(self.pairs))
        out = np.zeros((4, len(self.pairs)))
        out[:, [self._slots[pair] for pair in pairs]] = np.stack([seen.ended, seen.failed, seen.good, seen.good_s])[
            :, rows
        ]
        return out

    def _slower(self, good: Floats, good_s: Floats, service: Ints, now: float) -> tuple[Floats, Bools]:
        """The mean latency of each in this tick, and who is slow alone."""
        latency, apart, scatter = self._answers.slower(good, good_s, now)
        own = other_mean(apart, np.zeros_like(apart), scatter, SLOWER)
        known = np.isfinite(apart)
        count, apart, scatter = (np.where(known, a, 0.0) for a in (good, apart, scatter))
        total, lies, varies = others(np.stack([count, count * apart, np.square(count * scatter)]), service)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.sqrt(np.maximum(varies, 0.0)) / total
            rest = other_mean(lies / total, np.zeros_like(total), spread, SLOWER)
        return latency, self._slow.learn_many(self._answers.slow.odd, own, np.clip(rest, -MOST, MOST))

    def _fails(self, ended: Floats, failed: Floats, service: Ints, since_s: float) -> tuple[Floats, Floats, Bools]:
        """The share of each that failed lately, the usual one, and who fails alone."""
        own = self._answers.failing
        usual_of_others, (count, bad) = (
            usual_share(others(own.sums, service)),
            others(np.stack([ended, failed]), service),
        )
        share, usual = self._answers.fails(ended, failed, since_s)
        mine, theirs = gains(ended, failed, usual), gains(count, bad, usual_of_others)
        alone = zip(self._failing, own.pages, mine, theirs, strict=True)
        less, more = (test.learn_many(page.odd, gain, other) for test, page, gain, other in alone)
        # That others do not fail by many more is no proof of their being well; in a burst one seems to fail by many.
        others_fail = self._others_fail.learn_many(theirs[0])
        return share, usual, (less | more) & ~others_fail

    def _found(
        self, odd: Mapping[str, Bools], figures: Mapping[str, tuple[Floats, Floats]], part: Floats, now: float
    ) -> Iterator[Finding]:
        for kind, who in odd.items():
            for slot in np.flatnonzero(who).tolist():
                caller, callee = self.pairs[slot]
                since = self._since.setdefault((kind, slot), now)
                value, usual = (float(np.nan_to_num(figure[slot])) for figure in figures[kind])
                fails = kind == "EdgeFailing"
                low, high = map(float, (failing_band if fails else slow_band)(np.array(usual)))
                harm, times = float(part[slot]) * (value if fails else 1.0), value / usual if usual > 0 else 1.0
                said = (said_failing if fails else said_slow)(value, usual)
                said = f"asked by {caller or 'clients'}, {callee} {said}; others are served as ever"
                yield Finding(kind, callee, since, value, low, high, max(times, 1.0), harm, said, caller=caller)

    def state(self) -> dict[str, State]:
        """Each part's state by slot; the first axis of every array is slots."""
        own: State = {f"since_{kind}": np.full(len(self.pairs), np.inf) for kind in FOUND}
        for (kind, slot), at in self._since.items():
            own[f"since_{kind}"][slot] = at
        own |= {"lately": self._answers.lately.T.copy(), "heard_at": self._heard_at.copy()}
        return {name: part.state() for name, part in self._parts().items()} | {"own": own}

    def restore(self, state: Mapping[str, State], now: float) -> None:
        """Take up a state of the same pairs. ValueError when it is of another shape."""
        own, one = state["own"], np.zeros(len(self.pairs))
        check_state(
            own, {f"since_{kind}": one for kind in FOUND} | {"lately": np.zeros((one.size, 2)), "heard_at": one}
        )
        for name, part in self._parts().items():
            part.restore(state[name], now)
        self._answers.lately, self._heard_at = own["lately"].T.copy(), np.minimum(own["heard_at"], now)
        self._since, self._at = since_of(own, FOUND, NONE), now

    def _parts(self) -> dict[str, Usual | Page | Failing | Alone]:
        less, more = self._failing
        alone = {"slow_alone": self._slow, "fails_alone": less, "fails_more_alone": more}
        return {**self._answers.parts(), **alone, "others_fail": self._others_fail}

    def _resize(self, slots: int) -> None:
        self._answers.resize(slots)
        for alone in (self._slow, *self._failing):
            alone.resize(slots)
        self._others_fail.resize(slots)
        self._heard_at = np.pad(self._heard_at, (0, slots - self._heard_at.size), constant_values=-np.inf)
