"""OTLP JSON lines: a TracesData object a line (OpenTelemetry's file exporter), of which the client spans are attempts.

Attributes by the stable HTTP conventions, and by the names they had before. A span has to name the peer
(`network.peer.address` or `server.address`); resends of a request share their parent, by which they are numbered where
`http.request.resend_count` is missing. Traces are sampled as a rule: rates are then those of the sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dataplane.contract import Outcome
from dataplane.mesh import host_port
from weirflow.importing.attempts import Read
from weirflow.importing.jsonlines import parsed
from weirflow.importing.lines import chunks
from weirflow.importing.opening import Source
from weirflow.importing.rejects import Rejects

CLIENT = (3, "3", "SPAN_KIND_CLIENT")
_SERVICE = ("peer.service", "server.address", "net.peer.name", "http.host")
_ADDRESS = ("network.peer.address", "net.peer.ip", "net.sock.peer.addr", "server.address", "net.peer.name")
_PORT = ("network.peer.port", "net.sock.peer.port", "server.port", "net.peer.port")
_NODE = ("service.instance.id", "k8s.pod.name", "host.name", "service.name")
_PATH = ("url.path", "http.target", "url.full", "http.url")
_ROUTE = ("http.route", "url.template")
_COLUMNS = (
    "started_ns",
    "ended_ns",
    "service",
    "endpoint",
    "node",
    "path",
    "method",
    "status",
    "grpc_status",
    "outcome",
    "resent",
    "bytes_in",
    "bytes_out",
    "request",
)


class OtlpReader:
    """Reads client spans."""

    retries_hidden = False

    def read(self, source: Source, rejects: Rejects) -> Iterator[Read]:
        """As `text.Reader.read`."""
        for chunk in chunks(source.blocks(), rejects):
            lines: list[int] = []
            rows: list[tuple[Any, ...]] = []
            for number, document in zip(*parsed(chunk, rejects), strict=True):
                try:
                    found, others = _spans(document)
                except (AttributeError, TypeError, KeyError, ValueError, IndexError, RecursionError):
                    rejects.reject(number, "is no TracesData")
                    continue
                rejects.leave_out("a span that is no client's", others)
                rows += found
                lines += [number] * len(found)
            if rows:
                yield Read(lines, dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True)))


def _spans(document: dict[str, Any]) -> tuple[list[tuple[Any, ...]], int]:
    """The rows of a line, and how many spans were no client's. Any exception for what is no TracesData."""
    rows, others = [], 0
    for resource in document["resourceSpans"]:
        about = _attributes(resource.get("resource") or {})
        for scope in resource.get("scopeSpans") or resource.get("instrumentationLibrarySpans") or ():
            for span in scope["spans"]:
                if span.get("kind") in CLIENT:
                    rows.append(_row(span, _attributes(span), about))
                else:
                    others += 1
    return rows, others


def _row(span: dict[str, Any], said: dict[str, Any], about: dict[str, Any]) -> tuple[Any, ...]:
    address, port = str(_first(said, _ADDRESS) or ""), _first(said, _PORT)
    if address and port not in (None, "") and str(port).isdecimal():
        address = host_port(address, int(str(port)[:5]))
    status = said.get("http.response.status_code", said.get("http.status_code"))
    failed = (span.get("status") or {}).get("code") in (2, "2", "STATUS_CODE_ERROR")
    return (
        span.get("startTimeUnixNano"),
        span.get("endTimeUnixNano"),
        _first(said, _SERVICE) or address,
        address,
        _first(about, _NODE),
        _first(said, _ROUTE) or _first(said, _PATH),
        said.get("http.request.method", said.get("http.method")),
        status,
        said.get("rpc.grpc.status_code"),
        _outcome(str(said.get("error.type", "")).lower()) if failed and status in (None, "", 0) else "",
        said.get("http.request.resend_count"),
        said.get("http.request.body.size", said.get("http.request_content_length")),
        said.get("http.response.body.size", said.get("http.response_content_length")),
        f"{span.get('traceId', '')}{span.get('parentSpanId', '')}",
    )


def _outcome(error: str) -> str:
    """Of a span without a status: what `error.type` says in the words of the languages' clients."""
    if "timeout" in error or "deadline" in error:
        return Outcome.TIMEOUT.name
    if "cancel" in error or "abort" in error:
        return Outcome.CANCELLED.name
    if "connect" in error or "refused" in error or "dns" in error or "unknownhost" in error:
        return Outcome.UNREACHED.name
    return Outcome.ERROR.name


def _attributes(thing: dict[str, Any]) -> dict[str, Any]:
    out = {}
    for attribute in thing.get("attributes") or ():
        value = attribute.get("value") or {}
        out[attribute["key"]] = next(iter(value.values()), None) if isinstance(value, dict) else value
    return out


def _first(said: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((said[k] for k in keys if said.get(k) not in (None, "")), None)
