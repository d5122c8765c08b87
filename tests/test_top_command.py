"""`weirflow top`: its picture in all sizes, and the terminal it is drawn on, over a real admin API."""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import Any

import pytest
from rich.cells import cell_len

from brain.decision import Decision
from tests.served import Served, weirflow
from weirflow.commands.keys import named
from weirflow.commands.picture import Picture, picture
from weirflow.commands.top import turned
from weirflow.commands.view import Sort, View
from weirflow.config.build import Admin as Section
from weirflow.plain import plain
from weirflow.staged import (
    NOW,
    StagedOperations,
    example_decision,
    example_endpoint,
    example_service,
    example_status,
)

pytestmark = pytest.mark.usefixtures("quiet")

HOSTILE = "[red]x[/red]\x1b[2J\n\u202e[link=http://evil]"


def answer(decision: Decision | None = None, **process: Any) -> dict[str, Any]:
    said = example_decision() if decision is None else decision
    return {"now": NOW, "decision": plain(said.to_dict()), "process": plain(example_status() | process)}


def lines(shown: Picture) -> list[str]:
    return [line.plain for line in shown.lines]


def columns(shown: Picture, which: str) -> list[str]:
    """The headings of the services (`mode`) or of the endpoints (`endpoint`)."""
    return next(line.split() for line in lines(shown) if which in line.split())


def many(count: int = 500) -> dict[str, Any]:
    endpoints = tuple(
        example_endpoint(id=i, address=f"10.0.{i // 250}.{i % 250}:8080", weight=i, p99_s=(count - i) / 1000)
        for i in range(count)
    )
    return answer(example_decision(services=(example_service(endpoints=endpoints),), incidents=()))


# One picture.


def test_into_a_pipe_there_is_one_picture_of_services_endpoints_and_what_is_wrong(mesh: Served) -> None:
    said = [" ".join(line.split()) for line in mesh.weirflow("top").splitlines()]
    assert said[0].startswith("mesh.yaml · tick 42, 250ms ago · plan 7, lease of 5s")
    assert "! I-1 EndpointSlow: 10.0.0.2:8080 of orders takes 280 ms, 8 to 14 ms would be usual" in said
    assert "! alerts do not reach http://127.0.0.1:9093: Connection refused" in said
    assert "orders adaptive 95% 80.0 11ms (20ms) 50ms (600ms) 0.0% (1.0%) 7 42% (31 to 53)" in said
    assert "search shadow, learning 0% 0.0 – (–) – (–) – (–) – –" in said
    assert "orders 10.0.0.2:8080 b 1 4 11 10.0% 7.0 280ms 610ms 0.1% 6 p50 28 times its peers' [step_down]" in said
    assert said == [" ".join(line.split()) for line in mesh.weirflow("top", "--once").splitlines()]


def test_in_json_it_is_what_status_says(mesh: Served) -> None:
    assert mesh.weirflow("top", "-o", "json") == mesh.weirflow("status", "-o", "json")


def test_one_service_alone_can_be_watched_and_one_that_is_not_there_names_the_nearest(mesh: Served) -> None:
    said = mesh.weirflow("top", "--service", "search")
    assert "[::1]:9000" in said
    assert "orders" not in said
    assert "did you mean 'orders'?" in mesh.weirflow("top", "--service", "ordrs", code=2)


@pytest.mark.parametrize("given", ["1", "0s", "fast", "-1s"])
def test_an_interval_that_is_none_is_wrong_usage(mesh: Served, given: str) -> None:
    assert "--interval" in mesh.weirflow("top", "--interval", given, code=2)


def test_endpoints_are_sorted_by_what_is_asked_and_what_is_unknown_comes_last(mesh: Served) -> None:
    def order(*words: str) -> list[str]:
        rows = [line.split() for line in mesh.weirflow("top", *words).splitlines() if ":8080 " in line or "]:9" in line]
        return [row[1] for row in rows if row[0] in ("orders", "search")]

    assert order() == ["10.0.0.1:8080", "[::1]:9000", "10.0.0.2:8080"]
    assert order("--sort", "p99") == ["10.0.0.2:8080", "10.0.0.1:8080", "[::1]:9000"]
    assert order("--sort", "in-flight") == ["10.0.0.2:8080", "10.0.0.1:8080", "[::1]:9000"]


def test_before_the_first_tick_it_says_so_and_a_process_that_says_nothing_is_borne(mesh: Served) -> None:
    mesh.operations.process.clear()
    assert "orders" in mesh.weirflow("top")
    mesh.operations.shown = None
    assert "Nothing has been decided yet" in mesh.weirflow("top")


