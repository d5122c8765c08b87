"""Completion as a shell asks for it: by the protocol, and in a real bash."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click
import pytest
import typer

from tests.served import Served
from tests.test_cli import ROOT
from weirflow.commands import completion
from weirflow.recording.part import HEADER
from weirflow.staged import example_decision, example_service

pytestmark = pytest.mark.usefixtures("quiet")

COMMAND = [sys.executable, "-c", "import sys; sys.argv[0] = 'weirflow'; from weirflow.cli import main; main()"]
"""As the console script is called: what a completion variable is named by."""


def offered(typed: str, *, cwd: Path | None = None, **env: str) -> list[str]:
    """What bash is told for a line that ends where the cursor is. Nothing may be said on the standard error."""
    child = os.environ | {"PYTHONPATH": str(ROOT), "_WEIRFLOW_COMPLETE": "complete_bash", **env}
    words = typed.split(" ")
    child |= {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    run = subprocess.run(COMMAND, capture_output=True, text=True, env=child, cwd=cwd, check=False, timeout=60)
    assert run.stderr == ""
    return [line for line in run.stdout.splitlines() if line]


def test_services_are_those_of_the_mesh_that_answers(mesh: Served) -> None:
    assert offered("weirflow explain ", WEIRFLOW_ADMIN=mesh.url) == ["orders", "search"]
    assert offered("weirflow explain o", WEIRFLOW_ADMIN=mesh.url) == ["orders"]
    assert offered(f"weirflow mode --admin {mesh.url} s") == ["search"]
    assert offered(f"weirflow top --admin {mesh.url} --service ") == ["orders", "search"]


def test_modes_complete() -> None:
    assert offered("weirflow mode orders ") == ["static", "shadow", "adaptive"]
    assert offered("weirflow top --sort ") == ["weight", "p99", "errors", "in-flight"]


def test_scenarios_are_those_that_ship_and_a_path_is_left_to_the_shell() -> None:
    shipped = sorted(f.stem for f in (ROOT / "weirflow" / "lab" / "scenarios").glob("*.yaml"))
    assert offered("weirflow lab run ") == shipped
    assert offered("weirflow lab run hetero-124-70 gray-") == [n for n in shipped if n.startswith("gray-")]
    assert offered("weirflow lab run ./") == []


def test_recordings_are_folders_that_are_one_or_hold_some(tmp_path: Path) -> None:
    for folder in ("one", "many/run-1", "many/run-2", "other/deep/run", "sp ace"):
        (tmp_path / folder).mkdir(parents=True)
    for folder in ("one", "many/run-1", "many/run-2", "other/deep/run", "sp ace"):
        (tmp_path / folder / HEADER).write_text("{}")
    assert HEADER == completion.HEADER
    for command in ("replay", "whatif", "record inspect"):
        assert offered(f"weirflow {command} ", cwd=tmp_path) == ["many", "one"]
    assert offered("weirflow replay many/", cwd=tmp_path) == ["many/run-1", "many/run-2"]
    assert offered("weirflow replay ./o", cwd=tmp_path) == ["./one"]
    assert offered(f"weirflow replay {tmp_path}/other/d", cwd=tmp_path) == [f"{tmp_path}/other/deep"]
    assert offered("weirflow replay none/", cwd=tmp_path) == []


def test_names_that_a_shell_would_expand_are_not_offered(mesh: Served) -> None:
    names = ["plain", "$(touch x)", "`id`", "a b", "*", "-rf", "x;y", "é\x1b[2J", "a'b", "a:b"]
    mesh.operations.shown = example_decision(services=tuple(example_service(name=n) for n in names))
    assert offered("weirflow explain ", WEIRFLOW_ADMIN=mesh.url) == ["plain"]


def context(**params: str) -> typer.Context:
    made = typer.Context(click.Command("explain"))
    made.params = dict(params)
    return made


def test_without_a_brain_nothing_is_offered_and_nothing_said(unused_tcp_port: int, tmp_path: Path) -> None:
    assert offered("weirflow explain ", WEIRFLOW_ADMIN=f"127.0.0.1:{unused_tcp_port}") == []
    assert offered("weirflow explain ", WEIRFLOW_ADMIN="ftp://nothing") == []
    assert offered("weirflow explain ", WEIRFLOW_TOKEN_FILE=str(tmp_path / "none")) == []


@pytest.mark.parametrize("answer", [b"", b"[1]", b"{}", b'{"decision": null}', b'{"decision": {"services": [1]}}'])
def test_what_is_no_brain_offers_nothing(answer: bytes) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that the standard library asks for
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever).start()
        assert completion.services(context(admin=f"127.0.0.1:{server.server_port}"), "") == []
        server.shutdown()


def test_a_brain_that_hangs_is_not_waited_for() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        before = set(threading.enumerate())
        assert completion.services(context(admin=f"127.0.0.1:{silent.getsockname()[1]}"), "") == []
        (asking,) = set(threading.enumerate()) - before  # it waits, and we do not
    assert completion.DEADLINE_S < 1.0
    asking.join(30)


def test_a_real_bash_completes(mesh: Served, tmp_path: Path) -> None:
    script = tmp_path / "weirflow.sh"
    names = tmp_path / "bin"
    names.mkdir()
    (names / "weirflow").write_text(
        f"#!{sys.executable}\nimport sys\nsys.argv[0] = 'weirflow'\nfrom weirflow.cli import main\nmain()\n"
    )
    (names / "weirflow").chmod(0o755)
    env = os.environ | {"PATH": f"{names}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "WEIRFLOW_ADMIN": mesh.url}
    made = subprocess.run(
        ["weirflow"], env=env | {"_WEIRFLOW_COMPLETE": "source_bash"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    script.write_text(made.stdout)
    line = (
        f"source {script}; COMP_WORDS=(weirflow explain o); COMP_CWORD=2; "
        "$(complete -p weirflow | sed 's/.*-F \\([^ ]*\\).*/\\1/') weirflow o explain; "
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    said = subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout == "orders\n"
