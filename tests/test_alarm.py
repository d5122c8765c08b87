"""The alarm over a mesh: silent in calm, once for what belongs together, and not fooled by one stream alone."""

from __future__ import annotations

import numpy as np
import pytest

from models.alarm import AlarmSettings, MeshAlarm
from models.band import Band, band, beyond
from models.streams import Kind, tamed

SERVICES, EACH, MINUTES = 4, 3, 400
OWNER = np.append(np.repeat(np.arange(SERVICES), EACH), 0)
KIND = np.array([Kind.SERVED, Kind.ASKED, Kind.CALLED] * SERVICES + [Kind.FAILS], dtype=np.int64)


def calm() -> np.ndarray:
    rng = np.random.default_rng(5)
    values = 0.02 * np.exp(rng.normal(0.0, 0.3, (MINUTES, KIND.size)))
    values[:, -1] = 0.0
    return values


def alarms(values: np.ndarray, settings: AlarmSettings | None = None) -> list[int]:
    model = MeshAlarm(OWNER, KIND, SERVICES, 60.0, settings)
    requests = np.full(SERVICES, 500.0)
    return [t for t, row in enumerate(values) if model.learn_many(row, requests)]


def test_calm_raises_no_alarm() -> None:
    assert alarms(calm()) == []


def test_a_service_that_becomes_slow_is_one_alarm_within_minutes() -> None:
    values = calm()
    values[300:306, 3:6] *= 8.0
    raised = alarms(values)
    assert len(raised) == 1
    assert 300 <= raised[0] <= 302


def test_what_follows_at_its_callers_belongs_to_the_same_alarm() -> None:
    values = calm()
    values[300:306, 3:6] *= 8.0
    values[303:306, 0:3] *= 8.0
    assert len(alarms(values)) == 1


def test_a_second_trouble_after_it_was_well_is_a_second_alarm() -> None:
    values = calm()
    values[300:304, 3:6] *= 8.0
    values[312:316, 3:6] *= 8.0
    assert len(alarms(values)) == 2


def test_one_stream_alone_is_no_alarm_unless_it_is_asked_to_be() -> None:
    values = calm()
    values[300:303, 4] *= 8.0
    assert alarms(values) == []
    assert alarms(values, AlarmSettings(top=1)) != []


def test_failures_are_an_alarm_at_once() -> None:
    values = calm()
    values[300:303, -1] = 0.1
    assert alarms(values)[0] in (300, 301)


def test_unknown_streams_are_as_they_were() -> None:
    values = calm()
    values[200:260] = np.nan
    values[:, 3:6] = np.nan
    assert alarms(values) == []


def test_a_band_is_of_means_and_leaves_out_what_is_unknown() -> None:
    past = np.arange(100.0)[:, None]
    assert band(past, 1)[:, 0].tolist() == [5.0, 50.0, 94.0]
    assert band(past, 3)[1, 0] == pytest.approx(49.0, abs=1.0)
    assert np.isnan(band(np.full((5, 1), np.nan), 3)).all()
    assert np.isnan(band(past[:2], 3)).all()


def test_a_stream_has_no_band_before_enough_was_seen_and_then_one_that_slides() -> None:
    kind = np.array([int(Kind.SERVED)])
    model = Band(kind, length=50, width=1)
    said = [float(model.learn_many(np.array([x]))[0]) for x in np.linspace(0.0, 1.0, 200)]
    assert np.isnan(said[:20]).all()
    assert np.isfinite(said[20:]).all()
    assert said[150] == pytest.approx(said[190], rel=0.1)


def test_no_stream_is_taken_to_be_more_even_than_its_kind_may_be() -> None:
    ends = np.zeros((3, 2))
    kind = np.array([int(Kind.SERVED), int(Kind.FAILS)])
    assert beyond(np.array([0.1, -0.02]), ends, kind).tolist() == pytest.approx([2.0, -2.0])


def test_values_are_tamed_by_their_kind() -> None:
    kind = np.arange(len(Kind))
    out = tamed(np.array([0.0, 1.0, 1.0, 1.0, 9.0, 0.5, 0.0]), kind)
    assert out.tolist() == pytest.approx([np.log(1e-4), 0.0, 0.0, 0.0, 3.0, 0.5, 0.0])


def test_what_is_far_out_is_not_learned_until_it_lasts() -> None:
    kind = np.array([int(Kind.SERVED)])
    rng = np.random.default_rng(4)
    calm, far = rng.normal(0.0, 0.1, 100), np.full(40, 5.0)
    model = Band(kind, length=100, width=1, lasting=30)
    said = [float(model.learn_many(np.array([x]))[0]) for x in np.concatenate([calm, far[:20], calm, far, far, far])]
    assert said[119] > said[100] * 0.8
    assert said[-1] < 2.0
