"""Which recorded rows are requests, which are queue, and which are neither."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brain.settings import Settings
from dataplane.contract import (
    Columns,
    Dropped,
    Endpoint,
    Felt,
    InFlight,
    Node,
    Outcome,
    Requests,
    Service,
    Telemetry,
    Topology,
)
from dataplane.simulated.fleet import Trace
from weirflow.recording import Recorder, Recording, read
from weirflow.whatif.calibrate import calibrate
from weirflow.whatif.calibrate_read import blocks, felt, survey

SHOP = Service(0, "shop", (Endpoint(0, "10.0.0.1:80"), Endpoint(1, "10.0.0.2:80")))
OTHER = Service(1, "other", (Endpoint(2, "10.0.1.1:80"),))
TOPOLOGY = Topology(1, (SHOP, OTHER), (Node(0, "edge-0"), Node(1, "edge-1")), ("buy", "look"), (0, 0))
START = 1_000.0


def attempts(*at_s: float, took_s: float = 0.1, **more: Any) -> Requests:
    many = len(at_s)
    told: dict[str, Any] = {name: np.zeros(many) for name in Requests.dtypes()} | {
        "started_s": START + np.array(at_s),
        "duration_s": np.full(many, took_s),
        "felt_s": np.full(many, took_s),
        "status": np.full(many, 200),
        "attempt": np.ones(many),
    }
    return Requests.of(**told | {name: np.full(many, value) for name, value in more.items()})


def ended_badly(*at_s: float, took_s: float = 0.0, outcome: Outcome = Outcome.REJECTED) -> Felt:
    many = len(at_s)
    told = dict.fromkeys(Felt.dtypes(), np.zeros(many)) | {
        "started_s": START + np.array(at_s),
        "duration_s": np.full(many, took_s),
        "outcome": np.full(many, outcome),
        "status": np.full(many, 503),
    }
    return Felt.of(**told)


def recording(folder: Path, *batches: Telemetry, part_s: float = 60.0) -> Recording:
    recorder = Recorder(
        folder, settings=Settings(), topology=TOPOLOGY, now=START, on_problem=pytest.fail, part_s=part_s
    )
    last = START
    for batch in batches:
        if isinstance(batch, Requests | Felt):
            last = float((batch.started_s + batch.duration_s).max())
        recorder.told(batch, last + 0.01)
    recorder.close()
    return read(folder)


def sent(of: Recording) -> Trace:
    return Trace.concat(list(calibrate(of, "shop").chunks()))


def test_a_line_that_tells_of_the_last_try_alone_is_the_request_in_an_imported_log(tmp_path: Path) -> None:
    first = attempts(1.0, 2.0)
    last_only = attempts(3.0, attempt=3, took_s=0.4, felt_s=0.4)  # as an access log with one line a request has it
    world = calibrate(recording(tmp_path, first, last_only), "shop")
    assert Trace.concat(list(world.chunks())).at_s == pytest.approx([1.0, 2.0, 3.0])
    assert world.seen.requests == 3


def test_a_request_whose_second_try_was_refused_is_one_request(tmp_path: Path) -> None:
    """Envoy's retry budget was used up: the request ends refused, and its first try did fail at an endpoint."""
    late = attempts(1.0, 2.0, outcome=Outcome.TIMEOUT, status=0, took_s=1.0)
    refused = ended_badly(0.9995, 1.9995, 3.0, took_s=1.002)  # the third was refused before any try
    world = calibrate(recording(tmp_path, late, refused), "shop")
    assert Trace.concat(list(world.chunks())).at_s == pytest.approx([1.0, 2.0, 3.0])


def test_a_second_try_is_what_a_policy_did_and_no_request(tmp_path: Path) -> None:
    first = attempts(1.0, 2.0, outcome=Outcome.ERROR, status=503, took_s=0.01)
    second = attempts(1.01, 2.01, attempt=2, endpoint=1, felt_s=0.11)
    world = calibrate(recording(tmp_path, first, second), "shop")
    assert Trace.concat(list(world.chunks())).at_s == pytest.approx([1.0, 2.0])
    assert world.trust.attempts.tolist() == [2, 2]
    assert (world.seen.requests, world.seen.failed_share) == (2, 0.0)


def test_a_request_that_was_refused_is_asked_again_and_counts_once_though_two_logs_tell_of_it(tmp_path: Path) -> None:
    refused = attempts(1.0, outcome=Outcome.REJECTED, endpoint=-1, status=503, took_s=0.0)
    world = calibrate(recording(tmp_path, attempts(0.5), refused, ended_badly(1.0)), "shop")
    assert Trace.concat(list(world.chunks())).at_s == pytest.approx([0.5, 1.0])
    assert world.seen.failed_share == 0.5


