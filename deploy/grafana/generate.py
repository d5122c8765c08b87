"""Makes weirflow.json, the Grafana dashboard, out of the rows below.

    python deploy/grafana/generate.py

A panel is its title, its unit and its queries; where it stands, how it is drawn and what the file looks like is the
same for all. tests/test_dashboard.py holds each query against the metrics that there are, asks a real Prometheus all of
them, and fails while weirflow.json is another than this makes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("weirflow.json")
WIDTH, HEIGHT = 24, 8
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
ONE, ARM = '{service=~"$service"}', '{service=~"$service",arm="%s"}'

WANTED = f"weirflow_endpoint_proposed_weight{ONE}"


@dataclass(frozen=True, slots=True)
class Panel:
    """`queries`: legend to PromQL. `unit` is Grafana's name of it. `kind`: "timeseries", "stat" or "table"."""

    title: str
    unit: str
    queries: dict[str, str]
    help: str = ""
    width: int = 8
    kind: str = "timeseries"
    zero: bool = True


def arms(metric: str) -> dict[str, str]:
    """Both arms of the chosen services."""
    return {f"{{{{service}}}} {arm}": metric + ARM % arm for arm in ("adaptive", "static")}


def endpoints(metric: str) -> dict[str, str]:
    """Every endpoint of the chosen services."""
    return {"{{service}} {{endpoint}}": metric + ONE}


def nodes(metric: str) -> dict[str, str]:
    """Every proxy."""
    return {"{{node}}": metric}


ROWS: dict[str, tuple[Panel, ...]] = {
    "At a glance": (
        Panel(
            "Incidents open", "none", {"{{kind}} at {{service}}": "weirflow_incident_open > 0"}, kind="stat", width=6
        ),
        Panel(
            "Lease age", "s", {"age": "weirflow_lease_age_seconds"}, "Above the TTL the static rules serve.", 6, "stat"
        ),
        Panel(
            "Services by state", "none", {"{{state}}": "sum by (state) (weirflow_service_state)"}, kind="stat", width=6
        ),
        Panel(
            "Proxies without fresh telemetry", "none", {"proxies": "sum(1 - weirflow_node_fresh)"}, kind="stat", width=6
        ),
    ),
    "What users feel": (
        Panel("Requests", "reqps", arms("weirflow_arm_requests_per_second"), "By the rules that served them."),
        Panel("p99", "s", arms("weirflow_arm_latency_p99_seconds"), "Of what users felt, retries included."),
        Panel("Failed", "percentunit", arms("weirflow_arm_failed_ratio")),
        Panel("p50", "s", arms("weirflow_arm_latency_p50_seconds")),
        Panel(
            "Gain",
            "percentunit",
            {
                "{{service}} {{estimate}}": "weirflow_gain_ratio" + ONE,
                "{{service}} {{estimate}}, at least": "weirflow_gain_low_ratio" + ONE,
                "{{service}} {{estimate}}, at most": "weirflow_gain_high_ratio" + ONE,
            },
            "Cut in what users feel against the holdout, with its 95 % interval. Below 0 the share steps back.",
            zero=False,
        ),
        Panel(
            "Share on learned weights",
            "percentunit",
            {
                "{{service}}": "weirflow_service_share_ratio" + ONE,
                "{{service}} asked for": "weirflow_service_commanded_share_ratio" + ONE,
            },
        ),
    ),
    "Endpoints": (
        Panel("Share of the learned arm", "percentunit", endpoints("weirflow_endpoint_share_ratio")),
        Panel("p99", "s", endpoints("weirflow_endpoint_latency_p99_seconds")),
        Panel("Failed", "percentunit", endpoints("weirflow_endpoint_error_ratio")),
        Panel("In flight", "none", endpoints("weirflow_endpoint_in_flight")),
        Panel("Attempts", "reqps", endpoints("weirflow_endpoint_attempts_per_second")),
        Panel("p50", "s", endpoints("weirflow_endpoint_latency_p50_seconds")),
        Panel("Bears", "reqps", endpoints("weirflow_endpoint_capacity_per_second"), "As it is believed."),
        Panel(
            "Wanted over in force",
            "none",
            {"{{service}} {{endpoint}}": f"{WANTED} / weirflow_endpoint_weight{ONE} != 1"},
            "Where a guard, a step or the gate holds a weight.",
            width=16,
            kind="table",
        ),
    ),
    "Demand and limits": (
        Panel(
            "Asked, foretold and borne",
            "reqps",
            {
                "{{service}} asked": "weirflow_demand_requests_per_second" + ONE,
                "{{service}} in {{ahead}}, p{{quantile}}": "weirflow_demand_forecast_requests_per_second" + ONE,
                "{{service}} bears": "weirflow_capacity_requests_per_second" + ONE,
            },
            width=12,
        ),
        Panel(
            "Spare",
            "percentunit",
            {"{{service}} in {{ahead}}": "weirflow_spare_ratio" + ONE},
            "Below 0: short.",
            zero=False,
        ),
        Panel("Refused", "reqps", {"{{service}}": "weirflow_refused_requests_per_second" + ONE}, width=4),
        Panel(
            "Limit",
            "none",
            {"{{service}}": "weirflow_limit_requests" + ONE, "{{service}} in force": "weirflow_limit_armed" + ONE},
        ),
        Panel("Shed", "percentunit", {"{{service}}": "weirflow_shed_ratio" + ONE}),
        Panel(
            "Retries",
            "percentunit",
            {
                "{{service}} end well": "weirflow_retries_answered_ratio" + ONE,
                "{{service}} budget": "weirflow_retry_budget_ratio" + ONE,
            },
        ),
    ),
    "Proxies": (
        Panel("Report age", "s", nodes("weirflow_node_report_age_seconds")),
        Panel("Clock offset", "s", nodes("weirflow_node_clock_offset_seconds"), zero=False),
        Panel(
            "Refused configurations",
            "none",
            {"{{node}}": "rate(weirflow_nacks_total[5m])", "{{node}} now": "weirflow_node_parked"},
        ),
        Panel(
            "Log entries nobody learned from",
            "reqps",
            {"{{node}} {{reason}}": "rate(weirflow_dropped_total[5m])"},
            width=12,
        ),
        Panel("Connected", "none", nodes("weirflow_node_connected"), width=12),
        Panel(
            "Certificates end in",
            "s",
            {"{{certificate}}": "weirflow_certificate_not_after_timestamp_seconds - time()"},
            "Empty where nodes call in the clear.",
        ),
        Panel(
            "TLS connections",
            "none",
            {
                "began": "rate(weirflow_tls_connections_total[5m])",
                "trusted": "rate(weirflow_tls_connections_trusted_total[5m])",
            },
            "What lies between was turned away: no certificate, an expired one, or one of another CA.",
        ),
        Panel("Streams ended by a fault", "none", {"{{reason}}": "rate(weirflow_stream_faults_total[5m])"}),
    ),
    "Weirflow itself": (
        Panel("Tick", "s", {"took": "weirflow_tick_duration_seconds"}),
        Panel(
            "Ticks",
            "none",
            {
                "skipped": "increase(weirflow_tick_overrun_total[5m])",
                "failed": "increase(weirflow_tick_errors_total[5m])",
            },
        ),
        Panel("Plan", "none", {"version": "weirflow_plan_version", "frozen": "weirflow_frozen"}, zero=False),
        Panel("Alert receivers", "none", {"{{receiver}}": "weirflow_alert_receiver_up"}),
        Panel("Recording", "bytes", {"on disk": "weirflow_recording_bytes"}),
        Panel("Recorded", "reqps", {"attempts": "rate(weirflow_recording_attempts_total[1m])"}),
    ),
}


