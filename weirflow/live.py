"""The live driver: one brain, driven by sockets and the system clock.

It stamps the time on what the data plane tells, records it, and tells the brain; once a tick it asks for a decision,
records that, and publishes the plan, which renews the lease. That is all it does by itself: what is decided is the
brain's, what goes over wires is the server's. `replay` and the simulated mesh drive the same brain without this file.

What may go wrong here goes wrong in the safe direction. A tick that fails or comes late publishes nothing, so the lease
ends and the static rules serve. Ticks that were missed are skipped, never queued.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from brain.brain import Brain
from brain.commands import Command, DropModel
from brain.decision import Decision
from brain.settings import Settings
from dataplane.contract import DataPlane, Event, Telemetry, Topology
from weirflow import checkpoint
from weirflow.clock import Clock
from weirflow.own import Stopwatch
from weirflow.recording import Recorder

log = structlog.get_logger("weirflow.live")


@dataclass(slots=True)
class Counters:
    """What went wrong in the driver since it started; shown in `status` and scraped as metrics."""

    ticks: int = 0
    ticks_skipped: int = 0
    tick_errors: int = 0
    told_errors: int = 0
    last_tick_s: float = 0.0  # how long the last tick took
    renewed_at: float | None = None  # the brain's time when the lease was renewed last
    checkpointed_at: float | None = None  # and when a checkpoint was written last
    checkpoint_problem: str = ""  # why the last one was not; "" when it was
    problems: list[str] = field(default_factory=list)  # what an operator has to know, newest last, at most 20

    def problem(self, message: str) -> None:
        """Keep a message for `status`."""
        self.problems.append(message)
        del self.problems[:-20]


class Driver:
    """Drives one brain over one data plane. Every call that reaches the brain passes here, in order, with its time."""

    def __init__(
        self,
        brain: Brain,
        clock: Clock,
        *,
        tick_s: float,
        recorder: Recorder | None = None,
        checkpoint_path: Path | None = None,
        checkpoint_every_s: float = 30.0,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self.brain = brain
        self.clock = clock
        self.tick_s = tick_s
        self.recorder = recorder
        self.counters = Counters()
        self.dataplane: DataPlane | None = None  # given by `serve`: it is made with this driver's callables
        self.on_decision: Callable[[Decision], None] | None = None  # who delivers alerts: returns at once, never raises
        self._stopwatch = stopwatch  # of the operator's own models
        self._checkpoint_path = checkpoint_path
        self._checkpoint_every_s = checkpoint_every_s
        self._checkpointed_at = clock.now()

    # What the data plane tells.

    def on_telemetry(self, batch: Telemetry) -> None:
        """Stamp, record, tell. A brain that cannot digest a batch loses that batch and nothing else."""
        self._told("told", batch)

    def on_event(self, event: Event) -> None:
        """Stamp, record, tell the brain of a verdict or of a node that came or went."""
        self._told("heard", event)

    def moved(self, topology: Topology) -> None:
        """A membership change, from discovery or a reload: the brain first, so that no plan lacks an endpoint."""
        self._told("moved", topology)

    def configured(self, settings: Settings) -> None:
        """New settings, from a reload."""
        self._told("configured", settings)
        self.tick_s = settings.tick_s

    def command(self, command: Command, who: str) -> None:
        """An operator's word. KeyError, with the nearest right name, when it names a service that is not there."""
        now = self.clock.now()
        self.brain.command(command, now)  # first: a command that is refused is not recorded as given
        if self.recorder is not None:
            self.recorder.commanded(command, now, who)
        log.info("commanded", command=command, who=who)

    def _told(self, verb: str, argument: Any) -> None:
        now = self.clock.now()
        if self.recorder is not None:
            getattr(self.recorder, verb)(argument, now)
        try:
            getattr(self.brain, verb)(argument, now)
        except Exception as error:
            self.counters.told_errors += 1
            self._failed(verb, error, now)

    def _failed(self, verb: str, error: Exception, now: float) -> None:
        """A fault in the brain: told to the operator and to the recording. In a replay the same fault is a crash."""
        self.counters.problem(f"failed on {verb}: {error!r}")
        log.error("failed", verb=verb, exc_info=error)
        if self.recorder is not None:
            self.recorder.failed(verb, repr(error), now)

    # What the clock tells.

    def tick(self) -> Decision | None:
        """Decide once, record, publish. None, and nothing is renewed, when the brain failed."""
        now = self.clock.now()
        try:
            decision = self.brain.tick(now)
        except Exception as error:
            self.counters.tick_errors += 1
            self._failed("tick", error, now)
            return None
        finally:
            self.counters.ticks += 1
            self.counters.last_tick_s = self.clock.now() - now
        if self.on_decision is not None:  # before disks and wires: they may be what is wrong
            self.on_decision(decision)
        if self.recorder is not None:
            self.recorder.decided(decision, now)
        if decision.plan is not None and self.dataplane is not None:
            self.dataplane.publish(decision.plan)
            self.counters.renewed_at = now
        for name, why in self._stopwatch.ticked(self.tick_s).items() if self._stopwatch is not None else ():
            self.command(DropModel(name, why), "weirflow")  # recorded as any order: a replay has no stopwatch
        for alert in decision.alerts:
            log.warning("alert", kind=alert.kind, opened=alert.opened, summary=alert.summary, **alert.labels)
        return decision

    async def run(self) -> None:
        """Tick until cancelled, at whole multiples of the period. A late tick skips those it missed."""
        due = self.clock.now() + self.tick_s
        while True:
            await asyncio.sleep(self.clock.real(max(0.0, due - self.clock.now())))
            late = self.clock.now() - due
            # A whole period late, or more: those ticks are gone. Deciding twice on one state would renew a lease that
            # nobody vouched for in between.
            skipped = int(late // self.tick_s)
            if skipped > 0:
                self.counters.ticks_skipped += skipped
                self._told("overran", skipped)
            try:
                self.tick()
            except Exception as error:  # of the recorder, the wires or ourselves: the next tick may fare better
                self.counters.tick_errors += 1
                self._failed("driver", error, self.clock.now())
            due += (skipped + 1) * self.tick_s
            await self._checkpoint_when_due()

    # What outlives the process.

    def restore(self) -> str:
        """Take up the last checkpoint if there is a good one. Returns what happened, in words."""
        if self._checkpoint_path is None:
            return "no checkpoint is kept"
        now = self.clock.now()  # once: the recording must tell a replay the very time that the brain was told
        try:
            state = checkpoint.load(self._checkpoint_path)
            if state is None:
                return "no checkpoint yet: starting from the operator's weights"
            self.brain.restore(state, now)
        except (checkpoint.CheckpointError, ValueError) as error:
            self.counters.problem(str(error))
            return f"{error}; starting from the operator's weights"
        if self.recorder is not None:
            self.recorder.restored(state, now)
        return f"restored from {self._checkpoint_path}"

    def save(self) -> None:
        """Write a checkpoint now. A disk that refuses costs the checkpoint and nothing else."""
        if self._checkpoint_path is None:
            return
        try:
            checkpoint.save(self._checkpoint_path, self.brain.state())
        except OSError as error:
            self._not_kept(error)

    async def _checkpoint_when_due(self) -> None:
        now = self.clock.now()
        if self._checkpoint_path is None or now - self._checkpointed_at < self._checkpoint_every_s:
            return
        self._checkpointed_at = now
        state = self.brain.state()
        try:
            await asyncio.to_thread(checkpoint.save, self._checkpoint_path, state)
        except (OSError, ValueError) as error:  # the disk refuses, or there is more than a file may have
            self._not_kept(error)
        else:
            self.counters.checkpointed_at, self.counters.checkpoint_problem = now, ""

    def _not_kept(self, error: Exception) -> None:
        self.counters.checkpoint_problem = f"checkpoint not written: {error}"
        self.counters.problem(self.counters.checkpoint_problem)
        log.warning("checkpoint not written", error=str(error))
