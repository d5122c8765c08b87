"""What the brain holds about the proxies: who is there, who refused what, and how much of the traffic it can see.

Knowledge is three-valued. With the nodes ranked by what they carried when last heard clearly:

* known: next to all traffic is in sight, and weights may move;
* doubtful: a part is out of sight, and weights stay as they are: unknown freezes, it never moves;
* unknown: less than half is in sight, or no node at all; nothing learned may be in force.

A node that left (its ADS stream ended and it reports nothing) is not out of sight, it is gone: its own lease ends by
itself. A node that hangs with its streams open is forgotten over minutes, so that one dead proxy does not stop the
learning for all.

A NACK is Envoy's "no" to one version of one resource type; the server parks that version for that node and the node
keeps what it had. The brain counts it, shows it and alerts, and goes on: the guard's weights are valid by
construction, so what Envoy refuses is a disagreement that a later version, with other content, may end, and an ACK of
the same type then clears it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from brain.decision import NodeView
from dataplane.contract import Event, Node, Presence, Topology, Verdict

if TYPE_CHECKING:
    from features.columns import NodeFeatures

FORGET_HALF_LIFE_S = 60.0
"""What a silent node is believed to carry halves in this time."""
DOUBT_SHARE = 0.1
"""With more than this share of the traffic out of sight, weights stay as they are."""
UNKNOWN_SHARE = 0.5
"""With more than this share of the traffic out of sight, nothing learned may be in force."""


@dataclass(slots=True)
class NodeState:
    """One node's standing."""

    node: Node
    connected: bool | None = None  # by the last Presence; None before the first
    nacks: int = 0
    parked: dict[str, str] = field(default_factory=dict)  # resource type to Envoy's words


class Nodes:
    """All nodes of one topology."""

    def __init__(self, topology: Topology) -> None:
        self._nodes: dict[int, NodeState] = {}
        self._carried = np.zeros(0)
        self._at = -np.inf
        self.moved(topology)

    def moved(self, topology: Topology) -> None:
        """The nodes are these now; those that stay keep their standing."""
        self._nodes = {n.id: self._nodes.get(n.id) or NodeState(n) for n in topology.nodes}
        for n in topology.nodes:
            self._nodes[n.id].node = n
        slots = max(self._nodes, default=-1) + 1
        self._carried = np.pad(self._carried, (0, max(0, slots - len(self._carried))))
        self.workers = np.ones(slots, dtype=np.int64)
        for n in topology.nodes:
            self.workers[n.id] = max(1, n.concurrency)

    def heard(self, event: Event) -> None:
        """Take a verdict or a presence in; one of a node that is not in the topology is passed over."""
        state = self._nodes.get(event.node)
        if state is None:
            return
        if isinstance(event, Presence):
            state.connected = event.connected
            if not event.connected:
                state.parked.clear()  # a new stream begins with nothing refused
        elif isinstance(event, Verdict):
            if event.accepted:
                state.parked.pop(event.kind, None)
            else:
                state.nacks += 1
                state.parked[event.kind] = event.detail or "no detail given"

    def out_of_sight(self, features: NodeFeatures, now: float) -> float:
        """The share of traffic that goes through nodes that cannot be believed now, 0 to 1; 1 when none can."""
        here = np.zeros(len(self._carried), dtype=np.bool_)
        gone = np.zeros(len(self._carried), dtype=np.bool_)
        for i, state in self._nodes.items():
            here[i], gone[i] = True, state.connected is False
        fresh = features.fresh[: len(here)] & here
        fade = 0.5 ** (max(0.0, now - self._at) / FORGET_HALF_LIFE_S) if self._at > -np.inf else 1.0
        self._at = now
        carries = np.maximum(features.issued_per_s, features.seen_per_s)[: len(here)]
        self._carried = np.where(fresh, carries, np.where(here & ~gone, self._carried * fade, 0.0))
        if not fresh.any():
            return 1.0
        total = float(self._carried.sum())
        return float(self._carried[~fresh].sum()) / total if total > 0 else 0.0

    def expected(self) -> NDArray[np.bool_]:
        """Which node slots ought to be in sight: here, and their streams have not ended."""
        out = np.zeros(len(self._carried), dtype=np.bool_)
        out[[i for i, state in self._nodes.items() if state.connected is not False]] = True
        return out

    def views(self, features: NodeFeatures) -> tuple[NodeView, ...]:
        """Each node as the operator sees it."""
        return tuple(
            NodeView(
                id=i,
                name=state.node.name,
                connected=state.connected is True,
                fresh=bool(features.fresh[i]),
                report_age_s=_finite(features.report_age_s[i]),
                issued_per_s=float(features.issued_per_s[i]),
                seen_per_s=float(features.seen_per_s[i]),
                nacks=state.nacks,
                parked=dict(state.parked),
                contradicts=int(features.contradicts[i]),
                worst_ratio=float(features.worst_ratio[i]),
            )
            for i, state in self._nodes.items()
        )


def _finite(x: NDArray[np.float64]) -> float | None:
    return float(x) if np.isfinite(x) else None
