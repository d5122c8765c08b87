"""Progress: seen on a terminal's standard error by whoever waits, and in no pipe, file or result."""

from __future__ import annotations

import contextlib
import os
import pty
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from tests.fleets import fleet, trace
from tests.test_lab_campaign import tiny  # noqa: F401 - a fixture
from tests.test_replay import record as recorded_by_a_brain
from tests.whatif_worlds import record, world
from weirflow.cli import app
from weirflow.commands.progress import progress


class Terminal:
    """Stands for the standard error; `said` is what came out at the other end."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        self.stream = os.fdopen(slave, "w")
        self._said: list[bytes] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:  # the other end is closed
                return
            if not data:
                return
            self._said.append(data)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """While this lasts the standard error is this terminal. pytest sets its own before each test's body."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stderr", self.stream)
            yield

    def said(self) -> str:
        """All of it, once nothing more can come."""
        self.stream.close()
        self._reader.join(30)
        os.close(self._master)
        return b"".join(self._said).decode()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    made = Terminal()
    yield made
    if not made.stream.closed:
        made.said()


def run(*words: str) -> int:
    """A command in this very process, where the standard error is what it was set to."""
    try:
        status = app(list(words), standalone_mode=False)
    except typer.Exit as error:
        status = error.exit_code
    return int(status or 0)


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    file = tmp_path / "values.csv"
    rows = "".join(f"2026-01-01T{i // 60:02d}:{i % 60:02d}:00Z,{100 + i % 7}\n" for i in range(600))
    file.write_text("timestamp,value\n" + rows)
    return file


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "access.jsonl"
    row = '{{"started": {}.5, "duration_ms": 12, "service": "orders", "endpoint": "10.0.0.1:80", "status": 200}}\n'
    file.write_text("".join(row.format(1_760_000_000 + i) for i in range(300)))
    return file


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    folder = tmp_path / "recorded"
    recorded_by_a_brain(folder)
    return folder


@pytest.fixture
def simulated(tmp_path: Path) -> Path:
    folder = tmp_path / "simulated"
    of = fleet(1.0, 1.0, workers=30)
    record(world(of, trace(of, 0.05, 40.0, nodes=2, mean_s=0.02)), folder)
    return folder


@pytest.fixture
def commands(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], list[str]]:
    """The words of each command that takes long, over little."""

    def words(name: str) -> list[str]:
        def asked(fixture: str) -> str:
            return str(request.getfixturevalue(fixture))

        match name:
            case "detect":
                return ["detect", asked("csv")]
            case "import":
                return ["import", asked("log"), "--to", str(tmp_path / f"to-{len(list(tmp_path.iterdir()))}")]
            case "record inspect":
                return ["record", "inspect", asked("recording")]
            case "replay":
                return ["replay", asked("recording")]
            case "whatif":
                return ["whatif", asked("simulated"), "--seeds", "1", "--force"]
            case _:
                return ["lab", "run", asked("tiny"), "--engine", "simulated", "--policy", "random"]

    return words


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("detect", "looking for surprises"),
        ("import", "reading"),
        ("record inspect", "looking through it"),
        ("replay", "replaying"),
        ("whatif", "simulating"),
        ("lab run", "running"),
    ],
)
def test_long_work_says_on_a_terminal_how_far_it_is_and_in_a_pipe_nothing(
    name: str,
    shown: str,
    commands: Callable[[str], list[str]],
    capfd: pytest.CaptureFixture[str],
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = commands(name)
    with terminal.watched():
        run(*words)
    seen, there = terminal.said(), capfd.readouterr().out
    assert shown in seen
    assert "\x1b[?25h" in seen, "the cursor is shown again"
    assert shown not in there
    assert "\x1b" not in there
    with monkeypatch.context() as patch:
        file = os.fdopen(os.dup(2), "w")
        patch.setattr(sys, "stderr", file)
        run(*commands(name))
        file.close()
    piped = capfd.readouterr()
    assert shown not in piped.err
    assert "\x1b" not in piped.out + piped.err


def test_lines_that_stay_are_said_above_it_on_a_terminal_and_plainly_in_a_pipe(
    terminal: Terminal,
) -> None:
    with terminal.watched(), progress("counting", 3) as far:
        for i in range(3):
            far.at(i + 1)
            far.say(f"[{i + 1}/3] \x1b[2J[red]done")
    seen = terminal.said()
    for i in range(3):
        assert f"[{i + 1}/3] \\x1b[2J[red]done\r\n" in seen
    assert "100%" in seen


def test_in_a_pipe_lines_are_all_there_is(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with os.fdopen(os.dup(2), "w") as file:
        monkeypatch.setattr(sys, "stderr", file)
        with progress("counting", 3) as far:
            far.at(2)
            far.say("two")
    assert capfd.readouterr().err == "two\n"


def test_what_is_done_changes_its_name_its_total_and_begins_anew(terminal: Terminal) -> None:
    with terminal.watched(), progress("reading") as far:
        far.at(50, None, "reading")
        far.at(100, 100, "reading")
        far.at(1, 4, "writing [b]\x1b[2J")
        far.at(4, 4)
    seen = terminal.said()
    assert "writing [b]\\x1b[2J" in seen
    assert "100%" in seen


def test_it_goes_away_when_the_work_fails(terminal: Terminal) -> None:
    with terminal.watched(), pytest.raises(ZeroDivisionError), progress("failing", 3):
        raise ZeroDivisionError
    assert "\x1b[?25h" in terminal.said()
