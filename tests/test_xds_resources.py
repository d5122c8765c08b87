"""What a mesh, a topology and a plan look like to Envoy, and the checks before it leaves."""

from dataclasses import replace

import numpy as np
import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.service.runtime.v3 import rtds_pb2
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.contract import Arm, Endpoint, Plan, Service, ServicePlan
from dataplane.mesh import (
    BreakerSpec,
    EndpointSpec,
    ListenerSpec,
    Mesh,
    NodeSpec,
    OutlierSpec,
    Registry,
    RetrySpec,
    RouteSpec,
    ServiceSpec,
)
from dataplane.xds import resources, weights
from dataplane.xds.kinds import Kind
from dataplane.xds.listeners import covers
from dataplane.xds.resources import LAYER, limit_key, split_address
from dataplane.xds.snapshot import InconsistentError, Snapshot

A, B = EndpointSpec("127.0.0.1:1", 3, "here"), EndpointSpec("[::1]:2", 1, "there")
WEB = ServiceSpec(
    "web",
    (A, B),
    policy="ROUND_ROBIN",
    connect_timeout_s=0.25,
    breakers=BreakerSpec(max_requests=7),
    outliers=OutlierSpec(consecutive_5xx=3),
    http2=True,
)
MESH = Mesh(
    nodes=(NodeSpec("n1"), NodeSpec("n2")),
    listeners=(ListenerSpec("in", "127.0.0.1", 0), ListenerSpec("admin", "127.0.0.1", 0, nodes=("n2",))),
    routes=(RouteSpec("r", "web", timeout_s=2.5, retry=RetrySpec(budget_percent=10.0, per_try_timeout_s=1.0)),),
    services=(WEB,),
)


def snapshot(mesh=MESH, plan=None):
    return Snapshot.first("e", mesh, Registry().topology(mesh), plan)


def message(found, kind, name, of):
    return json_format.MessageToDict(
        of.FromString(found.parts[kind].resources[name].value), preserving_proto_field_name=True
    )


def weighted(share=100.0, limits=None, **by_endpoint):
    return Plan(1, {0: ServicePlan(share, {int(k[1:]): w for k, w in by_endpoint.items()}, limits or {})})


# Clusters


def test_both_clusters_of_a_service_have_the_same_static_rules():
    found = snapshot()
    static = message(found, Kind.CDS, "web", cluster_pb2.Cluster)
    adaptive = message(found, Kind.CDS, "web~adaptive", cluster_pb2.Cluster)
    assert static.get("lb_policy", "ROUND_ROBIN") == "ROUND_ROBIN"
    assert adaptive["lb_policy"] == "LEAST_REQUEST"
    (policy,) = adaptive["load_balancing_policy"]["policies"]
    least_request = policy["typed_extension_config"]["typed_config"]
    assert least_request["selection_method"] == "FULL_SCAN"
    assert least_request["locality_lb_config"] == {"locality_weighted_lb_config": {}}, "tiers take turns by weight"
    for same in ("connect_timeout", "circuit_breakers", "outlier_detection", "typed_extension_protocol_options"):
        assert static[same] == adaptive[same]
    assert static["connect_timeout"] == "0.250s"
    assert static["outlier_detection"]["consecutive_5xx"] == 3
    (threshold,) = static["circuit_breakers"]["thresholds"]
    assert threshold["max_requests"] == 7
    assert threshold["retry_budget"] == {"budget_percent": {"value": 10.0}, "min_retry_concurrency": 3}


def test_the_static_cluster_scans_all_where_the_mesh_file_asks_for_it():
    found = snapshot(replace(MESH, services=(replace(WEB, policy="LEAST_REQUEST", full_scan=True),)))
    static = message(found, Kind.CDS, "web", cluster_pb2.Cluster)
    (policy,) = static["load_balancing_policy"]["policies"]
    least_request = policy["typed_extension_config"]["typed_config"]
    assert least_request["selection_method"] == "FULL_SCAN"
    assert "locality_weighted_lb_config" not in least_request["locality_lb_config"], "a zone changes no split"
    assert "zone_aware_lb_config" not in static["common_lb_config"], "Envoy refuses it beside a policy of its own"


def test_weights_of_the_adaptive_cluster_are_not_held_back_to_be_merged():
    found = snapshot()
    assert (
        message(found, Kind.CDS, "web~adaptive", cluster_pb2.Cluster)["common_lb_config"]["update_merge_window"] == "0s"
    )
    assert "update_merge_window" not in message(found, Kind.CDS, "web", cluster_pb2.Cluster)["common_lb_config"]


