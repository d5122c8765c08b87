"""A recording gives back what the brain was told, call by call and bit by bit, and what people look for by name."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from brain.commands import Rollback
from brain.decision import Decision
from brain.settings import Settings
from dataplane.contract import Columns, Endpoint, Felt, InFlight, Node, Requests, Service, Topology
from dataplane.mesh import EndpointSpec, ListenerSpec, Mesh, NodeSpec, RetrySpec, RouteSpec, ServiceSpec
from weirflow.recording import Call, Recorder, RecordingError, Start, invented, newest, read, runs
from weirflow.recording.calls import to_json
from weirflow.recording.part import seal
from weirflow.recording.schema import STREAMS, TELEMETRY, encodings, schema
from weirflow.recording.tables import Names, batches_of, telemetry_table


def record(folder: Path, calls: Iterable[Call], **options: Any) -> Recorder:
    """Record a whole run and close it; a problem is the test's failure."""
    calls = iter(calls)
    start = next(calls)
    options = {"on_problem": pytest.fail, "part_s": 3.0, **options}
    recorder = Recorder(
        folder, settings=start.argument.settings, topology=start.argument.topology, now=start.now, **options
    )
    for call in calls:
        invented.tell(recorder, call)
    recorder.close()
    return recorder


def until(condition: Callable[[], bool], deadline_s: float = 20.0) -> None:
    """Wait for a condition of another thread."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.005)


def plain(call: Call) -> tuple[Any, ...]:
    """A call in a form that compares bit by bit."""
    argument = call.argument
    if isinstance(argument, Columns):
        columns = {n: (getattr(argument, n).dtype, getattr(argument, n).tobytes()) for n in argument.dtypes()}
        extra = (argument.node_id, argument.interval_s) if isinstance(argument, InFlight) else ()
        return call.now, call.verb, type(argument), columns, extra
    if call.verb == "decided":
        return (
            call.now,
            call.verb,
            json.loads(to_json(argument.to_dict() if isinstance(argument, Decision) else argument)),
        )
    if call.verb == "restored":
        return call.now, call.verb, repr(argument)
    return call.now, call.verb, argument


def test_every_call_comes_back_in_order_and_every_bit_of_its_columns(tmp_path: Path) -> None:
    told = list(invented.run())
    record(tmp_path / "r", told)
    assert [plain(c) for c in read(tmp_path / "r").calls()] == [plain(c) for c in told]


def test_a_run_is_cut_into_parts_by_the_time_of_its_calls_and_no_batch_is_cut(tmp_path: Path) -> None:
    record(tmp_path / "r", invented.run(12), part_s=3.0)  # decided at whole seconds, told 0.8 to 0.4 s before
    recording = read(tmp_path / "r")
    spans = [(round(p.started - invented.T0, 1), round(p.ended - invented.T0, 1)) for p in recording.parts]
    assert spans == [(0.0, 2.6), (3.0, 5.6), (6.0, 8.6), (9.0, 11.6), (12.0, 12.0)]
    assert [p.first_call for p in recording.parts[1:]] == [p.last_call + 1 for p in recording.parts[:-1]]


def test_a_part_closes_when_its_rows_are_full(tmp_path: Path) -> None:
    record(tmp_path / "r", invented.run(12, rows=100), part_s=1e9, part_rows=500)
    rows = [sum(f.rows for s, f in p.files.items() if s in TELEMETRY) for p in read(tmp_path / "r").parts]
    assert len(rows) > 3
    assert all(500 <= n < 700 for n in rows[:-1])


def test_names_stand_beside_the_integers_and_null_where_there_is_none(tmp_path: Path) -> None:
    record(tmp_path / "r", invented.run(3))
    for row in read(tmp_path / "r").attempts().to_pylist():
        i = row["endpoint_id"]
        assert row["service"] == ("checkout", "search")[row["service_id"]]
        assert row["endpoint"] == (None if i < 0 else f"10.0.0.{i}:80")
        assert row["zone"] == (None if i < 0 else "ab"[i % 2])
        assert row["node"] == f"edge-{row['node_id'] + 1}"
        assert row["route"] == (None if row["route_id"] < 0 else ("checkout", "search")[row["route_id"]])
        assert row["arm"] == ("static", "adaptive")[row["arm_id"]]


def test_an_attempt_told_after_its_endpoint_left_still_has_its_address(tmp_path: Path) -> None:
    before = Topology(1, (Service(0, "a", (Endpoint(0, "x:1"), Endpoint(1, "x:2"))),), (Node(0, "n"),))
    after = Topology(2, (Service(0, "a", (Endpoint(0, "x:1"),)),), (Node(0, "n"),), endpoint_slots=2)
    late = Requests.of(**{n: [1] for n in Requests.dtypes()})
    start = next(invented.run())._replace(argument=Start(Settings(), before))
    record(tmp_path / "r", [start, Call(start.now + 1, "moved", after), Call(start.now + 2, "told", late)])
    assert read(tmp_path / "r").attempts(["endpoint"]).to_pylist() == [{"endpoint": "x:2"}]


def test_a_corrected_zone_renames_what_is_told_from_then_on_and_nothing_before(tmp_path: Path) -> None:
    one = Requests.of(**{n: [0] for n in Requests.dtypes()})
    zones = [
        Topology(v, (Service(0, "a", (Endpoint(0, "x:1", zone=z),)),), (Node(0, "n"),))
        for v, z in enumerate(("", "b"), 1)
    ]
    start = next(invented.run())._replace(argument=Start(Settings(), zones[0]))
    said = [Call(start.now, "told", one), Call(start.now, "moved", zones[1]), Call(start.now, "told", one)]
    record(tmp_path / "r", [start, *said])
    assert read(tmp_path / "r").attempts(["zone"]).to_pydict() == {"zone": ["", "b"]}


def test_each_part_is_legible_without_those_before_it(tmp_path: Path) -> None:
    record(tmp_path / "r", invented.run(12))
    last = read(tmp_path / "r").parts[-2]
    assert last.topology.version > 1
    assert last.settings.share_percent == 1 / 3
    table = pq.read_table(tmp_path / "r" / last.files["attempts"].file)
    assert table.schema.metadata[b"weirflow.format"] == b"3"
    assert set(table.column("service").to_pylist()) == {"checkout", "search"}


def test_who_commanded_is_written_down(tmp_path: Path) -> None:
    recorder = Recorder(
        tmp_path / "r", settings=Settings(), topology=invented.topology(), now=0.0,
        on_problem=pytest.fail,
    )  # fmt: skip
    recorder.commanded(Rollback(), 1.0, who="ana")
    recorder.close()
    rows = read(tmp_path / "r").table("events", ["kind", "who"]).to_pylist()
    assert rows[-1] == {"kind": "Rollback", "who": "ana"}


def test_a_crash_loses_the_open_part_and_a_reader_says_which_files_those_are(tmp_path: Path) -> None:
    calls = iter(invented.run(12, rows=40_000))
    start = next(calls)
    recorder = Recorder(
        tmp_path / "r", settings=start.argument.settings, topology=start.argument.topology, now=start.now, part_s=5.0,
        on_problem=pytest.fail,
    )  # fmt: skip
    for call in calls:
        invented.tell(recorder, call)
    until(lambda: recorder.status()["backlog_bytes"] == 0)  # the thread has written what is due; no close comes
    recording = read(tmp_path / "r")
    assert len(recording.parts) == 2
    assert not recording.faults
    assert "attempts-00003.parquet.open" in recording.unfinished
    recorder.close()
    assert not read(tmp_path / "r").unfinished


def test_a_second_recorder_in_the_same_folder_is_refused_and_says_so(tmp_path: Path) -> None:
    record(tmp_path / "r", invented.run(1))
    problems: list[str] = []
    record(tmp_path / "r", invented.run(1), on_problem=problems.append)
    assert len(problems) == 1
    assert "every run needs a folder of its own" in problems[0]
    assert len(list(read(tmp_path / "r").calls())) > 5


def test_a_folder_that_holds_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"recording\.json: is missing"):
        read(tmp_path)


def test_keep_bytes_deletes_the_oldest_telemetry_and_keeps_decisions(tmp_path: Path) -> None:
    recorder = record(tmp_path / "r", invented.run(62, rows=500), keep_bytes=1_000_000)
    recording = read(tmp_path / "r")
    size = sum(f.stat().st_size for f in (tmp_path / "r").iterdir() if f.name != "recording.json")
    assert recorder.status()["bytes"] == size <= 1_000_000
    assert not recording.faults
    assert recording.telemetry_from > 1
    assert recording.parts_from == 1
    assert len(recording.table("decisions")) == 62
    assert set(recording.attempts(["seq"]).column("seq").to_pylist())  # the newest is there
    with pytest.raises(RecordingError, match="deleted to save space"):
        list(recording.calls())


def test_keep_bytes_deletes_decisions_last_and_never_the_newest_part(tmp_path: Path) -> None:
    record(tmp_path / "r", invented.run(62, rows=500), keep_bytes=1)
    recording = read(tmp_path / "r")
    assert [p.number for p in recording.parts] == [recording.parts_from] == [recording.telemetry_from]
    assert len(recording.attempts()) > 0
    assert not recording.faults


def test_keep_bytes_counts_older_runs_and_takes_from_them_first(tmp_path: Path) -> None:
    for name, start in (("run-1", 1), ("run-2", 2)):
        record(tmp_path / name, invented.run(30, rows=500, seed=start))
    (tmp_path / "run-1" / "notes.txt").write_text("mine")
    (tmp_path / "not-a-run").mkdir()
    older = runs(tmp_path)
    assert [f.name for f in older] == ["run-1", "run-2"]
    record(tmp_path / "run-3", invented.run(30, rows=500, seed=3), keep_bytes=1_000_000, older=older)
    recordings = [read(f) for f in runs(tmp_path)]
    assert not any(r.faults for r in recordings)
    assert sum(f.stat().st_size for f in tmp_path.rglob("*-*") if f.is_file()) <= 1_000_000
    telemetry = [len(r.attempts(["seq"])) for r in recordings]
    assert telemetry[:2] == [0, 0]
    assert telemetry[2] > 0
    assert [len(r.table("decisions", ["seq"])) for r in recordings] == [30, 30, 30]
    assert newest(tmp_path) == tmp_path / "run-3" == newest(tmp_path / "run-3")
    record(tmp_path / "run-4", invented.run(30, rows=500, seed=4), keep_bytes=1, older=runs(tmp_path))
    assert [f.name for f in runs(tmp_path)] == ["run-4"]
    assert [p.name for p in (tmp_path / "run-1").iterdir()] == ["notes.txt"], "only what is ours is deleted"
    assert not (tmp_path / "run-2").exists()


def test_a_call_costs_the_event_loop_nothing_but_a_reference(tmp_path: Path) -> None:
    start = next(invented.run()).argument
    recorder = Recorder(
        tmp_path / "r", settings=start.settings, topology=start.topology, now=0.0, on_problem=pytest.fail
    )
    batch = invented.batch(Requests, 1000, np.random.default_rng(0))
    recorder.told(batch, 1.0)
    recorder.close()
    (told,) = [c.argument for c in read(tmp_path / "r").calls() if c.verb == "told"]
    assert told.started_s.tobytes() == batch.started_s.tobytes()


@pytest.mark.parametrize("stream", sorted(TELEMETRY))
@with_settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_tables_give_back_any_batches_bit_by_bit(stream: str, data: st.DataObject, tmp_path_factory: Any) -> None:
    kind = TELEMETRY[stream]
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    lengths = data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=5))
    batches = []
    for rows in lengths:  # every integer is random bits too: a name that is not there must cost nothing but a null
        columns = {n: np.frombuffer(random.bytes(rows * d.itemsize), d) for n, d in kind.dtypes().items()}
        batches.append(kind.of(**columns))
    names = Names()
    names.learn(invented.topology())
    table = telemetry_table(stream, [(i, float(i), b) for i, b in enumerate(batches)], names)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **encodings(stream))
    back = pq.read_table(pa.BufferReader(sink.getvalue()))
    assert back.schema.equals(schema(stream))
    for old, new in zip(batches, batches_of(stream, back, lengths), strict=True):
        for name in kind.dtypes():
            assert getattr(new, name).tobytes() == getattr(old, name).tobytes(), name


def kind_of(arrow_type: Any) -> str:
    return "string" if pa.types.is_dictionary(arrow_type) else str(arrow_type)


def test_the_page_about_recordings_lists_the_very_columns(request: pytest.FixtureRequest) -> None:
    page = (request.config.rootpath / "docs/reference/recording.md").read_text()
    for stream, columns in STREAMS.items():
        section = page.split(f"### `{stream}`")[1].split("\n### ")[0].split("\n## ")[0]
        rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|([^|]*)\|([^|]*)\|$", section, re.MULTILINE)
        form = [(c.name, kind_of(c.type), c.unit, c.meaning) for c in columns]
        assert [(n, t.strip(), u.strip(), m.strip()) for n, t, u, m in rows] == form


def test_no_column_could_hold_a_path_a_header_or_a_client(tmp_path: Path) -> None:
    texts = {c.name for s in TELEMETRY for c in STREAMS[s] if pa.types.is_dictionary(c.type) or c.type == pa.string()}
    assert texts == {"service", "endpoint", "zone", "node", "route", "outcome", "arm"}
    assert {n for k in (Requests, Felt, InFlight) for n, d in k.dtypes().items() if d.kind not in "iuf"} == set()


def test_a_recording_tells_the_static_rules_of_its_start_without_hosts_and_prefixes(tmp_path: Path) -> None:
    route = RouteSpec("buy", "shop", hosts=("secret.example",), prefix="/secret", timeout_s=2.0, retry=RetrySpec())
    service = ServiceSpec("shop", (EndpointSpec("10.0.0.1:80", 3, "a"),), policy="ROUND_ROBIN")
    mesh = Mesh((NodeSpec("edge"),), (ListenerSpec("web", "0.0.0.0", 80),), (route,), (service,))
    record(tmp_path / "with", invented.run(3), mesh=mesh)
    record(tmp_path / "without", invented.run(3))

    told = read(tmp_path / "with").mesh
    assert told is not None
    assert told.services == mesh.services
    assert told.routes == (replace(route, hosts=("*",), prefix="/"),)
    assert "secret" not in (tmp_path / "with" / "recording.json").read_text()
    assert read(tmp_path / "without").mesh is None


def test_static_rules_that_make_no_sense_are_said_to(tmp_path: Path) -> None:
    record(tmp_path / "run", invented.run(3))
    header = tmp_path / "run" / "recording.json"
    content = json.loads(header.read_text()) | {"mesh": {"nodes": 7}}
    header.write_bytes(seal({k: v for k, v in content.items() if k != "sha256"}))
    with pytest.raises(RecordingError, match=r"static rules that make no sense: Mesh\.nodes"):
        read(tmp_path / "run")
