"""Delivery to the real Alertmanager: what is open there is what is open here, whoever was down meanwhile."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from brain.decision import Alert, Decision, IncidentView
from tests.servers import Alertmanager, free_port, until
from weirflow.clock import Clock
from weirflow.config import load
from weirflow.config.build import Alerts
from weirflow.notify import Notifier
from weirflow.notify.silence import Silence, SilenceError
from weirflow.staged import example_incident
from weirflow.wiring import Running

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("servers")]

RESEND_S = 0.5
STALE = Alert("TelemetryStale", True, {"node": "front-1"}, "node front-1 is unknown: it reported 3 s ago")
OVER = replace(STALE, opened=False)


class Mesh:
    """A notifier, and a brain that decides ten times a second and opens and closes what it is asked to."""

    def __init__(self, **section: Any) -> None:
        self.clock = Clock()
        self.notifier = Notifier(Alerts(resend_s=RESEND_S, **section), self.clock, "e1")
        self.incidents: tuple[IncidentView, ...] = ()
        self.decides = True

    def decide(self, *alerts: Alert) -> None:
        now = self.clock.now()
        alerts = tuple(replace(a, since_s=now) if a.opened else a for a in alerts)
        self.notifier.told(Decision(now, 1, None, (), (), alerts, incidents=self.incidents))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Mesh]:
        async def ticks() -> None:
            while True:
                if self.decides:
                    self.decide()
                await asyncio.sleep(0.1)

        await self.notifier.start()
        task = asyncio.create_task(ticks())
        try:
            yield self
        finally:
            task.cancel()
            await self.notifier.stop()


@pytest.fixture
async def alertmanager(tmp_path: Path) -> AsyncIterator[Alertmanager]:
    server = Alertmanager(tmp_path / "one")
    await server.start()
    yield server
    await server.stop()


async def none_there(server: Alertmanager) -> bool:
    return await server.alerts() == []


async def test_an_alert_opens_is_told_again_stays_one_and_ends(alertmanager: Alertmanager) -> None:
    async with Mesh(alertmanagers=(alertmanager.url,), labels={"site": "east"}).running() as mesh:
        mesh.decide(STALE)
        (first,) = await until(alertmanager.alerts)
        assert first["labels"] == {
            "alertname": "TelemetryStale", "severity": "warning", "node": "front-1", "site": "east",
        }  # fmt: skip
        assert first["annotations"]["summary"] == STALE.summary
        assert first["annotations"]["runbook_url"] == "docs/runbook.md#telemetrystale"
        assert first["status"]["state"] == "active"

        async def told_again() -> Any:
            (now,) = await alertmanager.alerts()
            return now if now["updatedAt"] != first["updatedAt"] and now["endsAt"] > first["endsAt"] else None

        again = await until(told_again)
        assert (again["fingerprint"], again["startsAt"]) == (first["fingerprint"], first["startsAt"])
        mesh.decide(OVER)
        await until(lambda: none_there(alertmanager), deadline_s=10)


async def test_labels_are_the_same_whatever_the_figures_and_the_words_follow_them(alertmanager: Alertmanager) -> None:
    async with Mesh(alertmanagers=(alertmanager.url,), console="http://console.example/w").running() as mesh:
        incident = example_incident(severity="warning", harm=0.01)
        opened = Alert(incident.kind, True, incident.labels, incident.summary, incident.severity)
        mesh.incidents = (incident,)
        mesh.decide(opened)
        (first,) = await until(alertmanager.alerts)
        assert first["annotations"]["console_url"] == "http://console.example/w/incidents/I-1"
        assert first["generatorURL"] == "http://console.example/w/incidents/I-1"
        mesh.incidents = (replace(incident, summary="it takes 900 ms now", harm=0.02),)

        async def follows() -> Any:
            return [a for a in await alertmanager.alerts() if "900 ms" in a["annotations"]["summary"]]

        (now,) = await until(follows)
        assert (now["fingerprint"], now["labels"]) == (first["fingerprint"], first["labels"])
        assert len(await alertmanager.alerts()) == 1


async def test_one_that_gets_worse_is_told_as_critical_and_the_warning_ends(alertmanager: Alertmanager) -> None:
    async with Mesh(alertmanagers=(alertmanager.url,)).running() as mesh:
        incident = example_incident(severity="warning", harm=0.01)
        mesh.incidents = (incident,)
        mesh.decide(Alert(incident.kind, True, incident.labels, incident.summary, "warning"))
        (first,) = await until(alertmanager.alerts)
        mesh.incidents = (replace(incident, severity="critical", harm=0.3),)

        async def only_critical() -> Any:
            return [a["labels"]["severity"] for a in await alertmanager.alerts()] == ["critical"]

        await until(only_critical, deadline_s=10)
        (now,) = await alertmanager.alerts()
        assert now["startsAt"] == first["startsAt"]


async def test_alerts_expire_when_the_brain_no_longer_decides(alertmanager: Alertmanager) -> None:
    async with Mesh(alertmanagers=(alertmanager.url,)).running() as mesh:
        mesh.decide(STALE)
        await until(alertmanager.alerts)
        mesh.decides = False
        await until(lambda: none_there(alertmanager), deadline_s=10)
        assert mesh.notifier.alerts.open, "here it is open: nobody knows better"
        mesh.decides = True
        await until(alertmanager.alerts, deadline_s=10)


async def test_a_restart_of_weirflow_is_no_new_alert_and_its_death_ends_them(alertmanager: Alertmanager) -> None:
    async with Mesh(alertmanagers=(alertmanager.url,)).running() as mesh:
        mesh.decide(STALE)
        (first,) = await until(alertmanager.alerts)
    async with Mesh(alertmanagers=(alertmanager.url,)).running() as mesh:
        mesh.decide(STALE)

        async def told_again() -> Any:
            return [a for a in await alertmanager.alerts() if a["updatedAt"] != first["updatedAt"]]

        (again,) = await until(told_again)
        assert (again["fingerprint"], again["startsAt"]) == (first["fingerprint"], first["startsAt"])
    await until(lambda: none_there(alertmanager), deadline_s=10)


class People:
    """Whom an Alertmanager calls: a web server that remembers each alert's status, in order."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        app = web.Application()
        app.router.add_post("/", self._called)
        self.server = TestServer(app)

    async def _called(self, request: web.Request) -> web.Response:
        self.heard += [alert["status"] for alert in (await request.json())["alerts"]]
        return web.Response()