def test_the_tightest_retry_budget_of_its_routes_is_a_services():
    loose = RouteSpec("s", "web", prefix="/s", retry=RetrySpec(budget_percent=50.0, min_retry_concurrency=1))
    found = snapshot(replace(MESH, routes=(*MESH.routes, loose)))
    (threshold,) = message(found, Kind.CDS, "web", cluster_pb2.Cluster)["circuit_breakers"]["thresholds"]
    assert threshold["retry_budget"] == {"budget_percent": {"value": 10.0}, "min_retry_concurrency": 1}


def test_without_retries_there_is_no_budget():
    found = snapshot(replace(MESH, routes=(RouteSpec("r", "web"),)))
    (threshold,) = message(found, Kind.CDS, "web", cluster_pb2.Cluster)["circuit_breakers"]["thresholds"]
    assert "retry_budget" not in threshold


# Endpoints and weights


def endpoints(found, name):
    assignment = endpoint_pb2.ClusterLoadAssignment.FromString(found.parts[Kind.EDS].resources[name].value)
    return {
        (zone.locality.zone, e.endpoint.address.socket_address.address): e.load_balancing_weight.value
        for zone in assignment.endpoints
        for e in zone.lb_endpoints
    }


def test_a_static_assignment_has_a_locality_per_zone_and_no_weight_of_localities():
    found = snapshot(plan=weighted(e0=100, e1=50))
    assert endpoints(found, "web") == {("here", "127.0.0.1"): 3, ("there", "::1"): 1}
    assignment = endpoint_pb2.ClusterLoadAssignment.FromString(found.parts[Kind.EDS].resources["web"].value)
    assert not any(zone.HasField("load_balancing_weight") for zone in assignment.endpoints)


def tiers_of(plan):
    service = Service(0, "web", tuple(Endpoint(i, f"1.1.1.{i}:1") for i in range(4)))
    learned = resources.assignment(
        service, Arm.ADAPTIVE, weights.in_force(service, plan), tiers=weights.tiers(service, plan)
    )
    found = endpoint_pb2.ClusterLoadAssignment.FromString(learned.value)
    return {
        tier.locality.sub_zone: (
            tier.load_balancing_weight.value,
            {e.endpoint.address.socket_address.address[-1]: e.load_balancing_weight.value for e in tier.lb_endpoints},
        )
        for tier in found.endpoints
    }


def test_a_tier_is_a_locality_that_weighs_what_its_endpoints_weigh():
    plan = ServicePlan(95.0, {0: 150, 1: 150, 2: 95, 3: 5}, tiers={0: 0, 1: 0, 2: 1, 3: 2})
    assert tiers_of(plan) == {
        "tier-0": (300, {"0": 150, "1": 150}),
        "tier-1": (95, {"2": 95}),
        "tier-2": (5, {"3": 5}),
    }


def test_an_endpoint_that_joined_after_the_tiers_waits_in_one_of_its_own():
    plan = ServicePlan(95.0, {0: 150, 1: 150, 2: 60}, tiers={0: 0, 1: 0, 2: 1})
    assert tiers_of(plan)["tier-2"] == (120, {"3": 120})


def test_without_a_plan_the_adaptive_cluster_has_the_operators_weights_in_one_tier():
    assert endpoints(snapshot(), "web~adaptive") == {("", "127.0.0.1"): 3, ("", "::1"): 1}
    assert tiers_of(None) == {"tier-0": (4, {"0": 1, "1": 1, "2": 1, "3": 1})}


def test_an_endpoint_that_joined_after_the_plan_gets_the_mean_until_the_next():
    service = Service(0, "web", (Endpoint(0, "1.1.1.1:1"), Endpoint(1, "1.1.1.2:1"), Endpoint(2, "1.1.1.3:1")))
    assert weights.in_force(service, ServicePlan(100.0, {0: 60, 1: 140})).tolist() == [60, 140, 100]
    assert weights.in_force(service, ServicePlan(100.0, {0: 60, 1: 140}, newcomer=0.35)).tolist() == [60, 140, 35]


def test_a_plan_that_knows_none_of_the_endpoints_is_no_plan():
    service = Service(0, "web", (Endpoint(5, "1.1.1.1:1", weight=4),))
    assert weights.in_force(service, ServicePlan(100.0, {0: 60})).tolist() == [4]


