"""Features as a dialogue: telemetry is told at a time, a tick asks what is known."""

import importlib
import pkgutil
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import features
from dataplane.contract import Arm, Dropped, Endpoint, Felt, InFlight, Node, Outcome, Requests, Service, Topology
from features.columns import EndpointFeatures, NodeFeatures, ServiceFeatures
from features.services import FAILURE_COST_P99S
from features.store import FeatureStore
from weirflow import checkpoint

A, B, C = 0, 1, 2  # endpoints a and b of shop, c of cart
SHOP, CART = 0, 1
START = 1_000_000.0  # a clock does not begin at 0

TOPOLOGY = Topology(
    version=1,
    services=(
        Service(SHOP, "shop", (Endpoint(A, "10.0.0.1:80"), Endpoint(B, "10.0.0.2:80"))),
        Service(CART, "cart", (Endpoint(C, "10.0.1.1:80"),)),
    ),
    nodes=(Node(0, "edge-1"), Node(1, "edge-2")),
)


class Told:
    """A store and short words to tell it things. Times are seconds since the start."""

    def __init__(self, topology=TOPOLOGY, start=START, **settings):
        self.store = FeatureStore(topology, **settings)
        self.start = start
        self.store.freeze(start)

    def attempts(
        self, at, endpoint, n=1, took=0.02, outcome=Outcome.OK, node=0, arm=Arm.ADAPTIVE, service=None, **more
    ):
        took = np.broadcast_to(np.asarray(took, dtype=float), n)
        service = (CART if endpoint == C else SHOP) if service is None else service
        columns = {name: np.zeros(n) for name in Requests.dtypes()} | {
            "duration_s": took,
            "ttfb_s": took / 2,
            "felt_s": took,
            "service": np.full(n, service),
            "endpoint": np.full(n, endpoint),
            "node": np.full(n, node),
            "outcome": np.full(n, outcome),
            "arm": np.full(n, arm),
        }
        self.store.told(Requests.of(**(columns | {k: np.broadcast_to(v, n) for k, v in more.items()})), self.start + at)

    def felt(self, at, outcome, n=1, took=0.02, service=SHOP, arm=Arm.ADAPTIVE):
        columns = {name: np.zeros(n) for name in Felt.dtypes()} | {
            "duration_s": np.full(n, took),
            "service": np.full(n, service),
            "outcome": np.full(n, outcome),
            "arm": np.full(n, arm),
        }
        self.store.told(Felt.of(**columns), self.start + at)

    def report(self, at, node=0, rows=(), arm=Arm.ADAPTIVE):
        """Each row: endpoint, in flight, issued, succeeded, failed."""
        table = np.array(rows, dtype=np.int64).reshape(-1, 5)
        batch = InFlight.report(
            node,
            0.5,
            service=np.where(table[:, 0] == C, CART, SHOP),
            endpoint=table[:, 0],
            arm=np.full(len(table), arm),
            **dict(zip(("in_flight", "issued", "succeeded", "failed"), table[:, 1:].T, strict=True)),
        )
        self.store.told(batch, self.start + at)

    def freeze(self, at):
        return self.store.freeze(self.start + at)

    def endpoints(self, at):
        return self.freeze(at).endpoints

    def nodes(self, at):
        return self.freeze(at).nodes

    def services(self, at):
        return self.freeze(at).services


def figures(thing):
    """All arrays of some features, one after the other."""
    return {f.name: getattr(thing, f.name) for f in fields(thing)}


def same(a, b):
    return all(np.array_equal(x, figures(b)[name], equal_nan=True) for name, x in figures(a).items())


# --- attempts ---


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
        (frozen.nodes, {f.name: (2,) for f in fields(NodeFeatures)} | {"picks": (2, 2)}),
    ):
        kinds = {"Floats": "f", "Ints": "i", "NDArray[np.bool_]": "b"}
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
    assert same(told.endpoints(2.0), spared.endpoints(2.0))


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
    assert same(first.endpoints, again.endpoints)
    assert same(first.services, again.services)
    assert same(first.nodes, again.nodes)
    for name, array in figures(first.endpoints).items():
        assert np.allclose(array, figures(split.endpoints)[name], equal_nan=True, rtol=1e-9), name


