"""The bench of demand: its protocol, and that it runs over files that a test wrote."""

import io
import json
import tarfile

import numpy as np
import pytest

from bench import demand
from bench.demand_data import read
from bench.demand_score import geometric, origins, score


def test_origins_are_in_the_last_part_and_leave_room_for_the_longest_horizon():
    at = origins(1000)
    assert len(at) == 120
    assert at[0] == 600
    assert at[-1] + 12 < 1000


def test_a_perfect_forecast_scores_nothing_and_the_season_scores_one():
    day = np.arange(24.0)
    values = np.concatenate([day + 10 * k for k in range(20)])
    at = origins(len(values))
    truth = np.stack([values[at + h] for h in (1, 12)])
    perfect = score(values, 3600.0, np.stack([truth] * 3))
    assert perfect["12"]["mase"] == 0
    assert perfect["12"]["below_p90"] == 1
    assert score(values, 3600.0, np.stack([truth - 10] * 3))["1"]["mase"] == pytest.approx(1.0)


def test_geometric_means_are_of_ratios():
    assert geometric([0.5, 2.0]) == pytest.approx(1.0)


def test_files_are_scored_beside_the_rivals(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demand, "COST_TICKS", 2)
    rng = np.random.default_rng(1)
    rows = [f"{i * 3600},{c}" for i, c in enumerate(rng.poisson(60 + 30 * np.sin(np.arange(260) / 3.8)))]
    (tmp_path / "mine.csv").write_text("timestamp,value\n" + "\n".join(rows))
    assert demand.main(["--data", str(tmp_path / "mine.csv")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {"last value", "seasonal naive", "river HoltWinters", "demand"} <= printed["detail"][
        "over_last_value"
    ].keys()
    assert [f["name"] for f in printed["figures"]][:2] == ["mase_1_over_last_value", "mase_12_over_last_value"]


def test_an_archive_of_seconds_is_summed_by_each_step(tmp_path):
    with tarfile.open(tmp_path / "seconds.tbz2", "w:bz2") as archive:
        member = tarfile.TarInfo("workload.txt")
        text = b"1 " * 600
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    series = read([tmp_path / "seconds.tbz2"], [10.0, 60.0])
    assert [s.values.tolist() for s in series.values()] == [[10.0] * 60, [60.0] * 10]


def test_a_file_that_cannot_be_read_is_said(tmp_path, capsys):
    assert demand.main(["--data", str(tmp_path / "none.csv")]) == 1
    assert "none.csv" in capsys.readouterr().err
