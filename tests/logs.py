"""Logs made up for the tests of imports: the same few requests in the words of every format."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from weirflow.importing import Options, run
from weirflow.importing.report import Report
from weirflow.recording import read

T0 = datetime(2026, 9, 21, 14, 0, 0, tzinfo=UTC)
PATHS = ("/orders/17", "/orders/18?token=secret", "/cart")
ROUTES = ("/orders/{}", "/orders/{}", "/cart")


@dataclass(frozen=True)
class Asked:
    """One request as its client saw it."""

    at_s: float
    duration_ms: int
    path: str
    endpoint: str
    status: int
    id: str

    @property
    def at(self) -> datetime:
        return T0 + timedelta(seconds=self.at_s)

    @property
    def ended(self) -> datetime:
        return self.at + timedelta(milliseconds=self.duration_ms)


def id_of(i: int) -> str:
    return f"{i:08x}-0000-4000-8000-0123456789ab"


def some(n: int = 30) -> list[Asked]:
    """Requests to three endpoints, the third of which fails now and then."""
    out = []
    for i in range(n):
        status = 503 if i % 3 == 2 and i % 2 else 200
        out.append(
            Asked(
                i * 0.25,
                10 + i,
                PATHS[i % 3],
                f"10.0.0.{i % 3 + 1}:8080",
                status,
                f"{i:08x}-0000-4000-8000-0123456789ab",
            )
        )
    return out


def iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def envoy(a: Asked) -> str:
    return (
        f'[{iso(a.at)}] "GET {a.path} HTTP/1.1" {a.status} - 7 900 {a.duration_ms} {a.duration_ms - 1} "192.0.2.77" '
        f'"Mozilla/5.0 (X11; "quoted" Linux)" "{a.id}" "shop.example" "{a.endpoint}"'
    )


def istio(a: Asked) -> str:
    return (
        f'[{iso(a.at)}] "GET {a.path} HTTP/2" {a.status} - via_upstream - '
        f'"-" 7 900 '
        f'{a.duration_ms} {a.duration_ms - 1} "192.0.2.77" "curl/8 (secret agent)" "{a.id}" '
        f'"shop.example" "{a.endpoint}" '
        f"outbound|9080|v1|shop.prod.svc.cluster.local 10.2.0.1:40000 10.2.0.2:9080 192.0.2.77:5555 - default"
    )


def istio_json(a: Asked) -> str:
    return json.dumps(
        {
            "start_time": iso(a.at),
            "method": "GET",
            "path": a.path,
            "protocol": "HTTP/1.1",
            "response_code": a.status,
            "response_flags": "-",
            "bytes_received": 7,
            "bytes_sent": 900,
            "duration": a.duration_ms,
            "upstream_service_time": str(a.duration_ms - 1),
            "x_forwarded_for": "192.0.2.77",
            "user_agent": "secret agent",
            "request_id": a.id,
            "authority": "shop.example",
            "upstream_host": a.endpoint,
            "upstream_cluster": "outbound|9080|v1|shop.prod.svc.cluster.local",
            "route_name": None,
        }
    )


def contour_json(a: Asked) -> str:
    said = json.loads(istio_json(a))
    said["@timestamp"] = said.pop("start_time")
    return json.dumps({k: v for k, v in said.items() if k != "route_name"} | {"uber_trace_id": None})


def gateway_json(a: Asked) -> str:
    said = json.loads(istio_json(a))
    names = {
        "path": "x-envoy-origin-path",
        "upstream_service_time": "x-envoy-upstream-service-time",
        "request_id": "x-request-id",
        "authority": ":authority",
    }
    return json.dumps({names.get(k, k): v for k, v in said.items()})


def nginx(a: Asked) -> str:
    spent = f"{a.duration_ms / 1000:.3f}"
    return (
        f'{a.ended.timestamp():.3f} {spent} {a.status} "GET {a.path}" "shop.example" "shop" "{a.id}" 7 900 '
        f'"{a.endpoint}" "{a.status}" "0.000" "{(a.duration_ms - 1) / 1000:.3f}" "{spent}"'
    )


def ingress(a: Asked) -> str:
    spent = f"{a.duration_ms / 1000:.3f}"
    at = a.ended.strftime("%d/%b/%Y:%H:%M:%S +0000")
    return (
        f'192.0.2.77 - bob [{at}] "GET {a.path} HTTP/1.1" {a.status} 900 "https://shop.example/?secret" '
        f'"Mozilla (secret)" '
        f"7 {spent} [prod-shop-80] [] {a.endpoint} 900 {spent} {a.status} {a.id}"
    )


def haproxy(a: Asked) -> str:
    at = a.at.strftime("%d/%b/%Y:%H:%M:%S.") + f"{a.at.microsecond // 1000:03d}"
    return (
        f"<134>Sep 21 14:00:00 edge haproxy[123]: 192.0.2.77:40000 [{at}] front shop/{a.endpoint} "
        f"0/0/1/{a.duration_ms - 2}/{a.duration_ms} {a.status} 900 - - ---- 1/1/1/1/0 0/0 {{secret|agent}} "
        f'"GET {a.path} HTTP/1.1"'
    )


def otlp(a: Asked) -> str:
    host, port = a.endpoint.split(":")
    said = {
        "server.address": "shop",
        "network.peer.address": host,
        "network.peer.port": int(port),
        "http.request.method": "GET",
        "http.response.status_code": a.status,
        "url.full": f"https://user:secret@shop{a.path}",
        "user_agent.original": "secret",
    }
    start = int(a.at.timestamp() * 1000) * 1_000_000
    span = {
        "traceId": a.id.replace("-", ""),
        "spanId": a.id[:16],
        "parentSpanId": "p" + a.id[:8],
        "kind": 3,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + a.duration_ms * 1_000_000),
        "attributes": [
            {"key": k, "value": {"intValue": str(v)} if isinstance(v, int) else {"stringValue": v}}
            for k, v in said.items()
        ],
    }
    server = {**span, "kind": 2}
    about = {"attributes": [{"key": "service.instance.id", "value": {"stringValue": "web-1"}}]}
    return json.dumps({"resourceSpans": [{"resource": about, "scopeSpans": [{"spans": [span, server]}]}]})


def har(asked: list[Asked]) -> str:
    return json.dumps({"log": {"version": "1.2", "creator": {}, "entries": [_entry(a) for a in asked]}})


def _entry(a: Asked) -> dict[str, Any]:
    host, port = a.endpoint.split(":")
    return {
        "startedDateTime": a.at.isoformat(),
        "time": a.duration_ms,
        "serverIPAddress": host,
        "request": {
            "method": "GET",
            "url": f"http://shop.example:{port}{a.path}",
            "bodySize": 7,
            "headers": [{"name": "Cookie", "value": "secret"}],
        },
        "response": {"status": a.status, "bodySize": 900},
        "timings": {"blocked": -1, "dns": -1, "connect": 0, "send": 0, "wait": a.duration_ms - 1, "receive": 1},
    }


def goreplay(asked: list[Asked]) -> bytes:
    out = b""
    for a in asked:
        at = int(a.at.timestamp() * 1000) * 1_000_000
        name = a.id.replace("-", "")
        request = f"1 {name} {at}\nGET {a.path} HTTP/1.1\r\nHost: {a.endpoint}\r\nCookie: secret\r\n\r\nseven77"
        lasted = a.duration_ms * 1_000_000
        response = f"2 {name} {at + lasted} {lasted}\nHTTP/1.1 {a.status} OK\r\nContent-Length: 900\r\n\r\n{'x' * 900}"
        for record in (request, response):
            out += record.encode() + "\n🐵🙈🙉\n".encode()
    return out


def csv(asked: list[Asked]) -> str:
    head = "started,duration_ms,ttfb_ms,service,endpoint,path,method,status,bytes_in,bytes_out,request,probability\n"
    return head + "\n".join(
        f"{iso(a.at)},{a.duration_ms},{a.duration_ms - 1},shop,{a.endpoint},{a.path},GET,{a.status},7,900,{a.id},0.25"
        for a in asked
    )


LINES = {
    "envoy": envoy,
    "istio": istio,
    "istio-json": istio_json,
    "gateway-json": gateway_json,
    "contour-json": contour_json,
    "nginx": nginx,
    "ingress-nginx": ingress,
    "haproxy": haproxy,
    "otlp": otlp,
}
WHOLE = {"har": har, "goreplay": goreplay, "csv": csv}


def content(name: str, asked: list[Asked]) -> bytes:
    """The log of these requests in that format."""
    if name in LINES:
        return "".join(LINES[name](a) + "\n" for a in asked).encode()
    made = WHOLE[name](asked)
    return made if isinstance(made, bytes) else made.encode()


def imported(folder: Path, *contents: bytes | str, **options: Any) -> tuple[Report, dict[str, np.ndarray[Any, Any]]]:
    """Import contents as files `a.log`, `b.log`, ...; the report and the columns of the attempts."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, content_ in zip("abcdefgh", contents, strict=False):
        file = folder / f"{name}.log"
        file.write_bytes(content_ if isinstance(content_, bytes) else content_.encode())
        files.append(str(file))
    to = folder / f"recording-{len(list(folder.iterdir()))}"
    report = run(files, to, Options(**options))
    return report, columns(to) if report.folder else {}


def columns(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The attempts of a recording by column."""
    table = read(folder).attempts()
    return {
        f.name: np.array(table.column(f.name).to_pylist(), dtype=object)
        if pa.types.is_dictionary(f.type)
        else table.column(f.name).to_numpy()
        for f in table.schema
    }
