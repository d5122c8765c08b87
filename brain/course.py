"""One service's course: what it is in, how much of its traffic is leased, and which weights are in force.

States, the first that applies:

    frozen        the operator's freeze: weights and share are held, whatever happens
    static        the operator's mode: nothing is decided
    learning      too few requests or too little time since the first one (also after every restart)
    unsure        learned, but the traffic is out of sight: nothing is leased, the last weights are kept
    shadow        the operator's mode: all is decided and scored, nothing is applied
    stepped back  adaptive at a smaller share, because the gain was proven negative
    adaptive

One rule covers every way back in: whenever the share rises from nothing, the weights start from the operator's and move
on in the guard's bounded steps. A first start, a restart, lost and found telemetry and a mode change are all the same.

A static block of the switchback is no way out. It is seconds long, everything stays in sight, and the static arm's
traffic teaches as the adaptive arm's does; so the weights rest as they are and serve again when the block is over, one
bounded step closer to what was learned meanwhile: what turned bad in the block is cut by the plan that ends it.
Starting from the operator's weights each time would measure the way in and not the adaptive rules. When anything else
happens in the block (telemetry lost, a command, a lease that ended) the one rule holds.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from brain.attraction import Attraction, held_back
from brain.budget import Budget, Retries
from brain.explain import Move
from brain.gate import HEARD_S, Gate
from brain.guard import Guarded, Rails, dispose
from brain.limits import Limit, Limiter
from brain.module import ToldModule, told_module
from brain.nodes import DOUBT_SHARE, UNKNOWN_SHARE
from brain.persistence import Persistence
from brain.proof import StepBack
from brain.settings import Mode
from brain.shedding import Ended, Shedder
from brain.switchback import Block, Pairs, block_at
from brain.tiers import evened
from brain.view import known_sum, middle, prior_of
from brain.weights import by_latency, propose, scans
from dataplane.contract import ServicePlan

if TYPE_CHECKING:
    from brain.asked import Asked
    from brain.settings import Guard, Settings
    from brain.view import View
    from dataplane.contract import Service

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SAME_PART = 0.05
"""By so much less or more of a weight a newcomer is told no other: a plan is not made anew for it."""
DISPUTED = "its nodes contradict each other, and no majority tells who is right: weights held"


class Course:
    """One service's state over time. Settings and time are arguments of every verb."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self.service = service
        self.rails = Rails.of(prior_of(service), settings.guard)
        self.in_force: Ints = self.rails.own
        self.tiers: Ints = np.zeros(len(self.in_force), dtype=np.int64)
        self.newcomer = 1.0  # the part of a weight at which one enters that is not in the plan yet
        self.gate = Gate()
        self.lasting = Persistence()
        self.attraction = Attraction()
        self.gaining: tuple[str, ...] = ()  # addresses of those that gain without a known reason
        self.step = StepBack()
        self.pairs = Pairs()
        self.module = ToldModule()
        self.limiter = Limiter()
        self.limit: Limit | None = None  # leased with the weights
        self.budget = Budget()
        self.retries = Retries(None)  # leased with the weights
        self.shedder = Shedder()  # its share is leased as well
        self.mode: Mode = settings.modes.get(service.name, settings.mode)
        self.commanded = settings.shares.get(service.name, settings.share_percent)
        self.state = "learning"
        self.share = 0.0
        self.reason = ""
        self._requests_before: int | None = None  # of an earlier life, when the features were restored
        self._first_at: float | None = None
        self._in_sight_since: float | None = None
        self._out_of_sight = 0.0
        self._missing = ""  # what is missing before anything may be acted on
        self._enters = False  # the share rose from nothing at this tick
        self._entered_at: float | None = None  # since then weights are in force, or rest in a static block

    @property
    def applies(self) -> bool:
        """Are learned weights in force, or resting in a static block of the switchback."""
        return self._entered_at is not None

    @property
    def limited(self) -> bool:
        """Is a learned limit in force."""
        return self.share > 0.0 and self.limit is not None and self.limit.armed

    @property
    def shed_percent(self) -> float:
        """Of the service's requests by sheddable routes, refused at once."""
        return 100.0 * self.shedder.share if self.limited else 0.0

    def node_limits(self, settings: Settings) -> dict[int, dict[str, int]]:
        """What each node may have open, by its id; empty while no learned limit is in force."""
        if not self.limited or self.limit is None:
            return {}
        return self.limit.runtime(critical=self.service.name in settings.critical)

    def plan(self, weights: dict[int, int], tiers: dict[int, int], settings: Settings) -> ServicePlan:
        """What is to be in force, by endpoint id where it is an endpoint's; its reasons are still to come."""
        limits = self.retries.runtime() if self.share > 0.0 else {}
        part = {"newcomer": self.newcomer, **asdict(self.module)}
        node_limits = self.node_limits(settings)
        return ServicePlan(self.share, weights, limits, "", {}, tiers, node_limits, self.shed_percent, **part)

    def joined(self, service: Service, settings: Settings, part: float = 1.0) -> None:
        """The members changed: who left is dropped, who came enters at that part of the operator's weight.

        All of it while frozen, for nobody would raise it.
        """
        ids = ids_of(self.service)
        weights = dict(zip(ids, self.in_force.tolist(), strict=True))
        tiers = dict(zip(ids, self.tiers.tolist(), strict=True))
        self.service = service
        self.lasting.moved()
        self.rails = Rails.of(prior_of(service), settings.guard)
        if not self.applies:
            self._from_the_operators()
            return
        own = self.rails.own.tolist()
        entry = np.maximum(1, np.rint(part * self.rails.own)).astype(np.int64).tolist()
        kept = np.array([weights.get(e.id, entry[i]) for i, e in enumerate(service.endpoints)], dtype=np.int64)
        self.in_force = self.rails.settle(kept)
        # Who came is compared with those of like weight: cold as it may be, its queue will tell before we do.
        near = {e: min(tiers, key=lambda o: abs(weights[o] - own[i])) for i, e in enumerate(ids_of(service)) if tiers}
        self.tiers = np.array([tiers.get(e, tiers.get(near.get(e, -1), 0)) for e in ids_of(service)], dtype=np.int64)

    def configured(self, before: Settings, after: Settings) -> None:
        """New settings. A mode or share that an operator commanded stays until the settings' own changes."""
        name = self.service.name
        mode, share = after.modes.get(name, after.mode), after.shares.get(name, after.share_percent)
        if mode != before.modes.get(name, before.mode):
            self.mode = mode
        if share != before.shares.get(name, before.share_percent):
            self.commanded = share
            self.step.reset()
            self.pairs.forget()
        if after.switchback(name) != before.switchback(name):
            self.pairs.forget()
        self.rails = Rails.of(prior_of(self.service), after.guard)
        if self.applies:
            self.in_force = self.rails.settle(self.in_force)
        else:
            self._from_the_operators()

    def command(self, mode: Mode, share_percent: float | None) -> None:
        """The operator sets the mode. Less than adaptive takes effect at once, frozen or not."""
        self.mode = mode
        if share_percent is not None:
            self.commanded = share_percent
        self.step.reset()
        self.pairs.forget()
        if mode is not Mode.ADAPTIVE:
            self.leave()

    def leave(self) -> None:
        """Back to the static rules, with the operator's weights on the other arm as well."""
        self.share, self._entered_at, self.limit, self.limiter = 0.0, None, None, Limiter()
        self.budget, self.retries, self.shedder = Budget(), Retries(None), Shedder()
        self._from_the_operators()
        self.pairs.spoil()

    def _from_the_operators(self) -> None:
        """The operator's weights, in one tier."""
        self.in_force = self.rails.own
        self.tiers = np.zeros(len(self.in_force), dtype=np.int64)

    def look(self, requests: int, out_of_sight: float, now: float, settings: Settings) -> bool:
        """Take in how much was seen. Returns whether the service's figures may be acted on at all."""
        if self._requests_before is None or requests < self._requests_before:
            self._requests_before = requests
        seen = requests - self._requests_before
        if self._first_at is None and seen > 0:
            self._first_at = now
        for_s = 0.0 if self._first_at is None else now - self._first_at
        self._out_of_sight = out_of_sight
        if out_of_sight > UNKNOWN_SHARE:
            self._in_sight_since = None
        elif self._in_sight_since is None:
            self._in_sight_since = now
        least, least_s = settings.learning.min_samples, settings.learning.min_time_s
        ready = seen >= least and for_s >= least_s
        self._missing = "" if ready else f"{min(seen, least)} of {least} requests, {for_s:.0f} of {least_s:g} s"
        return ready

    def stand(self, *, frozen: bool, now: float, settings: Settings) -> None:
        """Settle state, share and reason for this tick; `look` comes first."""
        share, was, self.state, self.reason = 0.0, self.state, str(self.mode), ""
        if frozen:
            share, self.state = self.share, "frozen"
            self.reason = "frozen by the operator: share and weights are held"
            if self.applies and share == 0.0:
                self.reason += ", in a static block of the switchback"
        elif self.mode is Mode.STATIC:
            self.reason = "the operator's static rules serve"
        elif self._missing:
            self.state, self.reason = "learning", f"{self._missing}: the static rules serve"
        elif not self._in_sight(was, now, settings):
            self.state = "unsure"
            self.reason = f"{self._out_of_sight:.0%} of the traffic is out of sight: the static rules serve"
            if self._out_of_sight <= UNKNOWN_SHARE:
                self.reason = "telemetry is back, and watched for a moment: the static rules serve"
        elif self.mode is Mode.SHADOW:
            self.reason = "decided and scored, not applied"
        else:
            share = self.step.share(self.commanded, settings.proof)
            self.state = "stepped back" if self.step.step else "adaptive"
            self.reason = f"{share:g} % of the traffic is leased"
        self._enters = share > 0.0 and not self.applies
        block = self._switch(now, settings, measured=share > 0.0 and not frozen)
        if block is not None and block.static:
            self.share = 0.0  # the weights rest
            self.reason = f"a static block of the switchback, for {block.ends_s - now:.0f} s more"
            return
        if frozen and self.applies:
            return
        if self._enters or (share == 0.0 and self.state != "unsure"):
            self._from_the_operators()
        self._entered_at = None if share == 0.0 else now if self._enters else self._entered_at
        self.share = share

    def _switch(self, now: float, settings: Settings, *, measured: bool) -> Block | None:
        """Enter the switchback's block; None when none is asked for, or while the weights are on their way in."""
        design = settings.switchback(self.service.name)
        if design is None:
            return None
        block = block_at(self.service.name, now, design) if measured else None
        if block is not None and (self._entered_at is None or block.began_s < self._entered_at + design.block_s):
            block = None
        self.pairs.enter(block, now, design)
        return block

    def steer(self, view: View, picks: Ints, workers: Ints, now: float, settings: Settings) -> Move:
        """Propose, guard, and push if the gate lets it: the one place where weights in force move."""
        before = self.in_force
        if abs(view.newcomer - self.newcomer) > SAME_PART:
            self.newcomer = round(view.newcomer, 2)
        holdout = 1.0 - (self.share or self.commanded) / 100.0
        by_module = settings.by_module(self.service.name)
        nodes = in_effect(picks)
        evened_out = by_module and scans(view, nodes)
        if evened_out:
            self.lasting.told_work(by_latency(view), view.tick_good, view.tick_log_work, now)
        else:
            self.lasting.told(by_latency(view), view.latency_s, view.good, settings.learning.half_life_s, now)
        want = propose(
            view,
            settings.learning.prior_samples,
            settings.cost,
            nodes,
            holdout,
            float(self.lasting.acts) if evened_out else self.lasting.trust,
            by_module,
        )
        hears = by_module and settings.reports
        self.module = told_module(self.module, view, nodes, want, hears=hears) if by_module else ToldModule()
        attracts = self.attraction.unexplained(view.members, view.capacity, view.capacity_low, view.prior, now)
        self.gaining = tuple(e.address for e, who in zip(self.service.endpoints, attracts.tolist(), strict=True) if who)
        wanted = held_back(want.wanted, before, attracts)
        # A boast is no reason to take all others for sick.
        strength = np.where(attracts, middle(want.strength), want.strength)
        floor = least_share(view, settings.guard, holdout)
        guarded = dispose(wanted, before, view.error_share, self.rails, settings.guard, strength, floor)
        guarded = replace(guarded, weights=evened(guarded.weights, want.tiers if want.alike is None else want.alike))
        if view.disputed and not guarded.trouble:
            guarded = Guarded(before, before, guarded.unguarded, ("trouble",) * len(before), DISPUTED)
        least = np.maximum(self.rails.low, np.ceil(floor * self.rails.total / max(len(before), 1)))
        spared = (before <= least) & (view.quiet_s < HEARD_S)
        held = self._held(guarded, spared, picks, workers, now, settings, restarts=not want.by_queue)
        if self._enters:
            self.gate = Gate()
            self.gate.pushed(before, before, picks, now, settings.guard)
        elif not held:
            self.gate.pushed(guarded.goal, before, picks, now, settings.guard)
            self.in_force, self.tiers = guarded.weights, want.tiers
        part = view.promised / view.prior
        young = part / part.max(initial=0.0)  # where all are as young nothing changes
        return Move(before, self.in_force, guarded, self.tiers, held, want.overdue_s, young)

    def ration(
        self,
        view: View,
        carried: Floats,
        asked: Asked,
        retried: tuple[float, float],
        ended: Ended,
        now: float,
        settings: Settings,
    ) -> None:
        """Plan how many requests may be open, how many of the sheddable are refused, and how much may be retried.

        `carried` is what each node sent to the service lately, by its id; `retried` how many retries ended since the
        last call, and how many of them well; `ended` the same of requests, by whether they are sheddable.
        """
        if self.state != "frozen":
            name = self.service.name
            goal_s, patience_s = settings.goals_s.get(name), settings.patience_s.get(name, np.inf)
            if self.shed_percent > 0 and not ended.refused:
                asked = replace(asked, refused=False)  # what is shed is no sign that the limit is too low
            self.limit = self.limiter.limit(view, carried, asked, goal_s, patience_s, settings.limits, now)
            short = self.limit is not None and self.limit.short
            self.shedder.told(ended, self.share / 100.0, now, armed=self.limited, short=short)
            operators = settings.retry_budgets.get(name) if settings.limits.enabled else None
            self.retries = self.budget.told(*retried, operators, now)

    def _held(
        self,
        guarded: Guarded,
        spared: Bools,
        picks: Ints,
        workers: Ints,
        now: float,
        settings: Settings,
        *,
        restarts: bool,
    ) -> str:
        if self.state not in ("adaptive", "stepped back"):
            return self.state
        if self.share == 0.0:
            return "no share is leased"
        if self._enters:
            return "enters with the operator's weights"
        if guarded.trouble:
            return guarded.trouble
        if self._out_of_sight > DOUBT_SHARE:
            return f"{self._out_of_sight:.0%} of the traffic is out of sight"
        return self.gate.held(
            guarded.weights,
            guarded.goal,
            self.in_force,
            spared,
            picks,
            workers,
            now,
            settings.guard,
            restarts=restarts,
        )

    def _in_sight(self, was: str, now: float, settings: Settings) -> bool:
        """Seen without a break for as long as it takes to call a node silent; at the start there was no break."""
        if self._in_sight_since is None:
            return False
        return was != "unsure" or now - self._in_sight_since >= settings.learning.stale_after_s


def ids_of(service: Service) -> list[int]:
    """Its endpoints' ids, in the topology's order."""
    return [e.id for e in service.endpoints]


def least_share(view: View, guard: Guard, holdout: float = 0.0) -> float:
    """The floor as a share of the mean: higher than the guard's own where that would bring too few attempts.

    What the holdout sends there shows a recovery as well, so only what is missing beside it is asked for.
    """
    mean_rate = known_sum(view.rate_per_s) / max(len(view.prior), 1)
    missing = guard.explore_per_s / max(mean_rate, 1e-9) - holdout * float(view.prior.min(initial=1.0))
    return min(guard.explore_share_of_mean, max(missing, 0.0))


def in_effect(picks: Ints) -> float:
    """How many nodes share a service's load, in effect: a node with a trickle hardly counts. At least 1.

    (sum p)^2 / sum p^2, the inverse of Simpson's index of concentration.
    """
    carried = picks.astype(np.float64)
    square = float(np.square(carried).sum())
    return max(1.0, float(carried.sum()) ** 2 / square) if square > 0 else 1.0
