"""A calibrated world does what was recorded, and foretells what another policy did over the same requests."""

from __future__ import annotations

from dataclasses import replace
from math import isnan
from pathlib import Path

import numpy as np
import pytest

from bench import fidelity as bench
from dataplane.simulated.tried import Tried
from tests.recordings import BAD, Lived, lived, scenario
from weirflow.lab import files, kept, overhead
from weirflow.lab.run import Run
from weirflow.lab.runner import jobs, run_all
from weirflow.lab.scenario import Change, Group, RequestClass, Scenario
from weirflow.recording import read
from weirflow.whatif.calibrate import calibrate
from weirflow.whatif.carry import carry
from weirflow.whatif.change import Span
from weirflow.whatif.fidelity import BARS, WORST, Fidelity, compared, self_check
from weirflow.whatif.policies import WEIRFLOW, in_force
from weirflow.whatif.spread import Spread, seen_of
from weirflow.whatif.tally import Tally
from weirflow.whatif.world import Seen, World

GROUPS = (Group("slow", 2, speed=0.5), Group("fast", 3, changes=(replace(BAD, extra_s=0.2),)))


@pytest.fixture(scope="module")
def unlike(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    return lived(scenario(*GROUPS, load=0.75), tmp_path_factory.mktemp("unlike"))


@pytest.fixture(scope="module")
def world(unlike: Lived) -> World:
    return calibrate(unlike.recording)


def carried(world: World, policy: str, seed: int = 0) -> Tally:
    """All of its requests under a policy."""
    return carry(world, policy, Span(0.0, world.duration_s), seed)


def test_run_again_under_what_was_in_force_a_world_does_what_was_recorded(world: World) -> None:
    assert in_force(world) == "full_scan"
    assert self_check(world).within(BARS)


def test_a_world_foretells_what_another_policy_did(unlike: Lived, world: World, tmp_path: Path) -> None:
    other = lived(unlike.scenario, tmp_path, policy="least_request")
    before, was = (seen_of(o.fate.latency_s, o.fate.ok) for o in (unlike, other))
    assert compared(was, carried(world, "least_request").seen).within(BARS)
    assert not compared(before, was).within(BARS)  # it was something else that had to be foretold


def test_the_brain_is_in_the_loop_where_it_had_the_traffic(tmp_path: Path) -> None:
    world = calibrate(lived(scenario(*GROUPS), tmp_path, policy="weirflow").recording)
    assert in_force(world) == WEIRFLOW
    again = carried(world, WEIRFLOW)
    assert again.adaptive.sum() > 0.5 * again.requests.sum()
    assert compared(world.seen, again.seen).within(WORST)
    assert in_force(replace(world, adaptive_share=0.0)) == "least_request"


def test_members_come_and_go_when_a_world_is_run_again(tmp_path: Path) -> None:
    groups = (Group("good", 3), Group("late", 1, joins_s=15.0), Group("gone", 1, leaves_s=20.0))
    world = calibrate(lived(scenario(*groups), tmp_path).recording)
    heard: list[Tried] = []
    carry(world, "random", Span(0.0, world.duration_s), 0, heard.append)
    tried = Tried.concat(heard)
    assert set(tried.endpoint[tried.at_s < 15.0].tolist()) == {0, 1, 2, 4}
    assert set(tried.endpoint[tried.at_s > 20.0].tolist()) == {0, 1, 2, 3}


def test_a_world_that_is_not_the_mesh_is_found_out(world: World) -> None:
    fleet = world.fleet
    lame = replace(world, fleet=replace(fleet, speed=fleet.speed * 0.7))
    assert not self_check(lame).within(WORST)


def test_a_run_is_a_function_of_its_seed(world: World) -> None:
    one, again, other = (carried(world, "random", s).latency_s for s in (1, 1, 2))
    assert one.tobytes() == again.tobytes() != other.tobytes()


def test_how_far_off_is_relative_but_for_failures() -> None:
    off = compared(Seen(100, 0.1, 0.2, 1.0, 0.02), Seen(100, 0.11, 0.2, 0.5, 0.05))
    assert (off.p50, off.p90, off.p99, off.failed) == pytest.approx((0.1, 0.0, -0.5, 0.03))
    assert not off.within(BARS)
    assert off.within(Fidelity(0.11, 0.0, 0.5, 0.031))


def test_a_quantile_is_told_within_a_percent_and_only_where_it_was_seen() -> None:
    latency = np.random.default_rng(1).lognormal(-2, 1, 5000)
    spread = Spread()
    for part in np.array_split(latency, 7):
        spread.learn(part)
    seen = spread.seen(5000, 5000)
    for q, told in ((0.5, seen.p50_s), (0.9, seen.p90_s), (0.99, seen.p99_s)):
        assert told == pytest.approx(np.quantile(latency, q), rel=0.01)
    assert isnan(seen_of(latency[:50], np.ones(50, bool)).p99_s)
    assert compared(Seen(9, 0.1, np.nan, np.nan, 0.0), Seen(9, 0.1, 0.2, 0.3, 0.0)).within(BARS)


TINY = Scenario(
    "tiny",
    "Tiny",
    "ours",
    (Group("bad", 1, changes=(Change(3.0, 7.0, extra_s=0.2),)), Group("slow", 1, speed=0.5), Group("good", 2)),
    load=0.5,
    classes=(RequestClass("a", 1.0, 0.1, 0.7),),
    warmup_s=1.0,
    duration_s=9.0,
    nodes=2,
)


@pytest.mark.envoy
async def test_what_was_recorded_on_real_envoy_is_done_again_by_its_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overhead, "IDLE_RUN_S", 0.2)
    policies = ("full_scan", "weirflow")
    await run_all(jobs(TINY, policies, 2, 1, record=tmp_path), parallel=2)
    runs = {k.policy: k for k in kept.find(tmp_path)}
    assert sorted(runs) == sorted(policies)
    for policy, run in runs.items():
        world = calibrate(read(run.recording))
        # Against the very recording, so that a machine that was busy meanwhile made both slow.
        assert world.seen.requests == pytest.approx(len(run.trace), abs=3)
        assert self_check(world).within(replace(WORST, p99=0.6))  # eight requests make its p99
        assert in_force(world) == policy
        assert world.trust.attempts.sum() == pytest.approx(len(run.trace), abs=3)
        # The endpoint was late from 3 to 7 s, by whatever the busy machine made of 200 ms.
        began_s, fleet = float(next(iter(world.chunks())).at_s[0] - run.trace.at_s[0]), world.fleet
        before, bad = (fleet.piece(began_s + t)[0] for t in (1.5, 5.0))
        took_s = fleet.extra_s[0] + 0.1 / fleet.speed[0]
        assert took_s[bad] > 1.5 * took_s[before]


