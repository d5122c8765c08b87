"""How slow each endpoint is, known well while it stays so and at once when it does not.

Two windows. The slow one (half-life `half_life_s`) is what is told: over hundreds of attempts, equal endpoints look
equal and weights do not wander. The other has no fixed length: it runs from the moment since which the endpoint seems
changed (`models.change`), against its own past and beside its peers, so that what befalls the whole service is nobody's
change. When the evidence suffices, the slow window starts again from what the run holds.

A queue is no slowness. To tell a change, a latency is divided by the waiting that goes with what is open: with `W`
lanes it is `1 + max(0, n + 1 - W) / W` times the work (`models.lanes`), and by Little's law the mean of `n` is the
latency that ended lately, per second. An endpoint that slows down ends less, so its own queue does not excuse it. A
change that is certain by that is looked at once more by what each attempt itself found (`features.arrivals`).

Sums are kept by endpoint and node, because a node may lie (`models.witnesses`). A change is believed when most of the
attempts that tell of it come from nodes that agree; else those few are doubted. What a doubted node says of an
endpoint is left out of everything but the sums by which it may be acquitted.

One attempt of a minute among hundreds of 20 ms is no slowness: latency counts up to `FAR` standard deviations of its
logarithm above the endpoint's mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.noting import Noting
from models.base import Floats, Ints, State, check_state, known_or
from models.change import Changes
from models.decay import DecayedSums, ForwardDecay
from models.lanes import growth
from models.witnesses import judge

HALF_LIFE_S = 25.0
QUANTUM_S = 0.25
"""Attempts are weighed in portions of this much time."""

MOST_A_PORTION = 3.0
"""Attempts as which an endpoint's portion counts at most: those that end together were in one queue. Where some
requests are far heavier than others none counts as a whole one (`features.classes`)."""

PEERS_DRAWN = 4.0
"""What the others of a service do is drawn to nothing as if so many more of their attempts had shown no change."""

FAR, FARTHER = 2.5, 5.0
"""Standard deviations above which a latency counts as no more: in the slow window and in a run."""

FEWEST = 5.0
"""Attempts by which an endpoint's past must be known to tell a change from it."""

AGREE = 0.6
"""Of the attempts in a run, the share that must come from nodes that show the change."""

DOUBT_S = 20.0
"""How long a node is doubted whose change nobody else sees. Then the slow sums have judged it."""

SHARED_LUCK = 2.0
"""Attempts that met in one queue are not independent: their number counts for half."""

OPEN_HALF_LIFE_S = 1.0
"""Over which what is open is told from what ended."""

QUICK_HALF_LIFE_S = 4.0
"""Witnesses are judged over this time as well: a great lie must be found before it has moved anything."""

_MOST_OPEN = 20.0
"""Mean latencies as which one attempt counts at most in that."""

_COUNT, _TOOK, _LOG, _WORK = range(4)
_FIELDS = 4
_SPREAD_PRIOR = np.array([[20.0], [20.0 * 1.645], [20.0 * 2.0]])
"""Attempts, variance of the logarithm and mean square, of exponentials."""


Lately = Callable[[int, int], tuple[Floats, Floats]]
"""Of an endpoint's last so many attempts: how many others each found there, and how long it took."""


def _unseen(_endpoint: int, _most: int) -> tuple[Floats, Floats]:
    return np.empty(0), np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """By endpoint, shape (slots,); by node shape (nodes,)."""

    mean_s: Floats  # latency of an average request; NaN when unknown
    error: Floats  # relative standard error of that
    count: Floats  # decayed attempts behind it
    tick_good: Floats  # attempts since the last tick that were believed
    tick_log_work: Floats  # sum of their logarithms, without waiting
    changed: NDArray[np.bool_]  # found slower or faster since the last tick
    noted: NDArray[np.int8]  # 1 where found slower since the last tick by about twice or more, -1 faster
    work_share: Floats  # where changed or told of by others than before: the part that is work, by what is open
    disputed: NDArray[np.bool_]  # its nodes contradict each other and there is no majority
    contradicts: Ints  # by node: how many endpoints it is not believed about
    worst_ratio: Floats  # by node: how many times too slow or too fast at most; 1 when it is believed


