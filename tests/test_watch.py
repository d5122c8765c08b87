"""The watch in a mesh in virtual time: each trouble is one incident, found in seconds; calm is silent."""

from __future__ import annotations

import numpy as np
import pytest

from bench.incidents import CALM_S, ENDPOINTS, HEALTHY, RATE_PER_S, TROUBLES, suffer, told_of
from bench.watched import Floats, World
from dataplane.simulated.endpoint import Behaviour

BY_NAME = {t.name: t for t in TROUBLES}


def even(at_s: Floats) -> Floats:
    return np.full_like(at_s, RATE_PER_S)


@pytest.mark.parametrize(
    "name",
    ["slow_3", "slow_10", "fails_0.5", "all_fail_0.2", "hang", "all_slow_5", "zone_fails", "drop_0.1", "surge_2.5"],
)
def test_each_trouble_is_one_incident_with_its_cause_first_and_nothing_is_told_before(name: str) -> None:
    told = suffer(BY_NAME[name], seed=11)
    assert told.before == 0
    assert told.incidents == 1
    assert told.right
    assert told.found_s is not None
    assert told.found_s <= 12.0


def test_a_service_that_is_asked_for_more_than_it_bears_is_short_and_no_endpoint_is_to_blame() -> None:
    small = Behaviour(service_s=0.2, workers=4, variation=1.0)  # 180 requests a second in all
    asked = World([small] * ENDPOINTS, lambda at_s: np.where(at_s >= 90.0, 270.0, 110.0), seed=16)
    log = told_of(asked, 130.0)
    during = [i for now, some in log if now > 100.0 for i in some]
    assert {i.id for i in during} == {"I-1"}
    assert during[-1].causes[0] == "ServiceShort shop"
    assert not any(some for now, some in log if now <= 90.0)


def test_a_calm_mesh_is_silent() -> None:
    log = told_of(World([HEALTHY] * ENDPOINTS, even, seed=12), 600.0)
    assert not any(incidents for _, incidents in log)


def test_endpoints_that_are_unlike_for_good_are_no_news() -> None:
    unlike = [HEALTHY] * 6 + [Behaviour(0.15, 4, 0.7)] * 3
    log = told_of(World(unlike, even, seed=13), 300.0)
    assert not any(incidents for _, incidents in log)


def test_an_incident_is_over_when_its_trouble_is() -> None:
    told = suffer(BY_NAME["hang"], seed=14)
    assert told.incidents == 1

    def drops(at_s: Floats) -> Floats:
        return np.where((at_s >= CALM_S) & (at_s < CALM_S + 30.0), 0.1 * RATE_PER_S, RATE_PER_S)

    log = told_of(World([HEALTHY] * ENDPOINTS, drops, seed=15), 220.0)
    assert log[-1][1] == ()
    assert any(i for _, i in log)
