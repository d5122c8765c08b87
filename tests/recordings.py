"""Small worlds that were recorded in virtual time, and what really was in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dataplane.contract import Requests
from dataplane.simulated.fleet import Fate, Fleet, Trace
from weirflow.lab.draw import draw
from weirflow.lab.recorded import recorded
from weirflow.lab.scenario import Change, Group, RequestClass, Scenario
from weirflow.recording import Recorder, Recording, read

BAD = Change(10.0, 25.0, first=1)


@dataclass(frozen=True, slots=True)
class Lived:
    """A run: its recording, and the truth."""

    recording: Recording
    scenario: Scenario
    fleet: Fleet
    trace: Trace
    fate: Fate


def scenario(*groups: Group, load: float = 0.7, **more: Any) -> Scenario:
    """A world of these endpoints for forty seconds, with requests of a tenth of a second."""
    told: dict[str, Any] = {
        "classes": (RequestClass("all", demand_s=0.1, variation=0.7),),
        "warmup_s": 5.0,
        "duration_s": 35.0,
        "timeout_s": 3.0,
        "nodes": 2,
    }
    return Scenario("small", "Small", "ours", groups or (Group("good", 5),), load, **(told | more))


def lived(of: Scenario, folder: Path, policy: str = "full_scan", seed: int = 1, **more: Any) -> Lived:
    """Run it and record it."""
    fleet, trace = draw(of, np.random.default_rng(seed), of.nodes)
    random = np.random.default_rng((seed, 1))
    fate = recorded(of, policy, fleet, trace, random, nodes=of.nodes, folder=folder, **more)
    return Lived(read(folder), of, fleet, trace, fate)


def in_steps(of: Recording, folder: Path, step_s: float) -> Recording:
    """The same as a log has it that tells starts and durations in whole steps, cut off, and knows no decisions."""

    def cut(values: Any) -> Any:
        return (np.floor(values.astype(np.float64) / step_s + 1e-4) * step_s).astype(values.dtype)

    problems: list[str] = []
    first = of.parts[0]
    recorder = Recorder(
        folder,
        settings=first.settings,
        topology=first.topology,
        now=of.started,
        on_problem=problems.append,
        part_s=60.0,
        mesh=of.mesh,
    )
    for now, _, told in of.calls():
        if isinstance(told, Requests):
            times = {name: cut(getattr(told, name)) for name in ("started_s", "duration_s", "felt_s")}
            recorder.told(replace(told, **times), now)
    recorder.close()
    assert not problems
    return read(folder)
