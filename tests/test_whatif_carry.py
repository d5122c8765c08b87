"""Runs are counted as they end: what was felt, by whom it was served, and what it cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brain.settings import Mode, Settings
from dataplane.contract import Arm, Outcome
from dataplane.simulated.fleet import Trace
from dataplane.simulated.fleet_mesh import FleetMesh, Rhythm
from dataplane.simulated.rules import RouteRules
from dataplane.simulated.tried import Tried
from tests.fleets import fleet, trace
from tests.whatif_worlds import InPieces, plain_world, record, world
from weirflow.recording import Recording
from weirflow.whatif.carry import _Work, carry, settings_of
from weirflow.whatif.change import Question, Span, changed
from weirflow.whatif.spread import quantiles_s
from weirflow.whatif.tally import (
    Interval,
    Tally,
    draws,
    figures,
    interval,
    windows,
)
from weirflow.whatif.world import World


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, World]:
    return record(plain_world(1.0, 1.0, 0.5, load=0.6), tmp_path_factory.mktemp("plain") / "r")


# Counting.


def ended(latency_s: np.ndarray, at_s: np.ndarray | None = None, **more: object) -> Tried:
    many = len(latency_s)
    told: dict[str, object] = {
        "number": np.arange(many),
        "at_s": np.linspace(0.0, 59.9, many) if at_s is None else at_s,
        "duration_s": latency_s,
        "felt_s": latency_s,
        "node": np.zeros(many),
        "klass": np.zeros(many),
        "attempt": np.ones(many),
        "endpoint": np.zeros(many),
        "status": np.full(many, 200),
        "outcome": np.zeros(many),
        "good": np.ones(many),
        "last": np.ones(many),
        "arm": np.zeros(many),
        "plan": np.zeros(many),
        "weight": np.ones(many),
        "probability": np.ones(many),
        "met": np.zeros(many),
    }
    return Tried.of(**(told | more))


def counted(*batches: Tried, endpoints: int = 2) -> Tally:
    tally = Tally.empty(Span(0.0, 60.0), endpoints, 5.0)
    for batch in batches:
        tally.learn(batch, np.full(len(batch), 0.01))
    return tally


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(1e-5, 100.0), min_size=1, max_size=400), st.floats(0.01, 0.99))
def test_a_quantile_is_that_of_the_latencies_within_half_a_percent(latencies: list[float], q: float) -> None:
    values = np.array(latencies)
    found = float(quantiles_s(counted(ended(values)).bins.sum(axis=0), q)[0])
    if len(values) * (1.0 - q) < 1.0:
        assert np.isnan(found)
        return
    low, high = (float(np.quantile(values, q, method=m)) for m in ("inverted_cdf", "higher"))
    assert low / 1.006 <= found <= high * 1.006


def test_each_way_to_end_is_counted_by_its_name() -> None:
    batch = ended(
        np.full(6, 0.1),
        status=[200, 500, 0, 503, 503, 504],
        outcome=[Outcome.OK, Outcome.ERROR, Outcome.TIMEOUT, Outcome.REJECTED, Outcome.UNREACHED, Outcome.ERROR],
        good=[1, 0, 0, 0, 0, 0],
        endpoint=[0, 1, 1, -1, -1, 0],
        arm=[Arm.ADAPTIVE, 0, 0, 0, 0, 0],
    )
    tally = counted(batch)
    told = {
        name: int(getattr(tally, name).sum()) for name in ("requests", "failed", "refused", "timed_out", "adaptive")
    }
    assert told == {"requests": 6, "failed": 5, "refused": 2, "timed_out": 2, "adaptive": 1}
    assert tally.attempts.sum(axis=0).tolist() == [2, 2]


def test_a_retried_request_is_one_request_two_attempts_and_one_retry() -> None:
    first = ended(np.array([0.1]), np.array([10.0]), last=[0], good=[0], status=[503], outcome=[Outcome.ERROR])
    second = ended(np.array([0.2]), np.array([10.1]), attempt=[2], endpoint=[1], felt_s=[0.3])
    tally = counted(first, second)
    assert (tally.requests.sum(), tally.attempts.sum(), tally.retries.sum(), tally.failed.sum()) == (1, 2, 1, 0)
    assert tally.latency_s.sum() == pytest.approx(0.3)


def test_who_fails_counts_with_the_timeout_in_an_answer_and_as_felt_in_the_check() -> None:
    tally = counted(ended(np.full(1000, 0.1), good=np.arange(1000) >= 200, status=np.full(1000, 503)))
    answered, felt = figures([tally]), figures([tally], felt=True)
    assert float(answered["p50_s"][0]) == pytest.approx(0.1, rel=0.006)
    assert float(answered["p90_s"][0]) == pytest.approx(5.0, rel=0.006)
    assert float(answered["mean_s"][0]) == pytest.approx(0.8 * 0.1 + 0.2 * 5.0)
    assert float(felt["p90_s"][0]) == pytest.approx(0.1, rel=0.006)
    assert float(felt["mean_s"][0]) == pytest.approx(0.1)


def test_in_how_many_batches_they_end_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    batch = ended(rng.exponential(0.1, 999), endpoint=rng.integers(-1, 2, 999), attempt=rng.integers(1, 3, 999))
    one, many = counted(batch), counted(*(batch.take(slice(i, i + 10)) for i in range(0, 999, 10)))
    for name in ("requests", "bins", "attempts", "retries", "failed"):
        assert np.array_equal(getattr(one, name), getattr(many, name)), name
    assert one.busy_s == pytest.approx(many.busy_s)


def test_what_is_outside_of_the_span_is_not_counted() -> None:
    assert counted(ended(np.full(3, 0.1), np.array([-1.0, 60.0, 30.0]))).requests.sum() == 1
    assert windows(Span(0.0, 60.0)) == 12
    assert windows(Span(0.0, 1e6)) == 120
    assert windows(Span(0.0, 0.5)) == 1


def test_an_interval_of_a_mean_is_what_theory_says_and_covers_it() -> None:
    covered, widths = 0, []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        tally = counted(ended(rng.exponential(0.1, 1200)))
        drawn = draws(1, 12, np.random.default_rng(0))
        assert drawn is not None
        found = interval(float(figures([tally])["mean_s"][0]), figures([tally], drawn)["mean_s"])
        covered += found.low <= 0.1 <= found.high
        widths.append(found.high - found.low)
    assert covered >= 60 * (0.95 - 4.0 * np.sqrt(0.95 * 0.05 / 60)) - 3  # twelve blocks: a little too narrow
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 0.1 / np.sqrt(1200), rel=0.25)


def test_a_share_that_was_never_seen_may_be_three_in_all_that_were() -> None:
    assert interval(0.0, np.zeros(9), of=300.0) == Interval(0.0, 0.0, 0.01)
    assert interval(float("nan"), None) == Interval(None)
    assert draws(3, 5, np.random.default_rng(0)) is None


# Carrying.


def test_a_world_is_carried_as_the_mesh_carries_it(recorded: tuple[Recording, World]) -> None:
    _, of = recorded
    tally = carry(of, "full_scan", Span(0.0, of.duration_s), 5)
    whole = Trace.concat(list(of.chunks()))
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([5, 1])))
    rhythm = Rhythm(flush_s=np.inf, report_s=np.inf, timeout_s=5.0)
    rules = replace(of.rules, policy="full_scan")
    mesh = FleetMesh(of.topology(0.0), of.fleet, of.chunks(), rng, rules=rules, rhythm=rhythm)
    mesh.finish()
    tried = mesh.take()
    assert tally.requests.sum() == len(tried) == len(whole)
    assert float(figures([tally])["mean_s"][0]) == pytest.approx(float(tried.felt_s.mean()))
    assert tally.attempts.sum(axis=0).tolist() == np.bincount(tried.endpoint, minlength=3).tolist()
    work_s = whole.demand_s[tried.number] / of.fleet.speed[tried.endpoint, 0]
    assert tally.busy_s.sum() == pytest.approx(work_s.sum())


def test_rules_of_the_world_are_obeyed_retries_and_limits_alike() -> None:
    of = fleet(1.0, 1.0, error_share=np.array([[0.5], [0.0]]))
    base = world(of, trace(of, 0.4, 30.0, nodes=2, mean_s=0.02), duration_s=30.0)
    once = carry(base, "recorded", Span(0.0, 30.0), 1)
    tried = RouteRules(timeout_s=5.0, num_retries=2)
    again = carry(replace(base, rules=replace(base.rules, routes=(tried,))), "recorded", Span(0.0, 30.0), 1)
    assert once.retries.sum() == 0
    assert again.retries.sum() > 100
    assert again.failed.sum() < 0.5 * once.failed.sum()
    crowded, span = changed(base, Question(load=10.0))
    full = carry(crowded, "recorded", span, 1)
    assert full.timed_out.sum() > 1000
    assert full.busy_s.sum() == pytest.approx(4 * span.lasts_s, rel=0.1), "four workers, never idle and never more"
    limited, span = changed(base, Question(load=4.0, limits=(("max_requests", 4),)))
    assert carry(limited, "recorded", span, 1).refused.sum() > 100


def test_who_went_over_to_adaptive_while_it_was_recorded_is_run_with_the_share_it_had(
    recorded: tuple[Recording, World],
) -> None:
    began = replace(recorded[1], settings=Settings(mode=Mode.SHADOW), adaptive_share=0.4)
    assert carry(began, "recorded", Span(30.0, 60.0), 1).adaptive.sum() > 1000
    assert settings_of(began, "recorded").shares == {"orders": 40.0}
    assert settings_of(began, "weirflow").shares == {}
    assert settings_of(replace(began, settings=Settings(mode=Mode.ADAPTIVE)), "recorded").shares == {}


def test_requests_that_have_surely_ended_are_remembered_no_more(recorded: tuple[Recording, World]) -> None:
    _, of = recorded
    work = _Work(replace(of, chunks=InPieces(Trace.concat(list(of.chunks())), 500)))
    whole = Trace.concat(list(work))
    assert len(work._known) == 18
    late = len(whole) - 10
    some = ended(np.full(10, 0.1), whole.at_s[late:], number=np.arange(late, len(whole)), endpoint=np.full(10, 2))
    assert work.cost_s(some, of.fleet) == pytest.approx(whole.demand_s[late:] / 0.5)
    assert len(work._known) < 9
    assert work.cost_s(some, of.fleet) == pytest.approx(whole.demand_s[late:] / 0.5)
    failed = replace(some, good=np.zeros(10, np.bool_), status=np.full(10, 503, np.int16))
    assert work.cost_s(failed, of.fleet).sum() == 0.0, "an error is no work"
