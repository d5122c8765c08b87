"""The brain's demand, as dialogues: what was asked, what will be, and what that leaves of what a service bears."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from brain.brain import Brain
from brain.decision import Decision, ForecastView, ServiceView
from brain.demand import AHEAD_S, UNSEEN_S, Demand, capacity_of
from brain.settings import Learning, Mode, Models, Settings
from dataplane.contract import Endpoint, Node, Presence, Service, Topology
from dataplane.simulated.drive import run
from dataplane.simulated.endpoint import Behaviour
from dataplane.simulated.mesh import Load, SimulatedMesh
from weirflow.staged import example_endpoint

ADAPTIVE = Settings(mode=Mode.ADAPTIVE)


def mesh_of(*names: str, version: int = 1, endpoints: int = 3) -> Topology:
    services = tuple(
        Service(s, name, tuple(Endpoint(endpoints * s + i, f"10.0.{s}.{i}:80") for i in range(endpoints)))
        for s, name in enumerate(names)
    )
    return Topology(version, services, (Node(0, "edge"),))


class Dialogue:
    """A brain over a mesh in which `app` is asked 120 times a second."""

    def __init__(self, settings: Settings = ADAPTIVE, rate: float = 120.0, topology: Topology | None = None) -> None:
        self.topology = topology or mesh_of("app")
        behaviours = {
            e.address: Behaviour(service_s=0.02, workers=4) for s in self.topology.services for e in s.endpoints
        }
        self.mesh = SimulatedMesh(self.topology, [Load("app", rate)], behaviours, np.random.default_rng(5))
        self.brain = Brain(self.topology, settings)

    def live(self, seconds: float) -> list[Decision]:
        return list(run(self.mesh, self.brain, self.mesh.now + seconds))

    def after(self, seconds: float, service: int = 0) -> ServiceView:
        return self.live(seconds)[-1].services[service]


def told(view: ServiceView) -> ForecastView:
    assert view.forecast is not None
    return view.forecast


def test_what_is_asked_is_seen_and_foretold_and_held_against_what_the_service_bears() -> None:
    view = Dialogue().after(60)
    forecast = told(view)
    assert forecast.ahead_s == AHEAD_S
    assert forecast.now_per_s == pytest.approx(120, rel=0.4)
    assert forecast.value[0] == pytest.approx(120, rel=0.15)
    assert view.capacity is not None
    for low, value, high, p99, spare in zip(
        forecast.low, forecast.value, forecast.high, forecast.p99, forecast.spare, strict=True
    ):
        assert low < value < high < p99
        assert spare == 1.0 - high / view.capacity


def test_before_enough_was_seen_nothing_is_told_and_it_is_not_nought() -> None:
    forecast = told(Dialogue().after(5))
    assert set(forecast.value + forecast.high + forecast.p99 + forecast.spare) == {None}


def test_when_telemetry_is_lost_demand_is_unknown_and_after_a_minute_the_forecast_is_too() -> None:
    it = Dialogue()
    it.live(60)
    silence = [it.brain.tick(it.mesh.now + s).services[0] for s in range(1, 75)]
    assert {told(v).now_per_s for v in silence[5:]} == {None}
    assert told(silence[30]).value[0] == pytest.approx(120, rel=0.2)  # not towards nought
    assert told(silence[30]).high[0] is not None
    last = [told(v).high[0] is None for v in silence]
    assert last.index(True) == pytest.approx(UNSEEN_S, abs=3)
    assert all(last[last.index(True) :])


def test_where_the_only_node_left_nothing_is_known() -> None:
    it = Dialogue()
    it.live(40)
    it.brain.heard(Presence(0, False), it.mesh.now)
    assert told(it.brain.tick(it.mesh.now + 20).services[0]).now_per_s is None


def test_it_can_be_left_out_and_asked_for_while_it_runs() -> None:
    off = replace(ADAPTIVE, models=Models(demand=False))
    it = Dialogue(off)
    view = it.after(40)
    assert view.forecast is None
    assert view.capacity is not None
    it.brain.configured(ADAPTIVE, it.mesh.now)
    assert told(it.after(5)).value[0] is None
    assert told(it.after(40)).value[0] == pytest.approx(120, rel=0.2)
    it.brain.configured(off, it.mesh.now)
    assert it.after(1).forecast is None


def test_another_way_of_learning_is_a_gap_of_seconds_and_no_flood_and_no_quiet() -> None:
    it = Dialogue()
    before = told(it.after(60)).value[0]
    it.brain.configured(replace(ADAPTIVE, learning=Learning(half_life_s=2.0)), it.mesh.now)
    now = [told(d.services[0]).now_per_s for d in it.live(10)]
    assert now[0] is None
    assert all(n == pytest.approx(before, rel=0.4) for n in now[3:])


def test_a_service_that_joins_is_foretold_by_itself() -> None:
    it = Dialogue()
    it.live(40)
    both = mesh_of("app", "new", version=2)
    it.brain.moved(both, it.mesh.now)
    it.mesh.moved(both)
    joined = it.live(1)[-1].services
    assert told(joined[0]).value[0] == pytest.approx(120, rel=0.2)
    assert told(joined[1]).value[0] is None
    quiet = told(it.after(45, service=1))
    assert quiet.now_per_s == 0.0
    assert quiet.value[0] == 0.0


def test_a_restart_goes_on_by_name_and_tells_nothing_before_it_sees_something() -> None:
    it = Dialogue()
    it.live(200)
    state, now = it.brain.state(), it.mesh.now
    again = Brain(mesh_of("new", "app"), ADAPTIVE)
    again.restore(state, now + 30)
    assert again.foretold() == it.brain.foretold()
    assert {(f.service, f.ahead_s) for f in again.foretold()} == {("app", 1.0), ("app", 10.0), ("app", 60.0)}
    unseen = again.tick(now + 30.5).services
    assert [told(v).value[0] for v in unseen] == [None, None]
    assert told(unseen[1]).count > 150
    it.brain, it.topology = Brain(it.topology, ADAPTIVE), it.topology
    it.mesh.run(now + 30)
    it.brain.restore(state, it.mesh.now)
    assert told(it.after(3)).value[0] == pytest.approx(120, rel=0.3)  # a cold start would need half a minute


def test_a_checkpoint_from_before_there_was_demand_is_taken_up() -> None:
    it = Dialogue()
    it.live(10)
    state = it.brain.state()
    del state["demand"]
    Brain(it.topology, ADAPTIVE).restore(state, it.mesh.now)


def test_what_another_forecaster_learned_is_passed_over_and_what_is_odd_is_refused() -> None:
    it = Dialogue()
    it.live(40)
    state = it.brain.state()
    other = state | {"demand": state["demand"] | {"forecaster": "Seer", "model": {"level": np.zeros((1, 4))}}}
    again = Brain(it.topology, ADAPTIVE)
    again.restore(other, it.mesh.now)
    assert told(again.tick(it.mesh.now + 1).services[0]).count == 0
    odd = state | {"demand": state["demand"] | {"model": state["demand"]["model"] | {"10s_recent_levels": np.zeros(7)}}}
    with pytest.raises(ValueError, match="10s_recent_levels"):
        again.restore(odd, it.mesh.now)


def test_ten_ticks_a_second_learn_once_a_second() -> None:
    it = Dialogue()
    for _ in run(it.mesh, it.brain, 40.0, tick_s=0.1):
        pass
    forecast = told(it.brain.decision.services[0])  # type: ignore[union-attr]
    assert 30 <= forecast.count <= 40
    assert forecast.value[0] == pytest.approx(120, rel=0.2)


def test_slow_ticks_tell_the_rate_and_not_the_count() -> None:
    it = Dialogue()
    last = list(run(it.mesh, it.brain, 200.0, tick_s=5.0))[-1].services[0]
    assert told(last).now_per_s == pytest.approx(120, rel=0.2)


def test_slow_ticks_are_foretold_at_every_horizon_as_quick_ones_are() -> None:
    it = Dialogue()
    last = list(run(it.mesh, it.brain, 400.0, tick_s=5.0))[-1].services[0]
    assert told(last).value == pytest.approx([120] * len(AHEAD_S), rel=0.25)
    assert told(last).count == pytest.approx(400, abs=15)


def test_a_forecast_is_plain_data() -> None:
    decision = Dialogue().live(35)[-1].to_dict()
    again = json.loads(json.dumps(decision, allow_nan=False))
    assert again["services"][0]["forecast"]["ahead_s"] == list(AHEAD_S)


def test_an_endpoint_that_is_not_known_yet_is_taken_to_bear_what_the_others_do() -> None:
    known, unknown = example_endpoint(capacity=100.0), example_endpoint(capacity=None)
    assert capacity_of([known, known, unknown]) == 300.0
    assert capacity_of([known, unknown, unknown]) is None
    assert capacity_of([]) is None


def test_a_mesh_of_no_services_has_no_demand() -> None:
    demand = Demand(Topology(1, (), ()))
    demand.restore(demand.state())
