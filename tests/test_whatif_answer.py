"""Answers: counted right, with intervals that mean something, the same on one core and on two, and doubted in time."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.simulated.fleet import Trace
from dataplane.simulated.rules import RouteRules, Rules
from tests.fleets import fleet, trace
from tests.whatif_worlds import InPieces, plain_world, record, world
from weirflow.lab.plots import HEIGHT, LEFT, WIDTH, Line, distributions
from weirflow.recording import Recording
from weirflow.whatif import trust
from weirflow.whatif.answer import Answer, Asked, Report, answer
from weirflow.whatif.attempts import shelf
from weirflow.whatif.carry import carry
from weirflow.whatif.change import Added, Question, Slow, Span, changed
from weirflow.whatif.coverage import coverage
from weirflow.whatif.page import page
from weirflow.whatif.parallel import AbsentError, Workers
from weirflow.whatif.question import Frame
from weirflow.whatif.report import document, doubt, heads
from weirflow.whatif.tally import (
    Interval,
)
from weirflow.whatif.world import World


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, World]:
    return record(plain_world(1.0, 1.0, 0.5, load=0.6), tmp_path_factory.mktemp("plain") / "r")


def asked(
    recorded: tuple[Recording, World], *questions: Question, policies: tuple[str, ...] = (), **more: int
) -> Report:
    recording, of = recorded
    told = Asked(questions or (Question(),), policies, more.pop("seeds", 2), bool(more.pop("force", False)))
    return answer(recording, Frame.of(recording, None), of, told, **more)


def test_every_policy_answers_and_the_bound_is_the_best(recorded: tuple[Recording, World]) -> None:
    from weirflow.whatif.policies import POLICIES

    report = asked(recorded, policies=tuple(POLICIES), seeds=1)
    rows = {r.policy: r for r in report.answers[0].rows}
    assert list(rows) == ["recorded", *[p for p in POLICIES if p != "recorded"]]
    assert len({r.requests for r in rows.values()}) == 1
    best = min(rows["central_queue"].figures["mean_s"].value, rows["jsed"].figures["mean_s"].value)
    assert all(r.figures["mean_s"].value >= best for r in rows.values())
    assert rows["recorded"].figures == rows["least_request"].figures
    assert rows["least_request"].against["p99_s"].value == 0.0
    assert rows["weirflow"].adaptive > 0.5


def test_more_load_fewer_endpoints_and_slow_ones_make_it_slower_and_more_endpoints_faster(
    recorded: tuple[Recording, World],
) -> None:
    names = recorded[1].fleet.names
    worse = (Question(load=1.4), Question(remove=(names[0],)), Question(slow=(Slow(names[0], 4.0, 20.0, 50.0),)))
    better = (Question(load=0.5), Question(add=(Added(2),)))
    report = asked(recorded, *worse, *better)
    for found in report.answers:
        apart = found.rows[0].against["mean_s"]
        assert apart.low is not None
        assert apart.high is not None
        if found.question in worse:
            assert apart.low > 0.0, found.question.words
        else:
            assert apart.high < 0.0, found.question.words


# The same everywhere.


def test_the_same_question_gives_the_same_bytes_whatever_the_number_of_jobs(
    recorded: tuple[Recording, World], tmp_path: Path
) -> None:
    def told(workers: Workers, file: Path) -> tuple[str, str, bytes]:
        with shelf() as held:
            question = Question(load=1.2)
            report = asked(recorded, question, policies=("random", "weirflow"), workers=workers, shelf=held)
            held.bind(file)
        return json.dumps(document(report)), page(report), file.read_bytes()

    one = told(Workers(1), tmp_path / "1.parquet")
    assert one == told(Workers(1), tmp_path / "2.parquet")
    assert one == told(Workers(2), tmp_path / "3.parquet")
    assert one == told(Workers(2, "threading"), tmp_path / "4.parquet")


def test_other_seeds_are_other_runs_and_the_same_seed_meets_the_same_requests(
    recorded: tuple[Recording, World],
) -> None:
    _, of = recorded
    runs = [carry(of, "random", Span(0.0, of.duration_s), seed) for seed in (1, 1, 2)]
    assert np.array_equal(runs[0].bins, runs[1].bins)
    assert not np.array_equal(runs[0].bins, runs[2].bins)
    more = [Trace.concat(list(changed(of, Question(load=1.5), seed)[0].chunks())) for seed in (1, 1, 2)]
    assert np.array_equal(more[0].demand_s, more[1].demand_s)
    assert not np.array_equal(more[0].demand_s[:5000], more[2].demand_s[:5000])


def test_a_backend_that_is_not_there_is_told_before_any_work() -> None:
    with pytest.raises(AbsentError, match="--backend ray needs the package 'ray', which is not installed"):
        Workers(2, "ray")


def test_the_simulated_attempts_are_all_there_with_names(recorded: tuple[Recording, World], tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    with shelf() as held:
        report = asked(recorded, Question(load=0.5), policies=("full_scan",), seeds=2, shelf=held)
        held.bind(file)
    table = pq.read_table(file)
    runs = [sum(map(len, changed(recorded[1], Question(load=0.5), seed)[0].chunks())) for seed in (0, 1)]
    assert table.num_rows == 2 * sum(runs)
    assert 0.5 * table.num_rows > sum(r.requests for r in only(report).rows), "the unjudged first seconds are there"
    frame = {name: table.column(name).to_pylist() for name in ("question", "policy", "seed", "endpoint", "outcome")}
    assert set(frame["question"]) == {"load x0.5"}
    in_turn = list(dict.fromkeys(zip(frame["policy"], frame["seed"], strict=True)))
    assert in_turn == [(p, s) for p in ("recorded", "full_scan") for s in (0, 1)]
    assert set(frame["endpoint"]) == set(recorded[1].fleet.names)
    assert set(frame["outcome"]) == {"OK"}
    started = table.column("started_s").to_numpy()
    assert recorded[1].started <= started.min() < recorded[1].started + 1.0


# Doubts.


def only(report: Report) -> Answer:
    (found,) = report.answers
    return found


def test_a_sound_recording_concludes_and_says_which_engine_answered(recorded: tuple[Recording, World]) -> None:
    report = asked(recorded, policies=("full_scan",))
    assert report.check.passed
    assert report.concluded
    assert only(report).engine == "simulation"
    told = document(report)["answers"][0]
    assert told["why"].startswith("Answered by the simulation. Not by the off-policy estimate: ")


def test_a_check_that_is_far_off_concludes_nothing(recorded: tuple[Recording, World]) -> None:
    recording, of = recorded
    wrong = replace(of, seen=replace(of.seen, p50_s=2.0 * of.seen.p50_s, failed_share=0.2))
    report = asked((recording, wrong))
    assert not report.check.passed
    assert report.check.beyond == ("p50_s", "failed")
    assert not report.concluded
    (said,) = report.doubts
    assert "too far from what was recorded: p50 -50% (bound +15%), failed -20.0 points" in said.why
    assert "record a stretch in which" in said.mend
    assert document(report)["answers"][0]["simulation"] is None
    assert "NOT PASSED" in "".join(heads(report))
    assert document(asked((recording, wrong), force=True))["answers"][0]["simulation"] is not None


def test_an_endpoint_that_was_hardly_tried_is_not_concluded_about(recorded: tuple[Recording, World]) -> None:
    recording, of = recorded
    rare = replace(of, trust=replace(of.trust, attempts=np.array([5000, 5000, 12])))
    (said,) = only(asked((recording, rare))).doubts
    assert said.why == "hardly ever tried, and asked about: 10.0.0.2:80 (12 attempts)"
    assert only(asked((recording, rare), Question(remove=("10.0.0.2:80",)))).doubts == ()


def test_more_load_than_was_seen_without_a_queue_is_not_concluded_about(recorded: tuple[Recording, World]) -> None:
    recording, of = recorded
    calm = replace(of, trust=replace(of.trust, waited_share=np.zeros(3)))
    for question in (Question(load=1.5), Question(remove=("10.0.0.0:80",)), Question(slow=(Slow("10.0.0.0:80", 2.0),))):
        (said,) = only(asked((recording, calm), question)).doubts
        assert "how many it can work on at once is a guess" in said.why
        assert "busy enough that some requests wait" in said.mend
        assert only(asked(recorded, question)).doubts == (), "where requests waited the workers are known"
    for question in (Question(), Question(load=0.7), Question(load=1.3, add=(Added(1),))):
        assert only(asked((recording, calm), question)).doubts == ()


def test_a_policy_that_crowds_endpoints_as_was_never_seen_is_not_concluded_about(
    recorded: tuple[Recording, World],
) -> None:
    recording, of = recorded
    calm = replace(of, trust=replace(of.trust, workers_low=4, workers_high=inf))
    (said,) = only(asked((recording, calm), policies=("random",))).doubts
    assert "would find 4 or more others at their endpoint" in said.why
    assert "under the policy that is asked about" in said.mend
    assert only(asked((recording, calm), policies=("full_scan",))).doubts == (), "it crowds them less"
    assert only(asked(recorded, policies=("random",))).doubts == (), "where requests waited the workers are known"


def test_lost_telemetry_and_short_recordings_are_doubted(recorded: tuple[Recording, World]) -> None:
    recording, of = recorded
    frame = Frame.of(recording, None)
    seen = coverage(recording, frame)
    assert (seen.attempts, seen.lost_share, seen.dropped) == (of.seen.requests, 0.0, 0)
    found = trust.check(of, "x", {n: Interval(getattr(of.seen, n, of.seen.failed_share)) for n in trust.BOUNDS})
    assert trust.of_recording(found, seen, of) == ()
    lost = replace(seen, issued=round(seen.attempts / 0.9))
    (said,) = trust.of_recording(found, lost, of)
    assert "telemetry was lost: 10.0% of what was sent to endpoints is not in the log" in said.why
    (said,) = trust.of_recording(found, replace(seen, dropped=5000), of)
    assert "5000 log entries could not be read" in said.why
    (said,) = trust.of_recording(found, replace(seen, damaged=("a: is cut short",)), of)
    assert "damaged" in doubt(said)
    (said,) = trust.of_recording(found, seen, replace(of, seen=replace(of.seen, requests=100)))
    assert "record 10 times as long" in said.mend


def test_a_log_that_was_lost_on_the_way_is_found_by_the_load_reports(tmp_path: Path) -> None:
    from dataplane.simulated.logs import Wire

    recording, _ = record(plain_world(load=0.3, seconds=30.0), tmp_path / "r", wire=Wire(lost=0.3))
    found = coverage(recording, Frame.of(recording, None))
    assert found.lost_share == pytest.approx(0.3, abs=0.08)


def test_the_peak_is_that_of_the_busiest_ten_seconds(tmp_path: Path) -> None:
    of = fleet(1.0, 1.0)
    calm, busy = trace(of, 0.2, 30.0, nodes=2, mean_s=0.02), trace(of, 0.6, 10.0, nodes=2, seed=2, mean_s=0.02)
    calm, busy = calm.take(calm.at_s < 30.0), busy.take(busy.at_s < 10.0)
    both = Trace.concat([calm, replace(busy, at_s=busy.at_s + 30.0)])
    rules = Rules(policy="random", routes=(RouteRules(timeout_s=5.0),))
    recording, _ = record(world(of, both, chunks=InPieces(both), rules=rules, duration_s=40.0), tmp_path / "r")
    found = coverage(recording, Frame.of(recording, None))
    assert found.peak_per_s == pytest.approx(len(busy) / 10.0, rel=0.1)
    assert found.per_s[0] == pytest.approx(len(calm) / 30.0, rel=0.15)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=50))
def test_a_distribution_stays_within_its_frame_whatever_the_latencies(ms: list[float]) -> None:
    line = Line("x", np.sort(np.array(ms)), np.linspace(0.0, 1.0, len(ms)), "c0")
    drawn = distributions("all", [line])
    path = re.findall(r'd="(M[^"]+)"', drawn)[0]
    for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path):
        assert LEFT <= float(x) <= WIDTH
        assert 0.0 <= float(y) <= HEIGHT
    assert distributions("none", [])
