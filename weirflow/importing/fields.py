"""The canonical table: the columns that every log format is turned into, a row per attempt.

A name ends in its unit where it has one. Times and spans may come in several units (`duration_ms`, `duration_s`);
`--map` names the one that a log has. What a row must have is a time (`started` or `ended`), a duration, and a place:
`endpoint` with `service`, `cluster` or `host`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PER_SECOND: Final = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


@dataclass(frozen=True, slots=True)
class Field:
    """One column. `kind`: "time", "span", "number" or "text". `kept`: whether it enters the recording as it is."""

    name: str
    kind: str
    meaning: str
    kept: str = ""


FIELDS: Final = (
    Field("started", "time", "when the attempt began", "`started_s`"),
    Field("ended", "time", "when it ended: instead of `started`, for logs that tell the end", "by way of `started_s`"),
    Field("duration", "span", "from its start to its end", "`duration_s`"),
    Field("ttfb", "span", "from its start to the first byte of the response", "`ttfb_s`"),
    Field("felt", "span", "from the start of the request's first attempt to the end of this one", "`felt_s`"),
    Field("service", "text", "the upstream's name, as it is to be called", "`service`"),
    Field("cluster", "text", "the proxy's name of the upstream: the service where none is named", "`service`"),
    Field("host", "text", "authority or Host header: the service where no cluster is named", "`service`"),
    Field("endpoint", "text", "address that was picked, `ip:port`; empty when none was", "`endpoint`"),
    Field("zone", "text", "zone of the endpoint", "`zone`"),
    Field("node", "text", "the proxy that carried it; else the file's name", "`node`"),
    Field("path", "text", "path and query of the request: reduced to a template, then forgotten", "`route`"),
    Field("request_line", "text", "`METHOD PATH PROTOCOL` in one, instead of `method` and `path`", "`route`, `method`"),
    Field(
        "route", "text", "the proxy's name of the route: where there is no path, or by --route-from route", "`route`"
    ),
    Field("method", "text", "HTTP method", "`method`"),
    Field("status", "number", "HTTP status; 0 or empty when no response came", "`status`"),
    Field("grpc_status", "number", "gRPC status: a failing one makes an HTTP 200 a failure", "`outcome`"),
    Field("flags", "text", "Envoy's response flags, short or long", "`outcome`"),
    Field("outcome", "text", "OK, ERROR, TIMEOUT, REJECTED, CANCELLED or UNREACHED, where it is known", "`outcome`"),
    Field("attempt", "number", "1 for the first try; empty: counted by `request`", "`attempt`"),
    Field("resent", "number", "how often the request was sent before: `attempt` less 1", "`attempt`"),
    Field("bytes_in", "number", "body towards the endpoint", "`bytes_in`"),
    Field("bytes_out", "number", "body from the endpoint", "`bytes_out`"),
    Field("request", "text", "id of the request: finds duplicates and retries, then forgotten", ""),
    Field("arm", "text", "`static` or `adaptive`, where Weirflow was at work", "`arm`"),
    Field("weight", "number", "weight of the endpoint when it was picked", "`weight`"),
    Field("probability", "number", "chance of this pick, 0 to 1", "`probability`"),
)
BY_NAME: Final = {f.name: f for f in FIELDS}


def column(name: str) -> tuple[Field, str] | None:
    """The field and the unit that a column's name says, None when it is none: `duration_ms` is (duration, "ms").

    A time without a unit finds its own ("" then); a span has to have one.
    """
    if (field := BY_NAME.get(name)) is not None:
        return None if field.kind == "span" else (field, "")
    base, _, unit = name.rpartition("_")
    field = BY_NAME.get(base)
    if field is None or unit not in PER_SECOND or field.kind not in ("time", "span"):
        return None
    return field, unit


def names() -> list[str]:
    """Every column name there is, units spelled out."""
    out = []
    for field in FIELDS:
        if field.kind != "span":
            out.append(field.name)
        if field.kind in ("time", "span"):
            out += [f"{field.name}_{unit}" for unit in PER_SECOND]
    return out
