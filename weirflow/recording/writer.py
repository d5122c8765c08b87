"""The recorder: hears what the brain hears, and writes it down in a thread of its own.

On the event loop a call costs one append to a queue; what was handed over must not change any more. The thread encodes
and writes. Nothing here can hold up or bring down the mesh: when the disk is full, gone or too slow, the recorder says
so once and stops, the parts that were closed stay, and later calls are ignored.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import weirflow
from brain.commands import Command
from brain.decision import Decision
from brain.settings import Settings
from dataplane.contract import Columns, Event, Telemetry, Topology
from dataplane.mesh import Mesh
from weirflow import checkpoint
from weirflow.recording import calls
from weirflow.recording.calls import Failure, Start, without_addresses
from weirflow.recording.schema import STREAM_OF, row_bytes
from weirflow.recording.scribe import Scribe

_CALL_BYTES = 1_000  # what a call without columns may hold, roughly
_ENDPOINT_BYTES = 2_000  # what a decision holds for one endpoint, roughly
_ROW_BYTES = {kind: row_bytes(stream) for kind, stream in STREAM_OF.items()}

_Said = tuple[int, float, str, Any, Any]  # size, now, verb, argument, note


class Recorder:
    """Records one run into one folder. Call it from one thread, with everything that the brain is told, in order.

    `part_s` is in the time of the calls. `keep_bytes` bounds the closed parts of this run and of the `older` ones
    (folders, oldest first): the oldest telemetry goes first and decisions last. `backlog_bytes` bounds what may wait
    for the disk. `mesh`: the static rules at the start, which no replay needs and what-if does. `on_problem` is called
    at most once, with why the recording stopped, perhaps from the recorder's own thread. No method raises OSError.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: Settings,
        topology: Topology,
        now: float,
        part_s: float = 60.0,
        part_rows: int = 1_000_000,
        keep_bytes: int | None = None,
        on_problem: Callable[[str], None],
        run: str = "",
        mesh: Mesh | None = None,
        older: Sequence[Path] = (),
        backlog_bytes: int = 1 << 28,
    ) -> None:
        self.folder = folder
        self._on_problem = on_problem
        self._backlog_bytes = backlog_bytes
        self._queue: SimpleQueue[_Said | None] = SimpleQueue()
        # Each is written by one thread only and read by the other, so neither needs a lock.
        self._handed, self._taken = 0, 0
        self._stopped: str | None = None
        self._closed = False
        self._stopping = threading.Lock()
        self._scribe: Scribe | None = None
        about = {"weirflow": weirflow.__version__, "run": run, "mesh": calls.plain(without_addresses(mesh))}
        form: dict[str, Any] = {"part_s": part_s, "part_rows": part_rows, "keep_bytes": keep_bytes, "older": older}
        try:
            self._scribe = Scribe(folder, Start(settings, topology), now, about, **form)
        except OSError as error:
            self._stop(_why(error))
            return
        # A daemon: a process that dies without closing its recording loses the open part and does not hang.
        self._thread = threading.Thread(target=self._write, args=(self._scribe,), name="weirflow-recorder", daemon=True)
        self._thread.start()

    def restored(self, state: dict[str, Any], now: float) -> None:
        """The brain took up this state. Copied at once: the brain goes on to change it."""
        if self._stopped is None:
            data = checkpoint.encode(state)
            self._put(len(data), now, "restored", None, data)

    def moved(self, topology: Topology, now: float) -> None:
        """The membership changed."""
        self._put(_CALL_BYTES, now, "moved", topology)

    def configured(self, settings: Settings, now: float) -> None:
        """The settings changed."""
        self._put(_CALL_BYTES, now, "configured", settings)

    def told(self, batch: Telemetry, now: float) -> None:
        """Telemetry came. Only the reference is kept: its arrays must not change any more."""
        rows = len(batch) * _ROW_BYTES[type(batch).__name__] if isinstance(batch, Columns) else 0
        self._put(_CALL_BYTES + rows, now, "told", batch)

    def heard(self, event: Event, now: float) -> None:
        """A verdict came, or a node came or went."""
        self._put(_CALL_BYTES, now, "heard", event)

    def commanded(self, command: Command, now: float, who: str = "") -> None:
        """An operator commanded."""
        self._put(_CALL_BYTES, now, "commanded", command, who)

    def overran(self, ticks: int, now: float) -> None:
        """Ticks were skipped."""
        self._put(_CALL_BYTES, now, "overran", ticks)

    def failed(self, verb: str, error: str, now: float) -> None:
        """The brain raised, on the call before this one or (verb `tick`) in a tick."""
        self._put(_CALL_BYTES, now, "failed", Failure(verb, error))

    def decided(self, decision: Decision, now: float) -> None:
        """The brain ticked."""
        self._put(
            _CALL_BYTES + _ENDPOINT_BYTES * sum(len(s.endpoints) for s in decision.services), now, "decided", decision
        )

    def close(self, deadline_s: float = 30.0) -> None:
        """Write what waits, close the open part, end the thread. Blocks, for `deadline_s` at most."""
        if self._closed or self._scribe is None:
            return
        self._closed = True
        self._queue.put(None)
        self._thread.join(deadline_s)
        if self._thread.is_alive():
            self._stop(f"the disk did not take the last part within {deadline_s:g} s of closing")

    def status(self) -> dict[str, Any]:
        """What an operator may want to know, as plain data."""
        scribe = self._scribe
        return {
            "folder": str(self.folder),
            "state": "stopped" if self._stopped is not None else "closed" if self._closed else "recording",
            "problem": self._stopped,
            "parts": scribe.parts if scribe else 0,
            "attempts": scribe.attempts if scribe else 0,
            "bytes": scribe.kept.own.bytes if scribe else 0,
            "telemetry_from_part": scribe.kept.own.telemetry_from if scribe else 1,
            "backlog_bytes": self._handed - self._taken,
        }

    def _put(self, size: int, now: float, verb: str, argument: Any, note: Any = None) -> None:
        if self._stopped is not None or self._closed:
            return
        if self._handed - self._taken + size > self._backlog_bytes:
            self._stop(f"the disk is too slow: {self._handed - self._taken} bytes wait for it")
            self._queue.put(None)
            return
        self._handed += size
        self._queue.put((size, now, verb, argument, note))

    def _write(self, scribe: Scribe) -> None:
        """The thread: until told to end, or until the disk refuses. After a stop the rest is let go unwritten."""
        try:
            while (said := self._queue.get()) is not None:
                size, now, verb, argument, note = said
                if self._stopped is None:
                    scribe.write(now, verb, argument, note)
                self._taken += size
            if self._stopped is None:
                scribe.close()
            else:
                scribe.abandon()
        except Exception as error:  # whatever it is, it costs the recording and nothing else
            scribe.abandon()
            self._stop(_why(error))
            while not self._queue.empty():
                self._queue.get()

    def _stop(self, reason: str) -> None:
        with self._stopping:
            if self._stopped is not None:
                return
            self._stopped = f"recording to {self.folder} stopped: {reason}. What was closed is kept; the mesh goes on."
        self._on_problem(self._stopped)


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    return repr(error)
