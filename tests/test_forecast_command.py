"""`weirflow forecast FILE.csv`: what it reads, what it refuses and what it tells."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from weirflow.cli import app
from weirflow.counts import CountsError, read_counts


def written(tmp_path, rows, head="timestamp,value"):
    path = tmp_path / "counts.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def every(seconds, values, start=1_700_000_100):
    return [f"{start + i * seconds},{value}" for i, value in enumerate(values)]


def asked(*words):
    return CliRunner().invoke(app, ["forecast", *map(str, words)])


def test_a_file_is_foretold_beside_the_plain_ways(tmp_path):
    counts = np.random.default_rng(1).poisson(50, 200)
    told = asked(written(tmp_path, every(300, counts)), "-o", "json")
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert [row["ahead_s"] for row in found["forecast"]] == [300, 600, 900, 1200, 1500, 1800]
    for row in found["forecast"]:
        assert row["low"] < row["value"] < row["high"] <= row["p99"]
    first = found["error"][0]
    assert first["steps"] == 40
    assert first["mean_absolute"]["weirflow"] < first["mean_absolute"]["last value"]


def test_the_first_step_foretold_is_the_one_after_the_last_row(tmp_path):
    rows = [f"2026-03-01T{i // 12:02d}:{i % 12 * 5:02d}:00Z,7" for i in range(24)]
    found = json.loads(asked(written(tmp_path, rows), "-o", "json").stdout)
    assert found["forecast"][0]["at"] == "2026-03-01T02:00:00Z"


def test_people_get_a_table(tmp_path):
    told = asked(written(tmp_path, every(60, [9] * 100)), "--ahead", "5m")
    assert told.exit_code == 0
    assert "100 steps of 1m, 0 missing" in told.stdout
    assert "last fifth" in told.stdout


def test_rows_and_values_that_are_not_there_are_missing_and_not_zero(tmp_path):
    rows = every(60, [5, "", "NaN", 8, 9, 10])
    del rows[4]
    values = read_counts(written(tmp_path, rows)).values
    np.testing.assert_array_equal(values, [5, np.nan, np.nan, 8, np.nan, 10])


def test_longer_steps_are_sums_and_half_seen_ones_are_scaled(tmp_path):
    counts = read_counts(written(tmp_path, every(60, [1, 2, 3, 4, 5, "", "", ""], start=0))).by(120)
    np.testing.assert_array_equal(counts.values, [3, 7, 10, np.nan])


def test_a_counter_is_differenced_and_its_resets_are_told(tmp_path):
    counted = np.random.default_rng(2).poisson(40, 120)
    shown = np.concatenate([1000 + np.cumsum(counted[:60]), np.cumsum(counted[60:])])
    path = written(tmp_path, every(60, shown))
    counts = read_counts(path)
    assert counts.counter
    assert counts.resets == 1
    np.testing.assert_array_equal(counts.values, counted[1:])
    assert "a counter, differenced, 1 resets" in asked(path).stdout


def test_counts_are_not_taken_for_a_counter(tmp_path):
    assert not read_counts(written(tmp_path, every(60, np.random.default_rng(3).poisson(40, 120)))).counter


def test_a_counter_can_be_named_and_denied(tmp_path):
    path = written(tmp_path, every(60, [1, 2, 4, 8]))
    np.testing.assert_array_equal(read_counts(path, counter=True).values, [1, 2, 4])
    np.testing.assert_array_equal(read_counts(path, counter=False).values, [1, 2, 4, 8])


def test_what_a_counter_rose_by_over_a_gap_is_nobodys_step(tmp_path):
    rows = every(60, [10, 20, 30, 40, 60, 70])
    del rows[3]
    np.testing.assert_array_equal(
        read_counts(written(tmp_path, rows), counter=True).values, [10, 10, np.nan, np.nan, 10]
    )


@pytest.mark.parametrize(
    ("rows", "line", "mend"),
    [
        (["0,1", "60,many"], 3, "write a number"),
        (["0,1", "60,-4"], 3, "counts are 0 or more"),
        (["0,1", "60,inf"], 3, "counts are 0 or more"),
        (["0,1", "yesterday,4"], 3, "seconds since 1970"),
        (["60,1", "0,4"], 3, "sort the rows"),
        (["2026-10-25T02:30:00,1", "2026-10-25T02:00:00,2"], 3, "with their offset"),
    ],
)
def test_a_mistake_names_file_line_and_mend(tmp_path, rows, line, mend):
    path = written(tmp_path, rows)
    told = asked(path)
    assert told.exit_code == 1
    assert f"{path}:{line}: " in told.stderr
    assert mend in told.stderr


@pytest.mark.parametrize(
    ("rows", "head"), [(["0,1", "60,2"], "time,count"), ([], "timestamp,value"), (["0,1"], "timestamp,value")]
)
def test_a_file_without_columns_or_rows_is_refused(tmp_path, rows, head):
    with pytest.raises(CountsError):
        read_counts(written(tmp_path, rows, head))


def test_no_file_and_no_text_are_told(tmp_path):
    assert "No such file" in asked(tmp_path / "none.csv").stderr
    (tmp_path / "odd.csv").write_bytes(b"timestamp,value\n\xff\xfe,1\n")
    assert "UTF-8" in asked(tmp_path / "odd.csv").stderr


@pytest.mark.parametrize("words", [("--step", "90s"), ("--step", "5"), ("--ahead", "soon"), ("--ahead", "0s")])
def test_a_duration_that_does_not_fit_is_wrong_usage(tmp_path, words):
    assert asked(written(tmp_path, every(60, [1, 2, 3, 4])), *words).exit_code == 2