def test_a_request_that_was_shed_before_any_attempt_is_asked_again_too(tmp_path: Path) -> None:
    assert sent(recording(tmp_path, attempts(0.5), ended_badly(1.0, 1.0))).at_s == pytest.approx([0.5, 1.0, 1.0])


def test_of_requests_that_failed_at_an_endpoint_the_second_log_adds_none(tmp_path: Path) -> None:
    failed = attempts(1.0, outcome=Outcome.TIMEOUT, status=504, took_s=3.0)
    made = recording(tmp_path, attempts(0.5), failed, ended_badly(1.0, took_s=3.0, outcome=Outcome.TIMEOUT))
    assert sent(made).at_s == pytest.approx([0.5, 1.0])
    at_s, waited_s, good = felt(made, 0)
    assert (at_s.tolist(), good.tolist()) == (pytest.approx([0.5, 1.0]), [True, False])
    assert waited_s == pytest.approx([0.1, 3.0])


def test_another_service_is_another_world(tmp_path: Path) -> None:
    made = recording(tmp_path, attempts(0.5), attempts(0.6, 0.7, service=1, endpoint=2))
    assert len(sent(made)) == 1
    other = calibrate(made, "other")
    assert other.fleet.names == ("10.0.1.1:80",)
    assert len(Trace.concat(list(other.chunks()))) == 2
    assert calibrate(made).service == "shop"  # which has more endpoints


def test_a_request_of_no_known_route_is_of_a_class_of_its_own(tmp_path: Path) -> None:
    world = calibrate(recording(tmp_path, attempts(0.5, route=1), attempts(0.6, route=-1)), "shop")
    assert world.classes == ("(unknown)", "look")
    assert [n for n in world.notes if "name no route" in n]


def test_a_log_that_lacks_what_load_reports_count_is_told_of(tmp_path: Path) -> None:
    counts: dict[str, Any] = {name: np.zeros(1) for name in InFlight.dtypes()}
    report = InFlight.report(0, 0.5, **counts | {"issued": np.array([10])})
    world = calibrate(recording(tmp_path, attempts(0.5, 0.6, 0.7, 0.8, 0.9), report, Dropped(0, {"flood": 5})), "shop")
    assert [n for n in world.notes if n.startswith("50% of the attempts")]
    assert [n for n in world.notes if "5 flood" in n]


@pytest.mark.parametrize("stream", ["attempts", "felt", "in_flight"])
def test_a_damaged_part_is_passed_over_and_told_of(tmp_path: Path, stream: str) -> None:
    counts: dict[str, Any] = {name: np.ones(1) for name in InFlight.dtypes()}
    batches: list[Telemetry] = []
    for t in range(1, 10):
        batches += [attempts(float(t)), ended_badly(t + 0.1), InFlight.report(0, 0.5, **counts)]
    made = recording(tmp_path, *batches, part_s=2.0)
    broken = made.folder / made.parts[1].files[stream].file
    broken.write_bytes(broken.read_bytes()[:-1])
    world = calibrate(made, "shop")
    many = len(Trace.concat(list(world.chunks())))
    assert many == 18 if stream == "in_flight" else 9 <= many < 18
    assert len([n for n in world.notes if n.startswith("passed over")]) == 1


def test_rows_that_come_late_are_put_in_order_however_small_the_blocks(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    began, took = np.sort(rng.uniform(0, 50, 400)), rng.exponential(0.5, 400)
    batches: list[Columns] = []
    for i in np.argsort(began + took):
        batches.append(attempts(float(began[i]), took_s=float(took[i]), node=i % 2))
    made = recording(tmp_path, *batches, part_s=5.0)
    about = survey(made, 0, [])
    seen = list(blocks(made, about, rows=50))
    assert len(seen) > 3
    at_s = np.concatenate([b.at_s for b in seen])
    assert at_s == pytest.approx(began, abs=1e-6)
    assert about.longest_way_s == pytest.approx(took.max(), abs=0.05)


def test_a_part_of_many_rows_is_taken_in_blocks_and_what_users_felt_with_them(tmp_path: Path) -> None:
    told: list[Telemetry] = []
    for second in range(40):
        told.append(attempts(*(second + np.arange(10) / 10.0), took_s=0.3))
        told.append(ended_badly(second + 0.05))
    made = recording(tmp_path, *told)
    assert len(made.parts) == 1
    about = survey(made, 0, [])
    whole, several = list(blocks(made, about)), list(blocks(made, about, rows=100))
    assert len(whole) == 1
    assert len(several) > 3
    assert max(map(len, several)) < 200  # what waits for its order, and a piece; of each shed one there are two rows
    at_s = np.concatenate([b.at_s for b in several])
    assert at_s.tolist() == whole[0].at_s.tolist() == sorted(at_s)
    assert np.concatenate([b.attempt for b in several]).tolist() == whole[0].attempt.tolist()
