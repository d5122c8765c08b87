"""Cases 27 and 28: a recording that is damaged says what and where; a disk that refuses stops the recording alone."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from brain.settings import Settings
from dataplane.contract import Requests
from weirflow import files
from weirflow.recording import Recorder, RecordingError, invented, read
from weirflow.recording.part import seal
from weirflow.recording.schema import encodings, schema
from weirflow.recording.tables import Names, telemetry_table

RANDOM = np.random.default_rng(5)


def recorder_at(folder: Path, problems: list[str], **options: Any) -> Recorder:
    return Recorder(
        folder,
        settings=Settings(),
        topology=invented.topology(),
        now=invented.T0,
        on_problem=problems.append,
        **{"part_s": 3.0, **options},
    )


def until(condition: Callable[[], bool], deadline_s: float = 30.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound recording of 4 parts and a bit."""
    folder = tmp_path_factory.mktemp("good") / "r"
    recorder = recorder_at(folder, [])
    for call in invented.run(12):
        invented.tell(recorder, call)
    recorder.close()
    return folder


@pytest.fixture
def broken(good: Path, tmp_path: Path) -> Path:
    """A copy, to be broken."""
    return Path(shutil.copytree(good, tmp_path / "r"))


# Case 27: damaged recordings.


def only_fault(folder: Path, part: int, file: str, reason: str) -> None:
    """Part `part` is refused for this reason, the calls stop there, and every other part is still read."""
    recording = read(folder)
    faults: list[RecordingError] = []
    seqs = set(recording.attempts(["seq"], faults=faults).column("seq").to_pylist())
    assert [(f.part, f.file) for f in faults] == [(part, file)]
    assert reason in faults[0].reason
    assert f"{file} (part {part}): " in str(faults[0])
    others = [p for p in recording.parts if p.number != part and "attempts" in p.files]
    assert len(others) == 3
    assert all(any(p.first_call <= s <= p.last_call for s in seqs) for p in others)
    with pytest.raises(RecordingError, match=f"part {part}"):
        list(recording.calls())
    with pytest.raises(RecordingError, match=f"part {part}"):
        recording.attempts()


def test_a_truncated_file_costs_its_part_and_no_other(broken: Path) -> None:
    file = broken / "attempts-00002.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    only_fault(broken, 2, "attempts-00002.parquet", "is cut short")


def test_a_flipped_bit_costs_its_part_and_no_other(broken: Path) -> None:
    file = broken / "attempts-00002.parquet"
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)
    only_fault(broken, 2, "attempts-00002.parquet", "its checksum does not match")


def test_a_missing_file_costs_its_part_and_no_other(broken: Path) -> None:
    (broken / "attempts-00003.parquet").unlink()
    only_fault(broken, 3, "attempts-00003.parquet", "is missing")


def test_a_file_that_has_grown_costs_its_part_and_no_other(broken: Path) -> None:
    with open(broken / "attempts-00003.parquet", "ab") as file:
        file.truncate(1 << 40)  # sparse: a terabyte that must not be read
    only_fault(broken, 3, "attempts-00003.parquet", "more than the")


def test_a_symbolic_link_is_not_followed_even_to_the_very_file(broken: Path, tmp_path: Path) -> None:
    (broken / "attempts-00003.parquet").rename(tmp_path / "elsewhere")
    (broken / "attempts-00003.parquet").symlink_to(tmp_path / "elsewhere")
    only_fault(broken, 3, "attempts-00003.parquet", "is a symbolic link")


def test_a_damaged_manifest_costs_its_part_and_no_other(broken: Path) -> None:
    file = broken / "part-00002.json"
    file.write_text(file.read_text().replace('"rows":', '"rows":1', 1))
    only_fault(broken, 2, "part-00002.json", "its checksum does not match")


def test_no_flipped_byte_of_a_manifest_goes_unseen_or_raises_anything_else(broken: Path) -> None:
    file = broken / "part-00002.json"
    data = file.read_bytes()
    for place in range(len(data)):
        bad = bytearray(data)
        bad[place] ^= 1 << (place % 8)
        file.write_bytes(bad)
        recording = read(broken)
        assert [f.part for f in recording.faults] == [2], (place, bytes(bad[place - 5 : place + 5]))


def forge(folder: Path, part: int, stream: str, data: bytes, **claims: Any) -> None:
    """Put other bytes in a stream's place, with a manifest whose checksums agree: what damage is not, but malice is."""
    path = folder / f"part-{part:05d}.json"
    manifest = json.loads(path.read_text())
    del manifest["sha256"]
    entry = manifest["files"][stream]
    entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), **claims}
    (folder / entry["file"]).write_bytes(data)
    path.write_bytes(seal(manifest))


