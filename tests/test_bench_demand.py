"""The bench of demand: its protocol, and that it runs over files that a test wrote."""

import io
import json
import tarfile

import numpy as np
import pytest

from bench import demand, demand_live
from bench.demand_data import read
from bench.demand_live import losses, truth
from bench.demand_score import geometric, origins, score
from bench.demand_seconds import KINDS, invented


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


def test_the_truth_far_ahead_is_the_mean_of_the_step_that_ends_there():
    counts = np.arange(4000.0)[:, None]
    of_steps, of_seconds = (truth(counts, [99, 3990], of)[:, 0] for of in (False, True))
    assert of_steps[0].tolist() == [100, 109, np.mean(range(150, 160)), 394.5, 969.5, 1869.5]
    assert of_seconds[0].tolist() == [100, 109, 159, 399, 999, 1899]
    assert np.isfinite(of_steps[1]).tolist() == [True, False, False, False, False, False]


def test_an_interval_that_is_not_told_covers_nothing_and_a_perfect_one_all():
    came = np.array([[[5.0]], [[7.0]]])
    perfect = losses(np.repeat(came[:, :, None], 3, axis=2), came)
    assert (perfect["coverage"], perfect["error"], perfect["pinball_p95"]) == (1, 0, 0)
    assert losses(np.full((2, 1, 3, 1), np.nan), came)["coverage"] == 0


def test_invented_services_are_the_same_by_seed():
    names, counts = invented(600, [1, 2])
    assert names[:7] == [kind.__name__ for kind in KINDS]
    np.testing.assert_array_equal(counts[:, 7:], invented(600, [2])[1])
    assert (counts[:, :7] != counts[:, 7:]).any(axis=0).all()


def test_the_brain_is_scored_beside_the_plain_ways(capsys, monkeypatch):
    monkeypatch.setattr(demand_live, "PHASES", {"1 min": (60, 180), "6 h": (180, 300)})
    monkeypatch.setattr(demand_live, "COST_TICKS", 2)
    assert demand_live.main(["--seeds", "1"]) == 0
    printed = json.loads(capsys.readouterr().out)
    row = printed["detail"]["mean"]["6 h"]["1800 s"]
    assert {"ours", "plain", "plain of steps"} == row.keys()
    assert all(0 <= way["coverage"] <= 1 for way in row.values())
    assert any(f["name"] == "us_a_service_a_tick_of_200" for f in printed["figures"])
