"""The upgrade gate: the old version writes a report over a recording, the new one is held against it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

import brain.brain
from brain.brain import Brain
from brain.champion import Roster
from brain.settings import Guard, Settings
from dataplane.contract import Topology
from tests.served import weirflow
from tests.test_replay import ADAPTIVE, DECIDED, T0, Fragile, Told, members, record
from weirflow.recording import Call, Failure, Recorder, read
from weirflow.replay.compare import Comparison, largest_change, total_variation
from weirflow.replay.report import Head, ReportError, Writer, read_report
from weirflow.replay.row import Incident, Row
from weirflow.replay.run import Run

SECONDS = 30
NUMBERS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10_000), max_size=6)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gate") / "r"
    record(folder, seconds=SECONDS)
    return folder


@pytest.fixture(scope="module")
def report(recorded: Path) -> Path:
    """What this version decides over the recording."""
    path = recorded.parent / "old.jsonl"
    assert f"this version's decisions are in {path}" in weirflow("replay", str(recorded), "--report", str(path))
    return path


@pytest.fixture
def upgraded(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install another version: one that takes these settings for what the recording says."""

    def install(**changes: Any) -> None:
        def make(topology: Topology, recorded: Settings, own: Roster | None = None) -> Brain:
            return Brain(topology, replace(recorded, **changes), own)

        monkeypatch.setattr(brain.brain, "Brain", make)

    return install


def test_a_version_held_against_its_own_report_is_the_same(recorded: Path, report: Path) -> None:
    said = weirflow("replay", str(recorded), "--against", str(report))
    assert "0 ticks differ in anything, 0 in what proxies are told" in said
    assert said.endswith("the same\n")
    assert "within what is tolerated (0)" in weirflow(
        "replay", str(recorded), "--against", str(report), "--tolerate", "0"
    )


def test_a_report_in_parquet_holds_the_same_as_one_in_json_lines(recorded: Path, report: Path, tmp_path: Path) -> None:
    weirflow("replay", str(recorded), "--report", str(tmp_path / "old.parquet"))
    assert list(read_report(tmp_path / "old.parquet").rows()) == list(read_report(report).rows())
    assert read_report(tmp_path / "old.parquet").head == read_report(report).head
    weirflow("replay", str(recorded), "--against", str(tmp_path / "old.parquet"))
    table = pq.read_table(tmp_path / "old.parquet")
    assert table.column("service").to_pylist()[:2] == [None, "checkout"]
    assert dict(table.column("weights").to_pylist()[-1]).keys() == {f"10.0.0.{i}:80" for i in range(4)}


def test_a_version_that_cuts_less_deep_is_told_with_weights_pushes_and_the_first_difference(
    recorded: Path, report: Path, upgraded: Callable[..., None]
) -> None:
    upgraded(guard=Guard(floor_share_of_mean=0.2, step_down=0.5))
    said = weirflow("replay", str(recorded), "--against", str(report), code=1)
    assert "the first difference is at tick " in said, "nor does it decide what was recorded"
    assert "first at tick " in said
    assert ": checkout: weights of 10.0.0." in said
    assert "not the same; --tolerate allows for small changes" in said
    found = json.loads(weirflow("replay", str(recorded), "--against", str(report), "-o", "json", code=1))["against"]
    service = found["services"]["checkout"]
    assert service["ticks"] == found["ticks"] == SECONDS
    assert 0 < found["differ_in_force"] <= found["differ"] <= SECONDS
    assert 0 < service["weights"]["mean"] < service["weights"]["largest"] < 1
    assert T0 < service["weights"]["at"] <= T0 + SECONDS
    assert found["first_in_force"]["what"].startswith("weights of 10.0.0.")
    assert service["pushes"]["report"] > 0
    assert service["pushes"]["here"] != service["pushes"]["report"]


def test_what_is_tolerated_decides_the_exit_status(recorded: Path, report: Path, upgraded: Callable[..., None]) -> None:
    upgraded(guard=Guard(floor_share_of_mean=0.012))
    told = json.loads(weirflow("replay", str(recorded), "--against", str(report), "-o", "json", code=1))
    largest = told["against"]["services"]["checkout"]["weights"]["largest"]
    assert 0 < largest < 0.1
    said = weirflow("replay", str(recorded), "--against", str(report), "--tolerate", str(largest / 2), code=1)
    assert f"checkout: weights by {largest:.3f}" in said
    weirflow("replay", str(recorded), "--against", str(report), "--tolerate", str(largest * 1.01))


