"""Real proxies that write real logs, with backends that know what they served and a client that knows what it got."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from dataplane.envoy.process import EnvoyProcess
from tests.servers import free_port, libraries, program, until
from weirflow.importing import envoy, nginx

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
UPSTREAM = (
    "%START_TIME% %DURATION% %RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_HOST% %UPSTREAM_CLUSTER% %REQ(:METHOD)% "
    "%REQ(:PATH)% %REQ(X-REQUEST-ID)%\n"
)


class Backend:
    """Answers with its own address; the sick one with 503 to every second request."""

    def __init__(self, *, sick: bool = False) -> None:
        self.sick = sick
        self.answered: Counter[int] = Counter()

    async def start(self) -> Backend:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                status = 503 if self.sick and self.answered.total() % 2 else 200
                self.answered[status] += 1
                body = self.address.encode()
                writer.write(b"HTTP/1.1 %d .\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))
                await writer.drain()
        writer.close()

    def stop(self) -> None:
        self._server.close()


@contextlib.asynccontextmanager
async def backends(n: int = 3) -> AsyncIterator[list[Backend]]:
    """The last of them is sick."""
    made = [await Backend(sick=i == n - 1).start() for i in range(n)]
    try:
        yield made
    finally:
        for backend in made:
            backend.stop()


async def ask(url: str, n: int, at_once: int = 8) -> list[tuple[str, int, str, float]]:
    """Path, status, body and seconds of each request, as the client had it."""
    out: list[tuple[str, int, str, float]] = []
    numbers = iter(range(n))
    loop = asyncio.get_running_loop()

    async def one(session: aiohttp.ClientSession) -> None:
        for i in numbers:
            path = f"/orders/{i}?who=me" if i % 3 else "/cart"
            start = loop.time()
            async with session.get(url + path) as answer:
                out.append((path, answer.status, await answer.text(), loop.time() - start))

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(one(session) for _ in range(at_once)))
    return out


async def through_envoy(folder: Path, to: list[Backend], n: int) -> list[tuple[str, int, str, float]]:
    """Envoy, with a log in each of its formats: default.log, istio.log, json.log, and upstream.log of all attempts."""
    logs = [
        _file(folder / "default.log", {"text_format_source": {"inline_string": envoy.DEFAULT}}),
        _file(folder / "istio.log", {"text_format_source": {"inline_string": envoy.ISTIO}}),
        _file(folder / "json.log", {"json_format": _json_format()}),
    ]
    upstream = _file(folder / "upstream.log", {"text_format_source": {"inline_string": UPSTREAM}})
    retry = {"retry_on": "5xx,connect-failure", "num_retries": 2}
    routes = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
        {"name": "to-shop", "match": {"prefix": "/"}, "route": {"cluster": "shop", "retry_policy": retry}}
    ]}]}  # fmt: skip
    manager = {
        "@type": HCM,
        "stat_prefix": "in",
        "route_config": routes,
        "access_log": logs,
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER, "upstream_log": [upstream]}}],
    }
    hosts = [{"endpoint": {"address": _socket(b.address)}} for b in to]
    bootstrap: dict[str, Any] = {
        "node": {"id": "edge", "cluster": "c"},
        "admin": {"address": _socket("127.0.0.1:0")},
        "static_resources": {
            "listeners": [{
                "name": "in",
                "address": _socket("127.0.0.1:0"),
                "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
            }],
            "clusters": [{
                "name": "shop",
                "type": "STATIC",
                "load_assignment": {"cluster_name": "shop", "endpoints": [{"lb_endpoints": hosts}]},
            }],
        },
    }  # fmt: skip
    process = EnvoyProcess(bootstrap)
    try:
        await process.start()
        await process.ready()
        port = (await process.listeners())["in"]
        return await ask(f"http://127.0.0.1:{port}", n)
    finally:
        await process.stop(grace_s=10.0)  # it writes what it holds of its logs when it is asked to leave


def _file(path: Path, form: dict[str, Any]) -> dict[str, Any]:
    return {"name": "file", "typed_config": {"@type": FILE_LOG, "path": str(path), "log_format": form}}


def _json_format() -> dict[str, str]:
    """Istio's JSON keys, each with the operator that Istio has for it."""
    operators = {
        "started": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "bytes_in": "%BYTES_RECEIVED%",
        "bytes_out": "%BYTES_SENT%",
        "duration_ms": "%DURATION%",
        "ttfb_ms": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
        "request": "%REQ(X-REQUEST-ID)%",
        "host": "%REQ(:AUTHORITY)%",
        "endpoint": "%UPSTREAM_HOST%",
        "cluster": "%UPSTREAM_CLUSTER%",
        "route": "%ROUTE_NAME%",
    }
    return {envoy.ISTIO_JSON[our]: operator for our, operator in operators.items()}


def _socket(address: str) -> dict[str, Any]:
    host, port = address.rsplit(":", 1)
    return {"socket_address": {"address": host, "port_value": int(port)}}


@contextlib.asynccontextmanager
async def running(name: str, *arguments: str, port: int, out: Path) -> AsyncIterator[str]:
    """A proxy in the foreground; its URL once it accepts connections."""
    path = await asyncio.to_thread(program, name)
    with out.open("wb") as log:
        process = subprocess.Popen([path, *arguments], stdout=log, stderr=subprocess.STDOUT, env=libraries())

    async def accepts() -> bool:
        assert process.poll() is None, out.read_text()[-2000:]
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    try:
        await until(accepts)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)


@contextlib.asynccontextmanager
async def nginx_before(folder: Path, servers: list[str], more: str = "") -> AsyncIterator[str]:
    """NGINX that tries another server after a failure, and logs as the how-to says to `access.log`."""
    port = free_port()
    members = "".join(f"server {s} max_fails=0;" for s in servers)
    temporary = "".join(f"{kind}_temp_path tmp;" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        "daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log error.log;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ {temporary} log_format weirflow '{nginx.DEFAULT}'; keepalive_requests 1000000;\n"
        f"upstream shop {{ {members} keepalive 64; }}\n{more}\n"
        f"server {{ listen 127.0.0.1:{port}; access_log access.log weirflow;\n"
        "location / { proxy_pass http://shop; proxy_http_version 1.1; proxy_set_header Connection ''; "
        "proxy_next_upstream error timeout http_503; } } }\n"
    )
    arguments = ("-p", str(folder), "-c", "nginx.conf", "-e", "error.log")
    async with running("nginx", *arguments, port=port, out=folder / "out.log") as url:
        yield url


@contextlib.asynccontextmanager
async def haproxy_before(folder: Path, servers: list[str]) -> AsyncIterator[str]:
    """HAProxy that tries another server after a 503, and logs to `out.log`."""
    port = free_port()
    members = "".join(f"  server s{i} {s}\n" for i, s in enumerate(servers, 1))
    (folder / "haproxy.cfg").write_text(
        "global\n  log stdout format raw local0 info\ndefaults\n  mode http\n  log global\n  option httplog\n"
        "  timeout connect 2s\n  timeout client 20s\n  timeout server 5s\n  retries 3\n  option redispatch 1\n"
        f"  retry-on conn-failure 503\nfrontend in\n  bind 127.0.0.1:{port}\n  default_backend shop\n"
        f"backend shop\n  balance roundrobin\n{members}"
    )
    arguments = ("-db", "-f", str(folder / "haproxy.cfg"))
    async with running("haproxy", *arguments, port=port, out=folder / "out.log") as url:
        yield url
