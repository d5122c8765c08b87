"""`weirflow lab`: what it says of what it cannot run, and what it leaves behind when it stops."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from weirflow.cli import app
from weirflow.lab import campaign as campaigns
from weirflow.lab.campaign import INTERRUPTION, Campaign, conduct
from weirflow.lab.run import LIMITING, PICKS, POLICIES, SIMULATED, WEIRFLOW, Run

TINY = """
title: Tiny
source: ours
load: 0.5
nodes: 2
groups:
  - {name: slow, count: 1}
  - {name: fast, count: 2, speed: 2}
warmup: 500ms
duration: 2s
"""


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    return str(file)


def lab(*words: str) -> Result:
    return CliRunner().invoke(app, ["lab", *words])


def test_the_list_names_scenarios_and_policies() -> None:
    said = lab("list")
    assert said.exit_code == 0
    assert "hetero-124-70" in said.stdout
    assert all(policy in said.stdout for policy in POLICIES | SIMULATED)
    told = json.loads(lab("list", "-o", "json").stdout)
    assert told["scenarios"]["hang"]
    assert told["policies"] == POLICIES


@pytest.mark.parametrize(
    ("words", "mend"),
    [
        (["hetero-124-71"], "did you mean 'hetero-124-"),
        (["no/such.yaml"], "no/such.yaml"),
        (["hang", "--policy", "least_reqest"], "no policy is named 'least_reqest'; did you mean 'least_request'?"),
        (["hang", "--policy", "prequal"], "--engine simulated"),
        (["overload", "--policy", "admission_control", "--engine", "simulated"], "it runs on real Envoy only"),
        (["hang", "--policy", "breakers_true"], "hang has no latency goal that breakers_true could keep"),
        (["hang", "--record", "x", "--engine", "simulated"], "goes with real proxies"),
        (["hang", "--nodes", "1000"], "with 1000 proxies is more than this machine can run"),
        (["hang", "--time-scale", "0"], "must be above 0"),
        (["hang", "--engine", "envoi"], "envoy"),
        (["hang", "--seeds", "0"], "--seeds"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_starts(words: list[str], mend: str) -> None:
    said = lab("run", *words)
    assert said.exit_code == 2
    assert mend in said.output


def of(tiny: str, *policies: str, nodes: tuple[int, ...] = (), seeds: range = range(1)) -> Campaign:
    return Campaign.of([tiny, tiny], policies, nodes, seeds, engine="simulated")


def test_a_campaign_takes_the_scenario_s_nodes_and_every_policy_unless_told_otherwise(tiny: str) -> None:
    assert [n for _, n in of(tiny).worlds] == [2]  # named twice, run once
    assert of(tiny).policies == (*PICKS, *SIMULATED)
    assert [n for _, n in of(tiny, "random", nodes=(1, 4, 1)).worlds] == [1, 4]
    assert of(tiny, "random", "weirflow", "random", nodes=(1, 4), seeds=range(3, 8)).runs == 2 * 2 * 5


def test_where_every_scenario_has_a_goal_those_that_refuse_are_compared_and_else_those_that_pick() -> None:
    of_named = lambda *names: Campaign.of(names, (), (), (1,), engine="envoy").policies  # noqa: E731
    assert of_named("overload") == (*LIMITING, *WEIRFLOW)
    assert of_named("overload", "hang") == tuple(PICKS)


def test_simulated_runs_are_told_one_by_one_and_written_down(tiny: str, tmp_path: Path) -> None:
    files = [tmp_path / "lab.json", tmp_path / "lab.html"]
    words = ["--engine", "simulated", "--policy", "random", "--policy", "full_scan", "--seeds", "2"]
    said = lab("run", tiny, *words, "--json", str(files[0]), "--html", str(files[1]))
    assert said.exit_code == 0, said.output
    told = [line.partition(": p99 ")[0] for line in said.stderr.splitlines()]
    assert told == [
        "[1/4] tiny, 2 nodes, seed 0, random",
        "[2/4] tiny, 2 nodes, seed 0, full_scan",
        "[3/4] tiny, 2 nodes, seed 1, full_scan",
        "[4/4] tiny, 2 nodes, seed 1, random",
    ]
    assert "full_scan" in said.stdout
    assert "central_queue" in said.stdout
    assert json.loads(files[0].read_text())["cases"][0]["scenario"]["name"] == "tiny"
    assert "<html" in files[1].read_text()


def test_the_same_seed_is_the_same_run(tiny: str) -> None:
    made = [conduct(of(tiny, "random", seeds=range(7, 8)), lambda _: None)[0][0] for _ in range(2)]
    assert made[0].fate.latency_s.tolist() == made[1].fate.latency_s.tolist()


@pytest.mark.parametrize(
    ("error", "why"), [(RuntimeError("the brain ended"), "the brain ended"), (KeyboardInterrupt(), INTERRUPTION)]
)
def test_what_was_made_before_a_failure_is_kept(
    tiny: str, error: BaseException, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = campaigns._simulated

    def breaks(campaign: Campaign):
        yield next(real(campaign))
        raise error

    monkeypatch.setattr(campaigns, "_simulated", breaks)
    made, reason = conduct(of(tiny, "random", "full_scan"), lambda _: None)
    assert [r.policy for r in made] == ["random"]
    assert reason == why


def a_run_of(tiny: str) -> Run:
    return conduct(of(tiny, "random"), lambda _: None)[0][0]


@pytest.mark.parametrize(("reason", "status"), [("", 0), ("the brain ended", 1), (INTERRUPTION, 130)])
def test_the_exit_status_tells_whether_all_was_run(
    tiny: str, reason: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run_of(tiny)
    monkeypatch.setattr(campaigns, "conduct", lambda campaign, tell: ([run], reason))
    said = lab("run", tiny, "--engine", "simulated", "--policy", "random", "--policy", "full_scan")
    assert said.exit_code == status
    assert "random" in said.stdout  # what was made is told all the same
    assert reason in said.stderr