def test_another_share_on_learned_weights_is_told_over_time(
    recorded: Path, report: Path, upgraded: Callable[..., None]
) -> None:
    upgraded(share_percent=80.0)
    said = weirflow("replay", str(recorded), "--against", str(report), "--tolerate", "0.05", code=1)
    assert "share of checkout on learned weights, mean, in the report → here" in said
    assert re.search(r"  \d+s to \d+s: 95.0% → 80.0%", said)
    assert "checkout: share by 0." in said
    weirflow("replay", str(recorded), "--against", str(report), "--tolerate", "0.5")


def test_a_version_that_raises_is_held_against_one_that_does_not(
    recorded: Path, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Brain):
        def tick(self, now: float) -> Any:
            decision = super().tick(now)
            if now == T0 + 20:
                raise ZeroDivisionError("no endpoint left")
            return decision

    monkeypatch.setattr(brain.brain, "Brain", Broken)
    said = weirflow("replay", str(recorded), "--against", str(report), "--tolerate", "0.9", code=1)
    assert "tick 20: tick: ZeroDivisionError('no endpoint left')" in said
    assert "at 1 ticks one version raised and the other did not" in said
    assert "1 ticks differ in anything" in said, "it goes on as it does live"


def test_what_a_call_raised_is_told_with_the_tick_after_it(
    recorded: Path, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deaf(Brain):
        def command(self, command: Any, now: float) -> None:
            raise ZeroDivisionError

    monkeypatch.setattr(brain.brain, "Brain", Deaf)
    found = json.loads(weirflow("replay", str(recorded), "--against", str(report), "-o", "json", code=1))
    raised = found["against"]["errors"]["here"]
    assert raised == [f"tick {tick}: commanded: ZeroDivisionError()" for tick in (9, 13, 21)]
    assert found["against"]["errors"]["ticks_unlike"] == 3


def test_a_tick_that_failed_when_it_was_recorded_leaves_a_row_without_a_lease(tmp_path: Path) -> None:
    failed = Told(Call(1.0, "failed", Failure("tick", "ZeroDivisionError()")), DECIDED)
    with Writer(tmp_path / "r.jsonl", Head("0.1.0", "ab", 1, T0, T0, {})) as writer:
        Run(failed, lambda *_: Fragile("tick"), writer=writer).go(lambda _: None)
    first, second = read_report(tmp_path / "r.jsonl").rows()
    assert (first.tick, first.leased, first.error) == (1, False, "tick: ZeroDivisionError()")
    assert (second.tick, second.error) == (2, "tick: ZeroDivisionError()")


def test_a_report_of_another_recording_is_refused_with_both_identities(
    recorded: Path, report: Path, tmp_path: Path
) -> None:
    recorder = Recorder(tmp_path / "r", settings=ADAPTIVE, topology=members(1, 2), now=T0, on_problem=pytest.fail)
    recorder.decided(Brain(members(1, 2), ADAPTIVE).tick(T0 + 1), T0 + 1)
    recorder.close()
    said = weirflow("replay", str(tmp_path / "r"), "--against", str(report), code=2)
    ours = json.loads(weirflow("replay", str(tmp_path / "r"), "-o", "json"))["identity"]
    assert ours in said
    assert read_report(report).head.recording in said
    assert ours != read_report(report).head.recording


def test_a_recording_that_has_grown_is_the_one_that_the_report_is_of(recorded: Path, tmp_path: Path) -> None:
    young = tmp_path / "r"
    shutil.copytree(recorded, young)
    last = f"{len(read(young).parts):05d}"
    for file in young.glob(f"*-{last}.*"):
        file.unlink()
    weirflow("replay", str(young), "--report", str(tmp_path / "old.jsonl"))
    told = json.loads(weirflow("replay", str(recorded), "--against", str(tmp_path / "old.jsonl"), "-o", "json"))
    assert 10 < told["against"]["ticks"] < SECONDS
    weirflow("replay", str(young), "--against", str(recorded.parent / "old.jsonl"), code=2)


def test_a_report_until_some_moment_is_compared_until_then(recorded: Path, report: Path, tmp_path: Path) -> None:
    weirflow("replay", str(recorded), "--until", "20s", "--report", str(tmp_path / "old.jsonl"))
    for against, until in ((tmp_path / "old.jsonl", "1h"), (report, "20s")):
        said = weirflow("replay", str(recorded), "--against", str(against), "--until", until, "-o", "json")
        assert json.loads(said)["against"]["ticks"] == 20


def lines_of(report: Path) -> list[str]:
    return report.read_text().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("mend", "words"),
    [
        (lambda lines: lines[:-1], "is cut short after 60 rows; write it again"),
        (lambda lines: [*lines[:4], lines[4][:50] + "\n", *lines[5:]], "changed.jsonl:5: "),
        (
            lambda lines: [*lines[:3], *lines[5:]],
            "tick 2 at 1700000002.0 was due, and the mesh at tick 3 at 1700000003.0",
        ),
        (lambda lines: [*lines[:3], *lines[4:]], "tick 2 at 1700000002.0 was due, and checkout at tick 2"),
        (lambda lines: [lines[0], lines[-1]], "the end tells of other rows than there are"),
        (lambda lines: [lines[0].replace('"format": 1', '"format": 9')], "is of format 9; this Weirflow reads"),
        (lambda _: ["timestamp,value\n"], "is no report of a replay"),
        (lambda _: [], "is no report of a replay"),
    ],
)
def test_a_report_that_is_not_whole_is_told_with_its_line(
    recorded: Path, report: Path, tmp_path: Path, mend: Callable[[list[str]], list[str]], words: str
) -> None:
    changed = tmp_path / "changed.jsonl"
    changed.write_text("".join(mend(lines_of(report))))
    assert words in weirflow("replay", str(recorded), "--against", str(changed), code=2)


