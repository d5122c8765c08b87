"""What runs tell: a failure counts as the timeout, regret is against the better oracle, refused runs say nothing."""

from __future__ import annotations

from dataclasses import replace
from math import exp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.simulated.fleet import Fate, Fleet, Trace
from weirflow.lab.analysis import Case, Estimate, analyse, kinds
from weirflow.lab.draw import draw
from weirflow.lab.figures import Figures, struck_s, told, trouble_of
from weirflow.lab.run import Run, Seen, Weights
from weirflow.lab.scenario import Change, Group, Phase, RequestClass, Scenario, Step

PLAIN = Scenario("plain", "t", "s", (Group("all", 4),), load=0.5, warmup_s=5.0, duration_s=20.0, timeout_s=2.0)
BAD = Group("all", 5, changes=(Change(20.0, 40.0, first=1, error_share=1.0),))
GRAY = replace(
    PLAIN,
    groups=(BAD,),
    classes=(RequestClass(demand_s=0.03),),
    duration_s=65.0,
    phases=(Phase("before", 5.0, 20.0), Phase("fault", 23.0, 40.0)),
    judged="fault",
)


def fate(trace: Trace, latency_s: float = 0.1, bad_share: float | None = None) -> Fate:
    """All well after this long, spread evenly; but for `bad_share` of the requests, which endpoint 0 gets."""
    rows = np.arange(len(trace))
    endpoint = rows % 4 if bad_share is None else np.where((rows * 0.618) % 1.0 < bad_share, 0, 1 + rows % 4)
    return Fate.of(
        latency_s=np.full(len(trace), latency_s) * (1 + 0.001 * (rows % 10)),
        ok=np.ones(len(trace)),
        status=np.full(len(trace), 200),
        endpoint=endpoint,
        adaptive=np.zeros(len(trace)),
    )


def run(policy: str, seed: int, latency_s: float = 0.1, scenario: Scenario = PLAIN, **more: object) -> Run:
    fleet, trace = draw(scenario, np.random.default_rng(seed), 1)
    return Run(scenario, policy, 1, seed, "simulated", fleet, trace, fate(trace, latency_s), **more)  # type: ignore[arg-type]


def bound(latency_s: float):  # type: ignore[no-untyped-def]
    def of(fleet: Fleet, trace: Trace, timeout_s: float) -> Fate:
        return fate(trace, latency_s)

    return of


BOUNDS = {"central_queue": bound(0.05), "jsed": bound(0.04)}


def case(*runs: Run) -> Case:
    (only,) = analyse(runs, BOUNDS)
    return only


def test_a_failed_request_counts_with_the_timeout_however_fast_it_failed() -> None:
    fleet, trace = draw(PLAIN, np.random.default_rng(1), 1)
    failing = fate(trace)
    failing.ok[::20] = False  # one in twenty, at once
    failing.latency_s[::20] = 0.001
    seen = told(PLAIN, "random", 1, fleet, trace, failing).judged
    assert seen.p50_s == pytest.approx(0.1, rel=0.01)
    assert seen.p99_s == 2.0
    assert seen.error_percent == pytest.approx(5.0, abs=0.2)
    assert seen.good_per_s == pytest.approx(0.95 * seen.requests / 20.0, rel=0.01)


def test_where_there_is_a_goal_answers_count_that_came_within_it_beside_how_many_could_come() -> None:
    crowd = replace(PLAIN, load=1.5, latency_goal_s=0.5)
    fleet, trace = draw(crowd, np.random.default_rng(1), 1)
    seen = fate(trace)
    seen.latency_s[::4] = 0.6  # late
    seen.ok[::10], seen.status[::10], seen.endpoint[::10] = False, 503, -1  # refused; every second one late as well
    found = told(crowd, "random", 1, fleet, trace, seen)
    assert found.judged.refused_percent == pytest.approx(10.0, abs=0.1)
    assert found.judged.in_time_per_s == pytest.approx(0.7 * found.judged.requests / 20.0, rel=0.01)
    assert found.bound_per_s == pytest.approx(16 / trace.demand_s.mean(), rel=0.01), "four workers each of four"
    calm = replace(crowd, load=0.5)
    fleet, trace = draw(calm, np.random.default_rng(1), 1)
    found = told(calm, "random", 1, fleet, trace, fate(trace))
    assert found.bound_per_s == pytest.approx(found.judged.requests / 20.0, rel=0.01), "no more than is asked"
    assert told(PLAIN, "random", 1, fleet, trace, fate(trace)).bound_per_s is None