# --- what is open ---


def test_in_flight_is_the_newest_report_of_each_node_summed():
    told = Told()
    told.report(0.5, node=0, rows=[(A, 9, 9, 0, 0), (B, 1, 1, 0, 0)])
    told.report(1.0, node=0, rows=[(A, 4, 0, 5, 0), (A, 2, 0, 0, 0)])  # on either arm; nothing of b any more
    told.report(1.0, node=1, rows=[(A, 3, 3, 0, 0)])
    assert told.endpoints(1.0).in_flight.tolist() == [9, 0, 0]


def test_a_stale_node_counts_no_more_and_with_no_fresh_node_nothing_is_known():
    told = Told(stale_after_s=3.0)
    told.report(1.0, node=0, rows=[(A, 4, 4, 0, 0)])
    told.report(3.0, node=1, rows=[(A, 1, 1, 0, 0)])
    assert told.endpoints(3.9).in_flight[A] == 5
    assert told.endpoints(4.1).in_flight[A] == 1
    seen = told.endpoints(6.1)
    assert np.isnan(seen.in_flight).all()
    assert (seen.stuck_s == 0).all()


def test_a_hang_is_seen_from_the_first_report_of_it():
    told = Told()
    told.report(0.5, rows=[(A, 2, 10, 8, 0), (B, 2, 10, 8, 0)])
    log = []
    for half in range(2, 7):
        at = half / 2
        told.report(at, rows=[(A, 9, 5, 0, 0), (B, 2, 10, 10, 0)])
        log.append((told.endpoints(at).stuck_s[A], told.endpoints(at).stuck_s[B]))
    assert log == [(0.5, 0.0), (1.0, 0.0), (1.5, 0.0), (2.0, 0.0), (2.5, 0.0)]


@pytest.mark.parametrize("how", ["reported done", "reported failed", "logged", "seen by the other node", "none open"])
def test_a_hang_ends_when_something_finishes(how):
    told = Told()
    told.report(0.5, rows=[(A, 2, 2, 0, 0)])
    told.report(1.0, rows=[(A, 2, 0, 0, 0)])
    assert told.endpoints(2.0).stuck_s[A] == 1.5
    match how:
        case "reported done":
            told.report(2.0, rows=[(A, 1, 0, 1, 0)])
        case "reported failed":
            told.report(2.0, rows=[(A, 1, 0, 0, 1)])
        case "logged":
            told.attempts(2.0, A, outcome=Outcome.TIMEOUT)
        case "seen by the other node":
            told.report(2.0, node=1, rows=[(A, 0, 1, 1, 0)])
        case "none open":
            told.report(2.0)
    assert told.endpoints(2.0).stuck_s[A] == 0.0
    assert told.endpoints(3.0).stuck_s[A] == (0.0 if how == "none open" else 1.0)


def test_the_next_hang_is_counted_from_its_own_beginning():
    told = Told()
    told.report(1.0, rows=[(A, 2, 2, 0, 0)])
    told.report(2.0)
    told.report(3.0, rows=[(A, 1, 1, 0, 0)])
    assert told.endpoints(3.5).stuck_s[A] == 0.5


def test_clients_that_give_up_do_not_end_a_hang():
    told = Told()
    for half in range(1, 5):
        told.report(half / 2, rows=[(A, 3, 3, 0, 0)])
        told.attempts(half / 2, A, n=3, outcome=Outcome.CANCELLED, took=1.0)
    assert told.endpoints(2.0).stuck_s[A] == 1.5


def test_a_node_back_from_a_long_silence_says_nothing_of_what_was_stuck_before():
    told = Told(stale_after_s=3.0)
    told.report(1.0, rows=[(A, 1, 1, 0, 0)])
    told.report(60.0, rows=[(A, 1, 0, 0, 0)])
    assert told.endpoints(60.5).stuck_s[A] == 0.5


# --- nodes ---


