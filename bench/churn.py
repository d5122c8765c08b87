"""Membership that changes all the time, under load, with our module in Envoy: does any request fail, does memory grow.

    python -m bench.churn --minutes 5     # JSON, one line; what it is at, each minute, on stderr
    python -m bench.churn --pick envoy    # the same with Envoy's own policies

A service of `ENDPOINTS` endpoints behind one Envoy of `WORKERS` workers, `RATE_PER_S` requests a second, in mode
adaptive. `CHANGES_PER_S` times a second the mesh file names other members, at least `FEWEST` of them: who leaves goes
on answering what it has. `failed` counts requests without a good answer. Memory is Envoy's resident set: the middle of
the last quarter over that of the second one. `noisy` warns that the client was itself late.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.result import CannotRunError, Figure, Result, say, show
from dataplane.envoy.process import EnvoyError
from dataplane.pick import policy
from weirflow.demo import mesh
from weirflow.demo.backends import Backends, BackendSpec
from weirflow.demo.load import Load, Stream
from weirflow.demo.processes import NeverHappenedError, Running, running_on

SERVICE, NODE = "web", "edge"
ENDPOINTS, FEWEST, WORKERS = 12, 3, 3
RATE_PER_S, WORK_MS = 200.0, 15.0
CHANGES_PER_S = 1.5
MOST_GROWTH = 1.1
LATE_MS = 20.0
"""p99 of the client's own lateness from which a run is noisy."""


def resident_mb(pid: int) -> float:
    """What a process has in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def churned(minutes: float, pick: str, seed: int) -> Result:
    """One run, on proxies of its own."""
    specs = [BackendSpec(f"b-{i}", workers=8, service_ms=WORK_MS, seed=100 * seed + i) for i in range(ENDPOINTS)]
    with tempfile.TemporaryDirectory(prefix="weirflow-bench-", ignore_cleanup_errors=True) as name:
        async with Backends(specs) as backends:
            addresses = [b.address for b in backends]
            told: dict[str, Any] = {}

            def document(xds_port: int, admin_port: int) -> dict[str, Any]:
                adaptive = {"mode": "adaptive", "pick": pick}
                told.update(
                    mesh.document({SERVICE: addresses}, {NODE: WORKERS}, xds_port, admin_port, adaptive=adaptive)
                )
                return told

            async with running_on(Path(name), document, {NODE: WORKERS}) as parts:
                return await _lived(minutes, pick, seed, addresses, parts, told)


async def _lived(
    minutes: float, pick: str, seed: int, addresses: Sequence[str], parts: Running, told: dict[str, Any]
) -> Result:
    """The churn, on what runs."""
    random = np.random.default_rng((seed, 19))
    pid, changes, memory = parts.envoys[NODE].pid, 0, list[float]()
    stream = Stream(SERVICE, NODE, parts.ports[NODE], RATE_PER_S, path=f"/{SERVICE}")
    async with Load([stream], random) as load:
        begin = load.now()
        while (past := load.now() - begin) < 60.0 * minutes:
            here = random.permutation(addresses)[: int(random.integers(FEWEST, ENDPOINTS + 1))].tolist()
            told["services"][0]["endpoints"] = here
            new = parts.brain.mesh_file.with_suffix(".new")
            mesh.write(new, told)
            new.rename(parts.brain.mesh_file)
            parts.brain.signal(signal.SIGHUP)
            changes += 1
            memory.append(resident_mb(pid))
            if int(past / 60.0) > int((past - 1.0 / CHANGES_PER_S) / 60.0):
                failed = int(load.answers().failed.sum())
                say(f"churn: {past / 60.0:.1f} min, {changes} changes, {memory[-1]:.1f} MB, {failed} failed")
            await asyncio.sleep(1.0 / CHANGES_PER_S)
        seen = load.answers()
    quarter = max(len(memory) // 4, 1)
    growth = float(np.median(memory[-quarter:]) / np.median(memory[quarter : 2 * quarter]))
    status = (await parts.brain.status())["process"]["wires"]["nodes"][NODE]
    late_ms = 1000.0 * float(np.nanquantile(seen.late_s, 0.99))
    return Result(
        "churn",
        [
            Figure("failed", float(seen.failed.sum()), "requests", bar=0.0),
            Figure("memory", growth, "last quarter / second", bar=MOST_GROWTH),
            Figure("refused", float(status["nacks"]), "pushes", bar=0.0),
            Figure("requests", float(len(seen))),
            Figure("changes", float(changes)),
        ],
        late_ms > LATE_MS,
        {
            "pick": pick,
            "module": status["module"],
            "minutes": minutes,
            "seed": seed,
            "sent_late_p99_ms": round(late_ms, 2),
        },
    )


def main() -> int:
    """Measure and print. Exit status 0 when it could run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--pick", choices=("module", "envoy"), default="module")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    try:
        if asked.pick == "module" and not policy.built():
            raise CannotRunError("the module is not built: run `make setup`, which takes a C compiler")
        show(asyncio.run(churned(asked.minutes, asked.pick, asked.seed)))
    except (CannotRunError, EnvoyError, NeverHappenedError, RuntimeError) as error:
        say(f"bench.churn cannot run: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
