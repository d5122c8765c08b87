"""The state document: all that the console shows of a tick, as plain data that a browser can draw without asking again.

One document a tick, the same whether it is of now (the stream), of a minute ago (kept in memory) or of yesterday (a
recording): the pages do not know the difference. It is made from the Decision as JSON has it, so that a recorded one
serves as well as the live one. What there are thousands of, endpoints, are columns: a list for each figure. That is a
fifth of the bytes, and charts want columns.

    schema        1; a page that was loaded before an upgrade sees that it is another and loads itself anew
    at, tick      the brain's time of it, in seconds since 1970, and its number
    frozen        whether an operator holds the plan
    plan_version  None: no plan, nothing learned is leased
    services      a list: the ServiceView but for its endpoints, and
                    requests_per_s   over both arms
                    health           "good", "bad", "unknown" (nobody hears of it)
                    incident         the id of the incident that touches it, or None
                    endpoints        {figure: [value by endpoint]}, ENDPOINT_FIGURES and `health`
    edges         [{caller, callee, requests_per_s}]; the caller "" is the proxies that stand beside no service
    nodes         a list: the NodeView
    incidents     a list: the IncidentView
    alerts        a list: the Alerts that opened or closed at this tick
    notes         what the brain said at this tick
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]

SCHEMA = 1

ENDPOINT_FIGURES = (
    "address",
    "zone",
    "static_weight",
    "weight",
    "proposed",
    "share",
    "capacity",
    "capacity_low",
    "capacity_high",
    "rate_per_s",
    "error_share",
    "latency_s",
    "p50_s",
    "p99_s",
    "in_flight",
    "samples",
    "reason",
    "guard",
    "tier",
    "quantiles",
)
"""Of the EndpointView. A recording of before one was there has None for it."""

GOOD, BAD, UNKNOWN = "good", "bad", "unknown"


def state_of(decision: Json) -> Json:
    """The document of a decision, `Decision.to_dict()` made plain or the JSON of a recording."""
    incidents = list(decision.get("incidents", ()))
    touched: dict[str, str] = {}
    for i in incidents:
        for name in (i["labels"].get("service"), *(f["service"] for f in i["evidence"])):
            touched.setdefault(name, i["id"])
    bad = {(f["service"], f["endpoint"]) for i in incidents for f in i["evidence"] if f["endpoint"]}
    services = [_service(s, touched.get(s["name"]), bad) for s in decision["services"]]
    plan = decision.get("plan")
    return {
        "schema": SCHEMA,
        "at": decision["now"],
        "tick": decision["tick"],
        "frozen": decision["frozen"],
        "plan_version": None if plan is None else plan["version"],
        "services": services,
        "edges": list(_edges(services)),
        "nodes": list(decision["nodes"]),
        "incidents": incidents,
        "alerts": list(decision.get("alerts", ())),
        "notes": list(decision.get("notes", ())),
    }


def _service(view: Json, incident: str | None, bad: set[tuple[str, str]]) -> Json:
    endpoints = view["endpoints"]
    columns = {name: [e.get(name) for e in endpoints] for name in ENDPOINT_FIGURES}
    columns["health"] = [_health(e["samples"] > 0, (view["name"], e["address"]) in bad) for e in endpoints]
    requests_per_s = view["static"]["requests_per_s"] + view["adaptive"]["requests_per_s"]
    heard = any(samples > 0 for samples in columns["samples"])
    return view | {
        "requests_per_s": requests_per_s,
        "health": _health(heard, incident is not None),
        "incident": incident,
        "endpoints": columns,
    }


def _health(heard: bool, bad: bool) -> str:
    """Bad goes first: who hangs is not heard of and is no riddle."""
    return BAD if bad else GOOD if heard else UNKNOWN


def _edges(services: Iterable[Mapping[str, Any]]) -> Iterable[Json]:
    for callee in services:
        for caller, share in callee.get("callers", {}).items():
            yield {"caller": caller, "callee": callee["name"], "requests_per_s": share * callee["requests_per_s"]}
