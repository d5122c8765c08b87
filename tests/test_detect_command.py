"""`weirflow detect FILE.csv`: what it finds, what it tells and with which exit status."""

import json

import numpy as np
from typer.testing import CliRunner

from tests.pages import Page
from weirflow.cli import app


def written(tmp_path, values):
    path = tmp_path / "values.csv"
    rows = [f"{1_700_000_100 + i * 60},{'' if np.isnan(v) else v}" for i, v in enumerate(values)]
    path.write_text("\n".join(["timestamp,value", *rows]) + "\n")
    return path


def asked(*words):
    return CliRunner().invoke(app, ["detect", *map(str, words)])


def calm(rows=1000):
    return np.random.default_rng(1).uniform(90, 110, rows)


def broken():
    values = calm()
    values[800:810] = 300.0
    return values


def test_nothing_surprising_is_exit_0(tmp_path):
    told = asked(written(tmp_path, calm()))
    assert told.exit_code == 0, told.output
    assert "nothing surprising" in told.stdout


def test_an_alarm_is_told_with_what_was_expected_and_is_exit_1(tmp_path):
    told = asked(written(tmp_path, broken()), "-o", "json")
    assert told.exit_code == 1, told.output
    alarm = json.loads(told.stdout)["alarms"][0]
    assert alarm["at"] == "2023-11-15T11:35:00Z"
    assert alarm["value"] == 300
    assert 80 < alarm["low"] < 100 < alarm["high"] < 140
    assert 0.5 < alarm["score"] <= 1


def test_people_get_a_line_for_each_alarm(tmp_path):
    told = asked(written(tmp_path, broken()))
    assert told.exit_code == 1
    assert "1000 steps of 1m, 0 missing" in told.stdout
    assert "2023-11-15T11:35:00Z" in told.stdout


def test_negative_values_and_gaps_are_taken_as_they_are(tmp_path):
    values = broken() - 200
    values[100:120] = np.nan
    told = asked(written(tmp_path, values), "-o", "json")
    assert told.exit_code == 1, told.output
    found = json.loads(told.stdout)
    assert found["missing"] == 20
    assert found["alarms"][0]["value"] == 100


def test_the_page_needs_nothing_else_and_shows_the_alarm(tmp_path):
    path = written(tmp_path, broken())
    odd = path.with_name("a<b&.csv")
    path.rename(odd)
    assert asked(odd, "--html", tmp_path / "page.html").exit_code == 1
    page = (tmp_path / "page.html").read_text()
    assert "a&lt;b&amp;.csv" in page
    assert "a<b" not in page
    assert page.count('class="alarm"') >= 1
    assert 'class="band"' in page
    Page(page)


def test_the_page_of_a_long_or_an_empty_series_is_a_page(tmp_path):
    for values in (calm(5000), np.full(30, np.nan), np.full(30, 7.0)):
        assert asked(written(tmp_path, values), "--html", tmp_path / "page.html").exit_code == 0
        Page((tmp_path / "page.html").read_text())


def test_longer_steps_are_added_up(tmp_path):
    told = asked(written(tmp_path, broken()), "--step", "5m", "-o", "json")
    assert json.loads(told.stdout)["step_s"] == 300


def test_what_cannot_be_read_or_written_is_told(tmp_path):
    path = written(tmp_path, calm(10))
    assert "No such file" in asked(tmp_path / "none.csv").stderr
    assert asked(path, "--step", "90s").exit_code == 2
    assert asked(path, "--step", "0s").exit_code == 2
    told = asked(path, "--html", tmp_path / "none" / "page.html")
    assert told.exit_code == 1
    assert "page.html" in told.stderr
