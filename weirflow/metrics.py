"""Weirflow's metrics: one collector that reads the brain's last Decision and the wires' status when it is scraped.

Nothing is counted twice and nothing is kept here, so a metric cannot disagree with `weirflow status`. What is unknown
is absent, never 0. Names follow Prometheus' practice: prefix `weirflow_`, base units, `_total` for what only grows.
Labels are bounded by the mesh file and by what Weirflow itself names; nothing that a request carries becomes a label,
but for the trace id of an exemplar, which is 32 hex digits or not told.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from brain.decision import ArmView, Decision, EndpointView, ForecastView, ServiceView
from weirflow.config.units import format_duration
from weirflow.operations import Operations

MAX_REASONS = 32
"""Reasons a node may have for dropping log entries; further ones are summed as `other`."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name as scraped, its labels, and what it means."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """`counter` for what only grows, else `gauge`."""
        return "counter" if self.name.endswith("_total") else "gauge"

    def empty(self) -> Metric:
        """A family of no samples yet."""
        if self.kind == "counter":
            return CounterMetricFamily(self.name.removesuffix("_total"), self.help, labels=self.labels)
        return GaugeMetricFamily(self.name, self.help, labels=self.labels)


_REASON = ("reason",)
_CERTIFICATE = ("certificate",)
_ENDPOINT = ("service", "endpoint")
_ARM = ("service", "arm")
_ESTIMATE = ("service", "estimate")
_AHEAD = ("service", "ahead")
_FORECAST = ("service", "ahead", "quantile")