def test_a_request_that_nobody_answered_counts_too() -> None:
    fleet, trace = draw(PLAIN, np.random.default_rng(1), 1)
    lost = fate(trace)
    lost.ok[:], lost.latency_s[:], lost.endpoint[:] = False, np.nan, -1
    seen = told(PLAIN, "random", 1, fleet, trace, lost)
    assert (seen.judged.p50_s, seen.judged.mean_s, seen.judged.error_percent) == (2.0, 2.0, 100.0)
    assert np.isnan(seen.share).all()


def test_the_warm_up_is_not_judged_and_a_named_phase_is() -> None:
    assert run("random", 1).trace.at_s[0] < 5.0
    fleet, trace = draw(GRAY, np.random.default_rng(1), 1)
    late = fate(trace)
    late.latency_s[trace.at_s < 23.0] = 1.0
    seen = told(GRAY, "random", 1, fleet, trace, late)
    assert seen.judged.p99_s == pytest.approx(0.1, rel=0.02)
    assert seen.judged == seen.phases["fault"]
    assert seen.phases["before"].p50_s == 1.0


def test_too_few_requests_have_no_tail() -> None:
    some, nobody = np.ones(99, dtype=bool), np.zeros(0, dtype=bool)
    few = Figures.of(np.full(99, 0.1), some, ~some, 1.0)
    assert few.p50_s == 0.1
    assert np.isnan(few.p99_s)
    assert np.isnan(Figures.of(np.zeros(0), nobody, nobody, 1.0).mean_s)


def test_diverting_is_timed_from_the_fault_and_coming_back_from_its_end() -> None:
    fleet, trace = draw(GRAY, np.random.default_rng(1), 1)
    moved = fate(trace, bad_share=0.2)
    away = (trace.at_s >= 21.5) & (trace.at_s < 47.0)
    moved.endpoint[away & (moved.endpoint == 0)] = 1
    moved.ok[moved.endpoint == 0] = ~((trace.at_s >= 20.0) & (trace.at_s < 40.0))[moved.endpoint == 0]
    seen = told(GRAY, "weirflow", 1, fleet, trace, moved)
    assert seen.divert_s == pytest.approx(
        1.3, abs=0.2
    )  # from then on a whole second has less than a fifth of its share
    assert seen.return_s == pytest.approx(6.5, abs=1.0)
    assert seen.bad_percent == 0.0
    assert seen.avoided_percent == pytest.approx(100.0)


def test_incidents_are_counted_after_the_warm_up_and_timed_from_the_fault() -> None:
    fleet, trace = draw(GRAY, np.random.default_rng(1), 1)
    start = trouble_of(GRAY).start_s  # type: ignore[union-attr]
    old, first = Seen(0.5, "I-1", "TrafficDrop lab"), Seen(start + 2.5, "I-2", "ServiceSlow lab")
    second = Seen(start + 4.0, "I-2", "EndpointSlow bad-0")
    seen = told(
        GRAY, "weirflow", 1, fleet, trace, fate(trace), incidents=(old, replace(old, at_s=start), first, second)
    )
    assert (seen.incidents, seen.found_s, seen.cause) == (1, 2.5, "EndpointSlow bad-0")
    none = told(GRAY, "weirflow", 1, fleet, trace, fate(trace), incidents=())
    assert (none.incidents, none.found_s, none.cause) == (0, None, "")
    assert told(GRAY, "random", 1, fleet, trace, fate(trace)).incidents is None, "nobody looked for any"


