"""A real Chromium without a screen, for tests and pictures of the console: on the PATH, or installed from Debian.

    python tests/browser.py     installs it now

It is driven over WebDriver by Selenium. What its console says is kept: a page that throws, or that the content security
policy stops, fails the test that looked at it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")

PACKAGES = ("chromium", "chromium-driver")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
"""No sandbox: a test machine's user is often root. No talk of its own: there may be no network."""
FIRST = """
const [css, says] = arguments, plain = (text) => text.replace(/\\s+/g, " ");
const has = (e) => e.checkVisibility() && plain(e.innerText ?? e.textContent).includes(plain(says));
return [...document.querySelectorAll(css)].find(has) ?? null;
"""
"""Within the page, at one moment: asked one by one, rows that are drawn anew are gone before the last was."""
HELP = "install them as root (Debian: apt-get install chromium chromium-driver), or put them on the PATH"


class NoBrowserError(RuntimeError):
    """It is not here and cannot be had; the message says how to install it."""


def programs() -> tuple[str, str]:
    """The paths of Chromium and its driver. NoBrowserError."""
    with (Path(tempfile.gettempdir()) / "weirflow-browser.lock").open("w") as lock:  # two test processes may want it
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = shutil.which("chromium"), shutil.which("chromedriver")
        if None in found:
            _install()
            found = shutil.which("chromium"), shutil.which("chromedriver")
    if found[0] is None or found[1] is None:
        raise NoBrowserError(f"there is no Chromium; {HELP}")
    return found[0], found[1]


def _install() -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NoBrowserError(f"there is no Chromium, and only root can install it; {HELP}")
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    said = ""
    for words in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(["apt-get", "-q", *words], env=env, capture_output=True, text=True, timeout=600)
        said = (done.stderr or done.stdout).strip()
    if done.returncode != 0:
        raise NoBrowserError(f"Chromium cannot be installed: {said[-500:]}; {HELP}")


class Browser:
    """One window. Waits are on conditions, each for `deadline_s` at most."""

    def __init__(self, driver: webdriver.Chrome, deadline_s: float = 20.0) -> None:
        self.driver, self.deadline_s = driver, deadline_s

    def go(self, url: str) -> None:
        """Open an address."""
        self.driver.get(url)

    def until(self, condition: Callable[[], T], what: str = "") -> T:
        """What the condition is once it is true. An element that was replaced meanwhile is looked for again."""
        end = time.monotonic() + self.deadline_s
        seen: Any = None
        while time.monotonic() < end:
            try:
                if seen := condition():
                    return seen
            except (StaleElementReferenceException, IndexError) as error:
                seen = error
            time.sleep(0.05)
        raise AssertionError(
            f"{what or condition}: not within {self.deadline_s:g} s, but {seen!r}; the page says:\n{self.text()}"
        )

    @contextmanager
    def patient(self, deadline_s: float) -> Iterator[None]:
        """Wait longer for what is done in here."""
        before, self.deadline_s = self.deadline_s, deadline_s
        try:
            yield
        finally:
            self.deadline_s = before

    def all(self, css: str) -> list[WebElement]:
        """Every element that is shown."""
        return [e for e in self.driver.find_elements(By.CSS_SELECTOR, css) if e.is_displayed()]

    def one(self, css: str, says: str = "") -> WebElement:
        """The first that is shown and has these words in it, once there is one."""
        return self.until(lambda: self.run(FIRST, css, says), f"{css} that says {says!r}")

    def says(self, words: str, css: str = "main") -> None:
        """Wait until these words are on the page."""
        self.until(lambda: words in self.text(css), f"{words!r} in {css}")

    def text(self, css: str = "body") -> str:
        """What a reader sees of an element, "" when it is not there."""
        return "\n".join(e.text for e in self.driver.find_elements(By.CSS_SELECTOR, css))

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page; `return` what is wanted."""
        return self.driver.execute_script(script, *arguments)

    def size(self, width: int, height: int = 900) -> None:
        """How large the page is seen, whatever frame the window has."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def scheme(self, light_or_dark: str) -> None:
        """What the system prefers."""
        features = [{"name": "prefers-color-scheme", "value": light_or_dark}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def settle(self) -> None:
        """Let whatever was asked for come, and be drawn: no request is open, for a few frames."""
        script = """
        const done = arguments[0];
        let seen = -1, still = 0;
        const look = () => {
          const now = performance.getEntriesByType("resource").length;
          still = now === seen ? still + 1 : 0;
          seen = now;
          if (still > 30) done(true); else requestAnimationFrame(look);
        };
        look();
        """
        self.driver.execute_async_script(script)

    def picture(self, file: Path) -> None:
        """The whole page as PNG, however long, up to a few screens."""
        self.driver.save_screenshot(str(file))

    def complaints(self) -> list[str]:
        """What Chromium said went wrong since it was last asked, but for refused and lost requests, which are told."""
        told = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        return [m for m in told if "Failed to load resource" not in m and "net::ERR" not in m]


@contextmanager
def browser() -> Iterator[Browser]:
    """A window of its own, closed in the end. NoBrowserError."""
    chromium, chromedriver = programs()
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(prefix="weirflow-browser-", ignore_cleanup_errors=True) as folder:
        for flag in (*FLAGS, f"--user-data-dir={folder}", "--window-size=1280,900"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(chromedriver))
        try:
            driver.set_page_load_timeout(30)
            yield Browser(driver)
        finally:
            driver.quit()


if __name__ == "__main__":
    print(*programs())  # noqa: T201
