"""The nouns that the data plane and the brain share, and nothing else.

Telemetry flows up as batches of NumPy columns (`Requests`, `Felt`, `InFlight`) and as events (`Verdict`, `Presence`);
decisions flow down as an immutable, versioned `Plan`. A `Topology` gives every name in them a small integer.

Rules:
* Integers for services, endpoints, nodes and routes are handed out once per run and never used again, so a column
  decoded before a membership change still means what it meant. An address that leaves and comes back is a new endpoint.
* A column holds no Python object. Durations are seconds in float32; NaN means "was not there".
* Times in a batch are the node's own clock and are only ever subtracted from each other. The brain's time comes beside
  the batch, as `now`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum
from functools import cache, cached_property
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from dataplane.plan import Plan as Plan  # three nouns of this page that have a page of their own
from dataplane.plan import ServicePlan as ServicePlan
from dataplane.plan import same_numbers as same_numbers

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Arm(IntEnum):
    """Which rules picked the endpoint."""

    STATIC = 0
    ADAPTIVE = 1


class Outcome(IntEnum):
    """How an attempt ended, by whom it teaches about.

    OK, ERROR and TIMEOUT teach about the endpoint. REJECTED (our own limit said no) and CANCELLED (the client left)
    teach about demand only. UNREACHED (no connection) teaches about health only: it has no latency.
    """

    OK = 0
    ERROR = 1
    TIMEOUT = 2
    REJECTED = 3
    CANCELLED = 4
    UNREACHED = 5


REPORTED = np.array([o in (Outcome.OK, Outcome.ERROR, Outcome.TIMEOUT, Outcome.CANCELLED) for o in Outcome])
"""By Outcome: was a request sent to the endpoint, so that a load report counts it as issued."""


class Method(IntEnum):
    """The request's HTTP method, in the numbers of envoy.config.core.v3.RequestMethod."""

    UNKNOWN = 0
    GET = 1
    HEAD = 2
    POST = 3
    PUT = 4
    DELETE = 5
    CONNECT = 6
    OPTIONS = 7
    TRACE = 8
    PATCH = 9


ADAPTIVE_SUFFIX = "~adaptive"
SHED_SUFFIX = "~shed"
NO_PLAN = 0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a service. `weight` is the operator's, at least 1; `id` indexes every per-endpoint array."""

    id: int
    address: str
    weight: int = 1
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """A named upstream and the endpoints it has now. `id` indexes every per-service array."""

    id: int
    name: str
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One proxy. `concurrency` is its worker threads: each keeps a schedule of its own that a push restarts.

    `zone` is where it runs, "" unknown: what an endpoint of another zone serves for it crosses between them. `service`
    is the one that it stands beside and calls for, as a sidecar does; "": an edge, or not known.
    """

    id: int
    name: str
    concurrency: int = 1
    zone: str = ""
    service: str = ""


@dataclass(frozen=True)
class Topology:
    """Who is there. Immutable; a membership change makes a new one with a higher `version`.

    Ids are dense from 0 but never reused, so per-endpoint arrays have `endpoint_slots` rows, some of them retired.
    """

    version: int
    services: tuple[Service, ...]
    nodes: tuple[Node, ...]
    routes: tuple[str, ...] = ()
    route_services: tuple[int, ...] = ()  # service id of each route, -1 when unknown; empty: none is known
    endpoint_slots: int = 0
    service_slots: int = 0

    def __post_init__(self) -> None:
        """Size the slots from the members when the maker did not say."""
        top = max((e.id for s in self.services for e in s.endpoints), default=-1) + 1
        object.__setattr__(self, "endpoint_slots", max(self.endpoint_slots, top))
        object.__setattr__(
            self, "service_slots", max(self.service_slots, max((s.id for s in self.services), default=-1) + 1)
        )

    @cached_property
    def service_of(self) -> Ints:
        """Service id by endpoint id, -1 for a retired slot. Shape (endpoint_slots,)."""
        out = np.full(self.endpoint_slots, -1, dtype=np.int64)
        for s in self.services:
            for e in s.endpoints:
                out[e.id] = s.id
        return out

    @cached_property
    def static_weight(self) -> Ints:
        """The operator's weight by endpoint id, 0 for a retired slot. Shape (endpoint_slots,)."""
        out = np.zeros(self.endpoint_slots, dtype=np.int64)
        for s in self.services:
            for e in s.endpoints:
                out[e.id] = e.weight
        return out

    @cached_property
    def members(self) -> dict[int, Ints]:
        """Endpoint ids by service id, in the order of the topology."""
        return {s.id: np.array([e.id for e in s.endpoints], dtype=np.int64) for s in self.services}

    @cached_property
    def addresses(self) -> dict[tuple[int, str], int]:
        """Endpoint id by (service id, address): how the wires' `ip:port` becomes an integer."""
        return {(s.id, e.address): e.id for s in self.services for e in s.endpoints}

    def service(self, name: str) -> Service:
        """Return the service of that name; KeyError with the name if there is none."""
        for s in self.services:
            if s.name == name:
                return s
        raise KeyError(name)

    def endpoint(self, endpoint_id: int) -> Endpoint:
        """Return the endpoint of that id; KeyError if it has left."""
        for s in self.services:
            for e in s.endpoints:
                if e.id == endpoint_id:
                    return e
        raise KeyError(endpoint_id)


