"""The pick in C and the pick in Python are one: on the same state and luck both take the same member, step by step."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brain import tiers
from dataplane.build import PICK
from dataplane.envoy.process import VERSION
from dataplane.pick.policy import ENVOY_VERSION
from dataplane.simulated import arrays
from dataplane.simulated.leased_pick import (
    AHEAD,
    DRAWN,
    HEARD,
    LATE,
    SCANNED,
    TELLING,
    USUAL,
    hear,
    leased_pick,
    stretch,
)
from dataplane.simulated.picking import LEASED
from tests.compiled import chooser


class Member(ctypes.Structure):
    _fields_ = (
        ("id", ctypes.c_uint64),
        ("capacity", ctypes.c_double),
        ("lanes", ctypes.c_double),
        ("mean", ctypes.c_double),
        ("slow", ctypes.c_double),
        ("workers", ctypes.c_double),
        ("queue", ctypes.c_double),
        ("others", ctypes.c_double),
        ("usual", ctypes.c_double),
        ("heard_ms", ctypes.c_uint64),
        ("believed_ms", ctypes.c_uint64),
        ("due", ctypes.c_double),
        ("last", ctypes.c_uint64),
        ("at", ctypes.c_uint32),
        ("ahead", ctypes.c_uint32),
        ("sent", ctypes.c_uint64),
        ("ahead_ms", ctypes.c_uint64),
    )


class Crew(ctypes.Structure):
    _fields_ = (
        ("members", ctypes.POINTER(Member)),
        ("count", ctypes.c_uint32),
        ("turns", ctypes.c_bool),
        ("reports", ctypes.c_bool),
        ("picks", ctypes.c_uint64),
        ("capacity", ctypes.c_double),
        ("clock", ctypes.c_double),
        ("open", ctypes.c_double),
        ("until", ctypes.c_double),
    )


class Bars(ctypes.Structure):
    _fields_ = (("member", ctypes.c_uint32 * 8), ("count", ctypes.c_uint32))


OPEN = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.POINTER(Member))
DRAW = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p)


class Eyes(ctypes.Structure):
    _fields_ = (("open", OPEN), ("draw", DRAW), ("of", ctypes.c_void_p), ("now_ms", ctypes.c_uint64))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """`choose` and `hear` of choose.h."""
    found = chooser(tmp_path_factory.mktemp("pick"))
    found.pick_of.restype = ctypes.c_uint32
    found.heard.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_double, ctypes.c_double, ctypes.c_uint64]
    return found


class Both:
    """One crew in either language, and what it has open."""

    def __init__(
        self, library: ctypes.CDLL, capacities: Sequence[int], seed: int, lanes: float = 1.0, able: Sequence[float] = ()
    ) -> None:
        n, self.lanes, self.able = len(capacities), lanes, able
        self._library, self.open = library, [0] * n
        self.rng_c, self.rng_python = np.random.default_rng(seed), np.random.default_rng(seed)
        self.nodes = arrays.nodes(1, n, [LEASED, LEASED], np.random.default_rng(0))
        self.nodes.members[:] = True
        self.nodes.up[0, :n], self.nodes.node["ups"][0] = range(n), n
        self.members = (Member * n)()
        self.crew = Crew(self.members, n)
        self.eyes = Eyes(
            OPEN(lambda _, m: self.open[m.contents.at]), DRAW(lambda _: float(self.rng_c.random())), None, 1000
        )
        self.nodes.cluster["workers"] = self.nodes.cluster["believed_s"] = 2.0
        self.nodes.cluster["lanes"] = lanes
        self.weigh(capacities)

    def weigh(self, capacities: Sequence[int]) -> None:
        """New capacities: Python's arithmetic for both, as module.c does its own with Envoy's lists."""
        lanes = self.nodes.lane[0, 0]
        lanes["weight"] = capacities
        stretch(self.nodes, 0, 0)
        for at, member in enumerate(self.members):
            member.at, member.capacity, member.due = at, float(lanes["pace"][at]), float(lanes["deadline"][at])
            member.last = int(lanes["last"][at])
            member.lanes = self.lanes or 1.0  # 0 is not known, and 1 by module.c
            member.workers, member.believed_ms = 2.0, 2000
            member.slow = 1.0 / (self.able[at] if self.able else member.capacity)
            lanes["able"][at] = self.able[at] if self.able else 0.0
        self.crew.capacity, self.crew.clock = float(self.nodes.cluster["total"][0, 0]), 0.0

    def pick(self) -> tuple[int, int]:
        """By C, and by Python."""
        self.nodes.lane["open"][0, 0] = self.open
        c = self._library.pick_of(ctypes.byref(self.crew), ctypes.byref(Bars()), ctypes.byref(self.eyes))
        return c, leased_pick(self.nodes, 0, 0, self.now_s, self.rng_python)

    @property
    def now_s(self) -> float:
        """The time, in eighths of a second: exact in either language."""
        return float(self.eyes.now_ms) / 1000.0

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.eyes.now_ms += round(seconds * 1000)

    def is_known(self, i: int, queue: float) -> None:
        """The control plane tells that one has so many in progress at least."""
        self.members[i].queue = self.nodes.lane["queue"][0, 0, i] = queue

    def says(self, i: int, in_flight: float) -> None:
        """One has said in an answer what it has in progress."""
        self._library.heard(ctypes.byref(self.crew), i, in_flight, self.open[i], self.eyes.now_ms)
        self.nodes.lane["open"][0, 0] = self.open
        hear(self.nodes, 0, 0, i, in_flight, self.now_s)

    def states(self) -> tuple[list[float], list[float]]:
        """All that either remembers."""
        cluster, lanes = self.nodes.cluster[0, 0], self.nodes.lane[0, 0]
        crew = self.crew
        return (
            [crew.picks, crew.clock, crew.open, crew.turns, crew.reports]
            + [x for m in self.members for x in (m.due, m.last, m.mean, m.others, m.usual)],
            [cluster[name].item() for name in ("picks", "clock", "busy", "turns", "reports")]
            + [lane[name].item() for lane in lanes for name in ("deadline", "last", "mean", "others", "usual")],
        )


capacity = st.one_of(st.integers(1, 1000), st.sampled_from([1, 100, 2**32 - 1]))


@given(
    capacities=st.one_of(
        st.lists(capacity, min_size=1, max_size=12), st.lists(capacity, min_size=SCANNED - 1, max_size=SCANNED + 12)
    ),
    seed=st.integers(0, 2**32),
    lanes=st.sampled_from([0.0, 0.05, 0.4, 1.0, 1.7, 4.0]),
    busy=st.sampled_from([0, 0, 1, 4]),
    says=st.sampled_from([0.0, 0.1, 0.5]),
    split=st.booleans(),
    known=st.sampled_from([0.0, 4.0]),
    steps=st.integers(1, 120),
)
@settings(max_examples=80, deadline=None)
def test_c_and_python_pick_the_same_and_come_to_the_same_state(
    library: ctypes.CDLL,
    capacities: list[int],
    seed: int,
    lanes: float,
    busy: int,
    says: float,
    split: bool,
    known: float,
    steps: int,
) -> None:
    rng = np.random.default_rng(seed + 1)
    able = rng.integers(1, 1000, size=len(capacities)).tolist() if split else ()
    both = Both(library, capacities, seed, lanes, able)
    both.is_known(0, known)
    for step in range(steps):
        c, python = both.pick()
        assert c == python, f"pick {step}"
        assert 0 <= c < len(capacities)
        mine, theirs = both.states()
        assert mine == theirs, f"after pick {step}"
        both.open[c] += 1
        both.pass_s(0.125)
        for i in range(len(capacities)):
            if rng.random() < says:
                both.says(i, float(rng.integers(0, 6)))
        both.open = [max(0, n - int(rng.random() < 1.0 / (busy + 1))) for n in both.open]
        if step % 40 == 39:
            both.weigh([int(w) for w in rng.integers(1, 1000, size=len(capacities))])


def shares(both: Both, picks: int, open_of: Callable[[int], int]) -> list[int]:
    """How often each was picked, with that many open at each."""
    counts = [0] * len(both.open)
    for _ in range(picks):
        both.open = [open_of(i) for i in range(len(counts))]
        c, python = both.pick()
        assert c == python
        counts[c] += 1
    return counts


def test_with_nothing_open_turns_are_dealt_out_by_capacity(library: ctypes.CDLL) -> None:
    counts = shares(Both(library, [100, 200, 400], 1), 700, lambda _: 0)
    assert counts == pytest.approx([100, 200, 400], abs=2)


def test_a_push_of_new_capacities_restarts_nothing_so_the_weak_are_reached_however_often_one_comes(
    library: ctypes.CDLL,
) -> None:
    both, counts = Both(library, [10, 500, 490], 2), [0, 0, 0]
    for push in range(500):
        both.weigh([10, 500 + push % 2, 490 - push % 2])
        for _ in range(4):  # a schedule that began anew would never come to the first one's turn
            c, _ = both.pick()
            counts[c] += 1
    assert counts == pytest.approx([20, 1001, 979], abs=6)


def test_where_queues_tell_something_the_least_open_for_its_capacity_is_picked(library: ctypes.CDLL) -> None:
    both = Both(library, [100, 400], 3)
    both.open = [1, 6]
    for _ in range(200):  # until it is seen that there is something open
        both.pick()
    both.crew.members[0].last = both.crew.picks  # neither has been passed over for long
    both.nodes.lane["last"][0, 0] = both.nodes.cluster["picks"][0, 0]
    assert both.pick() == (1, 1), "(6 + 1) / 400 is less than (1 + 1) / 100"
    both.open = [0, 6]
    assert both.pick() == (0, 0), "(0 + 1) / 100 is less than (6 + 1) / 400"


def test_up_to_the_lanes_nobody_waits_so_speed_alone_counts_and_then_who_has_less_open(
    library: ctypes.CDLL,
) -> None:
    both = Both(library, [100, 300, 300], 3, lanes=4.0)
    both.open = [0, 3, 3]
    for _ in range(200):
        both.pick()
    for open_, best in (([0, 3, 2], 2), ([0, 2, 3], 1), ([0, 12, 12], 0)):
        both.open = open_
        assert both.pick() == (best, best), open_


def test_among_many_proxies_the_weak_and_idle_come_before_the_strong_where_one_of_ours_waits(
    library: ctypes.CDLL,
) -> None:
    """(1 + 0.1) / 400 is more than 0.1 / 100; by (1 + 1) / 400 against 1 / 100 all would send to the strong."""
    for lanes, taken in ((0.1, 0), (1.0, 1)):
        both = Both(library, [100, 400], 3, lanes=lanes)
        both.open = [0, 1]
        assert [both.pick() for _ in range(200)][-1] == (taken, taken)


def test_among_many_proxies_what_was_open_of_late_counts_where_nothing_is_open_now(library: ctypes.CDLL) -> None:
    for lanes, taken in ((0.1, {0}), (1.0, {0, 1})):
        both = Both(library, [100, 100, 100], 3, lanes=lanes)
        both.open = [0, 2, 2]
        for _ in range(60):
            both.pick()
        both.open = [0, 0, 2]
        assert {both.pick()[0] for _ in range(5)} == taken


def test_one_that_was_cut_is_asked_now_and_then_so_that_its_recovery_can_be_seen(library: ctypes.CDLL) -> None:
    counts = shares(Both(library, [1, 100, 100, 100], 4), 12_000, lambda i: 0 if i == 0 else 1)
    assert counts[0] == pytest.approx(12_000 * HEARD / 4, abs=1), "a hundredth of an even share"


def test_a_large_crew_is_not_scanned_but_the_eight_next_in_turn_are(library: ctypes.CDLL) -> None:
    both = Both(library, [1] * (SCANNED + 36), 5)
    asked: list[int] = []
    both.open = [3] * len(both.open)
    both.eyes.open = OPEN(lambda _, m: asked.append(m.contents.at) or 3)  # type: ignore[func-returns-value]
    for _ in range(64):
        both.pick()
    asked.clear()
    both.pick()
    assert both.crew.open > TELLING
    assert len(asked) == DRAWN


def test_who_said_that_it_will_answer_sooner_is_taken_before_its_turn_and_pays_with_its_next_one(
    library: ctypes.CDLL,
) -> None:
    both = Both(library, [100, 100, 100], 7)
    order = [both.pick()[0] for _ in range(3)]
    for i in order:
        both.says(i, 8.0)
    both.says(order[1], 1.0)
    assert both.pick() == (order[1], order[1]), "the others have eight waiting"
    for i in order:
        both.says(i, 8.0)
    assert [both.pick()[0] for _ in range(2)] == [order[0], order[2]], "its turn is spent"


def test_where_turns_are_a_split_words_are_weighed_by_the_capacities_told_beside_it(library: ctypes.CDLL) -> None:
    both = Both(library, [300, 100], 7, able=[200.0, 100.0])
    for _ in range(2):
        both.says(0, 4.0)
        both.says(1, 1.0)
        assert both.pick() == (1, 1), "(4 + 1) / 300 would be less than (1 + 1) / 100, but it bears 200"


def test_nobody_is_believed_to_have_less_than_is_known(library: ctypes.CDLL) -> None:
    both = Both(library, [100, 100, 100], 7)
    order = [both.pick()[0] for _ in range(3)]
    for i, in_flight in zip(order, (5.0, 0.0, 3.0), strict=True):
        both.says(i, in_flight)
    both.is_known(order[1], 4.0)
    assert both.pick() == (order[2], order[2])


def test_what_was_said_long_ago_counts_for_nothing(library: ctypes.CDLL) -> None:
    both = Both(library, [100, 100, 100], 7)
    order = [both.pick()[0] for _ in range(3)]
    for i in order:
        both.says(i, 0.0 if i == order[1] else 8.0)
    both.pass_s(2.0)
    assert [both.pick()[0] for _ in range(3)] == order


def test_one_that_says_nothing_is_taken_at_its_turn_for_as_busy_as_it_usually_says(library: ctypes.CDLL) -> None:
    both = Both(library, [100, 100, 100], 7)
    order = [both.pick()[0] for _ in range(3)]
    both.says(order[0], 6.0)
    both.pass_s(5.0)
    both.says(order[1], 3.0)
    assert both.pick() == (order[1], order[1])
    both.says(order[1], 7.0)
    assert both.pick() == (order[0], order[0])


def test_what_is_open_from_here_is_counted_as_it_is_now_and_only_what_others_have_as_it_was(
    library: ctypes.CDLL,
) -> None:
    both = Both(library, [100, 100], 7)
    both.open = [4, 0]
    both.says(0, 5.0)
    both.says(1, 2.0)
    both.open = [0, 4]
    for _ in range(3):
        assert both.pick() == (0, 0), "one of others and none of ours, beside two and four"


def test_one_that_says_falsely_that_nobody_is_there_gets_a_quarter_more_at_most_and_some_turns_early(
    library: ctypes.CDLL,
) -> None:
    both, rng = Both(library, [100] * 5, 7), np.random.default_rng(7)
    counts = [0] * 5
    for _ in range(2000):
        for i in range(5):
            both.says(i, 0.0 if i == 0 else float(rng.integers(20, 30)))
        counts[both.pick()[0]] += 1
    assert 400 < counts[0] < 400 * 1.25 + AHEAD


def test_what_is_said_in_several_places_is_said_alike() -> None:
    core, declared = ((PICK.source.parent / name).read_text() for name in ("choose.h", "abi.h"))
    assert f"#define TELLING {TELLING}\n" in core
    assert tiers.TELLING == TELLING, "the brain tells capacities from where on the module weighs queues"
    assert f"SCANNED = {SCANNED}, DRAWN = {DRAWN}," in core
    assert f"#define HEARD {HEARD}\n" in core
    assert f"#define AHEAD {AHEAD}\n" in core
    assert f"#define LATE {LATE}\n" in core
    assert f"#define USUAL (1.0 / {1 / USUAL:.0f})\n" in core
    assert f'#define ENVOY_VERSION "{VERSION}"' in declared
    assert ENVOY_VERSION == VERSION


def test_who_is_barred_is_picked_only_when_nobody_else_is_there(library: ctypes.CDLL) -> None:
    both = Both(library, [5, 5, 5], 6)
    all_but_one, everybody = Bars((ctypes.c_uint32 * 8)(0, 2), 2), Bars((ctypes.c_uint32 * 8)(0, 1, 2), 3)
    for open_ in (0, 9):
        both.open = [0, open_, 0]
        for _ in range(50):
            assert library.pick_of(ctypes.byref(both.crew), ctypes.byref(all_but_one), ctypes.byref(both.eyes)) == 1
        got = {
            library.pick_of(ctypes.byref(both.crew), ctypes.byref(everybody), ctypes.byref(both.eyes))
            for _ in range(50)
        }
        assert len(got) > 1, "then the bars are nothing"
