"""How services start: what is believed of a newcomer before anything is known, and what starts that were seen teach."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain.brain import Brain
from brain.checkpoint import warming
from brain.settings import Learning, Mode, Settings
from brain.warm import Warm
from dataplane.contract import Endpoint, Node, Service, Topology
from dataplane.simulated.drive import run
from dataplane.simulated.mesh import Load, SimulatedMesh
from features.columns import EndpointFeatures
from models.base import Floats
from models.warmup import AGES_S, GROWN_S, MOST, SETTLED_S, UNKNOWN_S, WarmUp

WORK_S = 0.05
OLD = 4
SHOP = np.zeros(OLD + 1, dtype=np.int64)


class Starts:
    """Of one service with some that are grown: newcomers come one after another, ten attempts a second each."""

    def __init__(self, weights: tuple[int, ...] = (1,) * (OLD + 1)) -> None:
        self.model, self.promised = WarmUp(1), np.array(weights, dtype=np.float64)
        self.rng = np.random.default_rng(1)

    def start(self, times: dict[float, float], *, until_s: float = GROWN_S, grown_s: float = 1000.0) -> None:
        """A newcomer takes so many times as long as the old, from such an age on."""
        for second in range(int(until_s)):
            by = next(t for since, t in sorted(times.items(), reverse=True) if second >= since)
            work = np.array([WORK_S] * OLD + [WORK_S * by]) / self.promised
            logs = np.log(work) * 10 + self.rng.normal(0.0, 0.7, (10, OLD + 1)).sum(axis=0)
            age = np.array([grown_s + second] * OLD + [second + 0.5])
            self.model.learn_many(age, np.full(OLD + 1, 10.0), logs, self.promised, SHOP, 1.0)

    def part(self, *ages_s: float) -> list[float]:
        """Of what it will bear, by age."""
        ages = np.array(ages_s)
        return np.exp(-self.model.slower_many(ages, np.zeros(ages.size, np.int64))).round(2).tolist()


def test_between_two_ages_the_part_is_between_theirs() -> None:
    told, ages = Starts(), np.linspace(0.0, 70.0, 281)
    told.start({0.0: 4.0, 12.0: 2.0, 33.0: 1.0})
    points = np.append(0.5 * (AGES_S[:-2] + AGES_S[1:-1]), SETTLED_S)
    want = np.interp(ages, points, np.append(told.model.slower()[0], 0.0))
    assert told.model.slower_many(ages, np.zeros(ages.size, np.int64)) == pytest.approx(want)


def test_of_a_service_whose_starts_nobody_saw_a_newcomer_is_believed_to_bear_half_and_all_in_a_quarter_minute() -> None:
    first, later, whole = Starts().part(0.0, UNKNOWN_S / 2, 1.5 * UNKNOWN_S)
    assert first == pytest.approx(0.53, abs=0.01)
    assert first < later < 0.8
    assert whole == 1.0


def test_one_start_teaches_how_bad_it_is_and_how_long_it_lasts() -> None:
    told = Starts()
    told.start({0.0: 3.0, 30.0: 1.0})
    young, older, warm = told.part(3.0, 20.0, 37.0)
    assert (young, older) == (pytest.approx(0.35, abs=0.06), pytest.approx(0.35, abs=0.08))
    assert warm > 0.85


def test_of_the_first_seconds_the_quick_answers_are_heard_first_and_are_not_believed_alone() -> None:
    told = Starts()
    told.start({0.0: 1.0, 2.0: 3.0, 30.0: 1.0})
    assert told.part(0.0)[0] == pytest.approx(0.35, abs=0.06)


def test_starts_that_are_warm_from_the_first_end_the_slow_start() -> None:
    told = Starts()
    for _ in range(4):
        told.start({0.0: 1.0})
    assert min(told.part(0.0, 3.0, 7.0, 12.0, 20.0, 40.0)) > 0.85


def test_who_is_weaker_for_good_was_not_cold() -> None:
    told = Starts()
    told.start({0.0: 4.0, 15.0: 2.0})
    assert told.part(20.0, 40.0) == pytest.approx([1.0, 1.0], abs=0.2)
    assert told.part(5.0)[0] == pytest.approx(0.5, abs=0.12)


def test_by_what_the_operator_promised() -> None:
    told = Starts(weights=(1, 1, 2, 4, 2))
    told.start({0.0: 1.0})
    assert min(told.part(3.0, 20.0, 40.0)) > 0.75


def test_where_nobody_is_grown_nothing_is_learned() -> None:
    told, before = Starts(), Starts()
    told.start({0.0: 5.0}, until_s=60.0, grown_s=0.0)
    assert told.part(1.0, 20.0) == before.part(1.0, 20.0)


def test_programs_change_with_the_days() -> None:
    told = Starts()
    told.start({0.0: 3.0})
    nobody = np.zeros(OLD + 1)
    for _ in range(14):
        told.model.learn_many(nobody + 1e4, nobody, nobody, told.promised, SHOP, 86400.0)
    assert told.part(20.0)[0] > 0.95


@given(
    st.lists(st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 3, st.integers(-1, 1)), max_size=8),
)
def test_whatever_is_told_nobody_is_believed_to_be_faster_or_ten_times_slower_for_being_young(
    rows: list[tuple[float, float, float, int]],
) -> None:
    told = WarmUp(2)
    age, count, logs, service = (np.array([r[i] for r in rows]) for i in range(4))
    told.learn_many(age, count, logs, np.ones(len(rows)), service.astype(np.int64), 1.0)
    slower = told.slower()
    assert slower.shape == (2, len(AGES_S) - 2)
    assert ((slower >= 0.0) & (slower <= MOST)).all()
    many = told.slower_many(np.array([0.0, 30.0, SETTLED_S, np.nan]), np.array([0, 1, 1, 0]))
    assert np.isfinite(many).all()
    assert many[2:].tolist() == [0.0, 0.0]


# In the brain.


def topology(*names: str) -> Topology:
    services = tuple(
        Service(i, name, tuple(Endpoint(3 * i + k, f"10.0.{i}.{k}:80") for k in range(3)))
        for i, name in enumerate(names)
    )
    return Topology(1, services, (Node(0, "edge"),))


def joining(of: Topology, old: int = 2) -> Warm:
    """The others of each service join one that was there before."""
    services = tuple(replace(s, endpoints=s.endpoints[:old]) for s in of.services)
    warm = Warm(replace(of, services=services))
    warm.moved(of)
    return warm


def seen(of: Topology, age_s: Floats, times: Floats, count: float = 10.0, behind: float = 300.0) -> EndpointFeatures:
    columns: dict[str, Any] = {f.name: np.zeros(of.endpoint_slots) for f in fields(EndpointFeatures)}
    told = EndpointFeatures(**columns)
    ended = np.full(of.endpoint_slots, count)
    return replace(
        told,
        age_s=age_s,
        tick_good=ended,
        tick_log_work=ended * np.log(WORK_S * times),
        level_count=np.minimum(np.maximum(age_s, 1.0) * count, behind),
    )


def one_start(warm: Warm, of: Topology, now: float) -> None:
    """The third of a service is three times as slow for 30 s."""
    for second in range(130):
        times = np.array([1.0, 1.0, 3.0 if second < 30 else 1.0])
        warm.learn(seen(of, np.array([500.0, 500.0, second + 0.5]), times), now + second)


def test_what_was_said_of_a_cold_one_is_believed_to_have_grown_when_others_were_warm_at_its_age() -> None:
    of = topology("shop")
    warm = joining(of)
    one_start(warm, of, 0.0)
    for second in range(41):
        times = np.array([1.0, 1.0, 3.0 if second < 30 else 1.0])
        few = np.array([10.0, 10.0, 10.0 if second < 30 else 0.0])  # it was cut, and nothing ends there any more
        told = seen(of, np.array([900.0, 900.0, second + 0.5]), times)
        warm.learn(replace(told, tick_good=few, tick_log_work=few * np.log(WORK_S * times)), 200.0 + second)
        if second == 20:
            assert warm.part[2] == pytest.approx(0.38, abs=0.06)
            assert warm.grown[2] == pytest.approx(1.0, abs=0.1), "it is as cold as when it said so"
    assert warm.part[2] > 0.85
    assert warm.grown[2] == pytest.approx(2.4, abs=0.4)
    assert warm.grown[:2].tolist() == warm.part[:2].tolist() == [1.0, 1.0]


def test_of_what_nobody_saw_nothing_has_grown() -> None:
    """Two join at once, and one had its few attempts first: its capacity was told half as large again."""
    of = topology("shop")
    warm = joining(of, old=1)
    for second in range(40):
        told = seen(of, np.full(3, second + 0.5), np.ones(3))
        few = np.array([1.0, 1.0, float(second < 2)])
        warm.learn(replace(told, tick_good=few, tick_log_work=few * np.log(WORK_S)), float(second))
        assert warm.grown.tolist() == [1.0, 1.0, 1.0]
        assert warm.part[1] == warm.part[2]


def test_who_was_there_when_its_service_was_first_seen_counts_as_grown_and_a_start_teaches_at_once() -> None:
    of = topology("shop")
    warm = joining(of)
    for second in range(40):  # all are as old as the brain by what it has seen, but for the third, which joined
        times = np.array([1.0, 1.0, 3.0 if second < 30 else 1.0])
        warm.learn(seen(of, np.array([second, second, second]) + 0.5, times), float(second))
        assert warm.part[:2].tolist() == warm.grown[:2].tolist() == [1.0, 1.0]
        assert second > 30 or warm.part[2] < 0.7
    assert warm.first[0] == pytest.approx(0.36, abs=0.06)


def test_of_a_service_that_comes_later_those_it_comes_with_count_as_grown_and_those_that_follow_do_not() -> None:
    of, more = topology("shop"), topology("shop", "web")
    warm = Warm(of)
    for endpoints in ((), more.services[1].endpoints[:1], more.services[1].endpoints):  # at first it is a name
        warm.moved(replace(more, services=(more.services[0], replace(more.services[1], endpoints=endpoints))))
    warm.learn(seen(more, np.full(6, 0.5), np.ones(6), count=0.0), 1.0)
    assert warm.part.round(2).tolist() == [1.0, 1.0, 1.0, 1.0, 0.53, 0.53]


def test_after_a_restart_ages_are_those_that_the_features_kept() -> None:
    of = topology("shop")
    again = warming({"warm": joining(of).state()}, of)
    again.learn(seen(of, np.array([500.0, 500.0, 0.5]), np.ones(3), count=0.0), 1.0)
    assert again.part.round(2).tolist() == [1.0, 1.0, 0.53]


def test_how_services_start_is_kept_by_their_names() -> None:
    before, after = topology("shop"), topology("web", "shop")
    warm = joining(before)
    one_start(warm, before, 0.0)
    kept = warm.state()
    again = warming({"warm": kept}, after)
    assert again.first[1] == pytest.approx(warm.first[0])
    assert again.first[0] == pytest.approx(0.53, abs=0.01)
    assert warming({}, after).first[1] == pytest.approx(0.53, abs=0.01), "a state from before that was kept"


def test_a_brain_keeps_it_over_a_restart_and_refuses_what_is_no_such_state() -> None:
    of = topology("shop")
    brain, again = (Brain(of, Settings()) for _ in range(2))
    brain.tick(1.0)
    kept = brain.state()
    again.restore(kept, 2.0)
    assert again.state()["warm"]["names"] == ["shop"]
    kept["warm"]["warmup"]["count"] = np.zeros((1, 3))
    with pytest.raises(ValueError, match="count"):
        Brain(of, Settings()).restore(kept, 2.0)


def test_where_slow_start_is_off_newcomers_have_their_share_at_once_and_starts_teach_all_the_same() -> None:
    of = topology("shop")
    off, on = joining(of), joining(of)
    for second in range(20):
        for warm, acts in ((off, False), (on, True)):
            warm.learn(seen(of, np.full(3, second + 0.5), np.array([1.0, 1.0, 3.0])), float(second), acts=acts)
        assert off.part.tolist() == off.grown.tolist() == [1.0, 1.0, 1.0]
    assert on.part[2] < 0.65
    assert (off.first[0], Warm(of, acts=False).first[0]) == (1.0, 1.0)
    off.moved(of)
    assert off.first[0] == 1.0
    assert off.state()["warmup"]["sum"].tolist() == on.state()["warmup"]["sum"].tolist()


ADAPTIVE = Settings(mode=Mode.ADAPTIVE)


@pytest.mark.parametrize("slow_start", [True, False])
def test_who_joins_a_brain_has_less_than_the_others_at_first_unless_that_is_off(slow_start: bool) -> None:
    mesh, brain = joined(replace(ADAPTIVE, slow_start=slow_start))
    *others, newcomer = brain.tick(mesh.now).services[0].endpoints
    assert (newcomer.weight < 0.6 * min(e.weight for e in others)) is slow_start
    assert ("new: believed" in newcomer.reason) is slow_start


def test_other_ways_of_learning_make_nobody_young_who_joined_long_ago() -> None:
    """All is learned anew then, and ages are counted anew with it."""
    mesh, brain = joined(ADAPTIVE)
    list(run(mesh, brain, mesh.now + 70.0))
    brain.configured(replace(ADAPTIVE, learning=Learning(half_life_s=6.0)), mesh.now)
    for decision in run(mesh, brain, mesh.now + 3.0):
        assert not any("new: believed" in e.reason for e in decision.services[0].endpoints)


def joined(settings: Settings) -> tuple[SimulatedMesh, Brain]:
    """A mesh of two that a third has just joined, half a minute on."""
    of = topology("shop")
    first = replace(of, services=(replace(of.services[0], endpoints=of.services[0].endpoints[:2]),))
    mesh = SimulatedMesh(first, [Load("shop", 100)], {}, np.random.default_rng(3))
    brain = Brain(first, settings)
    list(run(mesh, brain, 30.0))
    brain.moved(of, mesh.now)
    mesh.moved(of)
    return mesh, brain
