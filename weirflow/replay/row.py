"""What a report keeps of a decision: a row for the mesh, and one for each service.

The rows hold what a decision puts in force and what it says of trouble. The rest (figures, forecasts, reasons) is in
the digests, so that a report is small and nothing that changed goes unnoticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from weirflow.recording.calls import to_json
from weirflow.replay.loop import Step


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident that was open at a tick."""

    id: str
    kind: str
    labels: dict[str, str]
    since_s: float
    causes: tuple[str, ...]

    @property
    def key(self) -> str:
        """What two versions would both call it; ids are counted by each version for itself."""
        return f"{self.kind} ({', '.join(f'{k}={v}' for k, v in sorted(self.labels.items()))})"


@dataclass(frozen=True, slots=True)
class Row:
    """One service at a tick, or the mesh (`service` None): then the digest is of the whole decision."""

    tick: int  # ticks of the replay, from 1
    now: float
    service: str | None
    digest: str
    leased: bool = False  # there was a plan, so that the lease was renewed
    error: str = ""  # of the mesh: what the brain raised since the tick before, or in this one
    state: str = ""  # of the mesh "frozen" or nothing
    share_percent: float = 0.0  # of traffic on the adaptive arm
    shed_percent: float = 0.0
    pushed: bool = False
    weights: dict[str, int] = field(default_factory=dict)  # by address
    tiers: dict[str, int] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)  # by circuit breaker field, after `NODE/` where a node's own
    guards: dict[str, str] = field(default_factory=dict)  # by address, the rail that changed the proposal
    incidents: tuple[Incident, ...] = ()  # of the mesh: those without a service

    @property
    def in_force(self) -> tuple[Any, ...]:
        """What proxies are told by it."""
        return self.leased, self.share_percent, self.shed_percent, self.weights, self.tiers, self.limits


def rows_of(step: Step, tick: int, error: str) -> Iterator[Row]:
    """The rows of a tick, the mesh's first. `error`: raised by calls since the tick before."""
    now, decision = step.call.now, step.decision
    if step.raised is not None:
        error = "; ".join(e for e in (error, f"tick: {step.raised!r}") if e)
    if decision is None:
        yield Row(tick, now, None, digest(""), error=error)
        return
    leased = decision.plan is not None
    names = {s.name for s in decision.services}
    by_service: dict[str | None, list[Incident]] = {}
    for i in decision.incidents:
        service = i.labels.get("service")
        incident = Incident(i.id, i.kind, dict(i.labels), i.since_s, tuple(i.causes))
        by_service.setdefault(service if service in names else None, []).append(incident)
    yield Row(
        tick,
        now,
        None,
        digest(step.text),
        leased=leased,
        error=error,
        state="frozen" if decision.frozen else "",
        incidents=tuple(by_service.get(None, ())),
    )
    nodes = {n.id: n.name for n in decision.nodes}
    for view in decision.services:
        planned = decision.plan.services.get(view.id) if leased else None
        yield Row(
            tick,
            now,
            view.name,
            digest(to_json([view, planned])),
            leased=planned is not None,
            state=view.state,
            share_percent=float(view.share_percent),
            shed_percent=float(view.shed_percent),
            pushed=view.pushed,
            weights={e.address: int(e.weight) for e in view.endpoints},
            tiers={e.address: int(e.tier) for e in view.endpoints if e.tier},
            limits={} if planned is None else _limits(planned.limits, planned.node_limits, nodes),
            guards={e.address: e.guard for e in view.endpoints if e.guard},
            incidents=tuple(by_service.get(view.name, ())),
        )


def digest(text: str) -> str:
    """Short, and enough to tell decisions apart."""
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _limits(
    everywhere: Mapping[str, int], by_node: Mapping[int, Mapping[str, int]], nodes: Mapping[int, str]
) -> dict[str, int]:
    out = {name: int(n) for name, n in everywhere.items()}
    for node, own in by_node.items():
        out |= {f"{nodes.get(node, node)}/{name}": int(n) for name, n in own.items()}
    return out
