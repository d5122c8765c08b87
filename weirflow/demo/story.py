"""`weirflow demo`: a mesh that learns, on this machine, in under 90 seconds.

Starts seven backends, two Envoys, a client and the brain, tells six phases, and ends with a table. Exit status 0 only
when every claim held. Everything runs on loopback, on free ports, in a folder that is removed at the end; every process
is tied to this one and dies with it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import numpy as np
from rich.console import Console

from dataplane.envoy.process import EnvoyError
from weirflow.clock import Clock
from weirflow.demo import mesh, table
from weirflow.demo.backends import Backends
from weirflow.demo.load import Load, Stream
from weirflow.demo.phases import PHASES
from weirflow.demo.processes import NeverHappenedError, running
from weirflow.demo.report import Report
from weirflow.demo.stage import Pace, Stage
from weirflow.demo.teller import Teller

SEED = 2
FULL = Pace()
BRISK = Pace(window_s=2.5, ttl_s=3.0)
"""For the tests: the same story in shorter windows."""


def main(json_path: Path | None, *, brisk: bool = False) -> int:
    """Tell the story. 0 when every claim held, 1 when one did not or something did not start, 130 when interrupted."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    try:
        report = asyncio.run(_whole(console, BRISK if brisk else FULL))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    except (NeverHappenedError, EnvoyError, RuntimeError, OSError) as error:
        console.print(f"The demo could not go on: {error}", style="bold red", markup=False)
        return 1
    if json_path is not None:
        json_path.write_text(json.dumps(report.to_dict(), indent=1) + "\n")
    return 0 if report.held else 1


async def _whole(console: Console, pace: Pace) -> Report:
    """The story, ended early but in order by SIGTERM."""
    this = asyncio.current_task()
    if this is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    tell = Teller(console, Clock().now)
    tell.line("starting seven backends, two Envoys, a client and the brain")
    async with _stage(tell, pace) as stage:
        try:
            for phase in PHASES:
                await phase(stage)
        except (NeverHappenedError, RuntimeError) as error:
            tell.line(f"the brain said last:\n{stage.brain.last_words()}", "dim")
            stage.claim("the story was told to its end", False, str(error))
        report = stage.conclude()
    report.claim("no request failed in the whole story", report.failed == 0, f"{report.failed} of {report.requests}")
    console.print()
    console.print(table.render(report))
    return report


@asynccontextmanager
async def _stage(tell: Teller, pace: Pace) -> AsyncIterator[Stage]:
    """Bring everything up, in the order that each needs the other; and down in the reverse of it."""
    async with AsyncExitStack() as down:
        folder = Path(
            down.enter_context(tempfile.TemporaryDirectory(prefix="weirflow-demo-", ignore_cleanup_errors=True))
        )
        backends = await down.enter_async_context(Backends([b for specs in mesh.SERVICES.values() for b in specs]))
        services = {name: [backends.named(b.name).address for b in specs] for name, specs in mesh.SERVICES.items()}
        parts = await down.enter_async_context(
            running(folder, services, dict.fromkeys(mesh.NODES, 1), ttl_s=pace.ttl_s, recording="recording")
        )
        streams = [
            Stream(service, node, port, rate / len(parts.ports), path=f"/{service}")
            for service, rate in mesh.RATES_PER_S.items()
            for node, port in parts.ports.items()
        ]
        random = np.random.default_rng(SEED)  # noqa: TID251 - drivers make it
        load = await down.enter_async_context(Load(streams, random))
        tell.line(f"all up; {sum(mesh.RATES_PER_S.values()):g} requests/s from now on, whatever happens")
        yield Stage(backends, load, parts.brain, tell, pace, backends.named(mesh.GRAY))
