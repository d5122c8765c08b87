"""The bench of anomalies: the scorer's rules one by one, and that it runs over files that a test wrote."""

import json
import math

import numpy as np
import pytest

from bench import nab
from bench.nab_data import read
from bench.nab_rivals import RIVALS, quietly, said
from bench.nab_score import PROFILES, best, curve, honest, in_turn, normalised, peeked, probation, splits
from bench.result import CannotRunError

STANDARD = PROFILES["standard"]
WINDOW = (500, 599)


def scored(*rows: int, windows=(WINDOW,), length=1000, profile=STANDARD) -> float:
    score = np.zeros(length)
    score[list(rows)] = 1.0
    curves = [curve(score, list(windows), profile)]
    return normalised(curves[0].at(1.0), curves, profile)


def test_silence_is_0_and_the_first_row_of_every_window_is_100() -> None:
    assert scored() == 0
    assert scored(500) == pytest.approx(100)
    assert scored(500, 800, windows=[WINDOW, (800, 899)]) == pytest.approx(100)


def test_the_middle_of_a_window_is_worth_86_percent_of_its_start_and_its_end_next_to_nothing() -> None:
    assert (scored(549) * 2 - 100) / 100 == pytest.approx(0.86, abs=0.01)
    assert (scored(599) * 2 - 100) / 100 == pytest.approx(0.025, abs=0.002)


def test_only_the_earliest_detection_of_a_window_counts() -> None:
    assert scored(*range(500, 600)) == pytest.approx(100)
    assert scored(540, 550, 599) == pytest.approx(scored(540))


def test_every_row_of_false_alarm_costs_and_all_of_it_where_no_window_precedes() -> None:
    assert scored(200) == pytest.approx(-100 * 0.11 / 2)
    assert scored(200, 201, 202) == pytest.approx(-3 * 100 * 0.11 / 2)


def test_right_behind_a_window_a_false_alarm_costs_little_and_far_behind_all() -> None:
    assert -0.2 < scored(600) < 0
    assert scored(600) > scored(620) > scored(700)
    assert scored(600 + 300) == pytest.approx(scored(200), abs=1e-3)


def test_probation_is_not_scored() -> None:
    assert probation(1000) == 150
    assert probation(20_000) == 750
    assert scored(*range(150)) == 0
    assert scored(150) < 0


def test_a_missed_window_costs_twice_where_misses_do() -> None:
    low_fn, two = PROFILES["reward_low_FN_rate"], [WINDOW, (800, 899)]
    assert scored(500, windows=two) == pytest.approx(50)
    assert scored(500, windows=two, profile=low_fn) == pytest.approx(50)
    assert scored(549, windows=two, profile=low_fn) > scored(549, windows=two)


def test_the_best_threshold_takes_alike_scores_together() -> None:
    score = np.zeros(1000)
    score[[500, 200]] = 0.7
    score[[201]] = 0.9
    threshold, gain = best([curve(score, [WINDOW], STANDARD)])
    assert threshold == 0.7
    assert gain == pytest.approx(2 - 2 * 0.11)
    assert best([curve(score, [], STANDARD)]) == (math.inf, 0.0)


def by_the_book(score, windows, profile, threshold) -> float:
    """The rules once more, row by row and without any curve."""
    total, behind = -profile.missed * len(windows), None
    found = set()
    for i in range(len(score)):
        inside = next((k for k, (a, b) in enumerate(windows) if a <= i <= b), None)
        behind = max((w for w in windows if w[1] < i), default=None)
        if i < probation(len(score)) or score[i] < threshold:
            continue
        if inside is not None and inside not in found:
            found.add(inside)
            a, b = windows[inside]
            place = -(b - i + 1) / (b - a + 1)
            worth = (2 / (1 + math.exp(5 * place)) - 1) / (2 / (1 + math.exp(-5)) - 1)
            total += profile.missed + profile.found * worth
        elif inside is None:
            far = math.inf if behind is None else (i - behind[1]) / (behind[1] - behind[0])
            total += profile.false * (-1 if far > 3 else 2 / (1 + math.exp(5 * far)) - 1)
    return 100 * (total + profile.missed * len(windows)) / ((profile.found + profile.missed) * len(windows))


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("seed", range(4))
def test_the_curve_says_what_the_rules_say_row_by_row(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 20, 700) / 20.0 * (rng.random(700) < 0.1)
    windows = [(150, 200), (230, 231), (400, 470)]
    curves = [curve(score, windows, PROFILES[name])]
    for threshold in (0.95, 0.6, 0.1):
        told = normalised(curves[0].at(threshold), curves, PROFILES[name])
        assert told == pytest.approx(by_the_book(score, windows, PROFILES[name], threshold))


def test_an_honest_threshold_comes_from_the_other_half() -> None:
    loud, soft = np.zeros(1000), np.zeros(1000)
    loud[500], loud[200:300], soft[500] = 0.9, 0.5, 0.3
    curves = [curve(s, [WINDOW], STANDARD) for s in (loud, soft)]
    assert peeked(curves, STANDARD) == pytest.approx(50)
    assert honest(curves, STANDARD, in_turn(2)) < 0  # the soft one's threshold lets all of the loud one's noise in


def test_random_halves_are_halves() -> None:
    for half in splits(10, 5, np.random.default_rng(1)):
        assert sum(half) == 5


@pytest.mark.parametrize("rival", RIVALS)
def test_a_rival_says_a_number_from_0_to_1_for_every_row(rival: str) -> None:
    values = np.concatenate([np.zeros(50), np.random.default_rng(1).normal(size=300)])
    score = said(RIVALS[rival], values)
    assert score.shape == values.shape
    assert ((score >= 0) & (score <= 1)).all()


def test_the_rule_of_five_lines_fires_outside_of_the_range_so_far() -> None:
    values = np.array([0.0, 10, 5, 10.4, 11, 11, -0.4, -2])
    assert said(RIVALS["range novelty, 5 %"], values).tolist() == [0, 1, 0, 0, 1, 0, 0, 1]


def test_after_an_alarm_there_is_quiet() -> None:
    score = np.zeros(1000)
    score[[400, 500, 700]] = 1.0
    assert np.flatnonzero(quietly(score)).tolist() == [400, 700]


def written(folder):
    rng = np.random.default_rng(1)
    labels = {}
    for name in ("a/one.csv", "a/two.csv", "b/three.csv"):
        path = folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = rng.normal(size=400)
        values[300:310] += 20
        rows = [f"2026-01-{1 + i // 24:02d} {i % 24:02d}:00:00,{v}" for i, v in enumerate(values)]
        path.write_text("timestamp,value\n" + "\n".join(rows))
        labels[name] = [["2026-01-13 00:00:00.000000", "2026-01-14 12:00:00.000000"]]
    (folder / "labels").mkdir()
    (folder / "labels" / "combined_windows.json").write_text(json.dumps(labels))


def test_a_folder_is_scored_beside_the_rivals(tmp_path, capsys) -> None:
    with pytest.raises(CannotRunError):
        read(tmp_path)
    assert nab.main(["--data", str(tmp_path)]) == 1
    written(tmp_path)
    assert read(tmp_path)[0].windows == [(288, 324)]
    capsys.readouterr()
    assert nab.main(["--data", str(tmp_path)]) == 0
    printed = json.loads(capsys.readouterr().out)
    table = printed["detail"]["detectors"]
    assert {"surprise", "range novelty, 5 %", "river GaussianScorer"} <= table.keys()
    assert table["surprise"]["standard"]["peek"] > 50
    assert printed["figures"][0]["name"] == "standard_honest"
