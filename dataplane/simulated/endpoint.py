"""A simulated endpoint: a few workers behind one FIFO queue, and what is to go wrong with it and when.

Service times are gamma distributed with a mean and a coefficient of variation (1 is exponential, 0 is constant). Faults
are windows of time:

* `slow`: work that starts in the window takes `factor` times as long;
* `error`: a share of requests is answered at once (`after_s`) with `status`, without work: the fast failure that naive
  balancers love;
* `hang`: nothing starts and nothing ends until the window is over. Requests pile up; connections stay.

A client that gives up does not stop the work it caused, unless that work has not begun.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

    from dataplane.simulated.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong from `start_s` to `end_s`, in the schedule's time."""

    kind: Literal["slow", "error", "hang"]
    start_s: float
    end_s: float
    factor: float = 10.0
    status: int = 500
    share: float = 1.0
    after_s: float = 0.001


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How an endpoint works. `queue` requests may wait; more are answered 503 at once."""

    service_s: float = 0.02
    workers: int = 4
    variation: float = 1.0
    queue: int = 1000
    faults: tuple[Fault, ...] = ()


@dataclass(slots=True)
class Work:
    """One attempt at an endpoint. `done(status)` is called when it ends; `gone()` says that nobody waits any more."""

    done: Callable[[int], None]
    gone: Callable[[], bool] = lambda: False


@dataclass(slots=True)
class SimulatedEndpoint:
    """One endpoint in virtual time."""

    behaviour: Behaviour
    schedule: Schedule
    rng: np.random.Generator
    busy: int = 0
    waiting: deque[Work] = field(default_factory=deque)
    held: list[Work] = field(default_factory=list)  # finished but for a hang

    def __post_init__(self) -> None:
        """A hang ends by itself."""
        for fault in self.behaviour.faults:
            if fault.kind == "hang":
                self.schedule.at(fault.end_s, self._thaw, priority=0)

    def submit(self, work: Work) -> None:
        """Take a request: answer it at once, start it, queue it, or refuse it when the queue is full."""
        fault = self._fault("error")
        if fault is not None and (fault.share >= 1.0 or self.rng.random() < fault.share):
            self.schedule.at(self.schedule.now + fault.after_s, work.done, fault.status)
        elif self.busy < self.behaviour.workers and self._fault("hang") is None:
            self._start(work)
        elif len(self.waiting) < self.behaviour.queue:
            self.waiting.append(work)
        else:
            self.schedule.at(self.schedule.now + 0.001, work.done, 503)

    def _start(self, work: Work) -> None:
        self.busy += 1
        takes = self.behaviour.service_s
        if self.behaviour.variation > 0:
            shape = self.behaviour.variation**-2
            takes *= self.rng.standard_gamma(shape) / shape
        slow = self._fault("slow")
        if slow is not None:
            takes *= slow.factor
        self.schedule.at(self.schedule.now + takes, self._end, work)

    def _end(self, work: Work) -> None:
        if self._fault("hang") is not None:
            self.held.append(work)
            return
        self.busy -= 1
        work.done(200)
        self._next()

    def _next(self) -> None:
        while self.waiting and self.busy < self.behaviour.workers:
            work = self.waiting.popleft()
            if not work.gone():
                self._start(work)

    def _thaw(self) -> None:
        held, self.held = self.held, []
        for work in held:
            self._end(work)
        self._next()

    def _fault(self, kind: str) -> Fault | None:
        now = self.schedule.now
        for fault in self.behaviour.faults:
            if fault.kind == kind and fault.start_s <= now < fault.end_s:
                return fault
        return None
