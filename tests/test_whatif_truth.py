"""Record under one policy, ask about another, then really run the other: is the answer what happens?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.whatif_worlds import plain_world, record
from weirflow.recording import Recording
from weirflow.whatif.answer import Asked, answer
from weirflow.whatif.calibrate import calibrate
from weirflow.whatif.carry import carry
from weirflow.whatif.change import Added, Question, Slow, changed
from weirflow.whatif.question import Frame
from weirflow.whatif.tally import figures
from weirflow.whatif.world import World

QUESTIONS = {
    "another policy": Question(),
    "more load": Question(load=1.2),
    "less load": Question(load=0.6),
    "one more": Question(add=(Added(1),)),
    "one slow": Question(slow=(Slow("10.0.0.1:80", 2.0, 20.0, 40.0),)),
    "one gone": Question(remove=("10.0.0.2:80",)),
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, World]:
    """Two fast endpoints and a slow one under least request, and the world that it was."""
    of = plain_world(1.0, 1.0, 0.5, load=0.65, seconds=60.0)
    return record(of, tmp_path_factory.mktemp("truth") / "r")[0], of


def truth(of: World, question: Question, policy: str) -> dict[str, float]:
    """What happens in the very world, over picks of other seeds."""
    tallies = []
    for seed in range(50, 54):
        other, span = changed(of, question, seed)
        tallies.append(carry(other, policy, span, seed))
    return {name: float(value[0]) for name, value in figures(tallies).items()}


@pytest.mark.parametrize("asked", QUESTIONS)
def test_what_is_answered_is_what_happens(recorded: tuple[Recording, World], asked: str) -> None:
    recording, of = recorded
    question = QUESTIONS[asked]
    frame = Frame.of(recording, None)
    report = answer(recording, frame, calibrate(recording, frame.service), Asked((question,), ("full_scan",), 3))
    assert report.concluded, report.answers[0].doubts
    for row in report.answers[0].rows:
        right = truth(of, question, row.policy)
        # The bars for a prediction of real runs: p50 within 5 %, p99 within 15 %, errors within 1 point.
        told = {name: row.figures[name].value for name in ("p50_s", "p99_s", "failed")}
        assert told["p50_s"] == pytest.approx(right["p50_s"], rel=0.05), row.policy
        assert told["p99_s"] == pytest.approx(right["p99_s"], rel=0.15), row.policy
        assert told["failed"] == pytest.approx(right["failed"], abs=0.01), row.policy
    sooner = {row.policy: row.figures["mean_s"].value for row in report.answers[0].rows}
    assert np.isfinite(list(sooner.values())).all()
    assert sooner["full_scan"] < sooner["recorded"]


def test_where_no_queue_was_seen_a_policy_that_makes_one_is_refused_with_the_recording_that_would_help(
    tmp_path: Path,
) -> None:
    recording, _ = record(plain_world(load=0.1, policy="full_scan"), tmp_path / "r")
    of, frame = calibrate(recording, "orders"), Frame.of(recording, None)
    assert of.trust.workers_high == np.inf
    report = answer(recording, frame, of, Asked((Question(),), ("random",), 2))
    (said,) = report.answers[0].doubts
    assert "at once was seen, and whether on more was not" in said.why
    assert "record for some minutes under the policy that is asked about" in said.mend
    assert answer(recording, frame, of, Asked((Question(),), (), 2)).concluded


def test_the_check_is_what_calibration_itself_says(recorded: tuple[Recording, World], tmp_path: Path) -> None:
    from weirflow.whatif.fidelity import self_check

    recording, _ = recorded
    of = calibrate(recording, "orders")
    report = answer(recording, Frame.of(recording, None), of, Asked((Question(),), (), 3))
    own = self_check(of)
    assert report.check.off["p50_s"] == pytest.approx(own.p50, abs=0.05)
    assert report.check.off["p99_s"] == pytest.approx(own.p99, abs=0.15)
