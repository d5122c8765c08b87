"""What a pick by our module costs: nanoseconds by itself, and what Envoy carries with it beside its own least request.

* A pick at 20 endpoints, 300 ns or less, and at 1,000, 3 us: the module compiled as it ships, in a loop of C, its
  callbacks behind functions that do what Envoy's do (`pick_cost.c`).
* Throughput, module over least request: at least 0.98. Two Envoys of one worker over the same twenty endpoints of one
  nginx, asked by wrk as fast as answers come, in turns: one, other, other, one. Weights go 1, 2, 4, 1 and so on, so
  that either side does what it does with unequal ones.

The two turns of one side within a round are the control, as in `bench.dataplane`.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from bench import plain
from bench.load_tools import cpu_s, free_ports, nginx, wrk
from bench.result import CannotRunError, Figure, Result, middle, say, show
from dataplane.build import PICK, compiler
from dataplane.envoy.process import EnvoyError, EnvoyProcess
from dataplane.mesh import EndpointSpec, ListenerSpec, Mesh, NodeSpec, RouteSpec, ServiceSpec
from dataplane.pick import policy

ENDPOINTS = 20
BARS_NS = {20: 300.0, 1000: 3000.0}
THROUGHPUT_BAR, NOISE = 0.98, 0.05
HERE = Path(__file__).parent


def cost_ns(folder: Path) -> list[Figure]:
    """Of a pick, by endpoints, requests open at each and whether they say so; and of an answer that says it."""
    program = folder / "pick_cost"
    done = subprocess.run(
        [*compiler(), *PICK.flags, HERE / "pick_cost.c", "-o", program, "-lm"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotRunError(f"the module cannot be compiled here: {done.stderr.strip() or 'no C compiler'}")
    out = []
    for hosts in BARS_NS:
        for open_, how in ((0, "turns"), (2, "scanned")):
            for says in ((), ("says",)):
                told = subprocess.run([program, str(hosts), str(open_), *says], capture_output=True, check=True)
                pick, heard = map(float, told.stdout.split())
                name = f"a pick at {hosts} endpoints, {how}" + (", all say what they have" if says else "")
                out.append(Figure(name, pick, "ns", BARS_NS[hosts]))
            if open_:
                out.append(Figure(f"an answer of one of {hosts} that says it", heard, "ns"))
    return out


def bootstraps(addresses: Sequence[str], ports: Sequence[int]) -> list[dict[str, object]]:
    """Two Envoys that differ by their pick alone."""
    out = []
    for port, ours in zip(ports, (False, True), strict=True):
        endpoints = tuple(EndpointSpec(a, 1 << i % 3) for i, a in enumerate(addresses))
        rules = Mesh(
            (NodeSpec("plain"),),
            (ListenerSpec("web", "127.0.0.1", port),),
            (RouteSpec("web", "web"),),
            (ServiceSpec("web", endpoints),),
        )
        told = plain.bootstrap(rules)
        if ours:
            (cluster,) = told["static_resources"]["clusters"]
            cluster.pop("lb_policy", None)
            cluster["common_lb_config"].pop("zone_aware_lb_config", None)
            cluster["load_balancing_policy"] = {"policies": [{"typed_extension_config": policy.written()}]}
        out.append(told)
    return out


async def measure(rounds: int, seconds: float) -> Result:
    """The cost, and then the rounds."""
    with tempfile.TemporaryDirectory(prefix="weirflow-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        figures = cost_ns(folder)
        *backends, one, other = free_ports(ENDPOINTS + 2)
        envoys = [EnvoyProcess(b) for b in bootstraps([f"127.0.0.1:{p}" for p in backends], (one, other))]
        async with nginx(folder, backends):
            try:
                for envoy in envoys:
                    await envoy.start()
                    await envoy.ready()
                for port in (one, other):
                    await wrk(port, 1, "/")
                ratios, cpu, control = await compare(envoys, (one, other), rounds, seconds)
            finally:
                for envoy in envoys:
                    await envoy.stop()
    value, low, high = middle(ratios)
    figures.append(
        Figure("throughput", value, "module / least request", THROUGHPUT_BAR, at_most=False, low=low, high=high)
    )
    value, low, high = middle(cpu)
    figures.append(Figure("Envoy's CPU a request", value, "module / least request", low=low, high=high))
    detail = {"rounds": rounds, "control_difference": round(mean(control), 4), "ratios": [round(r, 4) for r in ratios]}
    return Result("pick", figures, noisy=mean(control) > NOISE, detail=detail)


async def compare(
    envoys: Sequence[EnvoyProcess], ports: Sequence[int], rounds: int, seconds: float
) -> tuple[list[float], list[float], list[float]]:
    """Of each round the ratio of throughput, that of CPU a request, and how unlike the turns of one side were."""
    ratios, cpu, control = [], [], []
    for n in range(rounds):
        seen: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
        for side in (0, 1, 1, 0):
            before = cpu_s(envoys[side].pid)
            run = await wrk(ports[side], seconds, "/")
            if run.bad:
                raise CannotRunError(f"{run.bad} of {run.requests} requests failed")
            seen[side].append((run.per_s, (cpu_s(envoys[side].pid) - before) / run.requests))
        per_s, spent = ([mean(turn[k] for turn in side) for side in seen] for k in (0, 1))
        ratios.append(per_s[1] / per_s[0])
        cpu.append(spent[1] / spent[0])
        control += [abs(side[0][0] / side[1][0] - 1) for side in seen]
        say(f"round {n + 1} of {rounds}: {per_s[0]:.0f} requests/s by least request, {per_s[1]:.0f} by the module")
    return ratios, cpu, control


def main(argv: Sequence[str]) -> int:
    """Measure, print."""
    parser = argparse.ArgumentParser(description="what a pick by our module costs")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a turn")
    asked = parser.parse_args(argv)
    try:
        if not policy.built():
            raise CannotRunError(f"the module is not compiled; {PICK.missing() or 'make setup-dev compiles it'}")
        show(asyncio.run(measure(asked.rounds, asked.seconds)))
    except (CannotRunError, EnvoyError, RuntimeError) as error:
        say(f"bench.pick cannot run: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
