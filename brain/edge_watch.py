"""What is odd between a caller and a service: its requests are slow, or fail, while those of other callers are not.

A caller that sends what the service cannot answer, proxies of a caller's own that are in trouble, a network between two
zones: the service is well, and so is each of its endpoints to all others. An edge is a stream whose group are the
callers of its service (`brain.apart`): what all callers suffer is the service's, and who calls alone is the service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from brain.answers import failing_band, said_failing, said_slow, slow_band
from brain.apart import Apart, Judged
from brain.findings import Finding, since_of
from models.base import check_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dataplane.contract import Topology
    from features.columns import EdgeFeatures
    from models.base import Floats, State

NONE = np.zeros(0, dtype=np.int64)

FOUND = ("EdgeFailing", "EdgeSlow")


class EdgeWatch:
    """Of all pairs of a caller and a service that were ever heard of: a slot each, in that order."""

    def __init__(self, pairs: Sequence[tuple[str, str]] = ()) -> None:
        self.pairs = list(pairs)
        self._slots = {pair: slot for slot, pair in enumerate(pairs)}
        self._apart = Apart(len(pairs))
        self._since: dict[tuple[str, int], float] = {}

    def look(self, seen: EdgeFeatures, topology: Topology, now: float) -> list[Finding]:
        """What is odd at this tick."""
        ticked = self._ticked(seen, {s.id: s.name for s in topology.services})
        if not self.pairs:
            return []
        ids = {s.name: s.id for s in topology.services}
        service = np.array([ids.get(callee, topology.service_slots) for _, callee in self.pairs], dtype=np.int64)
        slow, fails = self._apart.look(ticked, service, now)
        here = service < topology.service_slots
        odd = {"EdgeFailing": fails._replace(odd=fails.odd & here), "EdgeSlow": slow._replace(odd=slow.odd & here)}
        self._since = {key: at for key, at in self._since.items() if odd[key[0]].odd[key[1]]}
        if not any(judged.odd.any() for judged in odd.values()):
            return []
        asked = self._apart.answers.lately[0]
        part = asked / np.maximum(np.bincount(service, asked)[service], 1e-9)
        return list(self._found(odd, part, now))

    def _ticked(self, seen: EdgeFeatures, names: Mapping[int, str]) -> Floats:
        """What ended in this tick, by slot: all, those that failed, those that did not, and the seconds of those."""
        rows = [row for row, service in enumerate(seen.service.tolist()) if service in names]
        callers, callees = seen.caller[rows].tolist(), seen.service[rows].tolist()
        pairs = [(seen.callers[c], names[s]) for c, s in zip(callers, callees, strict=True)]
        new = [pair for pair in pairs if pair not in self._slots]
        if new:
            self._slots |= {pair: slot for slot, pair in enumerate(new, len(self.pairs))}
            self.pairs += new
            self._apart.resize(len(self.pairs))
        out = np.zeros((4, len(self.pairs)))
        out[:, [self._slots[pair] for pair in pairs]] = np.stack([seen.ended, seen.failed, seen.good, seen.good_s])[
            :, rows
        ]
        return out

    def _found(self, odd: Mapping[str, Judged], part: Floats, now: float) -> Iterator[Finding]:
        for kind, judged in odd.items():
            for slot in np.flatnonzero(judged.odd).tolist():
                caller, callee = self.pairs[slot]
                since = self._since.setdefault((kind, slot), now)
                value, usual = (float(np.nan_to_num(figure[slot])) for figure in (judged.value, judged.usual))
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
        return self._apart.state(own)

    def restore(self, state: Mapping[str, State], now: float) -> None:
        """Take up a state of the same pairs. ValueError when it is of another shape."""
        one = np.zeros(len(self.pairs))
        check_state(state["own"], {f"since_{kind}": one for kind in FOUND})
        self._apart.restore(state, now)
        self._since = since_of(state["own"], FOUND, NONE)
