"""A recording tells how its endpoints were: held against worlds whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataplane.mesh import RetrySpec
from dataplane.simulated.fleet import Fleet, Floats, Trace
from dataplane.simulated.rules import RouteRules
from tests.recordings import BAD, Lived, lived, scenario
from weirflow.lab.scenario import Flips, Group, RequestClass, TelemetryFault
from weirflow.recording import RecordingError
from weirflow.recording.closed import ClosedPart
from weirflow.whatif import calibrate as calibrating
from weirflow.whatif.calibrate import calibrate
from weirflow.whatif.calibrate_rules import rules_of
from weirflow.whatif.spread import seen_of
from weirflow.whatif.world import World


def at(fleet: Fleet, what: str, t: float) -> Floats:
    """A column as it is in force at that time, by endpoint."""
    return np.asarray(getattr(fleet, what)[np.arange(len(fleet)), fleet.piece(t)])


def whole(world: World) -> Trace:
    return Trace.concat(list(world.chunks()))


@pytest.fixture(scope="module")
def unlike(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """Endpoints of two speeds, of which one has a bad time, and two classes of requests."""
    classes = (RequestClass("quick", 0.8, 0.05, 0.7), RequestClass("heavy", 0.2, 0.3, 0.7))
    groups = (Group("slow", 2, speed=0.5), Group("fast", 3, changes=(replace(BAD, speed=0.2),)))
    return lived(scenario(*groups, classes=classes), tmp_path_factory.mktemp("unlike"))


@pytest.fixture(scope="module")
def world(unlike: Lived) -> World:
    return calibrate(unlike.recording)


def test_workers_and_speeds_are_found(unlike: Lived, world: World) -> None:
    assert world.fleet.workers.tolist() == [4] * 5
    found, true = at(world.fleet, "speed", 5.0), at(unlike.fleet, "speed", 5.0)
    assert found / found[4] == pytest.approx(true / true[4], rel=0.15)


def test_a_bad_time_is_found_when_it_was(unlike: Lived, world: World) -> None:
    assert world.trust.pieces.tolist() == [1, 1, 3, 1, 1]
    assert world.fleet.since_s[2, 1:3] == pytest.approx([10.0, 25.0], abs=1.0)
    assert at(world.fleet, "speed", 20.0)[2] / at(world.fleet, "speed", 5.0)[2] == pytest.approx(0.2, rel=0.3)


def test_every_request_comes_when_it_came_and_is_worth_what_it_was_worth(unlike: Lived, world: World) -> None:
    found = whole(world)
    assert found.at_s == pytest.approx(unlike.trace.at_s, abs=1e-6)
    assert found.node.tolist() == unlike.trace.node.tolist()
    assert [world.classes[k] for k in found.klass] == [("quick", "heavy")[k] for k in unlike.trace.klass]
    # Up to the unit: a demand is in seconds at an endpoint of middling speed.
    ratio = found.demand_s / unlike.trace.demand_s
    near = np.abs(ratio / np.median(ratio) - 1.0)
    assert np.quantile(near, 0.9) < 0.15
    assert (near > 0.5).mean() < 0.005  # at the edges of the bad time, where it is not sure which speed was in force


def test_the_same_recording_gives_the_same_bytes(unlike: Lived, world: World) -> None:
    again = whole(calibrate(unlike.recording))
    for name in Trace.dtypes():
        assert getattr(again, name).tobytes() == getattr(whole(world), name).tobytes()


def test_a_recording_too_large_to_be_held_gives_the_same_and_is_read_at_every_pass(
    unlike: Lived, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrating, "MOST_HELD", 0)
    opened: list[str] = []
    real = ClosedPart.table

    def counted(part: ClosedPart, stream: str, columns: Sequence[str] | None = None) -> Any:
        opened.append(stream)
        return real(part, stream, columns)

    monkeypatch.setattr(ClosedPart, "table", counted)
    anew, reads = calibrate(unlike.recording), opened.count("attempts")
    assert reads == 4 * len(unlike.recording.parts)
    monkeypatch.undo()
    for name in Trace.dtypes():
        assert getattr(whole(anew), name).tobytes() == getattr(whole(world), name).tobytes()
    assert anew.notes == world.notes


def test_a_recording_is_read_in_blocks_as_it_is_read_at_once(unlike: Lived, tmp_path: Path) -> None:
    short = lived(unlike.scenario, tmp_path, part_s=4.0)
    assert len(short.recording.parts) > 8
    once, blocks = calibrate(short.recording), calibrate(short.recording, rows=400)
    assert len(list(blocks.chunks())) > 4
    assert max(len(c) for c in blocks.chunks()) < len(short.trace) / 2
    one, many = whole(once), whole(blocks)
    assert many.at_s.tolist() == one.at_s.tolist()
    assert many.node.tolist() == one.node.tolist()
    assert blocks.fleet.workers.tolist() == once.fleet.workers.tolist()
    assert at(blocks.fleet, "speed", 5.0) == pytest.approx(at(once.fleet, "speed", 5.0), rel=0.1)
    assert many.demand_s.mean() == pytest.approx(one.demand_s.mean(), rel=0.05)
    assert asdict(blocks.seen) == asdict(once.seen)


def test_what_was_seen_is_what_users_felt(unlike: Lived, world: World) -> None:
    true = seen_of(unlike.fate.latency_s, unlike.fate.ok)
    assert world.seen.requests == true.requests == len(unlike.trace)
    assert world.seen.p99_s == pytest.approx(true.p99_s, rel=0.01)
    assert world.seen.failed_share == pytest.approx(true.failed_share, abs=1e-3)


def test_the_rules_are_those_of_the_mesh_file(world: World) -> None:
    assert world.rules.policy == "full_scan"
    assert [r.timeout_s for r in world.rules.routes] == [3.0, 3.0]
    assert (world.service, world.nodes) == ("lab", ("node-0", "node-1"))
    assert not [n for n in world.notes if "static rules" in n]


def test_late_answers_are_a_delay_of_the_endpoint_and_not_its_slowness(tmp_path: Path) -> None:
    bad = Group("bad", 1, changes=(replace(BAD, extra_s=0.3),))
    found = calibrate(lived(scenario(bad, Group("good", 4), load=0.3), tmp_path).recording).fleet
    assert at(found, "extra_s", 20.0) == pytest.approx([0.3, 0, 0, 0, 0], abs=0.03)
    assert at(found, "extra_s", 5.0) == pytest.approx(np.zeros(5), abs=0.01)
    assert at(found, "speed", 20.0) == pytest.approx(np.ones(5), rel=0.25)


def test_a_hang_is_found_and_no_work_is_made_of_it(tmp_path: Path) -> None:
    bad = Group("bad", 1, changes=(replace(BAD, hang=True),))
    life = lived(scenario(bad, Group("good", 4), load=0.4), tmp_path)
    world = calibrate(life.recording)
    assert at(world.fleet, "hang", 20.0).tolist() == [True, False, False, False, False]
    assert not at(world.fleet, "hang", 5.0).any()
    assert not at(world.fleet, "hang", 30.0).any()
    assert whole(world).demand_s.mean() == pytest.approx(life.trace.demand_s.mean(), rel=0.1)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_storm_makes_nobody_slow_and_no_request_light(tmp_path: Path, seed: int) -> None:
    """Most works are given up on; what of an endpoint's time a request takes is known all the same."""
    of = scenario(Group("good", 5), load=1.3, classes=(RequestClass("all", 0.1, 1.0),), timeout_s=1.0)
    life = lived(of, tmp_path, seed=seed)
    found, trace = calibrate(life.recording).fleet, whole(calibrate(life.recording))
    takes_s = trace.demand_s.mean() / np.mean([at(found, "speed", t).mean() for t in np.arange(1.0, 39.0)])
    chance = 1.0 / np.sqrt(life.fate.ok.sum())
    assert takes_s == pytest.approx(life.trace.demand_s.mean(), rel=5 * chance)


