"""Quantiles of latency as people are told them: from a bounded sample, the same in every replay, kept by name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from brain.brain import Brain
from brain.quantiles import Quantiles
from brain.settings import Mode, Models, Settings
from dataplane.contract import Endpoint, Node, Requests, Service, Topology
from dataplane.simulated.drive import run
from dataplane.simulated.endpoint import Behaviour
from dataplane.simulated.mesh import Load, SimulatedMesh
from weirflow.checkpoint import decode, encode

ASKED = Settings(mode=Mode.ADAPTIVE, models=Models(quantiles=True))
NAMES = ("a", "b", "c", "d")


def topology(names: Sequence[str] = NAMES, routes: tuple[str, ...] = ("list", "pay")) -> Topology:
    members = tuple(Endpoint(i, f"10.0.0.1:{80 + ord(n)}") for i, n in enumerate(names))
    return Topology(1, (Service(0, "shop", members),), (Node(0, "edge"),), routes)


def attempts(rng: np.random.Generator, endpoint: Any, route: Any, mean_s: Any, rows: int = 400) -> Requests:
    columns: dict[str, Any] = {name: np.zeros(rows) for name in Requests.dtypes()}
    took, started = rng.exponential(1.0, rows) * mean_s, np.sort(rng.uniform(0.0, 100.0, rows))
    return Requests.of(
        **columns
        | {"started_s": started, "duration_s": took, "endpoint": np.full(rows, endpoint), "route": np.full(rows, route)}
    )


def taught(of: Topology, seconds: int = 20, seed: int = 1) -> Quantiles:
    """Endpoint 1 is twice as slow; route `pay` takes ten times as long."""
    it, rng = Quantiles(of), np.random.default_rng(seed)
    for second in range(seconds):
        endpoint, route = rng.integers(0, len(of.services[0].endpoints), 400), rng.integers(0, 2, 400)
        it.told(attempts(rng, endpoint, route, 0.01 * (1 + (endpoint == 1)) * np.where(route == 1, 10, 1)))
        it.learn(float(second))
    return it


def rising(told: dict[str, Any]) -> bool:
    levels = [told[q] for q in ("p50", "p95", "p99")]
    return all(low <= value <= high for low, value, high in levels) and all(a[1] <= b[1] for a, b in pairwise(levels))


def test_an_endpoint_and_its_routes_are_told_with_intervals_near_the_truth() -> None:
    it = taught(topology())
    routes = it.by_route(1)
    assert set(routes) == {"list", "pay"}
    for told, mean_s in ((routes["list"], 0.02), (routes["pay"], 0.2), (it.by_route(0)["pay"], 0.1)):
        assert rising(told)
        assert told["p50"][1] == pytest.approx(mean_s * np.log(2), rel=0.4)
        assert told["p99"][1] == pytest.approx(mean_s * np.log(100), rel=0.5)
        assert told["at"] == 19.0
    whole = it.of(1)
    assert whole is not None
    assert rising(whole)
    assert routes["list"]["p50"][1] < whole["p50"][1] < routes["pay"]["p50"][1]


def test_nothing_is_told_of_an_endpoint_before_thirty_of_its_attempts() -> None:
    it, rng = Quantiles(topology()), np.random.default_rng(2)
    endpoint = np.repeat([0, 2], [371, 29])
    it.told(attempts(rng, endpoint, 0, 0.1))
    it.learn(1.0)
    assert (it.of(0) is not None, it.of(2), it.of(3)) == (True, None, None)
    it.told(attempts(rng, endpoint, 0, 0.1))
    it.learn(2.0)
    assert it.of(2) is not None


def test_attempts_of_endpoints_and_services_that_are_not_here_are_passed_over() -> None:
    it, rng = Quantiles(topology()), np.random.default_rng(3)
    it.told(attempts(rng, 77, 0, 0.1))
    it.learn(1.0)
    nobody = Quantiles(Topology(1, (), ()))
    nobody.told(attempts(rng, 0, 0, 0.1))
    nobody.learn(1.0)
    assert [it.of(e) for e in (0, 77)] == [None, None] == [nobody.of(0), None]


def test_what_is_known_goes_by_name_over_a_restart_that_numbers_all_anew() -> None:
    before = taught(topology())
    kept = decode(encode(before.state()))
    of = topology(("x", "d", "c", "b"), ("pay", "new", "list"))
    again, rng = Quantiles(of), np.random.default_rng(4)
    again.restore(kept)
    again.told(attempts(rng, np.repeat([0, 3], [395, 5]), 2, 0.02))
    again.learn(50.0)
    was, now = before.by_route(1)["list"], again.by_route(3)["list"]
    assert now["p99"][1] == pytest.approx(was["p99"][1], rel=0.5), "five attempts, and those of before"
    assert now["count"] > 30
    assert set(again.by_route(3)) == {"list"}
    assert again.state()["model"]["ids"][:, 1].max() <= 3


def test_a_mesh_that_grows_keeps_what_it_knows_and_who_left_is_forgotten() -> None:
    it = taught(topology())
    before = it.of(1)
    grown = topology(tuple("abcd" + "efghijklmnopqrstuvwxyz"))
    it.moved(grown)
    assert it.of(1) == before
    service = replace(grown.services[0], endpoints=grown.services[0].endpoints[2:])
    it.moved(replace(grown, services=(service,), endpoint_slots=grown.endpoint_slots))
    assert (it.of(1), it.by_route(1)) == (None, {})


def odd(states: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    states["model"][name] = value
    return states


@pytest.mark.parametrize(
    ("name", "value"), [("seen", -1), ("seen", 16), ("ids", "gone"), ("levels", [0.5]), ("loss", 0.0)]
)
def test_an_odd_state_is_refused_and_nothing_has_changed(name: str, value: Any) -> None:
    it = taught(topology(), seconds=3)
    state, told = it.state(), it.of(0)
    rows = len(state["model"]["seen"])
    state["model"][name] = np.full((rows, 3), value) if name == "seen" else value
    with pytest.raises((ValueError, TypeError, IndexError)):
        it.restore(state)
    assert it.of(0) == told


def lived(settings: Settings = ASKED, seconds: float = 15.0) -> Brain:
    of = topology()
    slow = {of.services[0].endpoints[0].address: Behaviour(service_s=0.06)}
    mesh, brain = SimulatedMesh(of, [Load("shop", 150)], slow, np.random.default_rng(6)), Brain(of, settings)
    assert list(run(mesh, brain, seconds))
    return brain


def test_a_brain_that_is_asked_tells_them_and_decides_as_one_that_is_not() -> None:
    asked, other = lived().decision, lived(Settings(mode=Mode.ADAPTIVE)).decision
    assert asked is not None
    assert other is not None
    views = asked.services[0].endpoints
    assert all(e.quantiles is not None and rising(e.quantiles) for e in views)
    assert [e.quantiles for e in other.services[0].endpoints] == [None] * 4
    assert [replace(e, quantiles=None) for e in views] == list(other.services[0].endpoints)


def test_two_lives_told_the_same_say_the_same_to_the_last_bit_and_so_does_one_that_was_restored() -> None:
    one, two = lived(), lived()
    assert one.decision is not None
    assert two.decision is not None
    assert json.dumps(one.decision.to_dict()) == json.dumps(two.decision.to_dict())
    again = Brain(topology(), ASKED)
    again.restore(decode(encode(one.state())), 1e9)
    assert again.state()["quantiles"]["model"]["seen"].sum() == one.state()["quantiles"]["model"]["seen"].sum()


def test_a_decision_of_before_is_not_changed_by_what_is_learned_after() -> None:
    it = taught(topology())
    told, text = it.by_route(0), json.dumps(it.by_route(0))
    rng = np.random.default_rng(8)
    it.told(attempts(rng, 0, rng.integers(0, 2, 400), 5.0))
    it.learn(99.0)
    assert json.dumps(told) == text != json.dumps(it.by_route(0))


def test_they_are_turned_on_and_off_while_all_else_goes_on() -> None:
    brain = lived(Settings(mode=Mode.ADAPTIVE))
    brain.configured(ASKED, 1e6)
    assert brain.state()["quantiles"] is not None
    brain.configured(Settings(mode=Mode.ADAPTIVE), 1e6)
    assert brain.state()["quantiles"] is None
