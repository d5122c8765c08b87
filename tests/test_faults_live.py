"""Faults that a mesh has to survive, on real Envoy, with the brain as a process of its own.

Each test is a story: a mesh under load, something goes wrong, and what the client saw. The numbers in the names of the
tests are those of the list of faults that the project is held to.
"""

from __future__ import annotations

import asyncio
import itertools
import resource
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brain.findings import KINDS
from dataplane.contract import Arm
from weirflow.demo.backends import Backend, Backends, BackendSpec
from weirflow.demo.load import Load, Stream
from weirflow.demo.processes import Brain, Running, running, until
from weirflow.recording import read

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(170)]

LEARN_FAST = {"mode": "adaptive", "share": 90, "learning": {"min_samples": 20, "min_time": "2s"}}
THREE_ALIKE = [BackendSpec(f"b{i}", workers=8, service_ms=10, seed=i) for i in range(3)]
SERVICE = "shop"


@dataclass
class Mesh:
    """What a test acts on and looks at."""

    folder: Path
    backends: Backends
    load: Load
    brain: Brain
    run: Running

    def share(self, backend: Backend | None, since_s: float, arm: Arm = Arm.ADAPTIVE) -> float:
        """The backend's share of the arm's answers of the last seconds; of all answers, the arm's, without one."""
        end = self.load.horizon()
        recent = self.load.answers().between(end - since_s, end)
        recent = recent.take(recent.arm >= 0)
        if backend is None:
            return float((recent.arm == arm).mean()) if len(recent) else float("nan")
        mine = recent.where(arm=arm)
        if not len(mine) or backend.name not in self.load.backends:
            return 0.0
        return float((mine.backend == self.load.backends.index(backend.name)).mean())

    async def adaptive(self, at_least: float = 0.7) -> None:
        """Wait until most of the newest second of traffic is on the adaptive arm."""
        await until(lambda: self.share(None, 1.0) > at_least, 30, "most of the traffic is on the adaptive arm")

    async def static(self) -> None:
        """Wait until all of the newest second of traffic is on the static arm."""
        await until(lambda: self.share(None, 1.0) == 0.0, 30, "all of the traffic is on the static arm")

    def failed(self) -> int:
        """Requests that failed so far, as the client saw it."""
        return int(self.load.answers().failed.sum())

    async def state(self) -> str:
        """The service's state by the last decision."""
        return str((await self.brain.service(SERVICE))["state"])

    async def weights(self) -> list[int]:
        """Its weights in force by the last decision."""
        return [e["weight"] for e in (await self.brain.service(SERVICE))["endpoints"]]


@asynccontextmanager
async def mesh(
    folder: Path,
    *,
    backends: Sequence[BackendSpec] = THREE_ALIKE,
    rate_per_s: float = 120.0,
    adaptive: Mapping[str, Any] = LEARN_FAST,
    zones: Sequence[str] = (),
    **more: Any,
) -> AsyncIterator[Mesh]:
    """Backends, in zones if any are given, one Envoy, the brain, and a client that asks all the time."""
    async with Backends(backends) as started:
        services: dict[str, list[Any]] = {SERVICE: [b.address for b in started]}
        if zones:
            services = {SERVICE: [{"address": b.address, "zone": z} for b, z in zip(started, zones, strict=True)]}
        async with running(folder, services, {"edge": 1}, ttl_s=3.0, adaptive=adaptive, **more) as run:
            stream = Stream(SERVICE, "edge", run.ports["edge"], rate_per_s, path=f"/{SERVICE}")
            async with Load([stream], np.random.default_rng(7)) as load:
                yield Mesh(folder, started, load, run.brain, run)


def odd_brain(*arguments: str) -> list[str]:
    """A brain with a fault or a clock of its own, as a program to run instead of `weirflow run`."""
    return [sys.executable, str(Path(__file__).with_name("odd_brain.py")), *arguments]


def steps(folder: Path, runs: slice = slice(None)) -> list[tuple[int, ...]]:
    """The weights of every decision in the recordings of the runs, in order, each change once."""
    out: list[tuple[int, ...]] = []
    for run in sorted((folder / "recording").iterdir())[runs]:
        for _, verb, decision in read(run).calls():
            if verb != "decided":
                continue
            weights = tuple(e["weight"] for e in decision["services"][0]["endpoints"])
            if not out or out[-1] != weights:
                out.append(weights)
    return out


