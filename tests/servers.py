"""The real Prometheus, Alertmanager, NGINX, HAProxy and openssl, for tests: on the PATH, or unpacked from Debian.

    python tests/servers.py     fetches them now

A package is downloaded with apt and unpacked with dpkg into the virtual environment. No service is started, nothing
outside of that folder is touched, and root is not needed.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

FOLDER = Path(sys.prefix) / "servers"
PACKAGES = {
    "promtool": "prometheus",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "nginx": "nginx",
    "haproxy": "haproxy",
    "openssl": "openssl",
}
LIBRARIES = {"haproxy": ("liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1")}
"""Packages that a program needs beside its own, which a machine without it hardly has."""
OTHER_NAMES = {"prometheus-alertmanager": "alertmanager"}  # where it is not Debian's
PLACE = b"/usr/share/prometheus/alertmanager"
"""Where Debian's Alertmanager reads its templates, whatever it is told. A copy that is not installed reads its own: by
the same path without the first slash, from the folder that it was unpacked to."""
HELP = "install them (Debian: apt-get install PACKAGE), or put them on the PATH"


class NoServerError(RuntimeError):
    """It is not here and cannot be had; the message says how to install it."""


def program(name: str) -> str:
    """The path of a program. NoServerError."""
    for known in (name, OTHER_NAMES.get(name, name)):
        if (found := shutil.which(known)) is not None:
            return found
    ready = FOLDER / f"{PACKAGES[name]}.ready"  # the program is there some time before it is whole
    if not ready.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        with (FOLDER / "lock").open("w") as lock:  # two test processes may want it at once
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not ready.exists():
                for package in (PACKAGES[name], *LIBRARIES.get(name, ())):
                    _fetch(package)
                ready.touch()
    for unpacked in (FOLDER / "usr" / folder / name for folder in ("bin", "sbin")):
        if unpacked.exists():
            return str(unpacked)
    raise NoServerError(f"the package {PACKAGES[name]} has no {name}; {HELP}")


def libraries() -> dict[str, str]:
    """The environment in which an unpacked program finds its libraries."""
    found = sorted({str(file.parent) for file in (FOLDER / "usr" / "lib").rglob("*.so.*")})
    return {**os.environ, "LD_LIBRARY_PATH": ":".join([*found, os.environ.get("LD_LIBRARY_PATH", "")]).strip(":")}


def _fetch(package: str) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise NoServerError(f"there is no {package} and no apt to fetch it with; {HELP}")
    # Lists of our own where the system has none, as in a fresh container: no root is needed for them.
    state = FOLDER / "apt"
    (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (state / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    own = [f"-oDir::State::lists={state / 'lists'}", f"-oDir::Cache={state}", "-oAPT::Sandbox::User="]
    said = ""
    for words in (["download", package], [*own, "update"], [*own, "download", package]):
        done = subprocess.run(["apt-get", "-q", *words], cwd=FOLDER, capture_output=True, text=True, timeout=150)
        said = (done.stderr or done.stdout).strip()
        packages = sorted(FOLDER.glob(f"{package}_*.deb"))
        if packages:
            subprocess.run(["dpkg", "-x", str(packages[-1]), str(FOLDER)], check=True, capture_output=True, timeout=60)
            packages[-1].unlink()
            _read_its_own(FOLDER / "usr" / "bin" / "prometheus-alertmanager")
            return
    raise NoServerError(f"{package} cannot be fetched: {said[-500:]}; {HELP}")


def _read_its_own(file: Path) -> None:
    # In a process of its own: a file that another thread's new process holds open for writing cannot be started.
    if file.exists():
        subprocess.run([sys.executable, __file__, str(file)], check=True, timeout=60)


def _patch(file: Path) -> None:
    content = file.read_bytes()
    if PLACE in content:
        whole = file.with_suffix(".new")
        whole.write_bytes(content.replace(PLACE, PLACE[1:].replace(b"usr/", b"usr//", 1)))
        whole.chmod(0o755)
        whole.rename(file)


def free_port() -> int:
    """One that nobody has now: these servers cannot say which one the kernel gave them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(condition: Callable[[], Awaitable[Any]], deadline_s: float = 30.0) -> Any:
    """What the condition is once it is true."""
    async with asyncio.timeout(deadline_s):
        while not (found := await condition()):
            await asyncio.sleep(0.05)
        return found


class Server:
    """A child process with an HTTP port. Its output is in a file of its folder."""

    name = ""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start, or start again on the same port with the same storage."""
        path = await asyncio.to_thread(program, self.name)
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [path, *self._arguments],
                stdout=log,
                stderr=log,
                cwd=FOLDER if Path(path).is_relative_to(FOLDER) else None,
            )
        await until(self._is_ready)

    async def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise NoServerError(f"{self.name} ended: {(self.folder / f'{self.name}.log').read_text()[-2000:]}")
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """End it in order, as an operator does, or as a crash does. Nothing happens when it does not run."""
        if self._process is not None:
            self._process.send_signal(by)
            await asyncio.to_thread(self._process.wait, 20)
            self._process = None

    async def get(self, path: str) -> Any:
        """The JSON at this path."""
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()


class Alertmanager(Server):
    """One, alone or in a cluster. `calls`: a URL that it POSTs to when people have to be called."""

    name = "prometheus-alertmanager"

    def __init__(self, folder: Path, calls: str = "http://127.0.0.1:1/", cluster: tuple[int, ...] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder)
        route = {"receiver": "people", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
        receivers = [{"name": "people", "webhook_configs": [{"url": calls, "send_resolved": True}]}]
        (folder / "config.yml").write_text(json.dumps({"route": route, "receivers": receivers}))
        listen = f"127.0.0.1:{cluster[0]}" if cluster else ""
        self._arguments = (
            f"--config.file={folder / 'config.yml'}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            f"--cluster.listen-address={listen}",
            *(f"--cluster.peer=127.0.0.1:{peer}" for peer in cluster[1:]),
        )

    async def alerts(self) -> list[Any]:
        """All that it holds for open."""
        found: list[Any] = await self.get("/api/v2/alerts")
        return found


class Prometheus(Server):
    """Scrapes one target, and judges these rules."""

    name = "prometheus"

    def __init__(self, folder: Path, target: str, rules: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder)
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": "weirflow", "static_configs": [{"targets": [target]}]}],
        }
        (folder / "config.yml").write_text(json.dumps(config))
        self._arguments = (
            f"--config.file={folder / 'config.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        )


if __name__ == "__main__":
    for path in sys.argv[1:]:
        _patch(Path(path))
    for wanted in PACKAGES if not sys.argv[1:] else ():
        sys.stdout.write(f"{program(wanted)}\n")
