"""Capacity from features: against queues whose capacity is known, and through faults, a tick a second."""

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.capacity import LEAST, Capacity

HEALTHY = {
    "ok_per_s": 50.0,
    "error_share": 0.0,
    "latency_s": 0.02,
    "latency_sd_s": 0.02,
    "samples": 216.0,
    "total": 1000,
    "in_flight": 1.0,
    "stuck_s": 0.0,
}
UNTOUCHED = {
    "ok_per_s": 0.0,
    "error_share": np.nan,
    "latency_s": np.nan,
    "latency_sd_s": np.nan,
    "samples": 0.0,
    "total": 0,
    "in_flight": 0.0,
    "stuck_s": 0.0,
}


def learn(capacity, *endpoints, now=0.0):
    columns = {name: np.array([e[name] for e in endpoints]) for name in Capacity.columns}
    capacity.learn_many(**columns, now=now)
    return capacity.predict_many()


def told(**changed):
    """What a new model says of one endpoint that is healthy but for this."""
    return learn(Capacity(1, lanes=1), HEALTHY | changed).value[0]


def test_it_is_throughput_plus_one_over_latency():
    assert told() == pytest.approx(50 + 1 / 0.02)


@pytest.mark.parametrize("load", [0.05, 0.5, 0.9, 1.3])
def test_it_finds_the_service_rate_of_a_queue_at_any_load(load):
    """A simulated M/M/1 queue of at most 60 places, so that 1.3 times what it bears is saturation and not infinity."""
    rng, mu, horizon = np.random.default_rng(8), 100.0, 400.0
    ends, free, latencies = [], 0.0, []
    for arrival in np.cumsum(rng.exponential(1 / (mu * load), int(mu * load * horizon))):
        while ends and ends[0] <= arrival:
            heapq.heappop(ends)
        if len(ends) < 60:
            free = max(free, arrival) + rng.exponential(1 / mu)
            heapq.heappush(ends, free)
            latencies.append(free - arrival)
    measured = {
        "ok_per_s": len(latencies) / horizon,
        "latency_s": float(np.mean(latencies)),
        "latency_sd_s": float(np.std(latencies)),
        "samples": float(len(latencies)),
    }
    assert told(**measured) == pytest.approx(mu, rel=0.1)


