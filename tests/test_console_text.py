"""Whatever a service, an endpoint or a reason is called, it stays text; and a large mesh is drawn whole."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.browser import Browser, browser
from weirflow.admin import Admin
from weirflow.config.build import Admin as Section
from weirflow.console import pages
from weirflow.staged import StagedOperations, example_decision, example_endpoint, example_incident, example_service

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(300)]

EVIL = '<img src=x onerror="window.hurt=1">&amp;"\'\u202e/../..?a=1#b %2e%2e'
SCRIPT = "</script><script>window.hurt=2</script>"


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as window:
        yield window


@pytest.fixture
def serve() -> Iterator[object]:
    """Serves a decision; returns the address of the console."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    admins = []

    def start(decision):  # type: ignore[no-untyped-def]
        admin = Admin(StagedOperations(decision), Section("127.0.0.1", 0, None, ()))
        admins.append(admin)
        return "http://" + asyncio.run_coroutine_threadsafe(admin.start(), loop).result(10) + "/console/"

    yield start
    for admin in admins:
        asyncio.run_coroutine_threadsafe(admin.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_hostile_names_stay_text_on_every_page(window: Browser, serve) -> None:  # type: ignore[no-untyped-def]
    service = example_service(
        name=EVIL,
        reason=SCRIPT,
        endpoints=(example_endpoint(address=EVIL, zone=SCRIPT, reason=EVIL, guard=SCRIPT, proposed=1),),
        callers={SCRIPT: 1.0},
    )
    (evidence,) = example_incident().evidence
    incident = example_incident(
        labels={"service": EVIL}, summary=SCRIPT, causes=(EVIL,), done=EVIL, advice=SCRIPT,
        evidence=(replace(evidence, service=EVIL, endpoint=EVIL, zone=SCRIPT, said=SCRIPT),),
    )  # fmt: skip
    other = example_service(id=1, name=SCRIPT)
    url = serve(replace(example_decision(), services=(service, other), incidents=(incident,), notes=(EVIL, SCRIPT)))
    window.go(url)
    window.one(".standing.live")
    window.one("tbody a", "<img").click()
    window.one("h1", "<img")
    assert window.text("h1") == EVIL
    window.says("window.hurt=2")
    for page in (
        "mesh",
        "decisions",
        "incidents",
        f"incidents/{incident.id}",
        "forecasts",
        "models",
        "whatif",
        "settings",
    ):
        window.run("location.hash = arguments[0]", f"#/{page}")
        window.until(lambda: window.all("main h1"))
        window.until(lambda: window.run("return document.querySelector('main').textContent.length") > 40)
        assert window.run("return window.hurt ?? null") is None, page
        assert window.run("return document.querySelectorAll('img, main script').length") == 0, page
    assert window.complaints() == []


def test_an_address_that_means_nothing_leads_to_the_mesh(window: Browser, serve) -> None:  # type: ignore[no-untyped-def]
    url = serve(example_decision())
    for tail in ("#/constructor", "#/service/%E0%A4%A", "#//", "#/mesh?at=soon"):
        window.go("about:blank")
        window.go(url + tail)
        window.one(".standing.live")
        assert window.all("main h1"), tail
    assert window.complaints() == []


def test_a_page_that_is_left_or_hidden_holds_no_stream(window: Browser, serve, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(pages, "MAX_STREAMS", 2)
    url = serve(example_decision())
    for _ in range(4):
        window.go(url)
        window.one(".standing.live")
        window.go("about:blank")
    window.go(url)
    window.one(".standing.live")
    hide = "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});"
    for hidden in (True, False, True, False):
        window.run(hide + "document.dispatchEvent(new Event('visibilitychange'))", hidden)
    window.one(".standing.live")
    assert window.complaints() == []


def test_five_hundred_endpoints_are_all_in_the_table(window: Browser, serve) -> None:  # type: ignore[no-untyped-def]
    many = tuple(example_endpoint(id=i, address=f"10.0.{i >> 8}.{i & 255}:80") for i in range(500))
    url = serve(replace(example_decision(), services=(example_service(endpoints=many),), incidents=()))
    window.go(url + "#/service/orders")
    window.until(lambda: window.run("return document.querySelectorAll('table.endpoints tbody tr').length") == 500)
    assert window.complaints() == []
