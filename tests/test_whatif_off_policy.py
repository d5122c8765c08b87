"""The engine that weighs recorded picks: held against worlds in which the other picks were really made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from brain.settings import Mode, Settings
from dataplane.simulated.fleet import Trace
from dataplane.simulated.rules import RouteRules, Rules
from tests.fleets import fleet, trace
from tests.whatif_worlds import record, world
from weirflow.recording import Recording
from weirflow.whatif.carry import carry
from weirflow.whatif.change import Question, Span, changed
from weirflow.whatif.off_policy import Declined, Estimated, Holdout, estimate, holdout
from weirflow.whatif.picked import coin, picks
from weirflow.whatif.question import Frame
from weirflow.whatif.tally import figures
from weirflow.whatif.world import World

BY_WEIGHT = Rules(policy="round_robin", routes=(RouteRules(timeout_s=5.0),))
SHIFT = Question(weights=(("10.0.0.0:80", 4), ("10.0.0.1:80", 2)))


def roomy(seed: int, *, rules: Rules = BY_WEIGHT, seconds: float = 40.0) -> World:
    """Three endpoints of speeds 2, 1 and 1/2, a hundred workers each: nobody waits for a pick of another's."""
    of = replace(fleet(2.0, 1.0, 0.5, workers=100), weight=np.array([2, 2, 1]))
    made = world(of, trace(of, 0.05, seconds, nodes=2, seed=seed, mean_s=0.1), rules=rules, duration_s=seconds)
    return replace(made, trust=replace(made.trust, waited_share=np.zeros(3)))


def truth(of: World, question: Question, *, runs: int = 8) -> dict[str, float]:
    """What the other picks bring, from runs of their own over other requests of the same kind."""
    tallies = []
    for seed in range(100, 100 + runs):
        again = replace(of, chunks=roomy(seed).chunks)
        tallies.append(carry(changed(again, question)[0], "recorded", Span(0.0, of.duration_s), seed))
    return {name: float(value[0]) for name, value in figures(tallies).items()}


@pytest.fixture(scope="module")
def weighed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, World]:
    return record(roomy(1), tmp_path_factory.mktemp("weighed") / "r")


@pytest.fixture(scope="module")
def tossed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, World]:
    """An adaptive arm beside static rules that deal out evenly, half of the traffic each."""
    adaptive = Settings(mode=Mode.ADAPTIVE, share_percent=50.0)
    return record(roomy(1, seconds=60.0), tmp_path_factory.mktemp("tossed") / "r", settings=adaptive)


def of(recorded: tuple[Recording, World]) -> tuple[Recording, Frame, World]:
    recording, of_it = recorded
    return recording, Frame.of(recording, None), of_it


def test_weights_by_hand_are_answered_from_picks_that_went_by_weight(weighed: tuple[Recording, World]) -> None:
    found = estimate(*of(weighed), SHIFT)
    assert isinstance(found, Estimated), found
    assert "weights in force under round_robin" in found.by
    assert found.clipped_share == 0.0
    right = truth(weighed[1], SHIFT)
    for name in ("mean_s", "mean_s_ips", "p50_s", "p99_s"):
        told = found.figures[name]
        assert told.low is not None
        assert told.high is not None
        assert told.low <= right[name.removesuffix("_ips")] <= told.high, name
    recorded = weighed[1].seen
    assert found.against["mean_s"].high < 0.0, "more goes to the fast one"
    assert right["p50_s"] < recorded.p50_s


def test_doubly_robust_covers_the_truth_in_most_of_many_recordings(tmp_path: Path) -> None:
    right = truth(roomy(0), SHIFT)["mean_s"]
    covered = 0
    for seed in range(12):
        found = estimate(*of(record(roomy(seed), tmp_path / str(seed), seed=seed)), SHIFT)
        assert isinstance(found, Estimated)
        covered += found.figures["mean_s"].low <= right <= found.figures["mean_s"].high
    assert covered >= 9  # of 12 at 95 %; fewer has a chance below 1 in 3000


def test_another_share_is_answered_by_the_coin_of_the_arms(tossed: tuple[Recording, World]) -> None:
    recording, frame, of_it = of(tossed)
    rows = coin(recording, frame)
    assert set(rows.chance.tolist()) == {0.5}
    assert rows.action.mean() == pytest.approx(0.5, abs=0.03)
    found = estimate(recording, frame, of_it, Question(share_percent=60.0))
    assert isinstance(found, Estimated), found
    assert "the coin of the arms" in found.by
    arms = [float(rows.took_s[rows.action == arm].mean()) for arm in (0, 1)]
    assert found.figures["mean_s_ips"].value == pytest.approx(0.4 * arms[0] + 0.6 * arms[1], rel=0.01)


