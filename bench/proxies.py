"""What is found of one proxy's trouble with all services that it asks, in virtual time.

    python -m bench.proxies                            # faults and controls, as JSON lines
    python -m bench.proxies --seeds 20 --first-seed 1000 --fault node

Three services of five endpoints, 60 requests a second each, by four proxies of one caller and three of another. After
`CALM_S` what goes through one of them is slow or fails whatever service it is for, each in turn by the seed; figures
are those of `bench.edges`, where the right cause is `NodeSlow` or `NodeFailing` of that proxy and nobody else.
Controls are all proxies of a caller, a service, an endpoint, and a proxy that lies ten times about one endpoint, which
is told as `NodeContradicts` and no incident; of these, `edges` is in how many a proxy was told of at any time.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace

import numpy as np

from bench.edges import AFTER_S, CALM_S, FAULT_S, Edged, Run, Trouble, fault_of, figures, told_of
from bench.incidents import HEALTHY
from bench.result import Result, say, show
from bench.watched import SETTINGS
from brain.brain import Brain
from dataplane.contract import Endpoint, Node, Outcome, Service, Topology
from dataplane.simulated.drive import run
from dataplane.simulated.mesh import Load
from dataplane.simulated.node import Attempt, SimulatedNode

SERVICES, ENDPOINTS, RATE_PER_S = ("shop", "store", "till"), 5, 60.0
PROXIES = {"": 4, "cart": 3}
TIMES = 10.0
"""As which a liar multiplies."""


@dataclass(frozen=True, slots=True)
class Case:
    """A trouble, and whose it is: `node`, `caller`, `service`, `endpoint` or `liar`."""

    trouble: Trouble
    whose: str


CASES = (
    *(Case(Trouble(f"node_slow_{x:g}", "NodeSlow", edge=fault_of("slow", x)), "node") for x in (2, 5)),
    *(Case(Trouble(f"node_fails_{x:g}", "NodeFailing", edge=fault_of("fails", x)), "node") for x in (0.02, 0.2, 1.0)),
    *(Case(Trouble(f"caller_slow_{x:g}", "EdgeSlow", fault=fault_of("slow", x)), "caller") for x in (2, 5)),
    *(Case(Trouble(f"caller_fails_{x:g}", "EdgeFailing", fault=fault_of("fails", x)), "caller") for x in (0.02, 0.2)),
    *(Case(Trouble(f"service_slow_{x:g}", "ServiceSlow", fault=fault_of("slow", x)), "service") for x in (2, 5)),
    *(
        Case(Trouble(f"service_fails_{x:g}", "ServiceFailing", fault=fault_of("fails", x)), "service")
        for x in (0.02, 0.2)
    ),
    Case(Trouble("endpoint_fails_0.5", "EndpointFailing", fault=fault_of("fails", 0.5)), "endpoint"),
    Case(Trouble("endpoint_slow_3", "EndpointSlow", fault=fault_of("slow", 3)), "endpoint"),
    Case(Trouble("liar", "", fault=fault_of("slow", 1)), "liar"),
)


class Lied(Edged):
    """One in which a proxy may log what it asks of endpoint 0 as many times slower, while the fault lasts."""

    liar = ""

    def _end(self, node: SimulatedNode, attempt: Attempt, outcome: Outcome, status: int) -> None:
        if node.node.name == self.liar and attempt.endpoint == 0 and self.fault.start_s <= self.now < self.fault.end_s:
            more = (TIMES - 1.0) * (self.now - attempt.started_s)
            attempt.started_s, attempt.asked_s = attempt.started_s - more, attempt.asked_s - more
        super()._end(node, attempt, outcome, status)


def topology() -> Topology:
    """All that there is."""
    services = tuple(
        Service(s, name, tuple(Endpoint(s * ENDPOINTS + i, f"10.0.{s}.{i}:80") for i in range(ENDPOINTS)))
        for s, name in enumerate(SERVICES)
    )
    names = [(f"{caller or 'edge'}-{k}", caller) for caller, many in PROXIES.items() for k in range(many)]
    return Topology(1, services, tuple(Node(i, name, service=caller) for i, (name, caller) in enumerate(names)))


def suffer(case: Case, seed: int) -> Run:
    """One run of it."""
    mesh_of, trouble = topology(), case.trouble
    fault = trouble.edge or trouble.fault
    assert fault is not None
    proxy = mesh_of.nodes[seed % len(mesh_of.nodes)].name
    ill = {"service": [e.address for e in mesh_of.services[0].endpoints], "endpoint": ["10.0.0.0:80"]}
    behaviours = {address: replace(HEALTHY, faults=(fault,)) for address in ill.get(case.whose, ())}
    for service in mesh_of.services:
        behaviours |= {e.address: HEALTHY for e in service.endpoints if e.address not in behaviours}
    mesh = Lied(mesh_of, [Load(name, RATE_PER_S) for name in SERVICES], behaviours, np.random.default_rng(seed))
    wanted = {
        "node": {f"{trouble.kind} {proxy}"},
        "caller": {f"{trouble.kind} cart to {name}" for name in SERVICES},
        "service": {f"{trouble.kind} shop"},
        "endpoint": {f"{trouble.kind} 10.0.0.0:80"},
    }.get(case.whose, set())
    if case.whose in ("node", "caller"):
        mesh.bad, mesh.fault = {"node": (proxy,), "caller": ("cart",)}[case.whose], fault
    elif case.whose == "liar":
        mesh.liar, mesh.fault = proxy, fault
    decisions = list(run(mesh, Brain(mesh_of, SETTINGS), CALM_S + FAULT_S + AFTER_S))
    return told_of(decisions, trouble.kind, wanted, "Node")


def main() -> int:
    """Measure and print. Exit status 0 when it could run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=7)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--fault", default="", help="only those whose name has this in it")
    asked = parser.parse_args()
    result, seeds = Result("proxies"), range(asked.first_seed, asked.first_seed + asked.seeds)
    for case in (c for c in CASES if asked.fault in c.trouble.name):
        runs = [suffer(case, seed) for seed in seeds]
        name = case.trouble.name
        say(f"proxies: {name}: {[t.found_s for t in runs]}, right {sum(t.right for t in runs)} of {len(runs)}, "
            f"incidents {[t.incidents for t in runs]}, amiss {sum(t.edges for t in runs)}, "
            f"doubted {sum(t.doubted for t in runs)}")  # fmt: skip
        result.figures += figures(case.trouble, runs)
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
