"""What a plan tells our module beside weights: what was learned, told anew only where it differs enough to matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from brain.module import BELIEVED, MEAN, SAME, ToldModule, told_module
from brain.settings import Cost
from brain.weights import propose
from tests.test_weights import loaded


def test_lanes_of_a_node_workers_of_all_and_how_long_a_queue_is_believed() -> None:
    v = replace(loaded([10.0, 20.0, 40.0], 0.9, lanes=4.0), service_s=np.array([0.4, 0.2, np.nan]))
    told = told_module(ToldModule(), v, 8.0, None, hears=True)
    assert (told.workers, told.believed_s) == (4.0, pytest.approx(BELIEVED * 0.3))
    assert told.lanes == pytest.approx(4.0 / 8.0 * 1.13, abs=0.01), "its part, and a little for what it cannot see"
    assert told.capacities == {}


def test_nothing_known_tells_nothing_and_takes_nothing_back() -> None:
    known = loaded([10.0, 20.0], 0.9, lanes=4.0)
    told = told_module(ToldModule(), known, 2.0, known.capacity, hears=True)
    unknown = replace(known, lanes=np.nan, service_s=np.full(2, np.nan))
    assert told_module(ToldModule(), unknown, 2.0, None, hears=True) == ToldModule()
    assert told_module(told, unknown, 2.0, known.capacity, hears=True) == told


def test_who_does_not_want_to_hear_is_told_no_time_and_no_capacities() -> None:
    v = loaded([10.0, 20.0], 0.9, lanes=4.0)
    told = told_module(ToldModule(believed_s=1.0, capacities={0: 1.0}), v, 2.0, v.capacity, hears=False)
    assert (told.believed_s, told.capacities) == (0.0, {})
    assert told.lanes > 0.0


def test_capacities_are_told_anew_when_one_of_them_is_off_by_much() -> None:
    v = loaded([10.0, 30.0], 0.9, lanes=4.0)
    first = told_module(ToldModule(), v, 2.0, np.array([1.0, 3.0]), hears=True)
    assert first.capacities == {v.members[0]: MEAN / 2, v.members[1]: MEAN * 1.5}
    near = np.array([1.0, 3.0 * (1 + SAME / 2)])
    assert told_module(first, v, 2.0, near, hears=True).capacities is first.capacities
    far = told_module(first, v, 2.0, np.array([1.0, 1.0]), hears=True)
    assert far.capacities == {v.members[0]: MEAN, v.members[1]: MEAN}


def test_where_turns_are_dealt_out_capacities_stand_beside_the_split_undoubted() -> None:
    v = replace(loaded([10.0, 20.0, 40.0], 0.5, lanes=4.0), in_flight=np.full(3, 0.1))
    want = propose(v, 10.0, Cost(), nodes=50.0, lasting=0.5, by_module=True)
    assert not want.by_queue
    assert want.bears is not None
    split, bears = want.wanted / want.wanted.sum(), want.bears / want.bears.sum()
    assert bears == pytest.approx(np.array([1, 2, 4]) / 7, abs=0.05)
    assert split[2] / split[0] != pytest.approx(4.0, rel=0.1)
    assert propose(v, 10.0, Cost(), nodes=50.0, lasting=0.5).bears is None, "Envoy hears nothing"
