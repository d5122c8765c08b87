"""Drive a brain over a simulated mesh: the third world beside `live` and `replay`, and the seed of what-if."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from dataplane.contract import Event, OnEvent, OnTelemetry, Plan, Telemetry


class World(Protocol):
    """What a driver needs of a mesh in virtual time."""

    on_telemetry: OnTelemetry
    on_event: OnEvent

    @property
    def now(self) -> float:
        """The virtual time."""

    def run(self, until: float) -> None:
        """Live until that time."""

    def publish(self, plan: Plan) -> None:
        """Put the plan in force, and renew its lease."""


class Decided(Protocol):
    """What a driver needs of a decision."""

    @property
    def plan(self) -> Plan | None:
        """What is to be in force."""


class Decider(Protocol):
    """What a driver needs of a brain."""

    def told(self, batch: Telemetry, now: float) -> None:
        """Take telemetry in."""

    def heard(self, event: Event, now: float) -> None:
        """Take an event in."""

    def tick(self, now: float) -> Any:
        """Decide."""


def run(mesh: World, brain: Decider, until: float, tick_s: float = 1.0) -> Iterator[Any]:
    """Live until then, yielding each tick's decision once it is published.

    A caller may change anything between two ticks, and stop early. While nobody runs this, the brain is away: what the
    mesh tells meanwhile is lost, as it would be.
    """
    mesh.on_telemetry = lambda batch: brain.told(batch, mesh.now)
    mesh.on_event = lambda event: brain.heard(event, mesh.now)
    try:
        while mesh.now + tick_s <= until:
            mesh.run(mesh.now + tick_s)
            decision = brain.tick(mesh.now)
            if decision.plan is not None:
                mesh.publish(decision.plan)
            yield decision
    finally:
        mesh.on_telemetry = lambda _: None
        mesh.on_event = lambda _: None
