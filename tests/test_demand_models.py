"""Demand foretold: what was not seen, what changed, and what nobody would believe."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models.demand
from models.base import put_rows, take_rows
from models.checks import Lessons, check_model
from models.demand import Demand
from models.demand_steps import EXPERTS, StepDemand

DAY = 24  # hours are the longest steps that have a season


def day_of_hours(days, rng, *, ahead=0):
    """Hourly counts with a sharp day; `ahead` hours forward of ours."""
    hour = (np.arange(days * DAY) + ahead) % DAY
    return rng.poisson(np.where((hour >= 8) & (hour < 18), 900.0, 100.0)).astype(float)


def taught(model, counts, first=0):
    for i, count in enumerate(counts):
        model.learn(np.array([count]), first + i)
    return model


def errors(model, counts, first, after):
    """Absolute errors of one step ahead, from step `after` of these counts on."""
    out = []
    for i, count in enumerate(counts):
        if i >= after:
            out.append(abs(model.predict().value[0, 0] - count))
        model.learn(np.array([count]), first + i)
    return np.array(out)


def test_nothing_is_foretold_before_anything_was_learned():
    assert np.isnan(StepDemand(2, 60.0, (1, 5)).predict().value).all()
    assert np.isnan(Demand(2).predict_many(np.array([1.0, 1800.0])).value).all()


def test_the_example_of_the_forecaster_holds():
    assert doctest.testmod(models.demand).failed == 0


def test_what_was_not_seen_is_not_zero():
    model = taught(StepDemand(1, 1.0, (1, 10)), [100.0] * 100 + [np.nan] * 50)
    assert model.predict().value == pytest.approx(100.0, rel=0.02)
    assert model.seen == 100


def test_a_gap_between_steps_is_as_missing_steps_are():
    gap, told = (taught(StepDemand(1, 1.0, (1, 10)), [100.0, 110.0] * 40) for _ in range(2))
    for step in range(80, 500):
        told.learn(np.array([np.nan]), step)
    for model in (gap, told):
        taught(model, [90.0] * 30, first=500)
    np.testing.assert_allclose(gap.predict().value, told.predict().value)


def test_a_gap_leaves_no_season_of_eight_days_before():
    gap, told = (taught(StepDemand(1, 3600.0, (1, 3)), day_of_hours(9, np.random.default_rng(1))) for _ in range(2))
    for step in range(9 * DAY, 14 * DAY):
        told.learn(np.array([np.nan]), step)
    for model in (gap, told):
        taught(model, [50.0], first=14 * DAY)
    np.testing.assert_array_equal(gap._season.history, told._season.history)


def test_a_step_that_is_past_teaches_nothing():
    model = taught(StepDemand(1, 1.0, (1,)), [100.0] * 50)
    before = model.predict().value
    model.learn(np.array([5000.0]), 3)
    np.testing.assert_array_equal(model.predict().value, before)


@pytest.mark.parametrize("odd", [np.inf, -np.inf, -5.0])
def test_what_cannot_be_a_count_is_missing(odd):
    seen = taught(StepDemand(1, 1.0, (1, 3)), [50.0] * 40 + [odd] + [50.0] * 5)
    missing = taught(StepDemand(1, 1.0, (1, 3)), [50.0] * 40 + [np.nan] + [50.0] * 5)
    np.testing.assert_array_equal(seen.predict().value, missing.predict().value)


def test_a_step_change_is_followed_at_once_where_counts_scatter_little():
    model = taught(StepDemand(1, 1.0, (1, 10)), [10_000.0] * 300 + [30_000.0] * 30)
    assert model.predict().value[0, 0] == pytest.approx(30_000, rel=0.05)


def test_a_service_of_few_requests_is_smoothed():
    counts = np.random.default_rng(3).poisson(4.0, 600).astype(float)
    missed = errors(StepDemand(1, 1.0, (1,)), counts, 0, 300)
    assert missed.mean() < 0.85 * np.abs(np.diff(counts[299:])).mean()


def test_always_zero_is_foretold_as_zero():
    said = taught(StepDemand(1, 1.0, (1, 10)), [0.0] * 100).predict()
    assert said.value == pytest.approx(0.0, abs=1e-6)
    assert (said.p99 < 0.5).all()


def test_a_single_count_is_no_forecast_yet_and_ten_are():
    model = taught(StepDemand(1, 1.0, (1,)), [7.0])
    assert np.isnan(model.predict().value).all()
    assert taught(model, [7.0] * 9, first=1).predict().value[0, 0] == pytest.approx(7.0, rel=0.05)


def test_huge_counts_stay_finite_and_do_not_spoil_what_follows():
    model = taught(StepDemand(1, 1.0, (1, 10)), [1e308] * 50 + [100.0] * 600)
    said = model.predict()
    assert np.isfinite(said.p99).all()
    assert said.value[0, 0] == pytest.approx(100.0, rel=0.2)


def test_a_burst_after_silence_does_not_promise_bursts():
    said = taught(StepDemand(1, 1.0, (1,)), [0.0] * 400 + [400.0] + [0.0] * 60).predict()
    assert said.value[0, 0] < 1.0
    assert said.p99[0, 0] < 400


def test_a_day_is_learned():
    rng = np.random.default_rng(4)
    model = taught(StepDemand(1, 3600.0, (1, 3)), day_of_hours(14, rng))
    missed = errors(model, day_of_hours(2, rng), 14 * DAY, 0)
    assert missed.max() < 250  # the last value misses by 800 twice a day


def test_an_outage_of_a_day_does_not_become_the_season():
    rng = np.random.default_rng(5)
    model = taught(StepDemand(1, 3600.0, (1,)), day_of_hours(20, rng))
    taught(model, np.zeros(DAY), first=20 * DAY)
    usual = model._season.profile[0].astype(float) - 1
    assert usual[12] > 0.7 * usual[8:18].max()
    assert usual[12] > 2 * usual[2]


@pytest.mark.parametrize("forward", [1, -1])
def test_a_clock_that_was_changed_is_recovered_from_within_days(forward):
    """Daylight saving: the old season is an hour off; others are believed until it was learned anew."""
    rng = np.random.default_rng(6)
    hour = np.arange(24 * 96) / 4
    shape = 30 + 14 * np.sin(2 * np.pi * hour / 24) + 9 * np.sin(2 * np.pi * hour / 6)
    changed = 14 * 96
    shape[changed:] = np.roll(shape, -4 * forward)[changed:]
    missed = errors(StepDemand(1, 900.0, (1,)), rng.poisson(shape**2).astype(float), 0, 0)
    before, after = np.nanmean(missed[changed - 288 : changed]), np.nanmean(missed[changed + 192 : changed + 480])
    assert after < 1.5 * before


def test_services_know_nothing_of_each_other():
    rng = np.random.default_rng(8)
    counts = rng.poisson(40.0, (200, 2)).astype(float)
    both, alone = StepDemand(2, 1.0, (1, 10)), StepDemand(1, 1.0, (1, 10))
    for i, row in enumerate(counts):
        both.learn(row, i)
        alone.learn(row[:1], i)
    np.testing.assert_allclose(both.predict().value[0], alone.predict().value[0])


def test_who_goes_on_from_a_state_says_the_same_even_in_another_row():
    rng = np.random.default_rng(9)
    first = Demand(2)
    for second in range(200):
        first.learn_many(rng.poisson(30.0, 2).astype(float), second)
    second_life, moved = Demand(2), Demand(3)
    state = first.state()
    second_life.restore(state)
    moved.restore(put_rows(take_rows(state, np.array([0, 1])), np.array([2, 0]), 3))
    ahead = np.array([1.0, 20.0, 60.0])
    for second in range(200, 280):
        row = rng.poisson(30.0, 2).astype(float)
        first.learn_many(row, second)
        second_life.learn_many(row, second)
        moved.learn_many(np.array([row[1], np.nan, row[0]]), second)
    said = first.predict_many(ahead)
    np.testing.assert_array_equal(said.value, second_life.predict_many(ahead).value)
    apart = moved.predict_many(ahead)
    np.testing.assert_allclose(apart.value[[2, 0]], said.value, rtol=0.02)  # rows take turns to be solved
    assert np.isnan(apart.value[1]).all()


def test_room_for_more_services_changes_nothing_for_those_there_are():
    grown, kept = Demand(1), Demand(1)
    for second in range(120):
        grown.learn_many(np.array([20.0 + second % 5]), second)
        kept.learn_many(np.array([20.0 + second % 5]), second)
    grown.resize(3)
    grown.resize(2)
    for second in range(120, 160):
        grown.learn_many(np.array([20.0, 9.0, np.nan]), second)
        kept.learn_many(np.array([20.0]), second)
    said = grown.predict_many(np.array([1.0, 10.0]))
    np.testing.assert_array_equal(said.value[0], kept.predict_many(np.array([1.0, 10.0])).value[0])
    assert said.count.tolist() == [160.0, 40.0, 0.0]


def test_minutes_are_foretold_in_requests_a_second():
    demand = Demand(1)
    for second in range(40 * 60):
        demand.learn_many(np.array([12.0]), float(second))
    said = demand.predict_many(np.array([1.0, 120.0, 600.0, 1200.0]))
    assert said.value[0] == pytest.approx(12.0, rel=0.01)


def test_a_minute_half_unseen_is_told_from_the_other_half():
    demand = Demand(1)
    for second in range(40 * 60):
        demand.learn_many(np.array([12.0 if second % 3 else np.nan]), float(second))
    assert demand.predict_many(np.array([600.0])).value[0] == pytest.approx(12.0, rel=0.01)


AHEAD_S = np.array([1.0, 10.0, 60.0, 300.0, 900.0, 1800.0])


def by_seconds(demand, rate, seconds, first=0, seed=11):
    """Poisson arrivals at each service, second by second."""
    counts = np.random.default_rng(seed).poisson(rate, (seconds, demand.predict_many(AHEAD_S).value.shape[0]))
    for second, count in enumerate(counts.astype(float)):
        demand.learn_many(count, float(first + second))
    return demand


def test_a_horizon_that_nobody_lived_through_is_told_from_nearer_ones_and_wider():
    said = by_seconds(Demand(20), 100.0, 45).predict_many(AHEAD_S)
    assert said.value == pytest.approx(np.full(said.value.shape, 100.0), rel=0.2)
    apart = np.sqrt(np.stack([said.high, said.p99])) - np.sqrt(said.value)
    assert (np.diff(apart[..., 1:], axis=-1) > 0).all()
    assert (said.low >= 0).all()


def test_a_service_that_joins_late_is_told_from_nearer_horizons_too():
    demand = by_seconds(Demand(1), 100.0, 900)
    demand.resize(2)
    by_seconds(demand, 100.0, 45, first=900)
    said = demand.predict_many(AHEAD_S)
    assert np.isfinite(said.p99).all()
    assert (said.high - said.low)[1, -1] > 2 * (said.high - said.low)[0, -1]


def test_nine_in_ten_minutes_half_an_hour_ahead_are_within_the_interval_when_two_hours_were_seen():
    """A random walk, which nobody can foretell: all that can be had is an honest interval."""
    rng = np.random.default_rng(12)
    counts = rng.poisson((30 + np.cumsum(rng.normal(0, 0.15, (300, 60)), axis=0)) ** 2).astype(float)
    model, low, high = StepDemand(60, 60.0, (6, 30), season=False), [], []
    for i, count in enumerate(counts):
        model.learn(count, i)
        said = model.predict()
        low.append(said.low)
        high.append(said.high)
    for k, ahead in enumerate((6, 30)):
        asked = np.arange(120, 300 - ahead)
        truth = counts[asked + ahead]
        within = (np.array(low)[asked, :, k] <= truth) & (truth <= np.array(high)[asked, :, k])
        assert 0.8 < within.mean() < 0.97


def test_where_errors_are_no_bell_the_ends_of_the_interval_move_to_where_they_belong():
    """One minute in five has four times as much: a bell of that spread would be exceeded by each of them."""
    rng = np.random.default_rng(16)
    counts = rng.poisson(np.where(rng.random((1600, 30)) < 0.2, 400.0, 100.0)).astype(float)
    model, above = StepDemand(30, 60.0, (1,), season=False), []
    for i, count in enumerate(counts):
        if i >= 800:
            above.append(count > model.predict().high[:, 0])
        model.learn(count, i)
    assert 0.03 < np.mean(above) < 0.1


def test_after_a_night_away_the_morning_is_foretold_at_every_horizon_and_not_the_evening():
    demand = by_seconds(Demand(5), 240.0, 1200)
    by_seconds(demand, 60.0, 5, first=8 * 3600)
    assert demand.predict_many(AHEAD_S).value == pytest.approx(np.full((5, 6), 60.0), rel=0.4)
    by_seconds(demand, 60.0, 120, first=8 * 3600 + 5)
    assert demand.predict_many(AHEAD_S).value == pytest.approx(np.full((5, 6), 60.0), rel=0.25)


def test_after_a_clock_went_back_it_goes_on_by_the_other_clock():
    demand = by_seconds(Demand(5), 100.0, 300, first=80_000)
    by_seconds(demand, 25.0, 300, first=1000)
    said = demand.predict_many(AHEAD_S)
    assert said.count.tolist() == [600.0] * 5
    assert said.value[:, :4] == pytest.approx(np.full((5, 4), 25.0), rel=0.4)
    assert np.isfinite(said.p99).all()


def test_a_clock_that_went_back_by_a_second_teaches_nothing_twice():
    demand = by_seconds(Demand(1), 100.0, 300)
    demand.learn_many(np.array([5000.0]), 298.0)
    assert demand.predict_many(AHEAD_S).count.tolist() == [300.0]


def odd_week(rng, holiday):
    """Five weeks of hours; on the second day of the fourth next to nothing was asked, if that was a holiday."""
    counts = day_of_hours(35, rng)
    if holiday:
        counts[22 * DAY : 23 * DAY] = rng.poisson(60.0, DAY)
    return counts


def test_a_holiday_is_not_foretold_again_a_week_after():
    kept = {}
    for holiday in (False, True):
        model = taught(StepDemand(1, 3600.0, (1,)), odd_week(np.random.default_rng(13), holiday)[: 25 * DAY])
        at = (np.arange(22 * DAY, 23 * DAY)) % model._season.kept
        kept[holiday] = model._season.history[0, at].astype(float) - 1
    # At noon a root of 30 is usual, and 8 was seen.
    assert kept[True][8:18].mean() > 0.6 * kept[False][8:18].mean()


def test_yesterday_is_kept_as_it_was_however_odd():
    model = taught(StepDemand(1, 3600.0, (1,)), odd_week(np.random.default_rng(13), True)[: 23 * DAY])
    at = np.arange(22 * DAY, 23 * DAY) % model._season.kept
    assert (model._season.history[0, at] - 1).mean() == pytest.approx(np.sqrt(60), rel=0.05)


def test_a_change_for_good_is_the_season_within_weeks():
    counts = day_of_hours(50, np.random.default_rng(14))
    counts[22 * DAY :] *= 4
    model = taught(StepDemand(1, 3600.0, (1,)), counts)
    at = np.arange(46 * DAY, 47 * DAY) % model._season.kept
    assert model._season.history[0, at].max() > 0.9 * np.sqrt(3600)


def test_a_gap_over_days_settles_them_as_missing_steps_do():
    """The day before a gap is held against the week before it, whether the gap is told or not."""
    counts = odd_week(np.random.default_rng(15), True)[: 23 * DAY]
    gap, told = (taught(StepDemand(1, 3600.0, (1, 3)), counts) for _ in range(2))
    for step in range(23 * DAY, 26 * DAY):
        told.learn(np.array([np.nan]), step)
    for model in (gap, told):
        taught(model, [500.0], first=26 * DAY)
    np.testing.assert_array_equal(gap._season.history, told._season.history)
    assert gap._season.usual_distance == told._season.usual_distance


@pytest.mark.parametrize("ahead", [0.0, -1.0, np.nan])
def test_the_past_is_not_foretold(ahead):
    with pytest.raises(ValueError, match="seconds ahead"):
        Demand(1).predict_many(np.array([ahead]))


def test_arrivals_of_another_number_of_services_are_refused():
    with pytest.raises(ValueError, match="shape"):
        Demand(2).learn_many(np.zeros(3), 1.0)


def test_horizons_that_do_not_rise_and_unknown_experts_are_refused():
    with pytest.raises(ValueError, match="horizons"):
        StepDemand(1, 60.0, (5, 1))
    with pytest.raises(ValueError, match="experts"):
        StepDemand(1, 60.0, (1,), experts=("oracle",))


counts_or_not = st.one_of(st.floats(0, 1e18), st.just(np.nan), st.just(0.0), st.floats(allow_nan=True))


@settings(max_examples=25, deadline=None)
@given(st.lists(counts_or_not, min_size=30, max_size=80), st.sampled_from([1.0, 300.0]))
def test_whatever_is_counted_quantiles_are_finite_rising_and_bounded(counts, step_s):
    model = taught(StepDemand(1, step_s, (1, 3)), counts)
    said = model.predict()
    for column in (said.value, said.low, said.high, said.p99):
        ready = np.isfinite(said.value)
        assert np.isfinite(column[ready]).all()
        assert (column[ready] >= 0).all()
    ready = np.isfinite(said.value)
    assert (said.low[ready] <= said.value[ready]).all()
    assert (said.value[ready] <= said.high[ready]).all()
    assert (said.high[ready] <= said.p99[ready]).all()


def test_the_forecaster_passes_every_check_of_a_model():
    def draw(rng, k):
        return {"arrivals": rng.poisson(40.0, 2).astype(float), "now": 1000.0 + k}

    def ask(model, _):
        said = model.predict_many(np.array([1.0, 10.0]))
        return np.concatenate([said.value, said.low, said.high, said.p99]).ravel()

    lessons = Lessons(draw, lambda model, lesson: model.learn_many(**lesson), ask)
    check_model(lambda: Demand(2), lessons, np.random.default_rng(10))


def test_every_expert_can_be_left_out():
    for left_out in EXPERTS:
        model = StepDemand(1, 3600.0, (1,), experts=[e for e in EXPERTS if e != left_out])
        assert np.isfinite(taught(model, [5.0] * 30).predict().value).all()
