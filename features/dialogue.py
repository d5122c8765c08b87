"""A feature store spoken to in few words, so that a test or a notebook reads as a dialogue.

`told.attempts(1.5, A, n=30, took=0.02)` instead of seventeen columns. Times are seconds since `start`. The mesh, unless
another is given, is a small one: service shop with endpoints a and b, service cart with endpoint c, and two nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Arm, Endpoint, Felt, InFlight, Node, Requests, Service, Topology
from features.columns import EndpointFeatures, Features, NodeFeatures, ServiceFeatures
from features.store import FeatureStore

A, B, C = 0, 1, 2
SHOP, CART = 0, 1
SMALL = Topology(
    version=1,
    services=(
        Service(SHOP, "shop", (Endpoint(A, "10.0.0.1:80"), Endpoint(B, "10.0.0.2:80"))),
        Service(CART, "cart", (Endpoint(C, "10.0.1.1:80"),)),
    ),
    nodes=(Node(0, "edge-1"), Node(1, "edge-2")),
)

START = 1_000_000.0
"""A clock does not begin at 0."""

Report = tuple[int, int, int, int, int]
"""An endpoint, and what is in flight, issued, succeeded and failed there."""


class Told:
    """A store, and what it may be told and asked. It is frozen once at `start`, so everybody joined then."""

    def __init__(self, topology: Topology = SMALL, start: float = START, **settings: float) -> None:
        self.topology = topology
        self.store = FeatureStore(topology, **settings)
        self.start = start
        self.store.freeze(start)

    def moved(self, at: float, topology: Topology) -> None:
        """The membership changes."""
        self.topology = topology
        self.store.moved(topology, self.start + at)

    def attempts(self, at: float, endpoint: Any, n: int = 1, took: Any = 0.02, **more: Any) -> None:
        """`n` attempts at an endpoint come in: OK, on node 0 and the adaptive arm, unless `more` says otherwise.

        `more` is any column of `Requests`. The first byte came half-way, and the request had no other attempt.
        """
        place = self.topology.service_of
        known = np.isin(endpoint, np.arange(len(place)))
        columns = dict.fromkeys(Requests.dtypes(), 0) | {
            "duration_s": took,
            "ttfb_s": np.asarray(took) / 2,
            "felt_s": took,
            "service": np.where(known, place[np.where(known, endpoint, 0)], -1),
            "endpoint": endpoint,
            "attempt": 1,
            "arm": Arm.ADAPTIVE,
        }
        rows = {name: np.broadcast_to(value, n) for name, value in (columns | more).items()}
        self.store.told(Requests.of(**rows), self.start + at)

    def felt(self, at: float, outcome: Any, n: int = 1, took: Any = 0.02, **more: Any) -> None:
        """`n` requests ended badly, for service 0 on the adaptive arm unless `more` says otherwise."""
        columns = dict.fromkeys(Felt.dtypes(), 0) | {"duration_s": took, "outcome": outcome, "arm": Arm.ADAPTIVE}
        rows = {name: np.broadcast_to(value, n) for name, value in (columns | more).items()}
        self.store.told(Felt.of(**rows), self.start + at)

    def report(self, at: float, node: int = 0, rows: Sequence[Report] = (), arm: Arm = Arm.ADAPTIVE) -> None:
        """A node's load report."""
        endpoint, *counts = np.array(rows, dtype=np.int64).reshape(-1, 5).T
        place = np.append(self.topology.service_of, -1)
        batch = InFlight.report(
            node,
            0.5,
            service=place[np.clip(endpoint, -1, len(place) - 1)],
            endpoint=endpoint,
            arm=np.full(len(endpoint), arm),
            **dict(zip(("in_flight", "issued", "succeeded", "failed"), counts, strict=True)),
        )
        self.store.told(batch, self.start + at)

    def freeze(self, at: float) -> Features:
        """A tick."""
        return self.store.freeze(self.start + at)

    def endpoints(self, at: float) -> EndpointFeatures:
        """A tick, of which the endpoints matter."""
        return self.freeze(at).endpoints

    def nodes(self, at: float) -> NodeFeatures:
        """A tick, of which the nodes matter."""
        return self.freeze(at).nodes

    def services(self, at: float) -> ServiceFeatures:
        """A tick, of which the services matter."""
        return self.freeze(at).services


def figures(part: EndpointFeatures | ServiceFeatures | NodeFeatures) -> dict[str, NDArray[Any]]:
    """All arrays of some features, by name."""
    return {f.name: getattr(part, f.name) for f in fields(part)}


def alike(a: Any, b: Any) -> bool:
    """The same to the last bit, unknown being like unknown."""
    ours, theirs = figures(a), figures(b)
    return all(np.array_equal(ours[name], theirs[name], equal_nan=True) for name in ours)
