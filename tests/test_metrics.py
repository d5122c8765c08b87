"""What a scrape says, and that the names keep Prometheus' conventions."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from weirflow.metrics import FAMILIES, MAX_REASONS, MeshCollector
from weirflow.staged import (
    DAY_S,
    NOW,
    StagedOperations,
    example_decision,
    example_endpoint,
    example_service,
    example_status,
)


def scrape(operations: StagedOperations) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by name and labels, through the text format and back."""
    registry = CollectorRegistry()
    registry.register(MeshCollector(operations))
    text = generate_latest(registry).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(samples: dict, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def test_a_scrape_tells_weights_gain_and_nodes_as_the_decision_has_them():
    samples = scrape(StagedOperations(example_decision()))
    assert of(samples, "weirflow_endpoint_weight", service="orders", endpoint="10.0.0.2:8080") == 11
    assert of(samples, "weirflow_endpoint_proposed_weight", service="orders", endpoint="10.0.0.2:8080") == 4
    assert of(samples, "weirflow_endpoint_latency_p99_seconds", service="orders", endpoint="10.0.0.2:8080") == 0.61
    assert of(samples, "weirflow_service_share_ratio", service="orders") == 0.95
    assert of(samples, "weirflow_gain_low_ratio", service="orders", estimate="holdout") == 0.31
    assert of(samples, "weirflow_gain_low_ratio", service="orders", estimate="switchback") == 0.28
    assert of(samples, "weirflow_switchback_pairs", service="orders") == 24
    assert of(samples, "weirflow_demand_requests_per_second", service="orders") == 80
    foretold = {"service": "orders", "ahead": "30m"}
    assert of(samples, "weirflow_demand_forecast_requests_per_second", **foretold, quantile="0.5") == 85
    assert of(samples, "weirflow_demand_forecast_requests_per_second", **foretold, quantile="0.05") == 40
    assert of(samples, "weirflow_demand_forecast_requests_per_second", **foretold, quantile="0.95") == 142
    assert of(samples, "weirflow_demand_forecast_requests_per_second", **foretold, quantile="0.99") == 168
    assert of(samples, "weirflow_capacity_requests_per_second", service="orders") == 129
    assert of(samples, "weirflow_spare_ratio", **foretold) == 1 - 142 / 129
    assert of(samples, "weirflow_limit_requests", service="orders") == 60
    assert of(samples, "weirflow_limit_armed", service="orders") == 0
    assert of(samples, "weirflow_limit_requests", service="search") is None
    assert of(samples, "weirflow_latency_goal_seconds", service="orders") == 0.8
    assert of(samples, "weirflow_refused_requests_per_second", service="orders") == 0
    assert of(samples, "weirflow_retries_answered_ratio", service="orders") == 0.2
    assert of(samples, "weirflow_retry_budget_ratio", service="orders") == 0.04
    assert of(samples, "weirflow_retry_budget_ratio", service="search") is None
    assert of(samples, "weirflow_arm_requests_total", service="orders", arm="adaptive") == 7600
    assert of(samples, "weirflow_plan_version") == 7
    assert of(samples, "weirflow_lease_age_seconds") == 0.25
    assert of(samples, "weirflow_tick_overrun_total") == 2
    assert of(samples, "weirflow_nacks_total", node="front-1") == 1
    assert of(samples, "weirflow_dropped_total", node="front-1", reason="duration") == 3
    assert of(samples, "weirflow_node_connected", node="front-2") == 0
    where = {"service": "orders", "kind": "EndpointSlow", "severity": "critical"}
    assert of(samples, "weirflow_incident_open", **where) == 1
    assert of(samples, "weirflow_alert_receiver_up", receiver="http://127.0.0.1:9093") == 0
    assert of(samples, "weirflow_alerts_lost_total", receiver="http://127.0.0.1:9093") == 0
    assert of(samples, "weirflow_recording_active") == 1
    assert of(samples, "weirflow_stream_faults_total", reason="identity") == 2
    assert of(samples, "weirflow_certificate_not_after_timestamp_seconds", certificate="server") == NOW + 80 * DAY_S
    assert of(samples, "weirflow_certificate_not_before_timestamp_seconds", certificate="server") == NOW - 10 * DAY_S
    assert of(samples, "weirflow_certificate_not_after_timestamp_seconds", certificate="client_ca") == NOW + 900 * DAY_S
    assert of(samples, "weirflow_tls_connections_total") == 9
    assert of(samples, "weirflow_tls_connections_trusted_total") == 7
    assert of(samples, "weirflow_build_info", version="0.1.0") == 1


def test_openmetrics_leads_from_a_count_to_a_trace():
    status = example_status()
    trace = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "seconds": 0.25, "at": 1000.5}
    status["wires"]["exemplars"] = [{"service": "orders", "arm": "adaptive", **trace}]
    registry = CollectorRegistry()
    registry.register(MeshCollector(StagedOperations(example_decision(), status)))
    assert b"0af7" not in generate_latest(registry), "the older format has no place for it"
    lines = openmetrics.generate_latest(registry).decode().splitlines()
    (count,) = [x for x in lines if x.startswith('weirflow_arm_requests_total{arm="adaptive",service="orders"}')]
    assert count.endswith(' # {trace_id="0af7651916cd43dd8448eb211c80319c"} 0.25 1000.5')
    assert sum(" # " in x for x in lines) == sum(x.startswith("# ") and " # " in x for x in lines) + 1


