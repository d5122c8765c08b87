"""Settled rows to a recording: told in the order of their ends, as a brain would have heard them.

Written by the recorder's own scribe, in the caller's thread: the disk sets the pace, and nothing waits in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import weirflow
from brain.settings import Settings
from dataplane.contract import NO_PLAN, Ints, Outcome, Requests, Topology
from dataplane.mesh import Mesh
from weirflow.importing.attempts import Rows
from weirflow.recording import calls
from weirflow.recording.scribe import Scribe

STEP_S = 1.0
STEP_ROWS = 1000
LONGEST_STEP_S = 60.0
MOST_ROWS = 1 << 16
NODES_APART = 256  # of more, a batch holds rows of all: one of each would be all calls and no rows
PART_S, PART_ROWS = 3600.0, 1_000_000


@dataclass(slots=True)
class Told:
    """What went into the recording."""

    attempts: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    nodes: Counter[int] = field(default_factory=Counter)
    routes: Counter[int] = field(default_factory=Counter)
    without_endpoint: int = 0
    with_probability: int = 0

    def count(self, batch: Requests) -> None:
        """Count a batch."""
        self.attempts += len(batch)
        for counter, column in ((self.nodes, batch.node), (self.routes, batch.route)):
            ids, counts = np.unique(column, return_counts=True)
            counter.update(dict(zip(ids.tolist(), counts.tolist(), strict=True)))
        ids, counts = np.unique(batch.outcome, return_counts=True)
        self.outcomes.update({Outcome(i).name: n for i, n in zip(ids.tolist(), counts.tolist(), strict=True)})
        self.without_endpoint += int(np.count_nonzero(batch.endpoint < 0))
        self.with_probability += int(np.count_nonzero(batch.probability > 0))


def tell(
    folder: Path, topology: Topology, blocks: Iterator[Rows], route: Ints, *, run: str, mesh: Mesh | None = None
) -> Told:
    """Write the recording. `route`: by code, of `Routes.settled`. OSError, and no open part, if the disk refuses."""
    told = Told()
    scribe: Scribe | None = None
    try:
        for now, rows in _batches(blocks):
            if scribe is None:
                # The first attempt of all may have begun before the first to end did.
                about: dict[str, Any] = {"weirflow": weirflow.__version__, "run": run}
                about["mesh"] = calls.plain(calls.without_addresses(mesh)) if mesh is not None else None
                form: dict[str, Any] = {"part_s": PART_S, "part_rows": PART_ROWS, "keep_bytes": None, "older": ()}
                scribe = Scribe(folder, calls.Start(Settings(), topology), float(rows["started"].min()), about, **form)
            batch = _requests(rows, route)
            told.count(batch)
            scribe.write(now, "told", batch)
        if scribe is not None:
            scribe.close()
    except BaseException:
        if scribe is not None:
            scribe.abandon()
        raise
    return told


def _batches(blocks: Iterator[Rows]) -> Iterator[tuple[float, Rows]]:
    """The rows cut by time and node, each piece with the time of its last end."""
    held: list[Rows] = []
    for block in blocks:
        for piece in _cut(block):
            if held and _full(held, piece):
                yield from _by_node(held)
                held = []
            held.append(piece)
    if held:
        yield from _by_node(held)


def _cut(block: Rows) -> Sequence[Rows]:
    """A block in steps of time and of at most `MOST_ROWS`."""
    if not len(block):
        return ()
    step = np.floor((block["ended"] - block["ended"][0]) / STEP_S)
    edges = np.flatnonzero(np.diff(step)) + 1
    edges = np.union1d(edges, np.arange(0, len(block), MOST_ROWS))
    return np.split(block, edges[edges > 0])


def _full(held: list[Rows], piece: Rows) -> bool:
    """Whether what is held is a batch before this piece comes to it."""
    rows = sum(map(len, held))
    lasts = float(piece["ended"][-1] - held[0]["ended"][0])
    return rows + len(piece) > MOST_ROWS or lasts > LONGEST_STEP_S or (rows >= STEP_ROWS and lasts > STEP_S)


def _by_node(held: list[Rows]) -> Iterator[tuple[float, Rows]]:
    """A batch for each node, told when its last row ended: so its clock and ours agree, as far as anybody can tell."""
    rows = np.concatenate(held) if len(held) > 1 else held[0]
    nodes = np.unique(rows["node"])
    apart = [rows[rows["node"] == n] for n in nodes] if 1 < len(nodes) <= NODES_APART else [rows]
    for batch in sorted(apart, key=lambda b: float(b["ended"][-1])):
        yield float(batch["ended"][-1]), batch[np.argsort(batch["started"], kind="stable")]


def _requests(rows: Rows, route: Ints) -> Requests:
    return Requests.of(
        started_s=rows["started"],
        duration_s=rows["duration"],
        ttfb_s=rows["ttfb"],
        felt_s=rows["felt"],
        service=rows["service"],
        endpoint=rows["endpoint"],
        node=rows["node"],
        route=route[rows["route"]],
        outcome=rows["outcome"],
        status=rows["status"],
        bytes_in=rows["bytes_in"],
        bytes_out=rows["bytes_out"],
        attempt=rows["attempt"],
        arm=rows["arm"],
        plan=np.full(len(rows), NO_PLAN),
        weight=rows["weight"],
        probability=np.where(rows["probability"] > 0, rows["probability"], np.nan),
        method=rows["method"],
    )