def test_incidents_of_a_fault_of_all_and_of_a_step_of_the_load_are_timed_too() -> None:
    (good, *others) = GRAY.groups
    all_slow = replace(GRAY, groups=(replace(good, changes=(Change(30.0, speed=0.5),)), *others))
    assert struck_s(all_slow) == (30.0, GRAY.warmup_s + GRAY.duration_s)
    steps = (Step(4.0, 2.0), Step(25.0, 3.0), Step(35.0, 1.0))
    calm = replace(GRAY, groups=tuple(replace(g, changes=()) for g in GRAY.groups))
    assert struck_s(replace(calm, load_steps=steps)) == (25.0, 35.0), "what steps in the warm-up belongs to it"
    assert struck_s(calm) is None


def test_who_never_diverts_is_never_back_and_avoids_nothing() -> None:
    fleet, trace = draw(GRAY, np.random.default_rng(1), 1)
    still = fate(trace, bad_share=0.2)
    still.ok[(still.endpoint == 0) & (trace.at_s >= 20.0) & (trace.at_s < 40.0)] = False
    seen = told(GRAY, "round_robin", 1, fleet, trace, still)
    assert (seen.divert_s, seen.return_s) == (None, None)
    assert seen.bad_percent == pytest.approx(20.0, abs=0.5)
    assert seen.avoided_percent == pytest.approx(0.0, abs=3.0)


def test_a_request_that_was_swallowed_went_to_a_bad_endpoint_though_none_was_named() -> None:
    fleet, trace = draw(GRAY, np.random.default_rng(1), 1)
    hung = fate(trace, bad_share=0.2)
    swallowed = (hung.endpoint == 0) & (trace.at_s >= 20.0) & (trace.at_s < 40.0)
    hung.ok[swallowed], hung.status[swallowed], hung.endpoint[swallowed] = False, 0, -1
    seen = told(GRAY, "round_robin", 1, fleet, trace, hung)
    assert seen.divert_s is None
    assert seen.bad_percent == pytest.approx(20.0, abs=0.5)
    hung.status[swallowed] = 503  # the proxy's own word: it sent the request nowhere
    assert told(GRAY, "round_robin", 1, fleet, trace, hung).divert_s == 0.0


def test_a_fault_of_all_and_a_fault_of_newcomers_have_no_bad_endpoints() -> None:
    dip = replace(PLAIN, groups=(Group("all", 4, changes=(Change(10.0, speed=0.5),)),))
    cold = replace(PLAIN, groups=(Group("old", 4), Group("new", 1, joins_s=9.0, changes=(Change(9.0, speed=0.3),))))
    assert trouble_of(dip) is None
    assert trouble_of(cold) is None
    trouble = trouble_of(GRAY)
    assert trouble is not None
    assert list(trouble.bad) == [True, False, False, False, False]


def test_weights_tell_how_often_they_moved_and_how_even_they_are() -> None:
    share = np.array([[0.25] * 4, [0.25] * 4, [1.0, 0, 0, 0], [1.0, 0, 0, 0]])
    moved = Weights(np.array([0.0, 10.0, 20.0, 30.0]), share)
    r = run("weirflow", 1)
    seen = told(PLAIN, "weirflow", 1, r.fleet, r.trace, r.fate, moved)
    assert seen.changes_per_minute == pytest.approx(2.0)
    assert seen.entropy == pytest.approx(0.5)


def test_regret_is_against_the_better_oracle_of_the_same_world() -> None:
    seen = case(run("random", 1), run("weirflow", 1, 0.06))
    ours, theirs = seen.row("weirflow"), seen.row("random")
    assert ours is not None
    assert theirs is not None
    assert ours.regret is not None
    assert ours.regret.value == pytest.approx(0.5)  # 60 ms over the 40 of `jsed`
    assert theirs.ratio is not None
    assert theirs.ratio.value == pytest.approx(0.6)
    assert ours.ratio is None
    assert [r.policy for r in seen.rows] == ["random", "weirflow", "central_queue", "jsed"]


