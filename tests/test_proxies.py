"""Proxies: what goes through one of them alone is slow or fails, and what is told of it, as dialogues."""

from __future__ import annotations

import numpy as np
import pytest

from brain.incidents import Incidents
from brain.node_watch import NodeWatch
from brain.watch import Watch
from dataplane.contract import Endpoint, Node, Outcome, Service, Topology
from features.columns import WayFeatures
from features.dialogue import Told
from weirflow import checkpoint

SERVICES = (Service(0, "shop", (Endpoint(0, "10.0.0.1:80"),)), Service(1, "store", (Endpoint(1, "10.0.1.1:80"),)))
NODES = (*(Node(i, f"edge-{i}") for i in range(3)), *(Node(3 + i, f"cart-{i}", service="cart") for i in range(2)))
MESH = Topology(1, SERVICES, (*NODES, Node(5, "jobs-0", service="jobs")))
WORK_S = 0.05
Row = tuple[float, float, float]  # how many ended, what part of them failed, how long the good ones took
WELL: Row = (40.0, 0.0, WORK_S)
BOTH = ["edge-1 shop", "edge-1 store"]


class Through:
    """What goes through each of the proxies to both services alike, second by second."""

    def __init__(self, watch: NodeWatch | None = None, topology: Topology = MESH) -> None:
        self.watch, self.topology, self.now, self.contradicts = watch or NodeWatch(), topology, 0.0, np.zeros(6)

    def look(self, **odd: Row | None) -> list[str]:
        """What is found in a second in which these fare so, with `_` for `-`, and the others well."""
        self.now += 1.0
        rows = [(n.id, s.id, *row) for n in self.topology.nodes for s in self.topology.services
                if (row := odd.get(n.name.replace("-", "_"), WELL)) is not None]  # fmt: skip
        node, service, ended, share, took = np.array(rows, dtype=np.float64).reshape(-1, 5).T
        good = ended * (1.0 - share)
        seen = WayFeatures(node.astype(int), service.astype(int), ended, ended * share, good, good * took)
        self.found = self.watch.look(seen, self.contradicts, self.topology, self.now)
        return [f"{f.kind} {f.place} {f.service}" for f in self.found]

    def seconds(self, many: int, **odd: Row | None) -> list[list[str]]:
        return [self.look(**odd) for _ in range(many)]


def calm() -> Through:
    told = Through()
    assert not any(told.seconds(60))
    return told


@pytest.mark.parametrize(("kind", "ill", "within_s"), [
    ("NodeFailing", (40.0, 1.0, WORK_S), 3), ("NodeFailing", (40.0, 0.2, WORK_S), 3),
    ("NodeFailing", (40.0, 0.02, WORK_S), 15), ("NodeSlow", (40.0, 0.0, 2.4 * WORK_S), 5),
    ("NodeSlow", (40.0, 0.0, 9 * WORK_S), 3)])  # fmt: skip
def test_one_proxy_that_fares_ill_while_others_of_its_caller_fare_well_is_found_for_each_service_that_it_asks(
    kind: str, ill: Row, within_s: int
) -> None:
    assert calm().seconds(within_s, edge_1=ill)[-1] == [f"{kind} {place}" for place in BOTH]


@pytest.mark.parametrize("ill", [(40.0, 1.0, WORK_S), (40.0, 0.02, WORK_S), (40.0, 0.0, 2.4 * WORK_S)])
def test_what_all_proxies_of_a_caller_suffer_is_none_of_theirs_and_a_callers_only_proxy_is_its_edge(ill: Row) -> None:
    assert not any(calm().seconds(40, edge_0=ill, edge_1=ill, edge_2=ill))
    assert not any(calm().seconds(40, cart_0=ill, cart_1=ill))
    assert not any(calm().seconds(40, jobs_0=ill))


def test_proxies_of_other_callers_say_nothing_of_it() -> None:
    ill = (40.0, 0.5, WORK_S)
    assert calm().seconds(9, cart_0=ill, edge_0=ill, edge_1=ill, edge_2=ill)[-1] == [
        "NodeFailing cart-0 shop", "NodeFailing cart-0 store"]  # fmt: skip


def test_a_proxy_that_is_not_believed_is_told_of_as_that_and_who_is_told_of_already_stays() -> None:
    told, slow = calm(), (40.0, 0.0, 5 * WORK_S)
    told.contradicts[1] = 1.0
    assert not any(told.seconds(9, edge_1=slow))
    told.contradicts[1] = 0.0
    assert told.look(edge_1=slow)
    told.contradicts[1] = 1.0
    assert told.look(edge_1=slow)


