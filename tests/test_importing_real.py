"""Logs of real proxies, held against what their clients got and their backends served."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from tests.logs import columns
from tests.proxies import UPSTREAM, ask, backends, haproxy_before, nginx_before, through_envoy
from tests.servers import free_port, until
from weirflow.importing import Options, run
from weirflow.recording import inspect, read

pytestmark = [pytest.mark.timeout(170), pytest.mark.xdist_group("servers")]

N = 300
ROUTES = {"/cart": N // 3, "/orders/{}": N - N // 3}


def imported(file: Path, to: Path, **options):
    report = run([str(file)], to, Options(**options))
    assert report.rejected == 0, report.files
    assert inspect.inspect(to).sound
    return report, columns(to)


def by_endpoint(got, **where):
    chosen = np.ones(len(got["status"]), bool)
    for name, value in where.items():
        chosen &= got[name] == value
    return Counter(got["endpoint"][chosen])


@pytest.mark.envoy
async def test_envoys_logs_say_what_its_client_got_and_its_backends_served(tmp_path):
    async with backends() as to:
        asked = await through_envoy(tmp_path, to, N)
        served = {b.address: b.answered for b in to}
    got_from = Counter(body for _, status, body, _ in asked if status == 200)
    for name in ("default", "istio", "json"):
        report, got = imported(tmp_path / f"{name}.log", tmp_path / name)
        assert report.files[0].format == {"default": "envoy", "istio": "istio", "json": "istio-json"}[name]
        assert by_endpoint(got, status=200) == got_from
        assert Counter(got["status"]) == Counter(status for _, status, _, _ in asked)
        assert report.routes == ROUTES
        assert list(report.services) == ["shop" if name != "default" else got["service"][0]]
        # Envoy counts whole milliseconds of its own time, which is within the client's.
        assert got["duration_s"].sum() <= sum(seconds for *_, seconds in asked)
    report, got = imported(tmp_path / "upstream.log", tmp_path / "upstream", envoy_format=UPSTREAM)
    assert by_endpoint(got) == {address: counts.total() for address, counts in served.items()}
    assert by_endpoint(got, outcome="ERROR") == {to[2].address: served[to[2].address][503]}
    tried_again = sum(served[to[2].address].values()) and served[to[2].address][503]
    gave_up = sum(status == 503 for _, status, _, _ in asked)
    assert report.retries == np.count_nonzero(got["attempt"] > 1) == tried_again - gave_up
    assert report.retries > 10
    assert (got["felt_s"] + 1e-6 >= got["duration_s"]).all()


@pytest.mark.envoy
async def test_nginxs_log_says_every_attempt(tmp_path):
    gone = f"127.0.0.1:{free_port()}"
    async with backends() as to:
        async with nginx_before(tmp_path, [*(b.address for b in to), gone]) as url:
            asked = await ask(url, N)
        served = {b.address: b.answered for b in to}
    report, got = imported(tmp_path / "access.log", tmp_path / "to")
    assert report.files[0].format == "nginx"
    reached = {address: counts.total() for address, counts in served.items()}
    tried = by_endpoint(got)
    assert {address: tried[address] for address in reached} == reached
    assert set(tried) == {*reached, gone}
    assert by_endpoint(got, outcome="UNREACHED") == {gone: tried[gone]}
    assert by_endpoint(got, outcome="ERROR") == {to[2].address: served[to[2].address][503]}
    # The last attempt of each request is the one that the client saw.
    starts = np.flatnonzero(got["attempt"] == 1)
    assert len(starts) == N
    assert by_endpoint(got, status=200) == Counter(body for _, status, body, _ in asked if status == 200)
    assert report.routes.keys() == ROUTES.keys()
    assert got["felt_s"].max() <= max(seconds for *_, seconds in asked) + 0.002


@pytest.mark.envoy
async def test_haproxys_log_says_the_last_attempt_and_how_many_there_were(tmp_path):
    async with backends() as to:
        async with haproxy_before(tmp_path, [b.address for b in to]) as url:
            asked = await ask(url, N)
        served = sum(b.answered.total() for b in to)
    names = {b.address: f"s{i}" for i, b in enumerate(to, 1)}
    log = tmp_path / "access.log"
    lines = (tmp_path / "out.log").read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in lines if re.match(r"127\.0\.0\.1:\d+ \[", line)))
    report, got = imported(log, tmp_path / "to")
    assert report.files[0].format == "haproxy"
    assert by_endpoint(got, status=200) == Counter(names[body] for _, status, body, _ in asked if status == 200)
    assert report.routes == ROUTES
    assert int((got["attempt"] - 1).sum()) == served - N > 10
    assert report.hidden_retries == np.count_nonzero(got["attempt"] > 1)
    assert any("tries before" in note for note in report.notes)


@pytest.mark.envoy
async def test_a_million_lines_are_imported_from_start_to_end(tmp_path):
    """NGINX writes 50,000 of them; twenty copies, each with times and ids of its own, make the rest."""
    ports = [free_port() for _ in range(3)]
    answers = "".join(f"server {{ listen 127.0.0.1:{p}; access_log off; return 200 'served'; }}" for p in ports)
    real = 50_000
    async with nginx_before(tmp_path, [f"127.0.0.1:{p}" for p in ports], answers) as url:
        await _load(int(url.rpartition(":")[2]), real)

        async def written() -> bool:  # a line comes after its answer
            return (tmp_path / "access.log").read_bytes().count(b"\n") == real

        await until(written)
    lines = (tmp_path / "access.log").read_text().splitlines()
    file = tmp_path / "million.log"
    with file.open("w") as out:
        for copy in range(20):
            out.writelines(_later(line, copy) for line in lines)
    report = run([str(file)], tmp_path / "to", Options())
    assert (report.attempts, report.rejected, report.duplicates) == (1_000_000, 0, 0)
    table = read(tmp_path / "to").attempts(["now", "status", "endpoint"])
    assert len(table) == 1_000_000
    assert pc.unique(table["status"]).to_pylist() == [200]
    assert set(pc.unique(table["endpoint"]).to_pylist()) == {f"127.0.0.1:{p}" for p in ports}
    assert (np.diff(table["now"].to_numpy()) >= 0).all()


def _later(line: str, copy: int) -> str:
    """A line of real NGINX an hour on for each copy, with another request id."""
    at, _, rest = line.partition(" ")
    parts = rest.split('"')
    parts[7] = f"{copy:08x}{parts[7][8:]}"
    return f"{float(at) + 3600 * copy:.3f} " + '"'.join(parts) + "\n"


async def _load(port: int, n: int, connections: int = 32) -> None:
    """Pipelined keep-alive requests: the client must not be what is slow."""
    request = b"GET /orders/%d HTTP/1.1\r\nHost: shop.example\r\n\r\n"

    async def one(share: range) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for at in range(0, len(share), 20):
            batch = share[at : at + 20]
            writer.write(b"".join(request % i for i in batch))
            for _ in batch:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(6)
        writer.close()

    await asyncio.gather(*(one(range(i, n, connections)) for i in range(connections)))
