"""What `weirflow check` finds in the answer of a brain: its ticks, proxies, alerts and recording."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.test_check_command import answer, only, sound
from weirflow.checkup import brain, gaps
from weirflow.checkup.found import Check, Outcome
from weirflow.recording import Recorder, invented
from weirflow.staged import NOW


@pytest.mark.parametrize(
    ("changes", "name", "outcome", "said"),
    [
        ({"driver": {"renewed_at": NOW - 9}}, "lease", Outcome.FAILURE, "renewed 9.25s ago, for 5s"),
        ({"driver": {"ticks": 98, "ticks_skipped": 2}}, "ticks", Outcome.WARNING, "2 came too late"),
        ({"driver": {"ticks": 198, "ticks_skipped": 2}}, "ticks", Outcome.OK, "the last 250ms ago"),
        ({"driver": {"last_tick_s": 1.5}}, "ticks", Outcome.WARNING, "the last took 1.5s"),
        ({"driver": {"tick_errors": 2, "told_errors": 1}}, "failed ticks", Outcome.WARNING, "failed 3 times"),
    ],
)
def test_ticks_and_lease(changes: dict[str, Any], name: str, outcome: Outcome, said: str) -> None:
    driver = sound().process["driver"] | {"ticks": 1000} | changes["driver"]
    found = only(brain.ticking(answer(driver=driver)), name)
    assert (found.outcome, found.words[: len(said)]) == (outcome, said) or said in found.words
    assert found.outcome is outcome


def test_a_brain_that_has_stopped_ticking_fails_and_one_that_has_not_begun_is_a_warning() -> None:
    old = answer()
    old["now"] += 30
    assert only(brain.ticking(old), "ticks").words == "the last was 30.2s ago, and they are due every 1s"
    assert only(brain.ticking(old), "lease").outcome is Outcome.FAILURE
    slow = answer(tick_s=20.0)
    slow["now"] += 30
    assert only(brain.ticking(slow), "ticks").outcome is Outcome.OK
    new = answer(driver={}) | {"decision": None}
    assert {c.name: c.outcome for c in brain.ticking(new)} == {
        "ticks": Outcome.WARNING, "lease": Outcome.WARNING, "failed ticks": Outcome.OK,
    }  # fmt: skip


def test_reload_and_checkpoint() -> None:
    def look(name: str, **process_: Any) -> Check:
        return only(brain.keeping(answer(**process_)), name)

    assert look("reload").words == "mesh.yaml is in force"
    refused = look("reload", config={"file": "mesh.yaml", "reload_error": "mesh.yaml:1:1: unknown key\nand more"})
    assert (refused.outcome, refused.words) == (Outcome.FAILURE, "the last was refused: mesh.yaml:1:1: unknown key")
    driver = sound().process["driver"]
    assert look("checkpoint").outcome is Outcome.OK
    late = look("checkpoint", driver=driver | {"checkpointed_at": NOW - 100})
    assert (late.outcome, late.link) == (Outcome.FAILURE, "how-to.md#no-checkpoint-is-written")
    failed = look("checkpoint", driver=driver | {"checkpoint_problem": "checkpoint not written: No space left"})
    assert (failed.outcome, failed.words) == (Outcome.FAILURE, "checkpoint not written: No space left")
    assert look("checkpoint", driver=driver | {"checkpointed_at": None}).words.startswith("none yet")
    assert look("checkpoint", checkpoint=None).outcome is Outcome.OK
    bare = answer()
    del bare["process"]["checkpoint"]
    assert only(brain.keeping(bare), "checkpoint").outcome is Outcome.NOT_MADE


def test_another_version_of_weirflow_is_a_warning() -> None:
    (found,) = brain.answering(answer(version="9.9"), "here", "0.1.0")
    assert (found.outcome, found.words) == (Outcome.WARNING, "Weirflow 9.9 answers at here, and this is Weirflow 0.1.0")


@pytest.mark.parametrize(
    ("wire", "view", "name", "outcome", "said"),
    [
        ({"connected": False}, {"connected": False}, "connected", Outcome.FAILURE, "front-1 is not"),
        ({}, {"fresh": False, "report_age_s": 9.0}, "telemetry", Outcome.FAILURE, "report of front-1 is 9s old"),
        ({}, {"fresh": False, "report_age_s": None}, "telemetry", Outcome.FAILURE, "front-1 never reported"),
        ({}, {"parked": {"EDS": "no"}}, "refusals", Outcome.FAILURE, "front-1 refuses EDS: no"),
        ({"clock_offset_s": 3.0}, {}, "clocks", Outcome.WARNING, "that of front-1 is 3s behind ours"),
        ({"clock_offset_s": -0.9}, {}, "clocks", Outcome.OK, "at most 900ms from ours"),
        ({"clock_offset_s": None}, {}, "clocks", Outcome.OK, "not known"),
        ({"agent": "envoy 1.35.2"}, {}, "versions", Outcome.WARNING, "front-1 is Envoy 1.35.2; what is tried is 1.40"),
        ({"agent": "envoy 1.4.0"}, {}, "versions", Outcome.WARNING, "front-1 is Envoy 1.4.0"),
        ({"agent": "gRPC Go 1.80"}, {}, "versions", Outcome.OK, "gRPC Go 1.80"),
        ({"agent": ""}, {}, "versions", Outcome.OK, "no node tells"),
        ({"module": True}, {}, "pick module", Outcome.OK, "nodes have it"),
        (
            {"module_refused": "no such file"},
            {},
            "pick module",
            Outcome.WARNING,
            "front-1 said that it has it, and refused",
        ),
        ({}, {"contradicts": 3}, "agreement", Outcome.WARNING, "front-1 contradicts the others about 3 endpoints"),
    ],
)
def test_proxies(wire: dict[str, Any], view: dict[str, Any], name: str, outcome: Outcome, said: str) -> None:
    asked = answer()
    asked["process"]["wires"]["nodes"]["front-1"] |= wire
    asked["decision"]["nodes"][0] |= view
    found = only(brain.proxies(asked, "1.40"), name)
    assert found.outcome is outcome
    assert said in found.words
    assert bool(found.hint and found.link) == (outcome is not Outcome.OK)


def test_receivers_and_the_recording() -> None:
    assert only(brain.alerts(answer(alerts={"receivers": []})), "receivers").outcome is Outcome.OK
    lost = [{"receiver": "http://am", "up": True, "lost": 3}]
    assert only(brain.alerts(answer(alerts={"receivers": lost})), "missed messages").words == "http://am 3"
    assert only(brain.recording(answer(recording=None)), "running").outcome is Outcome.OK
    stopped = {"state": "stopped", "problem": "No space left on device"}
    found = only(brain.recording(answer(recording=stopped)), "running")
    assert (found.outcome, found.words) == (Outcome.FAILURE, "No space left on device")


def test_a_part_that_is_lost_is_a_gap_in_the_recording(tmp_path: Path) -> None:
    calls = invented.run(30)
    start = next(calls)
    settings, topology = start.argument.settings, start.argument.topology
    folder = tmp_path / "run-1"
    recorder = Recorder(folder, settings=settings, topology=topology, now=start.now, on_problem=pytest.fail, part_s=5.0)
    for call in calls:
        invented.tell(recorder, call)
    recorder.close()
    (found,) = gaps.gaps(folder)
    assert found.outcome is Outcome.OK
    assert re.match(r"none in [3-9] parts \(calls 1 to \d+;", found.words)
    (folder / "part-00002.json").unlink()
    (found,) = gaps.gaps(folder)
    assert found.outcome is Outcome.FAILURE
    assert "part-00002.json" in found.words
    (found,) = gaps.gaps(tmp_path / "none")
    assert found.outcome is Outcome.NOT_MADE


def test_a_brain_that_tells_nothing_of_itself_is_borne() -> None:
    bare = {"now": NOW, "decision": None, "process": {}}
    for look in (brain.ticking(bare), brain.keeping(bare), brain.proxies(bare, "1.40"), brain.alerts(bare)):
        assert list(look)
    assert list(brain.recording(bare))
