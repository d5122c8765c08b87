"""A process of the lab's own beside this one, and the talk with it: one JSON object a line, both ways.

Endpoints and client are each a process, so that neither waits for the other or for the runner. A child is tied to its
parent and dies with it. CPU is read from /proc (proc(5)), for any process of the run.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import select
import selectors
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from dataplane.envoy.tether import tethered

ANSWER_DEADLINE_S = 20.0
MOST_LINE_BYTES = 1 << 24
PRIORITY = -5
"""setpriority(2) of client and endpoints; it takes a right that not everybody has."""


class ChildError(RuntimeError):
    """A process of the lab ended, or does not answer."""


class Child:
    """One process, for the length of an `async with` block."""

    def __init__(self, module: str, *options: str) -> None:
        self._module, self._options = module, options

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            *tethered([sys.executable, "-m", self._module, *self._options]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # an interrupt at the keyboard is for the runner to handle
            limit=MOST_LINE_BYTES,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()  # it holds nothing that would want saving
        await self.process.wait()

    def tell(self, **told: Any) -> None:
        """Say something."""
        assert self.process.stdin is not None  # noqa: S101 - asked for above
        self.process.stdin.write(json.dumps(told).encode() + b"\n")

    async def hear(self, deadline_s: float = ANSWER_DEADLINE_S) -> dict[str, Any]:
        """The next thing that it says. ChildError when it ends or the deadline comes first."""
        assert self.process.stdout is not None  # noqa: S101 - asked for above
        try:
            async with asyncio.timeout(deadline_s):
                line = await self.process.stdout.readline()
        except TimeoutError as error:
            raise ChildError(f"{self._module} did not answer within {deadline_s:g} s") from error
        if not line:
            raise ChildError(f"{self._module} ended with status {await self.process.wait()}")
        heard: dict[str, Any] = json.loads(line)
        return heard


async def told() -> AsyncIterator[dict[str, Any]]:
    """In the child: what the parent says, until it hangs up."""
    reader = asyncio.StreamReader(limit=MOST_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


def say(**words: Any) -> None:
    """In the child: tell the parent."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if sys.platform == "linux":

    class FineSelector(selectors.EpollSelector):
        """Waits to the microsecond. epoll_wait(2) counts in milliseconds, so each timer would fire up to one late."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            """As its base does, but on time."""
            if timeout is not None and timeout > 0:
                select.select([self.fileno()], [], [], timeout)  # an epoll is itself a file that can be waited for
                timeout = 0
            return super().select(timeout)


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(FineSelector()) if sys.platform == "linux" else asyncio.new_event_loop()


def run(main: Coroutine[Any, Any, None]) -> None:
    """In the child: run it to its end on a loop that is on time, ahead of who else wants the CPU where that is allowed.

    What the child measures is the others' lateness: its own would be taken for theirs.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(main)


def never_pause() -> None:
    """In the child: no garbage collection, whose pauses would be taken for the policy's. A run makes little garbage."""
    gc.freeze()
    gc.disable()


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, user and system; NaN when it is gone or there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine_s() -> tuple[float, float]:
    """CPU seconds of all cores since boot: to be had, and in total; NaN where there is no /proc.

    What runs niced counts as to be had: it gives way.
    """
    try:
        fields = Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]
    except OSError:
        return float("nan"), float("nan")
    ticks = [int(f) / os.sysconf("SC_CLK_TCK") for f in fields]
    _, nice, _, idle, waiting, *_ = ticks
    return idle + waiting + nice, sum(ticks)