def test_pairs_are_of_one_seed_and_a_seed_without_a_partner_is_left_out() -> None:
    ours = [run("weirflow", s, 0.1 * f) for s, f in ((1, 1.0), (2, 2.0), (3, 4.0))]
    theirs = [run("random", s, 0.1 * f) for s, f in ((1, 2.0), (2, 4.0), (3, 8.0), (4, 0.1))]
    row = case(*ours, *theirs).row("random")
    assert row is not None
    assert row.ratio is not None
    assert (row.ratio.value, row.ratio.low, row.ratio.high) == pytest.approx((0.5, 0.5, 0.5))
    assert len(row.runs) == 4


def test_a_refused_run_is_listed_and_enters_no_figure() -> None:
    sound, short = run("random", 1), run("random", 2, 9.0, refused="the client was late")
    seen = case(sound, short, run("weirflow", 2, 1.0))
    row = seen.row("random")
    assert row is not None
    assert row.p99_s is not None
    assert row.p99_s.value == pytest.approx(0.1, rel=0.02)
    assert [(r.seed, r.refused) for r in seen.refused] == [(2, "the client was late")]
    assert row.ratio is None  # Weirflow's partner was refused


def test_runs_of_nothing_but_refusals_make_a_case_without_rows() -> None:
    seen = case(run("random", 1, refused="no CPU"))
    assert (seen.rows, seen.seeds, len(seen.refused)) == ((), (), 1)


def test_scenarios_engines_and_numbers_of_nodes_are_cases_of_their_own() -> None:
    one = run("random", 1)
    cases = analyse([one, replace(one, nodes=4), replace(one, engine="envoy"), run("random", 2)], BOUNDS)
    assert [(c.engine, c.nodes, c.seeds) for c in cases] == [
        ("simulated", 1, (1, 2)),
        ("simulated", 4, (1,)),
        ("envoy", 1, (1,)),
    ]


def test_the_median_is_told_with_students_interval_of_logarithms() -> None:
    seen = Estimate.of([exp(1.0), exp(2.0), exp(3.0)])
    assert seen is not None
    assert seen.value == pytest.approx(exp(2.0))
    assert seen.low == pytest.approx(exp(2.0 - 4.303 / 3**0.5))
    assert seen.high == pytest.approx(exp(2.0 + 4.303 / 3**0.5))
    assert Estimate.of([5.0]) == Estimate(5.0, None, None)
    assert Estimate.of([None, np.nan]) is None
    assert Estimate.of([0.0, 1.0]) == Estimate(0.5, None, None)  # no logarithm


@pytest.mark.parametrize(("seeds", "quantile"), [(2, 12.706), (3, 4.303), (4, 3.182), (5, 2.776), (10, 2.262)])
def test_few_seeds_have_the_wide_interval_that_is_theirs(seeds: int, quantile: float) -> None:
    values = np.array([(-1.0) ** i for i in range(seeds)])
    seen = Estimate.of(values, log=False)
    assert seen is not None
    assert seen.high is not None
    reach = quantile * values.std(ddof=1) / seeds**0.5
    assert seen.high == pytest.approx(values.mean() + reach, rel=0.01)


@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=9))
@settings(max_examples=60, deadline=None)
def test_an_interval_holds_the_geometric_mean(values: list[float]) -> None:
    seen = Estimate.of(values)
    assert seen is not None
    assert seen.low is not None
    assert seen.high is not None
    middle = float(np.exp(np.mean(np.log(values))))
    assert seen.low <= middle * (1 + 1e-9)
    assert seen.high >= middle * (1 - 1e-9)


def test_endpoints_are_told_by_group_and_by_who_goes_wrong() -> None:
    seen = case(run("random", 1, scenario=GRAY))
    assert list(kinds(seen)) == [("all, to go wrong", [0]), ("all", [1, 2, 3, 4])]
    assert seen.true_share == pytest.approx([0.0, 0.25, 0.25, 0.25, 0.25])


def test_a_series_has_a_window_for_each_two_seconds_and_gaps_where_few_came() -> None:
    rare = replace(PLAIN, classes=(RequestClass(demand_s=4.0),))
    row = case(run("random", 1, scenario=rare)).row("random")
    assert row is not None
    assert list(row.series.at_s[:3]) == [1.0, 3.0, 5.0]
    assert row.series.at_s[-1] == 25.0
    assert np.isnan(row.series.p99_s).all()
