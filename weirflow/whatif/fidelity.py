"""How near a world comes to what was recorded: run again under what was in force, it must do what the recording did.

    self_check(world).within(WORST)

The same requests are sent again through a mesh in virtual time, under the recorded rules, with the recorded brain in
the loop where it had the traffic. Chance is another one: which endpoints a pick drew, which of two ties won. So a few
percent are no fault of the world; more than `WORST` says that it is not this mesh, and nothing is to be concluded.

A latency is what the user felt, to the last byte or to giving up, whether the answer was good or not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isfinite

import numpy as np

from brain.brain import Brain
from brain.settings import Mode, Settings
from dataplane.contract import Floats, Topology
from dataplane.simulated import drive
from dataplane.simulated.fleet import Bools, Fate, Trace
from dataplane.simulated.fleet_mesh import FleetMesh, Rhythm
from weirflow.whatif.world import Seen, World

WEIRFLOW = "weirflow"
"""The policy that is the brain in the loop, in adaptive mode."""
STEP = 1.002
LEAST_S = 1e-6
BINS = 11_000
"""From a microsecond to an hour: a quantile is told within a thousandth."""


class Spread:
    """How latencies are spread, in memory that does not grow with them."""

    def __init__(self) -> None:
        self._bins = np.zeros(BINS, np.int64)

    def learn(self, latency_s: Floats) -> None:
        """Take in latencies. What is no number is left out."""
        some = latency_s[np.isfinite(latency_s)]
        place = np.log(np.maximum(some, LEAST_S) / LEAST_S) / np.log(STEP)
        self._bins += np.bincount(np.minimum(place.astype(np.int64), BINS - 1), minlength=BINS)

    def quantile_s(self, q: float) -> float:
        """NaN where there are too few for it to be seen."""
        total = int(self._bins.sum())
        if total * (1.0 - q) < 1.0:
            return float("nan")
        place = int(np.searchsorted(np.cumsum(self._bins), q * total))
        return float(LEAST_S * STEP ** (place + 0.5))

    def seen(self, requests: int, good: int) -> Seen:
        """With how many were asked, and how many answered well."""
        failed = 1.0 - good / requests if requests else 0.0
        p50_s, p90_s, p99_s = (self.quantile_s(q) for q in (0.5, 0.9, 0.99))
        return Seen(requests, p50_s, p90_s, p99_s, max(failed, 0.0))


def seen_of(latency_s: Floats, ok: Bools) -> Seen:
    """The same of requests that are at hand."""
    spread = Spread()
    spread.learn(latency_s)
    return spread.seen(len(ok), int(ok.sum()))


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How far a simulation is off what was recorded. Relative, but for failures: as shares of all. NaN: not seen."""

    p50: float
    p90: float
    p99: float
    failed: float

    def within(self, bars: Fidelity) -> bool:
        """Whether nothing is further off than that. What could not be seen is not held against it."""
        pairs = ((getattr(self, n), getattr(bars, n)) for n in self.__slots__)
        return all(abs(mine) <= bar for mine, bar in pairs if isfinite(mine))


BARS = Fidelity(0.05, 0.1, 0.15, 0.01)
"""What a prediction of another policy is held to (`bench/fidelity.py`)."""
WORST = Fidelity(0.15, 0.2, 0.3, 0.03)
"""What nothing is concluded beyond."""


def compared(recorded: Seen, simulated: Seen) -> Fidelity:
    """How far off."""
    p50, p90, p99 = (getattr(simulated, n) / getattr(recorded, n) - 1.0 for n in ("p50_s", "p90_s", "p99_s"))
    return Fidelity(p50, p90, p99, simulated.failed_share - recorded.failed_share)


def self_check(world: World, *, seed: int = 0) -> Fidelity:
    """Run the world again under what was in force, and compare."""
    _, fate = rerun(world, in_force(world), seed=seed)
    return compared(world.seen, seen_of(fate.latency_s, fate.ok))


def in_force(world: World) -> str:
    """What picked while it was recorded: `WEIRFLOW` where the brain was to apply its plans, or the static policy."""
    mode = world.settings.modes.get(world.service, world.settings.mode)
    return WEIRFLOW if mode is Mode.ADAPTIVE else world.rules.policy


def rerun(world: World, policy: str, *, seed: int = 0, settings: Settings | None = None) -> tuple[Trace, Fate]:
    """The world's requests under a policy, all of them in memory. `settings` are the brain's, else the recorded ones.

    ValueError for a policy that there is not. The brain begins knowing nothing.
    """
    trace = Trace.concat(list(world.chunks()))
    random = np.random.Generator(np.random.PCG64(seed))
    static = world.rules.policy if policy == WEIRFLOW else policy
    told = settings or _thinking(world)
    timeout_s = max(r.timeout_s for r in world.rules.routes)
    rhythm = Rhythm(timeout_s=timeout_s, ttl_s=told.lease_ttl_s)
    if policy != WEIRFLOW:
        rhythm = replace(rhythm, flush_s=inf, report_s=inf)
    start = world.topology(0.0)
    mesh = FleetMesh(start, world.fleet, trace, random, rules=replace(world.rules, policy=static), rhythm=rhythm)
    brain = Brain(start, told) if policy == WEIRFLOW else None

    def move(there: Topology) -> None:
        mesh.moved(there)
        if brain is not None:
            brain.moved(there, mesh.now)

    for version, at_s in enumerate(world.fleet.changes_s(), start=2):
        mesh.schedule.at(at_s, move, world.topology(at_s, version))
    if brain is None:
        mesh.run(float(trace.at_s[-1]) if len(trace) else 0.0)
    else:
        for _ in drive.run(mesh, brain, world.duration_s, told.tick_s):
            pass
    return trace, mesh.finish()


def _thinking(world: World) -> Settings:
    """The recorded settings, as for a mesh where the brain's plans are applied."""
    return replace(world.settings, mode=Mode.ADAPTIVE, modes={})
