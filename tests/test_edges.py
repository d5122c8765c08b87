"""Edges: who calls whom, what one caller suffers alone, and what is told of it, as dialogues."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from brain.apart import SILENT_S
from brain.edge_watch import EdgeWatch
from brain.watch import Watch
from dataplane.contract import Endpoint, Node, Outcome, Service, Topology
from features.columns import EdgeFeatures
from features.dialogue import Told
from models.alone import Alone, Beside
from weirflow import checkpoint

SHOP, STORE = Service(0, "shop", (Endpoint(0, "10.0.0.1:80"),)), Service(1, "store", (Endpoint(1, "10.0.1.1:80"),))
SIDECARS = (Node(0, "edge"), Node(1, "shop-1", service="shop"), Node(3, "shop-2", service="shop"))
MESH = Topology(1, (SHOP, STORE), SIDECARS)
S = 1  # the endpoint of store


def spoke(seen: EdgeFeatures) -> dict[tuple[str, int], tuple[float, ...]]:
    """What ended, failed and was good, and the seconds, by caller and service."""
    rows = zip(seen.caller, seen.service, seen.ended, seen.failed, seen.good, seen.good_s, strict=True)
    return {(seen.callers[c], int(s)): tuple(map(float, figures)) for c, s, *figures in rows}


# What telemetry says of it.


def test_a_caller_is_whom_the_proxy_stands_beside_and_those_beside_nobody_are_one() -> None:
    told = Told(MESH)
    told.attempts(1.0, S, n=5, took=0.5, node=0)
    told.attempts(1.0, S, n=2, took=0.25, node=1)
    told.attempts(1.0, S, n=3, took=0.25, node=3)
    assert spoke(told.freeze(2.0).edges) == {("", 1): (5, 0, 5, 2.5), ("shop", 1): (5, 0, 5, 1.25)}


def test_who_does_not_speak_has_no_row_and_no_zero() -> None:
    told = Told(MESH)
    told.attempts(1.0, S, node=1)
    assert set(spoke(told.freeze(2.0).edges)) == {("shop", 1)}
    assert spoke(told.freeze(3.0).edges) == {}


def test_what_ended_badly_counts_for_its_caller_what_a_limit_refused_does_not_and_who_left_has_not_failed() -> None:
    told = Told(MESH)
    for outcome, n in ((Outcome.ERROR, 4), (Outcome.TIMEOUT, 3), (Outcome.REJECTED, 9), (Outcome.CANCELLED, 2)):
        told.felt(1.0, outcome, n=n, service=1, node=3)
    assert spoke(told.freeze(2.0).edges) == {("shop", 1): (9, 7, 0, 0)}


def test_rows_of_nodes_and_services_that_nobody_knows_are_passed_over() -> None:
    told = Told(MESH)
    for node in (-7, -1, 2, 4, 99, np.iinfo(np.int32).max):
        told.attempts(1.0, S, node=node)
        told.felt(1.0, Outcome.ERROR, service=1, node=node)
    told.attempts(1.0, S, node=1, service=7)
    told.attempts(1.0, S, node=1, service=-1)
    assert spoke(told.freeze(2.0).edges) == {}


def test_a_changed_membership_keeps_the_sums_of_who_stayed() -> None:
    told = Told(MESH)
    told.attempts(1.0, S, n=2, node=1)
    till = Service(2, "till", (Endpoint(2, "10.0.2.1:80"),))
    told.moved(1.5, Topology(2, (SHOP, STORE, till), (*SIDECARS[1:], Node(4, "till-1", service="till"))))
    told.attempts(1.6, S, n=1, node=3)
    told.attempts(1.6, 2, n=4, node=1)
    told.attempts(1.6, S, n=3, node=4)
    told.attempts(1.6, S, n=9, node=0)  # it left
    rows = {pair: figures[0] for pair, figures in spoke(told.freeze(2.0).edges).items()}
    assert rows == {("shop", 1): 3, ("shop", 2): 4, ("till", 1): 3}


# What is odd.

CALLERS = ("web", "cart", "jobs")
CALLED = Topology(1, (Service(0, "shop", ()),), tuple(Node(i, f"n{i}", service=c) for i, c in enumerate(CALLERS)))
WORK_S = 0.05
Row = tuple[float, float, float]  # how many ended, what part of them failed, how long the good ones took


class Calls:
    """What three callers ask of one service, second by second; each is silent unless said otherwise."""

    def __init__(self, watch: EdgeWatch | None = None, topology: Topology = CALLED) -> None:
        self.watch, self.topology, self.now = watch or EdgeWatch(), topology, 0.0

    def second(self, *rows: Row | None, service: int = 0) -> list[str]:
        """What is found of the pairs."""
        self.now += 1.0
        asked = [(i, *row) for i, row in enumerate(rows) if row is not None]
        who, ended, share, took = np.array(asked, dtype=np.float64).reshape(-1, 4).T
        good = ended * (1.0 - share)
        whom = np.full(who.size, service)
        seen = EdgeFeatures(CALLERS, who.astype(np.int64), whom, ended, ended * share, good, good * took)
        return [f"{f.kind} {f.place}" for f in self.watch.look(seen, self.topology, self.now)]

    def seconds(self, many: int, *rows: Row | None, service: int = 0) -> list[list[str]]:
        return [self.second(*rows, service=service) for _ in range(many)]


WELL: Row = (50.0, 0.0, WORK_S)


def calm(seconds: int = 60) -> Calls:
    told = Calls()
    assert not any(told.seconds(seconds, WELL, WELL, WELL))
    return told


def test_one_callers_requests_that_fail_while_others_do_not_are_its_edges() -> None:
    assert calm().seconds(3, WELL, (50.0, 0.2, WORK_S), WELL)[-1] == ["EdgeFailing cart to shop"]
    assert calm().seconds(15, WELL, (50.0, 0.02, WORK_S), WELL)[-1] == ["EdgeFailing cart to shop"]


def test_one_callers_requests_that_take_twice_as_long_while_others_do_not_are_its_edges() -> None:
    assert calm().seconds(5, WELL, WELL, (50.0, 0.0, 2.4 * WORK_S))[-1] == ["EdgeSlow jobs to shop"]
    assert not any(calm().seconds(60, WELL, WELL, (50.0, 0.0, 1.4 * WORK_S)))


@pytest.mark.parametrize("ill", [(0.02, WORK_S), (0.2, WORK_S), (1.0, WORK_S), (0.0, 2.0 * WORK_S), (0.0, 9 * WORK_S)])
@pytest.mark.parametrize("asked", [(50.0, 50.0, 50.0), (300.0, 10.0, 3.0), (20.0, 1.0, 200.0)])
def test_what_all_callers_suffer_is_no_edges_however_unlike_their_traffic_is(
    ill: tuple[float, float], asked: Any
) -> None:
    told, (share, took) = Calls(), ill
    told.seconds(90, *((n, 0.0, WORK_S) for n in asked))
    assert not any(told.seconds(60, *((n, share, took) for n in asked)))


def test_it_is_no_edges_when_chance_lets_one_caller_suffer_first_or_last_but_once_in_fifty() -> None:
    """Exponential work and failures by the dice, a hundred services at once, of which one caller asks most.

    All fail a fifth for ten seconds, later are slow for fifteen, and then fail two in a hundred for forty.
    """
    rng, many, found = np.random.default_rng(5), 100, set[str]()
    services = tuple(Service(i, f"s{i}", ()) for i in range(many))
    topology, watch = Topology(1, services, CALLED.nodes), EdgeWatch()
    caller, service = (a.ravel() for a in np.meshgrid(np.arange(3), np.arange(many), indexing="ij"))
    mean = np.array([60.0, 12.0, 3.0])[caller]
    for second in range(200):
        slow = 2.2 if 120 <= second < 135 else 1.0
        fails = 0.2 if 90 <= second < 100 else 0.02 if second >= 160 else 0.002
        ended = rng.poisson(mean).astype(np.float64)
        failed = rng.binomial(ended.astype(np.int64), fails).astype(np.float64)
        good = ended - failed
        spent = np.where(good > 0, rng.gamma(np.maximum(good, 1e-9), slow * WORK_S), 0.0)
        rows = ended > 0
        columns = (c[rows] for c in (caller, service, ended, failed, good, spent))
        found |= {f.service for f in watch.look(EdgeFeatures(CALLERS, *columns), topology, float(second))}
    assert len(found) <= many / 50


def test_callers_that_ask_for_unlike_things_are_held_against_their_own_usual_and_their_mix_is_no_news() -> None:
    told, light, heavy = Calls(), (90.0, 0.0, 0.01), (10.0, 0.0, 1.0)
    told.seconds(60, light, heavy, WELL)
    assert not any(told.seconds(60, (10.0, 0.0, 0.01), (90.0, 0.0, 1.0), WELL))
    assert told.seconds(5, (10.0, 0.0, 0.03), (90.0, 0.0, 1.0), WELL)[-1] == ["EdgeSlow web to shop"]


def test_who_calls_alone_has_no_edge_and_others_that_fell_silent_say_nothing() -> None:
    told = Calls()
    told.seconds(60, WELL)
    assert not any(told.seconds(60, (50.0, 1.0, WORK_S)))
    assert not any(calm().seconds(60, (50.0, 1.0, WORK_S), None, None))


def test_others_are_held_against_the_failures_that_are_usual_of_them() -> None:
    told = Calls()
    for part in range(1, 16):  # so slowly that it is no burst
        told.seconds(120, (50.0, part / 1000, WORK_S), WELL, (5.0, 0.0, WORK_S))
    rest = (50.0, 0.015, WORK_S), (5.0, 0.0, WORK_S)
    assert told.seconds(6, rest[0], (50.0, 0.2, WORK_S), rest[1])[-1] == ["EdgeFailing cart to shop"]


def test_one_tick_in_which_the_others_were_quick_does_not_settle_that_they_are_well() -> None:
    told, slow = calm(), (50.0, 0.0, 2.4 * WORK_S)
    assert not told.second(slow, WELL, WELL)
    assert not any(told.seconds(20, slow, None, None))


# Alone, or with all the others.


def alone(*steps: tuple[bool, float, float]) -> list[bool]:
    """What is said after each: whether it is odd by itself, and the evidence that it is, and that the others are."""
    test = Alone(1)
    return [bool(test.learn_many(np.array([o]), np.array([own]), np.array([rest]))[0]) for o, own, rest in steps]


def test_who_is_found_to_be_alone_is_so_until_it_is_proven_wrong_and_the_other_way_round() -> None:
    assert alone((True, 9.0, -5.0), (True, 9.0, 9.0), (True, 9.0, 2.0)) == [True, True, False]
    assert alone((True, 9.0, 5.0), (True, 9.0, -9.0), (True, 9.0, -2.0)) == [False, False, True]
    assert alone((True, 9.0, -5.0), (False, 0.0, 0.0), (True, 9.0, np.nan))[1] is False


def test_where_both_are_likely_enough_it_is_none_that_is_odd_alone() -> None:
    assert alone((False, 4.0, -8.0), (False, 4.0, -8.0), (True, 4.0, 4.0)) == [False, False, False]


def test_a_long_trouble_leaves_no_more_evidence_than_a_short_one() -> None:
    long, over = [(True, 9.0, -5.0)] * 100, [(False, -1.0, -5.0)] * 12
    assert alone(*long, *over, (True, 9.0, np.nan))[-1] is False


# Beside others that are well.


@pytest.mark.parametrize("ill", [(50.0, 0.02, WORK_S), (50.0, 0.2, WORK_S), (50.0, 1.0, WORK_S)])
def test_two_callers_of_three_that_fail_are_both_told_of_as_the_third_is_well(ill: Row) -> None:
    both = ["EdgeFailing web to shop", "EdgeFailing cart to shop"]
    assert calm().seconds(30, ill, ill, WELL)[-1] == both


def test_two_callers_of_three_that_are_slow_are_both_told_of_as_the_third_is_well() -> None:
    ill = (50.0, 0.0, 2.4 * WORK_S)
    assert calm().seconds(20, ill, ill, WELL)[-1] == ["EdgeSlow web to shop", "EdgeSlow cart to shop"]


def test_they_are_edges_no_more_when_the_last_that_was_well_suffers_too() -> None:
    for ill in ((50.0, 0.5, WORK_S), (50.0, 0.0, 5 * WORK_S)):
        told = calm()
        assert told.seconds(30, ill, ill, WELL)[-1]
        assert not any(told.seconds(20, ill, ill, ill)[10:])


def test_one_that_says_too_little_of_its_being_well_clears_nobody() -> None:
    told, ill = calm(), (50.0, 0.2, WORK_S)
    assert not any(told.seconds(20, ill, ill, (1.0, 0.0, WORK_S)))


def beside(*steps: tuple[bool, float, float]) -> list[bool]:
    """What is said after each: whether it is odd by itself, the evidence of that, and that those left are odd."""
    test = Beside(1)
    return [bool(test.learn_many(np.array([o]), np.array([own]), np.array([well]))[0]) for o, own, well in steps]


def test_who_is_odd_beside_others_stays_so_while_they_are_in_doubt_and_until_there_is_nobody_left() -> None:
    assert beside((True, 9.0, -9.0), (True, 9.0, -1.0), (True, 9.0, np.nan), (True, 9.0, 3.0)) == [False, *3 * [True]]
    assert beside((True, 9.0, -9.0), (True, 9.0, -9.0), (True, 9.0, np.inf), (True, 9.0, -9.0))[2:] == [False, False]


def test_what_was_shown_in_an_earlier_trouble_is_no_evidence_in_the_next_one() -> None:
    trouble, over = [(True, 9.0, -5.0)] * 9, [(False, -2.0, -5.0)] * 9
    assert beside(*trouble, *over, (True, 9.0, -5.0))[-1] is False


def test_an_edge_is_well_again_when_its_requests_are() -> None:
    told = calm()
    told.seconds(30, WELL, (50.0, 1.0, WORK_S), WELL)
    told.seconds(4, WELL, WELL, WELL)
    assert not any(told.seconds(10, WELL, WELL, WELL))


def test_an_edge_is_none_any_more_when_all_suffer_as_it_did() -> None:
    told, ill = calm(), (50.0, 0.5, WORK_S)
    assert told.seconds(5, WELL, ill, WELL)[-1]
    assert not any(told.seconds(10, ill, ill, ill)[2:])


def test_of_a_silent_edge_nothing_is_told_after_a_while_and_what_was_odd_of_it_stays_known() -> None:
    told, ill = calm(), (50.0, 0.5, WORK_S)
    assert told.seconds(5, WELL, ill, WELL)[-1]
    silent = told.seconds(int(SILENT_S) + 5, WELL, None, WELL)
    assert silent[0]
    assert not silent[-1]
    assert told.second(WELL, (5.0, 0.4, WORK_S), WELL), "it needs no new evidence"


def test_an_edge_to_a_service_that_left_is_told_of_no_more() -> None:
    told, ill = calm(), (50.0, 0.5, WORK_S)
    assert told.seconds(5, WELL, ill, WELL)[-1]
    told.topology = Topology(2, (Service(1, "cart", ()),), CALLED.nodes)
    assert not told.second(WELL, ill, WELL)


def test_a_young_edge_is_not_slow() -> None:
    told = Calls()
    told.seconds(60, WELL, WELL)
    told.seconds(10, WELL, WELL, WELL)
    assert not any(told.seconds(10, WELL, WELL, (50.0, 0.0, 3 * WORK_S)))


def test_a_finding_says_who_asked_how_much_it_touches_and_what_is_usual() -> None:
    told = calm()
    told.seconds(10, WELL, (50.0, 0.2, WORK_S), WELL)
    seen = EdgeFeatures(
        CALLERS, np.arange(3), np.zeros(3, np.int64), *np.array([[50.0, 50, 50], [0, 10, 0], [50, 40, 50], [1, 1, 1]])
    )
    (finding,) = told.watch.look(seen, CALLED, 71.0)
    assert (finding.service, finding.caller, finding.endpoint) == ("shop", "cart", "")
    assert finding.value == pytest.approx(0.2, rel=0.15)
    assert (finding.low, finding.high) == (0.0, 0.02)
    assert finding.harm == pytest.approx(0.2 / 3, rel=0.15)
    assert finding.said.startswith("asked by cart, shop fails ")


# Over a restart.


def test_a_restart_keeps_pairs_by_name_and_leaves_out_who_is_gone() -> None:
    told, ill = calm(), (50.0, 0.5, WORK_S)
    told.seconds(5, WELL, ill, WELL)
    watch = Watch(CALLED)
    watch._edges = told.watch
    kept = checkpoint.decode(checkpoint.encode(watch.state()))
    assert kept["edge_names"] == [["web", "shop"], ["cart", "shop"], ["jobs", "shop"]]

    watch.moved(Topology(2, CALLED.services, CALLED.nodes[:2]))
    assert watch.state()["edge_names"] == [["web", "shop"], ["cart", "shop"]], "jobs has left"

    moved = (Node(0, "a", service="cart"), Node(1, "b", service="jobs"))
    other = Topology(1, (Service(0, "till", ()), Service(1, "shop", ())), moved)
    again = Watch(other)
    again.restore(kept, told.now)
    assert again._edges.pairs == [("cart", "shop"), ("jobs", "shop")]
    back = Calls(again._edges, other)
    back.now = told.now
    assert back.second(None, ill, WELL, service=1) == ["EdgeFailing cart to shop"]
    (since,) = {f["since_EdgeFailing"][0] for f in [again.state()["edges"]["own"]]}
    assert 60.0 < since <= told.now, "it is the trouble that it was"


def test_a_watch_gives_back_the_edges_that_it_took_up() -> None:
    told = calm()
    told.seconds(5, WELL, (50.0, 0.5, WORK_S), (50.0, 0.0, 3 * WORK_S))
    again = EdgeWatch(told.watch.pairs)
    again.restore(told.watch.state(), told.now)
    assert checkpoint.encode(again.state()) == checkpoint.encode(told.watch.state())


def test_a_state_from_before_edges_were_watched_is_taken_up_without_them() -> None:
    state = Watch(CALLED).state()
    again = Watch(CALLED)
    again.restore({name: part for name, part in state.items() if not name.startswith("edge")} | {
        name: state[name] for name in ("endpoint_names",)}, 1.0)  # fmt: skip
    assert again._edges.pairs == []


def test_a_state_of_edges_of_another_shape_is_refused_with_a_reason() -> None:
    told = calm()
    state = told.watch.state()
    with pytest.raises(ValueError, match="shape"):
        EdgeWatch(told.watch.pairs[:2]).restore(state, told.now)
