"""What comes out of a tick: the plan, the alerts that opened or closed, and the reasons, as plain data.

Everything here can be written as JSON and read back; `weirflow explain`, the recording and the metrics all read it, so
there is one explanation and not three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from typing import Any

from brain.findings import Finding
from dataplane.contract import Plan


@dataclass(slots=True)
class EndpointView:
    """One endpoint at a tick. Durations in seconds, None for unknown.

    Not frozen, as the others here are: of thousands of them that would be a tenth of a tick.
    """

    id: int
    address: str
    zone: str
    static_weight: int
    weight: int  # in force on the adaptive arm by this decision
    proposed: int  # what the learner wants, before guard, step and gate
    share: float  # of the adaptive arm, by weight, 0 to 1
    capacity: float | None  # attempts a second it is believed to bear
    capacity_low: float | None
    capacity_high: float | None
    rate_per_s: float
    error_share: float | None
    latency_s: float | None
    p50_s: float | None
    p99_s: float | None
    in_flight: float | None
    samples: float
    reason: str
    guard: str = ""  # the guard rail that changed the proposal, if one did
    tier: int = 0  # endpoints of one tier are picked among by their queues; 0 is the strongest
    quantiles: dict[str, Any] | None = None  # of latency, as `brain.quantiles.Told`; None: not known, or not asked for
    route_quantiles: dict[str, Any] = field(default_factory=dict)  # the same by route, where it serves several


@dataclass(frozen=True, slots=True)
class ArmView:
    """What one arm's users felt."""

    requests_per_s: float
    p50_s: float | None
    p99_s: float | None
    failed_share: float | None
    requests: int


