"""The adaptive settings: what may be applied, how telemetry becomes estimates, and what no policy may exceed.

Defaults come from `brain.settings`, so there is one place for each. Ranges are the promise that the guard can be tuned
and not turned off.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from brain.settings import Cost, Guard, Learning, Limits, Mode, Models, Pick, Proof, Settings, Switchback
from weirflow.config.fields import Duration, Percent, Section

_SETTINGS = Settings()
_LEARNING = Learning()
_COST = Cost()
_GUARD = Guard()
_LIMITS = Limits()
_PROOF = Proof()
_SWITCHBACK = Switchback()
_MODELS = Models()

ModeName = Annotated[Mode, Field(strict=False)]  # text in the file, an enum here
PickName = Annotated[Pick, Field(strict=False)]


class LearningSection(Section):
    """How telemetry becomes estimates."""

    half_life: Annotated[float, Duration("100ms", "1h")] = _LEARNING.half_life_s
    """Of rates, latencies and error shares: a tenfold slowdown is half seen within this time."""
    min_samples: Annotated[int, Field(ge=1, le=1_000_000)] = _LEARNING.min_samples
    """Attempts at a service before anything about it is acted on."""
    min_time: Annotated[float, Duration("0s", "1d")] = _LEARNING.min_time_s
    """Since the first attempt at a service, before anything about it is acted on."""
    prior_samples: Annotated[float, Field(ge=0, le=1_000_000)] = _LEARNING.prior_samples
    """An endpoint's estimate is drawn towards its peers as if it had this many samples of theirs."""
    error_exponent: Annotated[float, Field(ge=1, le=10)] = _LEARNING.error_exponent
    """Capacity is multiplied by success share to this power: at 2, an endpoint that fails half gets a quarter."""
    stale_after: Annotated[float, Duration("1s", "1h")] = _LEARNING.stale_after_s
    """A node that reported nothing for this long is unknown, not idle. Load reports come every 500ms."""


class CostSection(Section):
    """What the split of a service's load makes as small as it can."""

    quantile: Annotated[float, Field(ge=0.5, le=0.999)] = _COST.quantile
    """Of latency: near 0.63 it is the mean; the higher, the less the slow are given while others have room."""
    error_price: Annotated[float, Duration("0s", "1h")] = _COST.error_price_s
    """Added for a failed attempt, beside what its endpoint's lower capacity costs."""
    zone_crossing: Annotated[float, Duration("0s", "1m")] = _COST.zone_crossing_s
    """Added for an attempt that is served in another zone than its node's. Counts where both zones are given."""
    overhang_price: Annotated[float, Duration("0s", "1s")] = _COST.overhang_price_s
    """Added for an attempt that its tier could not bear if it lost one endpoint: the higher, the less the strongest few
    are given while others have room. 0s plans for no loss."""
    reserve: Annotated[float, Field(ge=0, le=1)] = _COST.reserve
    """No sound endpoint is planned below this part of its share by capacity: what a sudden surge finds awake."""


class GuardSection(Section):
    """What no policy may exceed."""

    floor_share_of_mean: Annotated[float, Field(ge=0.001, lt=1)] = _GUARD.floor_share_of_mean
    """The least weight of an endpoint as a share of the mean."""
    explore_per_s: Annotated[float, Field(ge=0.01, le=1000)] = _GUARD.explore_per_s
    """Attempts a second that show an endpoint's recovery: where traffic is thin, the floor rises to bring them."""
    explore_share_of_mean: Annotated[float, Field(ge=0.001, lt=1)] = _GUARD.explore_share_of_mean
    """The share of the mean to which the floor rises at most for that."""
    cap_share_of_mean: Annotated[float, Field(gt=1, le=100)] = _GUARD.cap_share_of_mean
    """The most weight of an endpoint as a share of the mean: a bound on what a false promise can attract."""
    step_up: Annotated[float, Field(gt=1, le=10)] = _GUARD.step_up
    """An endpoint's share grows at most by this factor a push: recovery in bounded steps."""
    step_down: Annotated[float, Field(ge=0.01, lt=1)] = _GUARD.step_down
    """An endpoint's share shrinks at most to this factor a push: a gray endpoint is cut at once."""
    deadband: Annotated[float, Field(ge=0.01, lt=1)] = _GUARD.deadband
    """No push while every share is within this fraction of the one in force."""
    push_interval: Annotated[float, Duration("1s", "1h")] = _GUARD.push_interval_s
    """At most one push a service in this time: Envoy merges faster ones anyway."""
    picks_per_cycle: Annotated[float, Field(ge=1, le=100)] = _GUARD.picks_per_cycle
    """Every worker must have picked this many times sum(w)/min(w) since the last push: a push restarts its schedule."""
    drain_factor: Annotated[float, Field(gt=1, le=100)] = _GUARD.drain_factor
    """A cut of a share by this factor or more may pass the picks rule, once per `drain_interval`."""
    drain_interval: Annotated[float, Duration("1s", "1h")] = _GUARD.drain_interval_s
    """Between such cuts of one service."""
    weight_mean: Annotated[int, Field(ge=10, le=10_000)] = _GUARD.weight_mean
    """Integer weights are scaled to this mean: fine enough for the deadband, coarse enough for small cycles."""
    trouble_share: Annotated[float, Field(gt=0, lt=1)] = _GUARD.trouble_share
    """When more than this share of a service's endpoints would be cut to the floor, the trouble is the service's."""