@pytest.mark.parametrize("load", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("lanes", [1, 4, 16])
def test_an_endpoint_of_many_lanes_is_so_many_queues_side_by_side(lanes, load):
    """Each lane an M/M/1 queue of 100/s with its part of the arrivals: R = 1 / (mu - lambda), exactly."""
    mu, arrivals = 100.0, 100.0 * load
    measured = {"ok_per_s": lanes * arrivals, "latency_s": 1 / (mu - arrivals)}
    assert learn(Capacity(1, lanes=lanes), HEALTHY | measured).value[0] == pytest.approx(lanes * mu)


def test_a_slow_endpoint_of_many_lanes_is_given_up_by_its_speed_and_not_kept_by_its_traffic():
    slow = learn(Capacity(1, lanes=8), HEALTHY | {"latency_s": 0.2}).value[0]
    fast = learn(Capacity(1, lanes=8), HEALTHY).value[0]
    blind = told(latency_s=0.2) / told()
    assert slow / fast < blind


def test_an_endpoint_that_fails_fast_is_never_worth_more_for_it():
    """A thousand refusals a millisecond long, beside a few good answers: no good sign."""
    healthy = told()
    for share in (0.02, 0.1, 0.5, 0.9, 1.0):
        assert told(error_share=share, ok_per_s=50 * (1 - share), samples=5000.0) < healthy
    assert told(error_share=0.5, ok_per_s=25.0) == pytest.approx((25 + 50) / 4)


def test_an_endpoint_that_only_fails_bears_nothing_though_it_has_no_latency():
    only_fails = {"error_share": 1.0, "ok_per_s": 0.0, "latency_s": np.nan, "latency_sd_s": np.nan}
    assert told(**only_fails) == LEAST


def test_nobody_knows_what_an_untouched_endpoint_bears():
    prediction = learn(Capacity(2, lanes=1), HEALTHY, UNTOUCHED)
    assert np.isfinite(prediction.value[0])
    assert np.isnan([prediction.value[1], prediction.low[1], prediction.high[1]]).all()
    assert prediction.count[1] == 0


def test_attempts_of_unknown_latency_move_nothing():
    capacity = Capacity(1, lanes=1)
    learn(capacity, HEALTHY, now=0.0)
    blind = learn(capacity, HEALTHY | {"latency_s": np.nan, "latency_sd_s": np.nan, "total": 2000}, now=1.0)
    assert blind.value[0] == told()


def test_a_hang_takes_it_down_within_two_ticks_before_any_request_ends():
    capacity = Capacity(1, lanes=1)
    log = [learn(capacity, HEALTHY, now=0.0).value[0]]
    for now in (1.0, 2.0, 3.0):
        log.append(learn(capacity, HEALTHY | {"in_flight": 8.0, "stuck_s": now}, now=now).value[0])
    assert log == pytest.approx([100.0, 3 + 1, 3 / 2 + 1 / 2, 3 / 3 + 1 / 3])


def test_a_hang_is_seen_at_an_endpoint_that_never_answered():
    prediction = learn(Capacity(1, lanes=1), UNTOUCHED | {"in_flight": 3.0, "stuck_s": 2.0})
    assert prediction.value[0] == pytest.approx(0.5)
    assert prediction.count[0] == 3
    assert prediction.low[0] < 0.25 < 1.0 < prediction.high[0]


def test_requests_that_are_merely_under_way_are_no_hang():
    assert told(latency_s=2.0, stuck_s=1.5, in_flight=2.0) == told(latency_s=2.0)


def test_when_a_hang_is_over_what_was_known_before_is_still_known():
    capacity = Capacity(1, lanes=1)
    learn(capacity, HEALTHY, now=0.0)
    learn(capacity, HEALTHY | {"in_flight": 8.0, "stuck_s": 2.0}, now=2.0)
    assert learn(capacity, HEALTHY, now=3.0).value[0] == pytest.approx(100.0)


def at_its_floor(rng, slow_until, seconds, capacity):
    """One request a second, of 300 ms while slow and 30 ms after; features of half-life 3 s. Yields (raw, learned)."""
    weight = count = time = square = 0.0
    for now in range(1, seconds + 1):
        keep, n = 2 ** (-1 / 3), rng.poisson(1.0)
        took = rng.exponential(0.3 if now <= slow_until else 0.03, n)
        weight, count = weight * keep + 1, count * keep + n
        time, square = time * keep + took.sum(), square * keep + (took**2).sum()
        known = count > 0.01
        mean = time / count if known else np.nan
        told = {
            "ok_per_s": count / weight,
            "error_share": 0.0 if known else np.nan,
            "latency_s": mean,
            "latency_sd_s": np.sqrt(max(square / count - mean**2, 0.0)) if known else np.nan,
            "samples": count,
            "total": getattr(capacity, "arrived", 0) + n,
            "in_flight": 0.0,
            "stuck_s": 0.0,
        }
        capacity.arrived = told["total"]
        yield told["ok_per_s"] + 1 / mean, learn(capacity, told, now=float(now)).value[0]


def test_at_one_request_a_second_a_recovered_endpoint_is_believed_well_within_a_minute():
    """To 60 % of the 34 a second that it bears when well; its share, and so its evidence, would grow on the way."""
    believed_after = []
    for seed in range(40):
        run = at_its_floor(np.random.default_rng(seed), 60, 110, Capacity(1, lanes=1))
        values = np.array([learned for _, learned in run])
        assert values[30:60].max() < 0.6 * 34, seed
        believed_after.append(int(np.argmax(values[60:] > 0.6 * 34)) if values[60:].max() > 0.6 * 34 else 99)
    assert np.median(believed_after) <= 20
    assert max(believed_after) <= 40


def test_at_one_request_a_second_the_estimate_does_not_jump_with_each_answer():
    raw, remembered = np.log(list(at_its_floor(np.random.default_rng(1), 0, 600, Capacity(1, lanes=1)))[60:]).T
    assert np.std(remembered) < 0.6 * np.std(raw)
    assert np.std(np.diff(remembered)) < 0.25 * np.std(np.diff(raw))
    forgetful = Capacity(1, lanes=1, memory_samples=0.0)
    _, unremembered = np.log(list(at_its_floor(np.random.default_rng(1), 0, 600, forgetful))[60:]).T
    assert np.std(unremembered) > 0.9 * np.std(raw)


def test_at_a_high_rate_the_newest_reading_rules():
    capacity = Capacity(1, lanes=1)
    learn(capacity, HEALTHY, now=0.0)
    slow = HEALTHY | {"ok_per_s": 4.0, "latency_s": 0.5, "total": 1200}
    assert learn(capacity, slow, now=1.0).value[0] == pytest.approx(6.0, rel=0.65)
    assert learn(capacity, slow | {"total": 1400}, now=2.0).value[0] == pytest.approx(6.0, rel=0.05)


def test_without_fresh_attempts_the_estimate_stays_and_its_count_fades_until_nothing_is_claimed():
    capacity = Capacity(1, lanes=1, memory_half_life_s=20.0)
    first = learn(capacity, HEALTHY | {"total": 64}, now=0.0)
    later = learn(capacity, HEALTHY | {"total": 64, "latency_s": 9.0}, now=20.0)
    assert later.value[0] == first.value[0]
    assert (first.count[0], later.count[0]) == (64, pytest.approx(32))
    assert np.isnan(learn(capacity, UNTOUCHED | {"total": 64}, now=300.0).value[0])


def test_a_counter_that_began_again_is_evidence_and_not_a_debt():
    capacity = Capacity(1, lanes=1)
    learn(capacity, HEALTHY, now=0.0)
    after = learn(capacity, HEALTHY | {"total": 500, "latency_s": 0.2, "ok_per_s": 5.0}, now=1.0)
    assert after.value[0] == pytest.approx(10.0, rel=0.2)


def test_the_interval_holds_the_truth_nine_times_in_ten_and_narrows_with_samples():
    rng, widths = np.random.default_rng(9), []
    for n in (10, 100, 1000):
        held = 0
        for _ in range(400):
            arrived = max(rng.poisson(n), 1)
            took = rng.exponential(0.02, arrived)
            sample = HEALTHY | {
                "ok_per_s": 50.0 * arrived / n,
                "samples": float(arrived),
                "latency_s": took.mean(),
                "latency_sd_s": took.std(),
            }
            prediction = learn(Capacity(1, lanes=1), sample)
            held += prediction.low[0] <= 100.0 <= prediction.high[0]
        assert held / 400 > 0.87, n
        widths.append(prediction.high[0] / prediction.low[0])
    assert widths[0] > widths[1] > widths[2] > 1


number = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=300)
@given(st.lists(st.tuples(*[number] * 5, st.integers(0, 10**9), number, number), min_size=1, max_size=5))
def test_no_input_at_all_makes_a_value_below_the_least_or_infinite(rows):
    capacity = Capacity(1, lanes=1)
    for now, row in enumerate(rows):
        with np.errstate(all="raise", under="ignore"):
            prediction = learn(capacity, dict(zip(Capacity.columns, row, strict=True)), now=float(now))
        value = prediction.value[0]
        assert np.isnan(value) or (prediction.low[0] <= value <= prediction.high[0] < np.inf and value >= LEAST)


def test_growing_keeps_what_is_known():
    capacity = Capacity(1, lanes=1)
    learn(capacity, HEALTHY, now=0.0)
    capacity.resize(3)
    prediction = learn(capacity, HEALTHY, UNTOUCHED, HEALTHY | {"latency_s": 0.04}, now=1.0)
    assert prediction.value[[0, 2]] == pytest.approx([100.0, 75.0])
    assert np.isnan(prediction.value[1])


def test_columns_of_another_length_are_refused_by_shape():
    with pytest.raises(ValueError, match="2 slots"):
        learn(Capacity(2, lanes=1), HEALTHY)


def test_parameters_that_cannot_be_are_refused():
    for wrong in ({"error_exponent": 0.0}, {"lanes": 0.5}, {"memory_samples": -1.0}, {"memory_half_life_s": 0.0}):
        with pytest.raises(ValueError, match="above 0"):
            Capacity(1, **wrong)
