"""Hours of calm: what is drawn, and what few false incidents can stand for."""

from __future__ import annotations

import numpy as np
import pytest

from bench.calm import COLD, ENDPOINTS, SEASON, at_most, cries, world
from bench.watched import live, live_all


def test_as_many_deploys_and_slow_spells_as_are_asked_for_a_day() -> None:
    drawn = world(5, 48.0, together=3, deploys=20)
    faults = [f for behaviour in drawn.behaviours for f in behaviour.faults if f.kind == "slow"]
    assert sum(f.factor == COLD for f in faults) == 40
    assert len({f.start_s for f in faults if f in drawn.behaviours[0].faults and f in drawn.behaviours[1].faults}) == 6
    assert world(5, 24.0, together=0).behaviours != world(5, 24.0).behaviours


def test_none_seen_may_still_stand_for_two() -> None:
    assert at_most(0) == pytest.approx(np.log(10.0))
    assert at_most(0) < at_most(1) < at_most(2)


def test_a_minute_of_calm_is_lived_in_silence() -> None:
    assert list(cries([world(5, 1.0)], 1 / 60)) == []


def test_a_service_of_one_mesh_gets_the_weights_that_it_gets_alone_to_the_bit() -> None:
    worlds = [world(5, 1.0), world(6, 1.0)]
    both = [d.plan.services for d in live_all(worlds, 45.0) if d.plan is not None]
    for s, one in enumerate(worlds):
        alone = [d.plan.services[0] for d in live(one, 45.0) if d.plan is not None]
        weights = [{e - s * ENDPOINTS: w for e, w in services[s].weights.items()} for services in both]
        assert weights == [dict(plan.weights) for plan in alone]
        assert len(set(weights[-1].values())) > 1, "they have been learned by then"


def test_each_service_of_a_mesh_begins_its_day_at_another_time() -> None:
    at_s, mean, top = np.array([0.0]), world(5, 1.0), world(5, 1.0, day=0.25)
    assert top.rate(at_s) == pytest.approx((1.0 + SEASON) * mean.rate(at_s))