anything = st.one_of(st.floats(), st.integers(-(2**70), 2**70).map(float), st.sampled_from([float(2**32 - 1), 2.0**31]))


@settings(max_examples=500)
@given(st.lists(anything, min_size=1, max_size=300))
def test_whatever_is_asked_envoy_gets_positive_integers_with_a_bounded_sum(asked):
    got = weights.clamp(asked)
    assert got.dtype == np.int64
    assert len(got) == len(asked)
    assert got.min() >= 1
    assert got.sum() <= weights.MAX_SUM


@given(st.lists(st.integers(1, 1_000_000), min_size=1, max_size=300))
def test_sound_weights_pass_unchanged(asked):
    assert weights.clamp(asked).tolist() == asked


@given(st.lists(st.integers(2**24, 2**32 - 1), min_size=130, max_size=200))
def test_a_sum_too_large_is_scaled_and_keeps_the_proportions(asked):
    got = weights.clamp(asked)
    assert np.allclose(
        got / got.sum(), np.minimum(asked, weights.MAX_SUM) / np.minimum(asked, weights.MAX_SUM).sum(), atol=1e-6
    )


@pytest.mark.parametrize(
    ("text", "pair"), [("10.0.0.1:80", ("10.0.0.1", 80)), ("[::1]:443", ("::1", 443)), ("name:1", ("name", 1))]
)
def test_an_address_is_a_host_and_a_port(text, pair):
    assert split_address(text) == pair


@pytest.mark.parametrize("text", ["", "10.0.0.1", ":80", "10.0.0.1:", "10.0.0.1:http", "10.0.0.1:65536", "a:-1"])
def test_an_address_that_is_none_is_named_in_the_error(text):
    with pytest.raises(ValueError, match="is not an address; write it as ip:port"):
        split_address(text)


# Listeners and routes


def routes(found, listener="in"):
    return route_pb2.RouteConfiguration.FromString(found.parts[Kind.RDS].resources[listener].value)


def test_each_route_is_two_of_which_the_first_takes_the_leased_share():
    (host,) = routes(snapshot()).virtual_hosts
    adaptive, static = host.routes
    assert (adaptive.name, adaptive.route.cluster) == ("r~adaptive", "web~adaptive")
    assert adaptive.match.runtime_fraction.runtime_key == "weirflow.adaptive.web"
    assert adaptive.match.runtime_fraction.default_value.numerator == 0
    assert (static.name, static.route.cluster) == ("r", "web")
    assert not static.match.HasField("runtime_fraction")
    for route in (adaptive, static):
        assert route.match.prefix == "/"
        assert route.route.timeout.ToMilliseconds() == 2500
        assert route.route.retry_policy.num_retries.value == 1
        assert route.route.retry_policy.per_try_timeout.ToMilliseconds() == 1000
        assert list(route.route.retry_policy.retriable_status_codes) == [503]


def test_first_match_wins_across_hosts_as_it_is_written():
    services = (WEB, replace(WEB, name="api"), replace(WEB, name="docs"))
    written = (
        RouteSpec("all", "web", prefix="/static"),
        RouteSpec("api", "api", hosts=("api.example", "api.test")),
        RouteSpec("wild", "docs", hosts=("*.example",)),
        RouteSpec("rest", "web"),
    )
    found = routes(snapshot(replace(MESH, services=services, routes=written)))
    by_host = {h.domains[0]: [r.name for r in h.routes if "~" not in r.name] for h in found.virtual_hosts}
    assert by_host == {
        "*": ["all", "rest"],
        "api.example": ["all", "api", "wild", "rest"],
        "api.test": ["all", "api", "rest"],
        "*.example": ["all", "wild", "rest"],
    }


@pytest.mark.parametrize(
    ("pattern", "host", "yes"),
    [
        ("*", "a.example", True),
        ("*", "*.example", True),
        ("*.example", "a.example", True),
        ("*.example", "*.a.example", True),
        ("*.a.example", "*.example", False),
        ("a.*", "a.example", True),
        ("a.example", "*", False),
        ("a.example", "a.example", True),
    ],
)
def test_a_pattern_covers_the_hosts_that_it_stands_for(pattern, host, yes):
    assert covers(pattern, host) is yes


def test_a_route_is_on_the_listeners_that_it_names():
    written = (RouteSpec("r", "web", listeners=("admin",)),)
    found = snapshot(replace(MESH, routes=written))
    assert not routes(found, "in").virtual_hosts
    assert routes(found, "admin").virtual_hosts


