"""What it costs to serve a node from another zone: who is far from whom, and what the brain does about it."""

from __future__ import annotations

import numpy as np
import pytest

from brain.brain import Brain
from brain.crossing import Crossing
from brain.settings import Cost, Mode, Settings
from dataplane.contract import Endpoint, Node, Service, Topology
from dataplane.simulated.drive import run
from dataplane.simulated.endpoint import Behaviour
from dataplane.simulated.mesh import Load, SimulatedMesh


def topology(nodes: str, endpoints: str) -> Topology:
    """A letter for each one's zone, a dash for none."""
    members = tuple(Endpoint(i, f"10.0.0.{i}:80", zone=z.strip("-")) for i, z in enumerate(endpoints))
    return Topology(
        1, (Service(0, "app", members),), tuple(Node(i, f"edge-{i}", 1, z.strip("-")) for i, z in enumerate(nodes))
    )


def share(of: Topology, *issued: int) -> list[float]:
    it = Crossing(of)
    it.told(np.array(issued).reshape(-1, 1), 100.0)
    return np.broadcast_to(it.share(0), len(of.services[0].endpoints)).tolist()


def test_what_crosses_is_what_the_nodes_of_other_zones_carry() -> None:
    assert share(topology("aab", "aabb"), 50, 25, 25) == [0.25, 0.25, 0.75, 0.75]


def test_what_is_new_is_told_and_a_node_that_was_restarted_counts_from_nothing_and_sent_nothing_less_for_it() -> None:
    it = Crossing(topology("aa", "aa"))
    it.told(np.array([[1000], [5]]), 1.0)
    assert it.told(np.array([[20], [8]]), 2.0).tolist() == [[20.0], [3.0]]


def test_an_endpoint_of_a_zone_without_nodes_is_far_from_all() -> None:
    assert share(topology("ab", "abc"), 60, 40) == pytest.approx([0.4, 0.6, 1.0])


def test_nobody_of_an_unknown_zone_crosses_anything() -> None:
    assert share(topology("a-", "ab-"), 60, 40) == pytest.approx([0.0, 0.6, 0.0])
    assert share(topology("--", "ab"), 60, 40) == [0.0, 0.0]


def test_before_any_traffic_nothing_crosses() -> None:
    assert share(topology("ab", "ab"), 0, 0) == [0.0, 0.0]


def test_when_users_move_to_another_zone_the_price_follows_within_minutes() -> None:
    it = Crossing(topology("ab", "ab"))
    issued = np.zeros((2, 1), dtype=np.int64)
    for second in range(300):
        issued[int(second >= 150)] += 100
        it.told(issued.copy(), float(second))
        if second == 149:
            assert np.asarray(it.share(0)).tolist() == [0.0, 1.0]
    assert np.asarray(it.share(0))[0] > 0.8


def test_counts_that_begin_anew_for_other_nodes_harm_nothing() -> None:
    it = Crossing(topology("ab", "ab"))
    it.told(np.array([[500], [500], [500]]), 100.0)
    it.moved(topology("a", "ab"))
    it.told(np.array([[10]]), 101.0)
    assert np.asarray(it.share(0)).tolist() == [0.0, 1.0]


def test_a_price_for_crossing_moves_load_home_and_leaves_there_what_home_cannot_bear() -> None:
    """Two of four endpoints are at home and bear 400/s; 480/s come."""

    def lived(price_s: float) -> tuple[float, float]:
        of = topology("a", "aabb")
        it = SimulatedMesh(
            of, [Load("app", 480)], dict.fromkeys(of_addresses(of), Behaviour()), np.random.default_rng(5)
        )
        brain = Brain(of, Settings(mode=Mode.ADAPTIVE, cost=Cost(zone_crossing_s=price_s)))
        *_, last = run(it, brain, 60.0)
        late = [r for r in it.ended if r.at_s > 40]
        assert last.services[0].state == "adaptive"
        return sum(r.endpoint < 2 for r in late) / len(late), float(np.quantile([r.felt_s for r in late], 0.99))

    home, p99_s = lived(0.0)
    assert home == pytest.approx(0.5, abs=0.06)
    dear_home, dear_p99_s = lived(0.05)
    assert 0.58 < dear_home < 0.83
    assert dear_p99_s < 2 * p99_s


def of_addresses(of: Topology) -> list[str]:
    return [e.address for s in of.services for e in s.endpoints]