async def test_1_a_brain_killed_under_load_fails_no_request_and_the_static_rules_take_over(tmp_path: Path) -> None:
    async with mesh(tmp_path) as m:
        await m.adaptive()
        m.brain.signal(signal.SIGKILL)
        await m.static()
        await m.brain.start()
        await m.adaptive()
        await m.load.settled(m.load.now())
        assert m.failed() == 0


async def test_1_and_6_a_brain_that_comes_back_enters_from_the_operators_weights_in_bounded_steps(
    tmp_path: Path,
) -> None:
    unlike = [BackendSpec(f"b{i}", workers=8, service_ms=40 if i else 5, seed=i) for i in range(4)]
    async with mesh(tmp_path, backends=unlike, recording="recording") as m:
        await m.adaptive()
        await until(lambda: _told_apart(m), 40, "the weights tell fast from slow")
        m.brain.signal(signal.SIGKILL)
        await m.static()
        await m.brain.start()
        await m.adaptive()
        await until(lambda: _told_apart(m), 40, "the weights tell fast from slow again")
        await m.brain.stop()
    second = steps(tmp_path, slice(1, None))
    assert second[0] == (100, 100, 100, 100)
    for before, after in itertools.pairwise(second):
        for old, new in zip(before, after, strict=True):
            assert new <= max(1.5 * old, old + 1)
    assert len(second) > 2


async def _told_apart(m: Mesh) -> bool:
    """Two steps up, at least."""
    return (await m.weights())[0] >= 180


async def test_an_overload_while_the_brain_is_dead_is_held_by_the_operators_breakers(tmp_path: Path) -> None:
    small = [BackendSpec(f"b{i}", workers=2, service_ms=20, seed=i) for i in range(3)]  # 300 requests a second in all
    breakers = {"circuit_breakers": {"max_requests": 24, "max_pending_requests": 24}}
    async with mesh(tmp_path, backends=small, rate_per_s=450.0, rules=breakers) as m:
        await m.adaptive()
        edge = m.run.envoys["edge"]

        async def learned() -> bool:
            return any("~adaptive" in key for key in await edge.runtime())

        await until(learned, 30, "a learned limit is leased")
        m.brain.signal(signal.SIGKILL)
        await m.static()
        assert not await learned()
        since = m.load.now()
        opened = []
        while m.load.now() < since + 3.0:
            state = [await b.state() for b in m.backends]
            opened.append(sum(s["busy"] + s["queued"] for s in state))
        assert 12 <= max(opened) <= 26, "an answer is on its way before the backend has counted it"
        answers = m.load.answers().between(since, m.load.horizon())
        assert set(answers.status[answers.failed].tolist()) == {503}
        assert answers.failed.mean() == pytest.approx(1 / 3, abs=0.15)


async def test_2_a_hung_brain_loses_its_lease_and_what_it_hears_late_is_not_taken_as_fresh(tmp_path: Path) -> None:
    async with mesh(tmp_path) as m:
        await m.adaptive()
        m.brain.signal(signal.SIGSTOP)
        hung_at = m.load.now()
        await m.static()
        await m.load.settled(hung_at + 60.0)
        assert m.share(None, 50.0) == 0.0
        m.brain.signal(signal.SIGCONT)
        await m.adaptive()
        status = (await m.brain.status())["process"]
        assert status["wires"]["nodes"]["edge"]["dropped"].get("stale", 0) > 0
        assert status["driver"]["ticks_skipped"] >= 50
        await m.load.settled(m.load.now())
        assert m.failed() == 0


async def test_3_a_slow_brain_skips_ticks_and_the_data_plane_does_not_notice(tmp_path: Path) -> None:
    """Its tick takes ten periods, here of a tenth of a second."""
    quick = {**LEARN_FAST, "tick": "100ms"}
    async with mesh(tmp_path, adaptive=quick, program=odd_brain("--tick-takes", "1.0")) as m:
        await until(lambda: len(m.load.answers()) > 1000, 30, "a thousand answers")
        status = (await m.brain.status())["process"]
        ticks, skipped = status["driver"]["ticks"], status["driver"]["ticks_skipped"]
        assert skipped >= 5 * ticks
        await m.load.settled(m.load.now())
        assert m.failed() == 0
        assert float(np.quantile(m.load.answers().latency_s, 0.99)) < 0.5  # a stall of the brain would be a second


