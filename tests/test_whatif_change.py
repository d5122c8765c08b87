"""A question changes a world in what it names, and in nothing else."""

from __future__ import annotations

from dataclasses import fields, replace
from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.simulated.fleet import Fleet, Trace
from tests.fleets import fleet
from tests.whatif_worlds import InPieces, plain_world
from weirflow.whatif.change import Added, Question, Slow, Span, changed
from weirflow.whatif.resample import Cut, Scaled, held
from weirflow.whatif.world import World

WORLD = plain_world(1.0, 1.0, 0.5, load=0.6)
NAMES = WORLD.fleet.names


def whole(world: World) -> Trace:
    return Trace.concat(list(world.chunks()))


def same(one: Fleet, other: Fleet, but: set[str] | None = None) -> bool:
    names = [f.name for f in fields(one) if f.name not in (but or set())]
    return all(np.array_equal(getattr(one, n), getattr(other, n)) for n in names)


def test_no_change_is_the_very_world_with_its_first_seconds_unjudged() -> None:
    other, span = changed(WORLD, Question())
    assert same(other.fleet, WORLD.fleet)
    assert np.array_equal(whole(other).demand_s, whole(WORLD).demand_s)
    assert span == Span(0.2 * WORLD.duration_s, WORLD.duration_s)
    assert Question().words == "as recorded"


def test_who_is_removed_is_no_member_and_the_others_keep_their_rows() -> None:
    other, _ = changed(WORLD, Question(remove=(NAMES[1],)))
    assert other.fleet.names == NAMES
    assert other.fleet.members(0.0).tolist() == other.fleet.members(30.0).tolist() == [0, 2]
    assert same(other.fleet, WORLD.fleet, {"leaves_s"})


def test_those_added_are_as_the_median_and_come_last() -> None:
    other, _ = changed(WORLD, Question(add=(Added(2), Added(1, speed=0.5, workers=8))))
    assert other.fleet.names == (*NAMES, "added-1", "added-2", "added-3")
    assert other.fleet.speed[3:, 0].tolist() == [1.0, 1.0, 0.5]
    assert other.fleet.workers[3:].tolist() == [2, 2, 8]
    assert other.fleet.members(0.0).tolist() == [0, 1, 2, 3, 4, 5]
    assert other.fleet.capacity(10.0)[3:].tolist() == [2.0, 2.0, 4.0]


def test_the_median_is_of_what_each_endpoint_did_in_the_mean_over_its_time() -> None:
    since_s = np.array([[0.0, 30.0], [0.0, inf], [0.0, inf]])
    speed = np.array([[1.0, 3.0], [1.5, 1.0], [9.0, 1.0]])
    world = replace(WORLD, fleet=fleet(1.0, 1.0, 1.0, since_s=since_s, speed=speed), duration_s=60.0)
    other, _ = changed(world, Question(add=(Added(1),)))
    assert other.fleet.speed[3, 0] == pytest.approx(2.0)


def test_one_is_slow_in_the_window_and_as_ever_before_and_after() -> None:
    other, _ = changed(WORLD, Question(slow=(Slow(NAMES[0], 5.0, 20.0, 40.0),)))

    def speed(at_s: float) -> list[float]:
        return other.fleet.speed[np.arange(3), other.fleet.piece(at_s)].tolist()

    assert [speed(t) for t in (0.0, 19.9, 20.0, 39.9, 40.0)] == [
        [1.0, 1.0, 0.5],
        [1.0, 1.0, 0.5],
        [0.2, 1.0, 0.5],
        [0.2, 1.0, 0.5],
        [1.0, 1.0, 0.5],
    ]


@settings(max_examples=50, deadline=None)
@given(
    cuts=st.lists(st.floats(1.0, 59.0), min_size=2, max_size=6, unique=True),
    windows=st.lists(st.tuples(st.floats(0.0, 50.0), st.floats(0.5, 20.0), st.floats(0.5, 9.0)), max_size=3),
)
def test_slowing_divides_the_speed_of_the_moment_whatever_the_endpoint_did(
    cuts: list[float], windows: list[tuple[float, float, float]]
) -> None:
    since = np.array([0.0, *sorted(cuts)])
    since_s = np.stack([since, np.where(np.arange(len(since)) == 0, 0.0, inf)])
    speed = np.stack([1.0 + np.arange(len(since)), np.ones(len(since))])
    world = replace(WORLD, fleet=fleet(1.0, 1.0, since_s=since_s, speed=speed))
    name = world.fleet.names[0]
    other, _ = changed(world, Question(slow=tuple(Slow(name, f, a, a + d) for a, d, f in windows)))
    for at_s in np.linspace(0.05, 59.95, 41):
        was = world.fleet.speed[0, world.fleet.piece(at_s)[0]]
        factor = np.prod([f for a, d, f in windows if a <= at_s < a + d])
        assert other.fleet.speed[0, other.fleet.piece(at_s)[0]] == pytest.approx(was / factor)
        assert other.fleet.speed[1, other.fleet.piece(at_s)[1]] == 1.0
    assert (np.diff(other.fleet.since_s[0]) >= 0).all()


