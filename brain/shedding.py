"""Who goes first: while a service is short, requests by its sheddable routes are refused before any other.

Envoy's circuit breakers know two priorities, and the higher one is for critical requests. So sheddable requests are
refused by a share of their own, drawn before a breaker sees them: what is refused there makes room below the limit for
the rest. The limit tells how much room is wanted. While it refuses a part `p` of the requests that are not sheddable,
it refuses as much of what it sees of the sheddable ones, and all of that could be spared by shedding

    p * (others asked / sheddable asked + 1 - share)

more of the sheddable. While it refuses none of the others, the share falls, by a twentieth a second, until it does:
so it finds the least that spares the rest, and follows it. When the service is not short any more (what is shed was
asked for as well) the share halves each second, for nobody gains by it then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dataplane.contract import Felt, Outcome, Requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataplane.contract import Topology
    from models.base import Floats

HALF_LIFE_S = 2.0
FALLS_PER_S = 0.05
"""The part of the share that is given back in a second in which nobody else was refused."""
GONE = 0.01
"""A share below this is none."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Requests of one service that ended since the last tick, refused ones included."""

    sheddable: float = 0.0
    others: float = 0.0
    refused: float = 0.0  # of the others, by a limit


class Tally:
    """What ended, by whether its route is sheddable. Counts nothing where no route is."""

    def __init__(self, topology: Topology, sheddable: Sequence[str]) -> None:
        self._names = frozenset(sheddable)
        self.moved(topology)

    def moved(self, topology: Topology) -> None:
        """Other services or routes: what was counted since the last tick is forgotten."""
        # The last is of a request whose route is not known: -1 picks it.
        self._sheddable = np.array([name in self._names for name in topology.routes] + [False])
        self._counts: Floats = np.zeros((3, topology.service_slots))

    def told(self, batch: Requests | Felt) -> None:
        """Count a batch: good attempts, and requests that ended badly."""
        if not self._sheddable.any():
            return
        sheddable = self._sheddable[np.where(batch.route < len(self._sheddable) - 1, batch.route, -1)]
        ended = batch.outcome == Outcome.OK if isinstance(batch, Requests) else batch.outcome != Outcome.OK
        ended &= (batch.service >= 0) & (batch.service < self._counts.shape[1])
        refused = ended & ~sheddable & (batch.outcome == Outcome.REJECTED)
        for row, which in zip(self._counts, (ended & sheddable, ended & ~sheddable, refused), strict=True):
            np.add.at(row, batch.service[which], 1.0)

    def take(self) -> Floats:
        """Counts since the last call: sheddable, others, refused of the others. Shape (3, services)."""
        out, self._counts = self._counts, np.zeros_like(self._counts)
        return out


@dataclass(slots=True)
class Shedder:
    """One service's share of sheddable requests that are refused, over time."""

    share: float = 0.0  # of the sheddable, 0 to 1
    _sheddable: float = 0.0  # of those that ended lately
    _others: float = 0.0
    _at: float = math.nan

    def told(self, ended: Ended, most: float, now: float, *, armed: bool, short: bool) -> float:
        """The share from now on, given what ended since the last call; 0 unless the service's limit is `armed`.

        `most`: no more may be shed; `short`: more is asked now than is borne.
        """
        since_s = 0.0 if math.isnan(self._at) else max(0.0, now - self._at)
        fade = 0.5 ** (since_s / HALF_LIFE_S)
        self._sheddable = fade * self._sheddable + ended.sheddable
        self._others = fade * self._others + ended.others
        self._at = now
        if not armed or self._sheddable <= 0.0:
            self.share = 0.0
        elif not short:
            self.share *= 0.5**since_s
        elif ended.refused > 0:
            part = min(1.0, ended.refused / ended.others)
            self.share += part * (self._others / self._sheddable + 1.0 - self.share)
        else:
            self.share *= (1.0 - FALLS_PER_S) ** since_s
        self.share = min(self.share, most) if self.share >= GONE else 0.0
        return self.share