def test_a_node_that_reports_nothing_open_is_idle_and_one_that_reports_not_at_all_is_unknown():
    told = Told(stale_after_s=3.0)
    for half in range(1, 20):
        told.report(half / 2, node=0)
    seen = told.nodes(9.6)
    assert seen.fresh.tolist() == [True, False]
    assert seen.report_age_s == pytest.approx([0.1, np.inf])
    assert seen.issued_per_s[0] == 0


def test_a_node_that_falls_silent_is_unknown_after_the_stale_time():
    told = Told(stale_after_s=3.0)
    told.report(1.0)
    assert told.nodes(4.0).fresh[0]
    assert not told.nodes(4.1).fresh[0]
    told.report(5.0)
    assert told.nodes(5.0).fresh[0]


@pytest.mark.parametrize("per_report", [1, 100])
def test_when_reports_say_that_requests_finish_and_the_log_brings_none_telemetry_is_lost(per_report):
    told, log = Told(stale_after_s=3.0), []
    for half in range(1, 21):
        at = half / 2
        told.report(at, rows=[(A, 0, per_report, per_report, 0)])
        if at <= 4.0:
            told.attempts(at, A, n=per_report)
        log.append(bool(told.nodes(at).fresh[0]))
    assert log == [True] * 15 + [False] * 5  # the first report that the log owes is that of 4.5 s
    told.attempts(10.1, A)
    assert told.nodes(10.1).fresh[0]


def test_the_log_of_one_node_does_not_answer_for_the_other():
    told = Told(stale_after_s=3.0)
    for half in range(1, 13):
        for node in (0, 1):
            told.report(half / 2, node=node, rows=[(A, 0, 10, 10, 0)])
        told.attempts(half / 2, A, n=10, node=1)
    assert told.nodes(6.0).fresh.tolist() == [False, True]


@pytest.mark.parametrize("then", ["idle", "hanging"])
def test_a_busy_node_where_nothing_finishes_any_more_has_lost_nothing(then):
    told = Told(stale_after_s=3.0)
    for half in range(1, 21):
        told.report(half / 2, rows=[(A, 0, 50, 50, 0)])
        told.attempts(half / 2 + 0.1, A, n=50)
    for half in range(21, 40):
        told.report(half / 2, rows=[] if then == "idle" else [(A, 50, 0, 0, 0)])
        assert told.nodes(half / 2).fresh[0], half


def test_a_hang_is_not_lost_telemetry():
    told = Told(stale_after_s=3.0)
    for half in range(1, 20):
        told.report(half / 2, rows=[(A, half, 1, 0, 0)])
    assert told.nodes(9.5).fresh[0]


def test_a_few_rows_lost_with_an_old_stream_are_forgiven_to_a_node_that_then_is_idle():
    told = Told(half_life_s=3.0, stale_after_s=3.0)
    told.report(0.5, rows=[(A, 0, 3, 3, 0)])
    for half in range(2, 30):
        told.report(half / 2)
    assert told.nodes(14.5).fresh[0]


def test_issued_stands_beside_seen():
    told = Told()
    for half in range(1, 41):
        told.report(half / 2, rows=[(A, 0, 50, 50, 0)])
        told.attempts(half / 2, A, n=20)
        told.attempts(half / 2, A, n=5, outcome=Outcome.CANCELLED)
        told.attempts(half / 2, A, n=90, outcome=Outcome.REJECTED)  # never sent, so no report counts it
    seen = told.nodes(20.0)
    assert seen.issued_per_s[0] / seen.seen_per_s[0] == pytest.approx(2.0)
    assert seen.issued_per_s[0] == pytest.approx(100, rel=0.1)


def test_picks_are_what_reports_say_was_issued_on_the_adaptive_arm():
    told = Told()
    told.report(0.5, node=1, rows=[(A, 0, 7, 7, 0), (B, 0, 5, 5, 0), (C, 0, 2, 2, 0)])
    told.report(1.0, node=1, rows=[(A, 0, 3, 3, 0)])
    told.report(1.0, node=0, rows=[(A, 0, 100, 100, 0)], arm=Arm.STATIC)
    assert told.nodes(1.0).picks.tolist() == [[0, 0], [15, 2]]


