"""Endpoints' features as a dialogue: attempts are told at a time, a tick asks what is known."""

import importlib
import pkgutil
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import features
from dataplane.contract import Arm, Endpoint, Felt, Node, Outcome, Service, Topology
from features.columns import EndpointFeatures, NodeFeatures, ServiceFeatures
from features.dialogue import SHOP, SMALL, START, A, B, C, Told, alike, figures


def test_before_anything_is_told_nothing_is_known_and_nothing_made_up():
    frozen = Told().freeze(1.0)
    assert (frozen.endpoints.rate_per_s == 0).all()
    for name in ("error_share", "latency_s", "latency_sd_s", "p50_s", "p90_s", "p99_s", "in_flight"):
        assert np.isnan(getattr(frozen.endpoints, name)).all(), name
    assert np.isinf(frozen.endpoints.quiet_s).all()
    assert np.isnan(frozen.services.p99_s).all()
    assert np.isinf(frozen.nodes.report_age_s).all()
    assert not frozen.nodes.fresh.any()


def test_all_arrays_have_the_shapes_and_types_that_the_columns_promise():
    frozen = Told().freeze(1.0)
    for part, shapes in (
        (frozen.endpoints, {f.name: (3,) for f in fields(EndpointFeatures)}),
        (frozen.services, {f.name: (2, 2) for f in fields(ServiceFeatures)} | {"failure_cost_s": (2,)}),
        (frozen.nodes, {f.name: (2,) for f in fields(NodeFeatures)} | {"picks": (2, 2), "issued": (2, 2)}),
    ):
        kinds = {"Floats": "f", "Ints": "i", "NDArray[np.int8]": "i", "NDArray[np.bool_]": "b"}
        for f in fields(part):
            array = getattr(part, f.name)
            assert (array.shape, array.dtype.kind) == (shapes[f.name], kinds[f.type]), f.name


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.TIMEOUT, Outcome.UNREACHED])
def test_what_failed_at_an_endpoint_counts_against_it_and_says_nothing_of_its_speed(outcome):
    told = Told()
    told.attempts(1.0, A, n=30, took=0.02)
    told.attempts(1.0, A, n=10, took=0.001, outcome=outcome)
    seen = told.endpoints(1.0)
    assert seen.error_share[A] == pytest.approx(0.25)
    assert seen.latency_s[A] == pytest.approx(0.02)
    assert seen.p50_s[A] == pytest.approx(0.02, rel=0.02)
    assert seen.total[A] == 40
    assert seen.ok_per_s[A] == pytest.approx(0.75 * seen.rate_per_s[A])


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.CANCELLED])
def test_what_says_nothing_about_an_endpoint_touches_no_figure_of_it(outcome):
    told, spared = Told(), Told()
    for one in (told, spared):
        one.attempts(1.0, A, n=30)
        one.report(1.0, rows=[(A, 2, 30, 30, 0)])
    told.attempts(1.5, A, n=500, took=9.0, outcome=outcome)
    assert alike(told.endpoints(2.0), spared.endpoints(2.0))


def test_an_endpoint_that_only_fails_has_an_error_share_and_no_latency():
    told = Told()
    told.attempts(1.0, A, n=10, outcome=Outcome.ERROR)
    seen = told.endpoints(1.0)
    assert seen.error_share[A] == 1.0
    assert np.isnan([seen.latency_s[A], seen.latency_sd_s[A], seen.p99_s[A]]).all()
    assert seen.ok_per_s[A] == 0


def test_latency_is_the_whole_duration_and_not_the_first_byte():
    told = Told()
    told.attempts(1.0, A, n=10, took=0.5, ttfb_s=0.001)
    assert told.endpoints(1.0).latency_s[A] == pytest.approx(0.5)


