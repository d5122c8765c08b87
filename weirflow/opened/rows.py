"""A recorded Decision as rows of tables: what `Opened`'s frames are made of.

Each function takes one decision, as `brain.decision.Decision.to_dict` has it, and the service to keep (None: all), and
yields plain dicts. A decision of an older version may lack a field: that is None, as what is not known.
"""

from __future__ import annotations

from collections.abc import Iterator

from weirflow.flat import Row, endpoint_row, service_row


def of_services(decision: Row, service: str | None) -> Iterator[Row]:
    """A row a service: how it stands, what both arms felt, and the gain."""
    plan = decision.get("plan")
    for s in _services(decision, service):
        yield {
            "service": s["name"],
            "plan": None if plan is None else plan["version"],
            "frozen": decision.get("frozen"),
            **service_row(s),
        }


def of_endpoints(decision: Row, service: str | None) -> Iterator[Row]:
    """A row an endpoint: its weights, what it is believed to bear, what was seen and foretold of it."""
    for s in _services(decision, service):
        for e in s["endpoints"]:
            yield {"service": s["name"], "endpoint": e["address"], **endpoint_row(e)}


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