def test_an_answer_of_another_version_that_lacks_most_things_is_shown() -> None:
    bare = {"decision": {"now": NOW, "services": [{"name": "orders", "endpoints": [{"address": "a:1"}]}, {}]}}
    said = "\n".join(lines(picture(bare, View(width=80, height=24))))
    assert "orders" in said
    assert "a:1" in said


def test_hostile_names_are_text(mesh: Served) -> None:
    endpoint = example_endpoint(address=HOSTILE, zone=HOSTILE, reason=HOSTILE, guard=HOSTILE)
    service = example_service(name=HOSTILE, mode=HOSTILE, state=HOSTILE, endpoints=(endpoint,))
    mesh.operations.shown = example_decision(services=(service,))
    said = mesh.weirflow("top")
    assert r"[red]x[/red]\x1b[2J\n\u202e[link=http://evil]" in said
    assert not {"\x1b", "\u202e"} & set(said)


def test_without_utf_8_it_is_ascii(mesh: Served) -> None:
    mesh.operations.shown = example_decision(services=(example_service(name="bücher"),))
    words = [sys.executable, "-m", "weirflow", "top", "--admin", mesh.url]
    child = os.environ | {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    said = subprocess.run(words, capture_output=True, check=True, timeout=60, env=child).stdout.decode("ascii")
    assert r"b\xfccher" in said
    assert "tick 42, 250ms ago | plan 7" in said


# What fits.


@pytest.mark.parametrize("width", [30, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("height", [5, 10, 24, 50])
def test_a_picture_is_never_larger_than_the_terminal(width: int, height: int) -> None:
    name = "a-service-of-a-very-long-name-" * 4
    wide = example_service(name=name, endpoints=(example_endpoint(address="ü" * 60 + ":80", zone="漢字" * 9),))
    crowd = example_decision(services=(wide, *(example_service(name=f"s-{i}") for i in range(30))))
    for said in (answer(), many(), answer(crowd), answer(example_decision(services=()))):
        for unicode in (True, False):
            shown = lines(picture(said, View(width=width, height=height, unicode=unicode, keys=True)))
            assert len(shown) <= height
            assert max(map(cell_len, shown)) <= width


def test_at_80_columns_the_figures_that_were_asked_for_are_there_and_whole() -> None:
    shown = picture(answer(), View(width=80, height=24))
    assert columns(shown, "endpoint") == [
        "service", "endpoint", "weight↓", "share", "rate/s", "p50", "p99", "errors", "open",
    ]  # fmt: skip
    assert columns(shown, "mode") == ["service", "mode", "share", "p99", "(static)", "failed", "(static)", "gain"]
    row = next(line for line in lines(shown) if "10.0.0.2" in line and line.startswith("orders"))
    assert row.split() == ["orders", "10.0.0.2:8080", "11", "10.0%", "7.0", "280ms", "610ms", "0.1%", "6"]


def test_columns_leave_by_importance_and_weight_stays() -> None:
    def there(width: int) -> list[str]:
        return columns(picture(answer(), View(width=width, height=24)), "endpoint")

    narrower = [there(width) for width in range(200, 21, -1)]
    for before, after in itertools.pairwise(narrower):
        assert set(after) <= set(before)
    assert narrower[-1] == ["endpoint", "weight↓"]


def test_of_500_endpoints_it_shows_what_fits_and_says_how_many_more_there_are() -> None:
    shown = picture(many(), View(width=80, height=24, keys=True))
    assert len(shown.lines) == 24
    assert shown.room > 10
    assert f"… {500 - shown.room} more" in lines(shown)
    down = picture(many(), View(width=80, height=24, first=10, keys=True))
    assert f"… 10 above, {490 - down.room} more" in lines(down)
    end = picture(many(), View(width=80, height=24, first=1 << 30, keys=True))
    assert f"… {500 - end.room} above" in lines(end)
    assert end.first == 500 - end.room


def test_of_many_services_some_are_shown_and_there_is_room_for_endpoints() -> None:
    crowd = example_decision(services=tuple(example_service(name=f"s-{i}") for i in range(30)))
    shown = picture(answer(crowd), View(width=80, height=24))
    assert sum(line.startswith("s-") and "adaptive" in line for line in lines(shown)) >= 3
    assert any(line.startswith("… ") and line.endswith(" more") for line in lines(shown))
    assert shown.room >= 3


def test_more_troubles_than_there_is_room_for_are_counted() -> None:
    said = answer(driver=example_status()["driver"] | {"problems": [f"problem {i}" for i in range(5)]})
    shown = [line for line in lines(picture(said, View(width=80))) if line.startswith("!")]
    assert len(shown) == 4
    assert shown[-1] == "! 4 more: see weirflow status"


# Keys.


def test_keys_are_named_as_terminals_send_them() -> None:
    assert named(b"sq\x1b[A\x1bOB\x1b[5~\x1b[1;5Cx") == ["s", "q", "up", "down", "page up", "\x1b[1;5C", "x"]


def test_arrows_scroll_and_s_goes_round_the_columns() -> None:
    shown = picture(many(), View(width=80, height=24))
    view = turned(View(), "down", shown)
    assert view.first == 1
    assert turned(turned(view, "up", shown), "up", shown).first == 0
    assert turned(view, "page down", shown).first == 1 + shown.room
    orders = [view := turned(view, "s", shown) for _ in Sort]
    assert [v.sort for v in orders] == [Sort.P99, Sort.ERRORS, Sort.IN_FLIGHT, Sort.WEIGHT]
    assert orders[0].first == 0
    assert turned(view, "\x1b[1;5C", shown) == view


# A real terminal.


class Screen:
    """`weirflow top` on a terminal of its own."""

    def __init__(self, *words: str, env: dict[str, str] | None = None) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            [sys.executable, "-m", "weirflow", "top", *words], stdin=slave, stdout=slave, stderr=slave,
            env=os.environ | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"} | (env or {}), start_new_session=True,
        )  # fmt: skip
        self.said = ""

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait(30)
        os.close(self.master)
        os.close(self.slave)

    def until(self, words: str, deadline_s: float = 60.0) -> str:
        """What was drawn up to these words; what came before is forgotten."""
        end = time.monotonic() + deadline_s
        while words not in self.said:
            assert time.monotonic() < end, f"{words!r} is not in {self.said[-3000:]!r}"
            if select.select([self.master], [], [], 0.2)[0]:
                self.said += os.read(self.master, 1 << 16).decode(errors="replace")
        said, _, self.said = self.said.partition(words)
        return said

    def press(self, key: str) -> None:
        os.write(self.master, key.encode())

    def ended(self) -> int:
        code = self.process.wait(30)
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is not as it was"
        return code


def test_on_a_terminal_it_follows_the_mesh_until_q_and_leaves_the_terminal_as_it_was(mesh: Served) -> None:
    with Screen("--admin", mesh.url, "--interval", "200ms") as screen:
        screen.until("\x1b[?1049h")
        screen.until("tick 42")
        screen.until("q quits")
        mesh.operations.shown = example_decision(tick=4343)
        screen.until("tick 4343")
        screen.until("weight↓")
        screen.press("s")
        screen.until("p99↓")
        screen.press("q")
        screen.until("\x1b[?1049l")
        assert screen.ended() == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_a_signal_ends_it_and_leaves_the_terminal_as_it_was(mesh: Served, number: int, code: int) -> None:
    with Screen("--admin", mesh.url) as screen:
        screen.until("q quits")
        screen.process.send_signal(number)
        screen.until("\x1b[?1049l")
        assert screen.ended() == code


def test_a_brain_that_goes_away_leaves_its_last_picture_with_its_age_and_may_come_back(unused_tcp_port: int) -> None:
    def served(operations: StagedOperations) -> Served:
        made = Served(operations)
        made._admin._section = Section("127.0.0.1", unused_tcp_port, None, ())
        return made

    url = f"127.0.0.1:{unused_tcp_port}"
    first, again = StagedOperations(example_decision()), StagedOperations(example_decision(tick=4343))
    again.process = again.process | {"epoch": "e2"}
    with served(first):
        screen = Screen("--admin", url, "--interval", "200ms")
        screen.until("tick 42")
    with screen:
        screen.until(f"no brain answers at {url}")
        screen.until("s ago")  # whichever second a busy machine gets to draw
        screen.until("\x1b[2morders")  # the row is dim
        with served(again):
            screen.until("the brain started again, after ")
            screen.until("tick 4343")
            screen.press("q")
            assert screen.ended() == 0


def test_a_brain_that_fails_to_answer_is_told_from_one_that_is_gone(
    mesh: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Screen("--admin", mesh.url, "--interval", "200ms") as screen:
        screen.until("tick 42")
        with monkeypatch.context() as patch:
            patch.setattr(mesh.operations, "decision", lambda: 1 / 0)
            screen.until("internal error; below is what was so ")
        screen.until("the brain answers again, after ")


def test_without_a_brain_at_first_it_says_how_to_start_one(unused_tcp_port: int) -> None:
    said = weirflow("top", "--admin", f"127.0.0.1:{unused_tcp_port}", code=3)
    assert "weirflow run mesh.yaml" in said


def test_the_picture_greys_when_it_is_of_the_past() -> None:
    shown = picture(answer(), View(width=80, height=24, grey=True, notes=("gone",)))
    assert shown.lines[0].style == "bold yellow"
    assert {line.style for line in shown.lines[1:] if line.plain} == {"dim"}