def test_a_bench_of_runs_in_virtual_time_says_how_near_it_came(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "load", lambda name: replace(TINY, name=name))
    monkeypatch.setattr(bench, "PAIRS", (("tiny", "random", "full_scan"),))
    asked = ["--record", str(tmp_path), "--engine", "simulated"]
    assert bench.main(asked) == 0
    assert bench.main(["--from", str(tmp_path)]) == 0
    first, again = capsys.readouterr().out.splitlines()
    assert first == again  # what is recorded once is not recorded again, and comes to the same
    assert '"tiny: full_scan from random, p50"' in first
    assert len(kept.find(tmp_path)) == 2
    with pytest.raises(bench.CannotRunError, match="holds no recorded run of tiny"):
        bench.main(["--from", str(tmp_path / "nothing")])


def test_what_a_run_leaves_is_found_as_it_was(tmp_path: Path, unlike: Lived) -> None:
    run = Run(unlike.scenario, "random", 2, 7, "envoy", unlike.fleet, unlike.trace, unlike.fate, refused="busy")
    kept.keep(run, tmp_path / kept.name_of("small", "random", 2, 7))
    (found,) = kept.find(tmp_path)
    assert (found.scenario, found.policy, found.nodes, found.seed, found.refused) == ("small", "random", 2, 7, "busy")
    assert (found.warmup_s, found.end_s) == (5.0, 40.0)
    assert found.trace.at_s.tolist() == unlike.trace.at_s.tolist()
    assert found.fate.ok.tolist() == unlike.fate.ok.tolist()
    assert found.fleet.names == unlike.fleet.names
