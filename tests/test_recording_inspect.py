"""Before work starts on a recording: what it covers, what is missing, what it cannot answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brain.commands import Freeze
from brain.settings import Settings
from dataplane.contract import (
    Arm,
    Dropped,
    Endpoint,
    InFlight,
    Node,
    Outcome,
    Requests,
    Service,
    Topology,
    Verdict,
)
from weirflow.recording import Recorder, RecordingError, invented
from weirflow.recording.inspect import Report, inspect, render, to_dict

T0 = 1_700_000_000.0
TOPOLOGY = Topology(
    1,
    (Service(0, "checkout", tuple(Endpoint(i, f"10.0.0.{i}:80") for i in range(3))), Service(1, "quiet", ())),
    (Node(0, "edge-1"), Node(1, "edge-2")),
    ("all",),
)


def attempts(now: float, endpoints: list[int], *, node: int = 0, clock_s: float = 0.0, **columns: Any) -> Requests:
    """Attempts of 10 ms that ended 50 ms ago, by a node whose clock is that much ahead of ours."""
    n = len(endpoints)
    rows: dict[str, Any] = {name: np.zeros(n) for name in Requests.dtypes()}
    rows |= {
        "started_s": now - 0.06 + clock_s - np.arange(n) * 1e-5,
        "duration_s": np.full(n, 0.01),
        "endpoint": endpoints,
        "node": np.full(n, node),
        "arm": np.full(n, Arm.ADAPTIVE),
        "probability": np.full(n, 1 / 3),
    }
    return Requests.of(**{**rows, **columns})


def report_of(node: int) -> InFlight:
    return InFlight.report(node, 0.5, **{n: [] for n in InFlight.dtypes()})


class Tape:
    """A recorder with a clock that the test turns."""

    def __init__(self, folder: Path) -> None:
        self.now, self.ticks, self.folder = T0, 0, folder
        self.recorder = Recorder(
            folder, settings=Settings(), topology=TOPOLOGY, now=T0, part_s=10.0, on_problem=pytest.fail
        )

    def second(self, *told: Any, silent: tuple[int, ...] = (), decided: bool = True) -> None:
        """One second of life: what is given, a load report of each node, a decision."""
        self.now += 1.0
        for batch in told:
            self.recorder.told(batch, self.now)
        for node in (0, 1):
            if node not in silent:
                self.recorder.told(report_of(node), self.now)
        self.ticks += 1
        if decided:
            self.recorder.decided(invented.decision(self.now, self.ticks, TOPOLOGY), self.now)

    def report(self) -> Report:
        self.recorder.close()
        return inspect(self.folder)


@pytest.fixture
def tape(tmp_path: Path) -> Tape:
    return Tape(tmp_path / "r")


def test_a_sound_recording_has_nothing_to_complain_of(tape: Tape) -> None:
    for _ in range(30):
        tape.second(attempts(tape.now + 1, [0, 1, 2] * 2), attempts(tape.now + 1, [0, 1, 2], node=1))
    report = tape.report()
    assert report.sound
    assert (report.started, report.ended) == (T0, T0 + 30)
    assert (report.gaps, report.damaged, report.unfinished, report.hardly_tried) == ((), (), (), ())
    assert report.rows == {"attempts": 270, "felt": 0, "in_flight": 0, "decisions": 30, "events": 151}
    assert report.attempts_by["service"] == {"checkout": 270}
    assert report.attempts_by["node"] == {"edge-1": 180, "edge-2": 90}
    assert report.attempts_by["arm"] == {"adaptive": 270}
    assert report.with_probability == 1.0
    assert report.duplicates == 0
    assert (report.plans, report.without_plan) == (28, 2)


def test_outcomes_and_missing_probabilities_are_counted(tape: Tape) -> None:
    outcome = [Outcome.OK, Outcome.OK, Outcome.TIMEOUT, Outcome.REJECTED]
    tape.second(attempts(T0, [0, 1, 2, -1], outcome=outcome, probability=[0.5, np.nan, 0.0, 0.25]))
    report = tape.report()
    assert report.attempts_by["outcome"] == {"OK": 2, "TIMEOUT": 1, "REJECTED": 1}
    assert report.with_probability == 0.5


def test_a_node_that_fell_silent_is_a_gap_of_that_node(tape: Tape) -> None:
    for second in range(30):
        tape.second(silent=(1,) if 10 <= second < 20 else ())
    (gap,) = tape.report().gaps
    assert (gap.start, gap.end, gap.what) == (T0 + 10, T0 + 21, "no load report from edge-2")


def test_a_node_that_never_spoke_or_spoke_no_more_is_a_gap_to_the_end(tape: Tape) -> None:
    for second in range(12):
        tape.second(silent=(0, 1) if second > 5 else (1,))
    assert [(g.start, g.end, g.what) for g in tape.report().gaps] == [
        (T0, T0 + 12, "no load report from edge-2"),
        (T0 + 6, T0 + 12, "no load report from edge-1"),
    ]


def test_missing_decisions_are_a_gap(tape: Tape) -> None:
    for second in range(12):
        tape.second(decided=not 3 <= second < 7)
    (gap,) = tape.report().gaps
    assert (gap.start, gap.end, gap.what) == (T0 + 3, T0 + 8, "no decision")


def test_a_brain_that_never_decided_is_a_gap_and_no_import(tape: Tape) -> None:
    for _ in range(12):
        tape.second(attempts(tape.now + 1, [0, 1, 2]), decided=False)
    report = tape.report()
    assert not report.imported
    assert [(g.start, g.end, g.what) for g in report.gaps] == [(T0, T0 + 12, "no decision")]


def test_a_nodes_clock_is_told_with_its_drift(tape: Tape) -> None:
    for second in range(30):
        jumped = 0.0 if second < 15 else 2.0
        tape.second(attempts(tape.now + 1, [0]), attempts(tape.now + 1, [1], node=1, clock_s=300.0 - jumped))
    first, second_ = tape.report().clocks
    assert first.offset_s == pytest.approx(0.05, abs=1e-3)
    assert first.drift_s == pytest.approx(0.0, abs=1e-3)
    assert second_.offset_s == pytest.approx(-299.95, abs=1e-3)
    assert second_.drift_s == pytest.approx(2.0, abs=1e-3)


def test_duplicates_are_found_within_a_part_and_across_to_the_next(tape: Tape) -> None:
    batch = attempts(T0, [0, 1, 2])
    tape.second(batch, batch)
    for _ in range(9):
        tape.second()
    tape.second(batch)
    assert tape.report().duplicates == 6


def test_drops_refusals_and_commands_are_told(tape: Tape) -> None:
    tape.second(Dropped(0, {"year 2262": 2}), Dropped(0, {"year 2262": 1, "NaN": 5}))
    tape.recorder.heard(Verdict(1, "EDS", "7", accepted=False, detail="no"), tape.now)
    tape.recorder.heard(Verdict(1, "EDS", "8", accepted=True), tape.now)
    tape.recorder.commanded(Freeze(), tape.now, who="ana")
    report = tape.report()
    assert report.dropped == {"edge-1": {"year 2262": 3, "NaN": 5}}
    assert report.refused == {"edge-2": 1}
    assert report.commands == ({"now": T0 + 1, "who": "ana", "command": 'Freeze {"on":true}'},)


def test_an_endpoint_that_was_hardly_tried_is_named(tape: Tape) -> None:
    tape.second(attempts(T0, [0] * 5000 + [1] * 29 + [2] * 31))
    assert [(h.endpoint, h.attempts) for h in tape.report().hardly_tried] == [("10.0.0.1:80", 29)]


def test_damage_is_told_and_the_rest_is_counted(tape: Tape) -> None:
    for _ in range(30):
        tape.second(attempts(tape.now + 1, [0, 1, 2]))
    tape.recorder.close()
    (tape.folder / "attempts-00002.parquet").write_bytes(b"PAR1")
    (tape.folder / "events-00003.parquet").unlink()
    (tape.folder / "attempts-00009.parquet.open").write_bytes(b"PAR1")
    report = tape.report()
    assert [(d["part"], d["file"]) for d in report.damaged] == [
        (2, "attempts-00002.parquet"),
        (3, "events-00003.parquet"),
    ]
    assert report.unfinished == ("attempts-00009.parquet.open",)
    assert not report.sound
    assert [g.what for g in report.gaps if "calls" in g.what] == [
        "calls are missing: a part is damaged, lost or deleted"
    ]
    assert sum(report.attempts_by["outcome"].values()) == 90 - 30


def test_a_recorder_killed_before_its_first_part_leaves_a_report_of_nothing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", settings=Settings(), topology=TOPOLOGY, now=T0, on_problem=pytest.fail)
    report = inspect(tmp_path / "r")
    assert (report.parts, report.calls, report.ended, report.sound) == (0, 0, None, False)
    assert "nothing was closed" in render(report)
    recorder.close()


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="is missing"):
        inspect(tmp_path)


def test_the_text_says_what_the_data_say(tape: Tape) -> None:
    for second in range(12):
        outcome = [Outcome.OK, Outcome.OK, Outcome.ERROR]
        tape.second(attempts(tape.now + 1, [0, 1, 0], outcome=outcome), silent=(1,) if second > 5 else ())
    tape.recorder.commanded(Freeze(), tape.now, who="ana")
    report = tape.report()
    text = render(report)
    for said in (
        "2023-11-14 22:13:20 UTC to 2023-11-14 22:13:32 UTC, 12 s",
        "36 attempts, 0 felt",
        "100.0% of attempts have a pick probability",
        "2023-11-14 22:13:26 UTC, 6.0 s: no load report from edge-2",
        "OK     24 (66.7%)",
        "edge-1  +0.05 s, drift ",
        "ana: Freeze",
        "checkout 10.0.0.2:80: 0 attempts",
    ):
        assert said in text, said
    assert json.loads(json.dumps(to_dict(report)))["sound"] is True


def test_a_long_list_is_cut_in_the_text_and_whole_in_the_data(tape: Tape) -> None:
    for _ in range(50):
        tape.recorder.commanded(Freeze(), tape.now)
    report = tape.report()
    assert len(to_dict(report)["commands"]) == 50
    assert "  and 30 more" in render(report)
