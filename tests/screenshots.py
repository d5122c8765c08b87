"""Pictures of the console, of a mesh that is started for it: `make screenshots`.

An endpoint of the mesh turns slow first, so that there is something to see. Those that the documentation shows go to
docs/images, all others (each page light, dark and on a telephone) to build/screenshots.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.browser import Browser, browser
from tests.live_mesh import live_mesh
from weirflow.demo.mesh import GRAY

ROOT = Path(__file__).parent.parent
SHOWN = ("console-mesh.png", "console-service.png", "console-incidents-dark.png")
LEARNT_TICKS, TROUBLED_TICKS = 70, 12
PAGES = ("mesh", "service/catalog", "decisions", "incidents", "forecasts", "models", "whatif", "settings")
TICK = "return Number((document.querySelector('#standing').textContent.match(/tick (\\d+)/) || [0, 0])[1])"


def main() -> int:
    """Start, wait, take them, and say where they are."""
    for folder in ("docs/images", "build/screenshots"):
        (ROOT / folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="weirflow-screenshots-") as folder, live_mesh(Path(folder)) as mesh:
        mesh.order("/mode", {"service": "catalog", "mode": "adaptive", "share_percent": 90})
        with browser() as window:
            window.deadline_s = 120.0
            window.go(mesh.url)
            window.until(lambda: window.run(TICK) >= LEARNT_TICKS, "learning")
            mesh.do(mesh.backends.named(GRAY).slow(10.0))
            window.until(lambda: window.run(TICK) >= LEARNT_TICKS + TROUBLED_TICKS, "trouble")
            for page in PAGES:
                for name, width, scheme in (("", 1280, "light"), ("-dark", 1280, "dark"), ("-small", 390, "light")):
                    file = f"console-{page.partition('/')[0]}{name}.png"
                    _take(
                        window,
                        page,
                        ROOT / ("docs/images" if file in SHOWN else "build/screenshots") / file,
                        width,
                        scheme,
                    )
    return 0


def _take(window: Browser, page: str, file: Path, width: int, scheme: str) -> None:
    window.size(width)
    window.scheme(scheme)
    window.run("location.hash = arguments[0]; location.reload()", f"#/{page}")
    window.one(".standing.live")
    first = window.until(lambda: window.run(TICK))
    window.until(lambda: window.run(TICK) >= first + 2)  # by then what lies before it has been asked for, and drawn
    window.settle()
    window.picture(file)
    sys.stdout.write(f"{file}\n")


if __name__ == "__main__":
    sys.exit(main())