def test_the_holdout_is_told_with_an_interval(tossed: tuple[Recording, World]) -> None:
    recording, frame, of_it = of(tossed)
    held = holdout(recording, frame, of_it)
    assert isinstance(held, Holdout)
    rows = coin(recording, frame)
    arms = [float(rows.took_s[rows.action == arm].mean()) for arm in (0, 1)]
    assert held.static["mean_s_ips"].value == pytest.approx(arms[0])
    assert held.difference["mean_s"].value == pytest.approx(arms[1] - arms[0])
    assert held.difference["mean_s"].low < held.difference["mean_s"].value < held.difference["mean_s"].high


def test_a_failed_request_counts_by_the_share_in_force_when_it_began(tmp_path: Path) -> None:
    failing = fleet(1.0, 1.0, error_share=np.array([[0.3], [0.0]]), workers=50)
    bad = world(failing, trace(failing, 0.1, 40.0, nodes=2, seed=3, mean_s=0.1), rules=BY_WEIGHT)
    settings = Settings(mode=Mode.ADAPTIVE, share_percent=50.0)
    recording, of_it = record(bad, tmp_path / "r", settings=settings)
    rows = coin(recording, Frame.of(recording, None))
    failed = rows.failed == 1.0
    assert failed.sum() > 100
    assert set(rows.chance.tolist()) == {0.5}
    held = holdout(recording, Frame.of(recording, None), of_it)
    assert isinstance(held, Holdout)
    assert held.static["failed"].value > held.adaptive["failed"].value


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (Question(start_s=5.0, name="x"), "what other policies would have picked has no recorded chance"),
        (Question(load=2.0, share_percent=50.0), "load, endpoints, speeds or limits move queues"),
        (Question(share_percent=50.0, weights=(("10.0.0.0:80", 2),)), "at once"),
        (Question(share_percent=50.0), "no recorded pick has a chance that is known"),
    ],
)
def test_what_it_may_not_answer_it_declines(weighed: tuple[Recording, World], question: Question, said: str) -> None:
    found = estimate(*of(weighed), question)
    assert isinstance(found, Declined)
    assert said in found.reason


def test_picks_that_follow_queues_have_no_known_chance(weighed: tuple[Recording, World]) -> None:
    recording, frame, of_it = of(weighed)
    least = replace(of_it, rules=replace(of_it.rules, policy="least_request"))
    found = estimate(recording, frame, least, SHIFT)
    assert isinstance(found, Declined)
    assert "picked by least_request, whose picks follow queues" in found.reason


def test_picks_that_are_not_as_often_as_they_are_said_to_be_are_no_picks_by_weight(tmp_path: Path) -> None:
    rules = Rules(policy="random", routes=(RouteRules(timeout_s=5.0),))  # takes no weights, and they are unequal
    found = estimate(*of(record(roomy(1, rules=rules), tmp_path / "r")), SHIFT)
    assert isinstance(found, Declined)
    assert "picks were not as often as their chances say" in found.reason


def test_little_overlap_is_told_with_what_the_rows_are_worth(weighed: tuple[Recording, World]) -> None:
    one = Question(weights=(("10.0.0.0:80", 1), ("10.0.0.1:80", 1), ("10.0.0.2:80", 128)), end_s=12.0)
    found = estimate(*of(weighed), one)
    assert isinstance(found, Declined)
    assert found.reason.startswith("too little overlap: the ")
    assert "and 500 are needed" in found.reason


def test_where_requests_wait_much_more_traffic_is_another_queue(weighed: tuple[Recording, World]) -> None:
    recording, frame, of_it = of(weighed)
    strong = Question(weights=(("10.0.0.0:80", 6),))
    assert isinstance(estimate(recording, frame, of_it, strong), Estimated)
    crowded = replace(of_it, trust=replace(of_it.trust, waited_share=np.full(3, 0.2)))
    found = estimate(recording, frame, crowded, strong)
    assert isinstance(found, Declined)
    assert "its queue would be another" in found.reason


def test_a_window_takes_only_its_own_rows(weighed: tuple[Recording, World]) -> None:
    recording, frame, _ = of(weighed)
    every = picks(recording, frame, {})
    some = every.between(10.0, 20.0)
    assert len(some) == pytest.approx(len(every) / 4, rel=0.2)
    assert (some.at_s >= 10.0).all()
    assert (some.at_s < 20.0).all()


def test_without_weights_the_wanted_chances_are_the_recorded_ones(weighed: tuple[Recording, World]) -> None:
    recording, frame, of_it = of(weighed)
    rows = picks(recording, frame, {})
    assert len(rows) == len(Trace.concat(list(of_it.chunks())))
    assert rows.wanted[np.arange(len(rows)), rows.action] == pytest.approx(rows.chance, rel=1e-6)
