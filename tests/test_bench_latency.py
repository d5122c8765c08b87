"""The bench of latency quantiles: reads what it is given, says what is wrong with it, and is fair to those it beats."""

import json

import numpy as np
import pytest

from bench.latency import OURS, events, follow, main
from bench.latency_data import read
from bench.latency_rivals import FLEET, Window, rivals
from bench.latency_score import LEVELS, score
from bench.latency_traces import faults, steady
from bench.result import CannotRunError

HEADER = "start,duration,endpoint,service,class"


def written(folder, *lines, name="some.csv"):
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_file_is_read_by_the_names_of_its_columns_and_put_in_order(tmp_path):
    rows = [f"{200 - k},eu,{k / 10},10.0.0.{k % 3},shop,/cart" for k in range(120)]
    calls = read(written(tmp_path, "start,zone,duration,endpoint,service,class", *rows))
    assert len(calls) == 120
    assert (np.diff(calls.start_s) > 0).all()
    assert calls.took_s[0] == pytest.approx(11.9)
    assert sorted(set(calls.endpoint.tolist())) == [0, 1, 2]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("12,oops,a,b,c", r"some.csv:5: duration is no number of seconds: 'oops'"),
        ("nan,1,a,b,c", r"some.csv:5: start is no number of seconds: 'nan'"),
        ("12,-1,a,b,c", r"some.csv:5: a duration below 0: -1; drop the row"),
        ("12,1,a,b", r"some.csv:5: 4 fields where the header names 5"),
    ],
)
def test_a_mistake_is_told_with_its_file_and_line(tmp_path, line, says):
    with pytest.raises(CannotRunError, match=says):
        read(written(tmp_path, HEADER, *["1,1,a,b,c"] * 3, line, *["1,1,a,b,c"] * 200))


def test_a_column_that_is_missing_is_told_by_name(tmp_path):
    with pytest.raises(CannotRunError, match=r"some.csv:1: no column endpoint, class; wanted are start, duration"):
        read(written(tmp_path, "start,duration,service", "1,1,b"))


def test_a_folder_without_files_is_an_exit_status_and_a_sentence(tmp_path, capsys):
    assert main(["--data", str(tmp_path)]) == 1
    assert "no *.csv there" in capsys.readouterr().err


def test_a_folder_is_measured_file_by_file_and_in_the_mean(tmp_path, capsys):
    rng = np.random.default_rng(1)
    for name in ("a.csv", "b.csv"):
        rows = [f"{k},{rng.exponential(2):.4f},e{k % 3},s,c" for k in range(400)]
        written(tmp_path, HEADER, *rows, name=name)
    assert main(["--data", str(tmp_path)]) == 0
    said = json.loads(capsys.readouterr().out)
    both = [said["detail"][name]["models"][OURS] for name in ("a", "b")]
    mean = next(f["value"] for f in said["figures"] if f["name"] == "p95_pinball_over_mean")
    assert mean == pytest.approx(np.mean([m["pinball"]["p95"] for m in both]), abs=1e-4)
    for model in both:
        assert 0.9 < model["coverage"]["p95"] < 1.0
        assert not model["diverged"]


def test_ends_come_before_starts_of_the_same_moment():
    calls = steady(1, rows=400, containers=3)
    order, in_flight = events(calls)
    times = np.concatenate([calls.start_s, calls.start_s + calls.took_s])[order]
    assert (np.diff(times) >= 0).all()
    assert in_flight.min() == 0
    assert in_flight.max() > 0


class Memory:
    """Says how often it was told of the key."""

    def __init__(self):
        self.told = 0

    def ask(self, key, x):
        return [float(self.told)] * len(LEVELS)

    def tell(self, key, x, took_s):
        self.told += 1


def test_a_rival_is_asked_at_the_start_and_told_at_the_end():
    calls = steady(1, rows=400, containers=3)
    asked, _ = follow(Memory(), calls, *events(calls))
    ended = [np.sum(calls.start_s + calls.took_s <= start) for start in calls.start_s]
    assert asked[0].tolist() == ended


def test_a_rivals_window_is_its_last_values():
    window = Window(500)
    for value in np.random.default_rng(2).exponential(1, 2000):
        window.add(value)
    assert len(window) == 500
    assert [window.at(q) for q in (0.5, 0.95)] == pytest.approx([0.69, 3.0], rel=0.2)


def test_who_says_nothing_is_scored_by_the_fleet_and_who_runs_away_is_called_so():
    calls = steady(2, rows=400, containers=3)
    instead = np.tile(np.quantile(calls.took_s, LEVELS)[:, None], 400)
    silent = score(calls, np.full((len(LEVELS), 400), np.nan), instead)
    assert silent["unsaid"] == 1.0
    assert silent["pinball"] == score(calls, instead, instead)["pinball"]
    assert score(calls, instead * 1e6, instead)["diverged"]
    assert not silent["diverged"]


@pytest.mark.parametrize(("make", "rows", "at_most"), [(steady, 12_000, 0.8), (faults, 25_000, 0.6)])
def test_made_up_requests_are_hard_to_the_fleets_window_and_less_so_to_a_short_one(make, rows, at_most):
    """Published of production data: the p95 pinball of a window of 50 is 0.44 of the fleet's."""
    calls = make(5, rows=rows)
    fleet, fifty = (follow(rivals(LEVELS)[name](), calls, *events(calls))[0] for name in (FLEET, "key window 50"))
    losses = [score(calls, said, fleet)["pinball"]["p95"] for said in (fifty, fleet)]
    assert losses[0] < at_most * losses[1]
