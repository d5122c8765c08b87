"""How sure a model is, held against how often it was right: of latency by its band, of demand by its interval."""

from __future__ import annotations

import numpy as np
import pytest

from brain.calibration import LEAST_PAST, PAST, Calibration
from brain.hindsight import HORIZONS_S, LEAST, ForetoldView, Hindsight
from dataplane.contract import Service, Topology
from tests.test_champion import TOPOLOGY, Life, half_wrong, right

TWO = Topology(1, (Service(0, "app", ()), Service(1, "shop", ())), ())


def calibrated(errors: np.ndarray, each: int = 5, half_life_s: float = float("inf")) -> Calibration:
    """So many errors a second."""
    out = Calibration()
    for k in range(0, len(errors), each):
        out.add(errors[k : k + each], k / each, half_life_s)
    return out


def test_a_band_of_errors_that_are_alike_holds_nine_of_ten_of_the_next() -> None:
    for seed in range(20):
        held = calibrated(np.random.default_rng(seed).normal(0.1, 0.3, 3000)).held()
        assert held is not None
        # The band is made of 300 errors, so its own coverage strays by sqrt(0.9 * 0.1 / 300) from one to the next.
        assert held.share == pytest.approx(0.9, abs=5 * np.sqrt(0.9 * 0.1 / 300 + 0.9 * 0.1 / 3000))
        assert held.low < np.exp(0.1) < held.high


def test_when_the_world_changes_the_band_holds_less_until_it_has_learned() -> None:
    for seed in range(10, 15):
        random = np.random.default_rng(seed)
        life = np.concatenate([random.normal(0.0, 0.1, 1000), random.normal(1.0, 0.1, 1000)])
        # The band has both worlds in it as soon as a twentieth of it is of the new one: some 16 errors are outside.
        as_ever, shocked, settled = (calibrated(life[:n], half_life_s=60.0).held() for n in (1000, 1060, 2000))
        assert as_ever is not None
        assert shocked is not None
        assert settled is not None
        assert shocked.share < as_ever.share - 0.03
        assert settled.share > shocked.share + 0.03


def test_the_surer_model_has_the_narrower_band_at_the_same_share() -> None:
    random = np.random.default_rng(2)
    sure, unsure = calibrated(random.normal(0, 0.1, 2000)).held(), calibrated(random.normal(0, 0.5, 2000)).held()
    assert sure is not None
    assert unsure is not None
    assert sure.high / sure.low < 1.5 < unsure.high / unsure.low


def test_nothing_is_told_of_too_little() -> None:
    assert calibrated(np.zeros(LEAST_PAST - 5)).held() is None
    assert calibrated(np.zeros(LEAST_PAST + 5)).held() is None, "a band, and hardly anything held against it"
    assert calibrated(np.zeros(3 * LEAST_PAST)).held() == (1.0, 1.0, 1.0)


def test_the_band_of_a_large_mesh_is_of_some_time_and_not_of_one_moment() -> None:
    random = np.random.default_rng(3)
    out = Calibration()
    for now in range(40):  # of 5,000 endpoints, what is hard at a moment is hard for all
        out.add(random.normal(random.choice([-0.5, 0.5]), 0.01, 5000), float(now))
    held = out.held()
    assert held is not None
    assert held.low < 0.7 < 1.4 < held.high
    assert held.share > 0.85


def test_a_calibration_goes_on_after_a_restart_as_if_never_stopped_and_an_odd_state_is_refused() -> None:
    errors = np.random.default_rng(4).normal(0.0, 0.3, 700)
    through, first = calibrated(errors), calibrated(errors[:350])
    again = Calibration.of(first.state())
    for k in range(350, 700, 5):
        again.add(errors[k : k + 5], k / 5)
    assert again.held() == through.held()
    good = first.state()
    for odd in ({"past": [np.nan]}, {"past": np.zeros(PAST + 1)}, {"sums": [1.0]}, {"at": np.inf}):
        with pytest.raises(ValueError, match="a calibration is finite"):
            Calibration.of(good | odd)


def test_the_brain_tells_how_sure_each_model_is_and_keeps_it() -> None:
    life = Life(queueing=right, simple=half_wrong)
    life.live(10)
    assert {m.held for m in life.champion.models(life.now)} == {None}
    life.live(600)
    views = {m.name: m.held for m in life.champion.models(life.now)}
    ours, simple = views["queueing"], views["simple"]
    assert ours is not None
    assert simple is not None
    # 600 seconds of four endpoints with some eight attempts each; both are wrong in the same way each time.
    assert ours.share == pytest.approx(0.9, abs=0.06)
    assert simple.share == pytest.approx(ours.share)
    assert simple.low == pytest.approx(ours.low / 1.5)
    again = Life(queueing=right, simple=half_wrong)
    again.champion.restore(life.champion.state(TOPOLOGY), TOPOLOGY)
    assert {m.name: m.held for m in again.champion.models(life.now)} == views


