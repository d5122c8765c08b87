"""The recordings that the notebooks look at: small worlds, run and recorded in virtual time, in seconds of work.

    seen = weirflow.open(recorded("shop"))

Time in them begins at 1970-01-01 00:00, for no clock was read. A recording is made when it is first asked for, under
build/notebooks (or where WEIRFLOW_NOTEBOOKS says), and kept; `make notebooks` makes all of them anew. What really was in
a world is known, for it was drawn: `WORLDS` says it, and the notebooks hold what was learned against it.
"""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from brain.settings import Mode, Models, Settings
from weirflow.lab.draw import draw
from weirflow.lab.recorded import recorded as run_and_record
from weirflow.lab.scenario import Change, Group, RequestClass, Scenario, Step

FAULT_S = (90.0, 130.0)
"""In `shop`: from when to when one endpoint works a fifth as fast."""
PERIOD_S = 120.0
"""In `tide`: of the load's swing."""

_SHOP = Scenario(
    name="shop",
    title="Six endpoints in two zones: one is half as fast all the time, one turns slow for 40 s",
    source="ours",
    groups=(
        Group("steady", 4, zones=("a", "b")),
        Group("small", 1, speed=0.5, zones=("a",)),
        Group("sick", 1, zones=("b",), changes=(Change(*FAULT_S, speed=0.2),)),
    ),
    load=0.55,
    classes=(RequestClass("all", demand_s=0.08, variation=0.7),),
    warmup_s=30.0,
    duration_s=150.0,
    timeout_s=5.0,
    nodes=2,
)
_TIDE = Scenario(
    name="tide",
    title="Three endpoints under a load that swings between 30 and 80 % of what they bear",
    source="ours",
    groups=(Group("steady", 3),),
    load=0.55,
    classes=(RequestClass("all", demand_s=0.12, variation=0.7),),
    load_steps=tuple(
        Step(float(at), round(1.0 + 0.45 * math.sin(2 * math.pi * at / PERIOD_S), 3)) for at in range(0, 420, 2)
    ),
    warmup_s=30.0,
    duration_s=360.0,
    timeout_s=5.0,
    nodes=1,
)
_PLAIN = Scenario(
    name="plain",
    title="Four endpoints, one half as fast, under least request and nothing learned",
    source="ours",
    groups=(Group("steady", 3), Group("small", 1, speed=0.5)),
    load=0.55,
    classes=(RequestClass("all", demand_s=0.08, variation=0.7),),
    warmup_s=30.0,
    duration_s=120.0,
    timeout_s=5.0,
    nodes=2,
)
# The same requests, and so the same times at which they come: only one endpoint less.
_FEWER = replace(_PLAIN, name="fewer", title="The same requests without one of the three", load=0.55 * 3.5 / 2.5)
_FEWER = replace(_FEWER, groups=(Group("steady", 2), Group("small", 1, speed=0.5)))

WORLDS = {
    "shop": (_SHOP, "weirflow"),
    "tide": (_TIDE, "least_request"),
    "plain": (_PLAIN, "least_request"),
    "fewer": (_FEWER, "least_request"),
}
"""Scenario and policy, by name."""


def recorded(name: str, *, seed: int = 7) -> Path:
    """The folder of a recording, made if it is not there."""
    scenario, policy = WORLDS[name]
    folder = root() / name
    if folder.exists():
        return folder
    fleet, trace = draw(scenario, np.random.default_rng(seed), scenario.nodes)
    settings = Settings(
        mode=Mode.ADAPTIVE if policy == "weirflow" else Mode.SHADOW,
        share_percent=80.0,  # a large holdout: in three minutes a small one would tell nothing
        models=Models(quantiles=name == "shop"),
    )
    making = folder.with_name(f"{name}.making")
    shutil.rmtree(making, ignore_errors=True)
    told = {"nodes": scenario.nodes, "folder": making, "settings": settings, "part_s": 30.0}
    run_and_record(scenario, policy, fleet, trace, np.random.default_rng((seed, 1)), **told)
    making.rename(folder)
    return folder


def root() -> Path:
    """The folder that the recordings are in, made if it is not there."""
    root = Path(os.environ.get("WEIRFLOW_NOTEBOOKS", Path(__file__).resolve().parent.parent / "build" / "notebooks"))
    root.mkdir(parents=True, exist_ok=True)
    return root


if __name__ == "__main__":
    for name in WORLDS:
        recorded(name)
