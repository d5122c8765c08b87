"""Who made the figures: the policy, or a machine that was short of CPU. A lab that cannot tell must not report.

Every process of a run shares the machine with the others. When one of them is late, the requests that it was late for
look like a policy's doing. So the lab measures lateness where it would hide (the client's sends, the endpoints' timers)
and CPU where it would come from, and refuses the run's figures past the bounds below.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from weirflow.lab.child import cpu_s, machine_s

MOST_LATE_SHARE = 0.05
"""Of the median demand, at the 99th percentile, of the client's sends and of the endpoints' timers. A policy's own
differences are a tenth and more of that demand: what is told must not be half made of this."""
MOST_CORE = 0.85
"""Of one core, by any one process, on average: beyond it the busy moments of a Poisson load no longer fit."""
LEAST_IDLE = 0.10
"""Of the whole machine. Below it processes wait for each other, whatever each of them used."""


class Watch:
    """CPU shares of processes, by name, from its making to `end`."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._start = asyncio.get_running_loop().time()
        self._before, self._machine = {n: cpu_s(p) for n, p in self._pids.items()}, machine_s()

    def end(self) -> dict[str, float]:
        """`cpu.NAME` in cores by process, `idle` as a share of the machine."""
        took = asyncio.get_running_loop().time() - self._start
        idle, total = (after - before for before, after in zip(self._machine, machine_s(), strict=True))
        used = {f"cpu.{name}": (cpu_s(pid) - self._before[name]) / took for name, pid in self._pids.items()}
        return used | {"idle": idle / total if total > 0 else float("nan")}


def refusal(overhead: Mapping[str, float], median_demand_s: float) -> str:
    """Why the figures of a run with this overhead may not be reported; "" when they may."""
    most_late = MOST_LATE_SHARE * median_demand_s
    told = [
        f"{who} was {overhead[key] * 1000:.1f} ms late at p99, more than {MOST_LATE_SHARE:.0%} of the median demand "
        f"({most_late * 1000:.1f} ms)"
        for key, who in (("client_late_s", "the client"), ("timers_late_s", "the endpoints' timers"))
        if overhead.get(key, 0.0) > most_late
    ]
    told += [
        f"{key.removeprefix('cpu.')} used {share:.0%} of a core, more than {MOST_CORE:.0%}"
        for key, share in overhead.items()
        if key.startswith("cpu.") and share > MOST_CORE
    ]
    if overhead.get("idle", 1.0) < LEAST_IDLE:
        told.append(f"only {overhead['idle']:.0%} of the machine was idle, less than {LEAST_IDLE:.0%}")
    return "; ".join(told)