class LimitsSection(Section):
    """How many requests may be open at a service while more is asked than it bears, all nodes together: what it can
    work on, and what can wait and still be in time. Leased with the weights; never above its `circuit_breakers`."""

    enabled: bool = _LIMITS.enabled
    """`false`: the `circuit_breakers` of each service serve on the adaptive arm as well."""
    goal_times: Annotated[float, Field(ge=5, le=1000)] = _LIMITS.goal_times
    """The latency goal of a service that has none of its own, in times of its mean work."""


class SwitchbackSection(Section):
    """Measure the gain of a whole service: blocks of all its traffic under static rules and adaptive ones, in turn.

    While it is measured, half of the time is static: half of the gain is paid for knowing it.
    """

    enabled: bool = True
    """`false` in `adaptive.services` takes one service out."""
    block: Annotated[float, Duration("5s", "1d")] = _SWITCHBACK.block_s
    """Of one rule; two make a pair, four a round. Short against what else changes over the day."""
    washout: Annotated[float, Duration("0s", "1d")] = _SWITCHBACK.washout_s
    """Left out at the start of each block: longer than nearly every request takes, and than queues take to drain."""
    rest: Annotated[float, Duration("0s", "7d")] = _SWITCHBACK.rest_s
    """Under the adaptive rules after each round of four blocks, so that measuring costs less."""
    window: Annotated[float, Duration("1m", "365d")] = _SWITCHBACK.window_s
    """Half-life of the evidence."""


class ProofSection(Section):
    """How gain is measured, and when to step back."""

    window: Annotated[float, Duration("1s", "7d")] = _PROOF.window_s
    """Half-life of the evidence for the gain."""
    min_requests: Annotated[int, Field(ge=1, le=10**9)] = _PROOF.min_requests
    """Requests on each arm before a gain is told."""
    negative_for: Annotated[float, Duration("1s", "1d")] = _PROOF.negative_for_s
    """The gain's whole interval must be below zero for this long before the share steps down."""
    steps_percent: Annotated[list[Percent], Field(min_length=1, max_length=20)] = Field(
        default=list(_PROOF.steps_percent)
    )
    """The shares to step down through, falling, the last one 0."""
    retry_after: Annotated[float, Duration("1s", "7d")] = _PROOF.retry_after_s
    """At a stepped-down share, how long until the next higher step is tried again."""
    switchback: SwitchbackSection | None = None
    """Measure the gain of each whole service as well. Off unless it is given."""


class ModelsSection(Section):
    """Which models learn beside the one that decides. `simple` always does: it decides when that one has drifted."""

    own: dict[str, str] = Field(default_factory=dict)
    """Your own models of latency, by name, each as `module:factory`: it is imported, so name what you would run. Not
    changed while it runs."""
    challenger: str | None = None
    """`queueing`, `simple` or one of `own`. Learns in the shadow, and takes over when it surely foresees better."""
    watch: Annotated[float, Duration("1m", "7d")] = _MODELS.watch_s
    """After another model took over: until then the proof takes it back for a loss, and nobody else takes over."""
    quantiles: bool = _MODELS.quantiles
    """Learn p50, p95 and p99 of each endpoint, for `explain`. The first start of an installation compiles for 15 s."""
    anomalies: bool = _MODELS.anomalies
    """Look for what is odd, and tell of it as incidents."""
    demand: bool = _MODELS.demand
    """Count what is asked of each service, plan its split for bursts of it, and foretell it 1 s to 30 min ahead."""


class OverrideSection(Section):
    """What one service has of its own."""

    mode: ModeName | None = None
    """Instead of `adaptive.mode`."""
    share: Percent | None = None
    """Instead of `adaptive.share`."""
    pick: PickName | None = None
    """Instead of `adaptive.pick`."""
    switchback: SwitchbackSection | None = None
    """Instead of `adaptive.proof.switchback`, whole."""
    latency_goal: Annotated[float, Duration("1ms", "1h")] | None = None
    """Who is admitted shall be answered within it, 99 of 100. The limit of open requests follows from it."""


class AdaptiveSection(Section):
    """What the brain may do. A mesh is first run in shadow mode: all is decided and scored, nothing is applied."""

    mode: ModeName = _SETTINGS.mode
    """`static`: nothing; `shadow`: decide, explain and score; `adaptive`: apply as well."""
    share: Percent = _SETTINGS.share_percent
    """Percent of a service's traffic on the adaptive arm in adaptive mode; the rest is the holdout."""
    pick: PickName = _SETTINGS.pick
    """Who picks on the adaptive arm. `envoy`: its own least request, by weights and tiers; `module`: our module in it,
    by capacity and queue, at each node that has the module; the others go on with least request."""
    reports: bool = _SETTINGS.reports
    """The module goes by what endpoints say of their own queues in their answers (`endpoint-load-metrics`)."""
    slow_start: bool = _SETTINGS.slow_start
    """Newcomers get less at first: as much less, and for as long, as others of their service needed. Where nobody was
    seen to start they count as half at first, and as whole after 15s. `false`: they count as whole at once."""
    tick: Annotated[float, Duration("100ms", "1m")] = _SETTINGS.tick_s
    """Between decisions. Each renews the lease."""
    services: dict[str, OverrideSection] = Field(default={})
    """By service name: what differs for it."""
    learning: LearningSection = Field(default_factory=LearningSection)
    """How telemetry becomes estimates."""
    cost: CostSection = Field(default_factory=CostSection)
    """What the split of a service's load makes as small as it can."""
    guard: GuardSection = Field(default_factory=GuardSection)
    """What no policy may exceed."""
    limits: LimitsSection = Field(default_factory=LimitsSection)
    """How many requests may be open."""
    proof: ProofSection = Field(default_factory=ProofSection)
    """How gain is measured, and when to step back."""
    models: ModelsSection = Field(default_factory=ModelsSection)
    """Which models learn beside the one that decides."""
