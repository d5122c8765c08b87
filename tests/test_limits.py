"""Limits: what a service can work on, and what can wait and still be in time."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain.asked import Asked
from brain.limits import IDLE_NEVER, NEWS, STAYS_ARMED_S, Limit, Limiter, at_node, bearing
from brain.settings import Limits, Mode, Settings
from brain.view import View
from tests.test_weights import loaded
from weirflow.lab.draw import draw
from weirflow.lab.files import load
from weirflow.lab.simulate import simulate

EVEN = np.array([1.0, 1.0, 1.0, 1.0])


def service(capacity: tuple[float, ...] = (40.0,) * 10, lanes: float = 4.0, **more: object) -> View:
    """Ten endpoints of 4 workers that take 100 ms: they bear 400 requests a second and work on 40."""
    v = loaded(list(capacity), 0.5, lanes=lanes)
    return replace(v, **{"lanes_high": lanes, "ok_per_s": more.get("rate_per_s", v.rate_per_s)} | more)


CALM, CROWD = Asked(200.0, 6.0, refused=False), Asked(560.0, 10.0, refused=False)


class Served:
    """A service that is asked too much, and its limiter, second by second."""

    def __init__(self, goal_s: float | None = 1.0, patience_s: float = np.inf) -> None:
        self.limiter, self.goal_s, self.patience_s, self.now = Limiter(), goal_s, patience_s, 0.0

    def limit(self, view: View, asked: Asked = CROWD, carried: np.ndarray = EVEN, after_s: float = 1.0) -> Limit | None:
        self.now += after_s
        return self.limiter.limit(view, carried, asked, self.goal_s, self.patience_s, Limits(), self.now)


def test_as_many_may_wait_as_are_answered_within_the_goal() -> None:
    found = bearing(service(), goal_s=1.0, goal_times=10.0)
    assert (found.bears_per_s, found.working, found.goal_s) == (400.0, 40.0, 1.0)
    assert found.most_open == pytest.approx(40 + 400 * (0.85 - 0.46))
    assert found.stay_s == pytest.approx(0.85 - 0.36), "what is left when 99 of 100 take no more than that"


def test_without_a_goal_of_its_own_a_service_has_ten_times_its_mean_work() -> None:
    assert bearing(service(), None, 10.0) == bearing(service(), 1.0, 10.0)


def test_no_goal_is_longer_than_the_patience_of_those_who_ask() -> None:
    for goal_s in (None, 5.0):
        assert Served(goal_s, patience_s=0.8).limit(service()) == Served(0.8).limit(service())


def test_a_goal_that_the_work_alone_exceeds_leaves_no_worker_idle() -> None:
    found = bearing(service(), 0.01, 10.0)
    assert found.most_open == IDLE_NEVER * found.working


def test_where_nothing_ever_queued_there_is_no_limit() -> None:
    for lanes in (np.nan, 0.0):
        assert bearing(replace(service(), lanes_high=lanes), 1.0, 10.0) is None
    assert Served().limit(service(ready=False)) is None
    assert Limiter().limit(service(), EVEN, CROWD, 1.0, np.inf, Limits(enabled=False), 1.0) is None
    assert Served().limit(service(), carried=np.zeros(4)) is None


def test_as_long_as_it_is_not_sure_how_many_are_worked_on_the_limit_is_for_the_most_that_may_be() -> None:
    sure, unsure = service(), replace(service(), lanes_high=16.0)
    assert bearing(unsure, 2.0, 10.0).most_open == pytest.approx(bearing(sure, 2.0, 10.0).most_open + 10 * 12)


def test_while_no_more_is_asked_than_is_borne_nobody_is_held_to_it() -> None:
    served = Served()
    calm = served.limit(service(), CALM)
    assert (calm.total, calm.armed, calm.runtime(critical=True)) == (196, False, {})
    assert not served.limit(service(), Asked(405.0, 10.0, refused=False)).armed, "that may be luck"
    assert served.limit(service(), CROWD).armed


def test_what_gets_done_is_borne_whatever_is_believed() -> None:
    assert not Served().limit(service(rate_per_s=np.full(10, 53.0)), CROWD).armed, "30 a second more may be luck"
    assert Served().limit(service(rate_per_s=np.full(10, 51.0)), CROWD).armed


def test_what_times_out_was_asked_for_and_not_done() -> None:
    storm = service(rate_per_s=np.full(10, 56.0), ok_per_s=np.full(10, 10.0))
    assert Served().limit(storm).armed


def test_what_all_fail_alike_they_work_on_all_the_same() -> None:
    # Half of what they do times out, so that good answers are a quarter of what they would be; one hangs as well.
    healthy, storm = service(), service((10.0,) * 9 + (0.001,), service_s=np.full(10, 0.1))
    assert bearing(storm, 1.0, 10.0).bears_per_s == pytest.approx(
        0.9 * bearing(healthy, 1.0, 10.0).bears_per_s, rel=0.01
    )


def test_it_holds_for_ten_seconds_after_the_last_sign_of_a_shortage() -> None:
    served = Served()
    assert served.limit(service(), CROWD).armed
    assert served.limit(service(), CALM, after_s=STAYS_ARMED_S).armed
    assert not served.limit(service(), CALM, after_s=0.1).armed


def test_twice_as_much_open_as_it_allows_says_that_it_is_short_whatever_it_is_believed_to_bear() -> None:
    at = lambda n: service(in_flight=np.full(10, n), rate_per_s=np.full(10, 17.0))  # noqa: E731
    assert not Served().limit(at(39.0), CALM).armed
    assert Served().limit(at(40.0), CALM).armed


def stays(seconds: float) -> View:
    """Four hundred answers a second, each after so long."""
    return service(rate_per_s=np.full(10, 40.0), in_flight=np.full(10, 40.0 * seconds))


def test_a_limit_that_is_too_low_rises_until_those_admitted_stay_as_long_as_it_means_them_to() -> None:
    # The endpoints work on four times what is believed, so half of them idle, and nobody waits.
    served, refusing = Served(), replace(CROWD, refused=True)
    first = served.limit(stays(0.1), refusing)
    for _ in range(20):
        last = served.limit(stays(0.1), refusing)
    assert last.total == pytest.approx(first.total * math.exp(2.0), rel=0.2)
    for _ in range(20):
        assert served.limit(stays(0.45), refusing) == last, "about what it means"


def test_a_limit_falls_while_those_admitted_stay_too_long_but_never_below_what_is_worked_on() -> None:
    served = Served()
    first = served.limit(stays(0.45))
    assert served.limit(stays(0.9), after_s=3.0).total == pytest.approx(first.total * math.exp(-0.3), abs=1)
    for _ in range(60):
        last = served.limit(stays(0.9))
    assert 40 <= last.total < 40 * (1 + NEWS)


def test_a_limit_that_fell_idles_no_worker_when_the_service_bears_less() -> None:
    served = Served()
    for _ in range(60):
        served.limit(stays(0.9))
    slower = service((20.0,) * 10, rate_per_s=np.full(10, 20.0), in_flight=np.full(10, 20.0 * 0.4))
    assert served.limit(slower).total >= 40


def test_critical_requests_may_have_all_that_keeps_the_goal_and_the_rest_what_they_leave() -> None:
    served = Served()
    served.limit(stays(0.45))
    for _ in range(8):
        found = served.limit(stays(0.9))
    rest, critical = (sum(at.values()) for at in (found.by_node, found.critical))
    assert critical == pytest.approx(196, rel=0.3)
    assert rest < 0.6 * critical
    told = found.runtime(critical=True)[0]
    assert (told["max_requests"], told["high.max_requests"]) == (found.by_node[0], found.critical[0])
    assert "high.max_requests" not in found.runtime()[0]


def test_a_limit_that_refuses_nobody_is_not_corrected() -> None:
    served, quick = Served(), service(rate_per_s=np.full(10, 40.0), in_flight=np.full(10, 4.0))
    first = served.limit(quick)
    for _ in range(20):
        assert served.limit(quick) == first


def test_each_node_gets_its_part_and_the_luck_of_it() -> None:
    found = Served().limit(service(), carried=np.array([3.0, 1.0, 0.0]))
    assert set(found.by_node) == {0, 1}
    assert found.total == 196
    assert found.by_node[0] == pytest.approx(147 + 12, abs=1)
    assert found.by_node[1] == pytest.approx(49 + 7, abs=1)
    assert found.runtime()[1] == {"max_requests": found.by_node[1], "max_pending_requests": found.by_node[1]}


def test_one_of_a_hundred_nodes_may_have_what_it_would_have_by_chance_in_a_calm_service() -> None:
    rng = np.random.default_rng(4)
    assert at_node(196.0, 40.0, np.array([0.01, 0.0])).tolist()[1] == 0.0
    assert at_node(196.0, 40.0, np.array([0.01]))[0] > rng.poisson(0.4, 1_000_000).max()


def test_a_limit_stays_until_there_is_news() -> None:
    served = Served()
    first = served.limit(service())
    assert served.limit(service((42.0,) * 10), carried=EVEN * 1.05) == first
    halved = served.limit(service((20.0,) * 10))
    assert halved.total < 0.7 * first.total
    assert served.limit(service()).total == first.total


@given(
    st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=20),
    st.floats(1.0, 256.0),
    st.floats(1e-3, 3600.0) | st.none(),
    st.lists(st.floats(0.0, 1e6), min_size=1, max_size=20).filter(lambda c: sum(c) > 0),
)
def test_a_limit_never_idles_a_worker_whatever_is_asked(
    capacity: list[float], lanes: float, goal_s: float | None, carried: list[float]
) -> None:
    found = Served(goal_s).limit(service(tuple(capacity), lanes), Asked(1e9, 0.0, refused=True), np.array(carried))
    assert found.total >= lanes * len(capacity)
    assert sum(found.by_node.values()) >= found.total
    assert all(n >= 1 for n in found.by_node.values())


class Run:
    """A lab scenario in virtual time, by phase."""

    def __init__(self, name: str, seed: int, *, limits: bool = True) -> None:
        self.scenario = load(name)
        fleet, self.trace = draw(self.scenario, np.random.default_rng((seed,)), 4)
        settings = Settings(mode=Mode.ADAPTIVE, share_percent=99.0, limits=Limits(enabled=limits))
        random = np.random.default_rng((seed, 1))
        self.fate = simulate(self.scenario, "weirflow", fleet, self.trace, random, nodes=4, settings=settings).fate
        self.bears_per_s = float(fleet.capacity(0.0).sum() / self.trace.demand_s.mean())

    def good_per_s(self, name: str) -> float:
        return float(self.fate.ok[self._rows(name)].sum()) / self._lasts_s(name)

    def in_time_per_s(self, name: str) -> float:
        rows = self._rows(name)
        return float(
            (self.fate.ok & (self.fate.latency_s <= self.scenario.latency_goal_s))[rows].sum()
        ) / self._lasts_s(name)

    def refused(self, name: str) -> float:
        rows = self._rows(name)
        return float(((self.fate.endpoint < 0) & (self.fate.status == 503))[rows].mean())

    def admitted_p99_s(self, name: str) -> float:
        rows = self._rows(name)
        return float(np.quantile(self.fate.latency_s[rows & self.fate.ok], 0.99))

    def _phase(self, name: str) -> tuple[float, float]:
        return next((p.start_s, p.end_s) for p in self.scenario.phases if p.name == name)

    def _lasts_s(self, name: str) -> float:
        start_s, end_s = self._phase(name)
        return end_s - start_s

    def _rows(self, name: str) -> np.ndarray:
        start_s, end_s = self._phase(name)
        return (self.trace.at_s >= start_s) & (self.trace.at_s < end_s)


def test_in_a_crowd_of_1_4_times_what_is_borne_as_much_as_that_is_served_and_in_time() -> None:
    crowd = Run("overload", seed=71)
    assert crowd.refused("before") == 0.0
    assert crowd.good_per_s("crowd") >= 0.95 * crowd.bears_per_s
    assert crowd.admitted_p99_s("crowd") <= 1.5 * 2.4, "ten times the mean work, by a half"
    assert crowd.refused("after") < 0.02
    assert crowd.in_time_per_s("crowd") >= 0.95 * crowd.bears_per_s
    assert Run("overload", seed=71, limits=False).in_time_per_s("crowd") < 0.5 * crowd.bears_per_s


@pytest.mark.parametrize(
    ("name", "nodes", "seed"),
    [("homogeneous-90", 4, 72), ("hetero-124-90", 4, 72), ("gray-ten-times", 4, 72), ("cost", 10, 700)],
)
def test_a_service_that_is_not_short_of_anything_refuses_nobody(name: str, nodes: int, seed: int) -> None:
    scenario = load(name)
    fleet, trace = draw(scenario, np.random.default_rng((seed,)), nodes)
    settings, random = Settings(mode=Mode.ADAPTIVE, share_percent=99.0), np.random.default_rng((seed, 1))
    fate = simulate(scenario, "weirflow", fleet, trace, random, nodes=nodes, settings=settings).fate
    assert not ((fate.endpoint < 0) & (fate.status == 503)).any()
