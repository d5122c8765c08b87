"""Fault cases 25 and 26: a model that drifts and a model that steers badly, over a simulated mesh in virtual time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from brain import champion
from brain.brain import Brain
from brain.commands import PromoteModel
from brain.decision import Decision
from brain.learners import Learners
from brain.settings import Mode, Models, Proof, Settings
from dataplane.contract import Endpoint, Node, Service, Topology
from dataplane.simulated.drive import run
from dataplane.simulated.endpoint import Behaviour, Fault
from dataplane.simulated.mesh import Load, SimulatedMesh
from models.base import Prediction

ADAPTIVE = Settings(mode=Mode.ADAPTIVE, share_percent=80)
FOREVER = 1e9


class Stubborn(Learners):
    """Learns in the first minute of its life and never again."""

    def learn(self, features: Any, service_of: Any, now: float) -> None:
        self.born = getattr(self, "born", now)
        if now - self.born < 60:
            super().learn(features, service_of, now)


class Inverted(Learners):
    """Foresees like the best, and takes the fast for slow and the slow for fast."""

    def capacities(self) -> Prediction:
        return self.upside_down(super().capacities())

    def service_times(self) -> Prediction:
        return self.upside_down(super().service_times())

    @staticmethod
    def upside_down(said: Prediction) -> Prediction:
        scale = np.nanmean(said.value) ** 2 if np.isfinite(said.value).any() else 1.0
        return Prediction(scale / said.value, scale / said.high, scale / said.low, said.count)


class World:
    """One service, four endpoints, a brain."""

    def __init__(self, settings: Settings, behaviours: list[Behaviour], rate: float = 60.0) -> None:
        endpoints = tuple(Endpoint(i, f"10.0.0.{i}:80") for i in range(len(behaviours)))
        self.topology = Topology(1, (Service(0, "app", endpoints),), (Node(0, "edge"),))
        by_address = {e.address: b for e, b in zip(endpoints, behaviours, strict=True)}
        self.mesh = SimulatedMesh(self.topology, [Load("app", rate)], by_address, np.random.default_rng(4))
        self.brain = Brain(self.topology, settings)

    def live(self, until: float) -> list[Decision]:
        return list(run(self.mesh, self.brain, until))


def weights(decision: Decision) -> list[int]:
    return [e.weight for e in decision.services[0].endpoints]


def notes(decisions: Iterable[Decision]) -> list[tuple[float, str]]:
    return [(d.now, said) for d in decisions for said in d.notes if said.startswith("model ")]


def alerts(decisions: Iterable[Decision], kind: str) -> list[tuple[float, bool]]:
    return [(d.now, a.opened) for d in decisions for a in d.alerts if a.kind == kind]


def test_case_25_a_regime_change_that_the_model_cannot_follow_hands_over_to_the_simple_one_and_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(champion, "ROSTER", {**champion.ROSTER, champion.FIRST: Stubborn})
    changed_s = 100.0
    turns_slow = Behaviour(faults=(Fault("slow", changed_s, FOREVER, factor=6),))
    turns_fast = Behaviour(faults=(Fault("slow", 0, changed_s, factor=6),))
    world = World(replace(ADAPTIVE, models=Models(watch_s=120)), [turns_slow, turns_fast, Behaviour(), Behaviour()])
    before = world.live(changed_s)
    assert notes(before) == []
    assert weights(before[-1])[1] < 50 < 80 < weights(before[-1])[0]
    lived = world.live(changed_s + 80)
    ((at, said),) = notes(lived)
    assert said == "model queueing drifted: simple decides while queueing learns anew"
    assert at <= changed_s + 75  # by other luck 26 to 71 s
    assert alerts(lived, "ModelDrift") == [(at, True)]
    assert weights(lived[-1])[0] < 50 < weights(lived[-1])[1]
    after = world.live(changed_s + 330)
    ((back, said),) = notes(after)
    assert "model queueing decides: its error is" in said
    assert back >= at + 120, "after two minutes in the shadow at the soonest"
    assert alerts(after, "ModelDrift") == [(back, False)]
    assert weights(after[-1])[0] < 50 < weights(after[-1])[1]


def test_case_25_the_model_as_it_is_follows_the_same_change_by_itself() -> None:
    turns_slow = Behaviour(faults=(Fault("slow", 100, FOREVER, factor=6),))
    turns_fast = Behaviour(faults=(Fault("slow", 0, 100, factor=6),))
    world = World(ADAPTIVE, [turns_slow, turns_fast, Behaviour(), Behaviour()])
    lived = world.live(200)
    assert notes(lived) == []
    assert weights(lived[-1])[0] < 50 < weights(lived[-1])[1]


def test_case_26_a_bad_model_that_was_promoted_is_taken_back_within_two_minutes_with_an_alert(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(champion, "ROSTER", {**champion.ROSTER, "inverted": Inverted})
    slow = Behaviour(service_s=0.08)
    world = World(replace(ADAPTIVE, proof=Proof(min_requests=50)), [slow, slow, Behaviour(), Behaviour()])
    good = weights(world.live(60)[-1])
    assert good[0] < good[2]
    world.brain.command(PromoteModel("inverted"), world.mesh.now)
    lived = world.live(180)
    (promoted, said), (back, why) = notes(lived)
    assert said == "model inverted decides by command, queueing comes back if it loses"
    assert why.startswith("model inverted is taken back, queueing decides again: gain ")
    assert "proven before +" in why, "the holdout suffers with it, so that it fell is what gives it away"
    assert promoted == 61
    assert back <= promoted + 120
    assert max(weights(d)[0] for d in lived) >= 100 > 2 * good[0], "it was as bad as that"
    assert alerts(lived, "ModelRolledBack") == [(back, True)]
    assert {d.services[0].state for d in lived} == {"adaptive"}, "the share never had to step back"
    assert weights(lived[-1])[0] < weights(lived[-1])[2]


def test_models_and_who_decides_outlive_a_restart_and_older_checkpoints_are_read() -> None:
    world = World(ADAPTIVE, [Behaviour()] * 4)
    world.live(30)
    world.brain.command(PromoteModel("simple"), world.mesh.now)
    world.live(40)
    kept = world.brain.state()
    world.brain = Brain(world.topology, ADAPTIVE)
    world.brain.restore(kept, world.mesh.now)
    assert world.brain.state()["learners"]["deciding"] == "simple"
    older = {**kept, "learners": kept["learners"]["models"]["queueing"]}
    world.brain = Brain(world.topology, ADAPTIVE)
    world.brain.restore(older, world.mesh.now)
    decision = world.brain.tick(world.mesh.now + 1)
    assert world.brain.state()["learners"]["deciding"] == "queueing"
    assert all(e.capacity is not None for e in decision.services[0].endpoints)


def test_an_order_for_a_model_that_there_is_not_names_the_nearest() -> None:
    world = World(ADAPTIVE, [Behaviour()])
    with pytest.raises(KeyError, match="there is no model 'simpel'; did you mean 'simple'"):
        world.brain.command(PromoteModel("simpel"), 0.0)