@dataclass(frozen=True, slots=True)
class GainView:
    """The adaptive arm against the holdout: cut in mean felt cost, with a 95 % interval. None: not told yet."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    static_requests: float = 0.0
    adaptive_requests: float = 0.0


@dataclass(frozen=True, slots=True)
class SwitchbackView:
    """The whole service under adaptive rules against static ones: cut in mean felt cost, with a 95 % interval."""

    value: float | None = None  # None: not told yet
    low: float | None = None
    high: float | None = None
    pairs: float = 0.0  # of blocks, as many as the fading evidence is worth
    block: str = ""  # the rule of the block now: "static" or "adaptive"; "" while nothing is measured
    block_ends_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class ForecastView:
    """What will be asked of a service, requests a second, at each of `ahead_s` from now. None for unknown."""

    now_per_s: float | None  # asked in the second that has ended; None: not all of it was in sight
    ahead_s: tuple[float, ...]
    value: tuple[float | None, ...]  # the middle
    low: tuple[float | None, ...]  # of a 90 % interval
    high: tuple[float | None, ...]
    p99: tuple[float | None, ...]
    spare: tuple[float | None, ...]  # of the service's capacity, the share that `high` leaves; below 0: too little
    count: float  # seconds that it was learned from


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service at a tick."""

    id: int
    name: str
    mode: str
    state: str  # "static", "learning", "shadow", "adaptive", "unsure", "frozen", "stepped back"
    share_percent: float  # of traffic on the adaptive arm by this decision
    commanded_share_percent: float  # the operator's
    reason: str
    pushed: bool  # this tick changed its weights
    endpoints: tuple[EndpointView, ...]
    static: ArmView
    adaptive: ArmView
    gain: GainView
    switchback: SwitchbackView | None = None  # None: not asked for
    limit: int | None = None  # requests that keep the goal when open on the adaptive arm, all nodes together
    limited: bool = False  # the service is short, and that limit in force; else the operator's are
    latency_goal_s: float | None = None  # what the limit is for
    retries_answered: float | None = None  # of those that ended lately, the share; None: too few to tell
    retry_budget_percent: int | None = None  # learned, of what is open; None: the operator's
    shed_percent: float = 0.0  # of its requests by sheddable routes, refused at once
    refused_per_s: float = 0.0  # by limits, learned or the operator's, since the last tick; the shed among them
    capacity: float | None = None  # attempts a second that its endpoints bear together
    forecast: ForecastView | None = None  # None: not asked for
    callers: Mapping[str, float] = field(default_factory=dict)  # share of it by calling service; "": of plain proxies


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node at a tick."""

    id: int
    name: str
    connected: bool
    fresh: bool
    report_age_s: float | None
    issued_per_s: float
    seen_per_s: float
    nacks: int
    parked: Mapping[str, str]  # kind to the NACK's words, while one is parked
    contradicts: int = 0  # endpoints about which it contradicts the other nodes, and is not believed
    worst_ratio: float = 1.0  # by how many times at most


@dataclass(frozen=True, slots=True)
class IncidentView:
    """What is wrong and belongs together (`brain.incidents`)."""

    id: str  # in this run
    kind: str  # and the labels: as opened, and so for as long as it lasts
    labels: Mapping[str, str]
    severity: str
    since_s: float
    summary: str
    causes: tuple[str, ...]  # the likeliest first
    evidence: tuple[Finding, ...]  # what was found, in that order
    harm: float  # share of the requests of its service that it touched at worst
    done: str  # by the brain
    advice: str


@dataclass(frozen=True, slots=True)
class Alert:
    """Something opened or closed at this tick. `labels` are its identity: no number in them."""

    kind: str  # CamelCase
    opened: bool
    labels: Mapping[str, str]
    summary: str
    severity: str = "warning"
    description: str = ""  # evidence, what was done about it, what may be done: a line each
    since_s: float = 0.0  # the brain's time since which it holds, or held


@dataclass(frozen=True, slots=True)
class Decision:
    """One tick's outcome. `plan` None renews no lease: nothing learned may be in force."""

    now: float
    tick: int
    plan: Plan | None
    services: tuple[ServiceView, ...]
    nodes: tuple[NodeView, ...]
    alerts: tuple[Alert, ...] = ()
    frozen: bool = False
    notes: tuple[str, ...] = field(default_factory=tuple)
    incidents: tuple[IncidentView, ...] = ()  # open now

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers; keys are strings, ready for JSON."""
        out: dict[str, Any] = _plainly(replace(self, plan=None))
        if self.plan is not None:
            out["plan"] = {
                "version": self.plan.version,
                "services": {
                    str(k): {
                        "share_percent": p.share_percent,
                        "weights": {str(e): w for e, w in p.weights.items()},
                        "limits": dict(p.limits),
                        "node_limits": {str(v): dict(at) for v, at in p.node_limits.items()},
                        "shed_percent": p.shed_percent,
                        "tiers": {str(e): t for e, t in p.tiers.items()},
                        "reason": p.reason,
                        "reasons": {str(e): r for e, r in p.reasons.items()},
                    }
                    | {name: n for name in MODULES if (n := getattr(p, name))}
                    | ({"newcomer": p.newcomer} if p.newcomer != 1.0 else {})
                    | {name: {str(e): n for e, n in own.items()} for name in OWN if (own := getattr(p, name))}
                    for k, p in self.plan.services.items()
                },
            }
        return out


MODULES = ("lanes", "workers", "believed_s")
OWN = ("capacities", "queues")
"""What a plan tells our module alone, and that of each endpoint; written where there is something to tell."""
_AS_IS = frozenset({str, int, float, bool, type(None)})


def _plainly(value: Any) -> Any:
    """As `dataclasses.asdict` has it, without the copies that cost a large mesh more than the tick itself."""
    kind = type(value)
    if kind in _AS_IS:
        return value
    if kind is tuple or kind is list:
        return kind(_plainly(item) for item in value)
    names = _names(value.__class__)
    if names:
        told = [(name, getattr(value, name)) for name in names]
        return {name: item if type(item) in _AS_IS else _plainly(item) for name, item in told}
    if kind is dict or isinstance(value, Mapping):
        return {key: _plainly(item) for key, item in value.items()}
    return value


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind)) if is_dataclass(kind) else ()
