"""A recorded Decision as rows of tables: what `Opened`'s frames are made of.

Each function takes one decision, as `brain.decision.Decision.to_dict` has it, and the service to keep (None: all), and
yields plain dicts. A decision of an older version may lack a field: that is None, as what is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]

_ENDPOINT = (
    *("static_weight", "weight", "proposed", "share", "tier"),
    *("rate_per_s", "error_share", "latency_s", "p50_s", "p99_s", "in_flight", "samples"),
)
_SERVICE = (
    *("mode", "state", "share_percent", "commanded_share_percent", "pushed", "limit", "limited", "latency_goal_s"),
    *("shed_percent", "refused_per_s"),
)
_ARM = ("requests_per_s", "p50_s", "p99_s", "failed_share")


def of_services(decision: Row, service: str | None) -> Iterator[Row]:
    """A row a service: how it stands, what both arms felt, and the gain."""
    plan = decision.get("plan")
    for s in _services(decision, service):
        gain, forecast = s.get("gain") or {}, s.get("forecast") or {}
        yield {
            "service": s["name"],
            "plan": None if plan is None else plan["version"],
            "frozen": decision.get("frozen"),
            **{name: s.get(name) for name in _SERVICE},
            **{f"{arm}_{name}": (s.get(arm) or {}).get(name) for arm in ("static", "adaptive") for name in _ARM},
            "gain": gain.get("value"),
            "gain_low": gain.get("low"),
            "gain_high": gain.get("high"),
            "capacity_per_s": s.get("capacity"),
            "asked_per_s": forecast.get("now_per_s"),
            "reason": s.get("reason"),
        }


def of_endpoints(decision: Row, service: str | None) -> Iterator[Row]:
    """A row an endpoint: its weights, what it is believed to bear, what was seen and foretold of it."""
    for s in _services(decision, service):
        for e in s["endpoints"]:
            told = e.get("quantiles") or {}
            yield {
                "service": s["name"],
                "endpoint": e["address"],
                "zone": e.get("zone"),
                **{name: e.get(name) for name in _ENDPOINT},
                "capacity_per_s": e.get("capacity"),
                "capacity_low_per_s": e.get("capacity_low"),
                "capacity_high_per_s": e.get("capacity_high"),
                **{f"{q}_predicted_s": told[q][1] if q in told else None for q in ("p50", "p95", "p99")},
                "guard": e.get("guard"),
                "reason": e.get("reason"),
            }


def of_forecasts(decision: Row, service: str | None) -> Iterator[Row]:
    """A row a service and horizon: what was foretold."""
    for s in _services(decision, service):
        said: Row = s.get("forecast") or {"ahead_s": ()}
        for k, ahead_s in enumerate(said["ahead_s"]):
            yield {
                "service": s["name"],
                "ahead_s": ahead_s,
                "asked_per_s": said["now_per_s"],
                **{f"{name}_per_s": said[name][k] for name in ("value", "low", "high", "p99")},
                "spare": said["spare"][k],
            }


def of_alerts(decision: Row, service: str | None) -> Iterator[Row]:
    """A row an alert that opened or closed."""
    for a in decision.get("alerts", ()):
        of = a["labels"].get("service")
        if service is None or of == service:
            yield {
                "kind": a["kind"],
                "opened": a["opened"],
                "service": of,
                "endpoint": a["labels"].get("endpoint"),
                "severity": a.get("severity"),
                "summary": a["summary"],
                "description": a.get("description"),
                "since_s": a.get("since_s"),
            }


def of_incidents(decision: Row, service: str | None) -> Iterator[Row]:
    """A row an incident that is open, as it is seen now."""
    for i in decision.get("incidents", ()):
        of = i["labels"].get("service")
        if service is None or of == service:
            yield {
                "incident": i["id"],
                "kind": i["kind"],
                "service": of,
                "endpoint": i["labels"].get("endpoint"),
                "severity": i["severity"],
                "since_s": i["since_s"],
                "harm": i["harm"],
                "summary": i["summary"],
                "causes": list(i["causes"]),
                "done": i["done"],
                "advice": i["advice"],
                "evidence": i["evidence"],
            }


_FORECAST = ("now_per_s", "ahead_s", "value", "low", "high", "p99", "spare")
_INCIDENT = ("id", "kind", "severity", "since_s", "harm", "summary", "causes", "done", "advice", "evidence")
BLANK: Row = {
    "services": [{"name": "", "endpoints": [{"address": ""}], "forecast": {key: [None] for key in _FORECAST}}],
    "alerts": [{"kind": "", "opened": True, "labels": {}, "summary": ""}],
    "incidents": [dict.fromkeys(_INCIDENT, ()) | {"labels": {}}],
}
"""A decision with one of everything: what it becomes has every column, also where nothing was decided."""


def _services(decision: Row, service: str | None) -> Iterator[Row]:
    return (s for s in decision["services"] if service is None or s["name"] == service)
