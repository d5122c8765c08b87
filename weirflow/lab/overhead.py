"""Who made the figures: the policy, or a machine that was short of CPU. A lab that cannot tell must not report.

Every process of a run shares the machine with the others. When one of them is late, the requests that it was late for
look like a policy's doing. So the lab measures lateness where it would hide (the client's sends, the endpoints' timers)
and CPU where it would come from, and refuses the run's figures past the bounds below.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from dataplane.simulated.fleet import Fleet, Trace
from weirflow.lab.child import cpu_s, machine_s
from weirflow.lab.client import Client
from weirflow.lab.endpoints import Endpoints
from weirflow.lab.scenario import Scenario

MOST_LATE_SHARE = 0.1
"""Of the median demand, at p99. Lateness is the same for all policies and adds to each; beyond this it would begin to
hide them. It was 0.05, but an idle virtual machine wakes 2 ms late now and then: that is no want of CPU."""
LEAST_LATE_S = 0.001
"""Less is never too late: a proxy's own hop takes that long at the 99th percentile."""
MOST_CORE = 0.85
"""Of one core, by any one process, on average: beyond it the busy moments of a Poisson load no longer fit."""
LEAST_IDLE = 0.10
"""Of the whole machine. Below it processes wait for each other, whatever each of them used."""
LEAD_S = 0.3
"""From the word to begin until a run begins: every process has heard it by then."""
IDLE_RUN_S = 2.0
IDLE_DEMAND_S = 0.01


class Watch:
    """CPU shares of processes, by name, from its making to `end`."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._start = asyncio.get_running_loop().time()
        self._before, self._machine = {n: cpu_s(p) for n, p in self._pids.items()}, machine_s()

    def end(self) -> dict[str, float]:
        """`cpu.NAME` in cores by process, NaN for one that has ended, and `idle` as a share of the machine."""
        took = asyncio.get_running_loop().time() - self._start
        idle, total = (after - before for before, after in zip(self._machine, machine_s(), strict=True))
        used = {f"cpu.{name}": (cpu_s(pid) - self._before[name]) / took for name, pid in self._pids.items()}
        return used | {"idle": idle / total if total > 0 else math.nan}


async def idle_run(scenario: Scenario, fleet: Fleet, rate_per_s: float) -> dict[str, float]:
    """What client and endpoints add by themselves: no proxy, nothing that queues, requests of `IDLE_DEMAND_S` in step.

    `before.idle` is the machine's idle share while nothing of the lab ran; `idle_run.added_p50_s` and `.added_p99_s`
    are latency less demand at the rate of the runs to come. ChildError as `Client.seen`.
    """
    watch = Watch({})
    await asyncio.sleep(LEAD_S)
    before = watch.end()["idle"]
    plain = replace(
        fleet,
        speed=np.ones_like(fleet.speed),
        extra_s=np.zeros_like(fleet.extra_s),
        error_share=np.zeros_like(fleet.error_share),
        hang=np.zeros_like(fleet.hang),
    )
    at_s = np.arange(0.0, IDLE_RUN_S, 1.0 / max(rate_per_s, 1.0))
    rows, zero = np.arange(len(at_s)), np.zeros(len(at_s))
    trace = Trace.of(at_s=at_s, node=rows % len(fleet), klass=zero, demand_s=zero + IDLE_DEMAND_S, luck=zero)
    with tempfile.TemporaryDirectory(prefix="weirflow-lab-", ignore_cleanup_errors=True) as folder:
        async with Endpoints(plain, Path(folder)) as endpoints:
            ports = [int(a.rpartition(":")[2]) for a in endpoints.addresses]
            async with Client(trace, scenario, ports, Path(folder)) as client:
                start = asyncio.get_running_loop().time() + LEAD_S
                endpoints.begin(start)
                client.begin(start)
                fate = (await client.seen()).fate
    added = fate.latency_s - IDLE_DEMAND_S
    p50, p99 = np.quantile(added, (0.5, 0.99)).tolist()
    return {"before.idle": before, "idle_run.added_p50_s": p50, "idle_run.added_p99_s": p99}


def refusal(overhead: Mapping[str, float], median_demand_s: float) -> str:
    """Why the figures of a run with this overhead may not be reported; "" when they may."""
    most_late = max(MOST_LATE_SHARE * median_demand_s, LEAST_LATE_S)
    told = [
        f"{who} {overhead[key] * 1000:.1f} ms late at p99, more than {most_late * 1000:.1f} ms"
        for key, who in (("client_late_s", "the client was"), ("timers_late_s", "the endpoints' timers were"))
        if overhead.get(key, 0.0) > most_late
    ]
    used = {key.removeprefix("cpu."): share for key, share in overhead.items() if key.startswith("cpu.")}
    told += [
        f"{name} used {share:.0%} of a core, more than {MOST_CORE:.0%}"
        for name, share in used.items()
        if share > MOST_CORE
    ]
    if any(math.isfinite(share) for share in used.values()):  # else there is no /proc to read
        told += [f"{name} ended during the run" for name, share in used.items() if math.isnan(share)]
    if overhead.get("idle", 1.0) < LEAST_IDLE:
        told.append(f"only {overhead['idle']:.0%} of the machine was idle, less than {LEAST_IDLE:.0%}")
    return "; ".join(told)
