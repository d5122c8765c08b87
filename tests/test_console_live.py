"""The console in a real Chromium, against a mesh that is really there: Envoys, backends, a client and a brain."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from bench.console import Mesh, served
from tests.browser import Browser, browser
from tests.live_mesh import TOKEN, LiveMesh, live_mesh
from tests.recordings import lived, scenario

pytestmark = [pytest.mark.envoy, pytest.mark.xdist_group("console"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    with live_mesh(tmp_path_factory.mktemp("console")) as mesh:
        yield mesh


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as window:
        yield window


@pytest.fixture
def page(mesh: LiveMesh, window: Browser) -> Iterator[Browser]:
    """The console as it opens, at the size of a laptop. Whatever Chromium complains of fails the test."""
    window.size(1280)
    window.go("about:blank")
    window.go(mesh.url)
    window.one(".standing.live", "live")
    window.complaints()
    yield window
    assert window.complaints() == []


def look(page: Browser, name: str, title: str) -> None:
    page.one(f'#nav a[data-page="{name}"]').click()
    page.one("h1", title)


def asked(row: str) -> float:
    """The first rate that a row tells; NaN while it tells none."""
    found = re.search(r"([\d.]+)/s", row)
    return float(found[1]) if found else float("nan")


def test_the_mesh_is_drawn_and_leads_to_a_service(page: Browser, mesh: LiveMesh) -> None:
    page.says("2 services, 7 endpoints, 2 proxies; none in trouble")
    names = {"clients", "catalog", "checkout"}  # who calls is known from the first load report on
    page.until(lambda: {t.text for t in page.all("svg .name")} == names, "the graph")
    page.until(lambda: 30.0 < asked(page.one("tbody tr", "catalog").text) < 90.0, "some 60 requests a second")
    page.one("tbody a", "catalog").click()
    page.one("h1", "catalog")
    addresses = {b.address for b in mesh.backends if b.name.startswith("catalog")}
    page.until(lambda: {b.text for b in page.all("td button.plain")} == addresses, "the endpoints of catalog")
    assert page.run("return document.title").startswith("catalog · Service")


def test_a_service_shows_its_endpoints_by_any_column_and_one_of_them_alone(page: Browser) -> None:
    page.go(page.run("return location.origin") + "/console/#/service/catalog")
    page.until(lambda: len(page.all("table.endpoints tbody tr")) == 4)
    page.one("table.endpoints th button", "p99").click()
    page.one('th[aria-sort="descending"]', "p99")
    search = page.one('input[type="search"]')
    first = page.all("td button.plain")[0].text
    search.send_keys(first)
    page.until(lambda: [b.text for b in page.all("td button.plain")] == [first])
    page.all("td button.plain")[0].click()
    page.one("h2", first)
    page.says("in force; yours 1;")
    assert "endpoint=" in page.run("return location.hash")
    page.until(lambda: len(page.all(".chart canvas")) == 4)


def test_of_very_many_endpoints_those_in_sight_are_written_and_the_others_as_they_come(window: Browser) -> None:
    text = "return document.querySelector('table.endpoints tbody tr:{}-child').textContent"
    tick = "return Number(document.querySelector('#standing').textContent.match(/tick (\\d+)/)[1])"

    def ticks(many: int) -> None:
        began = window.run(tick)
        window.until(lambda: window.run(tick) >= began + many)

    with served(Mesh((300,))) as url:
        window.size(1280)
        window.go("about:blank")
        window.go(url + "#/service/service-00")
        window.until(lambda: window.run("return document.querySelectorAll('table.endpoints tbody tr').length") == 300)
        within_one_tick = False
        while not within_one_tick:
            window.run("scrollTo(0, 0)")
            ticks(1)
            first, last = window.run(text.format("first")), window.run(text.format("last"))
            ticks(2)
            assert window.run(text.format("first")) != first
            assert window.run(text.format("last")) == last
            told, within_one_tick = window.driver.execute_async_script(COMES)
        assert told != last


COMES = """
const done = arguments[0];
const row = document.querySelector("table.endpoints tbody tr:last-child");
const tick = () => document.querySelector("#standing").textContent;
const began = tick();
row.scrollIntoView();
let frames = 0;
const look = () => (++frames < 6 ? requestAnimationFrame(look) : done([row.textContent, tick() === began]));
requestAnimationFrame(look);
"""


def test_every_page_draws_what_it_is_of(page: Browser) -> None:
    for name, title, words in (
        ("decisions", "Decisions", "What operators changed"),
        ("incidents", "Incidents", "Nothing is wrong"),
        ("forecasts", "Forecasts", "90 % interval"),
        ("models", "Models", "decides now"),
        ("whatif", "What if", "Take endpoints out"),
        ("settings", "Settings", "edge-1"),
        ("mesh", "Mesh", "catalog"),
    ):
        look(page, name, title)
        page.says(words)
        assert not {"null", "undefined", "NaN", "[object Object]"} & set(page.text("main").split()), name


def test_nothing_changes_without_the_token_and_a_change_asks_and_is_logged(page: Browser, mesh: LiveMesh) -> None:
    look(page, "settings", "Settings")
    page.one("h2", "Read-only")
    change = page.one('button[aria-label="Change the mode of checkout"]')
    assert not change.is_enabled()
    page.one("button", "Enter the token").click()
    page.one("dialog input").send_keys("not the token at all")
    page.one("dialog button", "Use it").click()
    page.says("What was entered is not the token.")
    page.one("button", "Enter the token").click()
    page.one("dialog input").send_keys(TOKEN + Keys.ENTER)
    page.one("h2", "Changes are possible")

    page.until(lambda: page.one('button[aria-label="Change the mode of checkout"]').is_enabled())
    page.one('button[aria-label="Change the mode of checkout"]').click()
    Select(page.one("dialog select")).select_by_value("static")
    page.one("dialog button", "Go on").click()
    page.one("dialog button", "Leave it").click()
    assert mesh.do(mesh.brain.service("checkout"))["mode"] == "shadow", "it was asked, and left"

    page.one('button[aria-label="Change the mode of checkout"]').click()
    Select(page.one("dialog select")).select_by_value("static")
    share = page.one('dialog input[type="number"]')
    share.clear()
    share.send_keys("140" + Keys.ENTER)
    assert page.all('dialog input[type="number"]'), "no share is above 100, and the dialog stays"
    share.clear()
    share.send_keys("40" + Keys.ENTER)
    assert "shadow" in page.one("dialog table").text
    assert "40 %" in page.one("dialog table").text
    page.one("dialog button", "Set static").click()
    page.says("Done, as console from 127.0.0.1")
    page.until(lambda: mesh.do(mesh.brain.service("checkout"))["mode"] == "static")
    assert mesh.do(mesh.brain.service("checkout"))["commanded_share_percent"] == 40.0
    look(page, "decisions", "Decisions")
    page.one("tr", "SetMode")
    assert "checkout: shadow" in page.one("tr", "SetMode").text
    page.run("sessionStorage.clear()")


def test_the_mesh_file_is_held_against_what_is_in_force_and_read_again_when_it_was_looked_at(
    page: Browser, mesh: LiveMesh
) -> None:
    page.run("sessionStorage.setItem('weirflow.token', arguments[0])", TOKEN)
    page.go("about:blank")
    page.go(mesh.url + "/console/#/settings")
    page.says("The file says what is in force.")
    assert not page.one("button", "Read it again").is_enabled()
    page.one("summary", "All that can be tuned").click()
    page.one("tr", "adaptive.guard.step_up")
    file = Path(mesh.do(mesh.brain.status())["process"]["config"]["file"])
    before = file.read_text()

    def write(guard: dict[str, float]) -> None:
        document = YAML(typ="safe").load(before)
        document.setdefault("adaptive", {})["guard"] = guard
        file.write_text(json.dumps(document))  # JSON is YAML

    try:
        write({"step_upp": 2.5})
        page.one("button", "Look at the file again").click()
        page.one("tr", "unknown key; did you mean 'step_up'?")
        assert not page.one("button", "Read it again").is_enabled()

        write({"step_up": 2.5})
        page.one("button", "Look at the file again").click()
        page.one("tr", "adaptive.guard.step_up 1.5 2.5")
        page.one("button", "Read it again").click()
        page.one("dialog tr", "adaptive.guard.step_up 1.5 2.5")
        write({"step_up": 3.5})
        page.one("dialog button", "Read it again").click()
        page.says("Not done:")
        page.says("has changed since you looked at it")

        page.one("button", "Look at the file again").click()
        page.one("tr", "3.5")
        page.one("button", "Read it again").click()
        page.one("dialog button", "Read it again").click()
        page.says("Done, as console from 127.0.0.1: Reload. Before: adaptive.guard.step_up 1.5.")
        page.says("The file says what is in force.")
        look(page, "decisions", "Decisions")
        page.one("tr", "adaptive.guard.step_up 3.5")
    finally:
        file.write_text(before)
        mesh.brain.signal(signal.SIGHUP)
        page.run("sessionStorage.clear()")


def test_a_window_is_dragged_over_the_chart_or_moved_by_the_keyboard_or_written(page: Browser) -> None:
    look(page, "whatif", "What if")
    over = page.until(lambda: page.all(".span .u-over"))[0]
    ends = (
        "const s = document.querySelector('.span input'); return s.disabled ? [0, 0] : [Number(s.min), Number(s.max)]"
    )
    page.until(lambda: page.run(ends)[1] - page.run(ends)[0] > 10, "ten seconds of the past are drawn")
    page.says("All that was recorded.")
    written = "return [...document.querySelectorAll('#w-from, #w-to')].map((i) => Date.parse(i.value) / 1000)"
    width = over.size["width"]
    hand = ActionChains(page.driver).move_to_element_with_offset(over, -width // 4, 0).click_and_hold()
    hand.move_by_offset(width // 2, 0).release().perform()
    start, end = page.until(lambda: [at for at in page.run(written) if at])
    first, last = page.run(ends)
    assert start == pytest.approx(first + (last - first) / 4, abs=0.05 * (last - first) + 1)
    assert end - start == pytest.approx((last - first) / 2, abs=0.05 * (last - first) + 1)
    page.until(lambda: page.run("return document.querySelector('.u-select').offsetWidth") > 0.3 * width)

    page.one('.span input[aria-label="From"]').send_keys(Keys.ARROW_RIGHT * 3)
    assert page.run(written) == [start + 3, end]
    page.one("#w-to").clear()
    page.one("#w-to").send_keys("12:00:00")
    page.says("As written below.")
    page.one("button", "The whole recording").click()
    page.says("All that was recorded.")
    assert page.run("return document.querySelector('.u-select').offsetWidth") == 0
    assert page.run("return document.querySelector('#w-from').value") == ""


def test_a_moment_of_the_past_has_an_address_that_shows_it_again(page: Browser, mesh: LiveMesh) -> None:
    page.go(page.run("return location.origin") + "/console/#/service/catalog")
    page.says("catalog")
    ticks = "return Number(document.querySelector('#standing').textContent.match(/tick (\\d+)/)[1])"
    page.until(lambda: page.run(ticks) > 12, "a dozen ticks, so that a part of the recording is closed")
    page.until(lambda: not page.run("return document.querySelector('.when input').disabled"))
    page.until(lambda: "can be looked back at" in page.text(".when"))
    page.run(
        "const s = document.querySelector('.when input'); s.value = Number(s.max) - 6;"
        "s.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    page.one(".when.past button", "Back to now")
    link = page.until(lambda: "at=" in page.run("return location.hash") and page.run("return location.href"))
    then = page.text(".when .words")
    page.go("about:blank")
    page.go(link)
    page.one(".when.past")
    page.says("catalog")
    assert page.text(".when .words")[:19] == then[:19]
    assert page.until(lambda: len(page.all("table.endpoints tbody tr")) == 4)
    page.one("button", "Back to now").click()
    page.until(lambda: not page.all(".when.past"))
    assert "at=" not in page.run("return location.hash")


def test_a_moment_before_everything_is_told_in_words(page: Browser) -> None:
    page.go(page.run("return location.origin") + "/console/#/mesh?at=5")
    page.says("nothing is remembered of that moment", ".when")


def test_a_stream_that_drops_is_told_and_comes_back(page: Browser, mesh: LiveMesh) -> None:
    look(page, "mesh", "Mesh")
    mesh.brain.signal(signal.SIGKILL)
    page.one(".standing.lost", "no line to the brain")
    assert "catalog" in page.text("main"), "what was seen last stays"
    mesh.do(mesh.brain.start())
    page.one(".standing.live", "live")
    page.says("2 services, 7 endpoints")


def test_a_question_to_the_recording_is_answered_with_its_trust(page: Browser, mesh: LiveMesh, tmp_path: Path) -> None:
    lived(
        scenario(duration_s=1.0), tmp_path / "first"
    )  # in a new tree the simulated mesh is compiled now, and not by it
    parts = lambda: mesh.do(mesh.brain.status())["process"]["recording"]["parts"]  # noqa: E731
    page.until(lambda: parts() >= 3, "parts of the recording that are closed: the brain may have begun anew")
    page.run(f"sessionStorage.setItem('weirflow.token', '{TOKEN}')")
    look(page, "whatif", "What if")
    for box in page.all(".checks input"):
        if box.is_selected() != (box.get_attribute("value") == "full_scan"):
            box.click()
    page.one("#w-load").send_keys("x0.5")
    page.one("button", "Ask").click()
    with page.patient(150.0):
        page.until(lambda: page.all("main h2"), "an answer")
    assert "The check:" in page.text("main")
    page.run("sessionStorage.clear()")


def test_it_is_read_with_the_keyboard(page: Browser) -> None:
    body = page.driver.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert page.run("return document.activeElement.className") == "skip"
    seen = set()
    for _ in range(40):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        seen.add(page.run("const a = document.activeElement; return a.textContent.trim() || a.ariaLabel || a.tagName"))
    assert {"Mesh", "Settings", "Moment shown", "catalog"} <= seen
    assert page.run("return getComputedStyle(document.activeElement).outlineStyle") != "none"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window_and_words_stand_out(page: Browser, width: int, scheme: str) -> None:
    page.size(width)
    page.scheme(scheme)
    for name in ("mesh", "service/catalog", "decisions", "incidents", "forecasts", "models", "whatif", "settings"):
        page.run("location.hash = arguments[0]", f"#/{name}")
        page.until(lambda: page.all("main h1"))
        assert page.run("return document.documentElement.scrollWidth") <= width, name
    for colour in ("--text", "--quiet", "--accent", "--good", "--bad", "--warn", "--unknown", "--static"):
        assert page.run(CONTRAST, colour, "--surface") >= 4.5, f"{colour}, {scheme}: WCAG 2 AA"


CONTRAST = """
const probe = document.body.appendChild(document.createElement("i"));
const light = (name) => {
  probe.style.color = `var(${name})`;
  const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255);
  const [r, g, b] = parts.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const [a, b] = [light(arguments[0]), light(arguments[1])];
probe.remove();
return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
"""
