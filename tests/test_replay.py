"""A recording told to a new brain brings the same decisions, and a difference is found where it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brain.brain import Brain
from brain.commands import Freeze, Rollback, SetMode
from brain.settings import Learning, Mode, Models, Settings
from dataplane.contract import Dropped, Endpoint, Event, Node, Requests, Service, Telemetry, Topology
from dataplane.simulated.drive import run
from dataplane.simulated.endpoint import Behaviour
from dataplane.simulated.mesh import Load, SimulatedMesh
from weirflow.recording import Call, Failure, Recorder, RecordingError, Start, invented, read
from weirflow.recording.calls import to_json
from weirflow.replay import difference, replay, steps

T0 = 1_700_000_000.0
ADAPTIVE = Settings(mode=Mode.ADAPTIVE, models=Models(quantiles=True))


def members(version: int, endpoints: int) -> Topology:
    """One service and that many endpoints, behind two nodes."""
    addresses = tuple(Endpoint(i, f"10.0.0.{i}:80", zone="ab"[i % 2]) for i in range(endpoints))
    return Topology(version, (Service(0, "checkout", addresses),), (Node(0, "edge-1"), Node(1, "edge-2", 2)), ("all",))


class Recorded:
    """A brain and a recorder that hear the same, as the live driver has it."""

    def __init__(self, brain: Brain, recorder: Recorder) -> None:
        self.brain, self.recorder = brain, recorder

    def told(self, batch: Telemetry, now: float) -> None:
        self.recorder.told(batch, now)
        self.brain.told(batch, now)

    def heard(self, event: Event, now: float) -> None:
        self.recorder.heard(event, now)
        self.brain.heard(event, now)

    def tick(self, now: float) -> Any:
        decision = self.brain.tick(now)
        self.recorder.decided(decision, now)
        return decision


def learned() -> dict[str, Any]:
    """What an earlier life of this mesh left behind."""
    brain = Brain(members(1, 3), ADAPTIVE)
    mesh = simulated(members(1, 3), seed=1)
    for _ in run(mesh, brain, T0 + 10):
        pass
    return brain.state()


def simulated(topology: Topology, seed: int) -> SimulatedMesh:
    fast, slow = Behaviour(service_s=0.01, workers=4), Behaviour(service_s=0.05, workers=4)
    behaviours = {f"10.0.0.{i}:80": slow if i == 1 else fast for i in range(9)}
    return SimulatedMesh(topology, [Load("checkout", 120.0)], behaviours, np.random.default_rng(seed), now=T0)


def record(folder: Path, of: type[Recorded] = Recorded, seconds: int = 60) -> None:
    """A virtual minute with a restored checkpoint, commands, a reload, a move and skipped ticks."""
    topology, settings = members(1, 3), ADAPTIVE
    problems: list[str] = []
    recorder = Recorder(folder, settings=settings, topology=topology, now=T0, part_s=15.0, on_problem=problems.append)
    both = of(Brain(topology, settings), recorder)
    state = learned()
    both.brain.restore(state, T0 + 0.01)
    recorder.restored(state, T0 + 0.01)
    mesh = simulated(topology, seed=2)
    for decision in run(mesh, both, T0 + seconds):
        now = mesh.now
        for at, verb, argument in happenings():
            if at == round(now - T0):
                getattr(recorder, verb)(argument, now)
                getattr(both.brain, {"commanded": "command"}.get(verb, verb))(argument, now)
                if verb == "moved":
                    mesh.moved(argument)
        assert decision.now == now
    recorder.close()
    assert not problems


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay") / "r"
    record(folder)
    return folder


def happenings() -> list[tuple[int, str, Any]]:
    return [
        (8, "commanded", Freeze(on=True)),
        (12, "commanded", Freeze(on=False)),
        (15, "moved", members(2, 4)),
        (20, "commanded", SetMode("checkout", Mode.ADAPTIVE, 50.0)),
        (25, "configured", replace(ADAPTIVE, learning=Learning(half_life_s=2.5))),
        (30, "overran", 2),
        (35, "told", Dropped(0, {"negative duration": 3})),
        (50, "commanded", Rollback()),
    ]


def test_sixty_seconds_of_a_mesh_replay_without_a_difference(recorded: Path) -> None:
    recording = read(recorded)
    assert len(recording.parts) > 3
    assert len(recording.table("decisions")) == 60
    plans = recording.table("decisions", ["plan"]).column(0).drop_null()
    assert len(plans.unique()) > 3, "the run is to be about something"
    assert replay(recording, Brain) is None


class Changed:
    """A recording of which some calls are told otherwise."""

    def __init__(self, folder: Path) -> None:
        self._calls = list(read(folder).calls())

    def calls(self) -> Iterator[Call]:
        return iter(self._calls)

    def change(self, verb: str, number: int, changed: Any) -> None:
        places = [i for i, c in enumerate(self._calls) if c.verb == verb]
        i = places[number]
        self._calls[i] = self._calls[i]._replace(argument=changed(self._calls[i].argument))


def test_one_number_that_was_recorded_otherwise_is_found_at_its_path(recorded: Path) -> None:
    def other(decision: Any) -> Any:
        decision = json.loads(json.dumps(decision))
        decision["services"][0]["endpoints"][2]["weight"] += 1
        return decision

    changed = Changed(recorded)
    changed.change("decided", 40, other)
    found = replay(changed, Brain)
    assert found is not None
    assert (found.tick, found.path) == (41, "services[0].endpoints[2].weight")
    assert found.recorded == found.replayed + 1
    assert (
        str(found) == f"tick 41: services[0].endpoints[2].weight: recorded {found.recorded}, replayed {found.replayed}"
    )


def test_one_attempt_that_took_longer_is_found(recorded: Path) -> None:
    def slower(batch: Telemetry) -> Telemetry:
        assert isinstance(batch, Requests)
        duration_s = batch.duration_s.copy()
        duration_s[0] += 0.25
        return replace(batch, duration_s=duration_s)

    calls = Changed(recorded)
    first = [c.argument for c in calls.calls() if c.verb == "told"]
    place = next(i for i, b in enumerate(first) if isinstance(b, Requests) and len(b) and b.outcome[0] == 0)
    calls.change("told", place, slower)
    assert replay(calls, Brain) is not None


def test_a_time_that_was_told_otherwise_is_found(recorded: Path) -> None:
    calls = Changed(recorded)
    calls._calls = [c._replace(now=c.now + 1e-3) if c.verb == "told" else c for c in calls._calls]
    assert replay(calls, Brain) is not None


@pytest.mark.parametrize("verb", ["restored", "moved", "commanded", "configured", "overran", "heard"])
def test_a_call_that_was_left_out_is_found(recorded: Path, verb: str) -> None:
    calls = Changed(recorded)
    calls._calls = [c for c in calls._calls if c.verb != verb]
    try:
        found = replay(calls, Brain)
    except (KeyError, IndexError):  # telemetry of an endpoint that nobody told of
        assert verb == "moved"
    else:
        assert found is not None


def test_other_settings_make_another_brain(recorded: Path) -> None:
    found = replay(read(recorded), lambda topology, settings: Brain(topology, replace(settings, share_percent=10.0)))
    assert found is not None
    assert "share_percent" in found.path


def test_a_recording_without_its_beginning_is_not_replayed(recorded: Path, tmp_path: Path) -> None:
    calls = Changed(recorded)
    calls._calls = calls._calls[1:]
    with pytest.raises(ValueError, match="begin with one `started`"):
        replay(calls, Brain)
    (recorded / "part-00002.json").rename(tmp_path / "aside")
    try:
        with pytest.raises(RecordingError, match="part 2"):
            replay(read(recorded), Brain)
    finally:
        (tmp_path / "aside").rename(recorded / "part-00002.json")


def test_a_recording_that_closed_no_part_is_not_called_the_same(tmp_path: Path) -> None:
    problems: list[str] = []
    recorder = Recorder(tmp_path / "r", settings=Settings(), topology=members(1, 2), now=T0, on_problem=problems.append)
    with pytest.raises(ValueError, match="none of its parts was closed"):
        replay(read(tmp_path / "r"), Brain)
    recorder.close()


# Failures of the brain.


class Fragile:
    """A brain that raises where it is told to."""

    def __init__(self, *raises: str) -> None:
        self._raises = set(raises)

    def heard(self, event: Any, now: float) -> None:
        if "heard" in self._raises:
            raise ZeroDivisionError

    def tick(self, now: float) -> Any:
        if "tick" in self._raises:
            raise ZeroDivisionError
        return invented.decision(now, 1, members(1, 2))


class Told:
    def __init__(self, *calls: Call) -> None:
        self._calls = calls

    def calls(self) -> Iterator[Call]:
        yield Call(0.0, "started", Start(Settings(), members(1, 2)))
        yield from self._calls


HEARD = Call(1.0, "heard", None)
DECIDED = Call(2.0, "decided", json.loads(json.dumps(invented.decision(2.0, 1, members(1, 2)).to_dict())))


def test_a_bug_that_the_recording_does_not_know_crashes_the_replay() -> None:
    for calls, raises in ((Told(HEARD), "heard"), (Told(DECIDED), "tick")):
        with pytest.raises(ZeroDivisionError):
            replay(calls, lambda *_, raises=raises: Fragile(raises))


def test_a_failure_that_was_recorded_is_expected_to_come_again() -> None:
    heard = Told(HEARD, Call(1.0, "failed", Failure("heard", "ZeroDivisionError()")), DECIDED)
    tick = Told(HEARD, Call(1.5, "failed", Failure("tick", "ZeroDivisionError()")))
    assert replay(heard, lambda *_: Fragile("heard")) is None
    assert replay(tick, lambda *_: Fragile("tick")) is None
    for calls, path in ((heard, "heard()"), (tick, "tick()")):
        found = replay(calls, lambda *_: Fragile())
        assert found is not None
        assert str(found) == f"{path}: recorded 'ZeroDivisionError()', replayed 'no error'"


def test_a_failure_of_the_driver_is_none_of_the_brain() -> None:
    assert (
        replay(Told(HEARD, Call(1.0, "failed", Failure("driver", "OSError()")), DECIDED), lambda *_: Fragile()) is None
    )
    with pytest.raises(ZeroDivisionError):
        replay(Told(HEARD, Call(1.0, "failed", Failure("driver", "OSError()"))), lambda *_: Fragile("heard"))


@pytest.mark.parametrize(
    ("recorded", "replayed", "path"),
    [
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, "a[1].b"),
        ({"a": 1}, {}, "a"),
        ({}, {"a": 1}, "a"),
        ([1], [1, 2], "[1]"),
        (1, True, ""),
        (None, float("nan"), ""),
        ({"a": []}, {"a": {}}, "a"),
        (0.1, 0.1 + 1e-17 + 2e-17, ""),
    ],
)  # fmt: skip
def test_the_first_difference_of_two_documents(recorded: Any, replayed: Any, path: str) -> None:
    found = difference(recorded, replayed)
    assert found is not None
    assert found[0] == path


@pytest.mark.parametrize("same", [1, None, float("nan"), {"a": [1, "x", {"b": float("nan")}]}])
def test_no_difference_of_a_document_to_itself(same: Any) -> None:
    assert difference(same, json.loads(json.dumps(same))) is None


def test_80_and_80_point_0_are_one_number() -> None:
    assert difference({"weight": 80}, {"weight": 80.0}) is None


def test_a_decision_is_compared_as_the_recorder_writes_it(recorded: Path) -> None:
    """The loop takes a shorter way to the JSON of a decision than `to_dict`: the same to the last character."""
    told = list(steps(read(recorded), Brain))
    decided = [s for s in told if s.decision is not None]
    assert len(decided) == 60
    assert [s.text for s in decided] == [to_json(s.decision.to_dict()) for s in decided]
