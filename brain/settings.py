"""Every number that an operator may tune, in groups, each with its unit, its default and its reason.

The guard can be tuned here and not turned off: its ranges are checked when the settings are made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Mode(StrEnum):
    """What learned state may do. `shadow` is the first-run mode: all is decided and scored, nothing is applied."""

    STATIC = "static"
    SHADOW = "shadow"
    ADAPTIVE = "adaptive"


class Pick(StrEnum):
    """Who picks on the adaptive arm: what Envoy ships, by weights and tiers, or our module in it, by capacities."""

    ENVOY = "envoy"
    MODULE = "module"


@dataclass(frozen=True, slots=True)
class Learning:
    """How telemetry becomes estimates."""

    half_life_s: float = 3.0
    """Of rates, latencies and error shares: a tenfold slowdown is half seen within this time."""
    min_samples: int = 30
    """Attempts at a service before anything about it is acted on."""
    min_time_s: float = 5.0
    """Since the first attempt at a service, before anything about it is acted on."""
    prior_samples: float = 10.0
    """An endpoint's estimate is drawn towards its peers as if it had this many samples of theirs."""
    error_exponent: float = 2.0
    """Capacity is multiplied by success share to this power: at 2, an endpoint that fails half gets a quarter."""
    stale_after_s: float = 3.0
    """A node that reported nothing for this long is unknown, not idle: six missed load reports."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What the split of a service's load makes as small as it can."""

    quantile: float = 0.99
    """Of latency: near 0.63 it is the mean; the higher, the less the slow are given while others have room."""
    error_price_s: float = 0.0
    """Added for a failed attempt, beside what its endpoint's lower capacity costs."""
    zone_crossing_s: float = 0.0
    """Added for an attempt that is served in another zone than its node's."""
    overhang_price_s: float = 0.03
    """Added for an attempt that its tier could not bear if it lost one endpoint: a hundredth of the three seconds that
    a loss may take to be seen."""
    reserve: float = 0.25
    """No sound endpoint is planned below this part of its share by capacity: what a sudden surge finds awake."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What no policy may exceed."""

    floor_share_of_mean: float = 0.01
    """The least weight of an endpoint as a share of the mean."""
    explore_per_s: float = 0.3
    """Attempts a second that show an endpoint's recovery: where traffic is thin, the floor rises to bring what
    the holdout does not."""
    explore_share_of_mean: float = 0.05
    """The share of the mean to which the floor rises at most for that."""
    cap_share_of_mean: float = 5.0
    """The most weight of an endpoint as a share of the mean: a bound on what a false promise can attract."""
    step_up: float = 1.5
    """An endpoint's share grows at most by this factor a push: recovery in bounded steps."""
    step_down: float = 0.01
    """An endpoint's share shrinks at most to this factor a push: a gray endpoint is cut at once."""
    deadband: float = 0.05
    """No push while every share is within this fraction of the one in force."""
    push_interval_s: float = 1.0
    """At most one push a service in this time: Envoy merges faster ones anyway."""
    picks_per_cycle: float = 3.0
    """Every worker must have picked this many times sum(w)/min(w) since the last push: a push restarts its schedule."""
    drain_factor: float = 2.0
    """A cut of a share by this factor or more may pass the picks rule, once per `drain_interval_s`."""
    drain_interval_s: float = 5.0
    weight_mean: int = 100
    """Integer weights are scaled to this mean: fine enough for a deadband of 10 %, coarse enough for small cycles."""
    trouble_share: float = 0.5
    """When more than this share of a service's endpoints would be cut to the floor, the trouble is the service's."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many requests may be open at a service (`brain.limits`)."""

    enabled: bool = True
    """Lease learned limits; without, the operator's circuit breakers serve on the adaptive arm as well."""
    goal_times: float = 10.0
    """The latency goal of a service that has none of its own, in times of its mean work: far above what it takes while
    nothing is short, near what users give up at."""


