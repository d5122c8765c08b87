"""The client keeps its own time: what a server does changes no request's time of leaving, and hides no wait."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from dataplane.contract import Arm
from weirflow.demo.answers import UNKNOWN, Answers, figures, first_window
from weirflow.demo.backends import Backends, BackendSpec
from weirflow.demo.load import Load, Stream, arrivals

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Backend: b1\r\nx-weirflow-arm: adaptive\r\n\r\nok"


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@asynccontextmanager
async def a_server(answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def test_the_schedule_is_poisson_and_the_same_for_the_same_seed() -> None:
    got = list(itertools.islice(arrivals([200, 100], rng()), 30_000))
    times, streams = np.array([t for t, _ in got]), np.array([s for _, s in got])
    gaps = np.diff(times)
    assert got == list(itertools.islice(arrivals([200, 100], rng()), 30_000))
    assert gaps.mean() == pytest.approx(1 / 300, rel=0.03)
    assert gaps.std() == pytest.approx(1 / 300, rel=0.03)  # an exponential's spread is its mean
    assert (streams == 0).mean() == pytest.approx(2 / 3, abs=0.01)


@pytest.mark.parametrize("rates", [[], [0.0], [-1.0, 2.0], [float("nan")], [float("inf")]])
def test_rates_that_are_no_rates_are_refused(rates: list[float]) -> None:
    with pytest.raises(ValueError, match="rates"):
        arrivals(rates, rng())


async def test_a_stalled_server_is_felt_by_every_request_that_was_due_while_it_stalled() -> None:
    """Coordinated omission: a client that sends only after an answer would report four slow requests."""
    async with (
        Backends([BackendSpec("a", workers=50, service_ms=1)]) as b,
        Load([Stream("s", "n", b[0].port, rate_per_s=100)], rng(), connections=4) as load,
    ):
        await load.settled(load.now() + 0.3)
        await b[0].turn(hang=True)
        stalled = load.now()
        await asyncio.sleep(0.5)  # the length of the stall
        lifted = load.now()
        await b[0].turn(hang=False)
        await load.settled(lifted)
        seen = load.answers()
    during = seen.between(stalled, lifted)
    due = 100 * (lifted - stalled)
    assert len(during) == pytest.approx(due, abs=5 * due**0.5)  # all were meant to leave, with 4 connections
    assert (during.intended_s + during.latency_s >= lifted).all()  # and each felt the rest of the stall
    assert not seen.between(0, lifted).failed.any()


async def test_the_times_of_leaving_are_the_schedule_s_own_whatever_the_server_does() -> None:
    async def gaps(service_ms: float) -> list[float]:
        async with (
            Backends([BackendSpec("a", workers=1, service_ms=service_ms, sigma=0)]) as b,
            Load([Stream("s", "n", b[0].port, rate_per_s=200)], rng()) as load,
        ):
            await load.settled(load.now() + 0.3)
            seen = load.answers()
        return np.diff(np.sort(seen.intended_s))[:30].round(6).tolist()

    expected = np.diff([t for t, _ in itertools.islice(arrivals([200], rng()), 31)])
    for service_ms in (1, 8):  # at ease, and at more than it can bear
        assert await gaps(service_ms) == pytest.approx(expected.tolist(), abs=1e-5)


async def test_what_the_answers_say_of_arm_and_backend_is_written_down() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async with a_server(answer) as port, Load([Stream("s", "n", port, 200)], rng()) as load:
        await load.settled(load.now() + 0.2)
        seen = load.answers()
        assert load.backends == ["b1"]
    assert len(seen) > 5
    assert (seen.arm == Arm.ADAPTIVE).all()
    assert (seen.backend == 0).all()
    assert (seen.status == 200).all()
    assert (seen.late_s >= 0).all()


async def test_an_answer_in_pieces_is_one_answer() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        for i in range(len(OK)):
            writer.write(OK[i : i + 1])
            await writer.drain()
            await asyncio.sleep(0)

    async with a_server(answer) as port, Load([Stream("s", "n", port, 50)], rng()) as load:
        await load.settled(load.now() + 0.3)
        seen = load.answers()
    assert len(seen) > 3
    assert not seen.failed.any()


@pytest.mark.parametrize(
    "bad",
    [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"],
    ids=["nothing", "half an answer", "an answer without a length"],
)
async def test_a_connection_that_ends_under_a_request_has_failed_it_and_the_next_is_asked_anew(bad: bytes) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(bad)
        writer.close()

    async with a_server(answer) as port, Load([Stream("s", "n", port, 100)], rng()) as load:
        await load.settled(load.now() + 0.2)
        seen = load.answers()
    assert len(seen) > 5
    assert (seen.status == 0).all()
    assert seen.failed.all()


async def test_a_port_where_nobody_listens_fails_every_request_and_stops_none() -> None:
    async with a_server(lambda _: asyncio.sleep(0)) as port:
        pass
    async with Load([Stream("s", "n", port, 200)], rng(), connections=2) as load:
        await load.settled(load.now() + 0.3)
        seen = load.answers()
    assert len(seen) > 20
    assert seen.failed.all()


async def test_a_request_without_an_answer_is_given_up_and_counted_as_failed() -> None:
    async def never(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with a_server(never) as port, Load([Stream("s", "n", port, 50)], rng(), timeout_s=0.3) as load:
        await load.settled(load.now() + 0.2)
        seen = load.answers()
    assert len(seen) > 3
    assert seen.failed.all()
    assert (seen.latency_s >= 0.29).all()


async def test_connections_are_opened_ahead_and_used_in_turn() -> None:
    used: dict[int, int] = {}

    async def answer(writer: asyncio.StreamWriter) -> None:
        used[id(writer)] = used.get(id(writer), 0) + 1
        writer.write(OK)

    async with a_server(answer) as port, Load([Stream("s", "n", port, 200)], rng(), ready=4):
        async with asyncio.timeout(10):
            while len(used) < 4 or sum(used.values()) < 40:
                await asyncio.sleep(0.02)
    # Of a machine that stands still for a moment there is one more: all four were busy then.
    assert min(sorted(used.values())[-4:]) >= 5, "each has its turn"
    assert max(used.values()) < sum(used.values()) / 2  # the one used last is used again only when all others are busy


def some_answers(latencies_s: list[float], status: int = 200) -> Answers:
    n = len(latencies_s)
    zero = np.zeros(n)
    return Answers.of(
        intended_s=np.arange(n), latency_s=latencies_s, late_s=zero, status=zero + status, service=zero, node=zero,
        arm=zero + UNKNOWN, backend=zero,
    )  # fmt: skip


def test_figures_leave_failures_out_of_the_latencies_and_count_them() -> None:
    got = figures(Answers.concat([some_answers([0.01] * 99), some_answers([9.0], status=503)]))
    assert (got.requests, got.failed, got.p50_ms, got.p99_ms) == (100, 1, 10.0, 10.0)


def test_too_few_answers_have_no_quantiles() -> None:
    assert figures(some_answers([0.01] * 19)).p99_ms is None


def test_the_first_window_is_told_by_its_end_and_never_before_its_whole_width_has_passed() -> None:
    times = np.arange(0, 20, 0.01)
    hits = (times * 100).astype(int) % 2 == 0  # a half,
    hits[(times >= 10) & (times < 13)] = False  # and from 10 to 13 none
    found = first_window(times, hits, start=10, end=20, width_s=1, below=0.25)
    assert found == pytest.approx(1.0)
    back = first_window(times, hits, start=11, end=20, width_s=1, above=0.4)
    assert back == pytest.approx(2.8, abs=0.11)


def test_a_window_with_too_few_picks_or_past_the_end_does_not_count() -> None:
    times = np.arange(0, 20, 0.5)
    none = np.zeros(len(times), dtype=bool)
    assert first_window(times, none, start=0, end=20, width_s=1, below=0.5) is None
    assert first_window(times, none, start=0, end=0.5, width_s=1, below=0.5, fewest=1) is None
    assert first_window(times, none, start=0, end=20, width_s=1, below=0.5, fewest=2) == 1.0