def test_limits_share_and_weights_go_where_the_operator_has_them() -> None:
    question = Question(limits=(("max_requests", 64),), share_percent=50.0, weights=((NAMES[0], 4),))
    other, _ = changed(WORLD, question)
    assert other.rules == replace(WORLD.rules, max_requests=64)
    assert other.settings.shares == {WORLD.service: 50.0}
    assert other.fleet.weight.tolist() == [4, 1, 1]


def test_random_takes_no_weights_so_weights_by_hand_are_dealt_out_in_turn() -> None:
    world = replace(WORLD, rules=replace(WORLD.rules, policy="random"))
    assert changed(world, Question(weights=((NAMES[0], 4),)))[0].rules.policy == "round_robin"
    assert changed(world, Question(load=2.0))[0].rules.policy == "random"


def test_an_endpoint_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"no endpoint 'x'; it has 10\.0\.0\.0:80"):
        changed(WORLD, Question(remove=("x",)))


def test_a_window_is_judged_and_the_half_minute_before_it_only_run() -> None:
    other, span = changed(WORLD, Question(start_s=45.0, end_s=55.0, slow=(Slow(NAMES[0], 2.0, 50.0, 52.0),)))
    assert span == Span(30.0, 40.0)
    assert (other.started, other.duration_s) == (WORLD.started + 15.0, 40.0)
    at_s, was_s = whole(other).at_s, whole(WORLD).at_s
    assert at_s + 15.0 == pytest.approx(was_s[(was_s >= 15.0) & (was_s < 55.0)])
    assert other.fleet.speed[0, other.fleet.piece(36.0)[0]] == 0.5  # 51 s of the recording
    assert other.fleet.speed[0, other.fleet.piece(38.0)[0]] == 1.0


# More and fewer requests.


@settings(max_examples=30, deadline=None)
@given(factor=st.floats(0.1, 5.0), rows=st.integers(1, 3000), seed=st.integers(0, 99))
def test_so_many_times_as_many_come_in_order_and_of_the_same_kinds(factor: float, rows: int, seed: int) -> None:
    work = whole(WORLD)
    more = Trace.concat(list(Scaled(InPieces(work, rows), factor, WORLD.duration_s, seed)()))
    part = factor % 1.0  # of the requests it is by chance which are in it: a binomial number
    assert len(more) == pytest.approx(factor * len(work), abs=1.0 + 5.0 * sqrt(len(work) * part * (1.0 - part)))
    assert (np.diff(more.at_s) >= 0.0).all()
    assert 0.0 <= more.at_s[0] <= more.at_s[-1] < WORLD.duration_s
    assert np.isin(more.demand_s, work.demand_s).all()
    assert (more.luck < 1.0).all()


def test_how_the_requests_are_read_changes_nothing_and_a_seed_does() -> None:
    work = whole(WORLD)
    one, two, other = (
        Trace.concat(list(Scaled(InPieces(work, rows), 1.7, WORLD.duration_s, seed)()))
        for rows, seed in ((100, 4), (100_000, 4), (100, 5))
    )
    assert np.array_equal(one.at_s, two.at_s)
    assert np.array_equal(one.demand_s, two.demand_s)
    assert not np.array_equal(one.demand_s, other.demand_s)


def test_the_course_of_the_rate_is_kept_and_so_are_bursts() -> None:
    rng = np.random.default_rng(1)
    calm, busy = np.sort(rng.uniform(0.0, 30.0, 600)), np.sort(rng.uniform(30.0, 60.0, 3000))
    begun = np.concatenate([calm, busy])
    at_s = np.repeat(begun, 4)  # four at once, always
    work = replace_trace(at_s)
    more = Trace.concat(list(Scaled(InPieces(work), 2.0, 60.0, 1)()))
    halves = np.histogram(more.at_s, [0.0, 30.0, 60.0])[0]
    assert halves[1] / halves[0] == pytest.approx(5.0, rel=0.05)
    assert np.unique(np.unique(more.at_s, return_counts=True)[1]).tolist() == [4]


def replace_trace(at_s: np.ndarray) -> Trace:
    many = len(at_s)
    return Trace.of(at_s=at_s, node=np.zeros(many), klass=np.zeros(many), demand_s=np.ones(many), luck=np.zeros(many))


def test_a_cut_reads_no_further_than_its_end() -> None:
    read: list[int] = []

    def chunks():
        for i in range(10):
            read.append(i)
            yield replace_trace(np.array([i + 0.25, i + 0.75]))

    assert np.concatenate([t.at_s for t in Cut(chunks, 2.5, 4.5)()]).tolist() == [0.25, 0.75, 1.25, 1.75]
    assert read == [0, 1, 2, 3, 4]


def test_few_requests_are_read_from_the_recording_once() -> None:
    read: list[int] = []

    def chunks():
        read.append(1)
        yield whole(WORLD)

    kept = held(chunks, 9_000)
    assert len(list(kept())) == len(list(kept())) == 1
    assert read == [1]
    assert held(chunks, 10**9) is chunks
