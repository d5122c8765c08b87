"""A world's requests carried under a policy, in virtual time, and counted as they end.

Static policies are the mesh's alone. `weirflow` has the real brain in the loop, told what the wires would bring and
publishing what it decides. Both read the requests chunk by chunk, so that memory holds what is open and little else.
The bounds are computed over the same requests and endpoints, all at once; they know no limits, no retries and no
nodes.

Picks have chance of their own by seed, the same for every policy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import ceil, inf

import numpy as np

from brain.brain import Brain
from brain.settings import Mode, Pick, Settings
from dataplane.contract import Arm, Outcome, Topology
from dataplane.simulated import drive
from dataplane.simulated.fleet import Fate, Fleet, Floats, Trace
from dataplane.simulated.fleet_mesh import FleetMesh, Rhythm
from dataplane.simulated.tried import Tried
from weirflow.lab import bounds
from weirflow.whatif.change import Span
from weirflow.whatif.policies import ADAPTIVE, BOUNDS, RECORDED, REPORTED, WEIRFLOW, in_force
from weirflow.whatif.tally import Tally
from weirflow.whatif.world import World

PICKING = 1  # which of a seed's streams of chance this is
COUNT_S = 10.0
"""Of virtual time, between two counts of what has ended."""

Hear = Callable[[Tried], None]


def carry(world: World, policy: str, span: Span, seed: int, hear: Hear | None = None) -> Tally:
    """Count what becomes of the world's requests; `hear` is given every attempt that ended, in order."""
    work = _Work(world)
    tally = Tally.empty(span, len(world.fleet), timeout_s(world))

    def count(tried: Tried) -> None:
        tally.learn(tried, work.cost_s(tried, world.fleet))
        if hear is not None:
            hear(tried)

    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, PICKING])))
    named = in_force(world) if policy == RECORDED else policy
    if policy in BOUNDS:
        trace = Trace.concat(list(work))
        fate: Fate = getattr(bounds, policy)(world.fleet, trace, timeout_s(world))
        count(_tried(trace, fate))
    elif named in ADAPTIVE:
        pick = Pick.ENVOY if named == WEIRFLOW else Pick.MODULE
        settings = settings_of(world, policy)
        told = replace(settings, picks={**settings.picks, world.service: pick}, reports=named == REPORTED)
        _with_brain(world, work, random, count, told)
    else:
        _static(world, named, work, random, count)
    return tally.within(world.fleet)


def timeout_s(world: World) -> float:
    """The longest of any route."""
    return max(r.timeout_s for r in world.rules.routes)


def settings_of(world: World, policy: str) -> Settings:
    """The brain's as recorded, in mode adaptive.

    Where an operator went over to it while it was recorded, what was in force had the share that it had in the mean.
    """
    settings, name = world.settings, world.service
    if settings.modes.get(name, settings.mode) is Mode.ADAPTIVE:
        return settings
    shares = settings.shares
    if policy == RECORDED and name not in shares:
        shares = {**shares, name: 100.0 * world.adaptive_share}
    return replace(settings, modes={**settings.modes, name: Mode.ADAPTIVE}, shares=shares)


class _Work:
    """The requests on their way into a mesh, remembered while they may be open: what they ask of an endpoint."""

    def __init__(self, world: World) -> None:
        self._chunks = world.chunks()
        self._patience_s = timeout_s(world)
        self._known: deque[tuple[int, Trace]] = deque()  # number of its first request, and a chunk
        self._count = 0

    def __iter__(self) -> Iterator[Trace]:
        for chunk in self._chunks:
            if len(chunk):
                self._known.append((self._count, chunk))
                self._count += len(chunk)
                yield chunk

    def cost_s(self, tried: Tried, fleet: Fleet) -> Floats:
        """A worker's seconds for each attempt. An error costs no work; one that was given up may have cost all."""
        demand_s = np.zeros(len(tried))
        for first, chunk in self._known:
            mine = (tried.number >= first) & (tried.number < first + len(chunk))
            demand_s[mine] = chunk.demand_s[tried.number[mine] - first]
        self._forget(float(tried.at_s.max(initial=0.0)))
        worked = (tried.endpoint >= 0) & (tried.good | (tried.status == 0))
        return np.where(worked, demand_s / _speed(fleet, tried), 0.0)

    def _forget(self, now_s: float) -> None:
        """Those that have surely ended: who began so late has given up by then, and so had who came before."""
        while len(self._known) > 1 and self._known[0][1].at_s[-1] + self._patience_s + 2.0 * COUNT_S < now_s:
            self._known.popleft()


