"""What a recorded run leaves in a folder: the recording, and beside it what really was and what became of each request.

FOLDER/hang-full_scan-4-0/          scenario, policy, nodes, seed
    20261126T190000-a1b2/           the recording, as any run of `weirflow run` writes it
    fleet.npz trace.npz fate.npz    the truth, for whoever judges what a recording tells
    run.json                        scenario, policy, nodes, seed, and why the run may not be believed, if so
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weirflow.lab.stored import read_fate, read_fleet, read_trace, write_columns, write_fleet
from weirflow.recording import newest

if TYPE_CHECKING:
    from dataplane.simulated.fleet import Fate, Fleet, Trace
    from weirflow.lab.run import Run

ABOUT = "run.json"


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A recorded run."""

    folder: Path
    scenario: str
    policy: str
    nodes: int
    seed: int
    engine: str
    warmup_s: float
    end_s: float
    refused: str

    @property
    def recording(self) -> Path:
        """Its recording's folder. RecordingError when there is none."""
        return newest(self.folder)

    @property
    def fleet(self) -> Fleet:
        """What the endpoints really were."""
        return read_fleet(self.folder / "fleet.npz")

    @property
    def trace(self) -> Trace:
        """What was sent."""
        return read_trace(self.folder / "trace.npz")

    @property
    def fate(self) -> Fate:
        """What became of it."""
        return read_fate(self.folder / "fate.npz")


def name_of(scenario: str, policy: str, nodes: int, seed: int) -> str:
    """The name of a run's folder."""
    return f"{scenario}-{policy}-{nodes}-{seed}"


def keep(run: Run, folder: Path) -> Kept:
    """Write the truth beside the recording. OSError when the disk refuses."""
    folder.mkdir(parents=True, exist_ok=True)
    write_fleet(run.fleet, folder / "fleet.npz")
    write_columns(run.trace, folder / "trace.npz")
    write_columns(run.fate, folder / "fate.npz")
    about: dict[str, Any] = {
        "scenario": run.scenario.name,
        "policy": run.policy,
        "nodes": run.nodes,
        "seed": run.seed,
        "engine": run.engine,
        "warmup_s": run.scenario.warmup_s,
        "end_s": run.scenario.warmup_s + run.scenario.duration_s,
        "refused": run.refused,
    }
    (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n")
    return Kept(folder, **about)


def find(folder: Path) -> list[Kept]:
    """The recorded runs right below a folder, by name."""
    return [Kept(file.parent, **json.loads(file.read_text())) for file in sorted(folder.glob(f"*/{ABOUT}"))]