@dataclass(frozen=True, slots=True)
class Switchback:
    """How the gain of the whole service is measured: blocks of it under static and adaptive rules, in turn."""

    block_s: float = 30.0
    """Of one rule: long against the washout, short against what else changes."""
    washout_s: float = 6.0
    """At the start of a block, left out: requests and queues of the other rule."""
    rest_s: float = 0.0
    """Under the adaptive rules after each four blocks: at 0, half of the time is static."""
    window_s: float = 3600.0
    """Half-life of the evidence: pairs of blocks are few."""


@dataclass(frozen=True, slots=True)
class Proof:
    """How gain is measured, and when to step back."""

    window_s: float = 120.0
    """Half-life of the evidence for the gain."""
    min_requests: int = 100
    """Requests on each arm before a gain is told."""
    negative_for_s: float = 30.0
    """The gain's whole interval must be below zero for this long before the share steps down."""
    steps_percent: tuple[float, ...] = (95.0, 50.0, 10.0, 0.0)
    """The shares to step down through."""
    retry_after_s: float = 600.0
    """At a stepped-down share, how long until the next higher step is tried again."""
    switchback: Switchback | None = None
    """Blocks of the whole service under static and adaptive rules in turn; None: no such blocks."""


OURS = ("queueing", "simple")
"""Our models of latency, the one that decides when nobody orders first."""


@dataclass(frozen=True, slots=True)
class Models:
    """Which models learn beside the one that decides. Names are those of `OURS` and of `own`."""

    own: dict[str, str] = field(default_factory=dict)
    """The operator's own, by name, as `module:factory`. Who makes the brain makes them, and hands them over."""
    challenger: str | None = None
    """Learns in the shadow, and takes over when it foresees better."""
    watch_s: float = 600.0
    """After another model took over, the proof may take it back for this long, and nobody else takes over."""
    quantiles: bool = False
    """Learn p50, p95 and p99 of each endpoint, for people to see: nothing is decided by them."""
    anomalies: bool = True
    """Look for what is odd, and tell of it as incidents."""
    demand: bool = True
    """Count what is asked of each service, plan its split for bursts of it, and foretell the next half hour for people
    and autoscalers."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it. `mode` and `share_percent` are per service in `modes` and `shares`, these are the defaults."""

    mode: Mode = Mode.SHADOW
    share_percent: float = 95.0
    modes: dict[str, Mode] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    switchbacks: dict[str, Switchback | None] = field(default_factory=dict)
    """By service, instead of `proof.switchback`."""
    pick: Pick = Pick.ENVOY
    picks: dict[str, Pick] = field(default_factory=dict)
    """By service, instead of `pick`."""
    reports: bool = True
    """Our module may go by what endpoints say in their answers of their own queues."""
    slow_start: bool = True
    """Newcomers get less at first, by how others of their service started."""
    tick_s: float = 1.0
    lease_ttl_s: float = 5.0
    """The lease's length, as the data plane serves it. After a longer gap between its ticks the brain starts anew."""
    learning: Learning = field(default_factory=Learning)
    cost: Cost = field(default_factory=Cost)
    guard: Guard = field(default_factory=Guard)
    limits: Limits = field(default_factory=Limits)
    goals_s: dict[str, float] = field(default_factory=dict)
    """The latency goal, a 99th percentile, by service: who is admitted shall be answered within it."""
    patience_s: dict[str, float] = field(default_factory=dict)
    """After which who asks gives up or asks again, by service: no goal is longer."""
    retry_budgets: dict[str, tuple[float, int]] = field(default_factory=dict)
    """The operator's, percent and least number, by service; those that retry nothing are not in it."""
    critical: tuple[str, ...] = ()
    """Services with routes whose requests are refused last."""
    sheddable: tuple[str, ...] = ()
    """Routes whose requests are refused first."""
    proof: Proof = field(default_factory=Proof)
    models: Models = field(default_factory=Models)

    def by_module(self, service: str) -> bool:
        """Whether that service's adaptive cluster picks by our module."""
        return self.picks.get(service, self.pick) is Pick.MODULE

    def switchback(self, service: str) -> Switchback | None:
        """How that service's whole gain is measured; None when it is not."""
        return self.switchbacks.get(service, self.proof.switchback)
