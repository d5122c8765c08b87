"""What may be asked about: who picks the endpoint, in the words of an operator of Envoy.

`recorded` is what was in force while the recording was made, and is run beside every other one: differences are
differences to it, over the same requests in the same world.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weirflow.whatif.world import World

RECORDED = "recorded"
WEIRFLOW, MODULE, REPORTED = "weirflow", "weirflow_module", "weirflow_reported"
ADAPTIVE = {
    WEIRFLOW: "Weirflow, adaptive",
    MODULE: "Weirflow, adaptive, its module picking inside Envoy",
    REPORTED: "Weirflow, adaptive, its module picking inside Envoy, if endpoints said what they have in progress",
}
STATIC = {
    "round_robin": "round robin",
    "random": "random",
    "least_request": "least request, two choices (Envoy's default)",
    "full_scan": "least request, full scan",
    "cswrr": "client-side weighted round robin, by ORCA headers",
    "least_request_outliers": "least request with outlier detection",
    "peak_ewma": "peak EWMA, two choices, failures priced as slow",
    "prequal": "Prequal: probes, hot and cold",
}
BOUNDS = {
    "central_queue": "bound: one queue for all, fastest free worker first",
    "jsed": "bound: join the shortest expected delay, with full information",
}
POLICIES = {
    RECORDED: "what was in force while it was recorded",
    **STATIC,
    **ADAPTIVE,
    **BOUNDS,
}
SOME_SHARE = 0.005
"""Of the requests on the adaptive arm, from which on it was in force."""


def in_force(world: World) -> str:
    """What `recorded` stands for."""
    if world.adaptive_share < SOME_SHARE:
        return world.rules.policy
    return MODULE if world.settings.by_module(world.service) else WEIRFLOW


def meaning(policy: str, world: World) -> str:
    """What a policy is, for people."""
    return f"{POLICIES[policy]}: {in_force(world)}" if policy == RECORDED else POLICIES[policy]