def dashboard() -> dict[str, Any]:
    """The whole file. Grafana gives it an id when it is imported; `uid` keeps its address."""
    return {
        "uid": "weirflow",
        "title": "Weirflow",
        "description": "What users feel under both rules, endpoints, demand and limits, proxies, and Weirflow itself.",
        "tags": ["weirflow", "envoy"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "browser",
        "graphTooltip": 1,
        "annotations": {"list": [INCIDENTS]},
        "templating": {"list": [DATASOURCE, SERVICE]},
        "panels": list(_panels()),
    }


DATASOURCE = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
SERVICE = {
    "name": "service",
    "type": "query",
    "label": "Service",
    "datasource": SOURCE,
    "query": {"query": "label_values(weirflow_service_share_ratio, service)", "refId": "service"},
    "refresh": 2,
    "multi": True,
    "includeAll": True,
    "allValue": ".*",
    "current": {"text": "All", "value": "$__all"},
}
INCIDENTS = {
    "name": "Incidents",
    "datasource": SOURCE,
    "enable": True,
    "expr": 'weirflow_incident_open{service=~"$service"} > 0',
    "titleFormat": "{{kind}} at {{service}}",
    "iconColor": "red",
}


def _panels() -> Iterator[dict[str, Any]]:
    number, y = 0, 0
    for title, panels in ROWS.items():
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": _at(0, y, WIDTH, 1),
        }
        x, y = 0, y + 1
        for panel in panels:
            if x + panel.width > WIDTH:
                x, y = 0, y + HEIGHT
            number += 1
            yield _panel(panel, number, x, y)
            x += panel.width
        y += HEIGHT


def _panel(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    table = {"format": "table", "instant": True} if panel.kind == "table" else {}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.help,
        "datasource": SOURCE,
        "gridPos": _at(x, y, panel.width, HEIGHT),
        "fieldConfig": {"defaults": {"unit": panel.unit} | ({"min": 0} if panel.zero else {}), "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": query, "legendFormat": legend} | table
            for i, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def _at(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def text() -> str:
    """The file's content."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
