"""What is found of one caller's trouble with a service, in virtual time, and what is cried of edges for nothing.

    python -m bench.edges                              # faults and controls, as JSON lines
    python -m bench.edges --seeds 20 --first-seed 1000
    python -m bench.edges --fault edge_slow            # those whose name has that in it
    python -m bench.edges --calm 3                     # hours of `bench.calm` with five callers, for each seed

One service of `ENDPOINTS` endpoints, `RATE_PER_S` requests a second by the proxies of three callers: a third, a half
and a sixth. After `CALM_S` something goes wrong for `FAULT_S`, and is well again for `AFTER_S`. An edge's fault befalls
the caller that the seed says, each of the three in turn, between its proxies and the endpoints, so that the mesh feels
what it would: slow answers are open for longer, bad requests fail at once and take no work. `two_` are two callers of
the three with the same fault, where only one in three is well. Figures are those of `bench.incidents`, and of each
trouble

* `cause`: in how many runs the first cause, as the fault ended, was the right kind at the right place; of an edge's
  fault that is `EdgeSlow` or `EdgeFailing` of that caller (of two: the first two), of a control the service or the
  endpoint;
* `opened_right`: the same of the kind and labels that the incident was opened with, and keeps;
* `edges`: runs of a control in which an edge was among what was told at any time. 0 is right;
* `doubted`: runs in which `NodeContradicts` was told of a proxy, which is an alert of its own and no incident.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from bench import calm
from bench.incidents import HEALTHY, Told, failing, figures_of, meanwhile, slow
from bench.result import Figure, Result, say, show
from bench.watched import SETTINGS, address, live
from brain.brain import Brain
from brain.decision import Decision
from dataplane.contract import Endpoint, Node, Service, Topology
from dataplane.simulated.drive import run
from dataplane.simulated.endpoint import Fault, Work
from dataplane.simulated.mesh import Load, SimulatedMesh
from dataplane.simulated.node import Attempt, SimulatedNode

ENDPOINTS, RATE_PER_S = 9, 150.0
CALM_S, FAULT_S, AFTER_S = 90.0, 60.0, 60.0
PROXIES = {"web": 2, "cart": 3, "jobs": 1}
ZONES = 3
CALM_CALLERS = {"web": 0.5, "cart": 0.3, "jobs": 0.14, "": 0.05, "cron": 0.01}
"""Shares of the traffic in hours of calm."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One fault of one size: of one caller, or of so many endpoints."""

    name: str
    kind: str  # right as the first cause
    edge: Fault | None = None  # times count from the start of the fault
    callers: int = 1  # with that fault
    endpoints: int = 0
    fault: Fault | None = None


def fault_of(kind: str, size: float) -> Fault:
    """From the first second of the trouble to its last."""
    return slow(size)(CALM_S, CALM_S + FAULT_S) if kind == "slow" else failing(size)(CALM_S, CALM_S + FAULT_S)


TROUBLES = (
    *(Trouble(f"edge_slow_{x:g}", "EdgeSlow", edge=fault_of("slow", x)) for x in (2, 5)),
    *(Trouble(f"edge_fails_{x:g}", "EdgeFailing", edge=fault_of("fails", x)) for x in (0.02, 0.2, 1.0)),
    *(Trouble(f"two_slow_{x:g}", "EdgeSlow", edge=fault_of("slow", x), callers=2) for x in (2, 5)),
    *(Trouble(f"two_fail_{x:g}", "EdgeFailing", edge=fault_of("fails", x), callers=2) for x in (0.02, 0.2, 1.0)),
    *(Trouble(f"all_slow_{x:g}", "ServiceSlow", None, 0, ENDPOINTS, fault_of("slow", x)) for x in (2, 5)),
    *(Trouble(f"all_fail_{x:g}", "ServiceFailing", None, 0, ENDPOINTS, fault_of("fails", x)) for x in (0.02, 0.2, 1.0)),
    Trouble("one_slow_3", "EndpointSlow", None, 0, 1, fault_of("slow", 3)),
    Trouble("one_fails_0.5", "EndpointFailing", None, 0, 1, fault_of("fails", 0.5)),
)


class Edged(SimulatedMesh):
    """A mesh in which requests of some callers or proxies fare worse for a while: `bad` is whose, `fault` how."""

    bad: Container[str] = ()
    fault = Fault("slow", math.inf, math.inf)

    def _try(self, node: SimulatedNode, attempt: Attempt) -> None:
        mine, fault = node.node.service in self.bad or node.node.name in self.bad, self.fault
        if not (mine and fault.start_s <= self.now < fault.end_s):
            super()._try(node, attempt)
        elif fault.kind == "error" and self._rng.random() < fault.share:
            self.schedule.at(self.now + fault.after_s, self._done, node, attempt, fault.status)
        else:
            work = Work(partial(self._later, node, attempt), lambda: attempt.over)
            self._endpoints[attempt.endpoint].submit(work)

    def _later(self, node: SimulatedNode, attempt: Attempt, status: int) -> None:
        more = self.fault.factor - 1.0 if self.fault.kind == "slow" else 0.0
        took = self.now - attempt.started_s
        self.schedule.at(self.now + more * took, self._done, node, attempt, status)


