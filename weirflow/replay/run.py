"""One pass over a recording: compared with what was recorded, written into a report, held against another's report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby, takewhile

import weirflow
from weirflow.plain import plain
from weirflow.recording import Call, Recording
from weirflow.replay.compare import Comparison
from weirflow.replay.differences import Difference, parted
from weirflow.replay.loop import BrainFactory, Calls, steps
from weirflow.replay.report import Head, Report, ReportError, Writer, identity
from weirflow.replay.row import Row, rows_of
from weirflow.replay.told import Line, Told

Heard = Callable[[float], None]  # the brain's time of each call, for who shows progress


@dataclass(frozen=True, slots=True)
class Until:
    """The calls of a recording up to a moment of the brain's time."""

    recording: Calls
    until: float

    def calls(self) -> Iterator[Call]:
        """Those calls, in order."""
        return takewhile(lambda call: call.now <= self.until, self.recording.calls())


def head_of(recording: Recording, until: float) -> Head:
    """What a report of this version over this recording says of itself. The recording has a part."""
    return Head(
        weirflow=weirflow.__version__,
        recording=identity(recording),
        parts=len(recording.parts),
        started=recording.started,
        until=until,
        settings=plain(recording.parts[0].settings),
    )


class Run:
    """A pass. What was found is there after `go`, and up to where it broke when `go` raises."""

    def __init__(
        self,
        recording: Calls,
        brain_factory: BrainFactory,
        *,
        service: str | None = None,
        writer: Writer | None = None,
        report: Report | None = None,
        comparison: Comparison | None = None,
    ) -> None:
        """`service`: only what is decided of that one is compared with what was recorded.

        With neither a writer nor a report (and its comparison) the pass ends at the first difference.
        """
        self.calls = 0
        self.ticks = 0
        self.now: float | None = None  # the brain's time of the last call
        self.first: Difference | None = None
        self.told: list[Line] = []  # before the first difference
        self._steps = steps(recording, brain_factory)
        self._service, self._writer, self._comparison = service, writer, comparison
        self._theirs = None if report is None else (list(rows) for _, rows in groupby(report.rows(), lambda r: r.tick))
        self._report = report

    def go(self, heard: Heard) -> None:
        """Go through it. RecordingError, ReplayError, ReportError, and OSError when a report cannot be written."""
        told = Told()
        errors: list[str] = []
        for step in self._steps:
            self.calls += 1
            self.now = step.call.now
            heard(step.call.now)
            if self.first is None:
                if not step.is_tick:
                    told.add(step.call)
                self.first = parted(step, self._service)
                if self.first is not None:
                    self.told = told.lines()
                elif step.is_tick:
                    told.add(step.call)
            if step.is_tick:
                self.ticks += 1
                if self._writer is not None or self._theirs is not None:
                    self._keep(list(rows_of(step, self.ticks, "; ".join(errors))))
                errors = []
            elif step.raised is not None:
                errors.append(f"{step.call.verb}: {step.raised!r}")
            if self.first is not None and self._writer is None and self._theirs is None:
                return

    def _keep(self, rows: list[Row]) -> None:
        if self._writer is not None:
            for row in rows:
                self._writer.add(row)
        if self._theirs is None or self._comparison is None or self._report is None:
            return
        theirs, due = next(self._theirs, None), rows[0]
        if theirs is None or (theirs[0].tick, theirs[0].now, theirs[0].service) != (due.tick, due.now, None):
            there = "nothing"
            if theirs is not None:
                there = f"{theirs[0].service or 'the mesh'} at tick {theirs[0].tick} at {theirs[0].now}"
            raise ReportError(f"{self._report.path}: tick {due.tick} at {due.now} was due, and {there} is there")
        self._comparison.add(theirs, rows)
