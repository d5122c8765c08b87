"""Which streams are odd while others of their group, which ought to fare alike, are as ever.

Each stream is how requests end on one way through the mesh: what one caller asks of a service (`brain.edge_watch`), or
what goes through one proxy (`brain.node_watch`). Its group are those that share with it what it is not to be blamed
for: the callers of the service, the proxies of the caller. It is watched as a service is (`brain.answers`), against its
own last minutes, and it is found only when it is odd alone or beside others that are well (`models.alone`): what all of
a group suffer is not theirs, and who is alone in its group is the group.

The others are held against what is usual of each of them, so that it does not matter that they ask for unlike things,
or that the mix of them changes. A stream of which nothing was heard for `SILENT_S` is unknown, and nothing is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from brain.answers import SLOWER, Answers
from models.alone import SURELY, Alone, Beside, others
from models.base import check_state
from models.failing import Failing, gains, usual_share
from models.page import Bools, Page, other_mean
from models.usual import Usual

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.base import Floats, Ints, State

SILENT_S = 30.0
MOST = 7.0 / 16.0 * SURELY
"""As which a tick's latency of the others counts at most, as in the stream's own test: it takes three ticks to settle
it, for the few of one may have been quick together."""


class Judged(NamedTuple):
    """By stream: who is found, what was seen, and what is usual."""

    odd: Bools
    value: Floats
    usual: Floats


class Apart:
    """Of so many streams."""

    def __init__(self, streams: int) -> None:
        self.answers = Answers(streams)
        self.heard_at = np.full(streams, -np.inf)
        self.at = -np.inf
        self._slow, self._slow_beside = Alone(streams), Beside(streams)
        self._failing, self._fails_beside = tuple(Alone(streams) for _ in self.answers.failing.pages), Beside(streams)
        self._others_fail = Page(streams, SURELY, SURELY)

    def look(self, ticked: Floats, group: Ints, now: float) -> tuple[Judged, Judged]:
        """Who is slow and who fails at this tick. `ticked`: what ended, failed, was good, and the seconds of that.

        `group` by stream, from 0.
        """
        ended, failed, good, good_s = ticked
        since_s, self.at = max(1e-9, now - self.at) if self.at > -np.inf else 1.0, now
        self.heard_at[ended > 0] = now
        heard = now - self.heard_at < SILENT_S
        latency, slow = self._slower(good, good_s, group, heard, now)
        share, usual, fails = self._fails(ended, failed, group, heard, since_s)
        return Judged(slow & heard, latency, np.exp(self.answers.latency.mean)), Judged(fails & heard, share, usual)

    def _slower(self, good: Floats, good_s: Floats, group: Ints, heard: Bools, now: float) -> tuple[Floats, Bools]:
        """The mean latency of each in this tick, and who is slow apart."""
        latency, apart, scatter = self.answers.slower(good, good_s, now)
        own = other_mean(apart, np.zeros_like(apart), scatter, SLOWER)
        known = np.isfinite(apart)
        count, apart, scatter = (np.where(known, a, 0.0) for a in (good, apart, scatter))
        sums = np.stack([count, count * apart, np.square(count * scatter)])

        def rest(sums: Floats) -> Floats:
            total, lies, varies = others(sums, group)
            with np.errstate(divide="ignore", invalid="ignore"):
                spread = np.sqrt(np.maximum(varies, 0.0)) / total
                gain = other_mean(lies / total, np.zeros_like(total), spread, SLOWER)
            return np.clip(gain, -MOST, MOST)

        odd = self.answers.slow.odd
        alone = self._slow.learn_many(odd, own, rest(sums))
        well = np.where(_nobody(heard & ~odd, group), np.inf, rest(sums * ~odd))
        return latency, alone | self._slow_beside.learn_many(odd, own, well)

    def _fails(
        self, ended: Floats, failed: Floats, group: Ints, heard: Bools, since_s: float
    ) -> tuple[Floats, Floats, Bools]:
        """The share of each that failed lately, the usual one, and who fails apart."""
        own = self.answers.failing
        sums, counts = own.sums, np.stack([ended, failed])
        share, usual = self.answers.fails(ended, failed, since_s)

        def rest(sums: Floats, counts: Floats) -> list[Floats]:
            count, bad = others(counts, group)
            return gains(count, bad, usual_share(others(sums, group)))

        mine, theirs = gains(ended, failed, usual), rest(sums, counts)
        alone = zip(self._failing, own.pages, mine, theirs, strict=True)
        less, more = (test.learn_many(page.odd, gain, other) for test, page, gain, other in alone)
        # That others do not fail by many more is no proof of their being well; in a burst one seems to fail by many.
        others_fail = self._others_fail.learn_many(theirs[0])
        found = (less | more) & ~others_fail
        well = np.where(_nobody(heard & ~own.odd, group), np.inf, rest(sums * ~own.odd, counts * ~own.odd)[0])
        return share, usual, found | self._fails_beside.learn_many(own.odd, mine[0], well)

    def state(self, own: State) -> dict[str, State]:
        """Each part's state by stream, and what its watch keeps beside: the first axis of every array is streams."""
        own = own | {"lately": self.answers.lately.T.copy(), "heard_at": self.heard_at.copy()}
        return {name: part.state() for name, part in self.parts().items()} | {"own": own}

    def restore(self, state: Mapping[str, State], now: float) -> None:
        """Take up a state of the same streams. ValueError when it is of another shape."""
        own = state["own"]
        check_state(own, {"lately": self.answers.lately.T, "heard_at": self.heard_at})
        for name, part in self.parts().items():
            if name in state or not isinstance(part, Beside):  # states from before there was that test have none
                part.restore(state[name], now)
        self.answers.lately, self.heard_at = own["lately"].T.copy(), np.minimum(own["heard_at"], now)
        self.at = now

    def parts(self) -> dict[str, Usual | Page | Failing | Alone | Beside]:
        """What has a state of its own, by name."""
        less, more = self._failing
        alone = {"slow_alone": self._slow, "fails_alone": less, "fails_more_alone": more}
        beside = {"slow_beside": self._slow_beside, "fails_beside": self._fails_beside}
        return {**self.answers.parts(), **alone, "others_fail": self._others_fail, **beside}

    def resize(self, streams: int) -> None:
        """Have room for this many."""
        self.answers.resize(streams)  # what it keeps beside its parts as well
        for part in self.parts().values():
            part.resize(streams)
        self.heard_at = np.pad(self.heard_at, (0, max(streams - self.heard_at.size, 0)), constant_values=-np.inf)


def _nobody(who: Bools, group: Ints) -> Bools:
    """For whom there is none of these in its group but itself."""
    return np.asarray(others(who[None].astype(np.float64), group)[0] <= 0.0)