def test_dropped_entries_are_counted_by_node():
    told = Told()
    told.store.told(Dropped(1, {"duration": 3, "cluster": 4}), START + 1)
    told.store.told(Dropped(1, {"duration": 1}), START + 2)
    told.store.told(Dropped(7, {"duration": 1}), START + 2)
    assert told.nodes(2.0).dropped.tolist() == [0, 8]


def test_a_report_of_a_node_or_endpoint_that_nobody_knows_is_passed_over():
    told = Told()
    told.report(1.0, node=9, rows=[(A, 5, 5, 0, 0)])
    told.report(1.0, node=0, rows=[(77, 5, 5, 0, 0), (-1, 5, 5, 0, 0), (A, 1, 1, 0, 0)])
    assert told.endpoints(1.0).in_flight.tolist() == [1, 0, 0]


# --- services ---


def test_what_was_felt_is_kept_by_arm():
    told = Told()
    told.attempts(1.0, A, n=300, took=0.01, arm=Arm.ADAPTIVE)
    told.attempts(1.0, B, n=100, took=0.3, arm=Arm.STATIC)
    seen = told.services(1.0)
    assert seen.p50_s[SHOP] == pytest.approx([0.3, 0.01], rel=0.02)
    assert seen.total[SHOP].tolist() == [100, 300]
    assert np.isnan(seen.p50_s[CART]).all()
    assert (seen.failed_share[SHOP] == 0).all()


def test_a_retried_request_is_felt_once_with_its_first_try_in_it():
    told = Told()
    told.attempts(1.0, A, took=1.0, outcome=Outcome.TIMEOUT)
    told.attempts(1.1, B, took=0.1, felt_s=1.1, attempt=2)
    seen = told.services(2.0)
    assert seen.total[SHOP, Arm.ADAPTIVE] == 1
    assert seen.tick_cost_s[SHOP, Arm.ADAPTIVE] == pytest.approx(1.1)
    assert seen.failed_share[SHOP, Arm.ADAPTIVE] == 0


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.TIMEOUT, Outcome.REJECTED, Outcome.UNREACHED])
def test_a_request_that_got_no_good_answer_is_felt_as_failed(outcome):
    told = Told()
    told.attempts(1.0, A, n=3)
    told.felt(1.0, outcome)
    seen = told.services(1.0)
    assert seen.failed_share[SHOP, Arm.ADAPTIVE] == pytest.approx(0.25)
    assert seen.tick_failed[SHOP, Arm.ADAPTIVE] == 1
    assert seen.tick_count[SHOP, Arm.ADAPTIVE] == 4


def test_a_client_that_left_is_charged_its_wait_and_is_no_failure():
    told = Told()
    told.attempts(1.0, A, n=100, took=0.1)
    told.freeze(1.0)
    told.felt(1.5, Outcome.CANCELLED, took=0.05)
    seen = told.services(2.0)
    assert (seen.tick_count[SHOP, Arm.ADAPTIVE], seen.tick_failed[SHOP, Arm.ADAPTIVE]) == (1, 0)
    assert seen.tick_cost_s[SHOP, Arm.ADAPTIVE] == pytest.approx(0.05)


def test_a_good_answer_in_the_log_of_bad_ends_is_not_counted_again():
    told = Told()
    told.attempts(1.0, A)
    told.felt(1.0, Outcome.OK)
    assert told.services(1.0).total[SHOP, Arm.ADAPTIVE] == 1


