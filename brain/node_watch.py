"""What is odd of one proxy: all that goes through it is slow, or fails, while other proxies of its caller fare well.

A host that is overloaded, a link that is full, a proxy without CPU: the services are well, and so is who calls them.
A proxy is a stream whose group are the proxies that call for the same one (`brain.apart`), for these are asked alike:
what befalls all of them is the caller's edge or the service, and a caller's only proxy is told of as its edge.

A proxy may also lie, or be slow to a few endpoints alone. Then the others contradict it, which is told apart
(`NodeContradicts`), and what it says of those endpoints is in no sum here (`features.store`). That takes some seconds
to find; of one whose word is not believed about any no slowness is told anew meanwhile.

It is judged by all its requests together, whatever service they are for, and told of for each service that it asks, as
an edge is: that is whose users suffer, and by that it is one incident with what shows of it there (`brain.incidents`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from brain.answers import LATELY_S, failing_band, said_failing, said_slow, slow_band
from brain.apart import Apart, Judged
from brain.findings import Finding, since_of
from features.edges import callers_of
from models.base import check_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dataplane.contract import Topology
    from features.columns import WayFeatures
    from models.base import Ints, State

NONE = np.zeros(0, dtype=np.int64)
ASKED = 0.5
"""Requests, fading, from which a proxy is said to ask a service."""

FOUND = ("NodeFailing", "NodeSlow")


class NodeWatch:
    """Of all proxies that were ever there: a slot each, by name."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = list(names)
        self._slots = {name: slot for slot, name in enumerate(names)}
        self._apart = Apart(len(names))
        self._asked = np.zeros((len(names), 0))  # by service slot, fading
        self._since: dict[tuple[str, int], float] = {}
        self._topology: Topology | None = None

    def look(self, seen: WayFeatures, contradicts: Ints, topology: Topology, now: float) -> list[Finding]:
        """What is odd at this tick. `contradicts`: by node id, of how many endpoints its word is not believed."""
        if topology is not self._topology:
            self._place(topology)
        many = len(self.names)
        slot, told, doubted = self._slot_of[seen.node], np.zeros(many, dtype=np.bool_), np.zeros(many, dtype=np.bool_)
        told[[at for kind, at in self._since if kind == "NodeSlow"]] = True
        doubted[self._slot_of[(self._slot_of >= 0) & (contradicts[: self._slot_of.size] > 0)]] = True
        ticked = np.zeros((4, many))
        for row, column in zip(ticked, (seen.ended, seen.failed, seen.good, seen.good_s), strict=True):
            np.add.at(row, slot, column)
        self._ask(slot, seen, topology.service_slots, now)
        slow, fails = self._apart.look(ticked, self._group, now)
        odd = {
            "NodeFailing": fails._replace(odd=fails.odd & (self._group > 0)),
            "NodeSlow": slow._replace(odd=slow.odd & (self._group > 0) & (told | ~doubted)),
        }
        self._since = {key: at for key, at in self._since.items() if odd[key[0]].odd[key[1]]}
        if not any(judged.odd.any() for judged in odd.values()):
            return []
        return list(self._found(odd, {s.id: s.name for s in topology.services}, now))

    def _place(self, topology: Topology) -> None:
        """Whose slot each is, and whom each calls for; group 0 are those that left."""
        self._topology = topology
        new = [n.name for n in topology.nodes if n.name not in self._slots]
        self._slots |= {name: slot for slot, name in enumerate(new, len(self.names))}
        self.names += new
        self._apart.resize(len(self.names))
        _, calls_for = callers_of(topology)
        self._slot_of = np.full(calls_for.size, -1, dtype=np.int64)
        self._group = np.zeros(len(self.names), dtype=np.int64)
        for n in topology.nodes:
            self._slot_of[n.id] = self._slots[n.name]
            self._group[self._slots[n.name]] = 1 + calls_for[n.id]

    def _ask(self, slot: Ints, seen: WayFeatures, services: int, now: float) -> None:
        """Note whom each asks."""
        faded = 0.5 ** (max(0.0, now - self._apart.at) / LATELY_S) if self._apart.at > -np.inf else 1.0
        more = len(self.names) - len(self._asked), max(services - self._asked.shape[1], 0)
        self._asked = np.pad(self._asked * faded, ((0, more[0]), (0, more[1])))
        self._asked[slot, seen.service] += seen.ended

    def _found(self, odd: Mapping[str, Judged], services: Mapping[int, str], now: float) -> Iterator[Finding]:
        for kind, judged in odd.items():
            for slot in np.flatnonzero(judged.odd).tolist():
                since = self._since.setdefault((kind, slot), now)
                value, usual = (float(np.nan_to_num(figure[slot])) for figure in (judged.value, judged.usual))
                fails, times = kind == "NodeFailing", value / usual if usual > 0 else 1.0
                low, high = map(float, (failing_band if fails else slow_band)(np.array(usual)))
                said = (said_failing if fails else said_slow)(value, usual)
                said = f"what goes through {self.names[slot]} {said}; other proxies fare as ever"
                for s in np.flatnonzero(self._asked[slot] >= ASKED).tolist():
                    part = float(self._asked[slot, s] / self._asked[:, s].sum())
                    harm = part * (value if fails else 1.0)
                    if s in services:
                        yield Finding(
                            kind, services[s], since, value, low, high, max(times, 1.0), harm, said,
                            node=self.names[slot],
                        )  # fmt: skip

    def state(self) -> dict[str, State]:
        """Each part's state by slot; the first axis of every array is slots. Whom each asks is seen anew."""
        own: State = {f"since_{kind}": np.full(len(self.names), np.inf) for kind in FOUND}
        for (kind, slot), at in self._since.items():
            own[f"since_{kind}"][slot] = at
        return self._apart.state(own)

    def restore(self, state: Mapping[str, State], now: float) -> None:
        """Take up a state of the same proxies. ValueError when it is of another shape."""
        one = np.zeros(len(self.names))
        check_state(state["own"], {f"since_{kind}": one for kind in FOUND})
        self._apart.restore(state, now)
        self._since = since_of(state["own"], FOUND, NONE)