def test_what_is_unknown_is_absent_and_not_zero():
    samples = scrape(StagedOperations(example_decision()))
    assert of(samples, "weirflow_endpoint_latency_p50_seconds", service="search", endpoint="[::1]:9000") is None
    assert of(samples, "weirflow_gain_ratio", service="search", estimate="holdout") is None
    assert of(samples, "weirflow_gain_ratio", service="search", estimate="switchback") is None
    assert of(samples, "weirflow_demand_requests_per_second", service="search") is None
    assert of(samples, "weirflow_capacity_requests_per_second", service="search") is None
    assert of(samples, "weirflow_spare_ratio", service="search", ahead="1m") is None
    assert of(samples, "weirflow_node_clock_offset_seconds", node="front-2") is None
    assert of(samples, "weirflow_node_report_age_seconds", node="front-2") is None


def test_before_the_first_tick_and_without_a_status_a_scrape_is_still_an_answer():
    samples = scrape(StagedOperations(None, {}))
    assert of(samples, "weirflow_recording_active") == 0
    assert not any(name.startswith("weirflow_endpoint") for name, _ in samples)


def test_of_a_port_in_the_clear_no_certificate_is_told():
    status = example_status()
    status["wires"] |= {"tls": None, "faults": {}}
    samples = scrape(StagedOperations(example_decision(), status))
    assert not [name for name, _ in samples if "certificate" in name or "tls" in name]
    assert of(samples, "weirflow_stream_faults_total", reason="identity") == 0, "`increase` sees no first event"


def test_infinities_and_hostile_names_do_not_break_the_text_format():
    hostile = example_endpoint(address='x"\n\\weirflow_frozen 1', p50_s=math.inf, p99_s=math.nan)
    decision = example_decision(services=(example_service(endpoints=(hostile,)),))
    samples = scrape(StagedOperations(decision))
    assert of(samples, "weirflow_endpoint_weight", service="orders", endpoint=hostile.address) == 100
    assert of(samples, "weirflow_endpoint_latency_p50_seconds", service="orders", endpoint=hostile.address) is None
    assert of(samples, "weirflow_frozen") == 0


def test_a_flood_of_drop_reasons_becomes_one_label_that_holds_the_rest():
    status = example_status()
    status["wires"]["nodes"]["front-1"]["dropped"] = {f"reason{i:04}": 2 for i in range(1000)}
    samples = scrape(StagedOperations(example_decision(), status))
    dropped = {labels: v for (name, labels), v in samples.items() if name == "weirflow_dropped_total"}
    assert len(dropped) == MAX_REASONS + 1
    assert sum(dropped.values()) == 2000


def test_every_sample_belongs_to_a_listed_family_and_every_family_has_one():
    decision = example_decision()
    seen = {name for name, _ in scrape(StagedOperations(decision))}
    assert seen == {family.name for family in FAMILIES}


def test_two_scrapes_of_one_decision_say_the_same():
    operations = StagedOperations(replace(example_decision(), frozen=True))
    assert scrape(operations) == scrape(operations)
    assert of(scrape(operations), "weirflow_frozen") == 1


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_names_keep_the_conventions(family):
    """The rules that `promtool check metrics` applies, so that nothing is skipped where promtool is not installed."""
    assert re.fullmatch(r"weirflow(_[a-z0-9]+)+", family.name)
    assert family.help.endswith(".")
    # Base units, never milli, percent or minutes; no type in the name; `_total` for counters alone.
    words = family.name.split("_")
    assert not {"ms", "milliseconds", "percent", "minutes", "kb", "mb", "gauge", "counter", "count"} & set(words)
    assert ("total" in words) == (family.kind == "counter")
    assert ("info" not in words) or family.name.endswith("_info")
    # Bounded labels only, none of which repeats the name or belongs to Prometheus.
    assert set(family.labels) <= {"service", "endpoint", "arm", "estimate", "node", "reason", "state", "version"} | {
        "ahead",
        "quantile",
        "kind",
        "severity",
        "receiver",
        "certificate",
    }
    assert len(FAMILIES) == len({f.name for f in FAMILIES})
