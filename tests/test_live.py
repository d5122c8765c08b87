"""The driver: what reaches the brain, in which order, and what happens when the brain fails or is late."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brain.brain import Brain
from brain.commands import Freeze, SetMode
from brain.settings import Mode, Settings
from dataplane.contract import Endpoint, InFlight, Node, Plan, Presence, Service, Topology
from weirflow import checkpoint
from weirflow.clock import Clock
from weirflow.live import Driver

TOPOLOGY = Topology(
    1,
    services=(Service(0, "shop", (Endpoint(0, "10.0.0.1:80"), Endpoint(1, "10.0.0.2:80"))),),
    nodes=(Node(0, "front-1"),),
)


class Stepping(Clock):
    """A clock that moves only when somebody waits, and as far as they wait."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 1000.0

    def now(self) -> float:
        return self.at

    def real(self, virtual_s: float) -> float:
        self.at += virtual_s
        return 0.0


class Witness:
    """Stands where the recorder and the wires stand and writes down who was told what."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.plans: list[Plan] = []

    def __getattr__(self, verb: str) -> Any:
        def noted(*arguments: Any) -> None:
            self.log.append(f"{verb} {type(arguments[0]).__name__}")

        return noted

    def publish(self, plan: Plan) -> None:
        self.log.append("publish")
        self.plans.append(plan)


def driver(**more: Any) -> tuple[Driver, Witness, Stepping]:
    clock, witness = Stepping(), Witness()
    made = Driver(Brain(TOPOLOGY, Settings()), clock, tick_s=1.0, recorder=witness, **more)  # type: ignore[arg-type]
    made.dataplane = witness  # type: ignore[assignment]
    return made, witness, clock


def report() -> InFlight:
    nothing = {name: np.empty(0) for name in InFlight.dtypes()}
    return InFlight.report(0, 0.5, **nothing)


async def ticks(made: Driver, clock: Stepping, until_s: float) -> None:
    """Run the driver until its clock has come that far."""
    loop = asyncio.create_task(made.run())
    while clock.at < until_s:
        await asyncio.sleep(0)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)


async def test_a_tick_is_recorded_before_it_is_published() -> None:
    made, witness, _ = driver()
    made.tick()
    assert witness.log == ["decided Decision", "publish"]


async def test_alerts_are_told_even_when_the_disk_and_the_wires_refuse() -> None:
    made, witness, _ = driver()
    told: list[int] = []
    made.on_decision = lambda decision: told.append(decision.tick)

    def refuses(*_: Any) -> None:
        raise OSError("no disk")

    witness.decided = refuses  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="no disk"):
        made.tick()
    assert told == [1]


async def test_what_is_told_is_recorded_before_the_brain_hears_it() -> None:
    made, witness, _ = driver()
    heard: list[str] = []
    made.brain.told = lambda *_: heard.append(list(witness.log)[-1])  # type: ignore[method-assign]
    made.on_telemetry(report())
    assert heard == ["told InFlight"]


async def test_a_tick_that_fails_publishes_nothing_so_the_lease_ends_and_the_next_one_is_tried() -> None:
    made, witness, clock = driver()
    good, calls = made.brain.tick, []

    def fails_once(now: float) -> Any:
        calls.append(now)
        if len(calls) == 1:
            raise ZeroDivisionError("a bug")
        return good(now)

    made.brain.tick = fails_once  # type: ignore[method-assign]
    await ticks(made, clock, 1003.5)
    assert witness.log[0] == "failed str"
    assert len(witness.plans) == len(calls) - 1 >= 1
    assert made.counters.tick_errors == 1
    assert "a bug" in made.counters.problems[0]


async def test_a_batch_that_the_brain_cannot_digest_costs_that_batch_and_nothing_else() -> None:
    made, witness, _ = driver()

    def chokes(*_: Any) -> None:
        raise ValueError("indigestible")

    made.brain.told = chokes  # type: ignore[method-assign]
    made.on_telemetry(report())
    made.on_event(Presence(0, True))
    assert made.tick() is not None
    assert made.counters.told_errors == 1
    assert witness.log == ["told InFlight", "failed str", "heard Presence", "decided Decision", "publish"]


async def test_ticks_that_were_missed_are_skipped_and_never_made_up_for() -> None:
    made, witness, clock = driver()
    good, at = made.brain.tick, []

    def slow_once(now: float) -> Any:
        at.append(now)
        if len(at) == 2:
            clock.at += 10.3  # this tick takes ten periods
        return good(now)

    made.brain.tick = slow_once  # type: ignore[method-assign]
    await ticks(made, clock, 1016.5)
    assert at[:4] == [1001.0, 1002.0, 1012.3, 1013.0]
    assert made.counters.ticks_skipped == 9
    assert witness.log.count("overran int") == 1


async def test_wires_that_fail_do_not_stop_the_ticks() -> None:
    made, witness, clock = driver()
    tried: list[float] = []

    def refuses(plan: Plan) -> None:
        tried.append(clock.at)
        raise OSError("no wire")

    witness.publish = refuses  # type: ignore[method-assign]
    await ticks(made, clock, 1004.5)
    assert len(tried) >= 3


async def test_a_command_that_is_refused_is_not_recorded() -> None:
    made, witness, _ = driver()
    with pytest.raises(KeyError, match="shop"):
        made.command(SetMode("shopp", Mode.ADAPTIVE), "somebody")
    made.command(Freeze(True), "somebody")
    assert witness.log == ["commanded Freeze"]


async def test_27_a_corrupt_checkpoint_is_set_aside_and_the_brain_starts_cold(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    made, _, _ = driver(checkpoint_path=file)
    made.tick()
    made.save()
    whole = file.read_bytes()
    file.write_bytes(whole[:-7])
    made, witness, _ = driver(checkpoint_path=file)
    said = made.restore()
    assert "operator's weights" in said
    assert str(file) in said
    assert made.counters.problems
    assert not file.exists()
    assert any(p.name.startswith("checkpoint.corrupt") for p in tmp_path.iterdir())
    assert "restored dict" not in witness.log
    assert made.tick() is not None


async def test_a_good_checkpoint_is_taken_up_and_told_to_the_recording(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    made, _, _ = driver(checkpoint_path=file)
    made.tick()
    made.save()
    made, witness, _ = driver(checkpoint_path=file)
    assert made.restore() == f"restored from {file}"
    assert witness.log == ["restored dict"]


async def test_a_checkpoint_of_something_else_is_refused_and_the_brain_is_as_before(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    checkpoint.save(file, {"kind": "a cake", "version": 1})
    made, witness, _ = driver(checkpoint_path=file)
    assert "starting from the operator's weights" in made.restore()
    assert witness.log == []


async def test_a_disk_that_refuses_the_checkpoint_costs_the_checkpoint_and_nothing_else(tmp_path: Path) -> None:
    made, _, clock = driver(checkpoint_path=tmp_path / "not" / "there" / "checkpoint", checkpoint_every_s=1.0)
    (tmp_path / "not").write_text("a file where a folder should be")
    await ticks(made, clock, 1004.5)
    assert made.counters.ticks >= 3
    assert any("checkpoint not written" in p for p in made.counters.problems)


async def test_it_tells_when_a_checkpoint_was_written_and_why_the_last_one_was_not(tmp_path: Path) -> None:
    folder = tmp_path / "not"
    folder.write_text("a file where a folder should be")
    made, _, clock = driver(checkpoint_path=folder / "checkpoint", checkpoint_every_s=1.0)
    await ticks(made, clock, 1003.5)
    assert made.counters.checkpointed_at is None
    assert made.counters.checkpoint_problem.startswith("checkpoint not written: ")
    folder.unlink()
    folder.mkdir()
    mended_at = clock.at
    await ticks(made, clock, mended_at + 3.5)
    assert made.counters.checkpoint_problem == ""
    assert made.counters.checkpointed_at is not None
    assert made.counters.checkpointed_at > mended_at


async def test_a_state_too_large_for_a_checkpoint_costs_the_checkpoint_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "MAX_BYTES", 100)
    made, _, clock = driver(checkpoint_path=tmp_path / "checkpoint", checkpoint_every_s=1.0)
    await ticks(made, clock, 1004.5)
    assert made.counters.ticks >= 3
    assert any("more than the 100" in p for p in made.counters.problems)