def test_errors_are_a_share_of_a_stretch_with_their_status_and_their_time(tmp_path: Path) -> None:
    bad = Group("bad", 1, changes=(replace(BAD, error_share=0.4, status=502, after_s=0.02),))
    life = lived(scenario(bad, Group("good", 4), load=0.5), tmp_path)
    world = calibrate(life.recording)
    assert at(world.fleet, "error_share", 20.0) == pytest.approx([0.4, 0, 0, 0, 0], abs=0.1)
    assert at(world.fleet, "error_share", 5.0) == pytest.approx(np.zeros(5), abs=0.02)
    assert at(world.fleet, "status", 20.0)[0] == 502
    assert at(world.fleet, "after_s", 20.0)[0] == pytest.approx(0.02, abs=1e-3)
    # Who met an error meets it again at the same endpoint, and the others do not.
    share = at(world.fleet, "error_share", 20.0)[0]
    then = (life.trace.at_s > 14.0) & (life.trace.at_s < 21.0) & (life.fate.endpoint == 0)
    assert ((whole(world).luck[then] < share) == ~life.fate.ok[then]).all()


def test_members_come_and_go_when_they_did(tmp_path: Path) -> None:
    groups = (Group("good", 4), Group("late", 1, joins_s=15.0), Group("gone", 1, leaves_s=20.0))
    found = calibrate(lived(scenario(*groups), tmp_path).recording).fleet
    assert found.joins_s.tolist() == [0, 0, 0, 0, 15.0, 0]
    assert found.leaves_s.tolist() == [np.inf] * 5 + [20.0]
    assert found.names == ("good-0", "good-1", "good-2", "good-3", "late-0", "gone-0")


