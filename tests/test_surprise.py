"""The detector of surprises: what is like before is none, what is not is one, and nothing that comes breaks it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.surprise import ALARM, PARTS, QUIET, Said, Surprise


def over(values: np.ndarray, steps_per_day: int | None = None, **more: object) -> Said:
    """All that was said of one stream, or of many side by side (columns)."""
    table = values.reshape(len(values), -1)
    model = Surprise(table.shape[1], steps_per_day, **more)
    said = [model.learn_many(row) for row in table]
    return Said(*(np.stack([getattr(s, f) for s in said]) for f in ("score", "low", "high", "known")))


def alarms(said: Said) -> list[int]:
    return np.flatnonzero(said.score[:, 0] >= ALARM).tolist()


def noise(rows: int = 1500, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(100.0, 5.0, rows)


def test_noise_that_stays_as_it_is_hardly_ever_alarms() -> None:
    streams = np.random.default_rng(2).normal(100.0, 5.0, (3000, 40))
    said = over(streams)
    assert (said.score >= ALARM).sum() / 40 < 1.5


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("a spike", lambda v: v + np.where(np.arange(len(v)) == 1200, 60.0, 0.0)),
        ("a shift", lambda v: v + np.where(np.arange(len(v)) >= 1200, 25.0, 0.0)),
        ("a flat line", lambda v: np.where(np.arange(len(v)) >= 1200, 100.0, v)),
        ("unrest", lambda v: np.where(np.arange(len(v)) >= 1200, 100.0 + 4.0 * (v - 100.0), v)),
    ],
)
def test_what_was_never_like_that_alarms_soon(name: str, change) -> None:
    found = [i for i in alarms(over(change(noise()))) if i >= 1200]
    assert found, name
    assert found[0] < 1300, name


def test_a_day_that_goes_otherwise_alarms_though_every_value_was_seen_before() -> None:
    at = np.arange(48 * 20)
    values = 100 + 50 * np.sin(2 * np.pi * at / 48) + np.random.default_rng(3).normal(0, 3, len(at))
    values[48 * 15 + 4 : 48 * 15 + 22] = 60.0 + np.random.default_rng(4).normal(0, 3, 18)
    found = alarms(over(values, 48))
    assert any(48 * 15 <= i < 48 * 16 for i in found)


def test_a_ramp_of_scale_or_an_offset_changes_nothing() -> None:
    values = noise()
    values[1200] += 60.0
    one, other = over(values), over(values * 1e6 - 5e7)
    np.testing.assert_allclose(one.score, other.score, atol=1e-3)


def test_while_it_knows_too_little_it_says_nothing() -> None:
    said = over(noise(40) * np.where(np.arange(40) == 30, 50.0, 1.0))
    assert not said.known.any()
    assert (said.score == 0).all()


def test_after_an_alarm_there_is_quiet_and_then_it_may_alarm_again() -> None:
    values = noise(2000)
    values[1200:1260] += 60.0
    values[1700] = 500.0
    found = [i for i in alarms(over(values)) if i >= 1200]
    assert found == [1200, 1700]
    assert not over(values).score[1201 : 1201 + QUIET].any()


def test_who_cries_often_is_believed_less() -> None:
    values = noise(4000)
    values[1000::300] += 60.0
    leaping = len([i for i in alarms(over(values)) if i >= 1000])
    without = len([i for i in alarms(over(values, parts=[p for p in PARTS if p != "doubt"])) if i >= 1000])
    assert 1 <= leaping < without


def test_a_value_within_the_band_is_where_most_are() -> None:
    values = noise()
    said = over(values)
    known = np.isfinite(said.low[:, 0])
    inside = (said.low[:, 0] <= values) & (values <= said.high[:, 0])
    assert inside[known].mean() > 0.95
    assert (said.high[known] - said.low[known] < 80.0).all()


def test_what_was_never_negative_is_not_expected_to_be() -> None:
    counts = np.random.default_rng(6).poisson(2.0, 800).astype(float)
    said = over(counts)
    assert np.nanmin(said.low) == 0
    assert np.nanmin(over(counts - 1.0).low) < -1


def test_what_is_not_seen_is_no_surprise_and_changes_nothing() -> None:
    values = noise(600)
    gaps = np.insert(values, 300, np.full(50, np.nan))
    whole, broken = over(values), over(gaps)
    assert (broken.score[300:350] == 0).all()
    np.testing.assert_allclose(whole.score[:300], broken.score[:300])
    np.testing.assert_allclose(whole.score[300:], broken.score[350:])


def test_streams_know_nothing_of_each_other_and_room_can_be_made() -> None:
    values, odd = noise(800), noise(800, seed=9)
    odd[500] = 1e9
    both, alone = over(np.stack([values, odd], axis=1)), over(values)
    np.testing.assert_allclose(both.score[:, 0], alone.score[:, 0])
    model = Surprise(1)
    for k, value in enumerate(values):
        if k == 400:
            model.resize(3)
        said = model.learn_many(np.array([value] if k < 400 else [value, 1.0, np.nan]))
        assert said.score[0] == pytest.approx(alone.score[k, 0])


@pytest.mark.parametrize("steps_per_day", [None, 24])
def test_a_state_goes_on_as_if_never_stopped(steps_per_day: int | None) -> None:
    values = noise(700)
    values[650] = 200.0
    one, other = Surprise(1, steps_per_day), Surprise(1, steps_per_day)
    for value in values[:400]:
        one.learn_many(np.array([value]))
    other.restore(one.state())
    for value in values[400:]:
        a, b = one.learn_many(np.array([value])), other.learn_many(np.array([value]))
        assert a.score == b.score
        assert a.low == pytest.approx(b.low, nan_ok=True)


def test_a_state_of_another_model_is_refused_and_changes_nothing() -> None:
    model = Surprise(2)
    with pytest.raises(ValueError, match="state"):
        model.restore(Surprise(3).state())
    with pytest.raises(ValueError, match="state"):
        model.restore({})
    with pytest.raises(ValueError, match="parts"):
        Surprise(1, parts=("tea leaves",))
    with pytest.raises(ValueError, match="nothing"):
        Surprise(1, parts=("day", "quiet"))


@pytest.mark.parametrize("part", PARTS)
def test_each_part_can_be_left_out(part: str) -> None:
    values = noise()
    values[1200:] += 80.0
    assert alarms(over(values, parts=[p for p in PARTS if p != part]))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=30),
    st.integers(1, 40),
    st.sampled_from([None, 2, 24, 288]),
)
def test_whatever_comes_a_score_is_within_0_and_1(values: list[float], times: int, steps_per_day: int | None) -> None:
    said = over(np.array(values * times), steps_per_day)
    assert ((said.score >= 0) & (said.score <= 1)).all()
    assert not (said.low > said.high).any()
    assert said.known.dtype == np.bool_


def test_memory_of_a_stream_is_bounded() -> None:
    model = Surprise(1, 24)
    before = {name: np.shape(array) for name, array in model.state().items()}
    for value in noise(3000):
        model.learn_many(np.array([value]))
    assert {name: np.shape(array) for name, array in model.state().items()} == before