def parquet(table: Any, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", **options)
    return bytes(sink.getvalue())


def test_a_bomb_of_rows_is_refused_before_it_is_decoded(broken: Path) -> None:
    table = telemetry_table("attempts", [(1, 1.0, invented.batch(Requests, 300_000, RANDOM))], Names())
    bomb = parquet(table, row_group_size=300_000, **encodings("attempts"))
    forge(broken, 2, "attempts", bomb, rows=300_000)
    only_fault(broken, 2, "attempts-00002.parquet", "more than its 300000 rows can have")


def test_a_bomb_of_text_is_refused_before_it_is_decoded(broken: Path) -> None:
    body = pa.array(["0" * 100_000_000])
    columns = [body if f.name == "decision" else pa.array([None], f.type) for f in schema("decisions")]
    bomb = parquet(pa.Table.from_arrays(columns, schema=schema("decisions")), use_dictionary=False)
    assert len(bomb) < 50_000
    forge(broken, 2, "decisions", bomb, rows=1)
    faults: list[RecordingError] = []
    read(broken).table("decisions", faults=faults)
    assert "bytes of columns, more than its 1 rows can have" in faults[0].reason


@pytest.mark.parametrize("garbage", [b"", b"PAR1", b"PAR1" + b"\xff" * 100 + b"\x64\0\0\0PAR1", os.urandom(1000)])
def test_what_is_no_parquet_is_refused(broken: Path, garbage: bytes) -> None:
    forge(broken, 2, "attempts", garbage)
    only_fault(broken, 2, "attempts-00002.parquet", "")


def test_other_rows_than_the_manifest_has_are_refused(broken: Path) -> None:
    file = broken / "attempts-00002.parquet"
    forge(broken, 2, "attempts", file.read_bytes(), rows=1)
    only_fault(broken, 2, "attempts-00002.parquet", "rows where 1 were written")


def test_other_columns_than_ours_are_refused(broken: Path) -> None:
    forge(broken, 2, "attempts", parquet(pa.table({"seq": [1]})), rows=1)
    only_fault(broken, 2, "attempts-00002.parquet", "has other columns than a attempts file of format 3")


def test_a_manifest_that_leads_out_of_the_folder_is_refused(broken: Path) -> None:
    forge(broken, 2, "attempts", b"x", file="../elsewhere.parquet")
    only_fault(broken, 2, "part-00002.json", "'../elsewhere.parquet' is not a file of this part")


def test_parts_that_do_not_fit_together_are_refused(broken: Path) -> None:
    table = pq.read_table(broken / "attempts-00002.parquet").slice(1)
    forge(broken, 2, "attempts", parquet(table.cast(schema("attempts")), **encodings("attempts")), rows=len(table))
    with pytest.raises(
        RecordingError, match=r"events-00002.parquet \(part 2\): tells of other attempts than there are"
    ):
        list(read(broken).calls())


def test_a_part_of_the_first_format_is_read_as_told_with_unknown_methods(broken: Path) -> None:
    before = read(broken).attempts()
    table = pq.read_table(broken / "attempts-00002.parquet").select(schema("attempts", 1).names)
    old = table.cast(schema("attempts", 1))
    forge(broken, 2, "attempts", parquet(old), rows=len(old))
    after = read(broken).attempts()
    assert after.schema.equals(before.schema)
    for name in set(before.column_names) - {"method"}:
        np.testing.assert_array_equal(after.column(name).to_pylist(), before.column(name).to_pylist())
    here = np.isin(before.column("seq").to_numpy(), table.column("seq").to_numpy())
    methods = after.column("method").to_numpy()
    assert not methods[here].any()
    np.testing.assert_array_equal(methods[~here], before.column("method").to_numpy()[~here])
    assert read(broken).attempts(["method", "status"]).column_names == ["method", "status"]
    batches = [c.argument for c in read(broken).calls() if isinstance(c.argument, Requests)]
    assert [m for b in batches for m in b.method.tolist()] == methods.tolist()


def test_a_newer_format_is_refused_with_what_to_do(broken: Path) -> None:
    for file in ("recording.json", "part-00002.json"):
        document = json.loads((broken / file).read_text())
        del document["sha256"]
        (broken / file).write_bytes(seal({**document, "format": 4, "something": "new"}))
    with pytest.raises(RecordingError, match=r"recording.json: is of format 4; this Weirflow reads formats up to 3"):
        read(broken)


def test_a_header_that_is_a_pipe_or_a_bomb_of_brackets_is_refused(broken: Path) -> None:
    (broken / "recording.json").write_text("[" * 1_000_000)
    with pytest.raises(RecordingError, match=r"recording.json"):
        read(broken)
    (broken / "recording.json").unlink()
    os.mkfifo(broken / "recording.json")
    with pytest.raises(RecordingError, match="is not a regular file"):
        read(broken)


# Case 28: a disk that refuses.

PROGRAM = """
import resource, signal, sys, time
from pathlib import Path
import numpy as np
from brain.settings import Settings
from dataplane.contract import Requests
from weirflow.recording import Recorder, invented

folder, limit, rows = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
recorder = Recorder(folder, settings=Settings(), topology=invented.topology(), now=invented.T0, part_s=3.0,
                    on_problem=lambda words: print("PROBLEM", words, flush=True))
random = np.random.default_rng(0)
for tick in range(1, 1_000_000):
    recorder.told(invented.batch(Requests, rows, random), invented.T0 + tick)
    if tick == 12:  # three parts have landed or are about to
        while recorder.status()["backlog_bytes"]:
            time.sleep(0.001)
        which, value = limit.split("=")
        if which != "none":
            resource.setrlimit(getattr(resource, which), (int(value), int(value)))
    if recorder.status()["state"] == "stopped":
        break
    while recorder.status()["backlog_bytes"] > 10_000_000 and recorder.status()["state"] == "recording":
        time.sleep(0.001)
for i in range(100):
    recorder.told(invented.batch(Requests, rows, random), invented.T0 + tick + i)
recorder.close()
print("THE MESH GOES ON", recorder.status()["state"], flush=True)
"""


def stopped(folder: Path, limit: str) -> str:
    """Run a recorder into a real limit; what it said, once."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), limit, "2000"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stderr == ""
    problem, goes_on = done.stdout.splitlines()
    assert goes_on == "THE MESH GOES ON stopped"
    return problem


def whole(folder: Path) -> int:
    """Every part that landed reads whole, nothing half-written is left; how many there are."""
    recording = read(folder)
    assert not recording.faults
    assert not recording.unfinished
    assert len(list(recording.calls())) == recording.parts[-1].last_call
    return len(recording.parts)


def test_a_full_disk_stops_the_recording_once_and_leaves_what_was_closed(tmp_path: Path) -> None:
    problem = stopped(tmp_path / "r", "RLIMIT_FSIZE=100000")
    assert problem == (
        f"PROBLEM recording to {tmp_path / 'r'} stopped: File too large. What was closed is kept; the mesh goes on."
    )
    assert whole(tmp_path / "r") >= 3


def test_no_more_file_descriptors_stops_the_recording_once(tmp_path: Path) -> None:
    assert "Too many open files" in stopped(tmp_path / "r", "RLIMIT_NOFILE=3")
    assert whole(tmp_path / "r") >= 3


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("operation", ["write", "fsync", "replace", "open"])
def test_whatever_the_disk_refuses_the_recording_stops_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, operation: str
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    problems: list[str] = []
    recorder = recorder_at(tmp_path / "r", problems)
    calls = list(invented.run(24))
    for call in calls[: len(calls) // 2]:
        invented.tell(recorder, call)
    until(lambda: recorder.status()["backlog_bytes"] == 0)
    monkeypatch.setattr(*((files.Sink, "write") if operation == "write" else (os, operation)), refuse)
    for call in calls[len(calls) // 2 :]:
        invented.tell(recorder, call)
    recorder.close()
    monkeypatch.undo()
    assert len(problems) == 1
    assert os.strerror(number) in problems[0]
    assert recorder.status()["state"] == "stopped"
    assert recorder.status()["problem"] == problems[0]
    assert whole(tmp_path / "r") >= 3


def test_a_folder_that_is_deleted_under_it_stops_the_recording(tmp_path: Path) -> None:
    problems: list[str] = []
    recorder = recorder_at(tmp_path / "r", problems)
    calls = list(invented.run(24))
    for call in calls[: len(calls) // 2]:
        invented.tell(recorder, call)
    until(lambda: recorder.status()["backlog_bytes"] == 0)
    shutil.rmtree(tmp_path / "r")
    for call in calls[len(calls) // 2 :]:
        invented.tell(recorder, call)
    recorder.close()
    assert len(problems) == 1
    assert "No such file or directory" in problems[0]
    assert not (tmp_path / "r").exists()


def test_a_deletion_that_cannot_be_announced_deletes_nothing_and_costs_no_closed_part(tmp_path: Path) -> None:
    problems: list[str] = []
    recorder = recorder_at(tmp_path / "r", problems, keep_bytes=1)
    (tmp_path / "r" / "recording.json").rename(tmp_path / "aside")
    for call in invented.run(24):
        invented.tell(recorder, call)
    recorder.close()
    (tmp_path / "aside").rename(tmp_path / "r" / "recording.json")
    assert len(problems) == 1
    assert "recording.json: is missing" in problems[0]
    assert whole(tmp_path / "r") == 2


def test_an_older_run_that_cannot_be_changed_is_left_as_it_is(tmp_path: Path, good: Path) -> None:
    older = Path(shutil.copytree(good, tmp_path / "older"))
    before = sorted(f.name for f in older.iterdir())
    problems: list[str] = []
    recorder = recorder_at(tmp_path / "r", problems, keep_bytes=1, older=[older])
    (older / f".recording.json.{os.getpid()}.new").mkdir()  # in the way of the announcement
    for call in invented.run(24):
        invented.tell(recorder, call)
    recorder.close()
    (older / f".recording.json.{os.getpid()}.new").rmdir()
    assert not problems
    assert sorted(f.name for f in older.iterdir()) == before


def test_a_folder_that_cannot_be_made_is_a_problem_told_and_not_an_exception(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    problems: list[str] = []
    recorder = recorder_at(tmp_path / "file" / "r", problems)
    for call in invented.run(3):
        invented.tell(recorder, call)
    recorder.close()
    assert len(problems) == 1
    assert recorder.status()["state"] == "stopped"


def test_a_disk_that_hangs_bounds_what_waits_and_the_caller_never_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = threading.Event()
    hang.set()  # not yet: the header is written at the start, by the caller
    real = files.Sink.write
    monkeypatch.setattr(files.Sink, "write", lambda sink, data: (hang.wait(60), real(sink, data))[1])
    problems: list[str] = []
    recorder = recorder_at(tmp_path / "r", problems, backlog_bytes=30_000_000)
    hang.clear()
    batch = invented.batch(Requests, 50_000, RANDOM)
    for _ in range(3):  # a row group: the thread begins a file, and hangs
        recorder.told(batch, invented.T0)
    until(lambda: bool(list((tmp_path / "r").glob("*.open"))))
    for i in range(1000):  # 5 GB if nothing bounded it
        recorder.told(batch, invented.T0 + i / 1000)
        assert recorder.status()["backlog_bytes"] <= 30_000_000
    recorder.close(deadline_s=0.05)  # still hanging: closing gives up, too, and says no second word
    assert len(problems) == 1
    assert "the disk is too slow" in problems[0]
    hang.set()
    recorder._thread.join(30)
    assert not list((tmp_path / "r").glob("*.open"))


def test_a_close_that_the_disk_holds_up_gives_up_after_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = threading.Event()
    hang.set()
    monkeypatch.setattr(os, "fsync", lambda _: hang.wait(60))
    problems: list[str] = []
    recorder = recorder_at(tmp_path / "r", problems)
    hang.clear()
    recorder.close(deadline_s=0.05)
    assert "within 0.05 s" in problems[0]
    hang.set()
    recorder._thread.join(30)


def test_a_bug_in_the_recorder_costs_the_recording_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[str] = []
    recorder = recorder_at(tmp_path / "r", problems)
    recorder.told("not a batch", invented.T0)  # type: ignore[arg-type]
    recorder.moved(object(), invented.T0)  # type: ignore[arg-type]
    recorder.decided(invented.decision(1.0, 1, invented.topology()), invented.T0)
    monkeypatch.setattr(Names, "column", lambda *_: 1 / 0)
    recorder.told(invented.batch(Requests, 5, RANDOM), invented.T0)
    recorder.close()
    assert problems
    assert "ZeroDivisionError" in problems[0]


# A kill.


def test_what_was_closed_before_a_kill_reads_whole(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    victim = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), "none=0", "2000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        until(lambda: (folder / "part-00004.json").exists())
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
    recording = read(folder)
    assert not recording.faults
    assert len(recording.parts) >= 4
    random = np.random.default_rng(0)
    told = [c.argument for c in recording.calls() if c.verb == "told"]
    assert len(told) >= 9
    for batch in told:  # the very bits that the victim told, in order
        expected = invented.batch(Requests, 2000, random)
        for name in Requests.dtypes():
            assert getattr(batch, name).tobytes() == getattr(expected, name).tobytes()
