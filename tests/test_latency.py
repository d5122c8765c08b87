"""Latency quantiles: what is said, of whom, when, and what it rests on."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.latency import LEVELS, LatencyQuantiles
from models.latency_mixture import mix
from models.latency_paths import Paths, pack, unpack
from models.latency_streams import EXPERTS, empty

SHOP = {"service": 0, "endpoint": 3, "class": 1}


def taught(seconds, x=SHOP, streams=16):
    model = LatencyQuantiles(streams)
    for took in seconds:
        model.learn_one(x, float(took))
    return model


def say(model, **x):
    """p50, p95, p99."""
    return [model.predict_one(SHOP | x, level) for level in LEVELS]


def random_requests(rng, n, *, overlap_s=5.0):
    x = {name: rng.integers(0, most, n) for name, most in (("service", 2), ("endpoint", 4), ("class", 2))}
    return x, np.sort(rng.uniform(0, n, n)), rng.exponential(overlap_s, n)


def test_nothing_is_said_before_anything_was_learned():
    assert LatencyQuantiles(16).predict_one(SHOP) is None


def test_an_endpoint_that_is_new_is_told_by_its_class_then_by_itself():
    rng = np.random.default_rng(1)
    model = LatencyQuantiles(64)
    for _ in range(300):
        model.learn_one(SHOP | {"class": 0}, rng.lognormal(-3, 0.1))
        model.learn_one(SHOP | {"class": 1}, rng.lognormal(0, 0.1))
    log = [say(model, endpoint=9, **{"class": 1})[0]]
    for _ in range(3):
        model.learn_one(SHOP | {"endpoint": 9}, rng.lognormal(2, 0.1))
    log.append(say(model, endpoint=9, **{"class": 1})[0])  # three answers are too few for quantiles of its own
    for _ in range(40):
        model.learn_one(SHOP | {"endpoint": 9}, rng.lognormal(2, 0.1))
    log.append(say(model, endpoint=9, **{"class": 1})[0])
    log.append(say(model, endpoint=9, **{"class": 0})[0])  # a class that this endpoint never had: as its others
    log.append(say(model, service=1)[0])
    assert log[:4] == pytest.approx([np.exp(0), np.exp(0), np.exp(2), np.exp(2)], rel=0.15)
    assert log[4] is None  # of another service nobody knows


def test_in_steady_state_each_quantile_covers_what_it_says_and_its_interval_the_truth():
    rng, held = np.random.default_rng(2), []
    true_s = 0.1 * np.exp(0.5 * np.array([0.0, 1.6449, 2.3263]))
    covered = []
    for _ in range(40):
        took = rng.lognormal(np.log(0.1), 0.5, 700)
        said = LatencyQuantiles(16).replay({k: np.full(700, v) for k, v in SHOP.items()}, np.arange(700.0), took)
        covered.append((took <= said.value)[:, 300:].mean(axis=1))
        held.append(((said.low <= true_s[:, None]) & (true_s[:, None] <= said.high))[:, 300::50].mean(axis=1))
    assert np.mean(covered, axis=0) == pytest.approx(LEVELS, abs=0.015)
    assert np.mean(held, axis=0) == pytest.approx([0.9] * 3, abs=0.06)


def test_trouble_is_followed_within_a_few_answers_and_its_end_too():
    """Twenty times as slow from one request to the next, then well again: no window of 50 has half of either in it."""
    rng = np.random.default_rng(3)
    model = LatencyQuantiles(16)
    regimes = [(400, 0.02), (60, 0.4), (400, 0.02), (60, 0.4), (20, 0.02)]  # the second time it knows what trouble is
    log = []
    for samples, median_s in regimes:
        for took in rng.lognormal(np.log(median_s), 0.2, samples):
            model.learn_one(SHOP, took)
            log.append(say(model))
    p50, p95, _ = np.array(log).T
    second = 400 + 60 + 400
    assert (p95[second + 5 : second + 60] > 0.35).all()
    assert (p50[second + 9 : second + 60] > 0.3).all()
    assert (p50[second + 60 + 9 :] < 0.03).all()
    assert p95[second + 60 + 19] < 0.06


def test_one_slow_answer_is_no_trouble_once_it_is_known_that_they_come_alone():
    rng = np.random.default_rng(4)
    took = rng.lognormal(-4, 0.2, 900)
    took[::60] = 5.0
    model = taught(took)
    before = say(model)
    model.learn_one(SHOP, 5.0)
    assert say(model)[:2] == pytest.approx(before[:2], rel=0.3)


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
@settings(max_examples=25, deadline=None)
def test_quantiles_rise_with_the_level_and_lie_in_their_intervals(seed, n):
    rng = np.random.default_rng(seed)
    x, start, took = random_requests(rng, n)
    said = LatencyQuantiles(64).replay(x, start, took**3)
    ready = np.isfinite(said.value).all(axis=0)
    assert (np.diff(said.value[:, ready], axis=0) >= 0).all()
    assert (said.low[:, ready] <= said.value[:, ready]).all()
    assert (said.value[:, ready] <= said.high[:, ready]).all()
    assert np.isfinite(said.high[:, ready]).all()


def test_experts_that_cross_are_put_in_order():
    """One says a p50 and sleeps at p95, the other the other way about."""
    said, values, behind = np.full((len(EXPERTS), 2), np.nan), np.empty(2), np.empty(2)
    said[0, 0], said[1, 1] = 1.0, -1.0
    mix(empty(4, 2), np.arange(4), said, np.ones(len(EXPERTS), bool), values, behind)
    assert values.tolist() == [-1.0, 1.0]


@given(st.integers(0, 2**32 - 1), st.data())
@settings(max_examples=25, deadline=None)
def test_what_had_not_ended_changes_nothing_of_what_was_said(seed, data):
    """Whatever becomes of the requests that are open at a start, or come later, the prediction at that start stands."""
    rng = np.random.default_rng(seed)
    n = 60
    x, start, took = random_requests(rng, n)
    k = data.draw(st.integers(1, n - 1))
    other = np.where(start + took > start[k], np.maximum(start[k] - start, 0) + rng.exponential(9, n) + 1e-9, took)
    before, after = (LatencyQuantiles(64).replay(x, start, t) for t in (took, other))
    assert np.array_equal(before.value[:, : k + 1], after.value[:, : k + 1], equal_nan=True)
    assert np.array_equal(before.high[:, : k + 1], after.high[:, : k + 1], equal_nan=True)


def test_a_replay_is_the_one_row_verbs_in_the_order_of_starts_and_ends():
    rng = np.random.default_rng(5)
    n = 400
    x, start, took = random_requests(rng, n)
    said = LatencyQuantiles(64).replay(x, start, took).value
    model, opened, asked = LatencyQuantiles(64), {}, {}
    model._paths.make(x, n)  # the replay makes all streams at once, so that who makes way for whom is the same
    for event in np.lexsort((np.arange(2 * n) < n, np.concatenate([start, start + took]))):
        i = event % n
        key = int(x["service"][i]), int(x["endpoint"][i])
        if event < n:
            asked[i] = {name: int(column[i]) for name, column in x.items()} | {"in_flight": opened.get(key, 0)}
            assert [model.predict_one(asked[i], q) for q in LEVELS] == [None if np.isnan(v) else v for v in said[:, i]]
            opened[key] = opened.get(key, 0) + 1
        else:
            opened[key] -= 1
            model.learn_one(asked[i], took[i])


def test_many_at_once_are_what_one_after_the_other_would_be():
    rng = np.random.default_rng(6)
    x, _, took = random_requests(rng, 300)
    one, many = LatencyQuantiles(64), LatencyQuantiles(64)
    for i in range(300):
        one.learn_one({name: int(column[i]) for name, column in x.items()}, took[i])
    many.learn_many(x, took)
    for name, value in one.state().items():
        assert np.array_equal(value, many.state()[name]), name


@pytest.mark.parametrize("took", [np.nan, np.inf, -np.inf, -0.1])
def test_no_time_is_passed_over_one_by_one_and_among_others(took):
    model = taught([0.1] * 20)
    before = model.state()
    model.learn_one(SHOP, took)
    model.learn_many({name: np.array([v, v]) for name, v in SHOP.items()}, np.array([took, took]))
    assert all(np.array_equal(value, before[name]) for name, value in model.state().items())


@pytest.mark.parametrize("bad", [-1, 2**24, np.nan])
def test_an_id_that_is_none_is_passed_over_and_nothing_is_said_of_it(bad):
    model = taught([0.1] * 20)
    before = model.state()["seen"]
    model.learn_one(SHOP | {"endpoint": bad}, 0.1)
    model.learn_many({"service": [0, 0], "endpoint": np.array([bad, bad])}, np.array([0.1, 0.1]))
    assert np.array_equal(model.state()["seen"], before)
    assert model.predict_one(SHOP | {"endpoint": bad}) is None
    assert np.isnan(model.predict_many({"service": [0], "endpoint": [bad]}).value).all()


def test_a_time_of_nothing_or_of_days_is_learned_and_leaves_numbers():
    model = taught([0.0, 1e9, 0.1] * 20)
    assert np.isfinite(say(model)).all()


def test_what_is_in_flight_is_learned_where_it_matters():
    rng = np.random.default_rng(7)
    model = LatencyQuantiles(16)
    for _ in range(1500):
        others = int(rng.integers(0, 8))
        model.learn_one(SHOP | {"in_flight": others}, 0.05 * (1 + others) * rng.lognormal(0, 0.1))
    alone, busy = say(model, in_flight=0)[0], say(model, in_flight=7)[0]
    assert busy > 3 * alone
    assert alone < say(model)[0] < busy  # not told: as usual


def test_when_there_is_no_room_the_longest_silent_makes_way_and_leaves_nothing_behind():
    model = LatencyQuantiles(6)  # one service, one class; so four for the endpoint at hand, and two more
    for endpoint, took in ((1, 9.0), (2, 0.1), (3, 0.1)):
        for _ in range(30):
            model.learn_one({"service": 0, "endpoint": endpoint}, took)
    kept = {tuple(ids) for ids in model.state()["ids"].tolist()}
    assert kept == {(0, 2, 0), (0, 2, -1), (0, 3, 0), (0, 3, -1), (0, -1, 0), (0, -1, -1)}
    assert model.predict_one({"service": 0, "endpoint": 3}) == pytest.approx(0.1)


def test_more_streams_in_a_batch_than_there_is_room_for_are_no_error():
    model = LatencyQuantiles(8)
    x = {"service": np.zeros(50, int), "endpoint": np.arange(50)}
    model.learn_many(x, np.full(50, 0.2))
    assert np.nanmedian(model.predict_many(x).value[0]) == pytest.approx(0.2)


@given(st.tuples(st.integers(0, 2**16 - 1), st.integers(-1, 2**24 - 1), st.integers(-1, 2**16 - 1)))
def test_ids_are_packed_and_unpacked(ids):
    assert unpack(pack(np.array([ids]))).tolist() == [list(ids)]
    assert unpack(np.array([-1])).tolist() == [[-1, -1, -1]]


def test_one_request_finds_the_rows_that_many_find():
    paths = Paths(16)
    paths.make({name: np.array([v]) for name, v in SHOP.items()}, 1)
    for x in (SHOP, SHOP | {"endpoint": 8}, SHOP | {"endpoint": np.nan}, SHOP | {"class": -1}, {**SHOP, "service": 5}):
        many = paths.find({name: np.array([v]) for name, v in x.items()}, 1)
        assert paths.find_one(x).tolist() == many.tolist()


def test_a_state_of_other_levels_is_refused():
    with pytest.raises(ValueError, match="levels"):
        LatencyQuantiles(16, levels=(0.5,)).restore(LatencyQuantiles(16).state())


@pytest.mark.parametrize(
    "wrong", [{"levels": (0.9, 0.5)}, {"levels": (1.0,)}, {"levels": ()}, {"experts": ("oracle",)}]
)
def test_nonsense_is_told_at_once(wrong):
    with pytest.raises(ValueError, match=r"levels|experts"):
        LatencyQuantiles(16, **wrong)


PLAIN = """
import numpy as np
from models.latency import LatencyQuantiles
rng = np.random.default_rng(8)
x = {"service": np.zeros(120, int), "endpoint": rng.integers(0, 2, 120)}
took = rng.exponential(1, 120)
took[60:80] *= 30
said = LatencyQuantiles(16).replay(x, np.arange(120.0), took)
print(repr([float(np.nansum(v)) for v in (said.value, said.low, said.high, said.count)]))
"""


def test_the_machine_code_says_what_plain_python_says():
    told = []
    for off in ("0", "1"):
        environment = os.environ | {"NUMBA_DISABLE_JIT": off}
        run = subprocess.run([sys.executable, "-c", PLAIN], env=environment, capture_output=True, text=True, check=True)
        told.append(eval(run.stdout))
    assert told[0] == pytest.approx(told[1], rel=1e-6)  # windows hold 4 bytes a value