FAMILIES = (
    Family("weirflow_build_info", "1; the version is the label.", ("version",)),
    Family("weirflow_config_reload_successful", "1 when the last reload of the mesh file was accepted."),
    Family("weirflow_frozen", "1 while an operator holds the present plan."),
    Family("weirflow_plan_version", "Version of the plan in force by the last decision."),
    Family("weirflow_lease_ttl_seconds", "How long learned state outlives the tick that vouched for it."),
    Family("weirflow_lease_renewed_timestamp_seconds", "When the last decision that renewed the lease was made."),
    Family("weirflow_lease_age_seconds", "Since the lease was last renewed; above the TTL, static rules serve."),
    Family("weirflow_ticks_total", "Decisions made, or tried."),
    Family("weirflow_tick_overrun_total", "Ticks skipped because one before came late."),
    Family("weirflow_tick_errors_total", "Ticks in which the brain failed: nothing was renewed."),
    Family("weirflow_tick_duration_seconds", "How long the last tick took."),
    Family("weirflow_service_state", "1 for the state that the service is in.", ("service", "state")),
    Family("weirflow_service_share_ratio", "Of its traffic on the adaptive arm by the last decision.", ("service",)),
    Family("weirflow_service_commanded_share_ratio", "The share that the operator asked for.", ("service",)),
    Family("weirflow_gain_ratio", "Cut in mean felt cost by the `holdout` or the `switchback` estimate.", _ESTIMATE),
    Family("weirflow_gain_low_ratio", "Lower end of the gain's 95 % interval.", _ESTIMATE),
    Family("weirflow_gain_high_ratio", "Upper end of the gain's 95 % interval.", _ESTIMATE),
    Family("weirflow_demand_requests_per_second", "Asked of it in the last second, retries left out.", ("service",)),
    Family("weirflow_demand_forecast_requests_per_second", "What will be asked of it so far ahead.", _FORECAST),
    Family("weirflow_capacity_requests_per_second", "What its endpoints are believed to bear together.", ("service",)),
    Family(
        "weirflow_spare_ratio", "Of its capacity, what the forecast's quantile 0.95 leaves; negative: short.", _AHEAD
    ),
    Family("weirflow_limit_requests", "Requests that may be open at it and keep its latency goal.", ("service",)),
    Family("weirflow_limit_armed", "1 while it is short and that limit in force.", ("service",)),
    Family("weirflow_latency_goal_seconds", "What the limit is for.", ("service",)),
    Family("weirflow_refused_requests_per_second", "By limits, learned or the operator's.", ("service",)),
    Family("weirflow_shed_ratio", "Of its requests by sheddable routes, refused at once.", ("service",)),
    Family("weirflow_retries_answered_ratio", "Of the retries that ended lately, answered well.", ("service",)),
    Family("weirflow_retry_budget_ratio", "Learned, of what is open; absent: the operator's.", ("service",)),
    Family("weirflow_switchback_pairs", "Pairs of blocks that the switchback's evidence is worth.", ("service",)),
    Family(
        "weirflow_arm_requests_total", "Requests that ended, by the arm that served them. Exemplar: a traced one.", _ARM
    ),
    Family("weirflow_arm_requests_per_second", "Recent rate of requests.", _ARM),
    Family("weirflow_arm_latency_p50_seconds", "Median of what users felt, retries included.", _ARM),
    Family("weirflow_arm_latency_p99_seconds", "99th percentile of what users felt, retries included.", _ARM),
    Family("weirflow_arm_failed_ratio", "Share of requests that ended badly.", _ARM),
    Family("weirflow_endpoint_weight", "Weight on the adaptive arm by the last decision.", _ENDPOINT),
    Family("weirflow_endpoint_proposed_weight", "Weight the learner wants, before guard and gate.", _ENDPOINT),
    Family("weirflow_endpoint_static_weight", "The operator's weight.", _ENDPOINT),
    Family("weirflow_endpoint_share_ratio", "Share of the adaptive arm by weight.", _ENDPOINT),
    Family("weirflow_endpoint_capacity_per_second", "Attempts a second it is believed to bear.", _ENDPOINT),
    Family("weirflow_endpoint_attempts_per_second", "Recent rate of finished attempts.", _ENDPOINT),
    Family("weirflow_endpoint_latency_p50_seconds", "Median latency of good attempts.", _ENDPOINT),
    Family("weirflow_endpoint_latency_p99_seconds", "99th percentile latency of good attempts.", _ENDPOINT),
    Family("weirflow_endpoint_error_ratio", "Share of attempts that were not good.", _ENDPOINT),
    Family("weirflow_endpoint_in_flight", "Requests open now, by load reports.", _ENDPOINT),
    Family("weirflow_node_connected", "1 while the node's ADS stream is open.", ("node",)),
    Family("weirflow_node_fresh", "1 while its telemetry is recent and agrees with itself.", ("node",)),
    Family("weirflow_node_report_age_seconds", "Since its last load report.", ("node",)),
    Family("weirflow_node_clock_offset_seconds", "Its clock against ours; never used to learn.", ("node",)),
    Family("weirflow_node_parked", "Kinds of resource whose last version it refused.", ("node",)),
    Family("weirflow_nacks_total", "Versions that the node refused.", ("node",)),
    Family("weirflow_dropped_total", "Log entries that nobody learned from.", ("node", "reason")),
    Family(
        "weirflow_stream_faults_total", "Streams of nodes ended by a fault; `identity`: spoke for another.", _REASON
    ),
    Family("weirflow_certificate_not_before_timestamp_seconds", "Beginning of one that TLS goes by.", _CERTIFICATE),
    Family("weirflow_certificate_not_after_timestamp_seconds", "End of that `server` or `client_ca`.", _CERTIFICATE),
    Family("weirflow_tls_connections_total", "Connections that began at the TLS port of the nodes."),
    Family("weirflow_tls_connections_trusted_total", "Those that came as far as a stream; the rest was turned away."),
    Family("weirflow_incident_open", "Incidents that are open.", ("service", "kind", "severity")),
    Family("weirflow_alert_receiver_up", "1 while it takes what it is told of alerts.", ("receiver",)),
    Family("weirflow_alerts_lost_total", "Messages given up: it was down too long, or refused.", ("receiver",)),
    Family("weirflow_recording_active", "1 while telemetry is being recorded."),
    Family("weirflow_recording_attempts_total", "Attempts recorded since the start."),
    Family("weirflow_recording_bytes", "Size of the recording on disk."),
)

Put = Callable[..., None]  # put(name, value, *label values, exemplar=None): skips what is unknown


