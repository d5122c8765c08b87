"""Shedding: as much of the sheddable as spares the rest, found within seconds, and nothing without a shortage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain.shedding import Ended, Shedder, Tally
from dataplane.contract import Felt, Outcome, Requests, Topology

NOBODY = Ended()


class Crowd:
    """A service that bears so many requests a second, and is asked for more of two kinds, second by second."""

    def __init__(self, bears: float, sheddable: float, others: float) -> None:
        self.bears, self.sheddable, self.others = bears, sheddable, others
        self.shedder, self.now = Shedder(), 0.0

    def second(self, *, armed: bool = True, short: bool = True, most: float = 0.99) -> Ended:
        """One second under the share in force: what is too much is refused, of all that get as far as the limit."""
        shed = self.shedder.share * self.sheddable
        comes = self.sheddable - shed + self.others
        part = max(0.0, 1.0 - self.bears / comes)
        ended = Ended(self.sheddable, self.others, part * self.others)
        self.now += 1.0
        self.shedder.told(ended, most, self.now, armed=armed, short=short)
        return ended


def test_as_much_is_shed_as_spares_the_others_within_two_seconds() -> None:
    crowd = Crowd(bears=100, sheddable=60, others=80)
    assert crowd.second().refused > 20
    assert [crowd.second().refused for _ in range(5)] == pytest.approx([0.0] * 5, abs=3)
    assert crowd.shedder.share == pytest.approx(40 / 60, abs=0.1)


def test_it_finds_the_least_that_spares_them_and_follows_it() -> None:
    crowd = Crowd(bears=100, sheddable=60, others=80)
    for _ in range(60):
        crowd.second()
    refused = [crowd.second().refused for _ in range(60)]
    assert np.mean(refused) < 0.02 * crowd.others
    crowd.others = 60
    for _ in range(30):
        crowd.second()
    assert crowd.shedder.share == pytest.approx(20 / 60, abs=0.1)


def test_when_all_that_is_sheddable_is_not_enough_the_rest_is_the_limits_to_refuse() -> None:
    crowd = Crowd(bears=100, sheddable=20, others=140)
    for _ in range(5):
        last = crowd.second(most=0.95)
    assert crowd.shedder.share == 0.95
    assert last.refused == pytest.approx(41, abs=1)


def test_without_a_shortage_nothing_is_shed_whatever_was() -> None:
    crowd = Crowd(bears=100, sheddable=60, others=80)
    crowd.second()
    assert crowd.shedder.share > 0
    crowd.second(armed=False)
    assert crowd.shedder.share == 0.0


def test_when_the_crowd_has_gone_it_is_over_within_seconds_though_the_limit_stays_a_while() -> None:
    crowd = Crowd(bears=100, sheddable=60, others=80)
    for _ in range(5):
        crowd.second()
    assert crowd.shedder.share > 0.5
    crowd.sheddable, crowd.others = 30, 40
    shares = [crowd.second(short=False) and crowd.shedder.share for _ in range(8)]
    assert shares[1] < 0.2
    assert shares[-1] == 0.0


def test_while_nobody_else_is_refused_nothing_is_begun_either() -> None:
    assert Crowd(bears=100, sheddable=60, others=30).second().refused == 0
    assert Shedder().told(Ended(sheddable=50.0, others=50.0), 1.0, 1.0, armed=True, short=True) == 0.0


AMOUNT = st.floats(0, 1e12)


@given(st.lists(st.tuples(AMOUNT, AMOUNT, st.floats(0, 1), st.booleans(), st.booleans()), max_size=20), st.floats(0, 1))
def test_a_share_is_never_below_nothing_nor_above_what_may_be(log: list, most: float) -> None:
    shedder = Shedder()
    for at, (sheddable, others, part, armed, short) in enumerate(log):
        ended = Ended(sheddable, others, part * others)
        assert 0.0 <= shedder.told(ended, most, float(at), armed=armed, short=short) <= most


# What is counted.

MESH = Topology(1, (), (), routes=("crawl", "buy"), route_services=(0, 0), service_slots=2)


def attempts(route: list[int], outcome: Outcome = Outcome.OK, service: int = 0) -> Requests:
    n = len(route)
    return Requests.of(**dict.fromkeys(Requests.dtypes(), np.zeros(n)) | ends(route, outcome, service))


def felt(route: list[int], outcome: Outcome, service: int = 0) -> Felt:
    n = len(route)
    return Felt.of(**dict.fromkeys(Felt.dtypes(), np.zeros(n)) | ends(route, outcome, service))


def ends(route: list[int], outcome: Outcome, service: int) -> dict[str, np.ndarray]:
    return {"route": np.array(route), "outcome": np.full(len(route), outcome), "service": np.full(len(route), service)}


def test_requests_count_when_they_end_and_those_refused_by_their_route() -> None:
    tally = Tally(MESH, ["crawl"])
    tally.told(attempts([0, 1, 1, -1, 7]))
    tally.told(attempts([0, 1], Outcome.ERROR))  # the downstream log tells of the request
    tally.told(felt([0, 0, 1], Outcome.REJECTED))
    tally.told(felt([0, 1], Outcome.TIMEOUT))
    assert tally.take()[:, 0].tolist() == [4, 6, 1]
    assert tally.take().sum() == 0


def test_a_service_that_is_not_there_counts_for_nobody() -> None:
    tally = Tally(MESH, ["crawl"])
    tally.told(felt([0, 1], Outcome.REJECTED, service=-1))
    tally.told(felt([0, 1], Outcome.REJECTED, service=2))
    assert tally.take().sum() == 0


def test_where_nothing_is_sheddable_nothing_is_counted() -> None:
    tally = Tally(MESH, [])
    tally.told(attempts([0, 1]))
    assert tally.take().sum() == 0
