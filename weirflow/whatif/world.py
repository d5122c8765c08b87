"""What a recording shows of one service, with the load taken out, so that another load can be put back.

Calibration makes a `World` of a recording (`weirflow.whatif.calibrate`), a question changes it
(`weirflow.whatif.change`), and a mesh in virtual time answers it (`weirflow.whatif.answer`). The requests of a world
are read in chunks, so that a recording may be larger than memory; everything else is small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from brain.settings import Settings
from dataplane.contract import Endpoint, Node, Service, Topology
from dataplane.simulated.fleet import Fleet, Floats, Ints, Trace
from dataplane.simulated.rules import Rules

Chunks = Callable[[], Iterator[Trace]]
"""The requests from the first to the last, anew at each call. Times rise within a chunk and from chunk to chunk."""


@dataclass(frozen=True, slots=True, eq=False)
class Trust:
    """How well each endpoint is known. E endpoints."""

    attempts: Ints  # (E,) that taught something
    busy_share: Floats  # (E,) of the recorded time in which it had something to do
    waited_share: Floats  # (E,) of its attempts that had to wait: without any, its workers are a guess
    pieces: Ints  # (E,) stretches of time in which it behaved alike
    error_share_known: Floats  # (E,) half width of the 95 % interval of its share of errors
    workers_low: int  # the least number that the recording does not refute for most endpoints
    workers_high: float  # the most; infinity: no queue was seen, or too little of one
    blurred: bool = False  # times are told in steps too long for a work: who waited is not to be seen


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the recording itself tells of one moment's requests as their users felt them, to judge a simulation by."""

    requests: int
    p50_s: float
    p90_s: float
    p99_s: float
    failed_share: float


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """One service of a recording. Times are seconds since `started`."""

    service: str
    nodes: tuple[str, ...]
    classes: tuple[str, ...]  # of requests: the routes
    fleet: Fleet  # endpoints by row, and how they behaved when
    chunks: Chunks
    rules: Rules  # the static ones that were in force
    settings: Settings  # of the brain, as recorded at the start
    adaptive_share: float  # of the recorded requests that the adaptive arm served
    trust: Trust
    seen: Seen
    started: float  # s since 1970
    duration_s: float
    notes: tuple[str, ...] = ()  # what had to be assumed, in words for people

    def topology(self, at_s: float, version: int = 1) -> Topology:
        """The members at that time. An endpoint's id is its row in the fleet."""
        fleet = self.fleet
        here = fleet.members(at_s).tolist()
        endpoints = tuple(Endpoint(e, fleet.names[e], int(fleet.weight[e]), fleet.zones[e]) for e in here)
        return Topology(
            version=version,
            services=(Service(0, self.service, endpoints),),
            nodes=tuple(Node(v, name) for v, name in enumerate(self.nodes)),
            routes=self.classes,
            route_services=(0,) * len(self.classes),
            endpoint_slots=len(fleet),
        )