def test_what_a_liar_says_of_an_endpoint_is_in_no_ones_sums() -> None:
    told = Told(Topology(1, SERVICES, NODES))
    for second in range(20):
        for node in range(5):
            told.attempts(second, 0, n=20, took=np.full(20, 0.5 if node == 1 else WORK_S), node=node, service=0)
            told.attempts(second, 1, n=20, took=np.full(20, WORK_S), node=node, service=1)
        seen = told.freeze(second + 0.9)
    ways = zip(seen.ways.node.tolist(), seen.ways.service.tolist(), seen.ways.ended.tolist(), strict=True)
    assert [(n, s) for n, s, ended in ways if ended] == [(n, s) for n in range(5) for s in range(2) if (n, s) != (1, 0)]


def test_a_finding_says_which_proxy_what_part_of_the_service_it_touches_and_what_is_usual() -> None:
    told = calm()
    told.seconds(20, edge_1=(40.0, 0.2, WORK_S))
    for finding in told.found:
        assert (finding.node, finding.endpoint, finding.caller) == ("edge-1", "", "")
        assert finding.value == pytest.approx(0.2, rel=0.05)
        assert (finding.low, finding.high) == (0.0, 0.02)
        assert finding.harm == pytest.approx(0.2 / 6, rel=0.05)
        assert finding.said.startswith("what goes through edge-1 fails ")


def test_whom_it_asked_no_more_is_not_told_of_and_nor_is_a_service_that_left() -> None:
    told, ill = calm(), (40.0, 0.5, WORK_S)
    assert len(told.seconds(9, edge_1=ill)[-1]) == 2
    told.topology = Topology(2, SERVICES[1:], MESH.nodes)
    assert told.look(edge_1=ill) == ["NodeFailing edge-1 store"]
    told.seconds(40, edge_1=ill)
    told.topology = MESH
    assert told.look(edge_1=None) == ["NodeFailing edge-1 store"]


def test_a_proxy_that_left_is_told_of_no_more() -> None:
    told, ill = calm(), (40.0, 0.5, WORK_S)
    assert told.seconds(9, edge_1=ill)[-1]
    told.topology = Topology(2, SERVICES, tuple(n for n in MESH.nodes if n.id != 1))
    assert told.look() == []


def test_it_is_one_incident_that_names_the_proxy_with_what_shows_of_it_at_every_service() -> None:
    told, incidents = calm(), Incidents()
    for _ in range(9):
        told.look(edge_1=(40.0, 0.0, 5 * WORK_S))
        views, conditions = incidents.judge(told.found, {}, {"shop": {"": 1}, "store": {"": 1}}, lambda _: "", told.now)
    (incident,), (condition,) = views, conditions
    assert (incident.kind, incident.labels) == ("NodeSlow", {"node": "edge-1"})
    assert incident.causes == ("NodeSlow edge-1",)
    assert condition.labels == (("node", "edge-1"),)


def test_ways_are_counted_by_proxy_and_edges_are_their_sums() -> None:
    told = Told(MESH)
    told.attempts(1.0, 1, n=4, took=0.25, node=0)
    told.attempts(1.0, 1, n=2, took=0.25, node=2)
    told.felt(1.0, Outcome.ERROR, n=3, service=0, node=4)
    seen = told.freeze(2.0)
    ways = list(zip(seen.ways.node.tolist(), seen.ways.service.tolist(), seen.ways.ended.tolist(), strict=True))
    assert ways == [(0, 1, 4.0), (2, 1, 2.0), (4, 0, 3.0)]
    assert (seen.ways.failed.tolist(), seen.ways.good_s.tolist()) == ([0.0, 0.0, 3.0], [1.0, 0.5, 0.0])
    assert seen.edges.ended.tolist() == [6.0, 3.0]
    assert told.freeze(3.0).ways.node.size == 0


def test_a_restart_keeps_proxies_by_name_and_leaves_out_who_is_gone() -> None:
    told, ill = calm(), (40.0, 0.5, WORK_S)
    told.seconds(9, edge_1=ill)
    watch = Watch(MESH)
    watch._nodes = told.watch
    kept = checkpoint.decode(checkpoint.encode(watch.state()))
    other = Topology(1, SERVICES, (Node(0, "edge-1"), Node(1, "edge-7"), Node(2, "edge-0")))
    again = Watch(other)
    again.restore(kept, told.now)
    assert again._nodes.names == ["edge-0", "edge-1"]
    back = Through(again._nodes, other)
    back.now = told.now
    assert back.look(edge_1=ill) == [f"NodeFailing {place}" for place in BOTH]
    (since,) = {f.since_s for f in back.found}
    assert 60.0 < since <= told.now, "it is the trouble that it was"


def test_a_state_from_before_proxies_were_watched_is_taken_up_without_them() -> None:
    state = {name: part for name, part in Watch(MESH).state().items() if not name.startswith("node")}
    again = Watch(MESH)
    again.restore(state, 1.0)
    assert again._nodes.names == []


def test_a_state_of_another_shape_is_refused_with_a_reason() -> None:
    told = calm()
    with pytest.raises(ValueError, match="shape"):
        NodeWatch(told.watch.names[:2]).restore(told.watch.state(), told.now)
