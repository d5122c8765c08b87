"""The commands of the how-to run as they stand, on files such as it speaks of."""

from __future__ import annotations

import gzip
import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests import logs
from weirflow.cli import app
from weirflow.importing import nginx
from weirflow.recording import read

PAGE = (Path(__file__).parent.parent / "docs" / "how-to.md").read_text()
SECTION = PAGE.partition("## Import the logs of your fleet\n")[2].partition("\n## ")[0]

MESH = """
nodes: [{name: edge, spawn: false}]
listeners: [{name: in, address: 127.0.0.1, port: 10000}]
routes: [{name: all, service: shop, retry: {num_retries: 2}}]
services:
  - name: shop
    policy: ROUND_ROBIN
    endpoints:
      - {address: "10.0.0.1:8080", weight: 3, zone: a}
      - {address: "10.0.0.2:8080"}
      - {address: "10.0.0.3:8080"}
"""


def files(folder: Path) -> None:
    asked = logs.some()
    (folder / "access.log").write_bytes(logs.content("envoy", asked))
    (folder / "edge-1.log").write_bytes(logs.content("istio", asked[:15]))
    (folder / "edge-2.log.gz").write_bytes(gzip.compress(logs.content("istio", asked[15:])))
    (folder / "tries.log").write_text(
        "".join(f"{logs.iso(a.at)} {a.duration_ms} {a.status} - {a.endpoint} shop {a.path} {a.id}\n" for a in asked)
    )
    (folder / "mesh.yaml").write_text(MESH)
    own = (
        {"ts": logs.iso(a.at), "took": a.duration_ms, "up": {"addr": a.endpoint, "name": "shop"}, "code": a.status}
        for a in asked
    )
    (folder / "own.json").write_text("".join(json.dumps(o) + "\n" for o in own))


def test_every_command_of_the_how_to_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files(tmp_path)
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(line) for line in re.findall(r"^\$ weirflow (.*)$", SECTION, re.MULTILINE)]
    assert len(commands) > 6
    for words in commands:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, (words, done.stderr)
        if words[0] == "import":
            assert "\n30 attempts from" in done.stdout, words
    ruled = read(tmp_path / "ruled")
    assert ruled.mesh is not None
    assert ruled.mesh.services[0].policy == "ROUND_ROBIN"
    assert [(e.address, e.weight, e.zone) for e in ruled.parts[0].topology.services[0].endpoints] == [
        ("10.0.0.1:8080", 3, "a"),
        ("10.0.0.2:8080", 1, ""),
        ("10.0.0.3:8080", 1, ""),
    ]
    assert read(tmp_path / "tries").mesh is None


def test_the_log_format_of_the_how_to_is_the_one_that_is_known() -> None:
    (block,) = re.findall(r"```nginx\nlog_format weirflow (.*?);\n```", SECTION, re.DOTALL)
    assert "".join(re.findall(r"'([^']*)'", block)) == nginx.DEFAULT
