"""One emulated endpoint: a bounded number of workers behind one queue, and a life of its own in pieces.

What it does with a request is written in `dataplane.simulated.fleet`. Work is a timer, so twenty endpoints of four
workers each cost next to no CPU and still behave like servers. The work comes with the request, so each policy meets
the same. The clock is the caller's: asyncio's in a process, a list of timers in a test. Times count from the start of
the run.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dataplane.simulated.fleet import Fleet

LOAD_SMOOTHING_S = 1.0
"""What an endpoint reports about its load is a mean over about this long, as a server's own metrics are."""


class Asker(Protocol):
    """Who waits for an answer. `gone` is true once there is nobody left to answer."""

    gone: bool
    demand_s: float
    luck: float

    def answer(self, status: int, *, empty: bool = False) -> None:
        """Take the answer; `empty`: without a body."""


class Clock(Protocol):
    """When it is, in seconds since the start of the run, and what is due when."""

    def now(self) -> float:
        """The time; negative before the start."""

    def at(self, when_s: float, call: Callable[..., None], *told: Any) -> None:
        """Call it then."""


@dataclass(frozen=True, slots=True)
class Piece:
    """How an endpoint behaves from `since_s` on."""

    since_s: float = 0.0
    speed: float = 1.0
    extra_s: float = 0.0
    error_share: float = 0.0
    status: int = 503
    after_s: float = 0.001
    hang: bool = False


def pieces(fleet: Fleet, index: int) -> tuple[Piece, ...]:
    """The life of one endpoint of a fleet."""
    return tuple(
        Piece(*(getattr(fleet, name)[index, k].item() for name in Piece.__slots__))
        for k in range(fleet.since_s.shape[1])
        if math.isfinite(fleet.since_s[index, k])
    )


class Endpoint:
    """`workers` workers and one queue, first come first served. It tells its load as `load()`."""

    def __init__(self, workers: int, life: Sequence[Piece], clock: Clock) -> None:
        self._workers, self._life, self._clock = workers, tuple(life), clock
        self._piece = 0
        self._busy = 0
        self._queue: deque[Asker] = deque()
        self._ends: list[tuple[Callable[..., None], Any]] = []  # what a hang holds back, in the order it was due
        self._pile: list[Asker] = []  # who came during a hang
        self._since = 0.0
        self._utilization = self._rate = self._errors = 0.0
        for k in range(1, len(self._life)):
            if self._life[k - 1].hang and not self._life[k].hang:
                clock.at(self._life[k].since_s, self._resume, k)

    def ask(self, who: Asker) -> None:
        """A request has reached it."""
        piece = self._now()
        if piece.hang:
            self._pile.append(who)
        elif who.luck < piece.error_share:
            self._clock.at(self._clock.now() + piece.after_s, self._unless_hanging, self._fail, (who, piece.status))
        elif self._busy < self._workers:
            self._start(who, piece)
        else:
            self._queue.append(who)

    def load(self) -> tuple[float, float, float]:
        """What it would report: share of its workers busy, answers a second, failures a second. Smoothed."""
        self._smooth()
        return self._utilization, self._rate, self._errors

    def in_flight(self) -> int:
        """Requests of those who wait for an answer, whether in work or in the queue."""
        return self._busy + sum(not who.gone for who in (*self._queue, *self._pile))

    def _now(self) -> Piece:
        now, life = self._clock.now(), self._life
        while self._piece + 1 < len(life) and life[self._piece + 1].since_s <= now:
            self._piece += 1
        return life[self._piece]

    def _start(self, who: Asker, piece: Piece) -> None:
        self._smooth()
        self._busy += 1
        told = (who, piece.extra_s)
        self._clock.at(self._clock.now() + who.demand_s / piece.speed, self._unless_hanging, self._finish, told)

    def _unless_hanging(self, end: Callable[..., None], told: tuple[Any, ...]) -> None:
        """Nothing ends while it hangs."""
        if self._now().hang:
            self._ends.append((end, told))
        else:
            end(*told)

    def _finish(self, who: Asker, extra_s: float) -> None:
        self._smooth()
        self._busy -= 1
        self._rate += 1 / LOAD_SMOOTHING_S
        self._serve()
        if extra_s > 0:
            self._clock.at(self._clock.now() + extra_s, _answer, who, 200, False)
        else:
            _answer(who, 200, empty=False)

    def _serve(self) -> None:
        """Give a free worker to who has waited longest; who has gone has taken its work away."""
        while self._queue and self._busy < self._workers:
            waiting = self._queue.popleft()
            if not waiting.gone:
                self._start(waiting, self._now())

    def _fail(self, who: Asker, status: int) -> None:
        self._smooth()
        self._rate += 1 / LOAD_SMOOTHING_S
        self._errors += (status >= 500) / LOAD_SMOOTHING_S
        _answer(who, status, empty=status == 200)

    def _resume(self, piece: int) -> None:
        """The hang is over: what was due ends in its order, then who came is served as if they came now."""
        self._piece = max(self._piece, piece)  # a timer may fire a nanosecond early
        ends, self._ends = self._ends, []
        for end, told in ends:
            end(*told)
        pile, self._pile = self._pile, []
        for who in pile:
            if not who.gone:
                self.ask(who)

    def _smooth(self) -> None:
        now = self._clock.now()
        kept = math.exp((self._since - now) / LOAD_SMOOTHING_S)
        busy = self._busy / self._workers
        self._utilization = busy + (self._utilization - busy) * kept
        self._rate *= kept
        self._errors *= kept
        self._since = now


def _answer(who: Asker, status: int, empty: bool) -> None:
    if not who.gone:
        who.answer(status, empty=empty)
