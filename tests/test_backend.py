"""A backend is slow when it is busy, wrong when told to be, and gone when its parent is."""

from __future__ import annotations

import asyncio
import heapq
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import psutil
import pytest

from weirflow.demo.backends import Backend, Backends, BackendSpec
from weirflow.demo.callee import Callee
from weirflow.demo.desk import Desk, Faults


class Timers:
    """`call_later` in virtual time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._count = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (self.now + delay_s, self._count, call))

    def run(self, until: float = float("inf")) -> None:
        while self._due and self._due[0][0] <= until:
            self.now, _, call = heapq.heappop(self._due)
            call()
        if until < float("inf"):
            self.now = until


@dataclass
class Person:
    timers: Timers
    gone: bool = False
    told: list[tuple[float, int]] = field(default_factory=list)

    def answer(self, status: int) -> None:
        self.told.append((round(self.timers.now, 3), status))


def a_desk(workers: int, service_s: float = 1.0, sigma: float = 0.0) -> tuple[Desk, Timers]:
    timers = Timers()
    return Desk(workers, service_s, Random(1), timers.later, sigma), timers


def test_two_workers_serve_two_at_once_and_the_rest_in_turn() -> None:
    desk, timers = a_desk(workers=2)
    people = [Person(timers) for _ in range(5)]
    for p in people:
        desk.ask(p)
    assert desk.state()["queued"] == 3
    timers.run()
    assert [p.told for p in people] == [[(1, 200)], [(1, 200)], [(2, 200)], [(2, 200)], [(3, 200)]]


def test_past_its_capacity_the_latency_grows_and_below_it_does_not() -> None:
    def waits(rate: float) -> list[float]:
        desk, timers = a_desk(workers=4, service_s=0.1)  # bears 40 a second
        people = []
        for i in range(400):
            timers.run(until=i / rate)
            people.append(Person(timers))
            desk.ask(people[-1])
        timers.run()
        return [p.told[0][0] - i / rate for i, p in enumerate(people)]

    below, past = waits(rate=30), waits(rate=80)
    assert max(below) < 0.11
    assert past[399] > past[200] > past[100] > 1.0


def test_the_mean_of_the_work_is_what_was_asked_for_whatever_its_spread() -> None:
    desk, timers = a_desk(workers=10_000, service_s=0.02, sigma=0.5)
    people = [Person(timers) for _ in range(10_000)]
    for p in people:
        desk.ask(p)
    timers.run()
    mean = sum(p.told[0][0] for p in people) / len(people)
    assert mean == pytest.approx(0.02, rel=0.03)


def test_slow_stretches_the_work_that_starts_from_now_on() -> None:
    desk, timers = a_desk(workers=1)
    before, after = Person(timers), Person(timers)
    desk.ask(before)
    desk.turn(Faults(slow=10))
    desk.ask(after)
    timers.run()
    assert (before.told, after.told) == ([(1, 200)], [(11, 200)])


def test_an_error_share_fails_at_once_and_takes_no_worker() -> None:
    desk, timers = a_desk(workers=1)
    desk.turn(Faults(error_share=1.0))
    p = Person(timers)
    desk.ask(p)
    assert p.told == [(0, 500)]
    assert desk.busy == 0


def test_a_hang_answers_nobody_until_it_is_lifted_and_then_everybody() -> None:
    desk, timers = a_desk(workers=1)
    desk.turn(Faults(hang=True))
    people = [Person(timers), Person(timers)]
    for p in people:
        desk.ask(p)
    timers.run(until=60)
    assert [p.told for p in people] == [[], []]
    desk.turn(Faults())
    timers.run()
    assert [p.told for p in people] == [[(60, 200)], [(61, 200)]]


def test_who_has_left_the_queue_costs_no_work() -> None:
    desk, timers = a_desk(workers=1)
    first, left, last = Person(timers), Person(timers), Person(timers)
    for p in (first, left, last):
        desk.ask(p)
    left.gone = True
    timers.run()
    assert (left.told, last.told) == ([], [(2, 200)])


@pytest.mark.parametrize("wrong", [{"slow": 0}, {"slow": "10"}, {"error_share": 1.5}, {"hang": 1}, {"slwo": 2}, {}])
async def test_control_refuses_nonsense_and_says_what_is_wrong(wrong: dict[str, object]) -> None:
    async with Backends([BackendSpec("a")]) as b:
        if wrong:
            with pytest.raises(ValueError, match=next(iter(wrong))):
                await b[0].turn(**wrong)
        state = await b[0].turn()
        assert (state["slow"], state["error_share"], state["hang"]) == (1.0, 0.0, False)


async def ask(backend: Backend, times: int, body: bytes = b"") -> list[bytes]:
    """`times` requests on one connection; the heads of the answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", backend.port)
    heads = []
    for _ in range(times):
        writer.write(f"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        await reader.readuntil(b"\n")
    writer.close()
    return heads


async def test_one_connection_carries_request_after_request_and_every_answer_names_the_backend() -> None:
    async with Backends([BackendSpec("a", service_ms=1), BackendSpec("b", service_ms=1)]) as b:
        for backend in b:
            heads = await ask(backend, times=3, body=b"x" * 1000)
            assert all(h.startswith(b"HTTP/1.1 200 OK\r\n") for h in heads)
            assert all(f"x-backend: {backend.name}\r\n".encode() in h for h in heads)
        assert (await b[0].state())["served"] == 3


async def test_bytes_that_are_no_request_are_refused_and_the_next_connection_is_served() -> None:
    async with Backends([BackendSpec("a", service_ms=1)]) as b:
        for nonsense in (b"hello\r\n\r\n", b"GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", b"x" * 70_000):
            reader, writer = await asyncio.open_connection("127.0.0.1", b[0].port)
            writer.write(nonsense)
            assert (await reader.read()).startswith(b"HTTP/1.1 4")
            writer.close()
        assert len(await ask(b[0], times=1)) == 1


async def test_who_calls_another_does_its_own_work_first_and_passes_on_what_became_of_the_call() -> None:
    async with Backends([BackendSpec("caller", service_ms=1), BackendSpec("callee", service_ms=1)]) as b:
        await b[0].calls(b[1].port, "/callee")
        for share, answer in ((0.0, b"HTTP/1.1 200 "), (1.0, b"HTTP/1.1 502 ")):
            await b[1].turn(error_share=share)
            heads = await ask(b[0], times=3)
            assert all(h.startswith(answer) and b"x-backend: caller\r\n" in h for h in heads)
        assert (await b[0].state())["served"] == 6
        assert [(s["served"], s["failed"]) for s in [await b[1].state()]] == [(3, 3)]


async def test_who_fails_itself_calls_nobody() -> None:
    async with Backends([BackendSpec("caller", service_ms=1), BackendSpec("callee", service_ms=1)]) as b:
        await b[0].calls(b[1].port, "/callee")
        await b[0].turn(error_share=1.0)
        assert (await ask(b[0], times=1))[0].startswith(b"HTTP/1.1 500 ")
        assert (await b[1].state())["served"] == 0


async def test_a_callee_that_is_not_there_is_a_bad_gateway() -> None:
    async with Backends([BackendSpec("caller", service_ms=1), BackendSpec("callee", service_ms=1)]) as b:
        await b[0].calls(b[1].port, "/callee")
        b[1].process.kill()
        await b[1].process.wait()
        assert (await ask(b[0], times=1))[0].startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("wrong", ["callee", "127.0.0.1:0/x", "127.0.0.1:99999/x", "127.0.0.1:80", ""])
async def test_a_callee_that_cannot_be_read_is_refused_and_says_what_is_wanted(wrong: str) -> None:
    with pytest.raises(ValueError, match="ip:port/path"):
        Callee().turn(wrong)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def until(condition: Callable[[], bool], deadline_s: float = 10.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(0.02)


async def test_leaving_the_block_ends_every_backend() -> None:
    async with Backends([BackendSpec("a"), BackendSpec("b")]) as b:
        pids = [x.process.pid for x in b]
        assert not any(map(is_gone, pids))
    assert all(map(is_gone, pids))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
async def test_a_backend_dies_with_its_parent_even_when_the_parent_is_killed() -> None:
    script = (
        "import asyncio, sys\n"
        "from weirflow.demo.backends import *\n"
        "async def main():\n"
        "    async with Backends([BackendSpec('a'), BackendSpec('b')]) as b:\n"
        "        print(*(x.process.pid for x in b), flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pids = [int(p) for p in parent.stdout.readline().split()]
    assert len(pids) == 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    await until(lambda: all(map(is_gone, pids)))
