"""Which plan was in force at which node when, so that each attempt can say by what weight it was picked.

A plan is in force at a node from the moment that the node acknowledged its weights. An attempt began at some moment of
its node's clock; that clock's offset against ours turns the moment into ours, and the newest plan acknowledged before
it is the one it was picked under. The weight over the sum of weights of its service is the nominal chance of the pick:
what an off-policy estimate divides by.

Times here are any one clock's; the server uses its own real seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import NO_PLAN, Arm, Floats, Ints, Plan, Requests, Topology
from dataplane.xds import weights

KEPT_PLANS = 128


@dataclass(frozen=True, slots=True)
class _Table:
    """Weight and pick probability by endpoint id. The last row, which -1 finds, is of no endpoint: both 0."""

    weight: Ints
    probability: Floats


@dataclass(slots=True)
class _History:
    """The plans that one node acknowledged, oldest first, and since when each was in force."""

    since: list[float] = field(default_factory=list)
    plans: list[int] = field(default_factory=list)


class Ledger:
    """Stamps attempts with plan, weight and probability. Remembers `KEPT_PLANS` plans, and of each node as many."""

    def __init__(self, topology: Topology) -> None:
        self._newest: Plan | None = None
        self._tables: dict[int, _Table] = {}
        self._nodes: dict[int, _History] = {}
        self.moved(topology)

    def moved(self, topology: Topology) -> None:
        """Take a changed membership. The newest plan's weights are from now on those that it gives these endpoints."""
        self._topology = topology
        self._static = self._tables[NO_PLAN] = _table(topology, None)
        if self._newest is not None:
            self._tables[self._newest.version] = _table(topology, self._newest)

    def published(self, plan: Plan, now: float) -> None:
        """Note what a plan says. It is in force nowhere yet."""
        if plan.version in self._tables:
            return
        self._newest = plan
        self._tables[plan.version] = _table(self._topology, plan)
        for version in sorted(self._tables)[1:-KEPT_PLANS]:  # the first is NO_PLAN
            del self._tables[version]

    def accepted(self, node: int, plan_version: int, now: float) -> None:
        """Note that a node holds the plan's weights from now on."""
        history = self._nodes.setdefault(node, _History())
        if history.plans and history.plans[-1] == plan_version:
            return
        history.since.append(now)
        history.plans.append(plan_version)
        del history.since[:-KEPT_PLANS], history.plans[:-KEPT_PLANS]

    def stamp(self, batch: Requests, offset_s: float) -> Requests:
        """Fill `plan`, `weight` and `probability` of one node's batch.

        `offset_s` is what must be added to the node's clock to get ours. While it is NaN, all rows are taken to be of
        the newest plan that the node acknowledged. An attempt older than all that is remembered gets the oldest.
        """
        if not len(batch):
            return batch
        plan = self._in_force(int(batch.node[0]), batch.started_s + offset_s)
        weight = np.zeros(len(batch), dtype=np.int64)
        probability = np.zeros(len(batch), dtype=np.float64)
        adaptive = batch.arm == Arm.ADAPTIVE
        _look_up(self._static, batch.endpoint, ~adaptive, weight, probability)
        for version in np.unique(plan[adaptive]).tolist():
            table = self._tables.get(version, self._static)
            _look_up(table, batch.endpoint, adaptive & (plan == version), weight, probability)
        return replace(batch, plan=plan, weight=weight.astype(np.int32), probability=probability.astype(np.float32))

    def _in_force(self, node: int, at: Floats) -> Ints:
        """The plan version in force at a node at each time."""
        history = self._nodes.get(node)
        if history is None:
            return np.full(len(at), NO_PLAN, dtype=np.int64)
        full = len(history.plans) == KEPT_PLANS  # the oldest are forgotten
        plans = np.array([history.plans[0] if full else NO_PLAN, *history.plans], dtype=np.int64)
        found = np.searchsorted(np.array(history.since), at, side="right")
        return plans[np.where(np.isnan(at), len(history.plans), found)]


def _table(topology: Topology, plan: Plan | None) -> _Table:
    """The weights of the adaptive clusters under a plan; without one, those of both arms."""
    weight = np.zeros(topology.endpoint_slots + 1, dtype=np.int64)
    probability = np.zeros(topology.endpoint_slots + 1, dtype=np.float64)
    for service in topology.services:
        if not service.endpoints:
            continue
        given = weights.in_force(service, plan.services.get(service.id) if plan is not None else None)
        members = topology.members[service.id]
        weight[members] = given
        probability[members] = given / given.sum()
    return _Table(weight, probability)


def _look_up(table: _Table, endpoint: NDArray[np.int32], rows: NDArray[np.bool_], weight: Ints, p: Floats) -> None:
    """Write the table's figures of the endpoints into these rows; an endpoint newer than the table has none."""
    known = np.where(endpoint[rows] < len(table.weight) - 1, endpoint[rows], -1)
    weight[rows] = table.weight[known]
    p[rows] = table.probability[known]
