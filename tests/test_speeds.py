"""What is learned of latency from telemetry alone, beside queues whose truth is known."""

import numpy as np
import pytest

from bench.queued import START, run, service_s, ticks
from features.store import FeatureStore
from models.lanes import GRID


def last(log):
    *_, (_, features) = log
    return features


@pytest.mark.parametrize(("workers", "load"), [(1, 0.6), (4, 0.85), (8, 0.85)])
@pytest.mark.parametrize("cv", [1.0, 2.0])
def test_lanes_and_service_times_are_told_from_telemetry_whatever_the_nodes_clocks_say(workers, load, cv):
    speeds = [1.0, 1.0, 0.5, 0.5]
    rate = load * sum(speeds) * workers / 0.1
    it = run(max(30.0, 2500 / rate), speeds, rate=rate, work=0.1, workers=workers, cv=cv)
    features = last(ticks(it, clocks=[300.0, -7.0]))
    # Work of cv 2 in so short a run leaves the next number of lanes likely too: one run in four or six.
    told = features.endpoints.lanes[0]
    assert told == workers if cv == 1 else GRID[max(np.searchsorted(GRID, workers) - 1, 0)] <= told <= workers
    assert features.lanes.low[0] <= workers <= features.lanes.high[0]
    truth = 0.1 / np.array(speeds)  # beside one worker, uneven work looks longer: what is left of it when one comes
    assert service_s(features) == pytest.approx(truth, rel=0.15 if cv == 1 else 0.3 if workers > 1 else 0.5)


def test_where_nothing_queues_no_number_of_lanes_is_told():
    features = last(ticks(run(30.0, [1.0] * 4, rate=20.0, workers=64)))
    assert np.isnan(features.lanes.value[0])
    assert service_s(features) == pytest.approx(0.02, rel=0.3)


def test_a_slow_network_looks_like_more_lanes_and_leaves_capacity_right():
    features = last(ticks(run(30.0, [1.0] * 2, rate=320.0, workers=4, extra=0.05)))
    bears = features.endpoints.lanes / service_s(features)
    assert bears == pytest.approx(4 / 0.02, rel=0.25)


def test_a_rise_of_load_moves_no_service_time():
    """From 20 % to 90 %: latency doubles, work does not."""
    it = run(60.0, [1.0] * 4, rate=180.0, work=0.08)
    slow = run(60.0, [1.0] * 4, rate=40.0, work=0.08, seed=3)
    rows = {}
    for name in ("node", "endpoint", "start", "took", "klass"):
        rows[name] = np.concatenate([getattr(slow, name)[slow.start < 30], getattr(it, name)[it.start >= 30]])
    told = [service_s(f) for t, f in ticks(type(it)(**rows, topology=it.topology)) if t > 15]
    assert np.array(told) == pytest.approx(0.08, rel=0.3)


def gray(seconds=50.0, back=35.0, rate=50.0, seed=1):
    slow = [1.0, 1.0, 1.0, 1.0, 0.1]
    return run(seconds, lambda t: slow if 20.3 <= t < back else [1.0] * 5, rate=rate, seed=seed)


def test_a_tenfold_slowdown_is_known_within_two_ticks_and_its_end_as_well():
    log = {t: service_s(f)[4] for t, f in ticks(gray())}
    assert log[20] == pytest.approx(0.02, rel=0.3)
    assert log[23] > 0.2 / 2.5
    assert log[30] == pytest.approx(0.2, rel=0.5)
    over = [t for t in log if t > 35 and log[t] < 0.02 * 1.5]
    assert over[0] <= 41


@pytest.mark.parametrize("cv", [1.0, 3.0])
def test_like_endpoints_stay_alike_at_high_load(cv):
    """At 85 %, queues come and go: none of it is a change of speed."""
    it = run(60.0, [1.0] * 5, rate=0.85 * 5 * 4 / 0.06, work=0.06, cv=cv)
    told, changed = [], 0
    for t, features in ticks(it):
        if t > 25:
            told.append(np.log(service_s(features)))
            changed += features.endpoints.changed.sum()
    told = np.array(told) - np.mean(told, axis=1, keepdims=True)
    assert changed <= (4 if cv > 1 else 1)
    assert told.std() < (0.15 if cv > 1 else 0.06)


