"""Which model decides: promotion by foresight, drift and the way back, and the proof's last word."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain.champion import BARRED_S, FALLBACK, FIRST, Champion
from brain.decision import GainView
from brain.drift import BOUND, LEAST, Drift
from brain.scores import BLOCK_S, Scores
from brain.settings import Models, Settings
from dataplane.contract import Endpoint, Requests, Service, Topology
from models.base import Prediction
from models.checks import by_columns, check_model
from models.simple import Simple

ENDPOINTS = 4
TOPOLOGY = Topology(1, (Service(0, "app", tuple(Endpoint(i, f"10.0.0.{i}:80") for i in range(ENDPOINTS))),), ())
WITH_CHALLENGER = Settings(models=Models(challenger="other"))


Wrong = Callable[[float, float], float]  # by what factor, given when the model was born and what time it is


class Oracle:
    """A model that knows the truth but for a factor."""

    def __init__(self, wrong: Wrong) -> None:
        self.wrong, self.born, self.now = wrong, -1.0, 0.0

    def learn(self, features: Any, service_of: Any, now: float) -> None:
        self.born = now if self.born < 0 else self.born
        self.now = now

    def expected_s(self, found: Any) -> Any:
        return np.full(ENDPOINTS, 0.1 * self.wrong(self.born, self.now))

    def capacities(self) -> Prediction:
        return Prediction(*np.full((4, ENDPOINTS), np.nan))

    def moved(self, topology: Topology) -> None: ...

    def state(self, topology: Topology) -> dict[str, Any]:
        return {"born": self.born}

    def restore(self, state: dict[str, Any], topology: Topology) -> None:
        self.born = state["born"]


class Life:
    """Each second a few attempts of 100 ms on average at each endpoint, and a judgement."""

    def __init__(
        self,
        settings: Settings = WITH_CHALLENGER,
        seed: int = 0,
        luck: Callable[[float], float] = lambda _: 1.0,
        **wrong: Wrong,
    ) -> None:
        self.random, self.luck, self.now = np.random.default_rng(seed), luck, 0.0
        roster = {name: lambda _t, _s, f=factor: Oracle(f) for name, factor in wrong.items()}
        self.champion = Champion(TOPOLOGY, settings, roster)  # type: ignore[arg-type]
        self.gains: dict[int, GainView] = {}
        self.log: list[tuple[float, str]] = []

    def live(self, seconds: int) -> list[tuple[float, str]]:
        for _ in range(seconds):
            self.now += 1.0
            n = self.random.poisson(8, ENDPOINTS)
            endpoint = np.repeat(np.arange(ENDPOINTS), n)
            took = self.random.exponential(0.1 * self.luck(self.now), len(endpoint))
            self.champion.told(batch(endpoint, took))
            self.champion.learn(SimpleNamespace(endpoints=SimpleNamespace(in_flight=np.ones(4))), None, self.now)  # type: ignore[arg-type]
            self.log += [(self.now, said) for said in self.champion.judge(self.gains, self.now)]
        return self.log

    def alerts(self) -> list[str]:
        return [c.kind for c in self.champion.conditions()]


def batch(endpoint: Any, took: Any) -> Requests:
    return Requests.of(**{
        name: endpoint if name == "endpoint" else took if name == "duration_s" else np.zeros(len(endpoint))
        for name in Requests.dtypes()
    })  # fmt: skip


def right(_born: float, _now: float) -> float:
    return 1.0


def half_wrong(_born: float, _now: float) -> float:
    return 1.5


def test_a_challenger_that_foresees_better_takes_over_and_an_equal_one_does_not() -> None:
    life = Life(queueing=half_wrong, simple=half_wrong, other=right)
    life.live(119)
    assert life.champion.deciding == FIRST
    life.live(120)
    assert life.champion.deciding == "other"
    assert "model other decides: its error is 0." in life.log[0][1]
    for seed in range(5):
        life = Life(seed=seed, queueing=right, simple=half_wrong, other=right)
        assert life.live(1800) == []


def test_without_a_challenger_nobody_takes_over_from_a_model_that_does_not_drift() -> None:
    life = Life(Settings(), queueing=half_wrong, simple=right, other=right)
    assert life.live(1200) == []
    assert life.champion.deciding == FIRST


def drifts(born: float, now: float) -> float:
    """The world changes at 400 s, and this model cannot unlearn the old one."""
    return 2.0 if born < 400 < now else 1.0


def test_case_25_a_model_that_drifts_is_replaced_by_the_simple_one_and_comes_back_when_it_has_learned_anew() -> None:
    life = Life(Settings(), queueing=drifts, simple=right)
    life.live(400)
    assert life.log == []
    life.live(60)
    (at, said), *rest = life.log
    assert said == "model queueing drifted: simple decides while queueing learns anew"
    assert 410 <= at <= 440
    assert rest == []
    assert life.champion.deciding == FALLBACK
    assert life.alerts() == ["ModelDrift"]
    life.live(500)
    assert life.champion.deciding == FALLBACK, "who took over is watched first"
    life.live(100)
    assert life.champion.deciding == FIRST
    assert life.alerts() == []
    assert "model queueing decides: its error is " in life.log[1][1]


def test_a_drifted_model_that_stays_wrong_stays_in_the_shadow() -> None:
    life = Life(Settings(), queueing=lambda _, now: 1.0 if now < 400 else 1.5, simple=right)
    life.live(2500)
    assert [said for _, said in life.log] == ["model queueing drifted: simple decides while queueing learns anew"]
    assert life.alerts() == ["ModelDrift"]


@pytest.mark.parametrize("seed", range(4))
def test_noise_and_what_is_hard_for_all_is_no_drift(seed: int) -> None:
    hard = lambda now: 3.0 if 900 < now < 1500 else 1.0  # noqa: E731
    life = Life(Settings(), seed, hard, queueing=right, simple=lambda *_: 1 / 1.5)
    assert life.live(3600) == []


def test_two_bad_blocks_are_no_drift_and_many_are() -> None:
    drift, random = Drift(), np.random.default_rng(1)
    assert not any(drift.add(x) for x in random.normal(-0.2, 0.1, 200))
    assert not any(drift.add(5.0) for _ in range(2))
    assert not any(drift.add(x) for x in random.normal(-0.2, 0.1, 200))
    assert any(drift.add(0.5) for _ in range(4))


def test_page_s_test_is_silent_on_noise_for_days() -> None:
    random = np.random.default_rng(2)
    drift = Drift()
    assert not any(drift.add(x) for x in random.normal(0.1, 0.2, 50_000).tolist())


@given(st.lists(st.floats(-50, 50), max_size=60))
def test_page_s_test_never_speaks_before_it_has_a_history_and_never_fails(numbers: list[float]) -> None:
    drift = Drift()
    said = [drift.add(x) for x in numbers]
    assert not any(said[:LEAST])
    again = Drift()
    again.restore(drift.state())
    assert again.state() == drift.state()
    assert drift.state()["sum"] <= BOUND + 60 * 4


LOSS, WIN = GainView(-0.3, -0.4, -0.1), GainView(0.3, 0.2, 0.4)


def test_case_26_a_promoted_model_that_the_holdout_proves_bad_is_taken_back_at_once_and_barred() -> None:
    life = Life(queueing=half_wrong, simple=half_wrong, other=right)
    life.live(240)
    assert life.champion.deciding == "other"
    life.gains = {0: LOSS}
    life.live(1)
    assert life.champion.deciding == FIRST
    assert life.log[-1][1] == (
        "model other is taken back, queueing decides again: gain -30.0% (-40.0% to -10.0%), proven before +0.0%"
    )
    assert life.alerts() == ["ModelRolledBack"]
    life.gains = {}
    life.live(1800)
    assert life.champion.deciding == FIRST, "the better foresight brings it back no sooner"
    life.live(int(BARRED_S) - 1800 + 240)
    assert life.alerts() == []
    assert life.champion.deciding == "other", "and after the bar it may try again"


def test_a_gain_that_falls_below_what_was_proven_before_takes_the_model_back() -> None:
    life = Life(queueing=half_wrong, simple=half_wrong, other=right)
    life.gains = {0: WIN}
    life.live(240)
    assert life.champion.deciding == "other"
    life.gains = {0: GainView(0.15, 0.05, 0.25)}
    life.live(1)
    assert life.champion.deciding == "other", "the intervals overlap"
    life.gains = {0: GainView(0.1, 0.05, 0.15)}
    life.live(1)
    assert life.champion.deciding == FIRST


def test_after_the_watch_a_loss_is_no_longer_the_promotions() -> None:
    life = Life(queueing=half_wrong, simple=half_wrong, other=right)
    life.live(240)
    life.live(int(Settings().models.watch_s))
    life.gains = {0: LOSS}
    life.live(10)
    assert life.champion.deciding == "other"


def test_one_of_forty_services_may_lose_by_chance_and_three_may_not() -> None:
    def after(losing: int) -> str:
        life = Life(queueing=half_wrong, simple=half_wrong, other=right)
        life.live(240)
        life.gains = {i: LOSS if i < losing else WIN for i in range(40)}
        life.live(1)
        return life.champion.deciding

    assert (after(3), after(4)) == ("other", FIRST)


def test_an_operator_promotes_a_model_and_the_proof_watches_it_all_the_same() -> None:
    life = Life(Settings(), queueing=right, simple=right, worse=half_wrong)
    life.live(30)
    with pytest.raises(KeyError, match="there is no model 'wors'; did you mean 'worse'"):
        life.champion.promote("wors", life.now)
    life.champion.promote("worse", life.now)
    life.live(1)
    assert life.champion.deciding == "worse"
    assert "by command" in life.log[0][1]
    life.gains = {0: LOSS}
    life.live(1)
    assert life.champion.deciding == FIRST
    life.champion.promote("worse", life.now)
    life.gains = {}
    life.live(2)
    assert life.champion.deciding == "worse", "an order is stronger than the bar"


def test_all_of_it_outlives_a_restart() -> None:
    life = Life(queueing=half_wrong, simple=half_wrong, other=right)
    life.live(240)
    kept = life.champion.state(TOPOLOGY)
    again = Life(queueing=half_wrong, simple=half_wrong, other=right)
    again.now = life.now
    again.champion.restore(kept, TOPOLOGY)
    assert again.champion.deciding == "other"
    again.gains = {0: LOSS}
    again.live(1)
    assert again.champion.deciding == FIRST, "the watch goes on"


def test_a_kept_model_that_is_no_longer_on_the_roster_is_left_out() -> None:
    life = Life(queueing=half_wrong, simple=half_wrong, other=right)
    life.live(240)
    again = Life(queueing=half_wrong, simple=half_wrong)
    again.champion.restore(life.champion.state(TOPOLOGY), TOPOLOGY)
    again.live(10)
    assert again.champion.deciding == FIRST


@given(
    st.lists(st.tuples(st.integers(-3, 9), st.floats(allow_nan=True, allow_infinity=True, width=32)), max_size=30),
    st.floats(allow_nan=True, allow_infinity=True),
)
def test_no_attempt_and_no_expectation_makes_a_score_that_is_no_number(rows: list[tuple[int, float]], e: float) -> None:
    scores = Scores(ENDPOINTS)
    for t in range(int(BLOCK_S) + 2):
        scores.told(batch(np.array([r[0] for r in rows], dtype=int), np.array([r[1] for r in rows], dtype="f4")))
        said = scores.tick({"a": np.full(ENDPOINTS, e), "b": np.full(ENDPOINTS, 0.1)}, float(t))
        assert said is None or all(np.isfinite(x) and x > 0 for x in said.values())


def simple_columns(random: np.random.Generator, k: int) -> dict[str, Any]:
    """What a tick says of four endpoints; one never gets a request, and now and then one hangs."""
    known = np.array([True, True, True, False])
    return {
        "latency_s": np.where(known, random.exponential(0.05, 4), np.nan),
        "latency_sd_s": np.where(known, random.exponential(0.05, 4), np.nan),
        "error_share": np.where(known, random.uniform(0, 0.1, 4), np.nan),
        "samples": np.where(known, 50.0, 0.0),
        "stuck_s": np.where(random.random(4) < 0.05, 2.0, 0.0) * known,
        "now": 1000.0 + k,
    }


def test_the_simple_model_passes_the_check_suite_of_models() -> None:
    check_model(lambda: Simple(4), by_columns(simple_columns), np.random.default_rng(1))