def test_latency_has_a_mean_a_spread_and_quantiles():
    told, took = Told(), np.random.default_rng(1).exponential(0.05, 20_000)
    told.attempts(1.0, A, n=20_000, took=took)
    seen = told.endpoints(1.0)
    assert (seen.latency_s[A], seen.latency_sd_s[A]) == pytest.approx((took.mean(), took.std()), rel=1e-5)
    true = np.quantile(took, (0.5, 0.9, 0.99))
    assert [seen.p50_s[A], seen.p90_s[A], seen.p99_s[A]] == pytest.approx(true, rel=0.021)
    assert np.isnan(seen.p99_s[B])


@pytest.mark.parametrize("half_life_s", [1.0, 3.0, 30.0])
def test_a_steady_rate_is_told_right_from_the_first_second(half_life_s):
    told = Told(half_life_s=half_life_s)
    for tenth in range(300):
        told.attempts((tenth + 0.5) / 10, A, n=20)
        if tenth in (9, 29, 99, 299):
            assert told.endpoints((tenth + 1) / 10).rate_per_s[A] == pytest.approx(200, rel=0.02), tenth


def test_a_tenfold_slowdown_is_half_seen_within_a_half_life():
    told = Told(half_life_s=3.0)
    for tenth in range(600):
        told.attempts(tenth / 10, A, n=10, took=0.01 if tenth < 300 else 0.1)
    seen = told.endpoints(59.9)
    assert seen.latency_s[A] == pytest.approx(0.1, rel=0.01)
    told = Told(half_life_s=3.0)
    for tenth in range(330):
        told.attempts(tenth / 10, A, n=10, took=0.01 if tenth < 300 else 0.1)
    assert told.endpoints(33.0).latency_s[A] == pytest.approx(0.055, rel=0.02)


def test_old_news_fades_and_is_unknown_in_the_end():
    told = Told(half_life_s=3.0)
    told.attempts(1.0, A, n=64, outcome=Outcome.ERROR)
    assert [told.endpoints(1.0 + t).samples[A] for t in (0, 3, 9)] == pytest.approx([64, 32, 8])
    assert told.endpoints(19.0).error_share[A] == 1.0
    assert np.isnan(told.endpoints(100.0).error_share[A])
    assert told.endpoints(100.0).total[A] == 64


def test_an_endpoint_knows_its_age_and_how_long_it_was_quiet():
    told = Told()
    told.attempts(4.0, A)
    told.attempts(6.0, A, outcome=Outcome.CANCELLED)
    seen = told.endpoints(10.0)
    assert (seen.age_s[A], seen.quiet_s[A]) == (10.0, 6.0)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(-3, 6),  # endpoint
            st.integers(-3, 4),  # service
            st.integers(-2, 3),  # node
            st.sampled_from(list(Outcome)),
            st.floats(width=32),
            st.floats(width=32),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_no_row_at_all_leaks_a_nan_or_stops_the_learning(rows):
    endpoint, service, node, outcome, took, felt = (np.array(column) for column in zip(*rows, strict=True))
    told, n = Told(), len(rows)
    odd = {"service": service, "node": node, "felt_s": felt}
    told.attempts(1.0, endpoint, n=n, took=took, outcome=outcome, **odd)
    told.attempts(1.0, A, n=1000, took=0.02)
    told.store.told(
        Felt.of(**{name: np.zeros(n) for name in Felt.dtypes()} | {"duration_s": took, "service": service}), START + 1
    )
    frozen = told.freeze(1.0)
    for part in (frozen.endpoints, frozen.services, frozen.nodes):
        for name, array in figures(part).items():
            allowed = name in ("report_age_s", "attempts_age_s", "quiet_s")
            assert allowed or not np.isinf(array).any(), name
    assert np.isfinite(frozen.endpoints.latency_s[A])
    assert np.isfinite(frozen.services.tick_cost_s).all()
    assert np.isfinite(frozen.services.p99_s[SHOP, Arm.ADAPTIVE])


