"""A scenario, run: on real Envoy, with the brain in it, and every run over the same world."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from weirflow.demo.processes import PROGRAM
from weirflow.lab import overhead, runner
from weirflow.lab.brained import mesh_file, program
from weirflow.lab.peers import World
from weirflow.lab.run import Run
from weirflow.lab.runner import jobs, run_all
from weirflow.lab.scenario import Change, Group, RequestClass, Scenario, TelemetryFault

TINY = Scenario(
    "tiny",
    "Tiny",
    "ours",
    (Group("slow", 1), Group("fast", 1, speed=3.0), Group("late", 1, joins_s=1.5)),
    load=0.4,
    classes=(RequestClass("a", 0.5, 0.02), RequestClass("ab", 0.5, 0.04)),
    warmup_s=1.0,
    duration_s=2.5,
    timeout_s=2.0,
)


FAULT = TelemetryFault(lost=0.2, late_s=0.1, lying_nodes=1.0, lie=10.0, lied_about=1, skew_s=(3.0,))


@pytest.fixture(autouse=True)
def _short_idle_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "IDLE_RUN_S", 0.2)


def order(seed: int) -> list[tuple[str, int]]:
    return [(j.policy, j.place) for j in jobs(TINY, ("x", "y", "z"), 2, seed)]


def test_every_other_seed_runs_the_policies_backwards() -> None:
    assert order(0) == [("x", 0), ("y", 1), ("z", 2)] == order(2)
    assert order(1) == [("z", 0), ("y", 1), ("x", 2)]


def test_all_policies_of_a_seed_meet_one_world_and_each_seed_another() -> None:
    first, second = jobs(TINY, ("x", "y"), 2, 0), jobs(TINY, ("x",), 2, 1)
    assert first[0].trace is first[1].trace
    assert first[0].trace.at_s.tolist() == jobs(TINY, ("x",), 2, 0)[0].trace.at_s.tolist()
    assert first[0].trace.at_s.tolist() != second[0].trace.at_s.tolist()


async def the_runs(lab: Scenario, policies: Sequence[str], *, nodes: int = 1, parallel: int = 1) -> dict[str, Run]:
    seen: list[Run] = []
    made = await run_all(jobs(lab, policies, nodes, 0), parallel=parallel, on_run=seen.append)
    assert sorted(r.policy for r in seen) == sorted(policies)
    return {r.policy: r for r in made}


@pytest.mark.envoy
async def test_least_request_and_weirflow_side_by_side_on_real_envoy_with_the_brain_s_telemetry_broken() -> None:
    lab = replace(TINY, telemetry=FAULT)
    made = await the_runs(lab, ("least_request", "weirflow"), nodes=2, parallel=2)
    for policy, run in made.items():
        assert (run.engine, run.nodes, run.policy) == ("envoy", 2, policy)
        assert len(run.fate) == len(run.trace)
        assert run.fate.ok.all()
        late = run.trace.at_s > 2.5  # a second after it joined
        assert set(run.fate.endpoint[late].tolist()) == {0, 1, 2}
        assert set(run.fate.endpoint[run.trace.at_s < 1.0].tolist()) == {0, 1}
        assert (run.fate.latency_s >= run.trace.demand_s / 3.0 - 0.001).all()
        watched = {"cpu.client", "cpu.endpoints", "cpu.node-0", "cpu.node-1", "client_late_s", "timers_late_s"}
        assert watched | {"idle", "before.idle", "idle_run.added_p99_s"} <= set(run.overhead)
    assert made["least_request"].weights is None
    weirflow = made["weirflow"]
    assert "cpu.brain" in weirflow.overhead
    assert weirflow.weights is not None
    assert weirflow.weights.share.shape == (len(weirflow.weights.at_s), 3)
    assert weirflow.weights.share.sum(axis=1) == pytest.approx(1.0)
    assert weirflow.weights.share[0, 2] == 0 < weirflow.weights.share[-1, 2]  # the late one, once it has joined


@pytest.mark.envoy
async def test_a_run_that_fails_says_why_and_the_runs_before_it_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = replace(TINY, warmup_s=0.2, duration_s=0.3)
    seen: list[Run] = []
    real = runner.run_one

    async def breaks(job: runner.Job, idle: dict[str, float]) -> Run:
        if job.policy == "random":
            raise RuntimeError("random is broken")
        return await real(job, idle)

    monkeypatch.setattr(runner, "run_one", breaks)
    with pytest.raises(RuntimeError, match="random is broken"):
        await run_all(jobs(lab, ("round_robin", "random", "full_scan"), 1, 0), on_run=seen.append)
    assert [r.policy for r in seen] == ["round_robin"]


async def test_nothing_to_run_is_no_run() -> None:
    assert await run_all([]) == []


@pytest.mark.envoy
async def test_requests_that_a_hung_endpoint_never_answered_are_told_to_have_gone_there() -> None:
    groups = (Group("good", 1), Group("hung", 1, changes=(Change(0.0, hang=True),)))
    lab = replace(TINY, groups=groups, warmup_s=0.2, duration_s=0.5, timeout_s=0.3)
    run = (await the_runs(lab, ("round_robin",)))["round_robin"]
    assert run.fate.endpoint.tolist().count(1) == pytest.approx(len(run.trace) / 2, abs=2)
    assert (run.fate.ok == (run.fate.endpoint == 0)).all()


def test_broken_telemetry_starts_another_program_on_the_same_mesh_file(tmp_path: Path) -> None:
    groups = (Group("late", 1, joins_s=1.0), *TINY.groups)
    world = World(
        jobs(replace(TINY, groups=groups), ("x",), 1, 0)[0].fleet, ("127.0.0.1:1",) * 4, 3, 2.0, ("a", "ab"), 9.0
    )
    assert program(world, TelemetryFault(), tmp_path, 0) == PROGRAM
    *start, file = program(world, FAULT, tmp_path, 5)
    assert start[1:] == ["-m", "weirflow.lab.odd_telemetry", "--fault"]
    told = json.loads(Path(file).read_text())
    assert (told["nodes"], told["seed"], told["lost"]) == (3, 5, 0.2)
    assert told["lied_about"] == 0  # the second of the fleet is the first that the brain is told of


def test_a_request_class_whose_name_begins_with_another_s_has_its_own_route() -> None:
    world = World(jobs(TINY, ("x",), 1, 0)[0].fleet, ("127.0.0.1:1",) * 3, 1, 2.0, ("a", "ab"), 9.0)
    told = mesh_file(world, TINY, 95.0, 1, 2)
    assert [(r["name"], r["prefix"]) for r in told["routes"]] == [("ab", "/ab"), ("a", "/a")]
    assert "good_answer" not in told["services"][0]


def test_the_mesh_file_says_what_a_good_answer_is_where_the_scenario_does() -> None:
    world = World(jobs(TINY, ("x",), 1, 0)[0].fleet, ("127.0.0.1:1",) * 3, 1, 2.0, ("all",), 9.0)
    told = mesh_file(world, replace(TINY, good_body=True), 99.0, 1, 2)
    assert told["services"][0]["good_answer"] == {"min_body_bytes": 1}
