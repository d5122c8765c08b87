"""What is wrong with a log is said, with its line; what is right in it is read all the same."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests import logs
from tests.logs import imported, some
from weirflow.cli import app
from weirflow.importing import ImportingError, Options, WrongUseError, run, times
from weirflow.importing.lines import LONGEST
from weirflow.importing.opening import Bounds


def weirflow(*words: str):
    return CliRunner().invoke(app, ["import", *words])


def lines_of(n: int = 30) -> list[str]:
    return logs.content("envoy", some(n)).decode().splitlines()


def test_bad_lines_are_shown_with_their_number_and_reason_and_the_rest_is_read(tmp_path):
    lines = lines_of()
    lines[4] = lines[4].replace(" 14 13 ", " abc 13 ")
    lines[9] = "noise"
    lines[20] = lines[20][:60]
    report, _ = imported(tmp_path, "\n".join(lines))
    assert report.attempts == 27
    (file,) = report.files
    assert file.records == 30
    assert sum(file.rejected.values()) == 3
    assert [s.line for s in file.shown] == [5, 10, 21]
    assert "DURATION" in file.shown[0].reason


def test_only_the_first_few_bad_lines_are_shown_and_all_are_counted(tmp_path):
    report, _ = imported(tmp_path, "\n".join(lines_of() + ["noise"] * 1000), format="envoy")
    assert len(report.files[0].shown) == 5
    assert report.rejected == 1000
    assert report.dropped_share == pytest.approx(1000 / 1030)


def test_strict_writes_nothing_and_fails_for_one_bad_line(tmp_path):
    file, to = tmp_path / "a.log", tmp_path / "to"
    file.write_text("\n".join([*lines_of(), "noise"]))
    done = weirflow(str(file), "--to", str(to), "--strict")
    assert done.exit_code == 1
    assert "line 31" in done.stdout
    assert not to.exists()
    assert list(tmp_path.iterdir()) == [file]
    assert weirflow(str(file), "--to", str(to)).exit_code == 0


def test_the_report_is_json_on_request(tmp_path):
    file = tmp_path / "edge.log.1"
    file.write_text("\n".join([*lines_of(), "noise"]))
    done = weirflow(str(file), "--to", str(tmp_path / "to"), "-o", "json")
    said = json.loads(done.stdout)
    assert (said["attempts"], said["rejected"]) == (30, 1)
    assert said["nodes"] == {"edge": 30}
    assert said["files"][0]["shown"] == [{"line": 31, "reason": "no [ where the format has one"}]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--format", "apache"], 2, "--format apache: there are auto, envoy"),
        (["--cluster-from", "magic"], 2, "--cluster-from magic"),
        (["--route-from", "regex:("], 2, "--route-from regex:("),
        (["--timezone", "Nowhere/At_All"], 2, "is no zone"),
        (["--map", "x"], 2, "write our=theirs"),
        (["--routes", "0"], 2, "at least 1"),
        (["--envoy-format", "%START_TIME%%DURATION%"], 2, "nothing between them"),
        (["--envoy-format", "%DURATION%\n", "--format", "nginx"], 2, "--envoy-format is for"),
    ],
)
def test_a_wrong_option_is_named_with_its_mend(tmp_path, words, status, said):
    file = tmp_path / "a.log"
    file.write_text("\n".join(lines_of()))
    done = weirflow(str(file), "--to", str(tmp_path / "to"), *words)
    assert done.exit_code == status
    assert said in done.stderr


def test_a_file_that_is_not_to_be_had_or_given_twice_is_named(tmp_path):
    file = tmp_path / "a.log"
    file.write_text("\n".join(lines_of()))
    with pytest.raises(ImportingError, match=r"none\.log: No such file"):
        run([str(tmp_path / "none.log")], tmp_path / "to", Options())
    with pytest.raises(ImportingError, match="is a folder"):
        run([str(tmp_path)], tmp_path / "to", Options())
    with pytest.raises(WrongUseError, match="name it once"):
        run([str(file), str(tmp_path / "." / "a.log")], tmp_path / "to", Options())
    (tmp_path / "empty.log").touch()
    with pytest.raises(ImportingError, match="is empty"):
        run([str(tmp_path / "empty.log")], tmp_path / "to", Options())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(ImportingError, match="a folder of its own"):
        run([str(file)], tmp_path / "full", Options())
    assert not (tmp_path / "to").exists()


def test_links_pipes_and_devices_are_refused_unless_asked_for(tmp_path):
    file, link, pipe = tmp_path / "a.log", tmp_path / "link.log", tmp_path / "pipe"
    file.write_text("\n".join(lines_of()))
    link.symlink_to(file)
    os.mkfifo(pipe)
    with pytest.raises(ImportingError, match=r"symbolic link.*--follow"):
        run([str(link)], tmp_path / "to", Options())
    for odd in (pipe, Path("/dev/zero")):
        with pytest.raises(ImportingError, match=r"no regular file.*--follow"):
            run([str(odd)], tmp_path / "to", Options())
    assert run([str(link)], tmp_path / "to", Options(bounds=Bounds(follow=True))).attempts == 30


def test_an_endless_device_is_read_no_further_than_the_bound(tmp_path):
    bounds = Bounds(follow=True, size=1 << 24)
    with pytest.raises(ImportingError, match="more than 16777216 bytes"):
        run(["/dev/zero"], tmp_path / "to", Options(format="envoy", bounds=bounds))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lambda b: pa.compress(b, codec="zstd", asbytes=True)])
def test_a_bomb_is_refused_while_it_goes_off(tmp_path, pack):
    file = tmp_path / "bomb"
    file.write_bytes(pack(b"x" * 1_000_000 + b"\n") * 200)
    tracemalloc.start()
    with pytest.raises(ImportingError, match="as a bomb does; raise --most-ratio"):
        run([str(file)], tmp_path / "to", Options(format="envoy"))
    assert tracemalloc.get_traced_memory()[1] < 3e8
    tracemalloc.stop()
    assert not (tmp_path / "to").exists()


def test_a_packed_file_that_is_cut_short_or_damaged_is_said(tmp_path):
    whole = gzip.compress(logs.content("envoy", some(3000)))
    for bad in (whole[: len(whole) // 2], whole[:500] + b"\0" * 40 + whole[540:]):
        file = tmp_path / "a.gz"
        file.write_bytes(bad)
        with pytest.raises(ImportingError, match="cannot be read"):
            run([str(file)], tmp_path / "to", Options())


def test_lines_that_are_too_long_are_counted_and_never_held(tmp_path):
    lines = lines_of()
    lines[3] = "x" * (LONGEST + 1)
    lines[7] = "y" * (20 * LONGEST)
    report, _ = imported(tmp_path, "\n".join(lines), format="envoy")
    assert report.attempts == 28
    assert report.files[0].rejected == {f"a line longer than {LONGEST} bytes": 2}
    assert [s.line for s in report.files[0].shown] == [4, 8]


def test_a_line_without_an_end_is_not_gathered_in_memory(tmp_path):
    file = tmp_path / "a.log"
    with file.open("wb") as out:
        for _ in range(60):
            out.write(b"x" * 1_000_000)
        out.write(b"\n" + "\n".join(lines_of()).encode())
    tracemalloc.start()
    report = run([str(file)], tmp_path / "to", Options(format="envoy"))
    assert tracemalloc.get_traced_memory()[1] < 2e7
    tracemalloc.stop()
    assert (report.attempts, report.rejected) == (30, 1)


def test_line_numbers_hold_beyond_a_chunk(tmp_path):
    lines = lines_of() * 400
    lines[7000] = "noise"
    lines[11_000] = "noise"
    report, _ = imported(tmp_path, "\n".join(lines), format="envoy")
    assert [s.line for s in report.files[0].shown] == [7001, 11_001]


def test_nuls_bad_utf8_and_ends_of_other_systems_are_no_reason_to_stop(tmp_path):
    lines = [line.encode() for line in lines_of()]
    lines[2] = lines[2].replace(b"Mozilla", b"\xff\xfe\0")
    lines[3] = b"\0" * 40
    report, _ = imported(tmp_path, b"\xef\xbb\xbf" + b"\r\n".join(lines))
    assert report.attempts == 29
    assert [s.line for s in report.files[0].shown] == [4]


@pytest.mark.parametrize("value", ["-5", "NaN", "1e308", "inf", "1" * 400, "0x10", "1_000", "", '"x"'])
def test_absurd_numbers_never_become_attempts(tmp_path, value):
    good, bad = "2026-09-21T14:00:01Z,5,s,e:1,200\n", f"2026-09-21T14:00:00Z,{value},s,e:1,200\n"
    report, got = imported(tmp_path, "started,duration_ms,service,endpoint,status\n" + bad + good, format="csv")
    assert (report.attempts, report.rejected) == (1, 1)
    assert np.isfinite(got["duration_s"]).all()
    body = (
        '{"start_time": "2026-09-21T14:00:00Z", "duration": %s, "upstream_host": "e:1", "authority": "h", '
        '"response_code": 200}\n'
    )
    if value not in ("inf", "0x10", "1_000", ""):
        report, _ = imported(tmp_path, body % value + body % "7", format="istio-json")
        assert (report.attempts, report.rejected) == (1, 1)


@pytest.mark.parametrize("name", ["bytes_out", "attempt", "weight", "probability", "ttfb_ms", "status"])
def test_a_negative_number_is_rejected_wherever_it_stands(tmp_path, name):
    row = "2026-09-21T14:00:00Z,5,s,e:1"
    report, _ = imported(tmp_path, f"started,duration_ms,service,endpoint,{name}\n{row},-7\n{row},0\n{row},\n")
    assert (report.attempts, report.rejected) == (2, 1)
    assert report.files[0].shown[0].reason == f"{name} is no number: '-7'"


def test_a_request_of_hours_is_left_out_and_a_status_that_is_none_is_rejected(tmp_path):
    said = (
        "started,duration_s,service,endpoint,status\n2026-09-21T14:00:00Z,7200,s,e:1,101\n"
        "2026-09-21T14:00:01Z,5,s,e:1,2000\n2026-09-21T14:00:02Z,5,s,e:1,200\n"
    )
    report, _ = imported(tmp_path, said)
    assert (report.attempts, report.files[0].left_out) == (1, {"longer than an hour": 1})
    assert report.files[0].shown[0].reason == "status is no number: '2000'"


@pytest.mark.parametrize(
    ("text", "zone", "at"),
    [
        ("2026-09-21T14:00:00Z", "UTC", 1790000000 - 1200 + 400),
        ("2026-09-21T14:00:00.250+02:00", "UTC", 1789999200.25 - 7200),
        ("2026-09-21 14:00:00", "+02:00", 1789999200 - 7200),
        ("2026-09-21 14:00:00,5", "Europe/Berlin", 1789999200.5 - 7200),
        ("21/Sep/2026:14:00:00 -0330", "UTC", 1789999200 + 12_600),
        ("1789999200", "UTC", 1789999200),
        ("1789999200250", "UTC", 1789999200.25),
        ("1789999200250000", "UTC", 1789999200.25),
        ("1789999200250000000", "UTC", 1789999200.25),
        ("2016-12-31T23:59:60Z", "UTC", 1483228800),
        ("2026-02-30T00:00:00Z", "UTC", None),
        ("2026-09-21T14:00:61Z", "UTC", None),
        ("21/Foo/2026:14:00:00", "UTC", None),
        ("-1", "UTC", None),
        ("9" * 30, "UTC", None),
        ("", "UTC", None),
        ("2026-09-21T14:00:00+99:99", "UTC", None),
    ],
)
def test_a_time_is_read_as_it_is_meant_or_not_at_all(text, zone, at):
    (got,) = times.seconds([text], "", times.zone(zone))
    assert np.isnan(got) if at is None else got == pytest.approx(at, abs=1e-3)
    (beside, other) = times.seconds([text, "2026-09-21T14:00:00Z"], "", times.zone(zone))
    assert other == pytest.approx(1789999200)
    assert np.isnan(beside) if at is None else beside == pytest.approx(at, abs=1e-3)


def test_names_that_a_client_makes_up_are_bounded(tmp_path):
    lines = [f"2026-09-21T14:00:00Z,5,{i}.example,e:1,/{'abcdefghij'[i % 10]}{i},200" for i in range(6000)]
    report, _ = imported(tmp_path, "started,duration_ms,host,endpoint,path,status\n" + "\n".join(lines), routes=5)
    assert len(report.services) == 4096
    assert report.files[0].left_out == {"too many names": 6000 - 4096}
    assert len(report.routes) <= 5


def test_routes_are_capped_to_the_busiest_and_the_rest_is_other(tmp_path):
    words = [f"/{a}{b}" for a in "abcd" for b in "efghi"]
    paths = [w for i, w in enumerate(words) for _ in range(i + 1)]
    said = "".join(f"2026-09-21T14:00:00Z,5,s,e:1,{p},200\n" for p in paths)
    report, _ = imported(tmp_path, "started,duration_ms,service,endpoint,path,status\n" + said, routes=4)
    assert report.routes == {"/di": 20, "/dh": 19, "/dg": 18, "other": sum(range(18))}


def test_a_parquet_file_that_lies_or_is_damaged_is_refused(tmp_path):
    table = pa.table({"started": [1789999200.0] * 1000, "duration_s": [0.1] * 1000, "endpoint": ["e:1"] * 1000})
    pq.write_table(table, tmp_path / "t.parquet")
    held = bytearray((tmp_path / "t.parquet").read_bytes())
    for at in range(4, len(held), 37):
        bad = held.copy()
        bad[at] ^= 0x5A
        file = tmp_path / "bad.parquet"
        file.write_bytes(bad)
        with contextlib.suppress(ImportingError):  # and nothing else
            run([str(file)], tmp_path / f"to-{at}", Options())


def test_a_dump_whose_length_makes_no_sense_ends_there(tmp_path):
    with pytest.raises(ImportingError, match="no length-delimited dump"):
        imported(tmp_path, b"\xff" * 9 + b"\x01", format="als")
