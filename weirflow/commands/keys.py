"""Keys of a terminal as they are pressed, and the terminal as it was when that is over."""

from __future__ import annotations

import contextlib
import os
import re
import select
import threading
from collections.abc import Callable, Iterator
from typing import IO

NAMES = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"\x1b[B": "down", b"\x1bOB": "down",
    b"\x1b[5~": "page up", b"\x1b[6~": "page down", b"\x1b[H": "home", b"\x1b[F": "end",
}  # fmt: skip
_KEY = re.compile(rb"\x1b[\[O][0-9;]*[A-Za-z~]|.", re.DOTALL)

Pressed = Callable[[float], list[str]]


@contextlib.contextmanager
def keys(stream: IO[str]) -> Iterator[Pressed]:
    """Yields a function that waits so many seconds, or until a key is pressed, and names what was: a letter or `up`.

    Where the stream is no terminal nobody presses any; one that is closed presses `q`.
    """
    if not stream.isatty():
        never = threading.Event()

        def nobody(wait_s: float) -> list[str]:
            never.wait(wait_s)
            return []

        yield nobody
        return
    import termios
    import tty

    terminal = stream.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSANOW)  # signals still work: Ctrl-C is no key of ours
        yield lambda wait_s: _read(terminal, wait_s)
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)


def _read(terminal: int, wait_s: float) -> list[str]:
    if not select.select([terminal], [], [], wait_s)[0]:
        return []
    try:
        typed = os.read(terminal, 1024)
    except OSError:  # the terminal is gone
        typed = b""
    return named(typed) if typed else ["q"]


def named(typed: bytes) -> list[str]:
    """The keys in what a terminal sent."""
    return [NAMES.get(key) or key.decode("ascii", "replace") for key in _KEY.findall(typed)]
