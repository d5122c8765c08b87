"""The plain forecast: what came lately goes on coming, and how sure that is was learned from having said so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.demand_plain import LEAST_STEPS, PlainDemand
from models.forecast import Forecast

AHEAD_S = np.array([1.0, 10.0, 60.0, 300.0, 900.0, 1800.0])
T0 = 1_700_000_000.0


def taught(rates: np.ndarray, *, start: float = T0, model: PlainDemand | None = None) -> PlainDemand:
    """A model of as many services as there are columns, told a row a second."""
    model = model or PlainDemand(rates.shape[1])
    for second, came in enumerate(rates):
        model.learn_many(came, start + second)
    return model


def poisson(mean: float, seconds: int, services: int = 1, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).poisson(mean, (seconds, services)).astype(float)


def all_of(forecast: Forecast) -> np.ndarray:
    return np.stack([forecast.low, forecast.value, forecast.high, forecast.p99])


def test_nothing_is_foretold_of_too_few_seconds() -> None:
    model = taught(poisson(50, LEAST_STEPS - 1))
    assert np.isnan(all_of(model.predict_many(AHEAD_S))).all()
    said = taught(poisson(50, 1), start=T0 + LEAST_STEPS, model=model).predict_many(AHEAD_S)
    assert np.isfinite(all_of(said)).all()
    assert said.count[0] == LEAST_STEPS


def test_what_came_lately_is_foretold_in_an_interval_that_widens_with_time() -> None:
    said = taught(poisson(100, 300)).predict_many(AHEAD_S)
    assert said.value[0] == pytest.approx(100, rel=0.1)
    assert (np.diff(all_of(said), axis=0) >= 0).all()
    width = (said.high - said.low)[0]
    assert width[-1] > width[0]


def test_nine_in_ten_seconds_fall_within_the_interval() -> None:
    seen, model = poisson(40, 4000, services=5), PlainDemand(5)
    within, above = [], []
    for second, came in enumerate(seen):
        if second > 2000:
            said = model.predict_many(np.array([1.0]))
            within.append((came >= said.low[:, 0]) & (came <= said.high[:, 0]))
            above.append(came > said.p99[:, 0])
        model.learn_many(came, T0 + second)
    assert np.mean(within) == pytest.approx(0.9, abs=0.03)
    assert np.mean(above) == pytest.approx(0.01, abs=0.008)


def test_where_traffic_wanders_the_far_interval_is_wider_than_where_it_stands() -> None:
    still = np.full(3600, 100.0)
    wave = 100 + 60 * np.sin(2 * np.pi * np.arange(3600) / 1200)
    said = taught(np.stack([still, wave], axis=1)).predict_many(AHEAD_S)
    width = (said.high - said.low)[:, 3]
    assert width[1] > 4 * width[0]


def test_a_gap_is_not_a_quiet_time() -> None:
    seen = np.concatenate([poisson(80, 120), np.full((60, 1), np.nan), poisson(80, 1)])
    said = taught(seen).predict_many(AHEAD_S)
    assert said.value[0, 0] == pytest.approx(80, rel=0.25)
    assert said.count[0] == 121


def test_a_quiet_time_is_foretold_to_go_on() -> None:
    said = taught(np.concatenate([poisson(80, 120), np.zeros((120, 1))])).predict_many(AHEAD_S)
    assert said.value[0, 0] < 0.1


def test_what_is_no_rate_was_not_seen() -> None:
    steady = np.full((60, 3), 10.0)
    steady[40] = [np.inf, -5.0, np.nan]
    said = taught(steady).predict_many(AHEAD_S)
    assert said.value[:, 0].tolist() == [10.0, 10.0, 10.0]
    assert said.count.tolist() == [59.0, 59.0, 59.0]


def test_after_a_night_away_the_first_second_is_believed_and_the_past_is_not() -> None:
    model = taught(poisson(100, 600))
    model.learn_many(np.array([20.0]), T0 + 12 * 3600)
    assert model.predict_many(AHEAD_S).count[0] < LEAST_STEPS
    assert np.isnan(model.predict_many(AHEAD_S).value).all()


def test_after_a_minute_away_it_goes_on_where_it_was() -> None:
    model = taught(poisson(100, 600))
    model.learn_many(np.array([104.0]), T0 + 660)
    assert np.isfinite(all_of(model.predict_many(AHEAD_S))).all()


def test_a_clock_that_went_back_does_no_harm() -> None:
    model = taught(poisson(100, 120))
    said = taught(poisson(100, 120), start=T0 - 86_400, model=model).predict_many(AHEAD_S)
    assert said.value[0, 0] == pytest.approx(100, rel=0.2)


def test_after_a_clock_went_back_nothing_is_held_against_what_was_said_by_the_other_clock() -> None:
    model = taught(np.full((120, 1), 100.0))
    before = model.state()["weight"]
    taught(np.full((3, 1), 400.0), start=T0 - 86_400, model=model)
    assert np.array_equal(model.state()["weight"][:, 1:], before[:, 1:])


def test_services_that_join_are_unseen_and_the_others_stay_as_they_are() -> None:
    model, other = taught(poisson(100, 120)), taught(poisson(100, 120))
    model.resize(3)
    a, b = model.predict_many(AHEAD_S), other.predict_many(AHEAD_S)
    assert np.array_equal(all_of(a)[:, :1], all_of(b))
    assert np.isnan(all_of(a)[:, 1:]).all()
    model.resize(1)
    assert model.predict_many(AHEAD_S).count.size == 3


def test_one_service_is_told_apart_from_another() -> None:
    together = taught(np.concatenate([poisson(5, 400), poisson(500, 400)], axis=1))
    alone = taught(poisson(500, 400))
    assert np.array_equal(all_of(together.predict_many(AHEAD_S))[:, 1:], all_of(alone.predict_many(AHEAD_S)))


def test_a_state_taken_up_goes_on_as_if_never_stopped() -> None:
    seen = poisson(30, 400, services=2)
    one, other = taught(seen[:200]), PlainDemand(2)
    other.restore(one.state())
    for model in (one, other):
        taught(seen[200:], start=T0 + 200, model=model)
    assert np.array_equal(all_of(one.predict_many(AHEAD_S)), all_of(other.predict_many(AHEAD_S)))


@pytest.mark.parametrize("wrong", [{"half_life_s": 3.0}, {"level": np.zeros(3)}, {"at": "noon"}, {"steps": None}])
def test_a_state_of_something_else_is_refused_and_nothing_changes(wrong: dict) -> None:
    model = taught(poisson(30, 60))
    before = all_of(model.predict_many(AHEAD_S))
    with pytest.raises(ValueError, match=next(iter(wrong))):
        model.restore(taught(poisson(99, 60)).state() | wrong)
    assert np.array_equal(all_of(model.predict_many(AHEAD_S)), before)


def test_arrivals_of_another_number_of_services_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        PlainDemand(2).learn_many(np.zeros(3), T0)
    with pytest.raises(ValueError, match="half-life"):
        PlainDemand(2, half_life_s=0.0)


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(st.tuples(st.floats(allow_nan=True, width=32), st.floats(-10, 1e5)), min_size=1, max_size=60),
    ahead_s=st.lists(st.floats(0.5, 4000), min_size=1, max_size=4),
)
def test_whatever_comes_a_forecast_is_unknown_or_in_order(
    steps: list[tuple[float, float]], ahead_s: list[float]
) -> None:
    model, now = taught(poisson(20, 40)), T0 + 40
    for came, later in steps:
        now += later
        model.learn_many(np.array([came]), now)
        figures = all_of(model.predict_many(np.array(ahead_s)))
        unknown = np.isnan(figures).any(axis=0)
        assert np.isnan(figures[:, unknown]).all()
        assert (figures[:, ~unknown] >= 0).all()
        assert (np.diff(figures[:, ~unknown], axis=0) >= 0).all()
