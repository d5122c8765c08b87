"""The bench of alarms and blame over injected faults: its protocol, and that it runs over a day that a test wrote."""

import csv
import gzip
import io
import json

import numpy as np
import pytest

from bench import nezha
from bench.nezha_data import Day, Fault, read_folder
from bench.nezha_score import BLOCK, WARM, best, crossed, folds, told
from models.alarm import AlarmSettings

NO = np.zeros(0, dtype=np.int64)
SERVICES = ("frontend", "cartservice")
POD = ["TimeStamp", "PodName", "CpuUsage(m)", "NetworkReceiveBytes", "NetworkTransmitBytes", "PodWorkload(Ops)"]
POD += [f"Pod{side}LatencyP{q}(s)" for side in ("Server", "Client") for q in (90, 95, 99)]


def day(minutes: int, faults: tuple[float, ...]) -> Day:
    some = tuple(Fault(at, 0, "slow") for at in faults)
    return Day("day", ("a",), 60.0 * np.arange(minutes), np.zeros((minutes, 0)), NO, NO, NO, NO.reshape(0, 2), some)


def at(minutes: int, *rows: int) -> np.ndarray:
    out = np.zeros(minutes, dtype=np.bool_)
    out[list(rows)] = True
    return out


def test_a_fault_is_found_within_five_minutes_and_not_later():
    mine = day(400, (200 * 60.0,))
    assert told(mine, at(400, 203)).found_min == [("slow", 3.0)]
    late = told(mine, at(400, 206))
    assert late.found == 0
    assert late.false_blocks == 1


def test_who_always_cries_is_charged_twelve_an_hour():
    mine = day(WARM + 60 * BLOCK, ())
    always = told(mine, np.ones(WARM + 60 * BLOCK, dtype=np.bool_))
    assert always.false_blocks == 60
    assert always.an_hour == pytest.approx(12.0)


def test_alarms_of_one_block_are_one_and_those_of_the_warm_up_none():
    mine = day(400, ())
    assert told(mine, at(400, 3, 5, WARM, WARM + 1, WARM + 4)).false_blocks == 1
    assert told(mine, at(400, WARM + 4, WARM + 5)).false_blocks == 2


def test_folds_part_all_rows_and_faults_and_add_up():
    mine = day(600, tuple(60.0 * t for t in (200, 250, 300, 350, 400, 450, 500, 550)))
    rows, faults = folds(mine)
    assert np.bincount(faults).tolist() == [2, 2, 2, 2]
    assert (np.diff(rows) >= 0).all()
    alarms = at(600, 201, 230, 252, 420, 503)
    whole = told(mine, alarms)
    parts = [told(mine, alarms, k) for k in range(4)]
    assert sum(p.found for p in parts) == whole.found == 3
    assert sum(p.blocks for p in parts) == pytest.approx(whole.blocks)


def test_a_fold_is_scored_by_the_setting_that_the_others_chose():
    mine = day(600, tuple(60.0 * t for t in (200, 250, 300, 350, 400, 450, 500, 550)))
    good_but_last = at(600, 201, 251, 301, 351, 401, 451)
    last_alone = at(600, 501, 551)
    out, chosen = crossed([mine], [[good_but_last], [last_alone]])
    assert chosen == [0, 0, 0, 0]
    assert out.found == 6
    assert best([told(mine, last_alone), told(mine, good_but_last)]) == 1


def write(path, header, rows):
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def folder(tmp_path):
    """Five hours: two faults of the cart in the second one, and calm after."""
    rng, start, faults = np.random.default_rng(2), 1_000_000_007, (70, 80)
    pods, edges, front = [], [], []
    for t in range(300):
        slow = 10.0 if any(f < t <= f + 4 for f in faults) else 1.0
        for s, name in enumerate(SERVICES):
            took = 0.02 * np.exp(rng.normal(0, 0.2, 6)) * (slow if s else 1.0)
            pods.append([start + 60 * t, f"{name}-5f-x", 1.0, 2.0, 3.0, 9.0 + rng.normal(0, 0.1), *took])
        edges.append([start + 60 * t + 1, 0.01 * slow * np.exp(rng.normal(0, 0.1))])
        front.append([start + 60 * t, "Frontend", 100.0, *(0.1 * np.exp(rng.normal(0, 0.1, 4)))])
    write(tmp_path / "ob_day_pod_metrics_1min.csv.gz", POD, pods)
    for side in ("source", "destination"):
        write(tmp_path / f"ob_day_{side}_50_1min.csv.gz", ["timestamp", "frontend_cartservice"], edges)
    head = ["TimeStamp", "ServiceName", "SuccessRate(%)", *(f"LatencyP{q}(s)" for q in (50, 90, 95, 99))]
    write(tmp_path / "ob_day_front_service_1min.csv.gz", head, front)
    head = ["inject_timestamp", "inject_time", "inject_pod", "inject_type"]
    write(tmp_path / "ob_day_faults.csv", head, [[start + 60 * f, "", "cartservice-5f-x", "delay"] for f in faults])
    write(tmp_path / "dependency.csv", ["Source", "Target"], [["frontend", "cartservice"], ["frontend", "1.2.3.4"]])
    return tmp_path


def test_a_day_is_read_with_its_calm_end_first(folder):
    (mine,) = read_folder(folder)
    assert mine.services == ("cartservice", "frontend")
    assert mine.time_s[0] > mine.faults[-1].at_s
    assert mine.time_s[mine.began(mine.faults[0])] == mine.faults[0].at_s
    assert mine.calls.tolist() == [[1, 0]]
    assert np.isfinite(mine.requests).all()
    assert "cpu" not in "".join(mine.services)
    assert read_folder(folder, host=True)[0].values.shape[1] == mine.values.shape[1]  # they never move here


def test_faults_are_found_and_blamed_beside_the_controls(folder, capsys, monkeypatch):
    monkeypatch.setattr(
        nezha, "alarm_grid", lambda: iter([AlarmSettings(length=240), AlarmSettings(length=240, top=1)])
    )
    assert nezha.main(["--data", str(folder)]) == 0
    printed = json.loads(capsys.readouterr().out)
    ours = printed["detail"]["alarms"]["ours, cross-validated"]
    assert ours["found_by_kind"] == {"delay": "2/2"}
    assert printed["detail"]["alarms"]["control: always"]["false_blocks_an_hour"] == pytest.approx(12.0, abs=0.3)
    assert printed["detail"]["blame"]["ours, as shipped"]["as@1"] == 1.0


def test_a_folder_without_days_is_said(tmp_path, capsys):
    assert nezha.main(["--data", str(tmp_path)]) == 1
    assert "faults.csv" in capsys.readouterr().err
