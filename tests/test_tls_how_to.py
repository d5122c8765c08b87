"""The how-to on TLS, followed: its certificates, its mesh file, its bootstrap, and a real Envoy that joins."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from dataplane.envoy.process import EnvoyProcess
from tests.served import weirflow
from tests.servers import program, until
from tests.test_cli import ROOT
from weirflow.clock import Clock
from weirflow.config import load
from weirflow.wiring import Running

pytestmark = [pytest.mark.usefixtures("quiet"), pytest.mark.timeout(120)]

MESH = """\
nodes: [{name: front-1, spawn: false}]
services: [{name: orders, endpoints: ['127.0.0.1:8081']}]
routes: [{name: all, service: orders}]
admin: {port: 0}
"""


def passage() -> str:
    page = (ROOT / "docs" / "how-to.md").read_text()
    return page.split("## Serve over TLS\n")[1].split("\n## ")[0]


def shell(words: str) -> None:
    name, _, rest = words.partition(" ")
    path = program(name) if name == "openssl" else name
    subprocess.run(f"{path} {rest}", shell=True, check=True, capture_output=True, timeout=30)


@pytest.mark.envoy
async def test_a_node_joins_over_tls_by_the_commands_of_the_page_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^\$ (.*)$", passage(), re.MULTILINE)
    (section,) = re.findall(r"```yaml\n(.*?)```", passage(), re.DOTALL)
    file = Path("mesh.yaml")
    file.write_text(MESH + section)
    for words in (c for c in commands if not c.startswith(("weirflow", "envoy"))):
        shell(words)
    assert "weirflow validate mesh.yaml" in commands
    assert "warning" not in weirflow("validate", "mesh.yaml", "--strict")
    # Here the brain is where a test may listen.
    file.write_text(MESH + section.replace("address: 0.0.0.0", "port: 0"))
    running = Running(file, load(file), Clock())
    await running.start()
    try:
        (made,) = (c.split()[1:] for c in commands if c.startswith("weirflow bootstrap"))
        weirflow(*(running.xds_address if word == "brain.example:18000" else word for word in made))
        assert {f.name for f in Path("front-1").iterdir()} == {"bootstrap.yaml", "certificate.json", "ca.json", "tls"}
        (config,) = (c.split()[2] for c in commands if c.startswith("envoy"))
        envoy = EnvoyProcess(json.loads(json.dumps(YAML(typ="safe").load(Path(config).read_text()))))
        try:
            await envoy.start()
            await envoy.ready()

            async def joined() -> bool:
                return bool(running.status()["wires"]["nodes"]["front-1"]["connected"])

            await until(joined, 10)
            assert running.status()["wires"]["faults"] == {}
        finally:
            await envoy.stop()
    finally:
        await running.stop()
