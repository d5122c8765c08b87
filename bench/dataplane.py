"""What Weirflow costs the data plane: one Envoy worker with it attached and without it, in turns, in one run.

With: ADS, both access logs, load reports, 95 % on the adaptive arm, and the brain ticking and recording beside it.
Without: the same Envoy and rules from a file (`bench.plain`). wrk asks over 32 connections as fast as answers come,
nginx answers; Envoys, wrk, nginx and brain share the machine's cores.

* CPU: Envoy's own CPU time a request, with over without. At most 1.15.
* Throughput: requests a second, with over without. At least 0.9.

Turns go without, with, with, without: what drifts in a machine hits both alike. Each such round gives one ratio; the
figure is their median. The two turns without of a round are the control: when they differ by more than a twentieth on
average, the machine was not quiet enough, and the result says `noisy`. The brain idles during the turns without.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from bench import plain
from bench.load_tools import cpu_s, free_ports, nginx, wrk
from bench.result import CannotRunError, Figure, Result, middle, say, show
from dataplane.envoy.process import EnvoyError, EnvoyProcess
from dataplane.mesh import EndpointSpec, ListenerSpec, Mesh, NodeSpec, RouteSpec, ServiceSpec
from weirflow.demo.processes import NeverHappenedError, Running, running, until

CPU_BAR, THROUGHPUT_BAR = 1.15, 0.9
NOISE = 0.05
ENDPOINTS = 3
SERVICE, NODE, PATH = "web", "bench", "/web"


@dataclass(frozen=True, slots=True)
class Turn:
    """One side's turn: microseconds of Envoy's CPU a request, requests a second, cores that the brain used."""

    cpu_us: float
    per_s: float
    p99_ms: float
    brain_cores: float


async def turn(envoy_pid: int, port: int, brain_pid: int, seconds: float) -> Turn:
    """Load one side and read what it cost. CannotRunError when a request failed: then the figures mean nothing."""
    before, brain_before, loop = cpu_s(envoy_pid), cpu_s(brain_pid), asyncio.get_running_loop()
    start = loop.time()
    run = await wrk(port, seconds, PATH)
    took = loop.time() - start
    if run.bad:
        raise CannotRunError(f"{run.bad} of {run.requests} requests failed")
    used = cpu_s(envoy_pid) - before
    return Turn(used / run.requests * 1e6, run.per_s, run.p99_ms, (cpu_s(brain_pid) - brain_before) / took)


async def measure(rounds: int, seconds: float) -> Result:
    """Both sides up, then the rounds."""
    with tempfile.TemporaryDirectory(prefix="weirflow-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        *backends, port_without = free_ports(ENDPOINTS + 1)
        addresses = [f"127.0.0.1:{p}" for p in backends]
        without = EnvoyProcess(plain.bootstrap(static_rules(addresses, port_without)))
        more = {"adaptive": {"mode": "adaptive"}, "recording": "recording", "tell_arm": False}
        async with nginx(folder, backends), running(folder, {SERVICE: addresses}, {NODE: 1}, **more) as parts:
            try:
                await without.start()
                await without.ready()
                return await compare(parts, without, port_without, rounds, seconds)
            finally:
                await without.stop()


async def compare(parts: Running, without: EnvoyProcess, port_without: int, rounds: int, seconds: float) -> Result:
    """Warm both sides up until the learned weights carry the traffic, then measure in turns."""
    envoy, port = parts.envoys[NODE], parts.ports[NODE]
    adaptive_picks = f"cluster.{SERVICE}~adaptive.upstream_rq_total"

    async def warm() -> bool:
        before = (await envoy.stats(adaptive_picks)).get(adaptive_picks, 0.0)
        run = await wrk(port, 1, PATH)
        return (await envoy.stats(adaptive_picks)).get(adaptive_picks, 0.0) - before > 0.9 * run.requests

    if not await until(warm, 40.0, "", must=False):
        service = await parts.brain.service(SERVICE)
        raise CannotRunError(f"the adaptive arm never carried the traffic; {service['state']}: {service['reason']}")
    await wrk(port_without, 1, PATH)
    pairs: list[tuple[list[Turn], list[Turn]]] = []
    for n in range(rounds):
        sides: tuple[list[Turn], list[Turn]] = ([], [])
        for side in (0, 1, 1, 0):
            pid, at = ((without.pid, port_without), (envoy.pid, port))[side]
            sides[side].append(await turn(pid, at, parts.brain.pid, seconds))
        pairs.append(sides)
        us = [_mean(turns, "cpu_us") for turns in sides]
        say(f"round {n + 1} of {rounds}: {us[0]:.1f} us of CPU a request without, {us[1]:.1f} us with")
    ratios = {key: [_mean(b, key) / _mean(a, key) for a, b in pairs] for key in ("cpu_us", "per_s")}
    control = [abs(getattr(a[0], key) / getattr(a[1], key) - 1) for a, _ in pairs for key in ratios]
    cpu, throughput = middle(ratios["cpu_us"]), middle(ratios["per_s"])
    return Result(
        "dataplane",
        [
            Figure("envoy_cpu_ratio", cpu[0], "with / without", CPU_BAR, at_most=True, low=cpu[1], high=cpu[2]),
            Figure(
                "throughput_ratio",
                throughput[0],
                "with / without",
                THROUGHPUT_BAR,
                at_most=False,
                low=throughput[1],
                high=throughput[2],
            ),
        ],
        noisy=mean(control) > NOISE,
        detail={
            "rounds": rounds,
            "seconds_a_turn": seconds,
            "control_difference": {"mean": round(mean(control), 4), "most": round(max(control), 4)},
            **{
                side: {key: round(mean(_mean(pair[i], key) for pair in pairs), 3) for key in Turn.__slots__}
                for i, side in enumerate(("without", "with"))
            },
            "ratios": {key: [round(r, 4) for r in values] for key, values in ratios.items()},
        },
    )


def static_rules(addresses: list[str], port: int) -> Mesh:
    """What the mesh file of the other side says, as the static rules alone."""
    return Mesh(
        (NodeSpec("plain"),),
        (ListenerSpec("web", "127.0.0.1", port),),
        (RouteSpec(SERVICE, SERVICE, prefix=PATH),),
        (ServiceSpec(SERVICE, tuple(EndpointSpec(a) for a in addresses)),),
    )


def _mean(turns: list[Turn], key: str) -> float:
    return mean(getattr(t, key) for t in turns)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=14)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each turn; a round has four")
    told = parser.parse_args()
    try:
        show(asyncio.run(measure(told.rounds, told.seconds)))
    except (CannotRunError, EnvoyError, NeverHappenedError, RuntimeError) as error:
        say(f"bench.dataplane cannot run: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
