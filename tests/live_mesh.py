"""A mesh that is really there, for tests that block: backends, Envoys, a client and a brain, in a loop of their own.

with live_mesh(folder) as mesh:
    mesh.url                                  # of the admin API, and so of the console
    mesh.do(mesh.brain.mode("catalog", "adaptive", 90.0))
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import numpy as np

from weirflow.demo import mesh as demo
from weirflow.demo.backends import Backends
from weirflow.demo.load import Load, Stream
from weirflow.demo.processes import Brain, running_on

T = TypeVar("T")

TOKEN = "a-token-of-sixteen-characters-or-more"
PORTS_S = 60.0
RATES_PER_S = {"catalog": 60.0, "checkout": 20.0}


class LiveMesh:
    """The demo's two services, but less of the traffic; in shadow mode, recorded, with a token for changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._down = AsyncExitStack()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="live-mesh")
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, T], deadline_s: float = PORTS_S) -> T:
        """Have the loop do it, and wait."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(deadline_s)

    def start(self) -> None:
        self.do(self._start())

    async def _start(self) -> None:
        down = self._down
        self.backends = await down.enter_async_context(Backends([b for specs in demo.SERVICES.values() for b in specs]))
        services = {n: [self.backends.named(b.name).address for b in specs] for n, specs in demo.SERVICES.items()}
        (self.folder / "token").write_text(TOKEN + "\n")
        (self.folder / "token").chmod(0o600)

        def document(xds_port: int, admin_port: int) -> dict[str, Any]:
            self.url = f"http://127.0.0.1:{admin_port}"
            told = demo.document(services, nodes, xds_port, admin_port, recording="recording", part_s=5.0)
            told["admin"] |= {"token_file": "token", "read_without_token": True}
            return told

        nodes = dict.fromkeys(demo.NODES, 1)
        parts = await down.enter_async_context(running_on(self.folder, document, nodes))
        self.brain: Brain = parts.brain
        streams = [
            Stream(service, node, port, rate / len(parts.ports), path=f"/{service}")
            for service, rate in RATES_PER_S.items()
            for node, port in parts.ports.items()
        ]
        self.load = await down.enter_async_context(Load(streams, np.random.default_rng(7)))

    def order(self, path: str, body: dict[str, Any]) -> None:
        """What an operator with the token asks of the brain."""

        async def posted() -> None:
            shown = {"Authorization": f"Bearer {TOKEN}"}
            async with aiohttp.ClientSession() as http, http.post(self.url + path, json=body, headers=shown) as answer:
                assert answer.status == 200, await answer.text()

        self.do(posted())

    def stop(self) -> None:
        try:
            self.do(self._down.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()


@contextmanager
def live_mesh(folder: Path) -> Iterator[LiveMesh]:
    """Up, and in the end down again."""
    mesh = LiveMesh(folder)
    try:
        mesh.start()
        yield mesh
    finally:
        mesh.stop()