async def test_an_alertmanager_that_was_down_is_told_of_the_end_when_it_is_back(tmp_path: Path) -> None:
    people = People()
    await people.server.start_server()
    steady = Alertmanager(tmp_path / "steady")
    falls = Alertmanager(tmp_path / "falls", calls=str(people.server.make_url("/")))

    async def heard(*wanted: str) -> bool:
        return people.heard[-len(wanted) :] == list(wanted)

    try:
        await steady.start()
        await falls.start()
        async with Mesh(alertmanagers=(steady.url, falls.url)).running() as mesh:
            mesh.decide(STALE)
            await until(steady.alerts)
            await until(lambda: heard("firing"))
            await falls.stop()
            mesh.decide(OVER)
            await until(lambda: none_there(steady), deadline_s=10)
            up = {h.receiver: h for h in mesh.notifier.health()}

            async def seen_down() -> bool:
                return up[falls.url].up is False

            await until(seen_down)
            assert up[steady.url].up, "one that is down is the others' no concern"
            # Longer than the end is told to everybody: what this one missed waits for it alone.
            mesh.notifier.alerts._resolved.clear()
            await falls.start()
            await until(lambda: heard("firing", "resolved"))
            assert up[falls.url].up
    finally:
        await falls.stop()
        await steady.stop()
        await people.server.close()


async def test_what_opened_while_an_alertmanager_was_down_is_there_when_it_is_back(tmp_path: Path) -> None:
    late = Alertmanager(tmp_path / "late")
    try:
        async with Mesh(alertmanagers=(late.url,)).running() as mesh:
            mesh.decide(STALE)

            async def seen_down() -> bool:
                return mesh.notifier.health()[0].failures >= 2

            await until(seen_down)
            await late.start()
            await until(late.alerts)
    finally:
        await late.stop()


async def test_whatever_opens_closes_and_crashes_in_the_end_both_say_the_same(tmp_path: Path) -> None:
    chance = random.Random(7)
    server = Alertmanager(tmp_path / "crashes")
    stands: set[str] = set()

    async def same() -> bool:
        return {a["labels"]["node"] for a in await server.alerts()} == stands

    try:
        await server.start()
        async with Mesh(alertmanagers=(server.url,)).running() as mesh:
            for step in range(60):
                if step % 20 == 10:
                    await server.stop(signal.SIGKILL)
                if step % 20 == 16:
                    await server.start()
                node = f"n{chance.randrange(6)}"
                mesh.decide(replace(STALE, opened=node not in stands, labels={"node": node}))
                stands ^= {node}
                await asyncio.sleep(0.03)
            assert stands
            await until(same)
            for _ in range(int(4 * RESEND_S / 0.1)):  # and it stays so, whatever is told again
                await asyncio.sleep(0.1)
                assert await same()
    finally:
        await server.stop()


# Silences.


