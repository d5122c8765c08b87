"""Envoy's access log formats: any format string compiled to a pattern, and the JSON formats that are known by name.

Operators as in Envoy's documentation, "Access logging, command operators". One that tells nothing about an attempt is
matched and forgotten: client addresses, user agents and headers never leave the line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo

from dataplane.als.outcome import BIT, UNKNOWN_FLAG
from weirflow.importing.errors import WrongUseError
from weirflow.importing.pattern import NUMBER, Pattern, Piece
from weirflow.importing.times import by_directives

DEFAULT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    '%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" '
    '"%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n'
)
ISTIO = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% '
    '%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% '
    "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)

ISTIO_JSON = {
    "started": "start_time",
    "method": "method",
    "path": "path",
    "status": "response_code",
    "flags": "response_flags",
    "bytes_in": "bytes_received",
    "bytes_out": "bytes_sent",
    "duration_ms": "duration",
    "ttfb_ms": "upstream_service_time",
    "request": "request_id",
    "host": "authority",
    "endpoint": "upstream_host",
    "cluster": "upstream_cluster",
    "route": "route_name",
}
GATEWAY_JSON = ISTIO_JSON | {
    "path": "x-envoy-origin-path",
    "ttfb_ms": "x-envoy-upstream-service-time",
    "request": "x-request-id",
    "host": ":authority",
}
CONTOUR_JSON = {our: their for our, their in ISTIO_JSON.items() if our != "route"} | {"started": "@timestamp"}
JSON_FORMATS = {"istio": ISTIO_JSON, "envoy gateway": GATEWAY_JSON, "contour": CONTOUR_JSON}

_OPERATOR = re.compile(
    r"%(?:(?P<name>[A-Z][A-Z0-9_]*)(?:\((?P<inside>[^()]*(?:\([^()]*\)[^()]*)*)\))?(?::(?P<cut>\d+))?)?%"
)
_SIMPLE = {
    "DURATION": ("duration_ms", NUMBER),
    "RESPONSE_DURATION": ("ttfb_ms", NUMBER),
    "RESPONSE_CODE": ("status", NUMBER),
    "RESPONSE_FLAGS": ("flags", r"[A-Za-z,-]++"),
    "RESPONSE_FLAGS_LONG": ("flags", r"[A-Za-z,-]++"),
    "BYTES_RECEIVED": ("bytes_in", NUMBER),
    "BYTES_SENT": ("bytes_out", NUMBER),
    "UPSTREAM_HOST": ("endpoint", ""),
    "UPSTREAM_REMOTE_ADDRESS": ("endpoint", ""),
    "UPSTREAM_CLUSTER": ("cluster", ""),
    "UPSTREAM_CLUSTER_RAW": ("cluster", ""),
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": ("attempt", NUMBER),
    "ROUTE_NAME": ("route", ""),
    "GRPC_STATUS_NUMBER": ("grpc_status", NUMBER),
    "STREAM_ID": ("request", ""),
    "HOSTNAME": ("node", ""),
    "PATH": ("path", ""),
}
_HEADERS = {
    ":METHOD": ("method", ""),
    ":PATH": ("path", ""),
    "X-ENVOY-ORIGINAL-PATH": ("path", ""),
    ":AUTHORITY": ("host", ""),
    "HOST": ("host", ""),
    "X-REQUEST-ID": ("request", ""),
    "X-ENVOY-ATTEMPT-COUNT": ("attempt", NUMBER),
}
_POINTS = {  # %COMMON_DURATION(from:to:unit)%
    ("DS_RX_BEG", "DS_TX_END"): "duration",
    ("US_TX_BEG", "US_RX_END"): "duration",
    ("US_TX_BEG", "US_RX_BEG"): "ttfb",
    ("DS_RX_BEG", "US_RX_BEG"): "ttfb",
}
_PREFERRED = {  # where a format tells a thing twice, this operator is believed
    "request": ("REQ",),
    "endpoint": ("UPSTREAM_HOST",),
    "cluster": ("UPSTREAM_CLUSTER_RAW", "UPSTREAM_CLUSTER"),
    "duration": ("COMMON_DURATION", "DURATION"),
    "ttfb": ("COMMON_DURATION", "RESP", "RESPONSE_DURATION"),
    "attempt": ("UPSTREAM_REQUEST_ATTEMPT_COUNT",),
    "flags": ("RESPONSE_FLAGS",),
}


@dataclass(frozen=True, slots=True)
class Compiled:
    """A format's pattern, and what turns a captured text into one that the canonical column's reader knows."""

    pattern: Pattern
    normal: Mapping[str, Callable[[str], str]] = field(default_factory=dict)


def compiled(form: str, where: tzinfo = UTC) -> Compiled:
    """A format string as `text_format_source` has it. WrongUseError, with the operator, for what cannot be read."""
    pieces: list[Piece] = []
    normal: dict[str, Callable[[str], str]] = {}
    at = 0
    for m in _OPERATOR.finditer(form):
        pieces.append(Piece(literal=form[at : m.start()]))
        at = m.end()
        if not m["name"]:
            pieces.append(Piece(literal="%"))
            continue
        column, expression = _meaning(m["name"], m["inside"] or "")
        if column == "started" and m["inside"]:
            expression, normal[column] = by_directives(m["inside"], where)
        pieces.append(Piece(name=m[0], column=column, form=expression))
    pieces.append(Piece(literal=form[at:]))
    if "%" in "".join(p.literal for p in pieces).replace("%%", "") and not _OPERATOR.search(form):
        raise WrongUseError(f"--envoy-format {form!r}: has no operator such as %DURATION%")
    if "\n" in form.rstrip("\n"):
        raise WrongUseError("--envoy-format: a record over several lines cannot be read; log it on one")
    return Compiled(Pattern(_once(pieces)), normal)


def _meaning(name: str, inside: str) -> tuple[str, str]:
    """The canonical column that an operator fills and the form of its text, "" for none."""
    if name == "START_TIME":
        return "started", ""
    if name == "REQ":
        for header in inside.upper().split("?"):
            if header in _HEADERS:
                return _HEADERS[header]
    elif name == "RESP" and inside.upper() == "X-ENVOY-UPSTREAM-SERVICE-TIME":
        return "ttfb_ms", NUMBER
    elif name == "GRPC_STATUS" and inside.upper() == "NUMBER":
        return "grpc_status", NUMBER
    elif name == "ENVIRONMENT" and inside in ("POD_NAME", "HOSTNAME"):
        return "node", ""
    elif name == "COMMON_DURATION":
        start, end, unit = (*inside.split(":"), "", "")[:3]
        if (base := _POINTS.get((start, end))) and unit in ("ms", "us", "ns"):
            return f"{base}_{unit}", NUMBER
    return _SIMPLE.get(name, ("", ""))


def _once(pieces: list[Piece]) -> list[Piece]:
    """Of several operators that tell the same, the one that is believed; the others are matched only."""
    best: dict[str, tuple[int, int]] = {}
    for i, piece in enumerate(pieces):
        if piece.column:
            base = _base(piece.column)
            operator = piece.name.strip("%").partition("(")[0]
            order = _PREFERRED.get(base, ())
            rank = order.index(operator) if operator in order else len(order)
            best[base] = min(best.get(base, (rank, i)), (rank, i))
    chosen = {i for _, i in best.values()}
    return [p if i in chosen or not p.column else Piece(name=p.name, form=p.form) for i, p in enumerate(pieces)]


def _base(column: str) -> str:
    return column.removesuffix("_ms").removesuffix("_us").removesuffix("_ns").removesuffix("_s")


# %RESPONSE_FLAGS% and %RESPONSE_FLAGS_LONG%: the table of Envoy's documentation.

SHORT = {
    "LH": "failed_local_healthcheck",
    "UH": "no_healthy_upstream",
    "UT": "upstream_request_timeout",
    "LR": "local_reset",
    "UR": "upstream_remote_reset",
    "UF": "upstream_connection_failure",
    "UC": "upstream_connection_termination",
    "UO": "upstream_overflow",
    "NR": "no_route_found",
    "DI": "delay_injected",
    "FI": "fault_injected",
    "RL": "rate_limited",
    "UAEX": "unauthorized_details",
    "RLSE": "rate_limit_service_error",
    "DC": "downstream_connection_termination",
    "URX": "upstream_retry_limit_exceeded",
    "SI": "stream_idle_timeout",
    "IH": "invalid_envoy_request_headers",
    "DPE": "downstream_protocol_error",
    "UMSDR": "upstream_max_stream_duration_reached",
    "RFCF": "response_from_cache_filter",
    "NFCF": "no_filter_config_found",
    "DT": "duration_timeout",
    "UPE": "upstream_protocol_error",
    "NC": "no_cluster_found",
    "OM": "overload_manager",
    "DF": "dns_resolution_failure",
    "DR": "downstream_remote_reset",
}
_LONG = {
    "failedlocalhealthcheck": "LH",
    "nohealthyupstream": "UH",
    "upstreamrequesttimeout": "UT",
    "localreset": "LR",
    "upstreamremotereset": "UR",
    "upstreamconnectionfailure": "UF",
    "upstreamconnectiontermination": "UC",
    "upstreamoverflow": "UO",
    "noroutefound": "NR",
    "delayinjected": "DI",
    "faultinjected": "FI",
    "ratelimited": "RL",
    "unauthorizedexternalservice": "UAEX",
    "ratelimitserviceerror": "RLSE",
    "downstreamconnectiontermination": "DC",
    "upstreamretrylimitexceeded": "URX",
    "streamidletimeout": "SI",
    "invalidenvoyrequestheaders": "IH",
    "downstreamprotocolerror": "DPE",
    "upstreammaxstreamdurationreached": "UMSDR",
    "responsefromcachefilter": "RFCF",
    "nofilterconfigfound": "NFCF",
    "durationtimeout": "DT",
    "upstreamprotocolerror": "UPE",
    "noclusterfound": "NC",
    "overloadmanagerterminated": "OM",
    "dnsresolutionfailed": "DF",
    "downstreamremotereset": "DR",
}
_UNKNOWN = 1 << 63
assert UNKNOWN_FLAG not in BIT and _UNKNOWN & sum(BIT.values()) == 0  # noqa: S101, PT018


def flag_bits(text: str) -> int:
    """The bits of `dataplane.als.outcome` for flags as a log has them (`UF,URX`); an unknown one has its own bit."""
    out = 0
    for word in _words(text):
        name = SHORT.get(word) or SHORT.get(_LONG.get(word.lower(), ""))
        out |= BIT[name] if name else _UNKNOWN
    return out


def _words(text: str) -> Iterable[str]:
    return (w for w in (part.strip() for part in text.split(",")) if w and w != "-")