class Levels:
    """Latency by endpoint. Column 0 of the sums is what is remembered from before a restart, column 1 + n is node n."""

    def __init__(
        self, slots: int, nodes: int, services: int, half_life_s: float = HALF_LIFE_S, lately: Lately = _unseen
    ) -> None:
        self._lately = lately
        self.unlike: Floats = np.ones(services)  # the mean square of what requests cost over the mean, by their class
        self._decay = ForwardDecay(half_life_s)
        self._slow = np.zeros((slots, nodes + 1, _FIELDS))
        self._run = np.zeros((slots, nodes + 1, _FIELDS))
        self._quick_decay = ForwardDecay(QUICK_HALF_LIFE_S)
        self._quick = np.zeros((slots, nodes + 1, 3))  # none counts as less than it is here
        self._changes = Changes(slots)
        self.noting = Noting(slots, services)
        self._spread = DecayedSums(3, services, half_life_s)  # attempts, squared distance of logs, squared ratio
        self._ended = DecayedSums(1, slots, OPEN_HALF_LIFE_S)  # latency that ended
        self._base = np.full(slots, np.nan)  # mean logarithm, without waiting
        self._mean = np.full(slots, np.nan)
        self._doubted = np.full((slots, nodes + 1), -np.inf)  # until when
        self._changed = np.zeros(slots, dtype=bool)
        self._work_share = np.full(slots, np.nan)
        self._tick = np.zeros((2, slots))  # attempts since the last tick, and the sum of their logarithms
        self._staged: list[tuple[Ints, Ints, Floats]] = []
        self._portion = -math.inf
        self._believed = np.ones((slots, nodes + 1), dtype=bool)  # whose word is worth something of what

    @property
    def mean_s(self) -> Floats:
        """As of the last tick, or of a change since. Shape (slots,)."""
        return self._mean

    def believed(self, endpoint: NDArray[np.integer], node: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Is this node's word on this endpoint worth anything. A row per pair."""
        return np.asarray(self._believed.reshape(-1)[endpoint * self._believed.shape[1] + node + 1])

    def goes_on(self, now: float) -> bool:
        """Whether `now` falls into the portion of time of what was told last."""
        return now // QUANTUM_S == self._portion

    def told(self, endpoint: Ints, node: Ints, took_s: Floats, lanes: Floats, service_of: Ints, now: float) -> None:
        """Attempts that ended well, all of known endpoints and nodes, and what an average request would have taken.

        `lanes` is by service.
        """
        if not self.goes_on(now):  # by time and not by batch: how rows are batched must not matter
            self.fold(lanes, service_of)
            self._portion = now // QUANTUM_S
        self._staged.append((endpoint, node, took_s))

    def fold(self, lanes: Floats, service_of: Ints) -> None:
        """Weigh what came since the last time, as of when it came."""
        if not self._staged:
            return
        now = self._portion * QUANTUM_S
        endpoint, node, took = (np.concatenate(c) for c in zip(*self._staged, strict=True))
        self._staged = []
        cell = endpoint * self._slow.shape[1] + node + 1
        heard = self._believed.reshape(-1)[cell]
        where, lasted = endpoint, np.fmin(took, _MOST_OPEN * self._mean[endpoint])
        if not heard.all():
            where, lasted = where[heard], lasted[heard]
        self._ended.add(0, where, lasted, now)
        open_now = self._ended.at(now)[0] / self._ended.window_s(now)
        queue = growth(known_or(open_now, 0.0), lanes[service_of])
        waiting = queue[endpoint]
        work = np.maximum(took, 1e-6) / waiting
        log = np.log(work)
        variance, relative = self._spreads(now)
        deviation = np.sqrt(variance)[service_of]
        least = known_or(self._base - FAR * deviation, -np.inf)[endpoint]
        log = np.maximum(log, least)  # what took next to nothing has a logarithm without bound
        self._add_slow(cell, endpoint, took, log, work, deviation, now)
        self._tick[0] += np.bincount(where, minlength=self._tick.shape[1])
        self._tick[1] += np.bincount(where, log if heard.all() else log[heard], self._tick.shape[1])
        known = np.isfinite(self._base[endpoint]) & heard
        if not known.all():
            endpoint, cell, took, log, work = (c[known] for c in (endpoint, cell, took, log, work))
        apart = self._weigh(endpoint, log, took, deviation, service_of, now)
        count = np.bincount(endpoint, minlength=self._base.size).astype(np.float64)
        total: Floats = np.bincount(endpoint, apart, self._base.size).astype(np.float64)
        peers = self._peers(count, total, service_of)
        total = total - count * peers
        unlike = self.unlike[service_of]
        counts_for = 1.0 / np.maximum(unlike, count / MOST_A_PORTION)
        before = self._changes.leaning()
        verdict = self._changes.learn_many(count * counts_for, total * counts_for, deviation**2)
        worth = np.where(queue > 1.0, counts_for, 1.0 / unlike)  # without a queue they share nothing
        self.noting.learn_many(endpoint, log, self._base, peers, worth, service_of, now)
        turned = (before == 0) | (self._changes.leaning() != before)
        self._run[turned & (count > 0)] = 0.0  # what came before says nothing of this change
        farthest = np.exp(self._base[endpoint] + FARTHER * deviation[endpoint])
        less = np.minimum(1.0, farthest / work)
        for field, part in enumerate((np.ones_like(log), took * less, log, work * less)):
            np.add.at(self._run.reshape(-1), cell * _FIELDS + field, part)
        for e in np.flatnonzero(verdict):
            spread = float(relative[service_of[e]] * unlike[e])
            stands = self._again(int(e), int(verdict[e]), float(lanes[service_of[e]]), spread)
            if stands:
                self._settle(int(e), int(verdict[e]), now)
            elif stands is False:
                self._changes.forget(np.array([e]))
                self._run[e] = 0.0

    def _add_slow(
        self,
        cell: Ints,
        endpoint: Ints,
        took: Floats,
        log: Floats,
        work: Floats,
        deviation: Floats,
        now: float,
    ) -> None:
        """Latencies into the slow window, none counting as more than is likely, and as they are for the judge."""
        if self._slow.shape[1] > 2:  # with one node there is nobody to contradict
            self._quick *= self._quick_decay.admit(now)
            weight = self._quick_decay.weight(now)
            for field, part in enumerate((np.ones_like(log), took, log)):
                np.add.at(self._quick.reshape(-1), cell * 3 + field, part * weight)
        factor = self._decay.admit(now)
        if factor != 1.0:
            self._slow *= factor
        cap = known_or(self._base + FAR * deviation, np.inf)[endpoint]
        less = np.exp(np.minimum(cap - log, 0.0))
        weight = self._decay.weight(now)
        for field, part in enumerate((np.ones_like(log), took * less, np.minimum(log, cap), work * less)):
            np.add.at(self._slow.reshape(-1), cell * _FIELDS + field, part * weight)

    def _weigh(
        self, endpoint: Ints, log: Floats, took: Floats, deviation: Floats, service_of: Ints, now: float
    ) -> Floats:
        """How far each lies from its endpoint's past, as a logarithm within bounds; what spread there is, is noted."""
        far, apart = deviation[endpoint], log - self._base[endpoint]
        near = np.clip(apart, -FARTHER * far, FARTHER * far)
        ratio = np.minimum(took / self._mean[endpoint], 20.0)
        self._spread.add_each(range(3), service_of[endpoint], (1.0, near * near, ratio * ratio), now)
        return np.asarray(np.clip(apart, -FAR * far, FAR * far))

    def _peers(self, count: Floats, total: Floats, service_of: Ints) -> Floats:
        """How far the others of the same service lie from their own past in this portion, drawn to 0 with few."""
        live, services = service_of >= 0, int(service_of.max(initial=0)) + 1
        all_count = np.bincount(service_of[live], count[live], services)[service_of]
        all_total = np.bincount(service_of[live], total[live], services)[service_of]
        return np.asarray((all_total - total) / (all_count - count + PEERS_DRAWN))

    def _again(self, e: int, sign: int, lanes: float, relative: float) -> bool | None:
        """Does a change stand when each attempt is excused by the queue that it found itself? None: more will tell.

        What is open now excuses those that begin now. Those that end now found another queue, where it is one of
        seconds and grows or drains meanwhile, and a drained queue looks like strength gained. So the attempts are
        looked at once more: their mean must differ by half a shift, and by as much evidence as a change needs, by the
        likelihood of a gamma distribution of this `relative` variance. With too few to look at, it stands.
        """
        found, took = self._lately(e, int(self._run[e, :, _COUNT].sum()))
        if took.size < FEWEST:
            return True
        waiting, past = growth(found, lanes), self._slow[e].sum(axis=0)
        ratio = float((took / waiting).mean() * past[_COUNT] / past[_WORK])
        if sign * math.log(ratio) < self._changes.shift / 2:
            return False
        count = np.where(waiting > 1.0, 1.0 / SHARED_LUCK, 1.0).sum()
        return True if count / relative * (ratio - 1.0 - math.log(ratio)) >= self._changes.evidence else None

    def _settle(self, e: int, sign: int, now: float) -> None:
        """The change of one endpoint is certain: believe it, or doubt the few who tell of it."""
        k, took, logs, work = self._run[e].T
        self._changes.forget(np.array([e]))
        heard = k > 0
        shows = heard & (sign * (logs - k * self._base[e]) > k * self._changes.shift / 2)
        if k[shows].sum() <= AGREE * k.sum():
            self._doubted[e, shows] = now + DOUBT_S
            self._believed[e, shows] = False
            self.noting.forget(np.array([e]))
        elif k.sum() > 0:
            self._slow[e] = self._run[e] * self._decay.weight(now)
            self.noting.began(e, now)
            self._mean[e], self._base[e] = took.sum() / k.sum(), logs.sum() / k.sum()
            self._changed[e], self._work_share[e] = True, work.sum() / took.sum()
        self._run[e] = 0.0

    def _spreads(self, now: float) -> tuple[Floats, Floats]:
        """The variance of log latency about an endpoint's mean, and of latency over its mean, by service."""
        count, logs, ratios = self._spread.at(now) + _SPREAD_PRIOR
        return np.maximum(logs / count, 0.04), np.maximum(ratios / count - 1.0, 0.04)

    def freeze(self, lanes: Floats, service_of: Ints, group: Ints, now: float) -> Level:
        """What is known now. `group` by endpoint: a zone of a service, for `models.witnesses`; -1 when retired."""
        self.fold(lanes, service_of)
        count, took, logs, work = np.moveaxis(self._slow / self._decay.weight(now), 2, 0)
        variance, relative = (v[service_of] for v in self._spreads(now))
        judged = judge(count[:, 1:], took[:, 1:], logs[:, 1:], np.sqrt(variance), group)
        quick = np.moveaxis(self._quick[:, 1:] / self._quick_decay.weight(now), 2, 0)
        hasty = judge(quick[0], quick[1], quick[2], np.sqrt(variance), group)
        if not hasty.believed.all():
            self._doubted[:, 1:][~hasty.believed] = now + DOUBT_S
        doubted = self._doubted > now
        believed = ~doubted
        believed[:, 1:] &= judged.believed
        anew = (believed != self._believed).any(axis=1)
        self._believed = believed
        if not believed.all():
            count, took, logs, work = count * believed, took * believed, logs * believed, work * believed
        if anew.any():  # what its queue was told by was not true
            with np.errstate(divide="ignore", invalid="ignore"):
                self._work_share[anew] = (work.sum(axis=1) / took.sum(axis=1))[anew]
            self._run[anew] = 0.0
            self._changes.forget(anew)
            self.noting.forget(anew)
        k, total, log = count.sum(axis=1), took.sum(axis=1), logs.sum(axis=1)
        live = (service_of >= 0) & (k > 0.01)
        mean = np.divide(total, k, out=np.full_like(k, np.nan), where=live)
        self._mean = mean
        self._base = np.divide(log, k, out=np.full_like(k, np.nan), where=live & (k >= FEWEST))
        changed, self._changed = self._changed, np.zeros_like(self._changed)
        tick, self._tick = self._tick, np.zeros_like(self._tick)
        lies = ~believed[:, 1:]
        ratio = np.maximum(judged.ratio, hasty.ratio)
        ratio = np.where(doubted[:, 1:], np.maximum(ratio, 2.0), ratio)
        return Level(
            mean_s=mean,
            error=np.sqrt(relative * SHARED_LUCK * self.unlike[service_of] / np.maximum(k, 1.0)),
            count=np.where(live, k, 0.0),
            tick_good=tick[0],
            tick_log_work=tick[1],
            changed=changed,
            noted=self.noting.take(),
            work_share=np.where(changed | anew, self._work_share, np.nan),
            disputed=judged.disputed | hasty.disputed,
            contradicts=lies.sum(axis=0),
            worst_ratio=ratio.max(axis=0, initial=1.0),
        )

    def begin(self, endpoints: Ints, now: float) -> None:
        """These endpoints are new."""
        self._ended.begin(endpoints, now)
        self._slow[endpoints] = self._run[endpoints] = 0.0
        self._base[endpoints] = self._mean[endpoints] = np.nan
        self._quick[endpoints] = 0.0
        self._doubted[endpoints] = -np.inf
        self._tick[:, endpoints] = 0.0
        self._changes.forget(endpoints)
        self.noting.begin(endpoints)

    def resize(self, slots: int, nodes: int, services: int) -> None:
        """Have room for this many."""
        more = max(slots - self._base.size, 0)
        wider = max(nodes + 1 - self._slow.shape[1], 0)
        room = ((0, more), (0, wider), (0, 0))
        self._slow, self._run, self._quick = (np.pad(a, room) for a in (self._slow, self._run, self._quick))
        self._doubted = np.pad(self._doubted, ((0, more), (0, wider)), constant_values=-np.inf)
        self._believed = np.pad(self._believed, ((0, more), (0, wider)), constant_values=True)
        self._base, self._mean = (np.pad(a, (0, more), constant_values=np.nan) for a in (self._base, self._mean))
        self._changed = np.pad(self._changed, (0, more))
        self._tick = np.pad(self._tick, ((0, 0), (0, more)))
        self._work_share = np.pad(self._work_share, (0, more), constant_values=np.nan)
        self._ended.resize(slots)
        self._changes.resize(slots)
        self.noting.resize(slots, services)
        self._spread.resize(services)
        self.unlike = np.pad(self.unlike, (0, max(services - self.unlike.size, 0)), constant_values=1.0)

    def state(self) -> State:
        """A row per endpoint. Who said what is not kept: nodes are other ones after a restart."""
        return {
            "half_life_s": self._decay.half_life_s,
            "landmark": self._decay.landmark,
            "slow": self._slow.sum(axis=1),
        }

    def restore(self, state: State, left: float, now: float) -> None:
        """Take up a state kept at `left`. ValueError, and unchanged, when it is of another shape."""
        check_state(state, {"slow": self._slow[:, 0]}, "landmark", half_life_s=self._decay.half_life_s)
        self._slow[:] = 0.0
        self._slow[:, 0] = state["slow"]
        self._decay.landmark = float(state["landmark"]) + min(now - left, 0.0)
        self._ended.begin(np.arange(self._base.size), now)  # what is open is seen anew, and from now on