def test_a_failure_in_a_millisecond_is_charged_three_times_the_tail():
    told = Told()
    told.attempts(1.0, A, n=100, took=0.1, arm=Arm.STATIC)
    told.attempts(1.0, A, n=900, took=0.1, arm=Arm.ADAPTIVE)
    assert np.isnan(told.services(1.0).failure_cost_s[SHOP])  # nothing to go by yet
    told.felt(1.5, Outcome.ERROR, took=0.001, arm=Arm.STATIC)
    told.felt(1.5, Outcome.TIMEOUT, took=15.0, arm=Arm.ADAPTIVE)
    seen = told.services(2.0)
    price = seen.failure_cost_s[SHOP]
    assert price == pytest.approx(FAILURE_COST_P99S * 0.1, rel=0.02)
    assert seen.tick_cost_s[SHOP] == pytest.approx([price, 15.0])
    assert seen.tick_cost_sq[SHOP] == pytest.approx([price**2, 225.0])


def test_before_any_tail_is_known_a_failure_is_charged_what_it_took():
    told = Told()
    told.felt(0.5, Outcome.TIMEOUT, took=2.0)
    assert told.services(1.0).tick_cost_s[SHOP, Arm.ADAPTIVE] == pytest.approx(2.0)


def test_the_sums_of_a_tick_start_again_with_each_freeze():
    told = Told()
    told.attempts(0.5, A, n=4, took=0.5)
    first, second = told.services(1.0), told.services(2.0)
    assert first.tick_count[SHOP, Arm.ADAPTIVE] == 4
    assert first.tick_cost_s[SHOP, Arm.ADAPTIVE] == pytest.approx(2.0)
    assert first.tick_cost_sq[SHOP, Arm.ADAPTIVE] == pytest.approx(1.0)
    for name in ("tick_count", "tick_failed", "tick_cost_s", "tick_cost_sq"):
        assert (getattr(second, name) == 0).all(), name
    assert second.total[SHOP, Arm.ADAPTIVE] == 4


def test_frozen_features_do_not_change_afterwards():
    told = Told()
    told.attempts(0.5, A, n=4)
    told.report(0.5, rows=[(A, 1, 5, 4, 0)])
    frozen = told.freeze(1.0)
    parts = (frozen.endpoints, frozen.services, frozen.nodes)
    kept = [{name: array.copy() for name, array in figures(part).items()} for part in parts]
    told.attempts(1.5, A, n=400, took=3.0)
    told.felt(1.5, Outcome.ERROR)
    told.report(1.5, rows=[(A, 100, 500, 400, 0)])
    told.freeze(2.0)
    for part, before in zip(parts, kept, strict=True):
        for name, array in figures(part).items():
            assert np.array_equal(array, before[name], equal_nan=True), name


# --- membership ---

MOVED = Topology(
    version=2,
    services=(
        Service(SHOP, "shop", (Endpoint(A, "10.0.0.1:80"), Endpoint(3, "10.0.0.2:80"))),  # b left and came back
        Service(2, "search", (Endpoint(4, "10.0.2.1:80"),)),
    ),
    nodes=(*TOPOLOGY.nodes, Node(2, "edge-3")),
)


def test_a_changed_membership_keeps_who_stayed_forgets_who_left_and_begins_who_came():
    told = Told()
    for endpoint in (A, B, C):
        told.attempts(1.0, endpoint, n=20)
    told.report(1.0, rows=[(A, 1, 20, 19, 0), (B, 1, 20, 19, 0)])
    before = told.endpoints(1.0)
    told.store.moved(MOVED, START + 1.0)
    after = told.endpoints(1.0)
    for name, array in figures(after).items():
        assert array[A] == figures(before)[name][A], name
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
    told.store.moved(MOVED, START + 10.0)
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
    told.store.moved(MOVED, START + 1.0)
    told.attempts(2.0, B, n=50)
    seen = told.endpoints(2.0)
    assert (seen.rate_per_s[[A, B, 3]] == 0).all()
    assert np.isnan(seen.p50_s[B])


# --- the checkpoint ---

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
    assert same(before.endpoints, after.endpoints)
    for name, array in figures(before.services).items():
        assert np.array_equal(array, getattr(after.services, name), equal_nan=True), name


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
        assert same(told.endpoints(60.0), before)


def test_the_examples_in_the_features_docstrings_run():
    import doctest

    for info in pkgutil.iter_modules(features.__path__, "features."):
        assert doctest.testmod(importlib.import_module(info.name)).failed == 0, info.name
