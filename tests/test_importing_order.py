"""Rows in any order and number come out sorted, once, numbered; silences and clocks that disagree are told."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import logs
from tests.logs import T0, Asked, imported, some
from weirflow.importing import Options, run
from weirflow.importing import runs as sorting
from weirflow.importing.attempts import ROW
from weirflow.importing.runs import Runs
from weirflow.recording import inspect, read

HEAD = "started,duration_ms,service,endpoint,path,status,request,node\n"


def row(at_s, duration_ms=5.0, endpoint="e:1", status=200, request="", node="n1"):
    return f"{T0.timestamp() + at_s:.6f},{duration_ms},s,{endpoint},/a,{status},{request},{node}\n"


def test_lines_in_any_order_make_the_same_recording(tmp_path):
    lines = logs.content("envoy", some(300)).splitlines(keepends=True)
    straight, first = imported(tmp_path / "a", b"".join(lines))
    random.Random(7).shuffle(lines)
    mixed, second = imported(tmp_path / "b", b"".join(lines), run_rows=50)
    for name in first:
        if not name.endswith("_id"):  # integers are handed out as names are met
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert straight.files[0].out_of_order == 0
    assert mixed.files[0].out_of_order > 200
    assert 60 < mixed.files[0].worst_s < 76


def test_the_same_files_make_the_same_recording(tmp_path):
    """In every row and name; not to the byte, for Arrow writes four bytes of chance into a dictionary of "" alone."""
    content = logs.content("envoy", some(300))
    (one, first), (other, second) = (imported(tmp_path / name, content) for name in "ab")
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    for file in ("recording.json", "events-00001.parquet"):
        assert (Path(one.folder) / file).read_bytes() == (Path(other.folder) / file).read_bytes()


@given(
    st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=12),
    st.integers(1, 40),
)
def test_an_external_merge_gives_what_a_sort_gives(tmp_path_factory, pieces, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorting, "LEAST_BLOCK", 1)  # else these runs are a block each
        _merge(tmp_path_factory.mktemp("runs"), pieces, size)


def _merge(folder, pieces, size):
    runs = Runs(folder, size)
    every = []
    for piece in pieces:
        rows = np.zeros(len(piece), ROW)
        rows["ended"] = piece
        rows["request"] = np.arange(len(every), len(every) + len(piece))
        every += list(zip(piece, rows["request"].tolist(), strict=True))
        runs.add(rows)
    blocks = list(runs.merged())
    got = np.concatenate(blocks) if blocks else np.empty(0, ROW)
    assert got["ended"].tolist() == sorted(end for end, _ in every)
    assert sorted(zip(got["ended"].tolist(), got["request"].tolist(), strict=True)) == sorted(every)
    ends = [set(b["ended"].tolist()) for b in blocks]
    assert all(not (a & b) for i, a in enumerate(ends) for b in ends[i + 1 :])


def test_a_merge_of_many_runs_holds_no_more_than_one_run(tmp_path, monkeypatch):
    monkeypatch.setattr(sorting, "LEAST_BLOCK", 1)
    runs = Runs(tmp_path, 100)
    for i in range(40):
        rows = np.zeros(100, ROW)
        rows["ended"] = np.random.default_rng(i).permutation(4000)[:100] + i / 64
        runs.add(rows)
    sizes = [len(block) for block in runs.merged()]
    assert sum(sizes) == 4000
    assert max(sizes) <= 100


def test_a_row_told_twice_under_one_id_counts_once_and_rows_alike_without_one_are_kept(tmp_path):
    rows = row(0, request="r1") * 2 + row(1, request="r2") + row(2) * 3
    report, got = imported(tmp_path, HEAD + rows)
    assert (report.duplicates, report.alike) == (1, 2)
    assert len(got["status"]) == 5


def test_the_lines_of_an_overlapping_rotation_count_once(tmp_path):
    lines = logs.content("envoy", some(300)).splitlines(keepends=True)
    report, _ = imported(tmp_path, b"".join(lines[:200]), b"".join(lines[150:]), node="edge")
    assert (report.attempts, report.duplicates) == (300, 50)


def test_a_row_after_a_failed_one_of_its_request_is_its_next_try(tmp_path):
    rows = (
        row(0.0, 10, "e:1", 503, "r1")
        + row(0.05, 20, "e:2", 503, "r1")
        + row(0.10, 30, "e:3", 200, "r1")
        + row(0.20, 5, "e:1", 200, "r1")  # the same id once more: two of its tries had failed
        + row(0.0, 10, "e:1", 503, "r2")
        + row(40.0, 10, "e:1", 200, "r2")  # nobody retries after half a minute
        + row(0.0, 10, "e:1", 503, "r3")
        + row(0.02, 10, "e:1", 200, "r3", node="n2")  # another proxy: another request
    )
    report, got = imported(tmp_path, HEAD + rows)
    order = np.lexsort((got["started_s"],))
    told = sorted(zip(got["started_s"][order] - T0.timestamp(), got["attempt"][order], strict=True))
    assert [(round(float(t), 2), int(a)) for t, a in told] == [
        (0.0, 1), (0.0, 1), (0.0, 1), (0.02, 1), (0.05, 2), (0.1, 3), (0.2, 3), (40.0, 1),
    ]  # fmt: skip
    third = np.abs(got["started_s"] - T0.timestamp() - 0.1) < 1e-3
    assert got["felt_s"][third] == pytest.approx([0.13], abs=1e-4)
    assert report.retries == 3


def test_a_recording_is_told_in_order_as_a_brain_would_have_heard_it(tmp_path):
    draw = random.Random(5)
    rows = "".join(
        row(draw.uniform(0, 30), draw.choice((1, 20, 3000)), node=draw.choice(("n1", "n2", "n2", "n2")))
        for _ in range(3000)
    )
    report, _got = imported(tmp_path, HEAD + rows)
    calls = list(read(Path(report.folder)).calls())
    assert [c.verb for c in calls[:2]] == ["started", "told"]
    assert [c.now for c in calls] == sorted(c.now for c in calls)
    assert sum(len(c.argument) for c in calls[1:]) == 3000
    assert len(calls) > 4
    for call in calls[1:]:
        assert len(set(call.argument.node)) == 1
        assert (call.argument.started_s + call.argument.duration_s <= call.now + 1e-3).all()
        assert (np.diff(call.argument.started_s) >= 0).all()
    # What inspect and what-if take for the clock of a node is none of the gaps between batches.
    assert all(abs(c.offset_s) < 1e-3 for c in inspect.inspect(Path(report.folder)).clocks)


def test_a_silence_is_told_by_node(tmp_path):
    rows = "".join(row(i * 0.1, node="n1") + row(i * 0.1, node="n2") for i in range(100))
    rows += "".join(row(60 + i * 0.1, node="n1") for i in range(100))
    rows += "".join(row(10 + i * 0.1, node="n2") for i in range(600))
    report, _ = imported(tmp_path, HEAD + rows)
    assert [(g.node, round(g.end - g.start, 1)) for g in report.gaps] == [("n1", 50.1)]


def test_clocks_that_disagree_are_told_by_the_requests_that_both_nodes_carried(tmp_path):
    draw = random.Random(3)
    rows = ""
    for i in range(200):
        wait = draw.uniform(1, 4)
        rows += row(i * 0.1, 30 + wait, request=f"r{i}", node="edge")
        rows += row(i * 0.1 + wait / 2000 + 7.0, 30, request=f"r{i}", node="sidecar")
    report, _ = imported(tmp_path, HEAD + rows)
    (clock,) = report.clocks
    assert (clock["node"], clock["against"], clock["requests"]) == ("sidecar", "edge", 200)
    assert clock["ahead_low_s"] <= 7.0 <= clock["ahead_high_s"]
    assert clock["ahead_high_s"] - clock["ahead_low_s"] < 0.002


def test_memory_does_not_grow_with_the_file(tmp_path):
    """A run of 20,000 rows is 2 MB; the lines of the larger file are 30 MB, and its rows 13."""
    peaks = []
    for n in (40_000, 160_000):
        file = tmp_path / f"{n}.log"
        with file.open("w") as out:
            for i in range(n):
                out.write(
                    logs.envoy(Asked(i * 0.001, 10 + i % 50, f"/a/{i}", f"10.0.0.{i % 5}:80", 200, f"{i:036d}")) + "\n"
                )
        tracemalloc.start()
        report = run([str(file)], tmp_path / f"to-{n}", Options(run_rows=20_000))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert report.attempts == n
    assert peaks[1] < 1.3 * peaks[0] + 1e7
    assert not list(Path(tmp_path).glob(".*"))