def test_a_pipe_is_no_report(recorded: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert "is not a regular file" in weirflow(
        "replay", str(recorded), "--against", str(tmp_path / "pipe.jsonl"), code=2
    )


def test_where_a_report_cannot_be_written_the_file_and_the_reason_are_told(recorded: Path, tmp_path: Path) -> None:
    said = weirflow("replay", str(recorded), "--report", str(tmp_path / "no" / "old.jsonl"), code=1)
    assert "old.jsonl: No such file or directory" in said


# Reading what others wrote.


def refusal(report: Path) -> str | None:
    """Why it is not read to its end; None when it is."""
    try:
        list(read_report(report).rows())
    except ReportError as error:
        return str(error)
    return None


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from(["old.jsonl", "old.parquet"]), at=st.floats(0, 1), new=st.binary(max_size=8))
def test_a_damaged_report_is_refused_and_nothing_else_happens(
    small_reports: Path, form: str, at: float, new: bytes
) -> None:
    data = bytearray((small_reports / form).read_bytes())
    start = int(at * len(data))
    data[start : start + len(new)] = new
    changed = small_reports / f"changed-{form}"
    changed.write_bytes(data)
    said = refusal(changed)
    assert said is None or changed.name in said


@pytest.fixture(scope="module")
def small_reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    head = Head("0.1.0", "ab", 1, T0, T0 + 3, {"tick_s": 1.0})
    for form in ("old.jsonl", "old.parquet"):
        with Writer(folder / form, head) as writer:
            for tick in (1, 2, 3):
                for row in rows(tick, weights={"a": 100, "b": tick}, incidents=(SLOW,)):
                    writer.add(row)
    return folder


# What is compared.

SLOW = Incident("I-1", "EndpointSlow", {"service": "checkout", "endpoint": "a"}, T0, ("EndpointSlow a",))


def rows(tick: int, **of_service: Any) -> list[Row]:
    whole = Row(tick, T0 + tick, None, digest=json.dumps({k: str(v) for k, v in of_service.items()}), leased=True)
    service = Row(tick, T0 + tick, "checkout", digest=whole.digest, leased=True, state="adaptive")
    return [whole, replace(service, **of_service)]


def compared(theirs: list[dict[str, Any]], ours: list[dict[str, Any]]) -> Comparison:
    told = Comparison(T0, T0 + len(ours))
    for tick, (a, b) in enumerate(zip(theirs, ours, strict=True), 1):
        told.add(rows(tick, **a), rows(tick, **b))
    return told


def test_an_incident_that_opens_later_is_the_same_incident() -> None:
    odd, calm = {"incidents": (SLOW,)}, {}
    told = compared([odd] * 4 + [calm] * 2, [calm] * 2 + [odd] * 4)
    both, theirs, ours = told.incidents()
    assert (len(both), theirs, ours) == (1, [], [])
    assert both[0][1].opened - both[0][0].opened == 2
    assert not told.beyond(0.05)


