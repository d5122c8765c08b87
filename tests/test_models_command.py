"""`weirflow models`: what it lists of a brain, a checkpoint and a recording, what it compares, and who promotes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from brain.brain import Brain
from brain.commands import PromoteModel
from tests.recordings import Lived, lived, scenario
from tests.served import Served, weirflow
from weirflow import checkpoint
from weirflow.lab.scenario import Group
from weirflow.replay import steps
from weirflow.staged import StagedOperations, example_decision


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    of = scenario(Group("fast", 2), Group("slow", 1, speed=0.5), duration_s=55.0)
    return lived(of, tmp_path_factory.mktemp("models") / "run", "weirflow")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of somebody's own, in the folder that the command runs in."""
    (tmp_path / "my_models.py").write_text(
        "from tests.test_own_models import Twice, Raises\nfrom sklearn.linear_model import Ridge\n"
    )
    monkeypatch.chdir(tmp_path)


def test_the_models_of_a_brain_that_runs_are_listed_with_their_roles() -> None:
    with Served(StagedOperations(example_decision())) as served:
        lines = served.weirflow("models", "list").splitlines()
        (ours,) = (line for line in lines if " ours " in line)
        assert "challenger" in ours
        assert "x0.80 (0.74 to 0.86)" in ours
        told = json.loads(served.weirflow("models", "list", "-o", "json"))["models"]
        assert [(m["model"], m["role"]) for m in told if m["quantity"] == "latency"] == [
            ("queueing", "champion"), ("ours", "challenger"), ("simple", "baseline"),
        ]  # fmt: skip
        assert [(m["inside_90"], m["band"]) for m in told[:3]] == [(0.91, [0.8, 1.3]), (0.6, [0.9, 1.1]), (None, None)]
        assert "91 %" in lines[1]
        assert "x0.80 to x1.30" in lines[1]
        demand = [(m["quantity"], m["against_baseline"], m["inside_90"]) for m in told[3:]]
        assert demand == [("demand in 1 s", 0.7, 0.9), ("demand in 60 s", 0.8, 0.88), ("demand in 300 s", 1.4, 0.52)]
        one = served.weirflow("models", "show", "ours")
        assert "challenger" in one
        assert "queueing" not in one
        assert "there is no model 'our'; did you mean 'ours'?" in served.weirflow("models", "show", "our", code=2)


def test_a_promotion_is_told_to_the_brain_and_kept_in_the_audit_with_who_and_who_was_before() -> None:
    operations = StagedOperations(example_decision())
    with Served(operations) as served:
        said = served.weirflow("models", "promote", "ours")
        assert said.endswith("model ours decides, from the next tick, within a second; queueing did before\n")
        served.weirflow("models", "promote", "--auto")
        (first, who), (second, _) = operations.told
        assert (first, second) == (PromoteModel("ours"), PromoteModel(None))
        assert "@" in who
        from weirflow.commands.client import Client

        entry = Client(served.url).get("audit")["entries"][0]
        assert (entry["what"], entry["who"], entry["after"]) == ("PromoteModel", who, {"model": "ours"})
        assert entry["before"]["model"] == "queueing"
        assert "no model is named 'outs'; did you mean 'ours'?" in served.weirflow("models", "promote", "outs", code=2)
        for words in ([], ["ours", "--auto"]):
            assert "name a model, or undo with --auto" in served.weirflow("models", "promote", *words, code=2)
        assert len(operations.told) == 2


def test_the_models_of_a_recording_are_scored_and_those_of_a_checkpoint_told(world: Lived, tmp_path: Path) -> None:
    rows = json.loads(weirflow("models", "list", str(world.recording.folder), "-o", "json"))["models"]
    assert {(r["quantity"], r["model"]) for r in rows} >= {("latency", "queueing"), ("demand in 10 s", "last value")}
    assert "to baseline" in weirflow("models", "list", str(world.recording.folder))
    brains: list[Brain] = []
    for _ in steps(world.recording, lambda *made: brains.append(Brain(*made)) or brains[-1]):
        pass
    checkpoint.save(tmp_path / "kept", brains[0].state())
    kept = json.loads(weirflow("models", "list", str(tmp_path / "kept"), "-o", "json"))["models"]
    assert [(m["model"], m["role"]) for m in kept] == [("queueing", "champion"), ("simple", "baseline")]
    live = brains[0].models(brains[0].decision.now)[1]
    assert kept[1]["error"] == live.error
    assert kept[1]["against_champion"] == live.against_champion[0]
    assert live.held is not None
    assert kept[1]["inside_90"] == live.held.share
    assert {(f.service, f.ahead_s) for f in brains[0].foretold()} >= {("lab", 1.0), ("lab", 10.0)}
    (tmp_path / "none").write_text("x" * 100)
    assert "none: is not a Weirflow checkpoint" in weirflow("models", "list", str(tmp_path / "none"), code=1)


def test_models_of_ones_own_are_compared_and_one_that_raises_ends_in_failure(world: Lived, own: None) -> None:
    folder = str(world.recording.folder)
    said = weirflow("models", "compare", folder, "--model", "my_models:Twice")
    assert "Twice, lab: worse than the champion: error" in said
    said = weirflow("models", "compare", folder, "--model", "bad=my_models:Raises", code=1)
    assert "bad, lab: it raised ArithmeticError('too much for me')" in said
    told = weirflow("models", "compare", folder, "--model", "r=my_models:Ridge", "-o", "json")
    assert {"queueing", "simple", "r"} <= {row["model"] for row in json.loads(told)["models"]}
    assert "has no attribute 'Rige'" in weirflow("models", "compare", folder, "--model", "my_models:Rige", code=2)
    assert "is no recording and holds none" in weirflow("models", "compare", ".", code=1)
