"""An emulated endpoint, in virtual time: what `dataplane.simulated.fleet` says it does with a request."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.simulated.fleet import Fleet
from weirflow.lab.endpoint import Endpoint, Piece, pieces


class Timers:
    """A clock whose time passes only in `run`."""

    def __init__(self) -> None:
        self.time = 0.0
        self.early_s = 0.0
        self._count = itertools.count()
        self._due: list[tuple[float, int, Callable[..., None], Any]] = []

    def now(self) -> float:
        return self.time

    def at(self, when_s: float, call: Callable[..., None], *told: Any) -> None:
        heapq.heappush(self._due, (when_s - self.early_s, next(self._count), call, told))

    def run(self) -> None:
        while self._due:
            self.time, _, call, told = heapq.heappop(self._due)
            call(*told)


@dataclass
class Person:
    timers: Timers
    demand_s: float = 1.0
    luck: float = 0.5
    gone: bool = False
    told: list[tuple[float, int, bool]] = field(default_factory=list)

    def answer(self, status: int, *, empty: bool = False) -> None:
        self.told.append((round(self.timers.now(), 9), status, empty))


@dataclass
class Story:
    """Who came when, to one endpoint."""

    workers: int
    life: Sequence[Piece] = (Piece(),)

    def __post_init__(self) -> None:
        self.timers = Timers()
        self.endpoint = Endpoint(self.workers, self.life, self.timers)

    def comes(self, at_s: float, demand_s: float = 1.0, luck: float = 0.5, gone_s: float = math.inf) -> Person:
        who = Person(self.timers, demand_s, luck)
        self.timers.at(at_s, self.endpoint.ask, who)
        if gone_s < math.inf:
            self.timers.at(gone_s, lambda: setattr(who, "gone", True))
        return who

    def ends(self, *people: Person) -> list[list[tuple[float, int, bool]]]:
        self.timers.run()
        return [p.told for p in people]


def test_two_workers_serve_two_and_the_third_waits_for_the_first_to_end() -> None:
    story = Story(workers=2)
    people = [story.comes(0.0, 3.0), story.comes(0.1, 1.0), story.comes(0.2, 1.0)]
    assert story.ends(*people) == [[(3.0, 200, False)], [(1.1, 200, False)], [(2.1, 200, False)]]


def test_work_goes_at_the_speed_that_was_in_force_when_it_began() -> None:
    story = Story(1, [Piece(), Piece(since_s=1.0, speed=0.5)])
    people = [story.comes(0.9, 1.0), story.comes(1.0, 1.0)]
    assert story.ends(*people) == [[(1.9, 200, False)], [(3.9, 200, False)]]


def test_a_slow_network_holds_no_worker() -> None:
    story = Story(1, [Piece(extra_s=10.0)])
    people = [story.comes(0.0), story.comes(0.0)]
    assert story.ends(*people) == [[(11.0, 200, False)], [(12.0, 200, False)]]


def test_who_has_bad_luck_is_refused_at_once_and_costs_no_work() -> None:
    story = Story(1, [Piece(error_share=0.3, status=503, after_s=0.25)])
    people = [story.comes(0.0, 4.0), story.comes(1.0, luck=0.29), story.comes(1.0, 1.0, luck=0.3)]
    assert story.ends(*people) == [[(4.0, 200, False)], [(1.25, 503, False)], [(5.0, 200, False)]]


def test_a_failure_with_status_200_has_an_empty_body() -> None:
    story = Story(1, [Piece(error_share=1.0, status=200, after_s=0.001)])
    assert story.ends(story.comes(1.0)) == [[(1.001, 200, True)]]


def test_while_it_hangs_nothing_ends_and_nothing_begins_and_then_all_of_it_in_order() -> None:
    story = Story(1, [Piece(), Piece(since_s=0.5, hang=True), Piece(since_s=5.0)])
    people = [story.comes(0.0, 1.0), story.comes(0.1, 1.0), story.comes(2.0, 1.0), story.comes(2.1, 1.0)]
    assert story.ends(*people) == [
        [(5.0, 200, False)],
        [(6.0, 200, False)],
        [(7.0, 200, False)],
        [(8.0, 200, False)],
    ]


def test_a_failure_under_way_is_held_back_by_a_hang_as_well() -> None:
    story = Story(1, [Piece(error_share=1.0, after_s=0.2), Piece(since_s=0.1, hang=True), Piece(since_s=2.0)])
    assert story.ends(story.comes(0.0)) == [[(2.0, 503, False)]]


def test_a_timer_that_fires_a_nanosecond_early_ends_the_hang_all_the_same() -> None:
    story = Story(1, [Piece(since_s=0.0, hang=True), Piece(since_s=2.0)])
    early = Timers()
    early.early_s = 1e-9  # asyncio's loop takes its clock's resolution off
    story.timers = early
    story.endpoint = Endpoint(1, story.life, early)
    assert story.ends(story.comes(1.0, 0.5)) == [[(pytest.approx(2.5), 200, False)]]


def test_a_hang_that_never_ends_answers_nobody() -> None:
    story = Story(1, [Piece(), Piece(since_s=0.5, hang=True)])
    assert story.ends(story.comes(0.0), story.comes(0.6)) == [[], []]


def test_who_leaves_before_the_work_begins_takes_it_away() -> None:
    story = Story(1)
    people = [story.comes(0.0, 2.0), story.comes(0.1, 50.0, gone_s=1.0), story.comes(0.2, 1.0)]
    assert story.ends(*people) == [[(2.0, 200, False)], [], [(3.0, 200, False)]]


def test_who_leaves_after_the_work_began_leaves_it_there() -> None:
    story = Story(1)
    people = [story.comes(0.0, 2.0, gone_s=1.0), story.comes(0.2, 1.0)]
    assert story.ends(*people) == [[], [(3.0, 200, False)]]


def test_its_load_is_told_as_a_mean_over_about_a_second() -> None:
    story = Story(2)
    for i in range(200):
        story.comes(0.1 * i, 0.1)  # one of two workers, always busy: ten answers a second
    seen: list[tuple[float, float, float]] = []
    story.timers.at(20.0, lambda: seen.append(story.endpoint.load()))
    story.timers.run()
    busy, rate, errors = seen[0]
    assert busy == pytest.approx(0.5, abs=0.01)
    assert rate == pytest.approx(10.0, rel=0.1)
    assert errors == 0


def test_failures_count_in_its_load_and_empty_answers_do_not_look_like_any() -> None:
    loads = []
    for status in (503, 200):
        story = Story(1, [Piece(error_share=1.0, status=status)])
        story.comes(0.0)
        story.timers.run()
        loads.append(story.endpoint.load()[2])
    assert loads == [pytest.approx(1.0, rel=0.01), 0.0]


def by_recursion(workers: int, life: Sequence[Piece], came: Sequence[tuple[float, float, float]]) -> list[float]:
    """The same, without events: in one queue, who comes settles at once when their work begins and ends."""

    def piece(t: float) -> Piece:
        return [p for p in life if p.since_s <= t][-1]

    def thawed(t: float) -> float:
        while piece(t).hang:
            later = [p.since_s for p in life if p.since_s > t]
            if not later:
                return math.inf
            t = later[0]
        return t

    free = [0.0] * workers
    ends = []
    for at_s, demand_s, luck in came:
        reached = thawed(at_s)
        if reached == math.inf:
            ends.append(math.inf)
        elif luck < piece(reached).error_share:
            ends.append(thawed(reached + piece(reached).after_s))
        else:
            first = free.index(min(free))
            begins = thawed(max(reached, free[first]))
            if begins < math.inf:
                free[first] = thawed(begins + demand_s / piece(begins).speed)
                ends.append(free[first] + piece(begins).extra_s)
            else:
                ends.append(math.inf)
    return ends


# Times on unlike grids, so that no two things happen at one moment: their order is not laid down.
LIVES = st.lists(
    st.builds(
        lambda speed, extra, share, hang: Piece(0.0, speed, extra, share, 503, 0.0107, hang),
        st.sampled_from([0.37, 1.0, 2.3]),
        st.sampled_from([0.0, 0.213]),
        st.sampled_from([0.0, 0.4]),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
).map(lambda told: [Piece(i * 1.7003, *(getattr(p, n) for n in Piece.__slots__[1:])) for i, p in enumerate(told)])
CAME = st.lists(
    st.tuples(st.integers(1, 900), st.integers(1, 300), st.sampled_from([0.1, 0.7])),
    min_size=1,
    max_size=40,
    unique_by=lambda c: c[0],
).map(lambda told: [(a * 0.0100007, d * 0.00990011, u) for a, d, u in sorted(told)])


@given(st.integers(1, 3), LIVES, CAME)
def test_events_and_recursion_agree_on_every_end(
    workers: int, life: list[Piece], came: list[tuple[float, float, float]]
) -> None:
    story = Story(workers, life)
    people = [story.comes(*c) for c in came]
    ends = [told[0][0] if told else math.inf for told in story.ends(*people)]
    assert ends == pytest.approx(by_recursion(workers, life, came), abs=1e-6)


def test_a_life_is_read_from_a_fleet_without_its_unused_pieces() -> None:
    one = {"workers": np.array([2]), "weight": np.array([1]), "group": np.array([0])}
    fleet = Fleet(
        names=("a",),
        zones=("",),
        joins_s=np.zeros(1),
        leaves_s=np.full(1, np.inf),
        since_s=np.array([[0.0, 3.0, np.inf]]),
        speed=np.array([[1.0, 0.5, 1.0]]),
        extra_s=np.array([[0.0, 0.1, 0.0]]),
        error_share=np.array([[0.0, 0.2, 0.0]]),
        status=np.array([[503, 200, 503]]),
        after_s=np.array([[0.0, 0.01, 0.0]]),
        hang=np.array([[False, True, False]]),
        **one,
    )
    assert pieces(fleet, 0) == (Piece(after_s=0.0), Piece(3.0, 0.5, 0.1, 0.2, 200, 0.01, True))
