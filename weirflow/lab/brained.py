"""Weirflow's own run: `weirflow run` on a mesh file as an operator would write it, and Envoys that wait for it.

    async with weirflow(world, scenario, folder) as proxies:
        proxies.ports

Members that come and go are written to the mesh file, and the brain told to read it again (SIGHUP), as an operator
would. The weights in force are read from its status. A scenario with broken telemetry starts the same brain behind
`weirflow.lab.odd_telemetry`.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from dataplane.simulated.fleet import Floats
from weirflow.clock import Clock
from weirflow.demo import mesh
from weirflow.demo.processes import PROGRAM, Running, running_on
from weirflow.lab.peers import SERVICE, UNREACHED, World
from weirflow.lab.run import IN_A_MESH_FILE, MODULES, REPORTED, SHARE_PERCENT
from weirflow.lab.scenario import Scenario, TelemetryFault

WEIRFLOW_ITSELF = "weirflow"


@dataclass(slots=True)
class Brained:
    """The Envoys and the brain."""

    world: World
    scenario: Scenario
    parts: Running
    folder: Path
    told: dict[str, Any]  # the mesh file
    decides: bool = True  # else a stock policy serves, and the brain looks on
    incidents: list[tuple[float, str, str]] = field(default_factory=list)  # told at which tick, its id, its first cause
    clock: Clock = field(default_factory=Clock)

    @property
    def ports(self) -> Sequence[int]:
        """Of each node's listener."""
        return list(self.parts.ports.values())

    @property
    def pids(self) -> Mapping[str, int]:
        """Of each Envoy, and of the brain."""
        return {name: e.pid for name, e in self.parts.envoys.items()} | {"brain": self.parts.brain.pid}

    async def moved(self, at_s: float) -> None:
        """Write who is a member, and have the file read again."""
        self.told["services"][0]["endpoints"] = endpoints(self.world, at_s)
        mesh.write(self.folder / "mesh.new", self.told)
        (self.folder / "mesh.new").rename(self.parts.brain.mesh_file)
        self.parts.brain.signal(signal.SIGHUP)

    async def shares(self) -> Floats | None:
        """The adaptive arm's weights; None before the first decision, without an answer, or if the brain only looks on.

        The incidents that are open are kept as well.
        """
        if not self.decides:
            return None
        try:
            decision = await self.parts.brain.decision()
        except (RuntimeError, TimeoutError, aiohttp.ClientError):
            return None
        if decision is None:
            return None
        # When it was decided, not when we came to ask: the brain counts from 1970, everything else here by the loop.
        at = decision["now"] - self.clock.now() + asyncio.get_running_loop().time()
        self.incidents += [(at, i["id"], i["causes"][0]) for i in decision.get("incidents", ())]
        found = next(s for s in decision["services"] if s["name"] == SERVICE)
        weights = {e["address"]: e["weight"] for e in found["endpoints"]}
        out = np.array([weights.get(a, 0) for a in self.world.addresses], dtype=np.float64)
        return out / out.sum() if out.sum() else None


@asynccontextmanager
async def weirflow(
    world: World,
    scenario: Scenario,
    folder: Path,
    *,
    policy: str = WEIRFLOW_ITSELF,
    share_percent: float = SHARE_PERCENT,
    seed: int = 0,
    recording: Path | None = None,
) -> AsyncIterator[Brained]:
    """A brain and its Envoys, ready; in the end all of them stopped. Errors as `weirflow.demo.processes.running`.

    A `policy` of `IN_A_MESH_FILE` serves in mode static, with the brain looking on. `recording`: a folder to record in.
    """
    told: dict[str, Any] = {}

    def document(xds_port: int, admin_port: int) -> dict[str, Any]:
        told.update(mesh_file(world, scenario, share_percent, xds_port, admin_port))
        if policy in MODULES:
            told["adaptive"] |= {"pick": "module", "reports": policy == REPORTED}
        if policy in IN_A_MESH_FILE:
            kind, scan = IN_A_MESH_FILE[policy]
            told["services"][0] |= {"policy": kind} | ({"full_scan": True} if scan else {})
            told["adaptive"]["mode"] = "static"
        if recording is not None:
            told["recording"] = {"folder": str(recording.absolute())}
        return told

    nodes = {f"node-{n}": 1 for n in range(world.nodes)}
    async with running_on(folder, document, nodes, program=program(world, scenario.telemetry, folder, seed)) as parts:
        yield Brained(world, scenario, parts, folder, told, policy not in IN_A_MESH_FILE)


def mesh_file(world: World, scenario: Scenario, share_percent: float, xds_port: int, admin_port: int) -> dict[str, Any]:
    """What an operator would write for this scenario. A route for each request class: the brain may learn by it."""
    breakers = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), UNREACHED)
    timeout = f"{world.timeout_s:g}s"
    retry: dict[str, Any] = {}
    if world.retries is not None:
        try_s = f"{world.retries.per_try_timeout_s:g}s"
        retry["retry"] = {"retry_on": ["5xx"], "num_retries": world.retries.num_retries, "per_try_timeout": try_s}
    goal_s = scenario.latency_goal_s
    goal = {} if goal_s is None else {"services": {SERVICE: {"latency_goal": f"{goal_s:g}s"}}}
    good = {"good_answer": {"min_body_bytes": 1}} if scenario.good_body else {}
    return {
        "nodes": [{"name": f"node-{n}", "spawn": False} for n in range(world.nodes)],
        "listeners": [{"name": "web", "port": 0}],
        "routes": [
            {"name": path, "service": SERVICE, "prefix": f"/{path}", "timeout": timeout, "tell_arm": True}
            | {"priority": world.priorities.get(path, "default")}
            | retry
            for path in sorted(world.paths, key=len, reverse=True)  # a longer name may begin with a shorter one
        ],
        "services": [{"name": SERVICE, "endpoints": endpoints(world, 0.0), "circuit_breakers": breakers} | good],
        "adaptive": {"mode": "adaptive", "share": share_percent} | goal,
        "xds": {"port": xds_port},
        "admin": {"port": admin_port},
    }


def endpoints(world: World, at_s: float) -> list[dict[str, Any]]:
    """The members at that time."""
    fleet = world.fleet
    return [
        {"address": world.addresses[e], "weight": int(fleet.weight[e]), "zone": fleet.zones[e]}
        for e in fleet.members(at_s)
    ]


def program(world: World, fault: TelemetryFault, folder: Path, seed: int) -> Sequence[str]:
    """What to start on the mesh file: `weirflow run`, or the same behind broken telemetry."""
    if fault == TelemetryFault():
        return PROGRAM
    file = folder / "telemetry.json"
    # The brain numbers the members from 0 in the order of the file.
    about = world.fleet.members(0.0).tolist().index(fault.lied_about)
    file.write_text(json.dumps(asdict(fault) | {"lied_about": about, "nodes": world.nodes, "seed": seed}))
    return (sys.executable, "-m", "weirflow.lab.odd_telemetry", "--fault", str(file))
