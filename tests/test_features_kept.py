"""Features over a restart: kept by name, faded by the time away, refused when foreign."""

import numpy as np
import pytest

from dataplane.contract import Arm, Endpoint, Node, Outcome, Service, Topology
from features.dialogue import CART, SHOP, START, A, B, C, Told, alike, figures
from features.levels import Levels
from weirflow import checkpoint

RENUMBERED = Topology(
    version=1,
    services=(
        Service(0, "cart", (Endpoint(0, "10.0.1.1:80"),)),
        Service(1, "search", (Endpoint(1, "10.0.2.1:80"),)),
        Service(2, "shop", (Endpoint(3, "10.0.0.9:80"), Endpoint(2, "10.0.0.1:80"))),  # b is gone, another is new
    ),
    nodes=(Node(0, "edge-1"),),
)


def ran_for_a_minute():
    told, rng = Told(), np.random.default_rng(4)
    for tenth in range(600):
        at = (tenth + 0.5) / 10
        told.attempts(at, A, n=10, took=rng.exponential(0.05, 10))
        told.attempts(at, B, n=5, took=rng.exponential(0.05, 5), outcome=Outcome.ERROR)
        told.attempts(at, C, n=20, took=rng.exponential(0.01, 20), arm=Arm.STATIC)
        told.felt(at, Outcome.ERROR)
    told.freeze(60.0)
    return told


def through_a_file(state):
    return checkpoint.decode(checkpoint.encode(state))


def test_a_restored_store_knows_what_the_old_one_knew():
    old = ran_for_a_minute()
    new = Told(start=START + 60.0)
    new.store.restore(through_a_file(old.store.state()), START + 60.0)
    before, after = old.freeze(61.0), new.freeze(1.0)
    assert alike(before.endpoints, after.endpoints)
    for name, array in figures(before.services).items():
        assert np.array_equal(array, getattr(after.services, name), equal_nan=True), name


FOUR = Topology(
    version=1,
    services=(Service(0, "shop", tuple(Endpoint(i, f"10.0.0.{i}:80") for i in range(4))),),
    nodes=(Node(0, "edge-1"),),
)


def even(seconds, told, rng, first=1.0, at=0.0):
    """Even work at four endpoints, and when a change of the first was noted."""
    for tenth in range(int(seconds * 10)):
        now = at + (tenth + 0.5) / 10
        for e in range(4):
            told.attempts(now, e, n=2, took=0.05 * (first if e == 0 else 1.0) * rng.lognormal(0.0, 0.15, 2))
        if tenth % 10 == 9 and told.endpoints(at + (tenth + 1) / 10).noted[0] > 0:
            return (tenth + 1) / 10
    return None


@pytest.mark.parametrize("since", [{}, {"service_speeds"}, {"service_speeds", "noting"}])
def test_what_is_known_of_how_attempts_lie_tells_a_slow_endpoint_after_a_restart_as_soon_as_without_one(since):
    """`since`: what a state from an older Weirflow has not. It is taken up, and such a change takes longer."""
    old = Told(FOUR)
    assert even(60, old, np.random.default_rng(8)) is None
    state = through_a_file(old.store.state())
    for name in since:
        state.pop(name, None)
        state["speeds"].pop(name, None)
    new = Told(FOUR, start=START + 60.0)
    new.store.restore(state, START + 60.0)
    new.freeze(0.0)
    went_on = even(30, old, np.random.default_rng(9), first=1.8, at=60.0)
    took_up = even(30, new, np.random.default_rng(9), first=1.8)
    assert went_on is not None
    assert (took_up == went_on) is (not since), (took_up, went_on)


def test_how_attempts_lie_is_found_by_name_and_who_is_new_has_no_past():
    members = (Endpoint(0, "10.0.0.9:80"), Endpoint(1, "10.0.0.3:80"), Endpoint(2, "10.0.0.0:80"))
    other = Topology(1, (Service(0, "cart", ()), Service(1, "shop", members)), (Node(0, "edge-1"),))
    old = Told(FOUR)
    even(20, old, np.random.default_rng(8))
    new = Told(other, start=START + 20.0)
    new.store.restore(through_a_file(old.store.state()), START + 20.0)
    before, after = old.store.state(), new.store.state()
    histograms = after["service_speeds"]["seen"]
    assert np.array_equal(histograms[1], before["service_speeds"]["seen"][0])
    assert not histograms[0].any()
    seen, stood = (after["speeds"]["noting"][name] for name in ("seen", "stood"))
    assert seen[1:].tolist() == before["speeds"]["noting"]["seen"][[3, 0]].tolist()
    assert seen[1:].all()
    assert (seen[0], np.isnan(stood[0]), np.isfinite(stood[1:]).all()) == (0.0, True, True)


LANES = np.array([4.0])