def test_antagonists_of_two_seconds_are_followed(tmp_path: Path) -> None:
    group = Group("shared", 5, flips=Flips((1.0, 0.3), hold_s=4.0))
    life = lived(scenario(group, load=0.6), tmp_path)
    found = calibrate(life.recording).fleet
    moments = np.arange(2.0, 38.0, 0.5)
    true, seen = (np.array([np.log(at(f, "speed", t)) for t in moments]) for f in (life.fleet, found))
    assert np.corrcoef(true.ravel(), seen.ravel())[0, 1] > 0.6


def test_clocks_that_are_ahead_are_put_right_and_told(tmp_path: Path) -> None:
    skewed = scenario(telemetry=TelemetryFault(skew_s=(5.0, 0.0, 0.0)), nodes=3)
    life = lived(skewed, tmp_path)
    world = calibrate(life.recording)
    assert whole(world).at_s == pytest.approx(life.trace.at_s, abs=0.02)
    assert world.fleet.workers.tolist() == [4] * 5
    assert [n for n in world.notes if "node-0 by +5.0" in n]


def test_requests_whose_work_was_not_seen_are_drawn_from_their_class_and_always_the_same(tmp_path: Path) -> None:
    bad = Group("bad", 1, changes=(replace(BAD, hang=True),))
    life = lived(scenario(bad, Group("good", 4), load=0.4), tmp_path, policy="round_robin")
    world = calibrate(life.recording)
    hung = (life.fate.endpoint == 0) & ~life.fate.ok
    assert hung.sum() > 30
    drawn = whole(world).demand_s[hung]
    assert len(np.unique(drawn)) > 20
    assert drawn.mean() == pytest.approx(life.trace.demand_s.mean(), rel=0.5)
    assert drawn.tolist() == whole(world).demand_s[hung].tolist()


def test_an_old_recording_without_static_rules_is_told_to_be_one(unlike: Lived) -> None:
    world = calibrate(replace(unlike.recording, mesh=None))
    assert world.rules.policy == "least_request"
    assert [n for n in world.notes if "does not tell the static rules" in n]


def test_retries_and_limits_are_taken_from_the_static_rules(unlike: Lived) -> None:
    mesh = unlike.recording.mesh
    assert mesh is not None
    retry = RetrySpec(num_retries=2, per_try_timeout_s=0.5, budget_percent=30.0, min_retry_concurrency=5)
    tried = replace(mesh, routes=(replace(mesh.routes[0], retry=retry), *mesh.routes[1:]))
    found = rules_of(tried, "lab", ("heavy", "quick", "other"), 7.0)
    assert found.routes == (RouteRules(3.0), RouteRules(3.0, 2, 0.5), RouteRules(7.0))
    assert (found.budget_percent, found.min_retry_concurrency) == (30.0, 5)


def test_what_cannot_be_calibrated_says_why(unlike: Lived) -> None:
    with pytest.raises(KeyError, match="no service 'shop'; there are lab"):
        calibrate(unlike.recording, "shop")
    with pytest.raises(RecordingError, match="holds no whole part"):
        calibrate(replace(unlike.recording, parts=()))