async def test_4_a_brain_without_a_past_publishes_the_operators_weights_and_says_that_it_learns(tmp_path: Path) -> None:
    patient = {"mode": "adaptive", "learning": {"min_samples": 100_000, "min_time": "2s"}}
    async with mesh(tmp_path, adaptive=patient, recording="recording") as m:
        await until(lambda: len(m.load.answers()) > 500, 30, "five hundred answers")
        assert await m.state() == "learning"
        assert m.share(None, 60.0) == 0.0
        await m.brain.stop()
    assert steps(tmp_path) == [(100, 100, 100)]


def alerts(folder: Path, kind: str) -> list[tuple[bool, dict[str, str]]]:
    """The alerts of this kind in the recordings, in order: opened or closed, and of what."""
    return [
        (alert["opened"], alert["labels"])
        for run in sorted((folder / "recording").iterdir())
        for _, verb, decision in read(run).calls()
        if verb == "decided"
        for alert in decision["alerts"]
        if alert["kind"] == kind
    ]


async def test_9_when_all_endpoints_turn_bad_alike_nothing_is_reshuffled_and_one_alert_tells_of_the_service(
    tmp_path: Path,
) -> None:
    async with mesh(tmp_path, recording="recording") as m:
        await m.adaptive()
        for backend in m.backends:
            await backend.slow(8)
        slow_at = m.load.now()
        await m.load.settled(slow_at + 8.0)
        assert all(m.share(backend, 5.0) > 0.2 for backend in m.backends)
        for backend in m.backends:
            await backend.turn(slow=1, error_share=1.0)
        await until(lambda: _says(m, "fail more than"), 20, "the service's reason says that its endpoints fail")
        held = await m.weights()
        await m.load.settled(m.load.now() + 6.0)
        assert await m.weights() == held
        for backend in m.backends:
            await backend.turn(error_share=0.0)
        await until(lambda: _says(m, "is leased"), 30, "the trouble is over")
        await m.brain.stop()
    assert all(50 <= w <= 150 for weights in steps(tmp_path) for w in weights), "nobody is singled out"
    told = {kind: alerts(tmp_path, kind) for kind in KINDS}
    opened = [(kind, labels) for kind, some in told.items() for opens, labels in some if opens]
    assert len(opened) == 1, opened  # slow first and failing then: one trouble
    assert opened[0] in (("ServiceSlow", {"service": SERVICE}), ("ServiceFailing", {"service": SERVICE}))


async def _says(m: Mesh, words: str) -> bool:
    return words in (await m.brain.service(SERVICE))["reason"]


async def test_10_when_a_zone_turns_bad_its_traffic_goes_to_the_others_evenly_and_none_of_them_falls(
    tmp_path: Path,
) -> None:
    six = [BackendSpec(f"b{i}", workers=4, service_ms=20, seed=i) for i in range(6)]
    zones = ["east", "east", "west", "west", "north", "north"]
    async with mesh(tmp_path, backends=six, zones=zones, rate_per_s=300.0, recording="recording") as m:
        await m.adaptive()
        east, others = [m.backends[i] for i in (0, 1)], [m.backends[i] for i in range(2, 6)]
        for backend in east:
            await backend.slow(10)
        await until(lambda: sum(m.share(b, 3.0) for b in east) < 0.1, 30, "the zone has less than a tenth")
        await m.load.settled(m.load.now() + 8.0)
        assert all(0.18 < m.share(b, 6.0) < 0.32 for b in others), [m.share(b, 6.0) for b in others]
        for backend in east:
            await backend.slow(1)
        await until(lambda: min(m.share(b, 4.0) for b in east) > 0.12, 60, "the zone has its share again")
        await m.load.settled(m.load.now())
        assert m.failed() == 0
        await m.brain.stop()
    assert alerts(tmp_path, "ServiceInTrouble") == []


async def test_11_a_gray_endpoint_is_cut_within_seconds_and_has_its_share_again_30_seconds_after_it_healed(
    tmp_path: Path,
) -> None:
    async with mesh(tmp_path) as m:
        await m.adaptive()
        await m.backends[0].slow(10)
        await until(lambda: m.share(m.backends[0], 1.5) < 0.1, 10, "the gray endpoint has less than a tenth")
        start = m.load.now()
        await m.load.settled(start + 6.0)
        answers = m.load.answers().between(start, start + 6.0).where(arm=Arm.ADAPTIVE)
        assert float(np.quantile(answers.latency_s, 0.95)) < 0.06, "as without the fault: it takes 100 ms and more"
        await m.backends[0].slow(1)
        await until(lambda: m.share(m.backends[0], 4.0) > 0.27, 30, "the endpoint has its third again")
        await m.load.settled(m.load.now())
        assert m.failed() == 0


