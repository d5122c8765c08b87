"""How long learned state outlives the brain: killed (SIGKILL) and hung (SIGSTOP) under load, several times each.

One Envoy of two workers, three backends, 300 requests/s on an open loop, the default lease of 5 s. The client sees the
arm of every answer in a header that the route adds: the last adaptive pick is the proxy's word and not the brain's.

* `last_adaptive_pick_s`: from the signal to the sending of the last request that the adaptive arm served; the worst of
  all runs. At most the lease's TTL and one second.
* `failed_requests`: over the whole bench, recoveries included. None.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np

from bench.result import CannotRunError, Figure, Result, say, show
from dataplane.contract import Arm
from dataplane.envoy.process import EnvoyError
from weirflow.demo.backends import Backends, BackendSpec
from weirflow.demo.load import Load, Stream
from weirflow.demo.processes import NeverHappenedError, Running, running, until

TTL_S = 5.0
RATE_PER_S = 300.0
SERVICE, NODE = "web", "bench"
QUIET_S = 2.0  # without an adaptive answer, before the last one is taken to be the last


async def measure(runs: int) -> Result:
    """Everything up, then the signals in turn."""
    specs = [BackendSpec(f"b{i}", service_ms=5.0, seed=i) for i in range(3)]
    with tempfile.TemporaryDirectory(prefix="weirflow-bench-", ignore_cleanup_errors=True) as name:
        async with Backends(specs) as backends:
            addresses = [b.address for b in backends]
            async with (
                running(
                    Path(name), {SERVICE: addresses}, {NODE: 2}, ttl_s=TTL_S, adaptive={"mode": "adaptive"}
                ) as parts,
                Load(
                    [Stream(SERVICE, NODE, parts.ports[NODE], RATE_PER_S, path=f"/{SERVICE}")], np.random.default_rng(1)
                ) as load,
            ):
                lasted: dict[str, list[float]] = {"SIGKILL": [], "SIGSTOP": []}
                for n in range(runs):
                    for kind in lasted:
                        took = await one(parts, load, signal.Signals[kind])
                        lasted[kind].append(round(took, 3))
                        say(f"run {n + 1} of {runs}, {kind}: last adaptive pick after {took:.2f} s")
                await adaptive_again(load)
                answers = load.answers()
    worst = max(max(times) for times in lasted.values())
    failed = int(answers.failed.sum())
    return Result(
        "fallback",
        [
            Figure("last_adaptive_pick_s", worst, "s, the worst run", TTL_S + 1.0),
            Figure("failed_requests", float(failed), f"of {len(answers)}", 0.0),
        ],
        detail={"ttl_s": TTL_S, "requests_per_s": RATE_PER_S, "runs": lasted, "requests": len(answers)},
    )


async def one(parts: Running, load: Load, number: signal.Signals) -> float:
    """Signal the brain while the adaptive arm serves, wait for the static rules, then bring the brain back."""
    await adaptive_again(load)
    start = load.now()
    parts.brain.signal(number)
    try:
        await until(
            lambda: load.horizon() - last_adaptive(load) > QUIET_S, TTL_S + 15.0, "the adaptive arm falls silent"
        )
        return max(0.0, last_adaptive(load) - start)
    finally:
        if number is signal.SIGSTOP:
            parts.brain.signal(signal.SIGCONT)
        else:
            await parts.brain.start()


def last_adaptive(load: Load) -> float:
    """When the last request left that the adaptive arm served; minus infinity when there was none."""
    served = load.answers().where(arm=Arm.ADAPTIVE)
    sent = served.intended_s + served.late_s
    return float(sent.max()) if len(sent) else float("-inf")


async def adaptive_again(load: Load) -> None:
    """Wait until the adaptive arm serves a whole second's traffic, the holdout apart."""

    def serves() -> bool:
        end = load.horizon()
        second = load.answers().between(end - 1.0, end)
        return len(second) > RATE_PER_S / 2 and bool((second.arm == Arm.ADAPTIVE).mean() > 0.8)

    await until(serves, 60.0, "the adaptive arm serves")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="of each signal")
    told = parser.parse_args()
    try:
        show(asyncio.run(measure(told.runs)))
    except (CannotRunError, EnvoyError, NeverHappenedError, RuntimeError) as error:
        say(f"bench.fallback cannot run: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
