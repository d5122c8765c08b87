"""Are a service's answers, or what it is sent, of another size than usual: pages without their lists, uploads.

What is watched is the logarithm of the mean size of a tick's good answers against what is usual of it (`models.usual`),
for a change by more than `TIMES`: as much never adds up (`models.page`), so that another mix of requests is no news
where it moves the mean less than that. A tick counts for little, and it takes `LASTS_S` of them at least, since a few
large bodies are no change; its scatter is what is usual of such ticks.

It is no `models.surprise`: over drawn ticks (`bench.sizes`) that cried falsely 1.0 to 2.5 times an hour where this was
silent, and found fewer of the changes by two and a half times. What it alone found, bodies that became all alike, has
no size of effect.

Where nothing ended well there is no size, and that is unknown: it is not small. Failures are watched elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from brain.explain import size
from brain.findings import Finding, Stand, since_of
from models.base import check_state
from models.page import Page, other_mean
from models.usual import Usual

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dataplane.contract import Topology
    from features.columns import ServiceFeatures
    from models.base import Floats, Ints, State

Bools = NDArray[np.bool_]

TIMES = 2.0
"""Less of a change is no news, however certain."""
LEAST_BYTES = 16.0
"""What is smaller is taken to be of this size: an answer of no body is like one of a few bytes."""
LEAST_SPREAD = 0.2
"""Of the logarithm of a tick's mean size."""
YOUNG_S = 30.0
"""For so long what is usual of a service is hardly known, and a change from it may be none."""
LASTS_S = 8.0
LATELY_S = 3.0
"""Half-life of what is told of it: a single tick may be of one body."""
NEXT_TO_NOTHING = 0.1
"""Of the usual, from which on users are taken to miss what they asked for."""
_EVIDENCE = 16.0


FOUND = ("ResponseSize", "RequestSize")


class Sizes:
    """One kind of body of all services: the mean size of each tick, and whether it is odd now."""

    def __init__(self, slots: int) -> None:
        self.usual = Usual(slots, least_spread=0.05)
        self.smaller, self.larger = (Page(slots, _EVIDENCE, most=_EVIDENCE / LASTS_S) for _ in range(2))

    def learn_many(self, count: Floats, total: Floats, now: float) -> Floats:
        """Take a tick in: how many bodies by service, and their bytes. Returns the mean size that was usual."""
        usual = self.usual.mean
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(count > 0, total / count, np.nan)
        log = np.log(np.maximum(mean, LEAST_BYTES))
        scatter = np.maximum(self.usual.spread, LEAST_SPREAD)
        known = self.usual.known_s(now) >= YOUNG_S
        for page, shift in ((self.smaller, -2.0 * np.log(TIMES)), (self.larger, 2.0 * np.log(TIMES))):
            page.learn_many(np.where(known, other_mean(log, usual, scatter, shift), np.nan))
        lasting = self.usual.learn_many(log, self.odd, now)
        self.smaller.forget(lasting)
        self.larger.forget(lasting)
        return np.asarray(np.exp(usual))

    @property
    def odd(self) -> Bools:
        """Whose bodies are of another size than usual. Shape (n,)."""
        return np.asarray(self.smaller.odd | self.larger.odd)

    def parts(self) -> dict[str, Usual | Page]:
        """What has a state, by name."""
        return {"usual": self.usual, "smaller": self.smaller, "larger": self.larger}


class SizeWatch:
    """Of all service slots."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._sizes = {kind: Sizes(slots) for kind in FOUND}
        self._lately = np.zeros((3, slots))  # how many bodies, and the bytes of each kind, fading
        self._figures: dict[str, tuple[Floats, Floats]] = {}  # at the last tick
        self._since: dict[tuple[str, int], float] = {}
        self._at = -np.inf

    def look(self, felt: ServiceFeatures, topology: Topology, now: float) -> list[Finding]:
        """What is odd at this tick."""
        self._resize(topology.service_slots)
        tick = np.stack([a.sum(axis=1) for a in (felt.tick_good, felt.tick_bytes_out, felt.tick_bytes_in)])
        tick = tick[:, : self._slots]
        keeps = 0.5 ** (max(0.0, now - self._at) / LATELY_S) if self._at > -np.inf else 0.0
        self._lately, self._at = self._lately * keeps + tick, now
        with np.errstate(divide="ignore", invalid="ignore"):
            lately = np.where(self._lately[0] > 0, self._lately[1:] / self._lately[0], np.nan)
        for (kind, sizes), total, mean in zip(self._sizes.items(), tick[1:], lately, strict=True):
            self._figures[kind] = mean, sizes.learn_many(tick[0], total, now)
        out = list(self._found(topology, now))
        self._since = {key: at for key, at in self._since.items() if self._sizes[key[0]].odd[key[1]]}
        return out

    def _found(self, topology: Topology, now: float) -> Iterator[Finding]:
        for kind, sizes in self._sizes.items():
            odd = sizes.odd
            for s in topology.services if odd.any() else ():
                value, usual = (float(figure[s.id]) for figure in self._figures[kind])
                if not odd[s.id] or not np.isfinite(value + usual):
                    continue
                since = self._since.setdefault((kind, s.id), now)
                held, gone = max(value, LEAST_BYTES), value < NEXT_TO_NOTHING * usual
                what = "answers with" if kind == "ResponseSize" else "is sent"
                said = f"{s.name} {what} {size(value)} a request, usually {size(usual)}"
                harm = 1.0 - value / usual if gone and kind == "ResponseSize" else 0.0
                times = max(held / usual, usual / held, 1.0)
                yield Finding(kind, s.name, since, value, usual / TIMES, usual * TIMES, times, harm, said)

    def stands(self) -> dict[str, Stand]:
        """What each kind was judged by at the last tick, by service slot; nothing before the first one."""
        return {kind: Stand(value, usual / TIMES, usual * TIMES) for kind, (value, usual) in self._figures.items()}

    def state(self) -> dict[str, State]:
        """Each part's state by service; the first axis of every array is services."""
        own: State = {f"since_{kind}": np.full(self._slots, np.inf) for kind in FOUND}
        for (kind, service), at in self._since.items():
            own[f"since_{kind}"][service] = at
        own["lately"] = self._lately.T.copy()
        return {name: part.state() for name, part in self._parts().items()} | {"own": own}

    def restore(self, state: Mapping[str, State], strangers: Ints, now: float) -> None:
        """Take up a state, but of `strangers` nothing is known. ValueError when it is of another shape."""
        own = state["own"]
        one = np.zeros(self._slots)
        check_state(own, {f"since_{kind}": one for kind in FOUND} | {"lately": np.zeros((one.size, 3))})
        for name, part in self._parts().items():
            part.restore(state[name], now)
            part.forget(strangers)
        self._lately = own["lately"].T.copy()
        self._lately[:, strangers] = 0.0
        self._since, self._at = since_of(own, FOUND, strangers), now

    def _parts(self) -> dict[str, Usual | Page]:
        return {f"{kind}_{name}": part for kind, sizes in self._sizes.items() for name, part in sizes.parts().items()}

    def _resize(self, slots: int) -> None:
        if slots > self._slots:
            for part in self._parts().values():
                part.resize(slots)
            self._lately = np.pad(self._lately, ((0, 0), (0, slots - self._slots)))
            self._slots = slots
