"""The console's part of the API: its files for whoever may see the port, what is of the mesh with the token only."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from weirflow.access import Access
from weirflow.admin import application
from weirflow.console import pages
from weirflow.console.pages import STATIC
from weirflow.staged import NOW, StagedOperations, example_decision

TOKEN = "a-token-of-sixteen-characters-or-more"
DECISION = example_decision()


@pytest.fixture
def operations() -> StagedOperations:
    return StagedOperations(DECISION)


@pytest.fixture
async def ask(operations: StagedOperations) -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(application(operations, Access()))) as client:
        yield client


async def event(answer: ClientResponse) -> dict[str, str]:
    """The next event that is no comment."""
    lines: dict[str, str] = {}
    while True:
        line = (await asyncio.wait_for(answer.content.readline(), 10)).decode().rstrip("\n")
        if line:
            name, _, value = line.partition(": ")
            lines[name] = value
        elif "data" in lines:
            return lines
        else:
            lines.clear()


async def test_the_bare_address_leads_to_the_console(ask: TestClient) -> None:
    answer = await ask.get("/")
    assert answer.status == 200
    assert answer.url.path == "/console/"
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert '<main id="main"' in await answer.text()


async def test_every_file_that_a_page_asks_for_is_there_and_none_is_elsewhere(ask: TestClient) -> None:
    seen, wanted = set(), {"index.html"}
    while wanted:
        name = wanted.pop()
        seen.add(name)
        answer = await ask.get(f"/console/{name}")
        assert answer.status == 200, name
        text = await answer.text()
        if "vendor" not in name:
            assert not re.search(r"(?<!xmlns=\")https?://(?!www\.w3\.org)", text), f"{name} names another site"
        folder = name.rpartition("/")[0]
        found = re.findall(r"(?:from|import) \"(\.[^\"]+)\"|(?:href|src)=\"([\w./]+\.\w+)\"", text)
        for path in (one or other for one, other in found):
            parts = (f"{folder}/{path}" if folder else path).split("/")
            while ".." in parts:
                at = parts.index("..")
                del parts[at - 1 : at + 1]
            wanted |= {"/".join(p for p in parts if p != ".")} - seen
    assert {f.relative_to(STATIC).as_posix() for f in STATIC.rglob("*.js")} <= seen, "a script that nothing loads"


@pytest.mark.parametrize(
    "name", ["../pages.py", "%2e%2e/pages.py", "..%2f..%2faccess.py", "vendor/uPlot.LICENSE", "none.js", "pages"]
)
async def test_nothing_but_the_consoles_own_files_is_served(ask: TestClient, name: str) -> None:
    from yarl import URL

    answer = await ask.get(URL(f"/console/{name}", encoded=True))
    assert answer.status == 404


async def test_a_tick_is_an_event_and_a_reader_that_comes_back_gets_the_newest(
    ask: TestClient, operations: StagedOperations
) -> None:
    answer = await ask.get("/console/api/events")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    first = await event(answer)
    assert (first["event"], first["id"]) == ("state", str(DECISION.tick))
    assert json.loads(first["data"]) == await (await ask.get("/console/api/state")).json()
    operations.feed.told(replace(DECISION, tick=DECISION.tick + 1))
    assert (await event(answer))["id"] == str(DECISION.tick + 1)
    answer.close()
    operations.feed.told(replace(DECISION, tick=DECISION.tick + 2))
    again = await ask.get("/console/api/events")
    assert (await event(again))["id"] == str(DECISION.tick + 2)
    again.close()


async def test_a_stream_with_nothing_to_say_says_that_it_is_there(
    ask: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PING_S", 0.01)
    answer = await ask.get("/console/api/events")
    await event(answer)
    assert await asyncio.wait_for(answer.content.readline(), 10) == b": still here\n"
    answer.close()


async def test_there_are_not_more_streams_than_the_brain_can_feed(
    ask: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAX_STREAMS", 1)
    answer = await ask.get("/console/api/events")
    refused = await ask.get("/console/api/events")
    assert refused.status == 503
    assert "1 streams are open already" in (await refused.json())["error"]
    answer.close()
    operations = 0
    while (again := await ask.get("/console/api/events")).status == 503:
        operations += 1
        assert operations < 1000, "the place of a stream that ended is never given away"
        await asyncio.sleep(0.01)
    again.close()


async def test_the_past_is_asked_for_by_its_moment(ask: TestClient) -> None:
    assert await (await ask.get("/console/api/span")).json() == {"first": DECISION.now, "last": DECISION.now}
    then = await (await ask.get("/console/api/state", params={"at": NOW + 60})).json()
    assert then == await (await ask.get("/console/api/state")).json()
    for query, status, error in (
        ({"at": "noon"}, 400, "'at' must be seconds since 1970, not 'noon'"),
        ({"at": "nan"}, 400, "'at' must be seconds since 1970, not 'nan'"),
        ({"at": "5"}, 404, "nothing is remembered of that moment; the first is 1700000000"),
    ):
        answer = await ask.get("/console/api/state", params=query)
        assert (answer.status, (await answer.json())["error"]) == (status, error)


async def test_history_is_of_a_service_or_of_an_endpoint(ask: TestClient) -> None:
    view = DECISION.services[0]
    told = await (await ask.get("/console/api/history", params={"service": view.name, "since": NOW - 9})).json()
    assert told["at"] == [DECISION.now]
    query = {"service": view.name, "endpoint": view.endpoints[0].address, "since": NOW - 9, "until": NOW + 1}
    assert (await (await ask.get("/console/api/history", params=query)).json())["weight"] == [view.endpoints[0].weight]
    assert (await ask.get("/console/api/history")).status == 400
    assert (await ask.get("/console/api/history", params={"service": "nobody"})).status == 404


async def test_with_a_token_the_files_are_open_and_the_mesh_is_not(operations: StagedOperations) -> None:
    access = Access(address="0.0.0.0", hosts=(), token=TOKEN)
    shown = {"Authorization": f"Bearer {TOKEN}"}
    async with TestClient(TestServer(application(operations, access))) as ask:
        for path in ("/console/", "/console/app.js"):
            assert (await ask.get(path)).status == 200
        for path in ("/console/api/state", "/console/api/events", "/console/api/span", "/status", "/console/../status"):
            assert (await ask.get(path)).status == 401, path
        assert (await ask.get("/console/api/state", headers=shown)).status == 200
        foreign = await ask.get("/console/", headers={"Host": "evil.example"})
        assert foreign.status == 403