def test_a_listener_writes_attempts_to_one_log_and_bad_endings_to_the_other():
    listener = listener_pb2.Listener.FromString(snapshot().parts[Kind.LDS].resources["in"].value)
    manager = http_connection_manager_pb2.HttpConnectionManager()
    listener.filter_chains[0].filters[0].typed_config.Unpack(manager)
    body = json_format.MessageToDict(manager, preserving_proto_field_name=True)
    (log,) = body["access_log"]
    assert log["typed_config"]["common_config"]["log_name"] == "weirflow.downstream"
    flags, server_error, too_many = log["filter"]["or_filter"]["filters"]
    assert flags == {"response_flag_filter": {}}
    assert server_error["status_code_filter"]["comparison"]["value"]["default_value"] == 500
    assert too_many["status_code_filter"]["comparison"]["value"]["default_value"] == 429
    (upstream,) = body["http_filters"][0]["typed_config"]["upstream_log"]
    assert upstream["typed_config"]["common_config"]["log_name"] == "weirflow.upstream"
    assert "filter" not in upstream


def test_each_node_accepts_on_its_own_listeners():
    assert snapshot().accepts == {"n1": {"in"}, "n2": {"in", "admin"}}


# The lease


def layer(found):
    return json_format.MessageToDict(
        rtds_pb2.Runtime.FromString(found.parts[Kind.RTDS].resources["weirflow"].value).layer
    )


def test_the_layer_holds_the_share_in_millionths_and_the_limits():
    found = snapshot(plan=weighted(share=95.25, limits={"max_requests": 5}, e0=1, e1=1))
    assert layer(found) == {
        "weirflow.adaptive.web": {"numerator": 952500.0, "denominator": "MILLION"},
        "circuit_breakers.web~adaptive.default.max_requests": 5.0,
    }
    assert found.leased == {"web~adaptive"}


def test_a_learned_retry_budget_is_a_key_of_the_adaptive_cluster_alone():
    found = snapshot(plan=weighted(limits={"retry_budget.budget_percent": 2}, e0=1, e1=1))
    assert layer(found)["circuit_breakers.web~adaptive.default.retry_budget.budget_percent"] == 2
    assert not any(key.startswith("circuit_breakers.web.") for key in layer(found))


def test_a_limit_of_critical_requests_is_one_of_envoys_high_priority_and_no_more_than_the_operators_either():
    found = snapshot(plan=weighted(limits={"high.max_requests": 9, "high.max_pending_requests": 5}, e0=1, e1=1))
    keys = {k.removeprefix("circuit_breakers.web~adaptive."): v for k, v in layer(found).items()}
    assert keys["high.max_requests"] == 7, "the operator's"
    assert keys["high.max_pending_requests"] == 5


def shedding(plan, percent):
    return replace(plan, services={s: replace(p, shed_percent=percent) for s, p in plan.services.items()})


def test_what_is_shed_is_a_key_of_its_own_and_never_more_than_the_adaptive_arms_share():
    keys = layer(snapshot(plan=shedding(weighted(share=60.0, e0=1, e1=1), 12.5)))
    assert keys["weirflow.shed.web"] == {"numerator": 125000.0, "denominator": "MILLION"}
    keys = layer(snapshot(plan=shedding(weighted(share=60.0, e0=1, e1=1), 99.0)))
    assert keys["weirflow.shed.web"] == keys["weirflow.adaptive.web"]
    assert "weirflow.shed.web" not in layer(snapshot(plan=weighted(share=60.0, e0=1, e1=1)))


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan")])
def test_a_service_without_a_share_has_no_key_no_limit_and_sheds_nothing(share):
    found = snapshot(plan=shedding(weighted(share=share, limits={"max_requests": 12}, e0=1, e1=1), 50.0))
    assert layer(found) == {}
    assert found.leased == frozenset()


@pytest.mark.parametrize("share", [100.0, 100.5, float("inf")])
def test_a_share_is_at_most_all(share):
    assert layer(snapshot(plan=weighted(share=share, e0=1)))["weirflow.adaptive.web"]["numerator"] == 1_000_000


# Versions


def versions(found):
    return {kind.value: part.version for kind, part in found.parts.items()}