async def test_a_cluster_is_asked_for_one_silence_and_all_of_it_has_it(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    first = Alertmanager(tmp_path / "first", cluster=ports)
    second = Alertmanager(tmp_path / "second", cluster=ports[::-1])
    try:
        await asyncio.gather(first.start(), second.start())

        async def joined() -> bool:
            return len((await first.get("/api/v2/status"))["cluster"]["peers"]) == 2

        await until(joined, deadline_s=60)
        async with Mesh(alertmanagers=(first.url, second.url)).running() as mesh:
            told = await mesh.notifier.silence(Silence("TelemetryStale", (), 60.0, "a test", "ann"))
            assert len(told) == 1

            async def everywhere() -> bool:
                found = [await server.get("/api/v2/silences") for server in (first, second)]
                return [len(silences) for silences in found] == [1, 1]

            await until(everywhere)
    finally:
        await first.stop()
        await second.stop()


async def test_a_silence_that_nobody_keeps_is_an_error_that_says_who_refused() -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    async with Mesh(alertmanagers=(nobody,)).running() as mesh:
        with pytest.raises(SilenceError, match=f"no Alertmanager took it: {nobody}"):
            await mesh.notifier.silence(Silence("TelemetryStale", (), 60.0, "a test", "ann"))
    async with Mesh().running() as mesh:
        with pytest.raises(SilenceError, match="no Alertmanager is configured"):
            await mesh.notifier.silence(Silence("TelemetryStale", (), 60.0, "a test", "ann"))


MESH = """\
nodes: [{{name: front-1, spawn: false}}]
services:
  - name: orders
    endpoints: [127.0.0.1:8081]
routes: [{{name: all, service: orders}}]
adaptive: {{tick: 20s}}  # a second of ours: what a busy machine takes is no tick that was skipped
xds: {{port: 0, ttl: 60s}}
admin: {{port: 0}}
alerts:
  alertmanagers: ["{url}"]
  resend: 1s
  labels: {{site: east}}
  file: alerts.jsonl
"""


async def weirflow(address: str, *words: str) -> tuple[int, str]:
    """A command as an operator gives it: its exit status and what it says."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "weirflow", *words, "--admin", address,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await child.communicate()
    return child.returncode or 0, said.decode()


async def test_a_mesh_that_runs_tells_its_alertmanager_and_its_operator(
    alertmanager: Alertmanager, tmp_path: Path
) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text(MESH.format(url=alertmanager.url))
    running = Running(file, load(file), Clock(rate=20.0))
    await running.start()
    address = running.admin_address

    async def overruns() -> None:
        while True:
            running.driver._told("overran", 1)
            await asyncio.sleep(0.2)

    overrunning: asyncio.Task[None] | None = None
    try:
        assert await weirflow(address, "alerts") == (0, "No alert is open.\n")
        code, said = await weirflow(address, "alerts", "ack", "TickOverrun")
        assert (code, said) == (1, "no such TickOverrun is open; `weirflow alerts` lists what is\n")
        overrunning = asyncio.create_task(overruns())
        (alert,) = await until(alertmanager.alerts)
        assert alert["labels"] == {"alertname": "TickOverrun", "severity": "warning", "site": "east"}
        code, said = await weirflow(address, "alerts")
        assert code == 1
        assert "warning" in said
        assert "TickOverrun" in said

        code, said = await weirflow(
            address, "alerts", "silence", "TickOverrun", "--for", "1h", "--comment", "we  know\nit"
        )
        assert code == 0, said
        assert f"{alertmanager.url}: silence " in said

        async def silenced() -> bool:
            return (await alertmanager.alerts())[0]["status"]["state"] == "suppressed"

        await until(silenced)
        (silence,) = await alertmanager.get("/api/v2/silences")
        assert silence["comment"] == "we know it"
        assert silence["createdBy"].endswith(" from 127.0.0.1")
        wanted = {(m["name"], m["value"]) for m in silence["matchers"]}
        assert wanted == {("alertname", "TickOverrun"), ("site", "east")}, "another site's alerts are not ours"
        code, said = await weirflow(address, "alerts", "ack", "TickOverrun", "--comment", "on it")
        assert code == 0, said
        assert any("acknowledged by " in s["comment"] for s in await alertmanager.get("/api/v2/silences"))
        assert "we know it" in (await weirflow(address, "alerts"))[1]

        overrunning.cancel()
        await until(lambda: none_there(alertmanager), deadline_s=60)
        assert (await weirflow(address, "alerts"))[0] == 0
        lines = [json.loads(line) for line in (tmp_path / "alerts.jsonl").read_text().splitlines()]
        assert [line["event"] for line in lines] == ["opened", "closed"]
    finally:
        if overrunning is not None:
            overrunning.cancel()
        await running.stop()