def test_the_same_calls_give_the_same_features_to_the_last_bit_and_batching_does_not_matter():
    rng, runs = np.random.default_rng(3), [Told(), Told(), Told()]
    for tenth in range(100):
        took, outcome = rng.exponential(0.05, 30), rng.choice(list(Outcome), 30)
        for run in runs[:2]:
            run.attempts(tenth / 10, A, n=30, took=took, outcome=outcome)
        for half in (slice(0, 11), slice(11, 30)):
            runs[2].attempts(tenth / 10, A, n=len(took[half]), took=took[half], outcome=outcome[half])
        for run in runs:
            run.report(tenth / 10, rows=[(A, tenth % 3, 30, 20, 10)])
    first, again, split = (run.freeze(10.0) for run in runs)
    assert alike(first.endpoints, again.endpoints)
    assert alike(first.services, again.services)
    assert alike(first.nodes, again.nodes)
    for name, array in figures(first.endpoints).items():
        assert np.allclose(array, figures(split.endpoints)[name], equal_nan=True, rtol=1e-9), name


MOVED = Topology(
    version=2,
    services=(
        Service(SHOP, "shop", (Endpoint(A, "10.0.0.1:80"), Endpoint(3, "10.0.0.2:80"))),  # b left and came back
        Service(2, "search", (Endpoint(4, "10.0.2.1:80"),)),
    ),
    nodes=(*SMALL.nodes, Node(2, "edge-3")),
)


def test_a_changed_membership_keeps_who_stayed_forgets_who_left_and_begins_who_came():
    told = Told()
    for endpoint in (A, B, C):
        told.attempts(1.0, endpoint, n=20)
    told.report(1.0, rows=[(A, 1, 20, 19, 0), (B, 1, 20, 19, 0)])
    told.endpoints(1.0)  # what is told of a tick was told with it
    before = told.endpoints(1.0)
    told.moved(1.0, MOVED)
    after = told.endpoints(1.0)
    for name, array in figures(after).items():
        assert np.array_equal(array[A], figures(before)[name][A], equal_nan=True), name
        assert len(array) == 5
    assert after.rate_per_s[[B, C, 3, 4]].tolist() == [0, 0, 0, 0]
    assert np.isnan(after.latency_s[[B, C, 3, 4]]).all()
    assert after.total[[B, C, 3, 4]].tolist() == [0, 0, 0, 0]
    assert np.isnan(after.in_flight[[B, C]]).all()
    assert after.in_flight[[3, 4]].tolist() == [0, 0]
    assert after.age_s[[3, 4]].tolist() == [0, 0]


def test_a_newcomer_is_told_right_beside_the_old():
    told = Told()
    for tenth in range(100):
        told.attempts(tenth / 10 + 0.05, A, n=10)
    told.moved(10.0, MOVED)
    for tenth in range(100, 110):
        told.attempts(tenth / 10 + 0.05, A, n=10)
        told.attempts(tenth / 10 + 0.05, 3, n=10)
        told.attempts(tenth / 10 + 0.05, 4, n=10, service=2, node=2)
    frozen = told.freeze(11.0)
    assert frozen.endpoints.rate_per_s[[A, 3, 4]] == pytest.approx([100, 100, 100], rel=0.02)
    assert frozen.services.requests_per_s[2, Arm.ADAPTIVE] == pytest.approx(100, rel=0.02)
    assert frozen.nodes.seen_per_s[2] == pytest.approx(100, rel=0.02)


def test_a_late_row_of_an_endpoint_that_left_harms_nobody():
    told = Told()
    told.moved(1.0, MOVED)
    told.attempts(2.0, B, n=50)
    seen = told.endpoints(2.0)
    assert (seen.rate_per_s[[A, B, 3]] == 0).all()
    assert np.isnan(seen.p50_s[B])


def test_the_examples_in_the_features_docstrings_run():
    import doctest

    for info in pkgutil.iter_modules(features.__path__, "features."):
        assert doctest.testmod(importlib.import_module(info.name)).failed == 0, info.name
