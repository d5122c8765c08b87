"""Capacity from what is known of an endpoint: service time, lanes, failures and silences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.capacity import LEAST, Capacity

HEALTHY = {
    "level_s": 0.1,
    "level_error": 0.05,
    "level_count": 400.0,
    "work_share": 0.5,
    "lanes": 4.0,
    "settled_error_share": 0.0,
    "settled_samples": 400.0,
    "rate_per_s": 20.0,
    "in_flight": 2.0,
    "stuck_s": 0.0,
    "slow_s": 0.0,
    "total": 400.0,
}
UNTOUCHED = HEALTHY | {
    "level_s": np.nan,
    "level_error": np.inf,
    "level_count": 0.0,
    "work_share": np.nan,
    "settled_error_share": np.nan,
    "settled_samples": 0.0,
    "rate_per_s": 0.0,
    "in_flight": 0.0,
}


def learned(*endpoints):
    capacity = Capacity(len(endpoints))
    columns = {name: np.array([e[name] for e in endpoints]) for name in Capacity.columns}
    capacity.learn_many(**columns, now=0.0)
    return capacity


def told(**changed):
    return learned(HEALTHY | changed).predict_many().value[0]


def test_it_is_the_lanes_over_the_service_time():
    assert told() == pytest.approx(4 / 0.05)
    assert told(lanes=1.0) == pytest.approx(1 / 0.05)
    assert told(level_s=1.0) == pytest.approx(4 / 0.5)


def test_the_curve_is_flat_while_a_lane_is_free_and_straight_beyond():
    curve = learned(HEALTHY).curve
    assert [round(float(curve(np.array([n]))[0]), 4) for n in (0, 3, 4, 7, 11)] == [0.05, 0.05, 0.0625, 0.1, 0.15]


def test_where_no_queue_was_seen_all_of_latency_is_work():
    assert told(work_share=np.nan) == pytest.approx(4 / 0.1)


def test_an_endpoint_that_fails_fast_is_never_worth_more_for_it():
    for share in (0.02, 0.1, 0.5, 0.9, 1.0):
        assert told(settled_error_share=share, rate_per_s=5000.0) < told()
    assert told(settled_error_share=0.5) == pytest.approx(told() / 4)


def test_an_endpoint_that_only_fails_bears_nothing_though_it_has_no_latency():
    assert told(settled_error_share=1.0, level_s=np.nan, level_count=0.0) == LEAST


def test_a_share_of_failures_that_all_have_cuts_nobody():
    value = learned(*[HEALTHY | {"settled_error_share": 0.05}] * 3).predict_many().value
    assert (value / value.mean()).tolist() == [1, 1, 1]


def test_nobody_knows_what_an_untouched_endpoint_bears():
    model = learned(HEALTHY, UNTOUCHED)
    for prediction in (model.predict_many(), model.service_times()):
        assert np.isfinite(prediction.value[0])
        assert np.isnan([prediction.value[1], prediction.low[1], prediction.high[1]]).all()
    assert np.isnan(model.curve(np.zeros(2))[1])


def test_a_silence_is_a_hang_when_its_chance_is_one_in_e_to_the_ten():
    """20 a second: half a second is e**-10. The rate told has fallen with the silence, by half in 3 s."""
    for stuck_s, hangs in ((0.4, False), (0.49, False), (0.52, True), (2.0, True)):
        rate = 20.0 * 2 ** (-stuck_s / 3)
        model = learned(HEALTHY | {"stuck_s": stuck_s, "rate_per_s": rate})
        assert bool(model.hanging[0]) is hangs, stuck_s
    assert told(stuck_s=2.0, rate_per_s=12.6) == pytest.approx(3 / 2 + 1 / 2, rel=0.01)


def test_where_some_requests_cost_far_more_than_others_a_silence_is_no_hang_before_such_a_one_would_have_ended():
    """One in twenty takes three seconds: a few of them keep all workers busy for as long."""
    for stuck_s, hangs in ((2.0, False), (3.0, False), (3.1, True)):
        rate = 20.0 * 2 ** (-stuck_s / 3)
        model = learned(HEALTHY | {"stuck_s": stuck_s, "rate_per_s": rate, "slow_s": 3.0})
        assert bool(model.hanging[0]) is hangs, stuck_s
    assert learned(HEALTHY | {"stuck_s": 2.0, "rate_per_s": 12.6, "slow_s": np.nan}).hanging[0], "nothing known of it"


def test_at_one_request_a_second_half_a_second_of_silence_is_none():
    assert told(stuck_s=1.0, rate_per_s=1.0) == told()
    assert told(stuck_s=11.0, rate_per_s=1.0 * 2 ** (-11 / 3)) < 1.0


def test_a_request_open_for_thirty_latencies_hangs_however_few_there_are():
    assert told(stuck_s=1.6, rate_per_s=0.01) < 3.0


def test_requests_that_are_merely_under_way_are_no_hang():
    assert told(level_s=4.0, stuck_s=1.5, in_flight=2.0) == told(level_s=4.0)


def test_a_hang_is_seen_at_an_endpoint_that_never_answered():
    prediction = learned(UNTOUCHED | {"in_flight": 3.0, "stuck_s": 2.0}).predict_many()
    assert prediction.value[0] == pytest.approx(0.5)
    assert prediction.count[0] == 3
    assert prediction.low[0] < 0.25 < 1.0 < prediction.high[0]


@given(st.lists(st.tuples(*[st.floats()] * len(Capacity.columns)), min_size=1, max_size=5))
def test_whatever_it_is_told_a_value_is_positive_and_inside_its_interval_or_unknown(rows):
    prediction = learned(*[dict(zip(Capacity.columns, row, strict=True)) for row in rows]).predict_many()
    known = np.isfinite(prediction.value)
    assert (prediction.value[known] >= LEAST).all()
    assert (prediction.low[known] <= prediction.value[known]).all()
    assert (prediction.value[known] <= prediction.high[known]).all()


def test_columns_of_another_length_are_refused():
    with pytest.raises(ValueError, match="for 2 slots"):
        Capacity(2).learn_many(**{name: np.zeros(3) for name in Capacity.columns}, now=0.0)


@pytest.mark.parametrize("wrong", [{"error_exponent": 0.0}, {"rate_half_life_s": -1.0}])
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="must be above 0"):
        Capacity(1, **wrong)


def test_a_hang_is_taken_back_when_an_attempt_ends_there_and_not_because_its_requests_are_out_of_sight():
    capacity = Capacity(1)

    def told(**changed):
        columns = {name: np.array([v]) for name, v in (HEALTHY | changed).items()}
        capacity.learn_many(**columns, now=0.0)
        return bool(capacity.hanging[0]), capacity.predict_many().value[0]

    assert told(in_flight=9.0, stuck_s=1.0)[0]
    hanging, bears = told(in_flight=0.0, stuck_s=0.0)
    assert hanging
    assert bears < 5.0, "moved to another tier it is a new host to Envoy, and nothing seems open"
    assert told(total=401.0) == (False, pytest.approx(80.0))