# Of demand.


def lived(asked: np.ndarray, foretell: object, seconds: int) -> Hindsight:
    """One service, `app` in slot 0: a second at a time, from second 1000."""
    out = Hindsight(2)
    for s in range(seconds):
        said = np.full((len(HORIZONS_S), 3, 2), np.nan)
        for k, ahead in enumerate(HORIZONS_S):
            said[k, :, 0] = foretell(s, int(ahead))  # type: ignore[operator]
        out.step(np.array([asked[s], np.nan]), said, 1000.0 + s)
    return out


def view(of: Hindsight, ahead_s: float) -> ForetoldView:
    (found,) = (v for v in of.views(TWO) if v.ahead_s == ahead_s)
    return found


def test_each_forecast_is_held_against_the_second_that_it_was_of() -> None:
    asked = 100.0 + 50.0 * np.sin(np.arange(1200) / 40.0)
    told = lived(asked, lambda s, ahead: (asked[s + ahead], asked[s + ahead] - 1, asked[s + ahead] + 1), 800)
    assert {v.service for v in told.views(TWO)} == {"app"}
    for ahead in HORIZONS_S:
        v = view(told, ahead)
        assert (v.error_per_s, v.against_last, v.inside_90) == (0.0, 0.0, 1.0)
    # One second beside it, and it shows: by the slope of the curve.
    late = lived(asked, lambda s, ahead: (asked[s + ahead - 1], -1e9, 1e9), 800)
    v = view(late, 10.0)
    assert 0.5 < v.error_per_s < 1.25
    assert v.against_last == pytest.approx(0.1, rel=0.1)


def test_whoever_foretells_the_present_does_as_well_as_the_last_value() -> None:
    asked = np.random.default_rng(5).uniform(50, 150, 500)
    told = lived(asked, lambda s, _: (asked[s], 55.0, 145.0), 500)
    for ahead in HORIZONS_S:
        v = view(told, ahead)
        assert v.against_last == pytest.approx(1.0)
        assert v.inside_90 == pytest.approx(0.9, abs=5 * np.sqrt(0.09 / v.count))


def test_what_was_not_in_sight_or_not_foretold_counts_for_nothing() -> None:
    asked = np.full(200, 100.0)
    asked[50:100] = np.nan
    told = lived(asked, lambda s, _: (np.nan,) * 3 if s < 20 else (90.0, 80.0, 95.0), 200)
    v = view(told, 1.0)
    assert v.error_per_s == pytest.approx(10.0)
    assert v.inside_90 == 0.0
    assert v.against_last is None, "the last value was right throughout"
    assert v.count < 200 - 20 - 50
    assert not any(v.ahead_s == 300.0 for v in told.views(TWO))


def test_a_tick_that_was_missed_does_not_shift_what_waits() -> None:
    asked = np.arange(600.0)
    out = Hindsight(1)
    for s in range(300):
        if s % 7 == 3:
            continue
        said = np.array([[[asked[s + int(a)]], [0.0], [1e9]] for a in HORIZONS_S])
        out.step(asked[s : s + 1], said, float(s))
    (one, ten, sixty) = out.views(Topology(1, (Service(0, "app", ()),), ()))
    assert (one.error_per_s, ten.error_per_s, sixty.error_per_s) == (0.0, 0.0, 0.0)


def test_scores_of_forecasts_are_kept_by_service_and_odd_ones_refused() -> None:
    asked = np.full(100, 10.0)
    told = lived(asked, lambda *_: (11.0, 9.0, 12.0), 100)
    kept = told.state()
    again = Hindsight(3)
    again.restore(kept, np.array([0]), np.array([2]))
    three = Topology(1, (*TWO.services, Service(2, "app", ())), ())
    assert [(v.service, v.error_per_s) for v in again.views(three)] == [("app", pytest.approx(1.0))] * 3
    assert min(v.count for v in again.views(three)) >= LEAST
    for odd in ({"sums": np.zeros((2, 3, 4))}, {"at": np.nan}):
        with pytest.raises(ValueError, match="scores of forecasts"):
            Hindsight(3).restore(kept | odd, np.array([0]), np.array([2]))