def test_who_got_the_heavy_requests_by_route_or_by_method_does_not_look_slow():
    it = run(40.0, [1.0] * 4, rate=120.0, heavy=(0,), route_cost=(0.5, 5.5), route_share=(0.9,))
    blind, told = last(ticks(it, routes=False)), last(ticks(it))
    by_method = last(ticks(it, methods=True))
    for features, low, high in ((blind, 1.5, 9.0), (told, 0.75, 1.3), (by_method, 0.75, 1.3)):
        slow = features.endpoints.level_s
        assert low < slow[0] / np.median(slow[1:]) < high


def test_one_attempt_of_a_minute_among_many_is_no_slowness():
    it = run(40.0, [1.0] * 4, rate=40.0)
    odd = it.took.copy()
    odd[np.flatnonzero((it.endpoint == 2) & (it.start > 25))[0]] = 60.0
    slow = last(ticks(it, took=odd)).endpoints.level_s
    assert slow[2] / np.median(slow) < 1.3


@pytest.mark.parametrize("late", [[1.0, 1.0, 1.0], [0.0, 2.0, 5.0]])
def test_telemetry_that_comes_seconds_late_is_learned_when_it_comes(late):
    it = run(50.0, [1.0, 1.0, 0.5], rate=100.0, nodes=3)
    slow = service_s(last(ticks(it, late=late, clocks=[0.0, 300.0, -300.0])))
    assert slow[2] / slow[:2].mean() == pytest.approx(2.0, rel=0.3)


def lying(times, nodes=3, liars=(0,), seconds=40.0):
    it = run(seconds, [1.0] * 4, rate=160.0, nodes=nodes)
    lie = np.isin(it.node, liars) & (it.endpoint == 0) & (it.start > 20)
    return it, np.where(lie, it.took * times, it.took)


@pytest.mark.parametrize(("nodes", "liars"), [(3, (0,)), (10, (0, 1, 2))])
def test_a_third_of_the_nodes_that_lie_move_nothing_and_are_named(nodes, liars):
    it, took = lying(500.0, nodes, liars)
    told = {t: f for t, f in ticks(it, took=took) if t > 19}
    ratio = [f.endpoints.level_s[0] / np.median(f.endpoints.level_s) for f in told.values()]
    assert max(ratio) < 1.3
    assert set(np.flatnonzero(told[39].nodes.contradicts)) == set(liars)
    assert not told[39].endpoints.disputed[3]


def test_of_two_nodes_that_disagree_nobody_can_say_who_lies():
    it, took = lying(500.0, nodes=2)
    told = {t: f for t, f in ticks(it, took=took) if t > 19}
    assert next(t for t in told if told[t].endpoints.disputed[0]) <= 23
    assert not any(told[t].endpoints.disputed[1] for t in told)


def test_a_node_that_is_far_away_does_not_lie():
    it = run(40.0, [1.0, 1.0, 0.3, 1.0], rate=120.0, nodes=3)
    took = it.took + np.where(it.node == 2, 0.06, 0.0)
    assert not any(f.nodes.contradicts.any() for _, f in ticks(it, took=took))


def test_five_failures_in_a_hundred_everywhere_tell_nobody_apart():
    it = run(50.0, [1.0] * 4, rate=100.0)
    failed = np.random.default_rng(1).random(len(it.start)) < 0.05
    share = last(ticks(it, failed=failed)).endpoints.settled_error_share
    assert share == pytest.approx(0.05, abs=0.025)


def test_an_endpoint_that_begins_to_fail_is_known_at_once_and_when_it_stops_as_well():
    it = run(50.0, [1.0] * 4, rate=40.0)
    failed = (it.endpoint == 1) & (it.start > 20.2) & (it.start < 35)
    log = {t: f.endpoints.settled_error_share[1] for t, f in ticks(it, failed=failed)}
    assert log[20] == 0.0
    assert log[22] > 0.8
    assert log[37] < 0.1


def test_after_a_restart_all_is_known_at_the_first_tick():
    it = run(40.0, [1.0, 0.5, 1.0], rate=0.8 * 2.5 * 4 / 0.04, work=0.04)
    store = FeatureStore(it.topology)
    before = last(ticks(it, store=store))
    again = FeatureStore(it.topology)
    again.restore(store.state(), START + 41)
    after = again.freeze(START + 41.5)
    assert after.endpoints.level_s == pytest.approx(before.endpoints.level_s, rel=1e-3)
    assert after.endpoints.work_share == pytest.approx(before.endpoints.work_share, rel=0.05)
    assert after.lanes.value.tolist() == before.lanes.value.tolist() == [4.0]
