"""A model's rows across a restart: kept with the names that they belong to, for the integers of the next run differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.base import put_rows, take_rows

if TYPE_CHECKING:
    from dataplane.contract import Topology
    from models.base import State


def named_rows(model: str, state: State, topology: Topology) -> State:
    """The rows of the endpoints that are here, under the model's name, and `names`: a service and an address each."""
    rows = np.array([e.id for s in topology.services for e in s.endpoints], dtype=np.int64)
    names = [[s.name, e.address] for s in topology.services for e in s.endpoints]
    return {"names": names, model: take_rows(state, rows)}


def numbered_rows(model: str, state: State, topology: Topology) -> State:
    """The kept rows under this run's integers; who has left is left out, who is new has a row of zeros."""
    ids = {(s.name, e.address): e.id for s in topology.services for e in s.endpoints}
    pairs = [(i, ids[s, a]) for i, (s, a) in enumerate(state["names"]) if (s, a) in ids]
    theirs, ours = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return put_rows(take_rows(state[model], theirs), ours, topology.endpoint_slots)
