"""The watch over a restart: what people were told is not told again, and what is usual need not be learned again."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from bench.incidents import CALM_S, FAULT_S, TROUBLES, troubled
from bench.watched import SETTINGS, World, live
from brain.brain import Brain
from brain.decision import Decision
from brain.watch import Watch
from dataplane.contract import Endpoint, Node, Service, Topology
from weirflow import checkpoint
from weirflow.notify.open import OpenAlerts

BY_NAME = {t.name: t for t in TROUBLES}


class Restarted:
    """A brain that is stopped at a tick, and another one that takes up its checkpoint, or none."""

    def __init__(self, world: World, at_s: float, *, keeps: bool = True) -> None:
        self.brain, self._world, self._at_s, self._keeps = Brain(world.topology, SETTINGS), world, at_s, keeps

    def __getattr__(self, name: str) -> Any:
        return getattr(self.brain, name)

    def tick(self, now: float) -> Decision:
        if now == self._at_s:
            state = checkpoint.decode(checkpoint.encode(self.brain.state()))
            self.brain = Brain(self._world.topology, SETTINGS)
            if self._keeps:
                self.brain.restore(state, now)
        return self.brain.tick(now)


def lived(trouble: str, restart_s: float, until_s: float, *, keeps: bool = True) -> list[Decision]:
    world = troubled(BY_NAME[trouble], seed=21)
    return list(live(world, until_s, cast("Brain", Restarted(world, restart_s, keeps=keeps))))


@pytest.mark.parametrize("trouble", ["slow_3", "fails_0.5", "drop_0.1"])
def test_an_incident_that_is_open_over_a_restart_keeps_its_name_and_is_told_once_and_over_once(trouble: str) -> None:
    decisions = lived(trouble, CALM_S + 30.0, CALM_S + FAULT_S + 150.0)
    assert {i.id for d in decisions for i in d.incidents} == {"I-1"}
    told = [(a.kind, a.opened) for d in decisions for a in d.alerts if a.kind == BY_NAME[trouble].causes[0]]
    assert told == [(told[0][0], True), (told[0][0], False)]


def test_one_that_is_over_when_the_brain_is_back_is_told_to_be_over() -> None:
    decisions = lived("drop_0.1", CALM_S + FAULT_S + 5.0, CALM_S + FAULT_S + 60.0)
    told = [(a.kind, a.opened) for d in decisions for a in d.alerts]
    assert told[-1] == ("TrafficDrop", False)
    assert decisions[-1].incidents == ()


@pytest.mark.parametrize(("keeps", "found"), [(True, True), (False, False)])
def test_what_is_usual_comes_back_with_the_checkpoint_and_need_not_be_learned_again(keeps: bool, found: bool) -> None:
    decisions = lived("all_slow_5", CALM_S - 2.0, CALM_S + 12.0, keeps=keeps)
    assert any(d.incidents for d in decisions) is found


def test_whoever_is_told_again_and_again_hears_of_it_after_a_restart_and_nobody_hears_it_anew() -> None:
    last = lived("slow_3", CALM_S + 30.0, CALM_S + 40.0)[-1]
    desk = OpenAlerts()  # its process was restarted as well
    assert desk.told(last, lambda now: now) == []
    (standing,) = desk.open
    assert standing.kind == "EndpointSlow"
    assert standing.incident == "I-1"
    assert standing.starts_at == last.incidents[0].since_s


def test_a_watch_gives_back_what_it_took_up() -> None:
    world = troubled(BY_NAME["slow_3"], seed=22)
    brain = Brain(world.topology, SETTINGS)
    for _ in live(world, CALM_S + 20.0, brain):
        pass
    kept = brain.state()["watch"]
    again = Watch(world.topology)
    again.restore(checkpoint.decode(checkpoint.encode(kept)), CALM_S + 20.0)
    assert checkpoint.encode(again.state()) == checkpoint.encode(kept)


def test_who_joined_while_the_brain_was_away_is_new_and_who_left_is_left_out() -> None:
    world = troubled(BY_NAME["slow_3"], seed=23)
    brain = Brain(world.topology, SETTINGS)
    for _ in live(world, CALM_S + 20.0, brain):
        pass
    members = (Endpoint(0, "10.0.0.99:80"), Endpoint(1, "10.0.0.0:80"), Endpoint(2, "10.0.0.1:80"))
    other = Topology(1, (Service(0, "cart", ()), Service(1, "shop", members)), (Node(0, "edge-0"),))
    watch = Watch(other)
    watch.restore(brain.state()["watch"], CALM_S + 20.0)
    endpoints = watch.state()["endpoints"]
    assert endpoints["own"]["slow"].tolist() == [False, True, False]
    assert endpoints["ratio"]["seen"][0] == 0
    assert endpoints["ratio"]["first"][0] == np.inf
    assert endpoints["ratio"]["seen"][1:].all()
    assert watch.state()["services"]["latency"]["first"].tolist() == [np.inf, pytest.approx(1.0)]
    assert watch.services == {"shop"}


def test_a_state_from_before_the_watch_was_kept_is_taken_up_without_it() -> None:
    world = troubled(BY_NAME["slow_3"], seed=24)
    brain = Brain(world.topology, SETTINGS)
    for _ in live(world, 40.0, brain):
        pass
    state = {name: part for name, part in brain.state().items() if name not in ("watch", "alerts")}
    Brain(world.topology, SETTINGS).restore(state, 40.0)


def test_a_state_of_another_shape_is_refused_with_a_reason() -> None:
    world = troubled(BY_NAME["slow_3"], seed=24)
    brain = Brain(world.topology, SETTINGS)
    state = brain.state()
    state["watch"]["endpoints"]["ratio"]["mean"] = "odd"
    with pytest.raises(ValueError, match=r"mean|rows|read"):
        Brain(world.topology, SETTINGS).restore(state, 1.0)
