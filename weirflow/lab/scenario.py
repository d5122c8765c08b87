"""What a scenario file says, and the worlds that are drawn from it.

A scenario names its endpoints in groups, its request classes, its load as a share of the true capacity, and what goes
wrong when. From it and a seed come one `Fleet` and one `Trace` (`draw`), the same for every policy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Change:
    """What is different in a group from `start_s` to `end_s`. Times count from the start of the run, warm-up included.

    `first` says how many of the group it touches; None is all of them.
    """

    start_s: float
    end_s: float = float("inf")
    first: int | None = None
    speed: float = 1.0  # times the group's
    extra_s: float = 0.0
    error_share: float = 0.0
    status: int = 503
    after_s: float = 0.001
    hang: bool = False


@dataclass(frozen=True, slots=True)
class Flips:
    """Antagonists: the speed jumps between these factors, holding each for an exponential time of this mean."""

    factors: tuple[float, ...] = (1.0, 0.4)
    hold_s: float = 2.0
    together: Literal["endpoint", "zone"] = "endpoint"  # who flips at the same moments


@dataclass(frozen=True, slots=True)
class Group:
    """Endpoints alike."""

    name: str
    count: int
    workers: int = 4
    speed: float = 1.0
    zones: tuple[str, ...] = ("",)  # dealt out in turn
    weight: int = 1
    joins_s: float = 0.0
    leaves_s: float = float("inf")
    changes: tuple[Change, ...] = ()
    flips: Flips | None = None


@dataclass(frozen=True, slots=True)
class RequestClass:
    """One kind of request: a route of its own, `/NAME`. Demands are gamma distributed."""

    name: str = "all"
    share: float = 1.0
    demand_s: float = 0.24  # mean, at speed 1
    variation: float = 1.0  # standard deviation over mean
    priority: Literal["critical", "default", "sheddable"] = "default"  # who is refused last


@dataclass(frozen=True, slots=True)
class Step:
    """From `at_s` on the load is `factor` times the scenario's."""

    at_s: float
    factor: float


@dataclass(frozen=True, slots=True)
class TelemetryFault:
    """What goes wrong between proxies and brain, all through the run. Shares are of nodes or of log batches."""

    lost: float = 0.0  # share of access log batches that never arrive
    late_s: float = 0.0  # each batch arrives this much later
    lying_nodes: float = 0.0  # share of nodes, at least one when above 0, ...
    lie: float = 1.0  # ... whose durations for `lied_about` are multiplied by this
    lied_about: int = 0  # index of the endpoint
    skew_s: tuple[float, ...] = ()  # each node's clock is this far ahead, in turn


@dataclass(frozen=True, slots=True)
class Retries:
    """What a proxy tries again: whatever failed or took longer than `per_try_timeout_s`, up to so many times."""

    num_retries: int
    per_try_timeout_s: float


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the run whose figures are reported by name."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """One experiment. The run lasts `warmup_s + duration_s`; what is judged is `judged`, a phase (default: after
    warm-up to the end)."""

    name: str
    title: str
    source: str  # where the parameters come from
    groups: tuple[Group, ...]
    load: float  # offered work over the true capacity at the start
    classes: tuple[RequestClass, ...] = (RequestClass(),)
    load_steps: tuple[Step, ...] = ()
    warmup_s: float = 15.0
    duration_s: float = 40.0
    timeout_s: float = 15.0
    nodes: int = 4  # proxies, unless the one who runs it says otherwise
    latency_goal_s: float | None = None  # answers are wanted within it; None: each is good when it comes
    retries: Retries | None = None  # by the proxies
    good_body: bool = False  # the mesh file says that an answer without a body is no good answer
    telemetry: TelemetryFault = field(default_factory=TelemetryFault)
    phases: tuple[Phase, ...] = ()
    judged: str = ""  # name of a phase; empty: all after warm-up
