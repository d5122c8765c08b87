"""How many requests each request found at its endpoint, told from the logs of all nodes."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from bench.queued import Run, run, service_s, ticks
from features import levels
from features.arrivals import Arrivals
from features.store import FeatureStore
from models.decay import When


def told(it: Run, upto: float) -> Arrivals:
    """All that had ended by then, in the order in which it ended."""
    arrivals = Arrivals(len(it.topology.nodes), it.topology.endpoint_slots)
    ended = it.start + it.took
    order = np.argsort(ended)
    order = order[ended[order] <= upto]
    for part in np.array_split(order, 50):
        e, n, start, took = it.endpoint[part], it.node[part], it.start[part], it.took[part]
        when = When.once(float(ended[part].max()), len(part))
        arrivals.told(e, n, start, took, took, np.ones(len(part), bool), when)
    return arrivals


def test_where_who_came_first_leaves_first_the_latest_attempts_are_told_by_all_that_they_found() -> None:
    it = run(20.0, [1.0, 1.0], rate=340.0, cv=0, workers=4)  # of one length each: nobody overtakes
    found, took = told(it, 15.0).lately(0, 200)
    mine = it.endpoint == 0
    start, took_s = it.start[mine], it.took[mine]
    last = np.argsort(start + took_s)
    last = last[(start + took_s)[last] <= 15.0][-200:]
    truth = [int(((start < t) & (start + took_s > t)).sum()) for t in start[last]]
    assert took == pytest.approx(took_s[last])
    assert found == pytest.approx(truth, abs=1)  # clocks are put right to within a batch
    assert max(truth) >= 8


@pytest.mark.parametrize("seed", [1, 2])
def test_each_is_told_how_many_it_found_of_all_that_were_told_of_by_then(seed: int) -> None:
    rng, many, latency_s = np.random.default_rng(seed), 900, np.full(2, 0.2)
    start, took = np.sort(rng.uniform(0.0, 9.0, many)), rng.exponential(0.2, many)
    where, node, ended = rng.integers(2, size=many), rng.integers(2, size=many), start + took
    arrivals, asked = Arrivals(2, 2), 0
    for second in range(1, 10):
        for i in np.argsort(ended).tolist():
            if second - 1 < ended[i] <= second:  # heard of at once, so that clocks are right
                one = slice(i, i + 1)
                at = When.once(float(ended[i]), 1)
                arrivals.told(where[one], node[one], start[one], took[one], took[one], np.ones(1, bool), at)
        found = arrivals.freeze(latency_s, lambda e, n: np.ones(e.shape, bool), float(second))
        by_then = ended <= second
        for e, count, lasted in zip(found.endpoint, found.found, found.took_s, strict=True):
            began = float(start[took == lasted][0])
            there = by_then & (where == e)
            assert count == (start[there] < began).sum() - (ended[there] <= began).sum()
        asked += len(found.found)
    # Four latencies after it began a request is asked about, if it has ended.
    assert asked == ((ended <= 9.0) & (start <= 9.0 - 0.8)).sum()


def test_of_an_endpoint_that_is_not_watched_nothing_is_told() -> None:
    arrivals = Arrivals(1, 2, most=1)
    heard, when = np.ones(2, bool), When.once(1.0, 2)
    arrivals.told(np.array([0, 1]), np.zeros(2, int), np.zeros(2), np.ones(2), np.ones(2), heard, when)
    arrivals.freeze(np.ones(2), lambda e, n: np.ones(e.shape, bool), 1.0)
    watched = [arrivals.lately(e, 5)[0].size for e in range(2)]
    assert sorted(watched) in ([0, 0], [0, 1])


def changes(it: Run) -> int:
    """Endpoint ticks at which one of an unchanging fleet is found to have changed."""
    return sum(int(f.endpoints.changed.sum()) for t, f in ticks(it, store=FeatureStore(it.topology)) if t > 10)


@pytest.mark.parametrize("seed", [5, 6])
def test_a_queue_that_grows_and_drains_is_no_change_of_its_endpoint(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    it = surging(rng)
    now = changes(it)
    monkeypatch.setattr(levels.Levels, "_again", lambda *_: True)
    assert now <= 0.5 * changes(it)


def surging(rng: np.random.Generator) -> Run:
    """Four equal endpoints, each in turn given twice what it bears for six seconds and then next to nothing."""
    free = [[0.0] * 4 for _ in range(4)]
    rows, now = [], 0.0
    while now < 120.0:
        now += rng.exponential(1 / 72.0)
        share = np.array([2.2 if (now / 12.0 + k / 4.0) % 1.0 < 0.4 else 0.4 for k in range(4)])
        e = int(rng.choice(4, p=share / share.sum()))
        begin = max(now, heapq.heappop(free[e]))
        end = begin + rng.exponential(0.2)
        heapq.heappush(free[e], end)
        rows.append((int(rng.integers(8)), e, now, end - now, 0))
    node, endpoint, start, took, klass = (np.array(column) for column in zip(*rows, strict=True))
    of = run(1.0, [1.0] * 4, rate=10.0, nodes=8).topology
    return Run(node, endpoint, start, took, klass, of)


def test_a_tenfold_slowdown_in_a_queue_is_still_found() -> None:
    slow = [1.0, 1.0, 1.0, 1.0, 0.1]
    it = run(30.0, lambda t: slow if t >= 20.3 else [1.0] * 5, rate=850.0, workers=4)
    log = {t: (service_s(f)[4], bool(f.endpoints.changed[4])) for t, f in ticks(it)}
    assert log[20] == (pytest.approx(0.02, rel=0.3), False)
    assert any(log[t][1] for t in (21, 22))
    assert log[25][0] > 0.1
