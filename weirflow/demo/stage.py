"""What the phases of the story act on, and how they measure.

Every figure is the client's own: the arm from the route's header, the backend from its own. Only requests before the
load's horizon count, so that a slow answer cannot hide where it was sent: by then every request has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Arm
from weirflow.demo import mesh
from weirflow.demo.answers import Answers, first_window
from weirflow.demo.backends import Backend, Backends
from weirflow.demo.load import Load
from weirflow.demo.processes import Brain, until
from weirflow.demo.report import Phase, Report, Timing, rows
from weirflow.demo.table import share
from weirflow.demo.teller import Teller

SECOND_S = 1.0
Picks = Callable[[], tuple[NDArray[np.float64], NDArray[np.bool_]]]  # when each was meant to leave, and whether it hit


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the measuring windows are, and how long each condition may take before its claim has failed."""

    window_s: float = 6.0
    gray_window_s: float = 10.0  # where the arms are compared: the holdout's few requests must tell them apart
    ttl_s: float = 5.0
    learn_deadline_s: float = 25.0
    switch_deadline_s: float = 15.0
    settle_deadline_s: float = 10.0
    divert_deadline_s: float = 15.0
    recover_deadline_s: float = 40.0
    return_deadline_s: float = 30.0


@dataclass(slots=True)
class Stage:
    """The parts that run, and the report that grows."""

    backends: Backends
    load: Load
    brain: Brain
    tell: Teller
    pace: Pace
    gray: Backend  # the one that will turn slow, of the load's first service
    report: Report = field(default_factory=Report)
    phases: list[Phase] = field(default_factory=list)
    share_before: float = float("nan")  # of `gray`, in its service's adaptive traffic, before it turned slow
    slow_s: float = float("nan")  # the p99 of its service's latency, before it turned slow

    # What the client saw.

    async def window(self, name: str, length_s: float) -> Answers:
        """Measure from now on, for the length of a window."""
        start = self.load.now()
        return await self.measure(name, start, start + length_s)

    async def measure(self, name: str, start: float, end: float) -> Answers:
        """Make [start, end) a phase of the report, wait for its end and return its answers."""
        with self.tell.waiting(f"measuring: {name}"):
            await self.load.settled(end)
        self.phases.append(Phase(name, start, end))
        return self.load.answers().between(start, end)

    def adaptive_share(self) -> float:
        """The adaptive arm's share of the newest second of traffic; NaN when no answer told its arm."""
        end = self.load.horizon()
        told = self.load.answers().between(end - SECOND_S, end)
        told = told.take(told.arm >= 0)
        return float((told.arm == Arm.ADAPTIVE).mean()) if len(told) else float("nan")

    @property
    def own_share(self) -> float:
        """What the gray backend had before it turned slow; or its part of what its service bears, if that is less.

        Where much is free the brain may give the strong more than their part, or not, by what it has seen of queues.
        """
        bears = {b.name: b.spec.workers / b.spec.service_ms for b in self.backends}
        whole = sum(bears[b.name] for b in mesh.SERVICES[self.load.services[0]])
        return min(self.share_before, bears[self.gray.name] / whole)

    def share_of_gray(self, answers: Answers, arm: Arm = Arm.ADAPTIVE) -> float:
        """The gray backend's share of one arm's answers for its service; NaN without answers."""
        mine = answers.where(service=0, arm=arm)
        return float(self._by_gray(mine).mean()) if len(mine) else float("nan")

    def slow_share(self, answers: Answers, arm: Arm) -> float:
        """What share of one arm's requests for the gray backend's service took longer than 99 % did before."""
        mine = answers.where(service=0, arm=arm)
        return float((mine.latency_s > self.slow_s).mean()) if len(mine) else float("nan")

    async def gray_share_passes(
        self, start: float, deadline_s: float, *, above: float | None = None, below: float | None = None
    ) -> float | None:
        """How long after `start` the first second ends in which the gray backend's adaptive share passes the bound."""

        def picks() -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
            mine = self.load.answers().where(service=0, arm=Arm.ADAPTIVE)
            return mine.intended_s, self._by_gray(mine)

        return await self._first_second(picks, start, deadline_s, above, below)

    async def gray_weight_halves(self, start: float, deadline_s: float) -> float | None:
        """How long after `start` the brain's weights give the gray backend less than half of what they do now."""

        async def weight_share() -> float:
            service = await self.brain.service(self.load.services[0])
            mine = next(e for e in service["endpoints"] if e["address"] == self.gray.address)
            return share(service, mine, "weight")

        before = await weight_share()

        async def halved() -> bool:
            return await weight_share() < before / 2

        return self.load.now() - start if await until(halved, deadline_s, "", must=False) else None

    async def adaptive_share_passes(
        self, start: float, deadline_s: float, *, above: float | None = None, below: float | None = None
    ) -> float | None:
        """The same for the adaptive arm's share of all traffic."""

        def picks() -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
            told = self.load.answers()
            told = told.take(told.arm >= 0)
            return told.intended_s, told.arm == Arm.ADAPTIVE

        return await self._first_second(picks, start, deadline_s, above, below)

    async def _first_second(
        self, picks: Picks, start: float, deadline_s: float, above: float | None, below: float | None
    ) -> float | None:
        def passed() -> float | None:
            end = min(self.load.horizon(), start + deadline_s)
            times, hits = picks()
            return first_window(times, hits, start=start, end=end, width_s=SECOND_S, above=above, below=below)

        told: float | None = await until(passed, deadline_s, "", must=False)
        if told is None:  # the newest requests may still be open: judge again when none is
            await self.load.settled(start + deadline_s)
            told = passed()
        return told

    def _by_gray(self, answers: Answers) -> NDArray[np.bool_]:
        names = self.load.backends
        index = names.index(self.gray.name) if self.gray.name in names else -2  # not seen yet: matches nothing
        by_gray: NDArray[np.bool_] = answers.backend == index
        return by_gray

    # What goes into the report.

    def claim(self, sentence: str, held: bool, figure: str) -> None:
        """Claim something, aloud."""
        self.tell.claim(self.report.claim(sentence, held, figure))

    def time(self, name: str, took_s: float | None, definition: str) -> None:
        """Put a time into the report."""
        self.report.timings.append(Timing(name, None if took_s is None else round(took_s, 2), definition))

    def conclude(self) -> Report:
        """Read the whole load into the report."""
        answers = self.load.answers()
        for phase in self.phases:
            self.report.rows += rows(phase, answers, self.load.services)
        self.report.requests, self.report.failed = len(answers), int(answers.failed.sum())
        if len(answers):
            self.report.sent_late_p99_ms = round(float(np.nanquantile(answers.late_s, 0.99)) * 1000, 2)
        self.report.took_s = round(self.tell.took_s, 1)
        return self.report
