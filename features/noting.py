"""Changes of an endpoint's latency that people are told of: later than weights hear of one, and surely.

Page's test (`models.page`) of each attempt, with what is known of its service: how the logarithms of latency lie about
their endpoint's level is learned as a histogram, and an attempt is evidence of a change by so many times as often as
the histogram, shifted by that, has such attempts more often than as it is (`models.residuals`). Two sizes of slowness
are looked for at once, two and a half times and six times: by the smaller alone a great one needs as many attempts as a
doubling, and of an endpoint whose traffic was cut few come. What is less than the square root of a size never adds up
to it but by luck: a doubling does. Half as slow again, as some are for seconds after a restart, is near enough to that
root for luck; so of the smaller size more evidence is asked.

Evidence is held against the level at which its endpoint stood when there was none, and what is gathered is kept when
the level starts again (`features.levels`): the change by which the brain cut an endpoint is a part of it. A level that
started again by luck from a handful of attempts is believed only after `AGAINST_S`. Where the endpoint stands follows
its level over `FOLLOWS_S`, or a level that is quick would take a change in between two attempts that speak against it;
at once only when that very change was noted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.base import Floats, Ints, State, check_state, known_or
from models.residuals import Residuals

SLOWER, SIX, FASTER = 9, 18, -7
"""Shifts of the logarithm in `models.residuals.BIN`."""
EVIDENCE = np.array([[26.0], [18.0], [18.0]])
"""Of a test: 18 is reached by luck alone once in some tens of millions of attempts, where weights bear with luck once
an hour. Of endpoints that were half as slow again for ten seconds one in eleven came to 18, one in a hundred to 26."""
MOST_AN_ATTEMPT, MOST_A_PORTION = 4.0, 6.0
"""Of evidence: one attempt of a minute is no slowness, nor is a pause of which a hundred attempts tell at once."""
AGAINST_S = 15.0
FOLLOWS_S = 10.0
"""A half-life."""
FEWEST, YOUNG_S = 100.0, 30.0
"""Attempts of an endpoint, and time since the first, before anything is held against its level: the first handful may
say anything, and the first seconds of a mesh find no queue yet."""

_TESTS = (SLOWER, SIX, FASTER)

Bools = NDArray[np.bool_]


class Noting:
    """Of all endpoint slots."""

    def __init__(self, slots: int, services: int) -> None:
        self.residuals = Residuals(services, _TESTS)
        self._sums = np.zeros((len(_TESTS), slots))
        self._stood = np.full(slots, np.nan)  # the level that evidence is held against, a mean logarithm
        self._began_at = np.full(slots, -np.inf)  # when the level started again
        self._seen = np.zeros(slots)  # attempts
        self._first_at = np.full(slots, np.inf)
        self._noted = np.zeros(slots, dtype=np.int8)
        self._news: Bools = np.zeros(slots, dtype=np.bool_)  # noted, and not taken to be where it stands yet
        self._at = np.inf

    def learn_many(
        self, endpoint: Ints, log: Floats, base: Floats, peers: Floats, worth: Floats, service_of: Ints, now: float
    ) -> None:
        """Take in a portion: attempts of endpoints whose level is known, and the logarithms of their latencies.

        By endpoint slot: `base`, the level; `peers`, how far the others lie from theirs; `worth`, as how many an
        attempt counts. An attempt at an endpoint that has left meanwhile teaches nothing.
        """
        stays = service_of[endpoint] >= 0
        if not stays.all():
            endpoint, log = endpoint[stays], log[stays]
        self._seen += np.bincount(endpoint, minlength=self._seen.size)
        self._first_at = np.where(self._seen > 0, np.minimum(self._first_at, now), np.inf)
        young = (self._seen < FEWEST) | (now - self._first_at < YOUNG_S)
        follows = (now - self._began_at >= AGAINST_S) & ~self._sums.any(axis=0)
        at_once = young | follows & (self._news | np.isnan(self._stood))
        part = 1.0 - 0.5 ** (max(now - self._at, 0.0) / FOLLOWS_S)
        self._stood = np.where(follows, self._stood + part * (base - self._stood), self._stood)
        self._stood = np.where(at_once, base, self._stood)
        self._news &= ~at_once
        self._at = now
        service = service_of[endpoint]
        apart = log - (self._stood + peers)[endpoint]
        gains = self.residuals.gains(service, known_or(apart, 0.0), now)
        gains[:, np.isnan(apart)] = 0.0  # of whom nobody knows where it stood
        for row, gain in enumerate(gains):
            total = np.bincount(endpoint, np.minimum(gain, MOST_AN_ATTEMPT), self._stood.size) * worth
            self._sums[row] = np.maximum(self._sums[row] + np.minimum(total, MOST_A_PORTION), 0.0)
        self.residuals.learn_many(service, log - base[endpoint], now)
        self._sums[:, young] = 0.0
        small, six, faster = self._sums >= EVIDENCE
        found = small | six | faster
        if found.any():
            self._noted[found] = np.where(small | six, 1, -1)[found]
            self._sums[:, found] = 0.0
            self._news |= found

    def began(self, endpoint: int, now: float) -> None:
        """The level of this endpoint starts again."""
        self._began_at[endpoint] = now

    def take(self) -> NDArray[np.int8]:
        """Whose change was noted since the last time: 1 slower, -1 faster."""
        noted, self._noted = self._noted, np.zeros_like(self._noted)
        return noted

    def forget(self, endpoints: Ints | Bools) -> None:
        """What was said of these was not true: nothing is noted of them."""
        self._sums[:, endpoints] = 0.0
        self._noted[endpoints] = 0
        self._news[endpoints] = False

    def begin(self, endpoints: Ints) -> None:
        """These endpoints are new."""
        self.forget(endpoints)
        self._stood[endpoints] = np.nan
        self._seen[endpoints] = 0.0
        self._began_at[endpoints] = -np.inf
        self._first_at[endpoints] = np.inf

    def state(self) -> State:
        """A row per endpoint."""
        own = {name: getattr(self, f"_{name}").copy() for name in ("stood", "began_at", "seen", "first_at", "noted")}
        return own | {"sums": self._sums.T.copy()}

    def restore(self, state: State, left: float, now: float) -> None:
        """Take up a state kept at `left`. ValueError, and unchanged, when it is of another shape."""
        one = self._seen
        check_state(state, {"sums": self._sums.T} | dict.fromkeys(("stood", "began_at", "seen", "noted"), one))
        self._sums = np.array(state["sums"], dtype=np.float64).T.copy()
        self._stood, self._seen = (np.array(state[name], dtype=np.float64) for name in ("stood", "seen"))
        moved = min(now - left, 0.0)
        self._began_at = np.array(state["began_at"], dtype=np.float64) + moved
        first_at = state.get("first_at", np.where(self._seen > 0, -np.inf, np.inf))  # one from before it has none
        self._first_at = np.array(first_at, dtype=np.float64) + moved
        self._noted = np.array(state["noted"], dtype=np.int8)
        self._news = np.zeros(self._noted.size, dtype=np.bool_)

    def resize(self, slots: int, services: int) -> None:
        """Have room for this many."""
        more = max(slots - self._noted.size, 0)
        self.residuals.resize(services)
        self._sums = np.pad(self._sums, ((0, 0), (0, more)))
        self._stood = np.pad(self._stood, (0, more), constant_values=np.nan)
        self._began_at = np.pad(self._began_at, (0, more), constant_values=-np.inf)
        self._first_at = np.pad(self._first_at, (0, more), constant_values=np.inf)
        self._seen = np.pad(self._seen, (0, more))
        self._noted, self._news = np.pad(self._noted, (0, more)), np.pad(self._news, (0, more))
