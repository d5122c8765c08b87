"""The brain and the Envoys as processes of their own, to be commanded, killed, hung and started again.

Each is tied to this process. The Envoys are not the brain's children (`spawn: false` in the mesh file), as in a mesh
that was there before: so the brain can be killed under load, and the proxies go on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from dataplane.envoy.bootstrap import bootstrap
from dataplane.envoy.process import EnvoyProcess
from dataplane.envoy.tether import tethered
from dataplane.mesh import NodeSpec
from dataplane.pick import policy
from weirflow.demo import mesh

START_DEADLINE_S = 20.0
STOP_DEADLINE_S = 10.0
CALL_DEADLINE_S = 3.0
POLL_S = 0.05
PROGRAM = (sys.executable, "-m", "weirflow", "run")


class NeverHappenedError(Exception):
    """A condition that was waited for did not come about before its deadline; the message says which."""


async def until(condition: Callable[[], Any], deadline_s: float, what: str, *, must: bool = True) -> Any:
    """Wait until `condition()`, awaited when it is a coroutine, is true, and return what it returned.

    At the deadline NeverHappenedError, or when it need not (`must` is false) the last that it returned.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline_s
    while True:
        told = condition()
        if asyncio.iscoroutine(told):
            told = await told
        if told or (loop.time() > end and not must):
            return told
        if loop.time() > end:
            raise NeverHappenedError(f"{what}: not within {deadline_s:g} s")
        await asyncio.sleep(POLL_S)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Brain:
    """`weirflow run` as a process of its own: started, commanded, killed, hung and started again."""

    def __init__(self, mesh_file: Path, admin_port: int, log_file: Path, program: Sequence[str] = PROGRAM) -> None:
        self.mesh_file, self.log_file, self.program = mesh_file, log_file, program
        self.process: asyncio.subprocess.Process | None = None
        self._url = f"http://127.0.0.1:{admin_port}"
        self._http: aiohttp.ClientSession | None = None

    @property
    def pid(self) -> int:
        """Its process id. RuntimeError when it was never started."""
        if self.process is None:
            raise RuntimeError("the brain has not been started")
        return self.process.pid

    async def start(self) -> None:
        """Start it and wait until it answers. RuntimeError with the end of its log when it ends instead."""
        with self.log_file.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *tethered([*self.program, self.mesh_file]),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        await until(self._up, START_DEADLINE_S, "the brain answers")

    async def _up(self) -> bool:
        if self.process is not None and self.process.returncode is not None:
            raise RuntimeError(f"the brain ended with status {self.process.returncode}:\n{self.last_words()}")
        try:
            await self.status()
        except (aiohttp.ClientError, TimeoutError):
            return False
        return True

    async def status(self) -> dict[str, Any]:
        """What `weirflow status -o json` shows."""
        return await self._call("GET", "/status")

    async def decision(self) -> dict[str, Any] | None:
        """The last Decision, None before the first tick."""
        told: dict[str, Any] | None = (await self.status())["decision"]
        return told

    async def service(self, name: str) -> dict[str, Any]:
        """One service of the last Decision; KeyError when there is no such service, or no decision yet."""
        for service in (await self.decision() or {}).get("services", ()):
            if service["name"] == name:
                found: dict[str, Any] = service
                return found
        raise KeyError(name)

    async def mode(self, service: str, mode: str, share_percent: float | None = None) -> None:
        """What `weirflow mode SERVICE MODE --share N` does."""
        told = {"service": service, "mode": mode}
        await self._call("POST", "/mode", told if share_percent is None else told | {"share_percent": share_percent})

    async def freeze(self, on: bool = True) -> None:
        """What `weirflow freeze` does."""
        await self._call("POST", "/freeze", {"on": on})

    async def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_DEADLINE_S))
        headers = {"X-Weirflow-Who": "demo"}
        async with self._http.request(method, self._url + path, json=body, headers=headers) as answer:
            told: dict[str, Any] = await answer.json()
            if answer.status != 200:
                raise RuntimeError(f"{method} {path}: {answer.status} {told}")
            return told

    def last_words(self, lines: int = 20) -> str:
        """The end of its log."""
        with suppress(OSError):
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def signal(self, number: signal.Signals) -> None:
        """SIGKILL kills it, SIGSTOP hangs it, SIGCONT lets it go on."""
        os.kill(self.pid, number)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL when that is not enough."""
        if self._http is not None:
            await self._http.close()
            self._http = None
        if self.process is None or self.process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            async with asyncio.timeout(STOP_DEADLINE_S):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


@dataclass(frozen=True, slots=True)
class Running:
    """A brain and its Envoys, by node name, and the port of each node's listener."""

    brain: Brain
    envoys: dict[str, EnvoyProcess]
    ports: dict[str, int]


@asynccontextmanager
async def running(
    folder: Path,
    services: Mapping[str, Sequence[str]],
    nodes: Mapping[str, int],
    *,
    program: Sequence[str] = PROGRAM,
    **more: Any,
) -> AsyncIterator[Running]:
    """`running_on` a mesh file of the demo's kind: `services` by name to addresses, `more` as in `mesh.document`."""

    def document(xds_port: int, admin_port: int) -> Mapping[str, Any]:
        return mesh.document(services, nodes, xds_port, admin_port, **more)

    async with running_on(folder, document, nodes, program=program) as parts:
        yield parts


@asynccontextmanager
async def running_on(
    folder: Path,
    document: Callable[[int, int], Mapping[str, Any]],
    nodes: Mapping[str, int],
    *,
    program: Sequence[str] = PROGRAM,
) -> AsyncIterator[Running]:
    """Write a mesh file into `folder`, start the brain on it, then the Envoys; in the end stop all of them.

    `document` makes the file from the xDS and the admin port; it has the listener `web`, and nodes that are not
    spawned. `nodes` by name to worker threads, `program` to start on the file instead of `weirflow run`. EnvoyError or
    RuntimeError, with the last words of what did not start.
    """
    xds_port, admin_port = free_port(), free_port()
    file = folder / "mesh.yaml"
    mesh.write(file, document(xds_port, admin_port))
    async with AsyncExitStack() as down:
        brain = Brain(file, admin_port, folder / "brain.log", program)
        down.push_async_callback(brain.stop)
        await brain.start()
        envoys, ports = {}, {}
        for name, threads in nodes.items():
            told = bootstrap(NodeSpec(name), f"127.0.0.1:{xds_port}", has_module=policy.built())
            envoy = EnvoyProcess(told, concurrency=threads)
            down.push_async_callback(envoy.stop)
            await envoy.start()
            await envoy.ready()
            envoys[name], ports[name] = envoy, (await envoy.listeners())["web"]
        yield Running(brain, envoys, ports)