def topology() -> Topology:
    """One service, `shop`, in three zones, and the proxies of those who call it."""
    members = tuple(Endpoint(i, address(i), zone=f"zone-{i % ZONES}") for i in range(ENDPOINTS))
    names = [name for name, many in PROXIES.items() for _ in range(many)]
    nodes = tuple(Node(i, f"{name}-{i}", service=name) for i, name in enumerate(names))
    return Topology(1, (Service(0, "shop", members),), nodes)


def decided(trouble: Trouble, seed: int) -> tuple[list[str], list[Decision]]:
    """Where the trouble is, and what was decided at each tick."""
    mesh_of, bad = topology(), [list(PROXIES)[(seed + k) % len(PROXIES)] for k in range(trouble.callers)]
    ill = HEALTHY if trouble.fault is None else replace(HEALTHY, faults=(trouble.fault,))
    behaviours = {address(i): ill if i < trouble.endpoints else HEALTHY for i in range(ENDPOINTS)}
    mesh = Edged(mesh_of, [Load("shop", RATE_PER_S)], behaviours, np.random.default_rng(seed))
    places = [address(0) if trouble.endpoints == 1 else "shop"]
    if trouble.edge is not None:
        mesh.bad, mesh.fault, places = bad, trouble.edge, [f"{caller} to shop" for caller in bad]
    return places, list(run(mesh, Brain(mesh_of, SETTINGS), CALM_S + FAULT_S + AFTER_S))


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one run."""

    told: Told
    opened_right: bool
    edges: bool  # whether an edge (or a proxy: `bench.proxies`) was among the causes at any time
    doubted: bool


def suffer(trouble: Trouble, seed: int) -> Run:
    """One run with this trouble in it."""
    places, decisions = decided(trouble, seed)
    return told_of(decisions, trouble.kind, {f"{trouble.kind} {place}" for place in places}, "Edge")


def told_of(decisions: Sequence[Decision], kind: str, wanted: set[str], amiss: str) -> Run:
    """What came of a run in which these causes are right. `amiss`: how the kinds begin that a control must not have."""
    start, end = CALM_S, CALM_S + FAULT_S
    log = [(decision.now, decision.incidents) for decision in decisions]
    opened = [i for _, i in meanwhile(log, start, end)][:1]
    return Run(
        told=Told.of(log, start, end, lambda causes: wanted == set(causes[: len(wanted)])),
        opened_right=any(i.kind == kind and i.causes[0] in wanted for i in opened),
        edges=any(cause.startswith(amiss) for _, some in log for i in some for cause in i.causes),
        doubted=any(alert.kind == "NodeContradicts" for decision in decisions for alert in decision.alerts),
    )


def figures(trouble: Trouble, runs: Sequence[Run]) -> list[Figure]:
    """Over all runs."""
    n = trouble.name
    out = [
        *figures_of(n, [run.told for run in runs]),
        Figure(f"{n}_opened_right", sum(run.opened_right for run in runs) / len(runs)),
        Figure(f"{n}_doubted", float(sum(run.doubted for run in runs))),
    ]
    if trouble.edge is None:
        out.append(Figure(f"{n}_edges", float(sum(run.edges for run in runs)), bar=0.0))
    return out


def cries(seed: int, hours: float) -> int:
    """How many incidents were told of in hours of calm with several callers, each said on stderr."""
    world = replace(calm.world(seed, hours), callers=tuple(CALM_CALLERS), shares=tuple(CALM_CALLERS.values()))
    known: set[str] = set()
    for decision in live(world, hours * 3600.0):
        for i in (i for i in decision.incidents if i.id not in known):
            known.add(i.id)
            say(f"edges: seed {seed}, {decision.now / 3600.0:.2f} h: {'; '.join(i.causes)}: {i.summary}")
    return len(known)


def main() -> int:
    """Measure and print. Exit status 0 when it could run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--fault", default="", help="only those whose name has this in it")
    parser.add_argument("--calm", type=float, default=0.0, help="hours of calm for each seed, and no faults")
    asked = parser.parse_args()
    result, seeds = Result("edges"), range(asked.first_seed, asked.first_seed + asked.seeds)
    for trouble in (t for t in TROUBLES if asked.fault in t.name and not asked.calm):
        runs = [suffer(trouble, seed) for seed in seeds]
        told = [run.told for run in runs]
        say(f"edges: {trouble.name}: {[t.found_s for t in told]}, right {sum(t.right for t in told)} of {len(runs)}")
        result.figures += figures(trouble, runs)
    if asked.calm:
        result.figures.append(Figure("false", float(sum(cries(seed, asked.calm) for seed in seeds)), bar=0.0))
        result.figures.append(Figure("hours", asked.calm * asked.seeds))
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
