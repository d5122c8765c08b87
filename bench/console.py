"""How smooth the console is in a real Chromium: 50 services of 10 endpoints each, where every figure moves each tick.

    python -m bench.console            # JSON; needs Chromium and its driver (tests/browser.py installs them)

A page is open for `LOOK_S` while documents come once a second, and its frames are timed by `requestAnimationFrame`. The
same window with an empty page is the control: what it stutters is the machine's doing, and the result says `noisy` when
that is much. One service has all 500 endpoints on the page that draws an endpoint a row.

* `late_share_PAGE`: frames that took longer than `LATE_MS`, three of a 60 Hz screen's: at most one in a hundred.
* `update_ms_PAGE`: the longest stretch of a second in which the page did not answer (a long task), the median over
  seconds that have one: 100 ms at most; 0 where there is none.
* `document_kb`, `document_ms`: a tick's document, and what making it costs the brain's event loop.
* `past_told_ms_N`, of N endpoints: what a tick gives for the past that is kept in memory.
* `past_wait_ms_N`: the longest that the loop then waits while a thread packs the decision, the median over decisions;
  `past_wait_ms_control` the same where nothing is packed.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from statistics import median

import numpy as np

from bench.result import Figure, Result, say, show
from brain.decision import Decision
from tests.browser import Browser, NoBrowserError, browser
from weirflow.admin import Admin
from weirflow.config.build import Admin as Section
from weirflow.console.memory import Memory
from weirflow.staged import StagedOperations, example_decision, example_endpoint, example_service

SERVICES, ENDPOINTS, ALONE = 50, 10, 500
LOOK_S = 12.0
LATE_MS, LATE_BAR, LONG_BAR_MS = 50.0, 0.01, 100.0
NOISY_SHARE = 0.01
PAGES = {
    "mesh": "#/mesh",
    "service": "#/service/service-00",
    "decisions": "#/decisions",
    "incidents": "#/incidents",
    "forecasts": "#/forecasts",
    "settings": "#/settings",
}
TIMED = """
const [lasts, done] = arguments;
const frames = [], long = [];
const note = (list) => list.getEntries().forEach((e) => long.push([e.startTime, e.duration]));
new PerformanceObserver(note).observe({ type: "longtask" });
const began = performance.now();
let last = began;
const frame = (now) => {
  frames.push(now - last);
  last = now;
  if (now - began < lasts) requestAnimationFrame(frame);
  else setTimeout(() => done({ frames, long }), 100);
};
requestAnimationFrame(frame);
"""


class Mesh:
    """Decisions of a large mesh, one a second."""

    def __init__(self, endpoints: tuple[int, ...]) -> None:
        self._rng = np.random.default_rng(5)
        base = example_decision()
        number = iter(range(sum(endpoints)))
        self._services = tuple(
            example_service(
                id=s,
                name=f"service-{s:02d}",
                callers={"" if s < 3 else f"service-{(s - 3) // 2:02d}": 1.0},
                endpoints=tuple(
                    example_endpoint(id=(i := next(number)), address=f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}:8080")
                    for _ in range(many)
                ),
            )
            for s, many in enumerate(endpoints)
        )
        self.decision = replace(base, services=self._services, incidents=(), alerts=(), plan=None)

    def next(self) -> Decision:
        """A tick on, and all of it a little otherwise."""
        drawn = iter(self._rng.uniform(0.8, 1.25, 4 * sum(len(s.endpoints) for s in self._services)).tolist())
        services = tuple(
            replace(
                s,
                pushed=False,
                adaptive=replace(s.adaptive, p99_s=0.05 * next(drawn), requests_per_s=76.0 * next(drawn)),
                endpoints=tuple(
                    replace(e, weight=int(100 * next(drawn)), p99_s=0.035 * next(drawn), rate_per_s=60.0 * next(drawn))
                    for e in s.endpoints
                ),
            )
            for s in self._services
        )
        self.decision = replace(
            self.decision, now=self.decision.now + 1.0, tick=self.decision.tick + 1, services=services
        )
        return self.decision


@contextmanager
def served(mesh: Mesh) -> Iterator[str]:
    """The console of that mesh, at an address, a tick a second."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    operations = StagedOperations(mesh.decision)
    admin = Admin(operations, Section("127.0.0.1", 0, None, ()))

    def tick() -> None:
        operations.shown = mesh.next()
        operations.feed.told(operations.shown)
        loop.call_later(1.0, tick)

    try:
        address = asyncio.run_coroutine_threadsafe(admin.start(), loop).result(10)
        loop.call_soon_threadsafe(tick)
        yield f"http://{address}/console/"
    finally:
        asyncio.run_coroutine_threadsafe(admin.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def looked(window: Browser) -> tuple[float, float]:
    """Over a while: the share of late frames, and the median over seconds of the longest task, in ms."""
    told = window.driver.execute_async_script(TIMED, LOOK_S * 1000.0)
    late = float(np.mean(np.array(told["frames"][1:]) > LATE_MS))
    longest: dict[int, float] = {}
    for at, lasted in told["long"]:
        second = int(at // 1000.0)
        longest[second] = max(longest.get(second, 0.0), lasted)
    return late, median(longest.values()) if longest else 0.0


def cost(mesh: Mesh) -> tuple[float, float]:
    """A document in KB, and the ms of the thread that making one takes."""
    operations = StagedOperations(mesh.decision)
    took, size = [], 0
    for _ in range(10):
        operations.feed.told(mesh.next())
        before = time.thread_time()
        size = len(operations.feed.newest() or b"")
        took.append((time.thread_time() - before) * 1e3)
    return size / 1000.0, median(took)


async def packed(mesh: Mesh | None, decisions: int = 15) -> tuple[float, float]:
    """A decision every 0.4 s: the ms of telling it, and the longest wait of the loop after it; medians."""
    memory, told_ms, waits_ms = Memory(every_s=0.0), [], []
    packing = asyncio.create_task(memory.packing())
    for _ in range(decisions):
        decision = mesh.next() if mesh is not None else None
        before = time.perf_counter()
        if decision is not None:
            memory.told(decision)
        told_ms.append((time.perf_counter() - before) * 1e3)
        end, longest = time.perf_counter() + 0.4, 0.0
        while (slept := time.perf_counter()) < end:
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - slept - 0.001)
        waits_ms.append(longest * 1e3)
    packing.cancel()
    return median(told_ms), median(waits_ms)


def main() -> int:
    """Time every page. 1 when there is no browser."""
    many = Mesh((ENDPOINTS,) * SERVICES)
    kb, ms = cost(many)
    result = Result("console", [Figure("document_kb", kb, "kB"), Figure("document_ms", ms, "ms")])
    result.figures.append(Figure("past_wait_ms_control", asyncio.run(packed(None))[1], "ms"))
    for each in (ENDPOINTS, 10 * ENDPOINTS):
        told_ms, wait_ms = asyncio.run(packed(Mesh((each,) * SERVICES)))
        result.figures.append(Figure(f"past_told_ms_{each * SERVICES}", told_ms, "ms"))
        result.figures.append(Figure(f"past_wait_ms_{each * SERVICES}", wait_ms, "ms"))
    try:
        with browser() as window:
            window.driver.set_script_timeout(60)
            window.go("about:blank")
            late, _ = looked(window)
            result.noisy = late > NOISY_SHARE
            result.figures.append(Figure("late_share_control", late))
            for name, tail in PAGES.items():
                mesh = Mesh((ALONE,)) if name == "service" else Mesh((ENDPOINTS,) * SERVICES)
                with served(mesh) as url:
                    window.go("about:blank")
                    window.go(url + tail)
                    window.one(".standing.live")
                    window.settle()
                    late, longest = looked(window)
                say(f"{name}: {late:.2%} of the frames late, {longest:.0f} ms")
                result.figures.append(Figure(f"late_share_{name}", late, bar=LATE_BAR))
                result.figures.append(Figure(f"update_ms_{name}", longest, "ms", bar=LONG_BAR_MS))
    except NoBrowserError as error:
        say(str(error))
        return 1
    result.detail |= {"services": SERVICES, "endpoints": SERVICES * ENDPOINTS, "alone": ALONE, "look_s": LOOK_S}
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
