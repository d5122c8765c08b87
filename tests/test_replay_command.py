"""`weirflow replay`: a recording decides again what it decided, and the first difference is shown with its story."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import brain.brain
from brain.brain import Brain
from brain.commands import Freeze
from brain.settings import Settings
from dataplane.contract import Topology, Verdict
from tests.served import weirflow
from tests.test_replay import ADAPTIVE, T0, Recorded, members, record
from weirflow.recording import Call, Recorder, Start, invented
from weirflow.replay.told import Told

TICK = 41


class Lying(Recorded):
    """A recorder that writes down one weight that was never decided."""

    def tick(self, now: float) -> Any:
        decision = self.brain.tick(now)
        told = decision
        if decision.tick == TICK:
            first = decision.services[0]
            endpoints = list(first.endpoints)
            endpoints[2] = replace(endpoints[2], weight=endpoints[2].weight + 1)
            told = replace(decision, services=(replace(first, endpoints=tuple(endpoints)), *decision.services[1:]))
        self.recorder.decided(told, now)
        return decision


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay") / "r"
    record(folder)
    return folder


@pytest.fixture(scope="module")
def altered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same minute, with one weight of one decision written down otherwise."""
    folder = tmp_path_factory.mktemp("replay") / "altered"
    record(folder, Lying)
    return folder


