"""Runs scenarios on real Envoy: one world drawn for each seed, every policy over that same world, one after another.

The order of the policies turns round with each seed (ABBA), so what drifts on the machine falls on all alike. Each run
has processes of its own: endpoints, client, one Envoy a node, and for Weirflow a brain. A run tells what those used of
the CPU, and `refused` says why its figures may not be believed when the machine and not the policy made them.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dataplane.simulated.fleet import Fate, Fleet, Ints, Trace
from weirflow.lab import kept
from weirflow.lab.brained import Brained, weirflow
from weirflow.lab.client import Client
from weirflow.lab.draw import draw, end_s
from weirflow.lab.endpoints import Endpoints
from weirflow.lab.overhead import LEAD_S, Watch, idle_run, refusal
from weirflow.lab.peers import Proxies, World, stock
from weirflow.lab.run import IN_A_MESH_FILE, SHARE_PERCENT, WEIRFLOW, Run, Seen, Weights
from weirflow.lab.scenario import Scenario

WEIGHTS_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Job:
    """One run that is to be made."""

    scenario: Scenario
    policy: str
    nodes: int
    seed: int
    place: int
    fleet: Fleet
    trace: Trace
    share_percent: float = SHARE_PERCENT
    record: Path | None = None  # where to keep recordings

    @property
    def kept(self) -> Path | None:
        """This run's own folder there; None when nothing is recorded, or the policy cannot be had through the brain."""
        if self.record is None or not (self.policy in WEIRFLOW or self.policy in IN_A_MESH_FILE):
            return None
        return self.record / kept.name_of(self.scenario.name, self.policy, self.nodes, self.seed)


def jobs(
    scenario: Scenario,
    policies: Sequence[str],
    nodes: int,
    seed: int,
    *,
    time_scale: float = 1.0,
    share_percent: float = SHARE_PERCENT,
    record: Path | None = None,
) -> list[Job]:
    """The runs of one seed, in the order to make them: forwards for an even seed, backwards for an odd one."""
    fleet, trace = draw(scenario, np.random.default_rng(seed), nodes, time_scale=time_scale)  # noqa: TID251 - a driver
    scenario = _scaled(scenario, time_scale)
    order = policies[::-1] if seed % 2 else policies
    return [Job(scenario, p, nodes, seed, i, fleet, trace, share_percent, record) for i, p in enumerate(order)]


def _scaled(scenario: Scenario, by: float) -> Scenario:
    """With what is asked of a latency as many times as long as the work."""
    goal_s, retries = scenario.latency_goal_s, scenario.retries
    return replace(
        scenario,
        latency_goal_s=None if goal_s is None else by * goal_s,
        retries=None if retries is None else replace(retries, per_try_timeout_s=by * retries.per_try_timeout_s),
    )


async def run_all(
    todo: Sequence[Job], *, parallel: int = 1, on_run: Callable[[Run], None] = lambda _: None
) -> list[Run]:
    """Make the runs, `parallel` at a time, after an idle run, and return them in the order asked. Errors as `run_one`.

    `on_run` is told of each as it is made: one that fails ends those under way and leaves the others unmade.
    """
    if not todo:
        return []
    first = todo[0]
    idle = await idle_run(first.scenario, first.fleet, len(first.trace) / max(float(first.trace.at_s.max()), 1.0))
    gate = asyncio.Semaphore(parallel)

    async def one(job: Job) -> Run:
        async with gate:
            made = await run_one(job, idle)
        on_run(made)
        return made

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(job)) for job in todo]
    except ExceptionGroup as several:  # the first is why the others ended
        raise several.exceptions[0] from several
    return [t.result() for t in tasks]