def _speed(fleet: Fleet, tried: Tried) -> Floats:
    """Of each attempt's endpoint when it came there; 1 for those who reached none."""
    out = np.ones(len(tried))
    for e in range(len(fleet)):
        mine = np.flatnonzero(tried.endpoint == e)
        out[mine] = fleet.speed[e, np.searchsorted(fleet.since_s[e], tried.at_s[mine], side="right") - 1]
    return out


def _mesh(
    world: World, policy: str, work: _Work, random: np.random.Generator, rhythm: Rhythm, adaptive: str = "full_scan"
) -> FleetMesh:
    rules = replace(world.rules, policy=policy)
    return FleetMesh(world.topology(0.0), world.fleet, work, random, rules=rules, rhythm=rhythm, adaptive=adaptive)


def _static(world: World, policy: str, work: _Work, random: np.random.Generator, count: Hear) -> None:
    mesh = _mesh(world, policy, work, random, Rhythm(flush_s=inf, report_s=inf, timeout_s=timeout_s(world)))
    for version, at_s in enumerate(world.fleet.changes_s(), start=2):
        mesh.schedule.at(at_s, mesh.moved, world.topology(at_s, version))
    for at_s in np.arange(COUNT_S, world.duration_s, COUNT_S).tolist():
        mesh.run(at_s)
        count(mesh.take())
    _end(world, mesh, count)


def _end(world: World, mesh: FleetMesh, count: Hear) -> None:
    """Let the last requests end."""
    mesh.run(world.duration_s)
    mesh.finish()
    count(mesh.take())


def _with_brain(world: World, work: _Work, random: np.random.Generator, count: Hear, settings: Settings) -> None:
    brain = Brain(world.topology(0.0), settings)
    rhythm = Rhythm(timeout_s=timeout_s(world), ttl_s=settings.lease_ttl_s)
    picks = "module" if settings.by_module(world.service) else "full_scan"
    mesh = _mesh(world, world.rules.policy, work, random, rhythm, picks)

    def move(topology: Topology) -> None:
        mesh.moved(topology)
        brain.moved(topology, mesh.now)

    for version, at_s in enumerate(world.fleet.changes_s(), start=2):
        mesh.schedule.at(at_s, move, world.topology(at_s, version))
    counted_s = 0.0
    for _ in drive.run(mesh, brain, float(ceil(world.duration_s)), settings.tick_s):
        if mesh.now - counted_s >= COUNT_S:
            count(mesh.take())
            counted_s = mesh.now
    _end(world, mesh, count)


def _tried(trace: Trace, fate: Fate) -> Tried:
    """A bound's requests as attempts, one each."""
    many = len(trace)
    outcome = np.where(fate.ok, Outcome.OK, np.where(fate.status == 0, Outcome.TIMEOUT, Outcome.ERROR))
    return Tried.of(
        number=np.arange(many),
        at_s=trace.at_s,
        duration_s=fate.latency_s,
        felt_s=fate.latency_s,
        node=trace.node,
        klass=trace.klass,
        attempt=np.ones(many),
        endpoint=fate.endpoint,
        status=fate.status,
        outcome=outcome,
        good=fate.ok,
        last=np.ones(many),
        arm=np.full(many, Arm.STATIC),
        plan=np.zeros(many),
        weight=np.zeros(many),
        probability=np.full(many, np.nan),
        met=np.zeros(many),
    )
