"""Starts backends, steers them and sees them gone.

    async with Backends([BackendSpec("a"), BackendSpec("b", workers=2)]) as b:
        b[0].port
        await b[0].slow(10)

Each is a process of its own, tied to this one: leaving the block ends them, and so does the death of this process.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from dataplane.envoy.tether import tethered
from weirflow.demo.backend import CALLEE, CONTROL

START_DEADLINE_S = 20.0
CONTROL_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """`workers / (service_ms / 1000)` requests a second is what it can bear."""

    name: str
    workers: int = 8
    service_ms: float = 20.0
    sigma: float = 0.5
    seed: int = 0


class Backend:
    """One running backend."""

    def __init__(self, spec: BackendSpec, process: asyncio.subprocess.Process, port: int) -> None:
        self.spec, self.process, self.port = spec, process, port

    @property
    def name(self) -> str:
        """What it calls itself in `x-backend`."""
        return self.spec.name

    @property
    def address(self) -> str:
        """`ip:port`."""
        return f"127.0.0.1:{self.port}"

    async def slow(self, factor: float) -> None:
        """Make work that starts from now on last `factor` times as long; 1 heals it."""
        await self.turn(slow=factor)

    async def turn(self, **faults: Any) -> dict[str, Any]:
        """Change faults by name (`slow`, `error_share`, `hang`); ValueError with the backend's words if it refuses."""
        return await self._control("POST", json.dumps(faults).encode())

    async def calls(self, port: int, path: str) -> None:
        """For each request, call `path` at this loopback port after its own work; told once, else ValueError."""
        await self._control("POST", f"127.0.0.1:{port}{path}".encode(), CALLEE)

    async def state(self) -> dict[str, Any]:
        """Faults in force, busy workers, queue, served and failed so far."""
        return await self._control("GET", b"")

    async def _control(self, method: str, body: bytes, page: str = CONTROL) -> dict[str, Any]:
        async with asyncio.timeout(CONTROL_DEADLINE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(
                    f"{method} {page} HTTP/1.1\r\nhost: {self.address}\r\nconnection: close\r\n"
                    f"content-length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ValueError(f"{self.name}: {answer.decode().strip() or 'no answer'}")
        state: dict[str, Any] = json.loads(answer)
        return state


class Backends:
    """Several backends, in the order of their specs, for the length of an `async with` block."""

    def __init__(self, specs: Sequence[BackendSpec]) -> None:
        self._specs = tuple(specs)
        self._running: list[Backend] = []
        self._processes: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                for spec in self._specs:
                    self._processes.append(await self._spawn(spec))
                for spec, process in zip(self._specs, self._processes, strict=True):
                    assert process.stdout is not None  # noqa: S101 - asked for in _spawn
                    port = (await process.stdout.readline()).strip()
                    if not port:
                        raise RuntimeError(f"backend {spec.name} ended with status {await process.wait()} at its start")
                    self._running.append(Backend(spec, process, int(port)))
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    def __getitem__(self, index: int) -> Backend:
        return self._running[index]

    def __iter__(self) -> Iterator[Backend]:
        return iter(self._running)

    def __len__(self) -> int:
        return len(self._running)

    def named(self, name: str) -> Backend:
        """The backend of that name; KeyError if there is none."""
        for b in self._running:
            if b.name == name:
                return b
        raise KeyError(name)

    async def _spawn(self, spec: BackendSpec) -> asyncio.subprocess.Process:
        command = [sys.executable, "-m", "weirflow.demo.backend"]
        for key in ("name", "workers", "service_ms", "sigma", "seed"):
            command += [f"--{key.replace('_', '-')}", str(getattr(spec, key))]
        return await asyncio.create_subprocess_exec(
            *tethered(command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # an interrupt at the keyboard is for whoever started us to handle
        )

    async def _end(self) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()  # it holds nothing that would want saving
        for process in self._processes:
            await process.wait()
        self._processes, self._running = [], []