async def run_one(job: Job, idle: Mapping[str, float]) -> Run:
    """Make one run; `idle` is what an idle run told.

    ChildError, EnvoyError, NeverHappenedError or RuntimeError, with the last words of what did not start, or ended.
    """
    with tempfile.TemporaryDirectory(prefix="weirflow-lab-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with AsyncExitStack() as down:
            endpoints = await down.enter_async_context(Endpoints(job.fleet, folder))
            paths = tuple(c.name for c in job.scenario.classes)
            world = World(
                job.fleet,
                endpoints.addresses,
                job.nodes,
                job.scenario.timeout_s,
                paths,
                end_s(job.scenario),
                demand_s=float(job.trace.demand_s.mean()) if len(job.trace) else 0.0,
                goal_s=job.scenario.latency_goal_s,
                retries=job.scenario.retries,
                priorities={c.name: c.priority for c in job.scenario.classes},
            )
            proxies = await down.enter_async_context(_proxies(job, world, folder))
            client = await down.enter_async_context(Client(job.trace, job.scenario, proxies.ports, folder))
            pids = {"client": client.process.pid, "endpoints": endpoints.process.pid, **proxies.pids}
            start = asyncio.get_running_loop().time() + LEAD_S
            endpoints.begin(start)
            client.begin(start)
            watch = Watch(pids)
            learned: list[tuple[float, Sequence[float]]] = []
            async with _beside(_move(proxies, world, start), _weights(proxies, start, learned)):
                seen = await client.seen()
            met = await endpoints.ended(len(job.trace))
            incidents = _incidents(proxies, start)
            overhead = {**idle, **watch.end(), "client_late_s": seen.late_s, "timers_late_s": met.late_s}
    run = Run(
        job.scenario,
        job.policy,
        job.nodes,
        job.seed,
        "envoy",
        job.fleet,
        job.trace,
        _located(seen.fate, met.endpoint),
        job.place,
        Weights(np.array([t for t, _ in learned]), np.array([w for _, w in learned])) if learned else None,
        overhead,
        refusal(overhead, float(np.median(job.trace.demand_s)) if len(job.trace) else 0.0),
        incidents,
    )
    if job.kept is not None:
        kept.keep(run, job.kept)
    return run


def _incidents(proxies: Proxies, start: float) -> tuple[Seen, ...] | None:
    """What the brain told of; None where there is none."""
    if not isinstance(proxies, Brained) or not proxies.decides:
        return None
    return tuple(Seen(at - start, number, cause) for at, number, cause in proxies.incidents)


def _located(fate: Fate, endpoint: Ints) -> Fate:
    """A request that was never answered went somewhere all the same."""
    return replace(fate, endpoint=np.where(fate.endpoint < 0, endpoint, fate.endpoint).astype(np.int32))


@asynccontextmanager
async def _proxies(job: Job, world: World, folder: Path) -> AsyncIterator[Proxies]:
    if job.policy in WEIRFLOW or job.kept is not None:
        told: dict[str, Any] = {"policy": job.policy, "share_percent": job.share_percent, "seed": job.seed}
        async with weirflow(world, job.scenario, folder, recording=job.kept, **told) as brained:
            yield brained
    else:
        async with stock(job.policy, world, folder) as plain:
            yield plain


@asynccontextmanager
async def _beside(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these beside the block; the block's end ends them, and what went wrong in one is raised there."""
    tasks = [asyncio.create_task(c) for c in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def _move(proxies: Proxies, world: World, start: float) -> None:
    """Tell the proxies who is a member, when that changes."""
    for at_s in world.fleet.changes_s():
        await asyncio.sleep(start + at_s - asyncio.get_running_loop().time())
        await proxies.moved(at_s)


async def _weights(proxies: Proxies, start: float, out: list[tuple[float, Sequence[float]]]) -> None:
    """Keep the weights in force, once a second."""
    loop = asyncio.get_running_loop()
    due = start
    while True:
        await asyncio.sleep(due - loop.time())
        shares = await proxies.shares()
        if shares is not None:
            out.append((loop.time() - start, shares.tolist()))
        due += WEIGHTS_EVERY_S