async def test_12_an_endpoint_that_fails_fast_gets_less_and_never_more(tmp_path: Path) -> None:
    async with mesh(tmp_path) as m:
        await m.adaptive()
        await m.backends[0].turn(error_share=1.0)
        await until(lambda: m.share(m.backends[0], 3.0) < 0.1, 30, "the failing endpoint has less than a tenth")
        start = m.load.now()
        await m.load.settled(start + 8.0)
        assert m.share(m.backends[0], 8.0) < 0.1


async def test_13_an_endpoint_has_its_full_share_again_within_a_minute_of_a_blip(tmp_path: Path) -> None:
    async with mesh(tmp_path) as m:
        await m.adaptive()
        await m.backends[0].slow(20)
        await asyncio.sleep(2.0)  # the blip itself
        await m.backends[0].slow(1)
        await until(lambda: m.share(m.backends[0], 4.0) > 0.27, 60, "the endpoint has its third again")
        await m.load.settled(m.load.now())
        assert m.failed() == 0


async def test_14_at_two_requests_a_second_every_endpoint_keeps_its_floor_for_ten_minutes(tmp_path: Path) -> None:
    """The brain's clock runs twenty times as fast, and so does the load: 40 requests a second are its two."""
    four = [BackendSpec(f"b{i}", workers=4, service_ms=[5, 5, 20, 40][i], seed=i) for i in range(4)]
    rate = 20.0
    slowly = {
        **LEARN_FAST["learning"],
        "half_life": "20s",
        "stale_after": "60s",
    }  # reports come every ten of its seconds
    adaptive = {**LEARN_FAST, "learning": slowly}
    program = odd_brain("--clock-rate", str(rate))
    async with mesh(tmp_path, backends=four, rate_per_s=2 * rate, adaptive=adaptive, program=program) as m:
        await m.adaptive()
        start = m.load.now()
        await m.load.settled(start + 600 / rate)
        for backend in m.backends:
            assert m.share(backend, 600 / rate) >= 0.05 / 4


async def test_28_a_full_disk_stops_the_recording_and_nothing_else(tmp_path: Path) -> None:
    async with mesh(tmp_path, recording="recording", part_s=2.0) as m:
        await m.adaptive()
        resource.prlimit(m.brain.pid, resource.RLIMIT_FSIZE, (1024, 1024))  # no file may grow beyond this: nor its log
        await until(lambda: _recording_stopped(m), 30, "the recording has stopped")
        start = m.load.now()
        await m.load.settled(start + 5.0)
        assert m.share(None, 4.0) > 0.7
        assert m.failed() == 0


async def _recording_stopped(m: Mesh) -> bool:
    recording = (await m.brain.status())["process"]["recording"]
    return recording["state"] == "stopped" and "stopped" in recording["problem"]


async def test_29_a_reload_with_a_mistake_keeps_the_old_configuration_whole(tmp_path: Path) -> None:
    async with mesh(tmp_path) as m:
        await m.adaptive()
        good = m.brain.mesh_file.read_text()
        m.brain.mesh_file.write_text(good.replace("endpoints:", "endpoint:"))
        m.brain.signal(signal.SIGHUP)
        error = await until(lambda: _reload_error(m), 10, "the reload is refused")
        assert "endpoint" in error
        assert "did you mean 'endpoints'" in error
        assert f"{m.brain.mesh_file.name}:" in error
        await m.adaptive()

        m.brain.mesh_file.write_text(good[: len(good) // 2])  # half a file, as an editor may leave for a moment
        m.brain.signal(signal.SIGHUP)
        await until(lambda: _reload_error(m, not_this=error), 10, "the half file is refused")

        m.brain.mesh_file.write_text(good.replace("mode: adaptive", "mode: static"))
        m.brain.signal(signal.SIGHUP)
        await m.static()
        assert (await m.brain.status())["process"]["config"]["reload_error"] is None
        await m.load.settled(m.load.now())
        assert m.failed() == 0


async def _reload_error(m: Mesh, not_this: str = "") -> str:
    error = (await m.brain.status())["process"]["config"]["reload_error"]
    return error if error and error != not_this else ""