def test_a_version_moves_only_when_a_resource_of_its_kind_changes():
    first = snapshot()
    assert versions(first) == {"CDS": "e.1", "EDS": "e.1", "LDS": "e.1", "RDS": "e.1", "RTDS": "e.0"}
    weighed = first.then(plan=weighted(share=0.0, e0=5, e1=6))
    assert versions(weighed) == versions(first) | {"EDS": "e.2"}
    shared = weighed.then(plan=replace(weighted(share=50.0, e0=5, e1=6), version=2))
    assert versions(shared) == versions(weighed) | {"RTDS": "e.1"}
    again = shared.then(plan=replace(weighted(share=50.0, e0=5, e1=6), version=3))
    assert versions(again) == versions(shared)
    assert again.plan_version == 3


def test_a_changed_tier_alone_is_another_assignment():
    before = snapshot(plan=weighted(e0=5, e1=6))
    apart = Plan(2, {0: replace(before.plan.services[0], tiers={0: 0, 1: 1})})
    assert versions(before.then(plan=apart)) == versions(before) | {"EDS": "e.2"}


def test_what_did_not_change_is_the_same_object_in_the_next_snapshot():
    two = replace(MESH, services=(WEB, replace(WEB, name="api")))
    before = snapshot(two)
    after = before.then(plan=weighted(e0=5, e1=6))
    for name, r in before.parts[Kind.EDS].resources.items():
        assert (after.parts[Kind.EDS].resources[name] is r) == (name != "web~adaptive")
    assert all(after.parts[k] is before.parts[k] for k in (Kind.CDS, Kind.LDS, Kind.RDS))


def test_listeners_at_other_nodes_are_another_version():
    before = snapshot()
    moved = replace(MESH, listeners=(MESH.listeners[0], replace(MESH.listeners[1], nodes=("n1",))))
    after = before.then(mesh=moved)
    assert versions(after) == versions(before) | {"LDS": "e.2"}


# Consistency


def test_a_route_to_a_service_that_is_not_there_is_not_published():
    with pytest.raises(InconsistentError, match="RDS 'in' names CDS 'nowhere', which is not there"):
        snapshot(replace(MESH, routes=(RouteSpec("r", "nowhere"),)))


def test_a_service_without_an_endpoint_is_not_published():
    with pytest.raises(InconsistentError, match="EDS 'web' has no endpoint"):
        snapshot(replace(MESH, services=(replace(WEB, endpoints=()),)))


def test_a_service_whose_endpoints_all_went_keeps_the_last_assignment():
    registry = Registry()
    before = Snapshot.first("e", MESH, registry.topology(MESH))
    emptied = registry.topology(replace(MESH, services=(replace(WEB, endpoints=()),)))
    after = before.then(topology=emptied, plan=weighted(e0=9, e1=9))
    assert after.parts[Kind.EDS] is before.parts[Kind.EDS]


def test_a_successor_that_cannot_be_published_leaves_the_snapshot_as_it_was():
    before = snapshot()
    with pytest.raises(InconsistentError):
        before.then(mesh=replace(MESH, services=()))
    assert versions(before) == versions(snapshot())


def test_a_node_with_limits_of_its_own_has_a_layer_of_its_own_and_the_others_share_one():
    plan = weighted(limits={"max_requests": 6}, e0=1, e1=1)
    own = replace(plan, services={0: replace(plan.services[0], node_limits={0: {"max_requests": 4}})})
    found = snapshot(plan=own)
    key = limit_key(found.topology.services[0].name, "max_requests")
    first = found.topology.nodes[0].name
    assert layer_values(found.layer_of(first))[key] == 4
    assert layer_values(found.layer_of("another"))[key] == 6
    again = found.then(plan=replace(own, version=2))
    assert again.layer_of(first) is found.layer_of(first), "nothing in it has changed"
    shared = again.then(plan=replace(plan, version=3))
    assert shared.layer_of(first) is shared.parts[Kind.RTDS]
    back = shared.then(plan=replace(own, version=4))
    assert back.layer_of(first).version != found.layer_of(first).version, "a version is never used again"


def test_a_learned_limit_is_never_above_what_the_operator_set():
    found = snapshot(plan=weighted(limits={"max_requests": 10**6, "max_retries": 1}, e0=1, e1=1))
    service = found.topology.services[0].name
    told = layer_values(found.parts[Kind.RTDS])
    assert told[limit_key(service, "max_requests")] == 7
    assert told[limit_key(service, "max_retries")] == 1


def layer_values(part):
    return dict(rtds_pb2.Runtime.FromString(part.resources[LAYER].value).layer)