def column(dtype: str, *, default: int | None = None) -> Any:
    """A dataclass field that is a NumPy column of this dtype; `of` fills it with a default when it is not given."""
    return field(metadata={"dtype": np.dtype(dtype), "default": default})


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Arrays of one length, a row per thing. Subclasses declare each with `column(dtype)`."""

    @classmethod
    @cache
    def dtypes(cls) -> dict[str, np.dtype[Any]]:
        """Column name to dtype, in the order declared."""
        return {f.name: f.metadata["dtype"] for f in fields(cls) if "dtype" in f.metadata}

    @classmethod
    @cache
    def _defaults(cls) -> dict[str, int]:
        """The columns that need not be given, and what they are then."""
        return {f.name: f.metadata["default"] for f in fields(cls) if f.metadata.get("default") is not None}

    @classmethod
    def of(cls, **columns: Any) -> Self:
        """Make a batch, casting each column to its dtype. ValueError when lengths differ or a column is missing."""
        arrays = {}
        for name, dtype in cls.dtypes().items():
            if name in columns:
                arrays[name] = np.ascontiguousarray(columns[name], dtype=dtype)
            elif name in cls._defaults() and arrays:
                arrays[name] = np.full(len(next(iter(arrays.values()))), cls._defaults()[name], dtype=dtype)
            else:
                raise ValueError(f"{cls.__name__} has no column {name!r}")
        if len({len(a) for a in arrays.values()}) > 1:
            raise ValueError(f"columns of unlike length: { {n: len(a) for n, a in arrays.items()} }")
        return cls(**arrays)

    @classmethod
    def empty(cls) -> Self:
        """A batch of no rows."""
        return cls(**{name: np.empty(0, dtype=dtype) for name, dtype in cls.dtypes().items()})

    @classmethod
    def concat(cls, batches: Sequence[Self]) -> Self:
        """All rows of all batches, in order."""
        if len(batches) < 2:
            return batches[0] if batches else cls.empty()
        return cls(**{name: np.concatenate([getattr(b, name) for b in batches]) for name in cls.dtypes()})

    def take(self, index: Any) -> Self:
        """The rows that a mask, slice or integer array names."""
        columns, told = self.dtypes(), {name: getattr(self, name) for name in tuple[str, ...](self.__slots__)}
        return type(self)(**{name: value[index] if name in columns else value for name, value in told.items()})

    def __len__(self) -> int:
        """Rows in the batch."""
        return len(getattr(self, next(iter(self.dtypes()))))


@dataclass(frozen=True, slots=True, eq=False)
class Requests(Columns):
    """Finished attempts: a row per try of a request at an endpoint, the failed first try of a retried one included."""

    started_s: Floats = column("f8")  # the node's clock, seconds since 1970
    duration_s: NDArray[np.float32] = column("f4")
    ttfb_s: NDArray[np.float32] = column("f4")  # to the first byte of the response; NaN when none came
    felt_s: NDArray[np.float32] = column("f4")  # from the start of the request's first attempt to the end of this one
    service: NDArray[np.int32] = column("i4")
    endpoint: NDArray[np.int32] = column("i4")  # -1 when no host was picked
    node: NDArray[np.int32] = column("i4")
    route: NDArray[np.int32] = column("i4")  # index into Topology.routes, -1 unknown
    outcome: NDArray[np.int8] = column("i1")  # Outcome
    status: NDArray[np.int16] = column("i2")  # 0 when no response came
    bytes_in: Ints = column("i8")  # body towards the endpoint
    bytes_out: Ints = column("i8")  # body from the endpoint
    attempt: NDArray[np.int16] = column("i2")  # 1 for the first try
    arm: NDArray[np.int8] = column("i1")  # Arm
    plan: Ints = column("i8")  # Plan.version in force at the node when picked; NO_PLAN before the first
    weight: NDArray[np.int32] = column("i4")  # of the endpoint on that arm under that plan; 0 without an endpoint
    probability: NDArray[np.float32] = column("f4")  # weight over the sum of weights: the nominal chance of this pick
    method: NDArray[np.int8] = column("i1", default=Method.UNKNOWN)  # Method


@dataclass(frozen=True, slots=True, eq=False)
class Felt(Columns):
    """Requests that ended badly for the user, from the downstream log: what no attempt alone can tell.

    Requests that ended well are not here: their duration is `Requests.felt_s` of their last attempt.
    """

    started_s: Floats = column("f8")
    duration_s: NDArray[np.float32] = column("f4")
    service: NDArray[np.int32] = column("i4")
    node: NDArray[np.int32] = column("i4")
    outcome: NDArray[np.int8] = column("i1")
    status: NDArray[np.int16] = column("i2")
    arm: NDArray[np.int8] = column("i1")
    route: NDArray[np.int32] = column("i4", default=-1)  # index into Topology.routes, -1 unknown


@dataclass(frozen=True, slots=True, eq=False)
class InFlight(Columns):
    """What one node says is open now, by endpoint and arm: the only sight of a request that has not ended.

    `issued`, `succeeded` and `failed` count since that node's last report. A report with no rows is a fact too: that
    node is alive and carried nothing.
    """

    service: NDArray[np.int32] = column("i4")
    endpoint: NDArray[np.int32] = column("i4")
    arm: NDArray[np.int8] = column("i1")
    in_flight: Ints = column("i8")
    issued: Ints = column("i8")
    succeeded: Ints = column("i8")
    failed: Ints = column("i8")
    node_id: int = 0
    interval_s: float = 0.5

    @classmethod
    def report(cls, node: int, interval_s: float, **columns: Any) -> Self:
        """A report of one node. Columns as in `of`."""
        body = cls.of(**columns)
        return cls(**{name: getattr(body, name) for name in cls.dtypes()}, node_id=node, interval_s=interval_s)


@dataclass(frozen=True, slots=True)
class Dropped:
    """Log entries of one node that nobody learned from, by reason, since the last word of it."""

    node: int
    reasons: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A node's answer to a version of one resource type: ACK when `accepted`, else NACK with Envoy's own words."""

    node: int
    kind: str  # "LDS", "RDS", "CDS", "EDS" or "RTDS"
    version: str
    accepted: bool
    plan: int = NO_PLAN  # the Plan.version that this version carried
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Presence:
    """A node's ADS stream opened or ended."""

    node: int
    connected: bool


Telemetry = Requests | Felt | InFlight | Dropped
Event = Verdict | Presence


class DataPlane(Protocol):
    """What carries plans down and telemetry up. The live one is a gRPC server, the simulated one lives in virtual time.

    It is made with a topology and three callables: `on_telemetry(batch)`, `on_event(event)` for verdicts and presence,
    both called from the driver's own thread, in order.
    """

    def publish(self, plan: Plan) -> None:
        """Put the plan in force and renew its lease. Returns at once; what became of it is heard as Verdicts.

        Publishing the same version again only renews. Not publishing lets the lease end by itself.
        """

    def moved(self, topology: Topology) -> None:
        """Serve a changed membership."""


OnTelemetry = Callable[[Telemetry], None]
OnEvent = Callable[[Event], None]