def crowd(levels, start):
    """One endpoint of 4 lanes is asked ever more for two minutes, until requests take five times their 50 ms of work
    because they wait. When its level was taken for another one.
    """
    zero = np.zeros(1, dtype=np.int64)
    for quarter in range(480):
        now = start + quarter / 4 + 0.1
        rate = 10.0 + 66.0 * quarter / 480
        took = max(0.05, 0.0125 / (1.0 - 0.0125 * rate))  # 50 ms times 1 + (n + 1 - 4) / 4, of which n = rate * took
        endpoint = np.zeros(int(rate / 4), dtype=np.int64)
        levels.told(endpoint, endpoint, np.full(endpoint.size, took), LANES, zero, now)
        if quarter % 4 == 3:
            level = levels.freeze(LANES, zero, zero, now + 0.1)
            if level.changed[0] or level.noted[0]:
                return now
    return None


def test_a_queue_is_no_slowness_after_a_restart_either():
    """What is open is told by what ended since, as it was in the run before."""
    old, zero = Levels(1, 1, 1), np.zeros(1, dtype=np.int64)
    old.begin(zero, 0.0)
    for quarter in range(240):
        old.told(np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64), np.full(3, 0.05), LANES, zero, quarter / 4)
        if quarter % 4 == 3:
            old.freeze(LANES, zero, zero, quarter / 4)
    new = Levels(1, 1, 1)
    new.restore(old.state(), 60.0, 60.0)
    new.freeze(LANES, zero, zero, 60.0)
    assert crowd(old, 60.0) is None
    assert crowd(new, 60.0) is None


def test_a_state_finds_its_owners_by_name_in_a_run_with_other_numbers():
    old = ran_for_a_minute()
    new = Told(RENUMBERED, start=START + 60.0)
    new.store.restore(through_a_file(old.store.state()), START + 60.0)
    before, after = old.freeze(60.0), new.freeze(0.0)
    for name, array in figures(after.endpoints).items():
        if name not in ("in_flight", "stuck_s"):
            assert array[[2, 0]].tolist() == figures(before.endpoints)[name][[A, C]].tolist(), name
    assert after.endpoints.total[[1, 3]].tolist() == [0, 0]
    assert after.endpoints.age_s[[1, 3]].tolist() == [0, 0]
    assert np.array_equal(after.services.p99_s[[2, 0]], before.services.p99_s[[SHOP, CART]], equal_nan=True)
    assert after.services.failure_cost_s[[2, 0]].tolist() == before.services.failure_cost_s[[SHOP, CART]].tolist()
    assert after.services.total[1].tolist() == [0, 0]


@pytest.mark.parametrize("away_s", [0.0, 1.0, 6.0])
def test_time_away_fades_the_evidence_and_bends_no_rate(away_s):
    old = ran_for_a_minute()
    samples = old.endpoints(60.0).samples
    back = 60.0 + away_s
    new = Told(start=START + back)
    new.store.restore(through_a_file(old.store.state()), START + back)
    seen = new.endpoints(0.0)
    assert seen.samples == pytest.approx(samples * 2 ** (-away_s / 3.0))
    assert seen.rate_per_s == pytest.approx([100, 50, 200], rel=0.02)
    assert seen.age_s.tolist() == [back] * 3
    assert new.services(0.0).requests_per_s[CART, Arm.STATIC] == pytest.approx(200, rel=0.02)


def test_a_clock_that_is_behind_in_the_next_run_ages_nothing():
    old = ran_for_a_minute()
    before = old.freeze(60.0)
    new = Told(start=START - 500.0)
    new.store.restore(through_a_file(old.store.state()), START - 500.0)
    after = new.freeze(0.0)
    for name in ("rate_per_s", "samples", "latency_s", "p99_s"):
        assert np.allclose(getattr(after.endpoints, name), getattr(before.endpoints, name), equal_nan=True), name
    assert np.allclose(after.services.requests_per_s, before.services.requests_per_s)
    assert (after.endpoints.age_s >= 0).all()
    assert (after.endpoints.quiet_s >= 0).all()
    new.attempts(0.0, A, n=1000, took=5.0)
    assert new.endpoints(0.0).p50_s[A] == pytest.approx(5.0, rel=0.02)


def test_a_restored_store_goes_on_learning():
    old = ran_for_a_minute()
    new = Told(start=START + 60.0)
    new.store.restore(old.store.state(), START + 60.0)
    for tenth in range(50):
        new.attempts((tenth + 0.5) / 10, A, n=10, took=0.5)
    seen = new.endpoints(5.0)
    assert seen.rate_per_s[A] == pytest.approx(100, rel=0.02)
    assert seen.latency_s[A] > 0.3


def test_a_foreign_state_is_refused_and_changes_nothing():
    told = ran_for_a_minute()
    good = told.store.state()
    before = told.endpoints(60.0)
    other = Told(half_life_s=9.0).store.state()
    for bad in (
        {},
        {"kind": "somebody else's"},
        other,
        good | {"endpoint_names": good["endpoint_names"] * 2},
        good | {"endpoint_names": [["shop"]]},
        good | {"service_names": None},
        good | {"endpoints": good["endpoints"] | {"sketch": {}}},
        good | {"services": good["endpoints"]},
        good | {"now": "yesterday"},
    ):
        with pytest.raises(ValueError, match=r"."):
            told.store.restore(bad, START + 60.0)
        assert alike(told.endpoints(60.0), before)
