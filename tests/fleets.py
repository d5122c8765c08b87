"""Small worlds for the tests of the fast mesh and its bounds, and a slow mesh to hold the fast one against."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dataplane.contract import Arm
from dataplane.simulated import picking
from dataplane.simulated.fleet import Fleet, Floats, Trace
from dataplane.simulated.fleet_mesh import FleetMesh
from dataplane.simulated.picks import picker, tiered
from dataplane.simulated.schedule import Schedule
from weirflow.lab.bounds import topology_at
from weirflow.lab.endpoint import Endpoint, pieces

NEVER = float("inf")


def fleet(*speeds: float, workers: int = 2, **pieces_of_time: Any) -> Fleet:
    """Endpoints of these speeds. `since_s` and its likes, of shape (E, K), say what changes when."""
    many = len(speeds)
    since_s = np.atleast_2d(pieces_of_time.pop("since_s", np.zeros((many, 1))))
    told: dict[str, Any] = {
        "names": tuple(f"10.0.0.{e}:80" for e in range(many)),
        "zones": ("",) * many,
        "group": np.zeros(many, np.int64),
        "weight": np.ones(many, np.int64),
        "workers": np.full(many, workers),
        "joins_s": np.zeros(many),
        "leaves_s": np.full(many, NEVER),
        "since_s": since_s,
        "speed": np.tile(np.array(speeds, dtype=float)[:, None], since_s.shape[1]),
        "extra_s": np.zeros(since_s.shape),
        "error_share": np.zeros(since_s.shape),
        "status": np.full(since_s.shape, 503),
        "after_s": np.full(since_s.shape, 0.001),
        "hang": np.zeros(since_s.shape, np.bool_),
    }
    return Fleet(**(told | pieces_of_time))


def trace(of: Fleet, load: float, seconds: float, *, nodes: int = 1, seed: int = 1, mean_s: float = 0.1) -> Trace:
    """Poisson arrivals of exponential demand."""
    rng = np.random.default_rng(seed)
    rate = load * float((of.workers * of.speed[:, 0]).sum()) / mean_s
    many = int(rate * seconds)
    return Trace.of(
        at_s=np.cumsum(rng.exponential(1 / rate, many)),
        node=rng.integers(nodes, size=many),
        klass=np.zeros(many),
        demand_s=rng.exponential(mean_s, many),
        luck=rng.random(many),
    )


def mesh(of: Fleet, work: Trace, *, nodes: int = 1, seed: int = 2, **kw: Any) -> FleetMesh:
    """A fast mesh whose schedules all begin close to their start."""
    made = FleetMesh(topology_at(of, 0.0, nodes), of, work, np.random.default_rng(seed), **kw)
    made._nodes.cluster["skip"] = made._nodes.cluster["turn"] = np.arange(2 * nodes).reshape(nodes, 2) % 7
    made.moved(topology_at(of, 0.0, nodes))
    return made


def in_tiers(made: FleetMesh, tiers: list[int], arm: Arm = Arm.STATIC) -> None:
    """Divide the endpoints at every node, and begin all schedules anew."""
    made._nodes.lane["tier"][:, arm] = np.unique(tiers, return_inverse=True)[1]
    made._nodes.cluster["tiers"][:, arm] = len(set(tiers))
    for v in range(len(made._nodes.node)):
        picking.rebuild(made._nodes, v, int(arm))


@dataclass(slots=True)
class Asked:
    """One request on its way, as the lab's endpoints take it."""

    demand_s: float
    luck: float
    done: Callable[[int, bool], None]
    gone: bool = False

    def answer(self, status: int, *, empty: bool = False) -> None:
        self.done(status, empty)


@dataclass(slots=True)
class SlowMesh:
    """The same world in plain Python: the lab's own endpoints, `picks`, and an event for everything that happens.

    It starts from a fast mesh that has not run, and takes that one's chance.
    """

    fast: FleetMesh
    work: Trace
    policy: str
    schedule: Schedule = field(default_factory=Schedule)
    ends: dict[int, tuple[int, float, int, bool]] = field(default_factory=dict)  # endpoint, time, status, good

    def run(self) -> None:
        """Live until all is over."""
        of, work, rng = self.fast._fleet, self.work, deepcopy(self.fast._rng)
        clock = _Clock(self.schedule)
        endpoints = [Endpoint(int(of.workers[e]), pieces(of, e), clock) for e in range(len(of))]
        open_now = np.zeros((len(self.fast._nodes.node), len(of)), np.int64)
        ways = [self._picker(v, open_now, rng) for v in range(len(open_now))]

        def arrive(i: int) -> None:
            v = int(work.node[i])
            e = ways[v]()
            open_now[v, e] += 1

            def end(status: int, empty: bool) -> None:
                if i not in self.ends:
                    open_now[v, e] -= 1
                    self.ends[i] = (e, self.schedule.now, status, status == 200 and not empty)

            def give_up() -> None:
                asked.gone = True
                end(0, True)

            asked = Asked(float(work.demand_s[i]), float(work.luck[i]), end)
            self.schedule.at(work.at_s[i] + self.fast.rhythm.timeout_s, give_up)
            endpoints[e].ask(asked)

        for i, at_s in enumerate(work.at_s):
            self.schedule.at(at_s, arrive, i)
        self.schedule.run(NEVER)

    def _picker(self, v: int, open_now: Any, rng: np.random.Generator) -> Callable[[], int]:
        cluster = self.fast._nodes.cluster[v, Arm.STATIC]
        lane = self.fast._nodes.lane[v, Arm.STATIC]
        weights, active = lane["weight"].tolist(), lambda e: int(open_now[v, e])
        if self.policy == "full_scan":
            return tiered(weights, lane["tier"].tolist(), active, rng, int(cluster["skip"]))
        skip = int(cluster["skip" if len(set(weights)) > 1 else "turn"])
        return picker(self.policy.upper(), weights, active, rng, skip)


class _Clock:
    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def now(self) -> float:
        return self._schedule.now

    def at(self, when_s: float, call: Callable[..., None], *told: Any) -> None:
        self._schedule.at(when_s, call, *told)


def p99(latency_s: Floats) -> float:
    return float(np.quantile(latency_s, 0.99))