@pytest.fixture
def other_version(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install another brain, as an upgrade does."""

    def install(factory: Callable[[Topology, Settings], Any]) -> None:
        monkeypatch.setattr(brain.brain, "Brain", factory)

    return install


def test_a_recorded_minute_replays_to_the_last_digit_and_the_speed_is_told(recorded: Path) -> None:
    said = weirflow("replay", str(recorded))
    assert "60 ticks, 1m of the mesh in " in said
    assert "times real time" in said
    assert "every decision is as recorded" in said


def test_the_newest_of_a_folder_of_recordings_is_replayed(recorded: Path) -> None:
    told = json.loads(weirflow("replay", str(recorded.parent), "-o", "json"))
    assert told["recording"] == str(recorded)
    assert (told["equal"], told["passed"], told["difference"]) == (True, True, None)
    assert told["ticks"] == 60
    assert told["covered_s"] == 60
    assert told["times_real_time"] == pytest.approx(told["covered_s"] / told["took_s"])


def test_a_weight_that_was_never_decided_is_found_with_what_the_brain_was_told_before_it(altered: Path) -> None:
    said = weirflow("replay", str(altered), code=1)
    lines = [" ".join(line.split()) for line in said.splitlines()]
    at = "2023-11-14 22:14:01.000Z, 41.000 s after the start"
    assert f"the first difference is at tick 41, {at}:" in lines
    assert "services[0].endpoints[2].weight (checkout 10.0.0.2:80)" in lines
    story = lines[lines.index("before it the brain was told") + 1 :]
    order = "SetMode (service checkout, mode adaptive, share_percent 50.0)"
    assert f"21.000 s before an operator commanded {order}" in story
    assert "16.000 s before new settings: learning.half_life_s 3.0 → 2.5" in story
    assert "11.000 s before 2 ticks were skipped" in story
    assert any("load report of edge-1: " in line for line in story)
    assert any(" attempts: checkout " in line for line in story)
    assert any("s before" in line and "more calls since the tick before" in line for line in story)


def test_what_was_told_before_the_last_tick_is_no_longer_told_but_commands_are() -> None:
    told = Told()
    attempts = invented.batch(invented.Requests, 10, np.random.default_rng(0), 2)
    for call in (
        Call(T0, "started", Start(ADAPTIVE, invented.topology())),
        Call(T0 + 0.3, "commanded", Freeze(on=True)),
        Call(T0 + 0.5, "told", attempts),
        Call(T0 + 1.0, "decided", {}),
        Call(T0 + 1.5, "heard", Verdict(0, "EDS", "7", False, detail="weight 0 is not allowed")),
    ):
        told.add(call)
    assert told.lines() == [
        (T0, "the brain started"),
        (T0 + 0.3, "an operator commanded Freeze (on True)"),
        (T0 + 1.5, "edge-1 refused EDS 7: weight 0 is not allowed"),
    ]


def test_the_difference_in_json_has_its_place_and_both_values(altered: Path) -> None:
    found = json.loads(weirflow("replay", str(altered), "-o", "json", code=1))
    first = found["difference"]
    assert (first["tick"], first["now"], first["path"]) == (TICK, T0 + TICK, "services[0].endpoints[2].weight")
    assert first["about"] == "checkout 10.0.0.2:80"
    assert first["recorded"] == first["replayed"] + 1
    assert {"now", "what"} == set(first["told"][0])
    assert found["ticks"] == TICK, "there is nothing to look for after the first difference"


def test_what_comes_after_until_is_not_compared(altered: Path) -> None:
    assert "40 ticks, 40s of the mesh" in weirflow("replay", str(altered), "--until", "40s")
    assert "40 ticks" in weirflow("replay", str(altered), "--until", "2023-11-14T22:14:00")
    assert "40 ticks" in weirflow("replay", str(altered), "--until", "2023-11-15T00:14:00+02:00")
    weirflow("replay", str(altered), "--until", "41s", code=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--until", "40"), "is neither a duration nor a time; write 5m, or"),
        (("--until", "2019-01-01"), "is before the recording begins, at 2023-11-14T22:13:20Z"),
        (("--service", "chekout"), "the recording has no such service; did you mean checkout?"),
        (("--tolerate", "0.1"), "says how to judge --against"),
        (("--against", "nowhere.jsonl"), "nowhere.jsonl: No such file or directory"),
    ],
)
def test_a_wrong_option_is_told_with_its_mend(recorded: Path, options: tuple[str, ...], words: str) -> None:
    assert words in " ".join(weirflow("replay", str(recorded), *options, code=2).split())


def test_a_service_alone_is_compared_when_only_it_is_asked_for(tmp_path: Path) -> None:
    """Two services; only search is written down otherwise."""
    topology = invented.topology()
    recorder = Recorder(tmp_path / "r", settings=ADAPTIVE, topology=topology, now=T0, on_problem=pytest.fail)
    mind = Brain(topology, ADAPTIVE)
    for second in range(1, 6):
        decision = mind.tick(T0 + second)
        checkout, search = decision.services
        recorder.decided(replace(decision, services=(checkout, replace(search, reason="a whim"))), T0 + second)
    recorder.close()
    assert "services[1].reason  (search)" in weirflow("replay", str(tmp_path / "r"), code=1)
    assert "services[1].reason  (search)" in weirflow("replay", str(tmp_path / "r"), "--service", "search", code=1)
    assert "every decision is as recorded" in weirflow("replay", str(tmp_path / "r"), "--service", "checkout")


def test_a_brain_that_raises_where_the_recorded_one_did_not_is_a_difference(
    recorded: Path, other_version: Callable[..., None]
) -> None:
    class Broken(Brain):
        def tick(self, now: float) -> Any:
            if now >= T0 + 30:
                raise ZeroDivisionError("no endpoint left")
            return super().tick(now)

    other_version(Broken)
    lines = [" ".join(line.split()) for line in weirflow("replay", str(recorded), code=1).splitlines()]
    assert "the first difference is on a call, 2023-11-14 22:13:50.000Z, 30.000 s after the start:" in lines
    (line,) = [line for line in lines if line.startswith("replayed")]
    assert "ZeroDivisionError('no endpoint left') in tests/test_replay_command.py:" in line


# What cannot be replayed.


def test_a_recording_whose_beginning_was_deleted_says_so(tmp_path: Path) -> None:
    topology = members(1, 2)
    form: dict[str, Any] = {"part_s": 5.0, "keep_bytes": 30_000, "on_problem": pytest.fail}
    recorder = Recorder(tmp_path / "r", settings=Settings(), topology=topology, now=T0, **form)
    mind, random = Brain(topology, Settings()), np.random.default_rng(0)
    for second in range(1, 30):
        recorder.told(invented.batch(invented.Requests, 500, random, 2), T0 + second - 0.5)
        recorder.decided(mind.tick(T0 + second), T0 + second)
    recorder.close()
    said = weirflow("replay", str(tmp_path / "r"), code=1)
    assert "was deleted to save space (keep_bytes); the calls cannot be told from the start" in said


def test_a_damaged_part_is_named_after_how_far_all_was_well(tmp_path: Path) -> None:
    record(tmp_path / "r")
    with open(tmp_path / "r" / "attempts-00003.parquet", "r+b") as file:
        file.seek(100)
        file.write(b"\x00\x01\x02")
    said = weirflow("replay", str(tmp_path / "r"), "--report", str(tmp_path / "report.jsonl"), code=1)
    assert "every decision as recorded; then it broke:" in said
    assert "attempts-00003.parquet (part 3): was changed after it was written: its checksum does not match" in said
    assert [p.name for p in tmp_path.iterdir()] == ["r"], "half a report is no report"


def test_a_recording_of_a_newer_format_is_not_guessed_at(tmp_path: Path) -> None:
    (tmp_path / "recording.json").write_text('{"format": 99}')
    assert "is of format 99" in weirflow("replay", str(tmp_path), code=1)


def test_what_is_no_recording_is_told(tmp_path: Path) -> None:
    assert "is no recording and holds none" in weirflow("replay", str(tmp_path), code=1)


def test_where_nothing_was_decided_there_is_nothing_to_compare(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", settings=ADAPTIVE, topology=members(1, 2), now=T0, on_problem=pytest.fail)
    recorder.told(invented.batch(invented.Requests, 10, np.random.default_rng(0), 2), T0 + 1)
    recorder.close()
    said = weirflow("replay", str(tmp_path / "r"), code=2)
    assert "there is nothing to compare: the recording holds no decision, as an imported one does" in said


def test_a_recording_that_closed_no_part_is_told(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", settings=ADAPTIVE, topology=members(1, 2), now=T0, on_problem=pytest.fail)
    assert "none of the parts of the recording was closed" in weirflow("replay", str(tmp_path / "r"), code=1)
    recorder.close()


def test_progress_is_shown_on_a_terminal_and_the_answer_stays_on_the_standard_output(recorded: Path) -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "weirflow", "replay", str(recorded), "-o", "json"]
    env = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, check=True, env=env)
    os.close(theirs)
    shown = os.read(ours, 1 << 16)
    os.close(ours)
    assert b"replaying" in shown
    assert json.loads(done.stdout)["equal"]
