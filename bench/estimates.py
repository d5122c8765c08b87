"""Two estimates of the gain beside the truth: the holdout compares picks, the switchback compares whole services.

In the simulated mesh the truth can be had: the same arrivals are lived through once under the static rules alone and
once with 95 % on learned weights, and the cut in mean felt cost from one run to the other is what the system is worth.
A third run has the switchback on. The holdout is told by the second run, where nothing disturbs it.

Two nodes, four endpoints, service times exponential. `slow`: four workers each, the first endpoint four times slower.
`alike`: one worker each, and nothing to gain. One minute is left for learning.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

import numpy as np

from bench.result import Figure, Result, say, show
from brain.brain import Brain
from brain.decision import ServiceView
from brain.settings import Mode, Proof, Settings, Switchback
from dataplane.contract import Endpoint, Node, Service, Topology
from dataplane.simulated.drive import run
from dataplane.simulated.endpoint import Behaviour
from dataplane.simulated.mesh import Load, SimulatedMesh

RATE_PER_S = 150.0
SERVICE_S = 0.02
LEARNING_S = 60.0
SLOW = {"slow": 4.0, "alike": 1.0}  # how many times slower the first endpoint is
ADAPTIVE = Settings(mode=Mode.ADAPTIVE)
SWITCHED = replace(ADAPTIVE, proof=Proof(window_s=600.0, switchback=Switchback()))


def live(settings: Settings, policy: str, fleet: str, seconds: float, seed: int) -> tuple[float, ServiceView]:
    """One run: the mean that all users felt after the learning, and the service as the brain saw it last."""
    workers = 4 if fleet == "slow" else 1
    endpoints = tuple(Endpoint(i, f"10.0.0.{i}:80") for i in range(4))
    topology = Topology(1, (Service(0, "app", endpoints),), (Node(0, "edge-1"), Node(1, "edge-2")))
    behaviours = {e.address: Behaviour(SERVICE_S * (SLOW[fleet] if e.id == 0 else 1.0), workers) for e in endpoints}
    random = np.random.default_rng(seed)
    mesh = SimulatedMesh(topology, [Load("app", RATE_PER_S)], behaviours, random, policy=policy)
    *_, last = run(mesh, Brain(topology, settings), LEARNING_S + seconds)
    return float(np.mean([r.felt_s for r in mesh.ended if r.at_s > LEARNING_S])), last.services[0]


def measure(policy: str, fleet: str, seconds: float, seeds: int) -> Result:
    """The truth and both estimates for one fleet under one static policy; means over seeds."""
    rows = []
    for seed in range(1000, 1000 + seeds):
        static, _ = live(Settings(mode=Mode.STATIC), policy, fleet, seconds, seed)
        adaptive, view = live(replace(ADAPTIVE, proof=Proof(window_s=600.0)), policy, fleet, seconds, seed)
        switched = live(SWITCHED, policy, fleet, seconds, seed)[1].switchback
        assert switched is not None
        found = (1 - adaptive / static, view.gain.value, switched.value)
        interval = (view.gain.low, view.gain.high, switched.low, switched.high)
        rows.append([np.nan if x is None else x for x in (*found, *interval)])
        say(f"{policy} {fleet} {seed}: truth {rows[-1][0]:+.3f}, holdout {rows[-1][1]:+.3f}, whole {rows[-1][2]:+.3f}")
    truth, holdout, whole, h_low, h_high, w_low, w_high = np.mean(rows, axis=0).tolist()
    return Result(
        f"estimates.{policy.lower()}.{fleet}",
        [
            Figure("truth", truth),
            Figure("holdout", holdout, low=h_low, high=h_high),
            Figure("switchback", whole, low=w_low, high=w_high),
        ],
        detail={"seconds": seconds, "seeds": seeds, "rate_per_s": RATE_PER_S},
    )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1200.0, help="virtual, a run")
    parser.add_argument("--seeds", type=int, default=3)
    told = parser.parse_args()
    for policy, fleet in (("ROUND_ROBIN", "slow"), ("LEAST_REQUEST", "slow"), ("LEAST_REQUEST", "alike")):
        show(measure(policy, fleet, told.seconds, told.seeds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