class MeshCollector(Collector):
    """Reads `Operations` at each scrape."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def describe(self) -> Iterable[Metric]:
        """All families, so that a registry can see clashes without asking the brain."""
        return [family.empty() for family in FAMILIES]

    def collect(self) -> Iterator[Metric]:
        """All families with what is known now."""
        families = {family.name: family.empty() for family in FAMILIES}

        def put(name: str, value: Any, *labels: str, **exemplar: Exemplar | None) -> None:
            if value is not None and math.isfinite(value):
                families[name].add_metric(labels, float(value), **exemplar)  # type: ignore[attr-defined]

        status, decision = self._operations.status(), self._operations.decision()
        _process(put, status, decision, self._operations.now())
        _nodes(put, status, decision)
        _wires(put, _part(status, "wires"))
        if decision is not None:
            put("weirflow_frozen", decision.frozen)
            put("weirflow_plan_version", decision.plan.version if decision.plan is not None else None)
            _incidents(put, decision)
            exemplars = _exemplars(status)
            for service in decision.services:
                _service(put, service, exemplars)
                for endpoint in service.endpoints:
                    _endpoint(put, service.name, endpoint)
        yield from families.values()


def _process(put: Put, status: Mapping[str, Any], decision: Decision | None, now: float) -> None:
    driver = _part(status, "driver")
    put("weirflow_build_info", 1, str(status.get("version", "")))
    put("weirflow_config_reload_successful", not _part(status, "config").get("reload_error"))
    put("weirflow_ticks_total", driver.get("ticks"))
    put("weirflow_tick_overrun_total", driver.get("ticks_skipped"))
    put("weirflow_tick_errors_total", driver.get("tick_errors"))
    put("weirflow_tick_duration_seconds", driver.get("last_tick_s"))
    put("weirflow_lease_ttl_seconds", _part(status, "xds").get("ttl_s"))
    renewed = driver.get("renewed_at")
    if renewed is None and decision is not None and decision.plan is not None:
        renewed = decision.now
    if renewed is not None:
        put("weirflow_lease_renewed_timestamp_seconds", renewed)
        put("weirflow_lease_age_seconds", max(0.0, now - renewed))
    for receiver in _part(status, "alerts").get("receivers") or ():
        put("weirflow_alert_receiver_up", receiver.get("up"), str(receiver.get("receiver")))
        put("weirflow_alerts_lost_total", receiver.get("lost"), str(receiver.get("receiver")))
    recording = _part(status, "recording")
    put("weirflow_recording_active", recording.get("state") == "recording")
    put("weirflow_recording_attempts_total", recording.get("attempts"))
    put("weirflow_recording_bytes", recording.get("bytes"))


def _nodes(put: Put, status: Mapping[str, Any], decision: Decision | None) -> None:
    wires = _part(_part(status, "wires"), "nodes")
    for name, wire in wires.items():
        put("weirflow_node_connected", wire.get("connected"), name)
        put("weirflow_node_clock_offset_seconds", wire.get("clock_offset_s"), name)
        put("weirflow_nacks_total", wire.get("nacks"), name)
        for reason, count in _bounded(wire.get("dropped") or {}).items():
            put("weirflow_dropped_total", count, name, reason)
    for node in decision.nodes if decision is not None else ():
        put("weirflow_node_fresh", node.fresh, node.name)
        put("weirflow_node_report_age_seconds", node.report_age_s, node.name)
        put("weirflow_node_parked", len(node.parked), node.name)


def _wires(put: Put, wires: Mapping[str, Any]) -> None:
    # From the start on, at 0: a counter that begins with its first event hides that from `increase`.
    for reason, count in ({"identity": 0, **_part(wires, "faults")} if wires else {}).items():
        put("weirflow_stream_faults_total", count, reason)
    tls = _part(wires, "tls")
    for which, dates in _part(tls, "certificates").items():
        put("weirflow_certificate_not_before_timestamp_seconds", dates["not_before"], which)
        put("weirflow_certificate_not_after_timestamp_seconds", dates["not_after"], which)
    put("weirflow_tls_connections_total", tls.get("connections"))
    put("weirflow_tls_connections_trusted_total", tls.get("trusted"))


def _incidents(put: Put, decision: Decision) -> None:
    counts = Counter((i.labels.get("service", ""), i.kind, i.severity) for i in decision.incidents)
    for labels, count in counts.items():
        put("weirflow_incident_open", count, *labels)


def _exemplars(status: Mapping[str, Any]) -> dict[tuple[str, str], Exemplar]:
    """The newest sampled trace by service and arm; OpenMetrics tells it beside the counter."""
    found = _part(status, "wires").get("exemplars") or ()
    return {(e["service"], e["arm"]): Exemplar({"trace_id": e["trace_id"]}, e["seconds"], e["at"]) for e in found}


def _service(put: Put, service: ServiceView, exemplars: Mapping[tuple[str, str], Exemplar]) -> None:
    put("weirflow_service_state", 1, service.name, service.state)
    put("weirflow_service_share_ratio", service.share_percent / 100, service.name)
    put("weirflow_service_commanded_share_ratio", service.commanded_share_percent / 100, service.name)
    for estimate, gain in (("holdout", service.gain), ("switchback", service.switchback)):
        if gain is not None:
            put("weirflow_gain_ratio", gain.value, service.name, estimate)
            put("weirflow_gain_low_ratio", gain.low, service.name, estimate)
            put("weirflow_gain_high_ratio", gain.high, service.name, estimate)
    if service.switchback is not None:
        put("weirflow_switchback_pairs", service.switchback.pairs, service.name)
    put("weirflow_capacity_requests_per_second", service.capacity, service.name)
    put("weirflow_limit_requests", service.limit, service.name)
    put("weirflow_limit_armed", service.limited, service.name)
    put("weirflow_latency_goal_seconds", service.latency_goal_s, service.name)
    put("weirflow_retries_answered_ratio", service.retries_answered, service.name)
    percent = service.retry_budget_percent
    put("weirflow_retry_budget_ratio", None if percent is None else percent / 100, service.name)
    put("weirflow_refused_requests_per_second", service.refused_per_s, service.name)
    put("weirflow_shed_ratio", service.shed_percent / 100, service.name)
    if service.forecast is not None:
        _forecast(put, service.name, service.forecast)
    arms: tuple[tuple[str, ArmView], ...] = (("static", service.static), ("adaptive", service.adaptive))
    for name, arm in arms:
        exemplar = exemplars.get((service.name, name))
        put("weirflow_arm_requests_total", arm.requests, service.name, name, exemplar=exemplar)
        put("weirflow_arm_requests_per_second", arm.requests_per_s, service.name, name)
        put("weirflow_arm_latency_p50_seconds", arm.p50_s, service.name, name)
        put("weirflow_arm_latency_p99_seconds", arm.p99_s, service.name, name)
        put("weirflow_arm_failed_ratio", arm.failed_share, service.name, name)


def _forecast(put: Put, service: str, forecast: ForecastView) -> None:
    put("weirflow_demand_requests_per_second", forecast.now_per_s, service)
    quantiles = (("0.05", forecast.low), ("0.5", forecast.value), ("0.95", forecast.high), ("0.99", forecast.p99))
    for i, ahead_s in enumerate(forecast.ahead_s):
        ahead = format_duration(ahead_s)
        for quantile, figures in quantiles:
            put("weirflow_demand_forecast_requests_per_second", figures[i], service, ahead, quantile)
        put("weirflow_spare_ratio", forecast.spare[i], service, ahead)


def _endpoint(put: Put, service: str, endpoint: EndpointView) -> None:
    for name, value in (
        ("weight", endpoint.weight),
        ("proposed_weight", endpoint.proposed),
        ("static_weight", endpoint.static_weight),
        ("share_ratio", endpoint.share),
        ("capacity_per_second", endpoint.capacity),
        ("attempts_per_second", endpoint.rate_per_s),
        ("latency_p50_seconds", endpoint.p50_s),
        ("latency_p99_seconds", endpoint.p99_s),
        ("error_ratio", endpoint.error_share),
        ("in_flight", endpoint.in_flight),
    ):
        put(f"weirflow_endpoint_{name}", value, service, endpoint.address)


def _part(status: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = status.get(key)
    return part if isinstance(part, Mapping) else {}


def _bounded(reasons: Mapping[str, int]) -> dict[str, int]:
    """At most `MAX_REASONS`, the rest summed. By name, so that a counter never changes its label."""
    kept = sorted(reasons)[:MAX_REASONS]
    out = {reason: reasons[reason] for reason in kept}
    if len(reasons) > len(kept):
        out["other"] = sum(reasons.values()) - sum(out.values())
    return out