def test_an_incident_of_one_alone_is_never_tolerated() -> None:
    other = replace(SLOW, labels={"service": "checkout", "endpoint": "b"})
    told = compared([{"incidents": (SLOW,)}] * 3, [{"incidents": (other,)}] * 3)
    assert told.beyond(1.0) == [
        "only the report has the incident EndpointSlow (endpoint=a, service=checkout)",
        "only this version has the incident EndpointSlow (endpoint=b, service=checkout)",
    ]


def test_the_same_trouble_a_long_time_later_is_another_incident() -> None:
    odd, calm = {"incidents": (SLOW,)}, {}
    told = compared([odd] + [calm] * 40, [calm] * 40 + [odd])
    assert [len(x) for x in told.incidents()] == [0, 1, 1]


def test_another_state_at_one_tick_of_forty_is_within_a_twentieth() -> None:
    told = compared([{"state": "learning"}] + [{}] * 39, [{}] * 40)
    assert not told.beyond(0.05)
    assert told.beyond(0.01) == ["checkout: state at 1 of 40 ticks"]
    assert told.beyond(None) == ["1 of 40 ticks differ"]


def test_a_digest_alone_is_a_difference_of_what_is_said_and_not_of_what_is_in_force() -> None:
    told = compared([{"digest": "a"}], [{"digest": "b"}])
    assert (told.differ, told.differ_in_force) == (1, 0)
    assert told.first is not None
    assert told.first.what == "digest"
    assert not told.beyond(0.0)


def test_a_service_alone_is_judged_when_only_it_is_asked_for() -> None:
    for service, differ in (("checkout", 1), ("search", 0)):
        told = Comparison(T0, T0 + 1, service)
        told.add(rows(1, state="learning"), rows(1))
        assert told.differ == differ
        assert bool(told.beyond(0.05)) == bool(differ)


@pytest.mark.parametrize("what", ["weights", "limits"])
def test_the_largest_change_and_the_mean_are_told_apart(what: str) -> None:
    changed: dict[str, Any] = {what: {"a": 50, "b": 150}}
    told = compared([{what: {"a": 100, "b": 100}}] * 4, [{what: {"a": 100, "b": 100}}] * 3 + [changed])
    change = getattr(told.services["checkout"], what)
    assert change.largest == {"weights": 0.25, "limits": 0.5}[what]
    assert change.at == T0 + 4
    assert change.to_dict()["mean"] == change.largest / 4


def test_a_service_that_one_version_does_not_know_has_all_its_weights_elsewhere() -> None:
    told = Comparison(T0, T0 + 1)
    told.add(rows(1, weights={"a": 1})[:1], rows(1, weights={"a": 1}))
    assert told.services["checkout"].weights.largest == 0.5
    assert told.beyond(0.4)


@given(NUMBERS, NUMBERS)
def test_the_total_variation_is_a_share_and_nothing_when_they_are_in_proportion(
    one: dict[str, int], other: dict[str, int]
) -> None:
    assert 0.0 <= total_variation(one, other) <= 1.0 + 1e-9
    assert total_variation(one, other) == pytest.approx(total_variation(other, one))
    assert total_variation(one, {k: 3 * v for k, v in one.items()}) == pytest.approx(0.0)
    assert 0.0 <= largest_change(one, other) <= 1.0
    assert (largest_change(one, other) == 0.0) == (one == other)


@given(
    st.lists(
        st.builds(lambda w, s, t: {"weights": w, "share_percent": s, "tiers": t}, NUMBERS, st.floats(0, 100), NUMBERS),
        max_size=5,
    )
)
def test_every_row_comes_back_from_a_report_as_it_went_in(
    tmp_path_factory: pytest.TempPathFactory, ticks: list[dict[str, Any]]
) -> None:
    written = [row for tick, of_service in enumerate(ticks, 1) for row in rows(tick, **of_service)]
    for form in ("r.jsonl", "r.parquet"):
        path = tmp_path_factory.mktemp("rows") / form
        with Writer(path, Head("0.1.0", "ab", 1, T0, T0, {})) as writer:
            for row in written:
                writer.add(row)
        assert [asdict(r) for r in read_report(path).rows()] == [asdict(r) for r in written]
