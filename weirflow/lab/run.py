"""One run: a policy over a world that was drawn, on some engine, and what became of every request.

Everything that a report tells is computed from runs. Policies are named as an operator of Envoy would name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from dataplane.simulated.fleet import Fate, Fleet, Floats, Trace
from weirflow.lab.scenario import Scenario

STOCK = {
    "round_robin": "round robin",
    "random": "random",
    "least_request": "least request, two choices (Envoy's default)",
    "full_scan": "least request, full scan",
    "cswrr": "client-side weighted round robin, by ORCA headers",
    "least_request_outliers": "least request with outlier detection",
}
"""What ships in Envoy and needs no knowledge of the fleet."""
TOLD = {
    "round_robin_true": "round robin, weights set by hand to the true mean capacity",
    "least_request_true": "least request, weights set by hand to the true mean capacity",
}
"""What ships in Envoy, with weights that only an oracle could set."""
LIMITING = {
    "breakers_default": "full scan, Envoy's default circuit breakers",
    "breakers_true": "full scan, circuit breakers set by hand to what keeps the goal",
    "adaptive_concurrency": "full scan, adaptive concurrency filter",
    "admission_control": "full scan, admission control filter",
}
"""What ships in Envoy against overload; beside the others where a scenario has a latency goal."""
BREAKERS = {name: LIMITING[name] for name in ("breakers_default", "breakers_true")}
"""Those of them that the simulated mesh has as well."""
SIMULATED = {
    "peak_ewma": "peak EWMA, two choices, failures priced as slow",
    "prequal": "Prequal: probes, hot and cold",
    "jsed_local": "join the shortest expected delay by the node's own queue and the true speed",
}
"""What does not run in stock Envoy: in the simulated mesh only."""
MODULE, REPORTED = "weirflow_module", "weirflow_reported"
MODULES = {
    MODULE: "Weirflow, adaptive, its module picking inside Envoy",
    REPORTED: "Weirflow, adaptive, its module picking inside Envoy, endpoints say what they have in progress",
}
WEIRFLOW = {"weirflow": "Weirflow, adaptive"} | MODULES
MODULE_TOLD = {"module_true": "Weirflow's module, weights set by hand to the true mean capacity"}
"""Our pick without the brain, told what only an oracle knows."""
SHARE_PERCENT = 99.0
"""Of the traffic on Weirflow's adaptive arm. The static rules send the rest as ever: at 95, one bad endpoint of five
would get 1 % of all requests from them alone, and that would be the p99."""
IN_A_MESH_FILE = {
    "least_request": ("LEAST_REQUEST", False),
    "full_scan": ("LEAST_REQUEST", True),
    "round_robin": ("ROUND_ROBIN", False),
    "random": ("RANDOM", False),
}
"""The stock policies that a mesh file can say: `policy` and `full_scan` of its service."""
PICKS = STOCK | TOLD | {"weirflow": WEIRFLOW["weirflow"]}
"""What runs on real Envoy unless somebody asks for others."""
POLICIES = STOCK | TOLD | LIMITING | WEIRFLOW | MODULE_TOLD
"""What can run on real Envoy."""
BOUNDS = {
    "central_queue": "one queue for all, fastest free worker first",
    "jsed": "join the shortest expected delay, with full information",
    "static_weights": "the best fixed split",
}
"""Physical bounds, computed over the trace that was run."""


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """What a policy had in force when, for those whose weights move. T moments, E endpoints."""

    at_s: Floats  # (T,) since the start of the run
    share: Floats  # (T, E) of traffic by weight; each row sums to 1


@dataclass(frozen=True, slots=True)
class Seen:
    """An incident that the brain had open at a tick; it was asked once a second what it had decided last."""

    at_s: float  # of that tick, since the start of the run
    id: str
    cause: str  # the first: kind and place


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A policy's run. `place` is its position within its seed's block: every other seed runs the block backwards."""

    scenario: Scenario
    policy: str
    nodes: int
    seed: int
    engine: Literal["envoy", "simulated"]
    fleet: Fleet
    trace: Trace
    fate: Fate
    place: int = 0
    weights: Weights | None = None
    overhead: Mapping[str, float] = field(default_factory=dict)  # CPU shares, client lateness; by `weirflow.lab`
    refused: str = ""  # why these figures may not be reported, "" when they may
    incidents: tuple[Seen, ...] | None = None  # None: nobody looked for any
