"""What makes a backend slow: a bounded number of workers and one queue in front of them, first come first served.

Work is a timer, not a loop, so a dozen backends fit on one core and still behave like servers: past
`workers / service_s` requests a second the queue grows, and with it the latency. The clock is the caller's: `later`
is asyncio's `call_later` in a process, and a list of timers in a test.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol


class Asker(Protocol):
    """Who waits for an answer. `gone` is true once there is nobody left to answer."""

    gone: bool

    def answer(self, status: int) -> None:
        """Take the answer."""


@dataclass
class Faults:
    """What can be wrong with a backend, changed while it runs.

    `slow` multiplies the time of work that starts from now on. `error_share` of requests fail at once with 500 and
    cost no worker, as a broken dependency would have it. `hang` holds every answer back until it is lifted.
    """

    slow: float = 1.0
    error_share: float = 0.0
    hang: bool = False

    def __post_init__(self) -> None:
        """ValueError with the key and its range."""
        if isinstance(self.slow, bool) or not isinstance(self.slow, int | float) or not 0 < self.slow < math.inf:
            raise ValueError(f"slow must be a number above 0, not {self.slow!r}")
        share = self.error_share
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ValueError(f"error_share must be a number from 0 to 1, not {share!r}")
        if not isinstance(self.hang, bool):
            raise ValueError(f"hang must be true or false, not {self.hang!r}")


class Desk:
    """`workers` servers behind one queue. Service times are lognormal with mean `service_s` and shape `sigma`.

    A lognormal of sigma 0.5 has a p99 of 2.8 times its mean, like a handler that mostly does the same thing; 0 makes
    every request take exactly `service_s`.
    """

    def __init__(
        self,
        workers: int,
        service_s: float,
        random: Random,
        later: Callable[[float, Callable[[], None]], Any],
        sigma: float = 0.5,
    ) -> None:
        self.workers, self.service_s, self.sigma = workers, service_s, sigma
        self.faults = Faults()
        self.busy = 0
        self.served = 0
        self.failed = 0
        self._random, self._later = random, later
        self._queue: deque[Asker] = deque()
        self._held: list[Asker] = []

    def ask(self, who: Asker) -> None:
        """Serve `who` now if a worker is free, else in turn."""
        if self.faults.error_share and self._random.random() < self.faults.error_share:
            self.failed += 1
            who.answer(500)
        elif self.busy < self.workers:
            self._start(who)
        else:
            self._queue.append(who)

    def turn(self, faults: Faults) -> None:
        """Take up new faults. Lifting a hang answers everything that it held back."""
        self.faults = faults
        if not faults.hang:
            held, self._held = self._held, []
            for who in held:
                self._finish(who)

    def state(self) -> dict[str, Any]:
        """The faults in force and what is going on, for the control page."""
        return {
            "slow": self.faults.slow,
            "error_share": self.faults.error_share,
            "hang": self.faults.hang,
            "busy": self.busy,
            "queued": len(self._queue),
            "served": self.served,
            "failed": self.failed,
        }

    def _start(self, who: Asker) -> None:
        self.busy += 1
        # exp(sigma z - sigma^2 / 2) has mean 1
        spread = math.exp(self._random.gauss(0.0, self.sigma) - self.sigma**2 / 2) if self.sigma else 1.0
        self._later(self.service_s * self.faults.slow * spread, lambda: self._finish(who))

    def _finish(self, who: Asker) -> None:
        if self.faults.hang:
            self._held.append(who)  # its worker stays taken
            return
        self.busy -= 1
        self.served += 1
        while self._queue and self.busy < self.workers:
            waiting = self._queue.popleft()
            if not waiting.gone:
                self._start(waiting)
        if not who.gone:
            who.answer(200)
