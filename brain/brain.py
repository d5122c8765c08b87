"""The brain: told things with a time, ticked with a time; a Decision comes out.

A tick is one straight line: features freeze, capacity and demand are learned and predicted, each service's course is
settled and steered (policy, guard, gate, limits), the proof scores, alerts open and close, and what is to be in force
is put into a Plan.

The brain does no I/O, starts no task and reads no clock. The same calls with the same times give the same decisions,
bit for bit: a recording of the calls is a recording of the brain.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from brain import checkpoint
from brain.alerts import Alerts
from brain.asked import Asking
from brain.champion import Champion, Roster
from brain.commands import Command, DropModel, Freeze, PromoteModel, Rollback, SetMode, by_name
from brain.conditions import conditions
from brain.course import Course
from brain.crossing import Crossing
from brain.decision import Decision, GainView
from brain.demand import Demand, capacity_of
from brain.explain import Move, arm_views, endpoint_views, rows_of, service_view
from brain.learners import quantiles_of
from brain.nodes import Nodes
from brain.persistence import Persistence
from brain.proof import Evidence
from brain.settings import Mode
from brain.shedding import Ended, Tally
from brain.swells import Swells
from brain.view import columns, look
from brain.warm import Warm
from brain.watch import Watch
from dataplane.contract import Arm, Felt, Plan, Requests, same_numbers
from features.store import FeatureStore

if TYPE_CHECKING:
    from brain.alerts import Condition
    from brain.decision import IncidentView, ServiceView, SwitchbackView
    from brain.findings import Stand
    from brain.hindsight import ForetoldView
    from brain.ranking import ModelView
    from brain.settings import Settings
    from dataplane.contract import Event, Telemetry, Topology
    from features.columns import Features, ServiceFeatures
    from models.base import Prediction, State


class Brain:
    """One mesh's decisions. `own`: models beside ours that may be challenger or be promoted, by name (`brain.own`)."""

    def __init__(self, topology: Topology, settings: Settings, own: Roster | None = None) -> None:
        self.decision: Decision | None = None  # the last one
        self._topology, self._settings, self._own = topology, settings, own
        self._store = FeatureStore(topology, settings.learning.half_life_s, settings.learning.stale_after_s)
        self._learners = Champion(topology, settings, self._own)
        self._quantiles = quantiles_of(topology, settings)
        self._demand = Demand(topology) if settings.models.demand else None
        self._evidence = Evidence(topology.service_slots, settings.proof.window_s)
        self._courses = {s.id: Course(s, settings) for s in topology.services}
        self._nodes = Nodes(topology)
        self._crossing = Crossing(topology)
        self._asking = Asking(topology.service_slots)
        self._swells = Swells(topology.service_slots)
        self._warm = Warm(topology, acts=settings.slow_start)
        self._sheddable = Tally(topology, settings.sheddable)
        self._watch = Watch(topology) if settings.models.anomalies else None
        self._alerts = Alerts()
        self._plan: Plan | None = None
        self._version = 0  # of the last plan made
        self._ticks = 0
        self._ticked_at: float | None = None
        self._since_s = settings.tick_s  # the tick before
        self._frozen = False
        self._overran: int | None = None  # ticks that the driver skipped since the last one
        self._notes: list[str] = []

    # What it is told.

    def told(self, batch: Telemetry, now: float) -> None:
        """Fold a batch of telemetry in."""
        self._store.told(batch, now)
        self._learners.told(batch)
        if self._quantiles is not None:
            self._quantiles.told(batch)
        if self._demand is not None:
            self._demand.told(batch)
        if isinstance(batch, Requests | Felt):
            self._sheddable.told(batch)

    def heard(self, event: Event, now: float) -> None:
        """Take in a node's verdict, or its coming and going."""
        self._nodes.heard(event)

    def overran(self, skipped: int, now: float) -> None:
        """The driver says that ticks were due and never happened."""
        self._overran = (self._overran or 0) + skipped

    def moved(self, topology: Topology, now: float) -> None:
        """The membership changed. A plan follows at the next tick."""
        self._store.moved(topology, now)
        self._learners.moved(topology)
        if self._quantiles is not None:
            self._quantiles.moved(topology)
        if self._demand is not None:
            self._demand.moved(topology)
        self._evidence.resize(topology.service_slots)
        self._nodes.moved(topology)
        self._crossing.moved(topology)
        self._warm.moved(topology)
        self._sheddable.moved(topology)
        if self._watch is not None:
            self._watch.moved(topology)
        courses = {s.id: self._courses.get(s.id) or Course(s, self._settings) for s in topology.services}
        for s in topology.services:
            if s.endpoints != courses[s.id].service.endpoints:
                courses[s.id].joined(s, self._settings, 1.0 if self._frozen else float(self._warm.first[s.id]))
        self._topology, self._courses = topology, courses

    def configured(self, settings: Settings, now: float) -> None:
        """New settings. What was learned is kept, unless the way of learning itself changed."""
        before, self._settings = self._settings, settings
        if (learning := settings.learning) != before.learning:
            self._store = FeatureStore(self._topology, learning.half_life_s, learning.stale_after_s)
            self._store.moved(self._topology, now)
            self._warm.begin()
            self._learners = Champion(self._topology, settings, self._own)
        self._learners.configured(settings)
        if settings.models.quantiles != before.models.quantiles:
            self._quantiles = quantiles_of(self._topology, settings)
        if settings.models.demand != before.models.demand:
            self._demand = Demand(self._topology) if settings.models.demand else None
        if settings.models.anomalies != before.models.anomalies:
            self._watch = Watch(self._topology) if settings.models.anomalies else None
        if settings.sheddable != before.sheddable:
            self._sheddable = Tally(self._topology, settings.sheddable)
        self._evidence.window_s = settings.proof.window_s
        for course in self._courses.values():
            course.configured(before, settings)

    def command(self, command: Command, now: float) -> None:
        """Take an operator's order. KeyError, with the nearest right name, for a service or model that is not there.

        ValueError for a share outside 0 to 100. A share of 100 leaves no holdout, so no gain can be told: allowed,
        because the operator says so, and noted in the next Decision.
        """
        if isinstance(command, Freeze):
            self._frozen = command.on
        elif isinstance(command, Rollback):
            for course in self._courses.values():
                course.command(Mode.SHADOW, None)
        elif isinstance(command, PromoteModel):
            self._learners.promote(command.name, now)
        elif isinstance(command, DropModel):
            self._learners.drop(command.name, command.why)
        elif isinstance(command, SetMode):
            share = command.share_percent
            if share is not None and not 0.0 <= share <= 100.0:
                raise ValueError(f"a share is a percentage from 0 to 100, not {share:g}")
            course = by_name(command.service, {c.service.name: c for c in self._courses.values()})
            course.command(command.mode, share)
            self._evidence.forget(course.service.id)
            if course.commanded >= 100.0 and command.mode is Mode.ADAPTIVE:
                self._notes.append(f"{command.service}: at 100 % there is no holdout, so no gain can be told")

    # What it decides.

    def models(self, now: float) -> tuple[ModelView, ...]:
        """How the models of latency stand, the one that decides first."""
        return self._learners.models(now)

    def foretold(self) -> tuple[ForetoldView, ...]:
        """How well demand was foretold, by service and horizon; nothing where it is not learned."""
        return () if self._demand is None else self._demand.foretold()

    def tick(self, now: float) -> Decision:
        """Decide once. The plan is the same object as before while nothing in it changed: publishing it renews."""
        if self._ticked_at is not None and now - self._ticked_at > self._settings.lease_ttl_s and not self._frozen:
            self._lease_ended(now - self._ticked_at)
        self._ticks += 1
        self._since_s = max(now - self._ticked_at, 1e-9) if self._ticked_at is not None else self._settings.tick_s
        self._ticked_at = now
        features = self._store.freeze(now)
        self._learners.learn(features, self._topology.service_of, now)
        self._warm.learn(features.endpoints, now, acts=self._settings.slow_start)
        if self._quantiles is not None:
            self._quantiles.learn(now)
        if self._demand is not None:
            self._demand.learn(features.nodes, self._nodes.expected(), now)
            self._swells.told(self._demand.now_per_s, now)
        gains = self._prove(features.services, now)
        self._choose(gains, now)
        prediction = self._learners.capacities()
        moves = self._steer(features, prediction, gains, now)
        self._plan, services = self._lay_out(features, prediction, gains, moves)
        nodes = self._nodes.views(features.nodes)
        incidents, odd = self._look(features, services, now)
        known = self._watch.services if self._watch is not None else frozenset()
        holds = conditions(self._learners.conditions(), self._overran, nodes, self._courses.values(), moves, known)
        self.decision = Decision(
            now=now,
            tick=self._ticks,
            plan=self._plan,
            services=services,
            nodes=nodes,
            alerts=self._alerts.judge([*holds, *odd], now),
            frozen=self._frozen,
            notes=tuple(self._notes),
            incidents=tuple(incidents),
        )
        self._notes, self._overran = [], None
        return self.decision

    def stands(self) -> dict[str, Stand]:
        """What the watch judged by at the last tick, by kind of finding; nothing before the first, or without one."""
        return {} if self._watch is None else self._watch.stands()

    def _look(
        self, features: Features, services: tuple[ServiceView, ...], now: float
    ) -> tuple[list[IncidentView], list[Condition]]:
        """What is odd, as incidents."""
        if self._watch is None:
            return [], []
        asked = None if self._demand is None else self._demand.now_per_s
        return self._watch.look(features, services, asked, now)

    def _prove(self, services: ServiceFeatures, now: float) -> list[GainView]:
        """Take in what users felt since the last tick: the gain by the holdout, and each course's pairs of blocks."""
        aside = []
        for i, course in self._courses.items():
            design = self._settings.switchback(course.service.name)
            if design is not None:
                count, cost_s = float(services.tick_count[i].sum()), float(services.tick_cost_s[i].sum())
                course.pairs.add(count, cost_s, now, design)
                if course.pairs.aside(design):
                    aside.append(i)
                    continue
            if course.limited and services.tick_refused[i, Arm.ADAPTIVE] > 0:
                aside.append(i)  # what our own limit refuses spares the holdout as well, and is not the pick's doing
        self._evidence.add(services, now, aside)
        return self._evidence.gains(self._settings.proof.min_requests)

    def _choose(self, gains: list[GainView], now: float) -> None:
        """Let another model decide when it is time. What was proven was proven of the one before."""
        if self._frozen:
            return
        told = self._learners.judge({i: gains[i] for i, course in self._courses.items() if course.applies}, now)
        self._notes += told
        for course in self._courses.values() if told else ():
            self._evidence.forget(course.service.id)
            course.pairs.forget()
            course.lasting = Persistence()  # how well the other's beliefs came true says nothing of this one's

    def _lease_ended(self, away_s: float) -> None:
        """Nothing was renewed for longer than the lease: the static rules serve; come back as at a start."""
        self._notes.append(f"no tick for {away_s:.1f} s: the lease has ended, weights start from the operator's")
        for course in self._courses.values():
            course.leave()

    def _steer(self, features: Features, prediction: Prediction, gains: list[GainView], now: float) -> dict[int, Move]:
        """Settle every service's course, and move its weights where that may be."""
        out_of_sight = self._nodes.out_of_sight(features.nodes, now)
        tick = features.services
        came = self._crossing.told(features.nodes.issued, now).sum(axis=0)
        self._asking.told(came, tick.tick_refused.sum(axis=1), now)
        requests, ended = tick.total.sum(axis=1).tolist(), self._sheddable.take().T.tolist()
        lanes = self._learners.lanes()
        figures = columns(features.endpoints, prediction, self._learners.service_times(), self._warm)
        moves = {}
        for i, course in self._courses.items():
            ready = course.look(requests[i], out_of_sight, now, self._settings)
            self._judge(course, gains[i], now)
            course.stand(frozen=self._frozen, now=now, settings=self._settings)
            view = look(
                course.service,
                self._topology.members[i],
                course.in_force,
                course.rails.prior,
                figures,
                lanes=float(lanes[i]),
                lanes_high=float(features.lanes.high[i]),
                ready=ready,
                crossing_share=self._crossing.share(i),
                most_per_s=self._swells.most_per_s(i),
                newcomer=float(self._warm.first[i]),
            )
            moves[i] = course.steer(view, features.nodes.picks[:, i], self._nodes.workers, now, self._settings)
            retried = float(tick.tick_retries[i].sum()), float(tick.tick_retries_ok[i].sum())
            carried, asked = self._crossing.carried(i), self._asking.of(i)
            course.ration(view, carried, asked, retried, Ended(*ended[i]), now, self._settings)
        return moves

    def _judge(self, course: Course, gain: GainView, now: float) -> None:
        """Step the share down on a proven loss, and up again to try."""
        if self._frozen or course.mode is not Mode.ADAPTIVE or course.state not in ("adaptive", "stepped back"):
            return
        why = course.step.judge(gain, course.commanded, now, self._settings.proof, self._system(course, now))
        if why:
            self._evidence.forget(course.service.id)
            course.pairs.forget()
            self._notes.append(f"{course.service.name}: {why}")

    def _system(self, course: Course, now: float) -> SwitchbackView | None:
        return course.pairs.view(now) if self._settings.switchback(course.service.name) is not None else None

    def _lay_out(
        self, features: Features, prediction: Prediction, gains: list[GainView], moves: dict[int, Move]
    ) -> tuple[Plan, tuple[ServiceView, ...]]:
        """The plan to be in force, a new version if any number in it changed, and the views that explain it."""
        rows, arms = rows_of(features.endpoints, prediction), arm_views(features.services)
        before = self._plan.services if self._plan is not None else {}
        plans, views, changed = {}, [], len(before) != len(self._courses)
        for i, course in self._courses.items():
            move = moves[i]
            endpoints = endpoint_views(course.service, move, rows, self._quantiles)
            weights = {e.id: e.weight for e in endpoints}
            tiers = {e.id: e.tier for e in endpoints} if move.tiers.any() else {}
            old, capacity = before.get(i), capacity_of(endpoints)
            views.append(
                service_view(
                    course,
                    move,
                    endpoints,
                    arms[i],
                    gains[i],
                    pushed=old is not None and (old.weights, old.tiers) != (weights, tiers),
                    switchback=self._system(course, features.now),
                    refused_per_s=float(features.services.tick_refused[i].sum()) / self._since_s,
                    capacity=capacity,
                    forecast=None if self._demand is None else self._demand.view(i, capacity),
                    callers=self._crossing.callers(i),
                )
            )
            new = course.plan(weights, tiers, self._settings)
            if old is not None and same_numbers(old, new):
                plans[i] = old
                continue
            changed = True
            plans[i] = replace(new, reason=views[-1].reason, reasons={e.id: e.reason for e in endpoints})
        if not changed and self._plan is not None:
            return self._plan, tuple(views)
        self._version += 1
        return Plan(self._version, plans), tuple(views)

    # What it keeps over a restart.

    def state(self) -> State:
        """Enough to go on after a restart: plain dicts, lists, numbers, strings and arrays. See `brain.checkpoint`."""
        return {
            "kind": checkpoint.KIND,
            "version": checkpoint.VERSION,
            "now": self._ticked_at,
            "plan_version": self._version,
            "frozen": self._frozen,
            "features": self._store.state(),
            "learners": self._learners.state(self._topology),
            "quantiles": None if self._quantiles is None else self._quantiles.state(),
            "demand": None if self._demand is None else self._demand.state(),
            "watch": None if self._watch is None else self._watch.state(),
            "alerts": self._alerts.state(),
            "warm": self._warm.state(),
            "services": checkpoint.keep_services(self._courses, self._evidence, self._settings),
        }

    def restore(self, state: State, now: float) -> None:
        """Take up a state, before the first tick. ValueError, and unchanged, when it is not of this brain."""
        checkpoint.open_state(state)
        store = FeatureStore(self._topology, self._settings.learning.half_life_s, self._settings.learning.stale_after_s)
        learners = Champion(self._topology, self._settings, self._own)
        quantiles = quantiles_of(self._topology, self._settings)
        demand = Demand(self._topology) if self._settings.models.demand else None
        evidence = Evidence(self._topology.service_slots, self._settings.proof.window_s)
        try:
            store.restore(state["features"], now)
            learners.restore(state["learners"], self._topology)
            if quantiles is not None and state.get("quantiles") is not None:
                quantiles.restore(state["quantiles"])
            if demand is not None and state.get("demand") is not None:
                demand.restore(state["demand"])
            watch, alerts = checkpoint.watching(state, self._topology, self._settings, now)
            warm = checkpoint.warming(state, self._topology)
            services = checkpoint.check_services(state["services"])
            version, frozen = int(state["plan_version"]), bool(state["frozen"])
            away_s = 0.0 if state["now"] is None else max(0.0, now - float(state["now"]))
            for s in self._topology.services:
                if s.name in services:
                    kept = services[s.name]
                    evidence.restore_row(s.id, kept["sums"], kept["moments"], kept["worth"], away_s)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise ValueError(f"this state of a brain cannot be read: {error!r}") from error
        self._store, self._learners, self._quantiles, self._demand = store, learners, quantiles, demand
        self._evidence, self._watch, self._alerts, self._warm = evidence, watch, alerts, warm
        self._version, self._frozen, self._plan = max(self._version, version), frozen, None
        self._courses = {s.id: Course(s, self._settings) for s in self._topology.services}
        for course in self._courses.values():
            if course.service.name in services:
                checkpoint.resume(course, services[course.service.name], self._settings, now)
