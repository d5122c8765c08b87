"""A service's bodies of another size than usual: told second by second, to the watch alone and to a brain."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from brain.brain import Brain
from brain.findings import Finding
from brain.incidents import Incidents
from brain.settings import Mode, Settings
from brain.size_watch import LASTS_S, SizeWatch
from dataplane.contract import Arm, Endpoint, Node, Outcome, Requests, Service, Topology
from features.columns import ServiceFeatures
from features.services import MOST_BYTES, ServiceTally
from features.together import Attempts
from models.decay import When
from models.usual import FOLLOWS_S
from weirflow import checkpoint

PAGE = 5000.0


def topology(services: int = 1) -> Topology:
    made = (Service(i, f"shop-{i}", (Endpoint(i, f"10.0.0.{i}:80"),)) for i in range(services))
    return Topology(1, tuple(made), (Node(0, "edge"),))


class Watched:
    """One service, second by second."""

    def __init__(self) -> None:
        self.topology, self.watch, self.now = topology(), SizeWatch(1), 0.0

    def second(self, answered: float = PAGE, asked: float = 300.0, *, many: float = 100.0) -> list[Finding]:
        self.now += 1.0
        columns: dict[str, Any] = {f.name: np.zeros((1, 2)) for f in fields(ServiceFeatures)}
        columns["tick_good"][0, Arm.ADAPTIVE] = many
        columns["tick_bytes_out"][0, Arm.ADAPTIVE] = many * answered
        columns["tick_bytes_in"][0, Arm.ADAPTIVE] = many * asked
        return self.watch.look(ServiceFeatures(**columns), self.topology, self.now)

    def seconds(self, count: int, answered: float = PAGE, asked: float = 300.0, **more: float) -> list[list[str]]:
        return [[f.kind for f in self.second(answered, asked, **more)] for _ in range(count)]


SIZE = ["ResponseSize"]


def test_answers_of_a_quarter_are_news_when_they_last_and_no_more_when_they_are_over() -> None:
    told = Watched()
    told.seconds(60)
    first = told.seconds(int(LASTS_S) + 1, PAGE / 4)
    assert not any(first[: int(LASTS_S) - 1]), "a few large bodies less are no change"
    assert first[-1] == SIZE
    assert told.seconds(int(LASTS_S) + 1)[-1] == []


def test_it_is_told_with_what_is_usual_and_as_a_warning() -> None:
    told = Watched()
    told.seconds(60)
    told.seconds(20, PAGE / 4)
    (finding,) = told.second(PAGE / 4)
    assert "answers with 1.2" in finding.said
    usual = 2 * finding.low  # some of it was learned before it was believed
    assert PAGE * 0.25 ** (1.0 - 0.5 ** ((LASTS_S + 1.0) / FOLLOWS_S)) < usual < PAGE
    assert f"kB a request, usually {usual / 1000:.3g} kB" in finding.said
    assert finding.value < finding.low < PAGE < finding.high
    assert finding.harm == 0.0


def test_larger_ones_and_what_it_is_sent_are_news_too() -> None:
    told = Watched()
    told.seconds(60)
    assert told.seconds(12, PAGE * 4)[-1] == SIZE
    assert told.seconds(30)[-1] == []
    assert told.seconds(12, PAGE, 3000.0)[-1] == ["RequestSize"]


def test_less_than_twice_never_adds_up() -> None:
    smaller, larger = Watched(), Watched()
    smaller.seconds(120)
    larger.seconds(120)
    assert not any(smaller.seconds(1000, PAGE / 1.9))
    assert not any(larger.seconds(1000, PAGE * 1.9))


def test_seconds_of_other_sizes_are_none_if_they_are_few() -> None:
    told = Watched()
    told.seconds(60)
    for _ in range(20):
        assert not any(told.seconds(int(LASTS_S) - 1, PAGE * 1000))
        assert not any(told.seconds(30))


def test_another_mix_of_requests_is_none_where_it_moves_the_mean_by_less() -> None:
    rng, told = np.random.default_rng(1), Watched()

    def mean(share: float) -> float:
        return float(np.where(rng.random(100) < share, 50_000.0, 500.0).mean())

    for second in range(3000):
        assert told.second(mean(0.2 if second < 600 else 0.3)) == []


def test_the_mean_of_a_handful_scatters_and_that_is_none() -> None:
    rng, told = np.random.default_rng(2), Watched()
    told.seconds(120, many=200.0)
    for _ in range(2000):
        assert told.second(PAGE * float(rng.lognormal(-0.5, 1.0, 2).mean()), many=2.0) == []


def test_where_nothing_ends_nothing_is_known_and_it_is_not_small() -> None:
    told, odd = Watched(), Watched()
    told.seconds(60)
    odd.seconds(60)
    assert not any(told.seconds(300, 0.0, 0.0, many=0.0))
    assert odd.seconds(12, PAGE / 4)[-1] == SIZE
    before = odd.second(PAGE / 4)[0]
    (after,) = [odd.second(0.0, 0.0, many=0.0) for _ in range(30)][-1]
    assert (after.harm, round(after.value)) == (0.0, round(before.value)), "it stands as it was last known"


def test_answers_of_next_to_nothing_harm_whoever_asked() -> None:
    told = Watched()
    told.seconds(60)
    told.seconds(30, 10.0)
    (finding,) = told.second(10.0)
    assert finding.harm > 0.9
    incidents = Incidents()
    incidents.judge([finding], {}, {finding.service: {"": 1}}, lambda _: "nothing", told.now)
    ((view,), _) = incidents.judge([finding], {}, {finding.service: {"": 1}}, lambda _: "nothing", told.now + 5.0)
    assert view.severity == "critical"


def test_bodies_of_some_bytes_are_all_alike() -> None:
    told = Watched()
    told.seconds(60, 15.0)
    assert not any(told.seconds(300, 0.0))


def test_what_lasts_becomes_usual() -> None:
    told = Watched()
    told.seconds(60)
    found = told.seconds(2000, PAGE / 4)
    assert found[1000] == SIZE
    assert found[-1] == []


def test_a_young_service_has_no_usual() -> None:
    told = Watched()
    told.seconds(15)
    assert not any(told.seconds(14, PAGE / 10))


def attempts(sizes: list[int], outcome: Outcome = Outcome.OK, **more: Any) -> Requests:
    told: dict[str, Any] = dict.fromkeys(Requests.dtypes(), np.zeros(len(sizes)))
    told |= {"bytes_out": sizes, "bytes_in": [7] * len(sizes), "outcome": np.full(len(sizes), outcome)}
    told |= {"duration_s": np.full(len(sizes), 0.01), "felt_s": np.full(len(sizes), 0.01)}
    return Requests.of(**(told | {"attempt": np.ones(len(sizes))} | more))


def test_the_bytes_of_a_second_are_those_of_what_ended_well() -> None:
    tally = ServiceTally(1, 10.0)
    tally.begin(np.array([0]), 0.0)
    tally.told(Attempts.of(attempts([100, 200])), When.once(0.5, 2))
    tally.told(Attempts.of(attempts([9000], Outcome.ERROR)), When.once(0.5, 1))
    seen = tally.freeze(1.0)
    assert (seen.tick_good.sum(), seen.tick_bytes_out.sum(), seen.tick_bytes_in.sum()) == (2, 300, 14)
    assert tally.freeze(2.0).tick_bytes_out.sum() == 0
    tally.told(Attempts.of(attempts([-5, 1 << 62])), When.once(2.5, 2))
    assert tally.freeze(3.0).tick_bytes_out.sum() == MOST_BYTES, "what a proxy makes up is not believed"


class Lived:
    """A brain of two services that hears a batch of each every second."""

    def __init__(self) -> None:
        self.brain, self.now = Brain(topology(2), Settings(mode=Mode.STATIC)), 0.0

    def seconds(self, count: int, first: int = int(PAGE), second: int = int(PAGE)) -> list[str]:
        for _ in range(count):
            self.now += 1.0
            for i, size in enumerate((first, second)):
                where = {"service": np.full(50, i), "endpoint": np.full(50, i)}
                self.brain.told(attempts([size] * 50, **where), self.now - 0.5)
            self.brain.tick(self.now)
        assert self.brain.decision is not None
        return [f"{i.kind} {i.labels['service']}" for i in self.brain.decision.incidents]


def test_a_brain_opens_an_incident_of_the_service_whose_answers_shrank_and_of_no_other() -> None:
    told = Lived()
    assert told.seconds(60) == []
    assert told.seconds(15, second=1000) == ["ResponseSize shop-1"]
    assert told.seconds(60) == []


def test_what_is_usual_and_what_is_odd_come_back_with_the_checkpoint() -> None:
    told = Lived()
    told.seconds(60)
    assert told.seconds(15, second=1000) == ["ResponseSize shop-1"]
    state = checkpoint.decode(checkpoint.encode(told.brain.state()))
    told.brain = Brain(topology(2), Settings(mode=Mode.STATIC))
    told.brain.restore(state, told.now)
    assert told.seconds(5, second=1000) == ["ResponseSize shop-1"]
    both = told.seconds(15, first=1000, second=1000)
    assert sorted(both) == ["ResponseSize shop-0", "ResponseSize shop-1"]


def test_a_checkpoint_from_before_sizes_were_watched_is_taken_up() -> None:
    told = Lived()
    told.seconds(60)
    state = told.brain.state()
    del state["watch"]["sizes"]
    told.brain = Brain(topology(2), Settings(mode=Mode.STATIC))
    told.brain.restore(state, told.now)
    assert told.seconds(15, second=1000) == [], "what is usual is not known yet"
