"""The C programs that a data plane is measured with: nginx answers, wrk asks. Both from Debian.

A Python client or backend would be the bottleneck: these take a few microseconds a request.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.result import CannotRunError
from dataplane.envoy.tether import tethered

NGINX = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{servers}
}}
"""
SERVER = '  server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ return 200 "{body}"; }} }}'
START_DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run of wrk."""

    requests: int
    per_s: float
    p99_ms: float
    bad: int  # answers that were not 2xx or 3xx, and sockets that failed


def tool(name: str) -> str:
    """The path of a tool; CannotRunError with how to install it."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise CannotRunError(f"{name} is not here; on Debian: apt-get install wrk nginx")
    return found


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on now, all unlike."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


@asynccontextmanager
async def nginx(folder: Path, ports: list[int], body: str = "ok") -> AsyncIterator[int]:
    """One nginx process that answers on all these ports; yields its pid."""
    servers = "\n".join(SERVER.format(port=p, body=body) for p in ports)
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, servers=servers))
    process = subprocess.Popen(tethered([tool("nginx"), "-e", f"{folder}/nginx.log", "-p", folder, "-c", config]))
    try:
        async with asyncio.timeout(START_DEADLINE_S):
            for port in ports:
                while not await _answers(port):
                    if process.poll() is not None:
                        raise CannotRunError(f"nginx ended with status {process.returncode}; see {folder}/nginx.log")
                    await asyncio.sleep(0.02)
        yield process.pid
    finally:
        process.kill()
        process.wait()


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def wrk(port: int, seconds: float, path: str = "/", connections: int = 32) -> Run:
    """Ask as fast as answers come, on one thread, for whole seconds."""
    command = [
        tool("wrk"),
        "-t1",
        f"-c{connections}",
        f"-d{round(seconds)}s",
        "--latency",
        f"http://127.0.0.1:{port}{path}",
    ]
    process = await asyncio.create_subprocess_exec(*tethered(command), stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    out = (await process.stdout.read()).decode()
    await process.wait()
    return read_wrk(out)


_UNIT_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


def read_wrk(out: str) -> Run:
    """Read what wrk prints; CannotRunError with its own words when it measured nothing."""
    requests = re.search(r"(\d+) requests in", out)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", out)
    if not (requests and rate and p99):
        raise CannotRunError(f"wrk measured nothing: {out.strip() or 'it said nothing'}")
    bad = sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", out))
    for line in re.findall(r"Socket errors: (.*)", out):
        bad += sum(int(n) for n in re.findall(r"\d+", line))
    return Run(int(requests[1]), float(rate[1]), float(p99[1]) * _UNIT_MS[p99[2]], bad)


def cpu_s(pid: int) -> float:
    """CPU seconds that the live threads of a process have used, to the nanosecond (sched-stats.rst of the kernel)."""
    total_ns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total_ns += int((task / "schedstat").read_text().split()[0])
    return total_ns / 1e9
