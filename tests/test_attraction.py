"""Who grows far stronger without a reason is told of, and gets no more than it has."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from brain.attraction import FIRST_S, FOLLOWS_S, Attraction, held_back

ONES = np.ones(4)
IDS = np.arange(4)
SETTLED = int(FIRST_S) + 10


class Seconds:
    """A service's endpoints, a second at a time."""

    def __init__(self) -> None:
        self.of, self.now = Attraction(), 0.0

    def pass_(self, *capacity: float, seconds: int = 1, ids: np.ndarray = IDS, sure: float = 1.0) -> list[int]:
        """Who gains without a reason in the last of these seconds."""
        told = np.array(capacity, dtype=float)
        for _ in range(seconds):
            self.now += 1.0
            out = self.of.unexplained(ids, told, told * sure, np.ones(len(ids)), self.now)
        return ids[out].tolist()


def test_one_that_grows_threefold_beside_its_peers_is_told_of_until_its_record_has_caught_up() -> None:
    it = Seconds()
    assert it.pass_(100, 100, 100, 100, seconds=SETTLED) == []
    assert it.pass_(300, 100, 100, 100) == [0]
    assert it.pass_(300, 100, 100, 100, seconds=60) == [0]
    assert it.pass_(300, 100, 100, 100, seconds=int(FOLLOWS_S)) == []


def test_a_gain_that_all_have_is_a_lighter_load_and_not_anybodys() -> None:
    it = Seconds()
    it.pass_(100, 100, 100, 100, seconds=SETTLED)
    assert it.pass_(300, 300, 300, 300) == []


def test_one_that_stays_as_it_was_while_its_peers_fall_gained_nothing() -> None:
    it = Seconds()
    it.pass_(100, 100, 100, 100, seconds=SETTLED)
    assert it.pass_(100, 20, 20, 20) == []


def test_one_that_heals_comes_back_to_its_peers_and_gained_nothing() -> None:
    it = Seconds()
    it.pass_(10, 100, 100, 100, seconds=SETTLED)
    assert it.pass_(100, 100, 100, 100) == []


def test_one_that_was_always_stronger_and_a_new_one_that_is_are_as_they_are() -> None:
    it = Seconds()
    assert it.pass_(400, 100, 100, 100, seconds=SETTLED) == []
    assert it.pass_(400, 100, 100, 100, 400, ids=np.arange(5), seconds=5) == []
    assert it.pass_(400, 100, 100, 100, 1600, ids=np.arange(5), seconds=SETTLED) == []
    assert it.pass_(400, 100, 100, 100, 6400, ids=np.arange(5)) == [4]


def test_a_record_is_kept_by_endpoint_when_others_leave() -> None:
    it = Seconds()
    it.pass_(100, 100, 400, 100, seconds=SETTLED)
    assert it.pass_(400, 100, 100, ids=np.array([2, 3, 1])) == []
    assert it.pass_(400, 300, 100, ids=np.array([2, 3, 1]), seconds=1) == []
    assert it.pass_(100, 1000, 100, ids=np.array([1, 3, 7])) == [3]


def test_a_gain_that_may_be_chance_is_none() -> None:
    it = Seconds()
    it.pass_(100, 100, 100, 100, seconds=SETTLED)
    assert it.pass_(300, 100, 100, 100, sure=0.5) == []


def test_one_that_gains_keeps_its_share_and_the_others_share_the_rest_as_they_would() -> None:
    out = held_back(
        np.array([6.0, 2.0, 1.0, 1.0]), np.array([100, 100, 100, 100]), np.array([True, False, False, False])
    )
    assert np.allclose(out, [0.25, 0.375, 0.1875, 0.1875])
    down = held_back(np.array([1.0, 3.0]), np.array([100, 100]), np.array([True, False]))
    assert np.allclose(down, [0.25, 0.75]), "it may still be cut"


ANYTHING = st.floats(-1e12, 1e12) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0])


@given(st.lists(st.lists(st.tuples(ANYTHING, ANYTHING), min_size=3, max_size=3), min_size=1, max_size=10))
def test_whatever_is_claimed_what_is_wanted_stays_a_split(ticks: list) -> None:
    of, wanted = Attraction(), np.array([5.0, 1.0, 1.0])
    for i, rows in enumerate(ticks):
        capacity, low = np.array(rows).T
        who = of.unexplained(np.arange(3), capacity, low, np.ones(3), 40.0 * i)
        share = held_back(wanted, np.array([100, 100, 100]), who)
        assert np.isfinite(share).all()
        assert (share >= 0).all()
        assert share.sum() > 0
