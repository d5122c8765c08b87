"""What a recording holds of one service, and what was lost on the way, counted part by part.

Envoy loses access log entries without saying so when its buffer is full (envoyproxy/envoy#10764). Its load reports
count every request that was sent to an endpoint, so what was logged is held against what was issued.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from dataplane.simulated.fleet import Floats
from weirflow.recording import Recording, RecordingError
from weirflow.whatif.question import Frame

SEEN_WINDOW_S = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Coverage:
    """Of one service."""

    attempts: int
    issued: int  # by the load reports; 0: there are none
    dropped: int  # log entries of any service that nobody could learn from
    damaged: tuple[str, ...]  # parts that could not be read, and why
    deleted: bool  # telemetry was deleted to save space
    peak_per_s: float  # attempts a second, in the busiest ten seconds
    per_s: Floats  # the same over time, in windows of ten seconds from the start

    @property
    def lost_share(self) -> float:
        """Of what was sent to endpoints, that never came by the log."""
        return max(0.0, 1.0 - self.attempts / self.issued) if self.issued else 0.0


def coverage(recording: Recording, frame: Frame) -> Coverage:
    """Count. Damaged parts are passed over, and told."""
    faults: list[RecordingError] = []
    attempts = issued = dropped = 0
    counts = np.zeros(max(1, int(np.ceil(frame.duration_s / SEEN_WINDOW_S))))
    for _, table in recording.tables("attempts", ["service", "endpoint_id", "now"], faults=faults):
        mine = table.filter(pc.equal(table.column("service"), frame.service))
        attempts += int((mine.column("endpoint_id").to_numpy() >= 0).sum())
        place = ((mine.column("now").to_numpy() - frame.started) // SEEN_WINDOW_S).astype(np.int64)
        counts += np.bincount(np.clip(place, 0, len(counts) - 1), minlength=len(counts))
    for _, table in recording.tables("in_flight", ["service", "issued"], faults=faults):
        issued += int(
            pc.sum(table.filter(pc.equal(table.column("service"), frame.service)).column("issued")).as_py() or 0
        )
    for _, table in recording.tables("events", ["kind", "body"], faults=faults):
        for body in table.filter(pc.equal(table.column("kind"), "Dropped")).column("body").to_pylist():
            dropped += _dropped(body)
    return Coverage(
        attempts=attempts,
        issued=issued,
        dropped=dropped,
        damaged=tuple(dict.fromkeys(str(f) for f in faults)),
        deleted=recording.telemetry_from > 1,
        peak_per_s=float(counts.max()) / SEEN_WINDOW_S,
        per_s=counts / SEEN_WINDOW_S,
    )


def _dropped(body: str) -> int:
    try:
        return int(sum(json.loads(body)["reasons"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0
